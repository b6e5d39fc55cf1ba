"""Progress: the counts, the plain lines, and the live tree on a pseudo-terminal."""

import asyncio
import contextlib
import re
import time

import pytest
from cli_process import on_terminal

import flyte
from flyte.cli._progress import SHOWN_FAILURES, tree_rows
from flyte.cli._tally import Counts, Tally, seconds_text

env = flyte.TaskEnvironment(name="counted")
attempts: list[int] = []


@env.task
async def leaf(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x


@env.task
async def branch(n: int) -> int:
    with flyte.group("leaves"):
        return sum(await asyncio.gather(*[leaf(i) for i in range(n)]))


@env.task
async def tree(branches: int, leaves: int) -> int:
    total = sum(await asyncio.gather(*[branch(leaves) for _ in range(branches)]))
    return total + await leaf(1)


@env.task
async def some_fail(n: int) -> int:
    results = await asyncio.gather(*[leaf(-i) for i in range(n)], return_exceptions=True)
    return sum(isinstance(r, ValueError) for r in results)


@env.task(retries=3)
async def flaky() -> int:
    attempts.append(flyte.ctx().attempt_number)
    if len(attempts) < 3:
        raise RuntimeError("not yet")
    return 1


@env.task
def sync_leaf(x: int) -> int:
    return leaf_value(x)


def leaf_value(x: int) -> int:
    return x


@env.task
def sync_parent(n: int) -> int:
    return sum(flyte.map(sync_leaf, range(n)))


@env.task
async def waits() -> int:
    await asyncio.sleep(60)
    return 1


@env.task
async def cancels() -> int:
    child = asyncio.create_task(waits())
    await asyncio.sleep(0.05)
    child.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await child
    return 1


def counted(task, *args, **kwargs) -> Tally:
    tally = Tally()
    try:
        flyte.with_runcontext("local", recorder=tally).run(task, *args, **kwargs)
    except Exception:
        pass
    tally.end()
    return tally


def shape(tally: Tally) -> list[tuple[int, str, str | None, int]]:
    """Depth, task, group and number of actions of each line of the tree."""
    return [(len(indent), node.task, node.group, node.total) for indent, node in tree_rows(tally.top)]


def test_equal_children_are_one_line():
    tally = counted(tree, 3, 1000)
    assert tally.counts() == Counts(running=0, done=3005, failed=0, cached=0, recovered=0, stopped=0, retried=0)
    lines = [(task, group, total) for _, task, group, total in shape(tally)]
    assert lines == [
        ("counted.tree", None, 1),
        ("counted.branch", None, 3),
        ("counted.leaf", "leaves", 3000),
        ("counted.leaf", None, 1),
    ]


def test_sync_tasks_are_counted():
    assert counted(sync_parent, 50).counts().done == 51


def test_a_failure_is_counted_where_it_happened_and_above():
    tally = counted(leaf, -1)
    assert tally.counts() == Counts(running=0, done=0, failed=1, cached=0, recovered=0, stopped=0, retried=0)
    assert counted(some_fail, 5).counts() == Counts(
        running=0, done=2, failed=4, cached=0, recovered=0, stopped=0, retried=0
    )


def test_retries_are_no_new_actions():
    attempts.clear()
    assert counted(flaky).counts() == Counts(running=0, done=1, failed=0, cached=0, recovered=0, stopped=0, retried=2)


def test_what_is_cancelled_is_stopped():
    assert counted(cancels).counts() == Counts(running=0, done=1, failed=0, cached=0, recovered=0, stopped=1, retried=0)


def test_only_the_origin_of_a_failure_is_told():
    told = []
    tally = Tally(lambda action, phase, error: told.append((action.task_name, phase.value, str(error))))

    with pytest.raises(ValueError, match="negative"):
        flyte.with_runcontext("local", recorder=tally).run(fails_below, 3)
    assert told == [("counted.leaf", "failed", "-3 is negative")]
    assert tally.counts().failed == 2


@env.task
async def fails_below(x: int) -> int:
    return await leaf(-x)


def test_an_event_costs_about_a_microsecond():
    """A generous bound, for busy machines; measured 0.2 and 0.3 microseconds."""
    seen = []

    class Keeps(Tally):
        def action_started(self, action):
            seen.append(action)
            super().action_started(action)

    flyte.with_runcontext("local", recorder=Keeps()).run(branch, 2000)
    from flyte._core.identity import ActionPhase

    best = float("inf")
    for _ in range(5):
        tally = Tally()
        began = time.perf_counter()
        for action in seen:
            tally.action_started(action)
        for action in seen:
            tally.action_finished(action, ActionPhase.SUCCEEDED, None)
        best = min(best, (time.perf_counter() - began) / (2 * len(seen)))
    assert tally.counts().done == len(seen) == 2001
    assert best < 5e-6


def test_the_tally_keeps_no_action_alive():
    tally = Tally()
    flyte.with_runcontext("local", recorder=tally).run(tree, 5000, 0)
    assert not tally._running
    assert len(tally._families) <= 4096


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0042, "4 ms"), (1.234, "1.23 s"), (12.34, "12.3 s"), (65, "1 min 05 s"), (7400, "2 h 03 min")],
)
def test_durations_for_readers(seconds, text):
    assert seconds_text(seconds) == text


# As a process ---------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio
import sys

import flyte

env = flyte.TaskEnvironment(name="wide")


@env.task
async def square(x: int, pause_s: float, bad: int) -> int:
    await asyncio.sleep(pause_s)
    if x < bad:
        raise ValueError(f"no {x}")
    return x * x


@env.task
async def main(n: int, pause_s: float = 0.0, bad: int = 0) -> int:
    print("begun", flush=True)
    results = await asyncio.gather(*[square(i, pause_s, bad) for i in range(n)], return_exceptions=True)
    print("ended", flush=True)
    return sum(r for r in results if isinstance(r, int))
"""


@pytest.fixture
def wide(folder):
    (folder / "wide.py").write_text(PROGRAM)
    return folder


def test_no_line_for_each_action(wide, run_flyte):
    done = run_flyte("run", "wide.py", "main", "--n", "10000")
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.splitlines()[-1].endswith(": 10,001 done")


def test_a_line_for_each_failure_until_they_are_too_many(wide, run_flyte):
    few = run_flyte("run", "wide.py", "main", "--n", "10", "--bad", "3").stderr.splitlines()
    assert [line.rpartition(": ")[2] for line in few[1:-1]] == ["no 0", "no 1", "no 2"]
    many = run_flyte("run", "wide.py", "main", "--n", "1000", "--bad", "500").stderr.splitlines()
    assert len(many) == SHOWN_FAILURES + 3
    assert many[-2] == "more actions fail; they are counted, without a line each"
    assert many[-1].endswith(": 501 done, 500 failed")


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_live_tree_of_ten_thousand(wide):
    written = on_terminal(
        wide, "run", "--name", "live", "wide.py", "main", "--n", "10000", "--pause-s", "3", "--bad", "1"
    )
    plain = ESCAPES.sub("", written)
    assert re.search(
        r"run live  [\d.]+ m?s  10,001 running, 0 done\nwide\.main  running\n└─ wide\.square  x 10,000  10,000 running",
        plain,
    )
    # The last picture stays; what the program printed is above it, each line whole; the result comes last.
    assert "x 10,000  9,999 done, 1 failed" in plain
    lines = plain.splitlines()
    assert "begun" in lines
    assert any(line.endswith("ended") for line in lines)
    assert any(re.fullmatch(r"failed: wide\.square \(action \w+\): ValueError: no 0", line) for line in lines)
    assert re.fullmatch(r"run live of wide\.main succeeded in .*: 10,000 done, 1 failed", lines[-2])
    assert lines[-1] == str(sum(i * i for i in range(1, 10000)))
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    drawings = plain.count("wide.main  running")
    assert 1 <= drawings <= 80  # about ten a second


def test_a_short_run_on_a_terminal_has_one_line_and_the_result(wide):
    lines = on_terminal(wide, "run", "--name", "short", "wide.py", "main", "--n", "3").splitlines()
    assert lines[:2] == ["begun", "ended"]
    assert re.fullmatch(r"run short of wide\.main succeeded in \d+ ms: 4 done", lines[2])
    assert lines[3:] == ["5"]


def test_no_progress_means_plain_lines_on_a_terminal_too(wide):
    written = on_terminal(
        wide, "--no-progress", "run", "--name", "plain", "wide.py", "main", "--n", "2", "--pause-s", "0.5"
    )
    assert ESCAPES.search(written) is None
    assert written.startswith("run plain of wide.main started\n")


def test_the_tree_is_on_the_terminal_and_the_result_in_the_file(wide):
    with open(wide / "out", "wb") as out:
        written = on_terminal(wide, "run", "wide.py", "main", "--n", "3", "--pause-s", "0.6", stdout=out.fileno())
    assert (wide / "out").read_text() == "begun\nended\n5\n"
    assert "wide.square" in written
    assert "begun" not in written
