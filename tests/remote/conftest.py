"""A real devbox, as a process of its own, for the tests of this folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKED = Path(__file__).parents[1] / "checked_devbox.py"
"""The devbox, which also holds each request to its rules."""


class DevboxProcess:
    """A devbox whose state folder is ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> dict[str, object]:
        said: dict[str, object] = json.loads((self.home / "devbox" / "endpoint.json").read_bytes())
        return said

    def start(self) -> None:
        environment = {**os.environ, "FLYTE_HOME": str(self.home)}
        with open(self.home / "devbox.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(CHECKED)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError((self.home / "devbox.log").read_text())
            try:
                if self.said["pid"] == self.process.pid:
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        raise RuntimeError("the devbox did not start within 20 s")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


@pytest.fixture(scope="module")
def devbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevboxProcess]:
    made = DevboxProcess(tmp_path_factory.mktemp("devbox"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def devbox(devbox_process: DevboxProcess, monkeypatch: pytest.MonkeyPatch) -> DevboxProcess:
    """The module's devbox, whose state folder is that of the test."""
    monkeypatch.setenv("FLYTE_HOME", str(devbox_process.home))
    return devbox_process


@pytest.fixture
def own_devbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DevboxProcess]:
    """A devbox that the test may kill."""
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    made = DevboxProcess(tmp_path)
    made.start()
    yield made
    made.stop()
