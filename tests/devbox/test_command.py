"""``flyte start devbox`` and ``flyte stop devbox``, as a user types them."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def flyte(tmp_path):
    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flyte.cli.main", *words],
            env={**os.environ, "FLYTE_HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    yield run
    run("stop", "devbox")


def test_a_devbox_is_started_and_stopped(flyte, tmp_path):
    first = flyte("start", "devbox")
    assert first.startswith("the devbox listens on dns:///127.0.0.1:")
    assert flyte("start", "devbox").startswith("the devbox runs already on ")
    said = json.loads(flyte("start", "devbox", "--output", "json"))
    assert said["running"] and said["endpoint"] in first and said["folder"] == str(tmp_path / "devbox")
    assert flyte("stop", "devbox") == "the devbox is stopped\n"
    assert flyte("stop", "devbox") == "the devbox does not run\n"


def test_a_devbox_that_cannot_start_is_an_error(flyte, tmp_path):
    (tmp_path / "devbox").mkdir()
    (tmp_path / "devbox" / "devbox.db").write_bytes(b"no database" * 200)
    assert flyte("start", "devbox", code=1).startswith("Error: the devbox ended with exit code 1: ")


def test_hello_gives_the_same_there_as_here(flyte):
    flyte("start", "devbox")
    assert "285" in flyte("run", "hello").splitlines()
    assert "285" in flyte("run", "--remote", "--follow", "hello").splitlines()


def test_it_says_how_attempts_start(flyte):
    assert "--no-warm" in flyte("start", "devbox", "--help")
    flyte("start", "devbox", "--no-warm")
    assert "attempts  started as new processes" in flyte("get", "devbox")
    flyte("stop", "devbox")
    said = json.loads(flyte("start", "devbox", "--output", "json"))
    assert said["warm"] is (sys.platform == "linux")
