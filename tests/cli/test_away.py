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
