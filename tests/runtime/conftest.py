"""A real devbox, as a process of its own, and a client of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

CHECKED = Path(__file__).parents[1] / "checked_devbox.py"
"""The devbox, which also holds each request to its rules."""

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="module")
def devbox_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with (home / "devbox.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(CHECKED)],
            env={**os.environ, "FLYTE_HOME": str(home)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    said = home / "devbox" / "endpoint.json"
    until = time.monotonic() + 20
    while not said.exists() or json.loads(said.read_bytes()).get("pid") != process.pid:
        assert process.poll() is None and time.monotonic() < until, (home / "devbox.log").read_text()
        time.sleep(0.02)
    yield home
    process.terminate()
    process.wait(20)


@pytest.fixture
def away(devbox_home, monkeypatch):
    """Starts a task of ``programs/steps.py`` on the devbox; the run that it gives is not waited for."""
    import flyte

    monkeypatch.setenv("FLYTE_HOME", str(devbox_home))
    monkeypatch.syspath_prepend(str(PROGRAMS))
    flyte.init(root_dir=PROGRAMS)
    import steps

    def run(name, *args):
        return flyte.with_runcontext(mode="remote").run(getattr(steps, name), *args)

    return SimpleNamespace(run=run, home=devbox_home, log=devbox_home / "devbox.log")
