"""Running the command as users do: a process of its own, in a folder with programs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # with importlib's import mode, a test's neighbours are not on the path

from beside_devbox import flyte_away as flyte_away
from cli_process import PROGRAM, command, environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program ``shop.py``."""
    (tmp_path / "shop.py").write_text(PROGRAM)
    return tmp_path


Flyte = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_flyte(folder: Path) -> Flyte:
    """Run ``flyte ARGS`` in ``folder`` and give what it wrote and its exit code."""

    def run(*args: str, cwd: Path = folder, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*args), cwd=cwd, env=environment(**env), input=stdin, capture_output=True, text=True, timeout=60
        )

    return run
