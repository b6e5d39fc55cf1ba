"""Which configuration file there is; :mod:`flyte.config` reads it. Most runs of this machine have none to read."""

import os
from pathlib import Path

from .home import home_dir
from .log import logger


def searched_places() -> list[tuple[str, Path | None]]:
    """Where a file is looked for, in order: what the place is called, and the path, if there is one."""
    root = next((folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".git").exists()), None)
    return [
        ("the working directory", Path("config.yaml")),
        ("its .flyte folder", Path(".flyte/config.yaml")),
        ("the .flyte folder of the git repository", root / ".flyte" / "config.yaml" if root else None),
        ("UCTL_CONFIG", _named_by("UCTL_CONFIG")),
        ("FLYTECTL_CONFIG", _named_by("FLYTECTL_CONFIG")),
        ("the home folder", Path.home() / ".union" / "config.yaml"),
        ("the home folder", Path.home() / ".flyte" / "config.yaml"),
        *([("FLYTE_HOME", home_dir() / "config.yaml")] if os.environ.get("FLYTE_HOME") else []),
    ]


def _named_by(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else None


def find_config_file() -> Path | None:
    """The first file that exists of :func:`searched_places`."""
    for place, path in searched_places():
        if path is not None and path.is_file():
            return path
        if path is not None and place.isupper() and place != "FLYTE_HOME":
            logger.warning("%s names the configuration file %s, which does not exist", place, path)
    return None
