"""``flyte get``, ``create``, ``update`` and ``delete`` on a real devbox: as a table, as JSON, and refused."""

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from beside_devbox import Shell
from cli_process import command, environment, on_terminal


def said(flyte_away: Shell, *args: str) -> Any:
    done = flyte_away(*args, "--output", "json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def rows(done: "subprocess.CompletedProcess[str]") -> list[list[str]]:
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def party(flyte_away: Shell) -> str:
    """Name of a run that has ended: a group of two, a failure that was caught, a report."""
    done = flyte_away("run", "--remote", "--follow", "--name", "party", "tea.py", "party", "--cups", "2")
    assert done.returncode == 0, done.stderr
    return "party"


# Actions, values, reports, lines --------------------------------------------------------------------------------------


def test_actions_are_a_tree(flyte_away: Shell, party: str) -> None:
    table = rows(flyte_away("get", "action", "--remote", party))
    assert table[0] == ["TASK", "ACTION", "PHASE", "DURATION", "NOTE"]
    assert [row[0] for row in table[1:]] == ["party", "brew", "brew", "spill"]
    assert table[1][1] == "a0"
    shown = flyte_away("get", "action", "--remote", "last").stdout
    assert "  brew " in shown and "group guests" in shown and "ValueError: 2 cups on the floor" in shown
    documents = said(flyte_away, "get", "action", "--remote", party)
    assert [(one["task"], one["parent"], one["group"], one["phase"]) for one in documents] == [
        ("tea.party", None, None, "succeeded"),
        ("tea.brew", "a0", "guests", "succeeded"),
        ("tea.brew", "a0", "guests", "succeeded"),
        ("tea.spill", "a0", None, "failed"),
    ]
    assert documents[3]["error"]["message"] == "2 cups on the floor"
    failed = rows(flyte_away("get", "action", "--remote", party, "--in-phase", "failed"))
    assert [row[0] for row in failed[1:]] == ["spill"]


def test_an_action_is_shown_by_its_name_or_its_task(flyte_away: Shell, party: str) -> None:
    spilled = said(flyte_away, "get", "action", "--remote", party, "spill")
    assert (spilled["phase"], spilled["attempts"], spilled["run"]) == ("failed", 1, party)
    assert "in spill" in spilled["attempt_list"][0]["error"]["traceback"]
    facts = flyte_away("get", "action", "--remote", party, spilled["name"]).stdout
    assert "called by: party (a0)" in facts and "raise ValueError" in facts
    several = flyte_away("get", "action", "--remote", party, "brew")
    assert several.returncode == 1 and "2 actions of run 'party' go by 'brew'; name one of them: " in several.stderr
    for name in ("nothing", "a-name-that-is-longer-than-any-action-has"):
        missing = flyte_away("get", "action", "--remote", party, name)
        assert (missing.returncode, missing.stdout) == (1, "")
        assert missing.stderr.startswith(f"Error: run 'party' has no action '{name}' at 127.0.0.1:")
        assert len(missing.stderr.splitlines()) == 1


def test_inputs_and_outputs(flyte_away: Shell, party: str) -> None:
    both = flyte_away("get", "io", "--remote", party)
    assert both.stdout == "inputs:\n  cups: 2\noutputs:\n  o0: ['0 green', '1 green']\n"
    assert (
        flyte_away("get", "io", "--remote", party, "spill").stdout == "inputs:\n  cups: 2\noutputs: none (it failed)\n"
    )
    document = said(flyte_away, "get", "io", "--remote", party, "--outputs-only")
    assert document == {"run": party, "action": "a0", "phase": "succeeded", "outputs": {"o0": ["0 green", "1 green"]}}
    assert set(said(flyte_away, "get", "io", "--remote", party, "spill", "-i")["inputs"]) == {"cups"}


def test_a_report_is_fetched(flyte_away: Shell, party: str) -> None:
    path = Path(flyte_away("get", "report", "--remote", party).stdout.strip())
    assert "a party" in path.read_text()
    assert said(flyte_away, "get", "report", "--remote", party, "party") == {
        "run": party,
        "action": "a0",
        "path": str(path),
    }
    none = flyte_away("get", "report", "--remote", party, "spill")
    assert none.returncode == 1 and "has no report; declare its task with report=True" in none.stderr
    later = flyte_away("get", "report", "--remote", party, "--attempt", "3")
    assert later.returncode == 1 and "action a0 has 1 attempts, the first is 0: there is no 3" in later.stderr


def test_lines_of_a_run_and_of_an_action(flyte_away: Shell, party: str) -> None:
    lines = flyte_away("get", "logs", "--remote", party).stdout.splitlines()
    assert lines[:2] == ["party: here they come", "party: caught 2 cups on the floor"]
    assert {"brew: brewing 0", "brew: brewing 1"} < set(lines)
    own = flyte_away("get", "logs", "--remote", party, "party", "--lines", "1")
    assert own.stdout == "caught 2 cups on the floor\n"
    documents = [
        json.loads(line)
        for line in flyte_away("get", "logs", "--remote", party, "a0", "--output", "json").stdout.splitlines()
    ]
    assert [(one["action"], one["task"], one["line"]) for one in documents] == [
        ("a0", "tea.party", "here they come"),
        ("a0", "tea.party", "caught 2 cups on the floor"),
    ]
    stamped = flyte_away("get", "logs", "--remote", party, "a0", "--show-ts").stdout
    assert stamped.startswith("20") and stamped.splitlines()[0].endswith(" here they come")
    wrong = flyte_away("get", "logs", "--remote", party, "a0", "--attempt", "5")
    assert wrong.returncode == 1 and "action a0 has 1 attempts, the first is 0: there is no 5" in wrong.stderr


def test_lines_are_followed_until_the_run_ends(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "party", "--cups", "3").stdout.strip()
    done = flyte_away("get", "logs", "--remote", "--follow", name)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "party: here they come"
    assert {f"brew: brewing {cup}" for cup in range(3)} < set(lines)
    assert "party: caught 3 cups on the floor" in lines
    assert flyte_away("get", "run", "--remote", name, "--output", "json").stdout.count('"phase": "succeeded"') == 1


def test_what_goes_on_is_not_waited_for_without_follow(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "wait", "--seconds", "60").stdout.strip()
    until = time.monotonic() + 30
    while "waiting" not in (done := flyte_away("get", "logs", "--remote", name)).stdout:
        assert done.returncode == 0 and time.monotonic() < until, done
    assert done.stdout == "wait: waiting\n"
    assert flyte_away("get", "logs", "--remote", name, "wait", "--lines", "5").stdout == "waiting\n"
    running = flyte_away("get", "report", "--remote", name)
    assert running.returncode == 1 and "look again when it has ended" in running.stderr
    following = subprocess.Popen(
        command("get", "logs", "--remote", "--follow", "--lines", "9", name),
        cwd=flyte_away.folder,
        env={**environment(), "FLYTE_HOME": str(flyte_away.home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, following.kill)
    watchdog.start()
    try:
        assert following.stdout is not None
        assert following.stdout.readline() == "wait: waiting\n"
        assert flyte_away("abort", "run", name, "--output", "json").returncode == 0
        following.stdout.read()
        assert following.wait(30) == 0
    finally:
        watchdog.cancel()
        following.kill()
        following.stdout.close()
        following.wait()


def test_a_live_tree_is_drawn_on_a_terminal(flyte_away: Shell) -> None:
    args = ("run", "--remote", "--follow", "--name", "drawn", "tea.py", "party", "--cups", "2")
    written = on_terminal(flyte_away.folder, *args, FLYTE_HOME=str(flyte_away.home))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).splitlines()
    assert "run drawn of tea.party started on the devbox" in lines
    assert "here they come" in lines and "brew: brewing 1" in lines
    assert any(line.startswith("failed: tea.spill (action ") for line in lines)
    assert lines[-5:-3] == ["tea.party  done", "├─ [guests] tea.brew  x 2  2 done"], lines
    assert lines[-3] == "└─ tea.spill  failed"
    assert re.fullmatch(r"run drawn of tea\.party succeeded in .*: 3 done, 1 failed", lines[-2])
    assert lines[-1] == "['0 green', '1 green']"
    assert "a0: running" not in lines


def test_an_action_is_aborted(flyte_away: Shell) -> None:
    name = flyte_away("run", "--remote", "tea.py", "wait", "--seconds", "60").stdout.strip()
    assert flyte_away("abort", "action", name, "a0", "--reason", "cold").stdout == f"aborted {name}/a0\n"
    assert said(flyte_away, "abort", "action", name, "a0") == {
        "run": name,
        "action": "a0",
        "aborted": False,
        "phase": "aborted",
    }
    missing = flyte_away("abort", "action", name, "nope")
    assert missing.returncode == 1 and "has no action 'nope'" in missing.stderr and "Traceback" not in missing.stderr


def test_a_run_that_waits_for_somebody_says_so(flyte_away: Shell) -> None:
    following = subprocess.Popen(
        command("run", "--remote", "--follow", "--name", "sweet", "tea.py", "stirred", "--cups", "1"),
        cwd=flyte_away.folder,
        env={**environment(), "FLYTE_HOME": str(flyte_away.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(60, following.kill)
    watchdog.start()
    try:
        assert following.stderr is not None
        for line in following.stderr:
            if "waits for an answer" in line:
                break
        assert line == "sugar waits for an answer: flyte signal sweet sugar VALUE\n"
        assert flyte_away("signal", "sweet", "sugar", "true").returncode == 0
        out, _ = following.communicate(timeout=30)
        assert (out, following.returncode) == ("stirred\n", 0)
    finally:
        watchdog.cancel()
        following.kill()
        following.communicate()


# Projects, tasks, triggers, secrets -----------------------------------------------------------------------------------


def test_projects(flyte_away: Shell) -> None:
    made = flyte_away("create", "project", "--id", "house", "--name", "Tea house", "--label", "team=green")
    assert (made.returncode, made.stdout) == (0, "made project house\n"), made.stderr
    assert flyte_away("create", "project", "--id", "house").stderr.startswith(
        "Error: there is a project 'house' already"
    )
    assert said(flyte_away, "update", "project", "house", "--description", "tea")["description"] == "tea"
    assert flyte_away("update", "project", "house").returncode == 2
    listed = rows(flyte_away("get", "project", "--remote"))
    assert [row[0] for row in listed] == ["ID", "flytesnacks", "house"]
    facts = flyte_away("get", "project", "house").stdout
    assert "labels:" in facts and "team=green" in facts
    assert flyte_away("delete", "project", "house").stdout == "archived project house\n"
    assert [one["id"] for one in said(flyte_away, "get", "project")] == ["flytesnacks"]
    assert [one["id"] for one in said(flyte_away, "get", "project", "--archived")] == ["house"]
    assert flyte_away("update", "project", "house", "--unarchive").stdout == "brought back project house\n"
    missing = flyte_away("get", "project", "nope")
    assert missing.returncode == 1 and "there is no project 'nope' at 127.0.0.1:" in missing.stderr


def test_runs_of_another_project(flyte_away: Shell) -> None:
    done = flyte_away(
        "run", "--remote", "--follow", "-p", "elsewhere", "--name", "far", "tea.py", "brew", "--cups", "1"
    )
    assert done.returncode == 0, done.stderr
    assert said(flyte_away, "get", "run", "--remote", "far", "-p", "elsewhere")["project"] == "elsewhere"
    assert [one["name"] for one in said(flyte_away, "get", "run", "--remote", "-p", "elsewhere")] == ["far"]
    assert flyte_away("get", "io", "--remote", "far", "-p", "elsewhere", "-o").stdout == "outputs:\n  o0: '1 green'\n"
    assert flyte_away("get", "logs", "--remote", "far", "-p", "elsewhere").stdout == "brew: brewing 1\n"
    assert len(said(flyte_away, "get", "action", "--remote", "far", "-p", "elsewhere")) == 1
    ended = said(flyte_away, "abort", "run", "far", "-p", "elsewhere")
    assert ended == {"runs": [{"run": "far", "aborted": False, "phase": "succeeded"}]}
    again = flyte_away("rerun", "--remote", "--follow", "-p", "elsewhere", "far")
    assert (again.returncode, again.stdout) == (0, "1 green\n"), again.stderr
    assert len(said(flyte_away, "get", "run", "--remote", "-p", "elsewhere")) == 2
    not_here = flyte_away("get", "run", "--remote", "far")
    assert "there is no run 'far' in project 'flytesnacks', domain 'development' at" in not_here.stderr
    nowhere = flyte_away("get", "run", "--remote", "-p", "nope")
    assert nowhere.returncode == 1 and "there is no project 'nope'" in nowhere.stderr
    here = flyte_away("get", "action", "far", "-p", "elsewhere")
    assert here.returncode == 2 and "add --remote" in here.stderr


def test_tasks_and_triggers(flyte_away: Shell) -> None:
    none = flyte_away("get", "task", "-d", "staging")
    assert (none.returncode, none.stdout) == (0, "") and "flyte deploy FILE" in none.stderr
    assert flyte_away("deploy", "tea.py", "--version", "v7", "-d", "production").returncode == 0
    listed = rows(flyte_away("get", "task", "-d", "production"))
    assert listed[0][:2] == ["NAME", "VERSION"]
    assert ["tea.party", "v7"] in [row[:2] for row in listed]
    shown = said(flyte_away, "get", "task", "tea.brew", "--remote", "-d", "production")
    assert (shown["version"], shown["required_args"]) == ("v7", ["cups"])
    facts = flyte_away("get", "task", "tea.brew", "v7", "-d", "production").stdout
    assert "interface:     (cups: int, kind: str = 'green') -> o0: str" in facts
    missing = flyte_away("get", "task", "tea.brew", "v8", "-d", "production")
    assert missing.returncode == 1 and "no task 'tea.brew' of version 'v8' is deployed" in missing.stderr

    where = ("-d", "production")
    made = flyte_away("create", "trigger", "tea.daily", "noon", "--schedule", "0 12 * * *", "--timezone",
                      "Asia/Tokyo", "--trigger-time-var", "at", *where)  # fmt: skip
    assert made.stdout == "trigger noon of tea.daily: cron 0 12 * * * (Asia/Tokyo)\n", made.stderr
    assert [row[0] for row in rows(flyte_away("get", "trigger", *where))] == ["NAME", "morning", "noon"]
    off = flyte_away("update", "trigger", "noon", "tea.daily", "--deactivate", *where)
    assert off.stdout == "deactivated trigger noon of tea.daily\n"
    one = said(flyte_away, "get", "trigger", "tea.daily", "noon", "--remote", *where)
    assert (one["active"], one["task_version"], one["inputs"]) == (False, "v7", ["cups"])
    assert "active:       no" in flyte_away("get", "trigger", "tea.daily", "noon", *where).stdout
    assert said(flyte_away, "delete", "trigger", "noon", "tea.daily", *where) == {
        "deleted": "noon",
        "task": "tea.daily",
    }
    for args in (("get", "trigger", "tea.daily", "noon"), ("delete", "trigger", "noon", "tea.daily")):
        gone = flyte_away(*args, *where)
        assert gone.returncode == 1 and "has no trigger 'noon'" in gone.stderr
    for args, words in (
        (("tea.daily", "x", "--schedule", "nonsense"), "'nonsense' is not a schedule"),
        (("tea.daily", "x", "--trigger-time-var", "at"), "give that too"),
        (("tea.daily", "x", "--schedule", "0 1 * * *", "--trigger-time-var", "no"), "there is no parameter 'no'"),
        (("tea.brew", "x"), "is missing the required argument cups"),
        (("tea.nope", "x"), "no task 'tea.nope' is deployed"),
    ):
        refused = flyte_away("create", "trigger", *args, *where)
        assert refused.returncode in (1, 2) and words in refused.stderr, refused


def test_secrets(flyte_away: Shell, tmp_path: Path) -> None:
    assert "flyte create secret NAME" in flyte_away("get", "secret").stderr
    made = flyte_away("create", "secret", "PASSWORD", "--value", "sesame")
    assert (made.returncode, made.stdout) == (0, "kept secret PASSWORD of everybody\n"), made.stderr
    opened = flyte_away("run", "--remote", "--follow", "tea.py", "lock", "--door", "front")
    assert opened.stdout == "frontemases\n", opened.stderr
    (tmp_path / "value").write_bytes(b"other")
    there = ("-p", "flytesnacks", "-d", "development")
    own = said(flyte_away, "create", "secret", "PASSWORD", "--from-file", str(tmp_path / "value"), *there)
    assert (own["name"], own["project"], own["type"]) == ("PASSWORD", "flytesnacks", "regular")
    assert flyte_away("run", "--remote", "-f", "tea.py", "lock", "--door", "a").stdout == "arehto\n"
    assert [row[:3] for row in rows(flyte_away("get", "secret", "--remote"))[1:]] == [
        ["PASSWORD", "regular", "-"],
        ["PASSWORD", "regular", "flytesnacks"],
    ]
    assert "sesame" not in flyte_away("get", "secret", "PASSWORD").stdout
    assert flyte_away("update", "secret", "PASSWORD", "--value", "third", *there).returncode == 0
    assert flyte_away("delete", "secret", "PASSWORD", *there).stdout == "deleted secret PASSWORD\n"
    again = flyte_away("delete", "secret", "PASSWORD", *there)
    assert again.returncode == 1
    assert "there is no secret 'PASSWORD' of project 'flytesnacks' and domain 'development'" in again.stderr
    for args, words in (
        (("x",), "there is nobody to ask for the value"),
        (("x", "--value", ""), "the value of secret 'x' is empty"),
        (("x", "--value", "v", "--from-file", "f"), "give one of them"),
        (("x", "--from-file", "not-there"), "not-there"),
        (("x", "--value", "v", "--type", "odd"), "'odd' is not one of regular, image_pull"),
    ):
        refused = flyte_away("create", "secret", *args)
        assert refused.returncode in (1, 2) and words in refused.stderr and "Traceback" not in refused.stderr, refused


# Where there is no control plane --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [("get", "run", "--remote"), ("get", "project"), ("create", "secret", "x", "--value", "y"), ("whoami",),
     ("get", "action", "last", "--remote"), ("rerun", "--remote", "last"), ("abort", "run", "last")],
)  # fmt: skip
def test_without_a_devbox_the_way_to_one_is_said(tmp_path: Path, args: tuple[str, ...]) -> None:
    alone = Shell(tmp_path, tmp_path)
    done = alone(*args)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "no devbox runs on this machine; start one with 'flyte start devbox'" in done.stderr
    document = json.loads(alone("--output-format", "json", *args).stdout)
    assert document["error"]["code"] == "NoControlPlaneError"


def test_a_wrong_token_is_said(flyte_away: Shell, tmp_path: Path) -> None:
    endpoint = json.loads((flyte_away.home / "devbox" / "endpoint.json").read_text())["endpoint"]
    done = Shell(tmp_path, tmp_path)("--endpoint", endpoint, "--insecure", "get", "run")
    assert done.returncode == 1
    assert "UNAUTHENTICATED: the devbox wants its token, which lies in devbox/token of FLYTE_HOME" in done.stderr
