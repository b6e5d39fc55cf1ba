"""``flyte run --remote`` and its like, against a real devbox."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from beside_devbox import Shell


def test_a_run_is_started_and_named(flyte_away: Shell) -> None:
    done = flyte_away("run", "--remote", "--name", "first-tea", "tea.py", "brew", "--cups", "2")
    assert (done.returncode, done.stdout) == (0, "first-tea\n"), done.stderr
    assert "run first-tea of tea.brew started on the devbox\n" in done.stderr
    assert "to see it: flyte get run first-tea --remote\n" in done.stderr
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
    assert "started on the devbox" in done.stderr
    by_variable = flyte_away(
        "run", "-f", "tea.py", "brew", "--cups", "5", FLYTE_ADMIN_ENDPOINT=endpoint, FLYTE_ADMIN_INSECURE="true"
    )
    assert (by_variable.returncode, by_variable.stdout) == (0, "5 green\n"), by_variable.stderr
    assert "started on the devbox" in by_variable.stderr
    here = flyte_away("--endpoint", endpoint, "run", "--local", "tea.py", "brew", "--cups", "5")
    assert (here.returncode, here.stdout) == (0, "brewing 5\n5 green\n"), here.stderr
    assert "started on the devbox" not in here.stderr


def test_runs_are_listed_and_shown(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "brew", "--cups", "7").stdout.strip()
    listed = flyte_away("get", "run", "--remote")
    assert name in listed.stdout.splitlines()[1]
    assert flyte_away("get", "logs", "--remote", name).stdout == "brew: brewing 7\n"
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
    tasks = ["tea.brew", "tea.spill", "tea.wait", "tea.party", "tea.stirred", "tea.daily", "door.lock"]
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [[task, "v1", "deployed"] for task in tasks]
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


def test_a_deployed_task_is_run_by_its_name(flyte_away: Shell) -> None:
    assert flyte_away("deploy", "tea.py", "--version", "of-name").returncode == 0
    done = flyte_away("run", "--follow", "deployed-task", "tea.brew", "--cups", "6", "--kind", "black")
    assert (done.returncode, done.stdout) == (0, "6 black\n"), done.stderr
    one = flyte_away("run", "--follow", "--name", "of-a-version", "deployed-task", "tea.brew:of-name", "--cups", "1")
    assert (one.returncode, one.stdout) == (0, "1 green\n"), one.stderr
    listed = flyte_away("run", "deployed-task")
    assert "tea.brew" in listed.stdout.split()
    assert "flyte run deployed-task door.lock ..." in listed.stderr
    for name, words in (
        ("tea.nope", "no task 'tea.nope' is deployed in project 'flytesnacks'"),
        ("tea.brew:v0", "no task 'tea.brew' of version 'v0' is deployed"),
    ):
        missing = flyte_away("run", "deployed-task", name, "--cups", "1")
        assert missing.returncode == 1 and words in missing.stderr
    wrong = flyte_away("run", "deployed-task", "tea.brew", "--cups", "many")
    assert wrong.returncode == 2 and "--cups" in wrong.stderr


def test_a_file_of_configuration_makes_remote_the_default(flyte_away: Shell, tmp_path: Path) -> None:
    endpoint = json.loads((flyte_away.home / "devbox" / "endpoint.json").read_text())["endpoint"]
    file = tmp_path / "there.yaml"
    file.write_text(f"admin:\n  endpoint: {endpoint}\n  insecure: true\ntask:\n  domain: staging\n")
    done = flyte_away("--config", str(file), "run", "--follow", "--name", "staged", "tea.py", "brew", "--cups", "3")
    assert (done.returncode, done.stdout) == (0, "3 green\n"), done.stderr
    shown = json.loads(flyte_away("-c", str(file), "get", "run", "staged", "--output", "json").stdout)
    assert shown["domain"] == "staging"
    assert flyte_away("get", "io", "--remote", "staged", "-d", "staging", "-o").stdout == "outputs:\n  o0: '3 green'\n"


# What a new user does -------------------------------------------------------------------------------------------------


def test_the_way_of_a_new_user(tmp_path: Path) -> None:
    """The README's: start the devbox, run an example there, look at the run."""
    flyte_new = Shell(tmp_path, tmp_path / "home")
    started = flyte_new("start", "devbox")
    try:
        assert started.returncode == 0, started.stderr
        assert started.stdout.startswith("the devbox listens on dns:///127.0.0.1:")
        assert started.stderr == "to run something there: flyte run --remote hello\n"
        ran = flyte_new("run", "--remote", "--follow", "hello")
        assert (ran.returncode, ran.stdout) == (0, "285\n"), ran.stderr
        assert ran.stderr.splitlines()[-1].endswith(": 11 done")
        listed = flyte_new("get", "run", "--remote").stdout.splitlines()
        assert len(listed) == 2 and "hello.main" in listed[1] and "succeeded" in listed[1]
        here = flyte_new("get", "run")
        assert here.stderr == "no run is remembered yet; the devbox is another place to look: add --remote\n"
        missing = flyte_new("get", "action", listed[1].split()[0])
        assert missing.returncode == 1
        assert missing.stderr.endswith("; the devbox is another place to look: add --remote\n")
        assert flyte_new("rerun", "nope").stderr.endswith("; the devbox is another place to look: add --remote\n")
        again = flyte_new("start", "devbox")
        assert "runs already on" in again.stdout
    finally:
        stopped = flyte_new("stop", "devbox")
    assert stopped.stdout == "the devbox is stopped\n", stopped.stderr
    after = flyte_new("get", "run")
    assert after.stderr == "no run is remembered yet\n"
