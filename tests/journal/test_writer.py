"""The journal's file: many writers, a busy file, a damaged one, one of a later version, and a full disk."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest

import flyte
from flyte._journal.schema import MIGRATIONS, NotAJournal, journal_path, open_file

env = flyte.TaskEnvironment("journal")


@env.task
async def leaf(x: int) -> int:
    return x + 1


@env.task
async def main(n: int) -> int:
    return sum(await asyncio.gather(*[leaf(i) for i in range(n)]))


@env.task
async def chain(n: int) -> int:
    for i in range(n):
        await leaf(i)
    return n


def rows(statement: str, *values):
    file = sqlite3.connect(journal_path())
    try:
        return file.execute(statement, values).fetchall()
    finally:
        file.close()


def test_what_is_remembered_of_a_run():
    made = flyte.run(main, 3)
    ((number, name, task, phase, pid, error),) = rows("SELECT id, name, task, phase, pid, error FROM run")
    assert (name, task, phase, pid, error) == (made.name, "journal.main", "succeeded", os.getpid(), None)
    found = rows("SELECT name, phase, attempts, parent, run FROM action ORDER BY id")
    assert [row[1:3] for row in found] == [("succeeded", 1)] * 4
    assert found[0][0] == "a0"
    assert {row[3] for row in found[1:]} == {number << 32}
    assert rows("SELECT count(*) FROM action WHERE started_at <= ended_at AND queued_at <= started_at") == [(4,)]


def test_failures_attempts_and_groups_are_remembered():
    tried = []

    @env.task(retries=2)
    async def shaky() -> int:
        tried.append(1)
        raise ValueError("no luck")

    @env.task
    async def caller() -> int:
        with flyte.group("first"):
            return await shaky()

    with pytest.raises(ValueError, match="no luck"):
        flyte.run(caller)
    assert rows(
        "SELECT t.name, a.phase, a.attempts, a.grp FROM action a JOIN task t ON t.id = a.task ORDER BY a.id"
    ) == [
        ("journal.caller", "failed", 1, None),
        ("journal.shaky", "failed", 3, "first"),
    ]
    assert [number for (number,) in rows("SELECT number FROM attempt ORDER BY number")] == [0, 1]
    ((error,),) = rows("SELECT error FROM run")
    assert "no luck" in error and "ValueError" in error


def test_it_is_off_with_one_setting(monkeypatch):
    monkeypatch.setenv("FLYTE_JOURNAL", "off")
    assert flyte.run(main, 2).result == 3
    assert not journal_path().exists()


def test_nobody_else_may_read_it():
    flyte.run(main, 1)
    assert journal_path().stat().st_mode & 0o077 == 0


def test_a_file_that_is_busy_blocks_neither_the_loop_nor_the_run():
    flyte.run(main, 1)
    other = sqlite3.connect(journal_path(), isolation_level=None, check_same_thread=False)
    longest = [0.0]

    @env.task
    async def waits() -> int:
        async def watch():
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.001)
                longest[0] = max(longest[0], time.monotonic() - before)

        watching = asyncio.create_task(watch())
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(1.0, other.execute, "COMMIT")
        began = time.monotonic()
        assert await leaf(1) == 2
        took = time.monotonic() - began
        watching.cancel()
        # What it returned is written, so it had to wait for the file.
        assert rows("SELECT count(*) FROM action a JOIN task t ON t.id = a.task WHERE t.name = 'journal.leaf'") == [
            (2,)
        ]
        return round(took)

    try:
        assert flyte.run(waits).result == 1
    finally:
        other.close()
    assert longest[0] < 0.5


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b""])
def test_a_damaged_file_is_said_and_stops_nothing(content, caplog, monkeypatch):
    path = journal_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    if not content:  # an empty file is a journal to be
        assert flyte.run(main, 2).result == 3
        assert rows("SELECT count(*) FROM run") == [(1,)]
        return
    assert flyte.run(main, 2).result == 3
    assert "runs are not remembered" in caplog.text
    assert "move it away" in caplog.text
    assert path.read_bytes() == content


def test_a_file_of_a_later_version_is_left_alone(caplog):
    path = journal_path()
    path.parent.mkdir(parents=True)
    file = sqlite3.connect(path)
    file.execute("PRAGMA journal_mode=WAL")
    file.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    file.close()
    with pytest.raises(NotAJournal, match="later version of flyte"):
        open_file(path, 1.0)
    assert flyte.run(main, 2).result == 3
    assert "later version of flyte" in caplog.text


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path / "file"))
    assert flyte.run(main, 2).result == 3
    assert "runs are not remembered" in caplog.text


def test_a_journal_that_cannot_be_written_any_more_is_said_once_and_stops_nothing(caplog):
    flyte.run(main, 1)
    file = sqlite3.connect(journal_path())
    file.execute("ALTER TABLE action RENAME TO gone")
    file.close()
    assert flyte.run(main, 50).result == 50 * 51 // 2
    assert caplog.text.count("history of this process's runs ends here") == 1


PROGRAM = """
    import asyncio, sys
    import flyte

    env = flyte.TaskEnvironment("many")

    @env.task
    async def leaf(x: int) -> int:
        return x

    @env.task
    async def main(n: int) -> int:
        total = 0
        for i in range(n):
            total += await leaf(i)
        return total + sum(await asyncio.gather(*[leaf(n + i) for i in range(n)]))

    if __name__ == "__main__":
        flyte.run(main, int(sys.argv[1]))
"""


def test_sixteen_processes_write_at_once(tmp_path):
    (tmp_path / "many.py").write_text(textwrap.dedent(PROGRAM))
    children = [
        subprocess.Popen([sys.executable, "many.py", "200"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(16)
    ]
    said = [child.communicate(timeout=100)[1] for child in children]
    assert [child.returncode for child in children] == [0] * 16, said
    assert said == [""] * 16
    assert rows("SELECT count(*), count(DISTINCT writer) FROM run WHERE phase = 'succeeded'") == [(16, 16)]
    assert rows("SELECT count(*) FROM action WHERE phase = 'succeeded'") == [(16 * 401,)]


def test_what_a_caller_has_seen_is_there_after_kill_9(tmp_path):
    source = textwrap.dedent(PROGRAM).replace("total += await leaf(i)", "total += await leaf(i); print(i, flush=True)")
    (tmp_path / "many.py").write_text(source)
    child = subprocess.Popen([sys.executable, "many.py", "100000"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    seen = [child.stdout.readline() for _ in range(500)]
    child.send_signal(signal.SIGKILL)
    seen += child.stdout.readlines()
    child.wait(timeout=10)
    child.stdout.close()
    printed = len([line for line in seen if line.endswith("\n")])
    ((written,),) = rows("SELECT count(*) FROM action WHERE phase = 'succeeded'")
    assert printed <= written <= printed + 1
    assert rows("PRAGMA integrity_check") == [("ok",)]


def test_threads_that_open_a_new_journal_together():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        files = list(threads.map(lambda _: open_file(journal_path(), 1.0), range(8)))
    for file in files:
        assert file.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        file.close()


async def test_two_event_loops_write_at_once():
    async def several() -> list[int]:
        return [(await flyte.run.aio(chain, 50)).result for _ in range(5)]

    beside = asyncio.to_thread(lambda: asyncio.run(several()))
    assert await asyncio.gather(several(), beside) == [[50] * 5, [50] * 5]
    assert rows("SELECT count(*) FROM action WHERE phase = 'succeeded'") == [(10 * 51,)]
