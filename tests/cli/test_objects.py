"""``flyte get`` and ``flyte delete``: as a user types them, in processes of their own."""

import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_process import command, environment, typed_here

PROGRAM = """
import asyncio, sys
import flyte, flyte.report

env = flyte.TaskEnvironment(name="farm")

@env.task
async def work(x: int) -> int:
    print(f"working on {x}")
    return x * x

@env.task(report=True)
async def draw(x: int) -> int:
    flyte.report.log(f"<b>drawn {x}</b>")
    return x

@env.task
async def main(n: int = 3, name: str = "Ada") -> list[int]:
    flyte.logger.warning("main begins")
    found = list(await asyncio.gather(*[work(i) for i in range(n)]))
    await draw(n)
    return found

@env.task
async def bad(x: int) -> int:
    raise ValueError(f"{x} is no number of sheep")

@env.task
async def calls_bad(x: int = 13) -> int:
    return await bad(x)

@env.task(retries=1)
async def retried() -> int:
    attempt = flyte.ctx().attempt_number
    print("attempt", attempt)
    if attempt == 0:
        raise ValueError("once more")
    return attempt

@env.task
async def escapes() -> None:
    print("a\\x1b[2Jb\\x1b[31mred\\x1b[0m\\tc")

@env.task
async def sleeps(seconds: float) -> int:
    for i in range(int(seconds * 10)):
        print(f"line {i}", flush=True)
        await asyncio.sleep(0.1)
    return 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "farm.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def flyte(folder, state_folder):
    """Type ``flyte ARGS``; gives what it wrote and its exit code. What only looks is done in this process."""

    def run(*args: str, **more: str) -> "subprocess.CompletedProcess[str]":
        if "run" not in args[:1] and not more:
            return typed_here(*args)
        return subprocess.run(
            command(*args),
            cwd=folder,
            env=environment(FLYTE_HOME=str(state_folder), **more),
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def start(folder, state_folder):
    """Begin ``flyte ARGS`` and go on."""
    begun = []

    def begin(*args: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            command(*args),
            cwd=folder,
            env=environment(FLYTE_HOME=str(state_folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def said(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def refused(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def made(flyte, name: str, *task: str) -> None:
    flyte("run", "--name", name, "farm.py", *(task or ("main",)))


# Runs ---------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_and_chosen(flyte):
    assert "no run is remembered yet" in flyte("get", "run").stderr
    made(flyte, "first")
    made(flyte, "second", "calls_bad")
    lines = said(flyte("get", "run")).splitlines()
    assert lines[0].split() == ["NAME", "TASK", "PHASE", "STARTED", "DURATION"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["second", "farm.calls_bad", "failed"],
        ["first", "farm.main", "succeeded"],
    ]
    assert [line.split()[0] for line in said(flyte("get", "run", "--phase", "succeeded")).splitlines()[1:]] == ["first"]
    assert [line.split()[0] for line in said(flyte("get", "run", "--task", "main")).splitlines()[1:]] == ["first"]
    limited = flyte("get", "run", "--limit", "1")
    assert len(said(limited).splitlines()) == 2 and "--limit 0 lists all" in limited.stderr
    assert "no run is remembered that fits" in flyte("get", "run", "--task", "nope").stderr
    assert "'brunning' is not one of" in refused(flyte("get", "run", "--phase", "brunning"), 2)
    documents = json.loads(said(flyte("get", "run", "--output", "json")))
    assert [one["name"] for one in documents] == ["second", "first"]
    assert documents[0]["error"]["type"] == "ValueError"
    assert json.loads(said(flyte("-of", "json", "get", "run")))[0]["name"] == "second"


def test_one_run_is_shown(flyte):
    made(flyte, "only", "calls_bad")
    for name in ("only", "last"):
        text = said(flyte("get", "run", name))
        assert re.search(r"^run: +only$", text, re.MULTILINE)
        assert re.search(r"^phase: +failed$", text, re.MULTILINE)
        assert re.search(r"^actions: +2 failed$", text, re.MULTILINE)
        assert re.search(r"^error: +ValueError: 13 is no number of sheep", text, re.MULTILINE)
    document = json.loads(said(flyte("get", "run", "last", "--output", "json")))
    assert document["actions"] == {"failed": 2}
    assert "an option that chooses among runs does not go with" in refused(
        flyte("get", "run", "only", "--limit", "1"), 2
    )


def test_unknown_names_are_refused_with_a_hint(flyte):
    made(flyte, "breakfast")
    assert refused(flyte("get", "run", "breakfust")) == (
        "Error: no run 'breakfust' is remembered; did you mean 'breakfast'?; 'flyte get run' lists those that are\n"
    )
    assert "did you mean 'draw'" in refused(flyte("get", "io", "last", "drw"))
    assert "3 actions of run 'breakfast' go by 'work'; name one of them: " in refused(
        flyte("get", "io", "last", "work")
    )
    document = json.loads(flyte("get", "run", "nope", "--output", "json").stdout)
    assert document["error"]["type"] == "NotRemembered"
    assert "did you mean 'run'?" in refused(flyte("get", "rum"), 2).replace("Did", "did")
    assert "did you mean 'get'?" in refused(flyte("gett"), 2).replace("Did", "did")


def test_actions_are_a_tree(flyte):
    made(flyte, "tree")
    lines = said(flyte("get", "action", "tree")).splitlines()
    assert [re.match(r" *\w+", line).group() for line in lines] == [
        "TASK", "main", "  work", "  work", "  work", "  draw",
    ]  # fmt: skip
    names = [line.split()[1] for line in lines[1:]]
    assert names[0] == "a0" and len(set(names)) == 5
    documents = json.loads(said(flyte("get", "action", "tree", "--output", "json")))
    assert [one["name"] for one in documents] == names and documents[1]["parent"] == "a0"
    assert "no actions in that phase" in flyte("get", "action", "tree", "--phase", "failed").stderr
    one = said(flyte("get", "action", "tree", names[1]))
    assert re.search(r"^called by: main \(a0\)$", one, re.MULTILINE)
    assert json.loads(said(flyte("get", "action", "tree", "draw", "--output", "json")))["task"] == "farm.draw"


def test_a_terminal_shows_a_few_of_many_equal_calls_in_colour(flyte, folder, state_folder):
    made(flyte, "many", "main", "--n", "200")
    assert len(said(flyte("get", "action", "many")).splitlines()) == 203
    text = on_terminal(folder, state_folder, "get", "action", "many")
    assert len(text.splitlines()) < 40 and "180 more succeeded; --all shows them" in text and "\x1b[32m" in text
    assert len(on_terminal(folder, state_folder, "get", "action", "many", "--all").splitlines()) > 200
    assert "many" in on_terminal(folder, state_folder, "get", "run")


def on_terminal(folder: Path, state_folder: Path, *args: str) -> str:
    """What ``flyte ARGS`` writes where standard output is a terminal."""
    ours, theirs = pty.openpty()
    env = {**environment(FLYTE_HOME=str(state_folder)), "TERM": "xterm-256color", "COLUMNS": "140"}
    process = subprocess.Popen(command(*args), cwd=folder, env=env, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    text = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 30)
        try:
            piece = os.read(ours, 65536) if ready else b""
        except OSError:  # the other end is closed
            piece = b""
        if not piece:
            break
        text += piece
    os.close(ours)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    return text.decode()


def test_a_reader_that_goes_away_early_is_no_failure_to_be_shown(flyte, folder, state_folder):
    made(flyte, "many", "main", "--n", "300")
    line = " ".join(command("get", "action", "many")) + " | head -1"
    done = subprocess.run(line, shell=True, cwd=folder, env=environment(FLYTE_HOME=str(state_folder)),
                          capture_output=True, text=True, timeout=30)  # fmt: skip
    assert "TASK" in done.stdout and "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_actions_whose_parent_was_not_written_in_time_are_shown_all_the_same(flyte, state_folder):
    made(flyte, "cut")
    with sqlite3.connect(state_folder / "local" / "journal.db") as file:  # as a kill in the first moment leaves it
        file.execute("DELETE FROM action WHERE name = 'a0'")
    file.close()
    assert len(said(flyte("get", "action", "cut")).splitlines()) == 5
    assert "work" in said(flyte("why", "cut"))
    assert "x: " in said(flyte("get", "io", "cut", "draw"))
    assert "run 'cut' had not begun an action" in refused(flyte("get", "io", "cut"))
    assert "called by: " in said(flyte("get", "action", "cut", "draw"))


# What went in and out ------------------------------------------------------------------------------------------------


def test_inputs_and_outputs(flyte):
    made(flyte, "io", "main", "--n", "2")
    assert said(flyte("get", "io", "io")) == "inputs:\n  n: 2\n  name: 'Ada'\noutputs:\n  o0: [0, 1]\n"
    assert said(flyte("get", "io", "io", "--inputs-only")) == "inputs:\n  n: 2\n  name: 'Ada'\n"
    assert said(flyte("get", "io", "io", "draw", "--outputs-only")) == "outputs:\n  o0: 2\n"
    assert said(flyte("get", "io", "io", "draw", "-o")) == "outputs:\n  o0: 2\n"
    document = json.loads(said(flyte("get", "io", "io", "--output", "json")))
    assert document == {"run": "io", "action": "a0", "phase": "succeeded",
                        "inputs": {"n": 2, "name": "Ada"}, "outputs": {"o0": [0, 1]}}  # fmt: skip
    assert "leave nothing to show" in refused(flyte("get", "io", "io", "--inputs-only", "--outputs-only"), 2)
    made(flyte, "bad", "calls_bad")
    assert said(flyte("get", "io", "bad")) == "inputs:\n  x: 13\noutputs: none (it failed)\n"


def test_values_are_shown_when_the_program_is_gone(flyte, folder):
    made(flyte, "io")
    (folder / "farm.py").unlink()
    assert "n: 3" in said(flyte("get", "io", "io"))


def test_log_lines(flyte):
    made(flyte, "logs")
    lines = said(flyte("get", "logs", "logs")).splitlines()
    assert sorted(line for line in lines if "working" in line) == [f"work: working on {i}" for i in range(3)]
    assert any(line.startswith("main: ") and "main begins" in line for line in lines)
    assert all("working" not in line for line in said(flyte("get", "logs", "logs", "main")).splitlines())
    assert len(said(flyte("get", "logs", "logs", "--lines", "2")).splitlines()) == 2
    stamped = said(flyte("get", "logs", "logs", "--timestamps")).splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in stamped)
    documents = [json.loads(line) for line in said(flyte("get", "logs", "logs", "--output", "json")).splitlines()]
    assert {"at", "action", "task", "source", "line"} == set(documents[0])
    assert {one["source"] for one in documents} == {"stdout", "warning"}
    made(flyte, "silent", "calls_bad")
    silent = flyte("get", "logs", "silent", "bad")
    assert silent.stdout == "" and "nothing that it wrote was kept" in silent.stderr


def test_log_lines_of_one_attempt(flyte):
    made(flyte, "again", "retried")
    assert said(flyte("get", "logs", "again", "retried")) == "attempt 0\nattempt 1\n"
    assert said(flyte("get", "logs", "again", "retried", "--attempt", "0")) == "attempt 0\n"
    assert said(flyte("get", "logs", "again", "retried", "-a", "1")) == "attempt 1\n"
    missing = refused(flyte("get", "logs", "again", "retried", "-a", "2"))
    assert "has 2 attempts, the first is 0: there is no 2" in missing
    assert "--attempt is one of an ACTION" in refused(flyte("get", "logs", "again", "--attempt", "0"), 2)


def test_what_a_task_wrote_does_not_move_the_cursor_of_a_terminal(flyte, folder, state_folder):
    made(flyte, "escapes", "escapes")
    assert said(flyte("get", "logs", "escapes")) == "escapes: a\x1b[2Jb\x1b[31mred\x1b[0m\tc\n"
    text = on_terminal(folder, state_folder, "get", "logs", "escapes")
    assert text.startswith("escapes: a[2Jb\x1b[31mred\x1b[0m\tc")


def test_following_ends_with_the_run(flyte, start):
    run = start("run", "--name", "live", "farm.py", "sleeps", "--seconds", "2")
    until_remembered(flyte, "live")
    follower = start("get", "logs", "live", "--follow")
    run.communicate(timeout=30)
    ended = time.monotonic()
    out, err = follower.communicate(timeout=10)
    assert time.monotonic() - ended < 1
    assert follower.returncode == 0, err
    assert out.splitlines() == [f"sleeps: line {i}" for i in range(20)]


def test_following_ends_when_the_run_is_killed(flyte, start, state_folder):
    run = start("run", "--name", "live", "farm.py", "sleeps", "--seconds", "60")
    until_remembered(flyte, "live")
    follower = start("get", "logs", "live", "-f")
    assert follower.stdout is not None and follower.stdout.readline() == "sleeps: line 0\n"
    run.send_signal(signal.SIGKILL)
    run.wait(timeout=10)
    ended = time.monotonic()
    follower.communicate(timeout=10)
    assert time.monotonic() - ended < 1 and follower.returncode == 0
    text = said(flyte("get", "run", "live"))
    assert re.search(r"^phase: +aborted$", text, re.MULTILINE)
    assert "its process ended before it did; 'flyte rerun live --recover' continues it" in text


def until_remembered(flyte, name: str) -> None:
    end = time.monotonic() + 20
    while flyte("get", "logs", name, "--lines", "0").returncode != 0:
        assert time.monotonic() < end


def test_reports(flyte, folder, tmp_path):
    made(flyte, "told")
    path = said(flyte("get", "report", "told", "draw")).strip()
    assert path.endswith("/report.html") and "<b>drawn 3</b>" in Path(path).read_text()
    assert re.search(r"action a0 of run told has no report; these actions have one: \w+ \(draw\)",
                     refused(flyte("get", "report", "told")))  # fmt: skip
    browser = tmp_path / "browser.sh"
    browser.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/opened\n")
    browser.chmod(0o755)
    said(flyte("get", "report", "told", "draw", "--open", BROWSER=str(browser)))
    end = time.monotonic() + 5
    while not (tmp_path / "opened").exists() or not (tmp_path / "opened").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (tmp_path / "opened").read_text().strip() == Path(path).resolve().as_uri()


# Deleting -------------------------------------------------------------------------------------------------------------


def test_runs_are_deleted(flyte, state_folder):
    for name in ("one", "two", "three"):
        made(flyte, name)
    folder_of_two = Path(json.loads(said(flyte("get", "run", "two", "--output", "json")))["url"])
    assert folder_of_two.is_dir()
    assert said(flyte("delete", "run", "two")) == "deleted two\n"
    assert not folder_of_two.exists()
    assert "no run 'two' is remembered" in refused(flyte("get", "run", "two"))
    # All of them, or none.
    refused(flyte("delete", "run", "one", "tvo"))
    assert json.loads(said(flyte("delete", "run", "last", "one", "--output", "json"))) == {
        "deleted": ["three", "one"], "left": [], "skipped": [],
    }  # fmt: skip
    assert "no run is remembered yet" in flyte("get", "run").stderr
    assert "say which: flyte delete run NAME" in refused(flyte("delete", "run"), 2)


def test_old_runs_are_deleted_but_not_what_is_still_needed(flyte, state_folder):
    made(flyte, "old")
    made(flyte, "needed")
    made(flyte, "young")
    with sqlite3.connect(state_folder / "local" / "journal.db") as file:
        file.execute("UPDATE run SET started_at = started_at - 40 * 86400 WHERE name IN ('old', 'needed')")
        file.execute("UPDATE run SET recovered_from = (SELECT id FROM run WHERE name = 'needed') WHERE name = 'young'")
    file.close()
    assert "'30' is no age; give a number and one of s, m, h, d, w" in refused(
        flyte("delete", "run", "--before", "30"), 2
    )
    assert "--before chooses among all runs" in refused(flyte("delete", "run", "old", "--before", "30d"), 2)
    assert "no run was deleted" in flyte("delete", "run", "--before", "50d").stderr
    done = flyte("delete", "run", "--before", "30d")
    assert said(done) == "deleted old\n"
    assert "left: run 'needed' has results that young took over by recovery" in done.stderr
    assert "with --force" in refused(flyte("delete", "run", "needed"))
    assert said(flyte("delete", "run", "needed", "--force")) == "deleted needed\n"


def test_a_run_that_runs_is_not_deleted(flyte, start):
    start("run", "--name", "busy", "farm.py", "sleeps", "--seconds", "60")
    until_remembered(flyte, "busy")
    assert re.match(r"Error: run 'busy' still runs, in process \d+; wait", refused(flyte("delete", "run", "busy")))


# Files that are no journals, and start-up ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("get", "run"),
        ("get", "action", "x"),
        ("get", "io", "x"),
        ("get", "logs", "x"),
        ("delete", "run", "x"),
        ("why", "x"),
    ],
    ids=" ".join,
)
def test_a_damaged_file_is_said_in_one_line(flyte, state_folder, args):
    path = state_folder / "local" / "journal.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all " * 300)
    text = refused(flyte(*args))
    assert text.startswith("Error: ") and "mv " in text and len(text.splitlines()) == 1


def test_a_file_of_a_later_version_is_said(flyte, state_folder):
    made(flyte, "now")
    file = sqlite3.connect(state_folder / "local" / "journal.db")
    file.execute("PRAGMA user_version=999")
    file.close()
    assert "was written by a later version of flyte (format 999" in refused(flyte("get", "run"))
    assert json.loads(flyte("get", "run", "--output", "json").stdout)["error"]["type"] == "NotAJournal"


LOADED = """
import atexit, sys
atexit.register(lambda: print([m for m in {never!r} if m in sys.modules], file=sys.stderr))
from flyte.cli.main import main
sys.exit(main({args!r}))
"""


@pytest.mark.parametrize(
    ("args", "never"),
    [
        (["--help"], ["flyte.cli._objects", "flyte.cli._why", "flyte.cli._deletion", "sqlite3", "rich"]),
        (["get", "--help"], ["sqlite3", "rich", "asyncio", "google.protobuf", "pydantic"]),
        (["get", "io", "--help"], ["sqlite3", "rich", "asyncio", "google.protobuf", "pydantic"]),
        (["why", "--help"], ["sqlite3", "rich", "asyncio", "google.protobuf", "pydantic"]),
        (["delete", "run", "--help"], ["sqlite3", "rich", "asyncio", "google.protobuf", "pydantic"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_help_loads_nothing_heavy(folder, args, never):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(never=never, args=args)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert "Usage: " in done.stdout


def test_completion_knows_names_of_runs(flyte):
    made(flyte, "breakfast")
    words = {"_FLYTE_COMPLETE": "complete_bash", "COMP_WORDS": "flyte get io br", "COMP_CWORD": "3"}
    assert flyte(**words).stdout.strip() == "breakfast"
