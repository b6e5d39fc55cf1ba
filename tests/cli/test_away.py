"""``flyte run --remote`` and its like, against a real devbox."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_process import command, environment

CHECKED = Path(__file__).parents[1] / "checked_devbox.py"
"""The devbox, which also holds each request to its rules."""

PROGRAM = """
import time

import flyte

env = flyte.TaskEnvironment(name="tea")


@env.task
async def brew(cups: int, kind: str = "green") -> str:
    print("brewing", cups)
    return f"{cups} {kind}"


@env.task
async def spill(cups: int) -> str:
    raise ValueError(f"{cups} cups on the floor")


@env.task
def wait(seconds: float) -> None:
    print("waiting", flush=True)
    time.sleep(seconds)
"""


class Shell:
    """Runs ``flyte ARGS`` beside a devbox."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home

    def __call__(self, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
        variables = {**environment(**env), "FLYTE_HOME": str(self.home)}
        return subprocess.run(
            command(*args), cwd=self.folder, env=variables, capture_output=True, text=True, timeout=60, input=""
        )


@pytest.fixture(scope="module")
def flyte_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    (folder / "tea.py").write_text(PROGRAM)
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(CHECKED)],
            env={**os.environ, "FLYTE_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    until = time.monotonic() + 20
    while not (home / "devbox" / "endpoint.json").exists():
        assert time.monotonic() < until and process.poll() is None, (home / "log").read_text()
        time.sleep(0.05)
    yield Shell(folder, home)
    process.terminate()
    process.wait(timeout=20)


def test_a_run_is_started_and_named(flyte_away: Shell) -> None:
    done = flyte_away("run", "--remote", "--name", "first-tea", "tea.py", "brew", "--cups", "2")
    assert (done.returncode, done.stdout) == (0, "first-tea\n"), done.stderr
    assert "run first-tea of tea.brew started: http://127.0.0.1:" in done.stderr
    twice = flyte_away("run", "--remote", "--name", "first-tea", "tea.py", "brew", "--cups", "2")
    assert twice.returncode == 1
    assert "there is a run 'first-tea' already" in twice.stderr
    assert "Traceback" not in twice.stderr


def test_follow_shows_phases_lines_and_the_result(flyte_away: Shell) -> None:
    done = flyte_away("run", "--remote", "--follow", "tea.py", "brew", "--cups", "2")
    assert (done.returncode, done.stdout) == (0, "2 green\n"), done.stderr
    for words in ("a0: succeeded", "brewing 2", " succeeded in "):
        assert words in done.stderr


def test_follow_of_a_failure(flyte_away: Shell) -> None:
    done = flyte_away("run", "--remote", "--follow", "tea.py", "spill", "--cups", "2")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: 2 cups on the floor")
    said = flyte_away("run", "--remote", "--follow", "--output", "json", "tea.py", "spill", "--cups", "3")
    document = json.loads(said.stdout)
    assert said.returncode == 1
    assert document["phase"] == "failed"
    assert document["error"]["type"] == "ValueError"
    assert document["error"]["message"] == "3 cups on the floor"
    assert "in spill" in document["error"]["traceback"]


def test_json_of_a_run(flyte_away: Shell) -> None:
    done = flyte_away("run", "--remote", "--follow", "--output", "json", "tea.py", "brew", "--cups", "4")
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["outputs"] == {"o0": "4 green"}
    assert document["phase"] == "succeeded"
    assert document["url"].endswith(document["run"])


def test_an_endpoint_makes_remote_the_default(flyte_away: Shell) -> None:
    endpoint = json.loads((flyte_away.home / "devbox" / "endpoint.json").read_text())["endpoint"]
    done = flyte_away("--endpoint", endpoint, "--insecure", "run", "-f", "tea.py", "brew", "--cups", "5")
    assert (done.returncode, done.stdout) == (0, "5 green\n"), done.stderr
    assert "started: http" in done.stderr
    by_variable = flyte_away(
        "run", "-f", "tea.py", "brew", "--cups", "5", FLYTE_ADMIN_ENDPOINT=endpoint, FLYTE_ADMIN_INSECURE="true"
    )
    assert (by_variable.returncode, by_variable.stdout) == (0, "5 green\n"), by_variable.stderr
    assert "started: http" in by_variable.stderr
    here = flyte_away("--endpoint", endpoint, "run", "--local", "tea.py", "brew", "--cups", "5")
    assert (here.returncode, here.stdout) == (0, "brewing 5\n5 green\n"), here.stderr
    assert "started: http" not in here.stderr


def test_runs_are_listed_and_shown(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "brew", "--cups", "7").stdout.strip()
    listed = flyte_away("get", "run", "--remote")
    assert name in listed.stdout.splitlines()[1]
    assert flyte_away("get", "logs", "--remote", name).stdout == "brewing 7\n"
    shown = json.loads(flyte_away("get", "run", "--remote", name, "--output", "json").stdout)
    assert shown["name"] == name
    assert shown["actions"] == {"succeeded": 1}
    facts = flyte_away("get", "run", "--remote", "last").stdout
    assert name in facts and "flytesnacks" in facts
    missing = flyte_away("get", "run", "--remote", "no-such-run")
    assert missing.returncode == 1
    assert "there is no run 'no-such-run'" in missing.stderr


def test_a_run_is_aborted(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "wait", "--seconds", "60").stdout.strip()
    done = flyte_away("abort", "run", name, "--reason", "cold")
    assert (done.returncode, done.stdout) == (0, f"aborted {name}\n"), done.stderr
    again = json.loads(flyte_away("abort", "run", name, "--output", "json").stdout)
    assert again == {"runs": [{"run": name, "aborted": False, "phase": "aborted"}]}
    assert flyte_away("abort", "run", "no-such-run").returncode == 1


def test_a_file_is_deployed(flyte_away: Shell) -> None:
    done = flyte_away("deploy", "tea.py", "--version", "v1")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["tea.brew", "v1", "deployed"],
        ["tea.spill", "v1", "deployed"],
        ["tea.wait", "v1", "deployed"],
    ]
    said = json.loads(flyte_away("deploy", "tea.py", "--output", "json").stdout)
    assert said["deployed"][0]["environments"] == ["tea"]


def test_a_run_is_run_again(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "brew", "--cups", "8").stdout.strip()
    done = flyte_away("rerun", "--remote", "--follow", name)
    assert (done.returncode, done.stdout) == (0, "8 green\n"), done.stderr
    other = flyte_away("rerun", "--remote", "--follow", name, "--kind", "black")
    assert "8 black" in other.stdout, other.stderr
    missing = flyte_away("rerun", "--remote", "no-such-run")
    assert missing.returncode == 1
    assert "there is no run 'no-such-run'" in missing.stderr
