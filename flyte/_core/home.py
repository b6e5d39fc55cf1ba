"""The user's state folder."""

import os
from pathlib import Path


def home_dir() -> Path:
    """``FLYTE_HOME``, default ``~/.flyte``. It is not created before something is written."""
    return Path(os.environ.get("FLYTE_HOME") or Path.home() / ".flyte")
