"""Two processes that run the programs of the suite, one here and one on a real devbox, and what they saw."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHECKED = HERE.parent / "checked_devbox.py"
"""The devbox, which also holds each request to its rules."""
sys.path.insert(0, str(HERE))  # for the programs, which the processes find in the same way
PATIENCE_S = 110.0
AT_ONCE = {"local": "1", "remote": "4"}


class Driver:
    """``driver.py`` in one mode."""

    def __init__(self, mode: str, folder: Path, names: list[str], environ: dict[str, str]) -> None:
        self.mode, self.folder, self.log = mode, folder / mode, folder / f"{mode}.log"
        self.folder.mkdir()
        self.process = start(
            [str(HERE / "driver.py"), mode, str(self.folder), AT_ONCE[mode], *names], self.log, environ
        )

    def saw(self, name: str) -> dict[str, Any]:
        """What was seen of a program, once it has ended."""
        file = self.folder / f"{name}.json"
        until = time.monotonic() + PATIENCE_S
        while not file.exists():
            assert self.process.poll() is None or file.exists(), self.log.read_text()[-5000:]
            assert time.monotonic() < until, f"{name} has not ended ({self.mode}): {self.log.read_text()[-5000:]}"
            time.sleep(0.05)
        found: dict[str, Any] = json.loads(file.read_text())
        assert "lost" not in found, found["lost"]
        return found


def start(words: list[str], log: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, *words], env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def drivers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    """The two processes; they run the programs of the tests that were asked for."""
    asked = [getattr(item, "callspec", None) for item in request.session.items if item.path.parent == HERE]
    names = [call.params["name"] for call in asked if call is not None]
    folder = tmp_path_factory.mktemp("conformance")
    started = []
    try:
        homes = {mode: folder / f"{mode}-home" for mode in AT_ONCE}
        environ = {mode: {"FLYTE_HOME": str(home), "SECRET_WORD": "sesame"} for mode, home in homes.items()}
        for home in homes.values():
            home.mkdir()
        log = folder / "devbox.log"
        devbox = start([str(CHECKED)], log, environ["remote"])
        started.append(devbox)
        until = time.monotonic() + 20
        while not (homes["remote"] / "devbox" / "endpoint.json").exists():
            assert devbox.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        found = {mode: Driver(mode, folder, names, environ[mode]) for mode in AT_ONCE}
        started += [driver.process for driver in found.values()]
        yield found
    finally:
        for process in reversed(started):
            end(process)


@pytest.fixture(scope="session")
def seen(drivers: dict[str, Driver]) -> Callable[[str], tuple[dict[str, Any], dict[str, Any]]]:
    """What was seen of a program: here, and on the devbox."""
    return lambda name: (drivers["local"].saw(name), drivers["remote"].saw(name))
