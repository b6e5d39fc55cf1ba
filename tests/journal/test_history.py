"""Reading the history: runs and actions as they were, runs whose process was killed, many writers, and deletion."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import flyte
from flyte._journal import values
from flyte._journal.history import History, NotRemembered
from flyte._journal.history_deletion import RefusedDeletion, delete_runs
from flyte._journal.schema import MIGRATIONS, NotAJournal, journal_path

ROOT = Path(flyte.__file__).parents[1]
env = flyte.TaskEnvironment("past")
tried: list[int] = []


@env.task
async def leaf(x: int) -> int:
    return x + 1


@env.task
async def main(n: int = 3) -> int:
    with flyte.group("leaves"):
        return sum(await asyncio.gather(*[leaf(i) for i in range(n)]))


@env.task(retries=2)
async def shaky(x: int) -> int:
    tried.append(x)
    raise ValueError(f"no luck {len(tried)}")


@env.task
async def caller(x: int) -> int:
    return await shaky(x)


@env.task
async def large(n: int, letter: str) -> str:
    return letter * n


@env.task
async def makes_large(n: int, letter: str = "x") -> int:
    return len(await large(n, letter))


def named(name: str, **more):
    return flyte.with_runcontext("local", name=name, **more)


PROGRAM = """
import asyncio, pathlib, sys, time
import flyte

env = flyte.TaskEnvironment("killed")

@env.task
async def quick(x: int) -> int:
    return x

@env.task
async def slow(x: int) -> int:
    print("slow began", flush=True)
    await asyncio.sleep(60)
    return x

@env.task
async def main(x: int) -> int:
    await quick(x)
    return await slow(x)

if __name__ == "__main__":
    flyte.with_runcontext("local", name=sys.argv[1]).run(main, 7)
"""


def start(tmp_path: Path, *args: str, text: str = PROGRAM) -> "subprocess.Popen[str]":
    program = tmp_path / "killed_program.py"
    if not program.exists():  # another process may just be reading it
        program.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(program), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def until(condition, limit_s: float = 20.0):
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def killed(tmp_path: Path, name: str = "killed") -> None:
    """A run that was killed with SIGKILL while its task ``slow`` ran."""
    process = start(tmp_path, name)
    try:
        with History() as history:
            until(lambda: _running(history, name, "killed.slow"))
            assert history.run(name).phase == "running"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)


def _running(history: History, name: str, task: str) -> bool:
    try:
        actions = history.actions(history.run(name).id)
    except NotRemembered:
        return False
    tasks = history.tasks({one.task for one in actions})
    return any(tasks[one.task].name == task and one.phase == "running" for one in actions)


# Runs and actions -------------------------------------------------------------------------------------------------


def test_without_a_file_the_history_is_empty_and_none_is_made():
    with History() as history:
        assert history.runs() == []
        with pytest.raises(NotRemembered, match=r"the history in .* is empty"):
            history.run("anything")
        with pytest.raises(NotRemembered, match="no run is remembered yet"):
            history.run("last")
    assert not journal_path().exists()


def test_runs_come_newest_first_and_are_chosen_by_task_phase_and_number():
    for name in ("one", "two", "three"):
        named(name).run(main, 2)
    with pytest.raises(ValueError):
        named("four").run(caller, 1)
    with History() as history:
        assert [run.name for run in history.runs()] == ["four", "three", "two", "one"]
        assert [run.name for run in history.runs(limit=2)] == ["four", "three"]
        assert [run.name for run in history.runs(oldest_first=True, limit=1)] == ["one"]
        assert [run.name for run in history.runs(phases=["failed", "timed_out"])] == ["four"]
        assert [run.name for run in history.runs(phases=["succeeded"], limit=1)] == ["three"]
        assert [run.name for run in history.runs(task="main")] == ["three", "two", "one"]
        assert [run.name for run in history.runs(task="past.caller")] == ["four"]
        assert history.runs(task="ast.main") == history.runs(task="m%") == history.runs(task="mai_") == []
        second = history.run("two")
        assert [run.name for run in history.runs(before=second.started_at)] == ["one"]
        assert [run.name for run in history.runs(after=second.started_at)] == ["four", "three", "two"]
        assert history.run("last").name == "four"


def test_a_run_says_how_it_ended():
    named("fine").run(main, 2)
    with pytest.raises(ValueError):
        named("bad").run(caller, 1)
    with History() as history:
        fine, bad = history.run("fine"), history.run("bad")
        assert (fine.phase, fine.task, fine.fault, fine.pid) == ("succeeded", "past.main", None, os.getpid())
        assert fine.ended_at is not None and fine.started_at <= fine.ended_at
        assert bad.fault is not None and bad.fault.type == "ValueError" and "no luck" in bad.fault.message
        assert history.counts(fine.id) == {"succeeded": 3}
        assert history.counts(bad.id) == {"failed": 2}


def test_names_that_are_not_there_are_refused_with_a_hint():
    named("breakfast").run(main, 2)
    with History() as history:
        run = history.run("breakfast")
        with pytest.raises(NotRemembered, match="no run 'breakfust' is remembered; did you mean 'breakfast'"):
            history.run("breakfust")
        with pytest.raises(NotRemembered, match="did you mean 'breakfast'"):
            history.run("brea")
        with pytest.raises(NotRemembered, match="has no action 'leav'; did you mean 'leaf'"):
            history.action(run, "leav")
        with pytest.raises(NotRemembered, match="2 actions of run 'breakfast' go by 'leaf'; name one of them: "):
            history.action(run, "leaf")


def test_actions_stand_in_a_tree_and_are_found_by_name_task_and_first_letters():
    named("tree").run(main, 2)
    with History() as history:
        run = history.run("tree")
        root, *leaves = history.actions(run.id)
        assert root.name == "a0" and root.parent is None
        assert [one.parent for one in leaves] == [root.id, root.id]
        assert [one.group for one in leaves] == ["leaves", "leaves"]
        assert history.children(root) == leaves
        assert history.action(run) == history.action(run, "a0") == history.action(run, "main") == root
        assert history.action(run, leaves[0].name) == history.action(run, leaves[0].name[:8]) == leaves[0]
        assert history.action_by_id(leaves[1].id) == leaves[1]
        assert history.task(leaves[0].task).name == "past.leaf"
        inputs, outputs = history.values(leaves[0].id)
        assert isinstance(inputs, bytes) and isinstance(outputs, bytes)


def test_every_attempt_is_told_the_last_one_too():
    tried.clear()
    with pytest.raises(ValueError):
        named("tries").run(caller, 1)
    with History() as history:
        action = history.action(history.run("tries"), "shaky")
        attempts = history.attempts(action)
        assert [one.number for one in attempts] == [0, 1, 2]
        assert [one.fault.message.splitlines()[0] for one in attempts if one.fault] == [
            "no luck 1",
            "no luck 2",
            "no luck 3",
        ]
        assert action.attempts == 3 and action.phase == "failed"


# Runs whose process is gone ------------------------------------------------------------------------------------------


def test_a_run_whose_process_was_killed_is_shown_as_ended_and_written_back(tmp_path):
    killed(tmp_path)
    with History() as history:
        run = history.run("killed")
        assert run.phase == "aborted" and run.has_ended
        assert run.fault is not None
        assert run.fault.message == "its process ended before it did; 'flyte rerun killed --recover' continues it"
        assert run.ended_at is not None and run.started_at <= run.ended_at <= time.time()
        phases = {history.task(one.task).name: one for one in history.actions(run.id)}
        assert {name: one.phase for name, one in phases.items()} == {
            "killed.main": "aborted",
            "killed.quick": "succeeded",
            "killed.slow": "aborted",
        }
        assert phases["killed.slow"].fault.message == "its process ended before it did"
        assert phases["killed.slow"].waits is None
        assert [one.name for one in history.runs(phases=["aborted"])] == ["killed"]
        assert history.runs(phases=["running"]) == []
        assert history.counts(run.id) == {"succeeded": 1, "aborted": 2}
    file = sqlite3.connect(journal_path())
    assert file.execute("SELECT phase, ended_at IS NULL FROM run").fetchall() == [("aborted", 0)]
    assert sorted(file.execute("SELECT DISTINCT phase FROM action").fetchall()) == [("aborted",), ("succeeded",)]
    file.close()


def test_a_killed_run_is_shown_as_ended_while_the_file_cannot_be_written(tmp_path):
    killed(tmp_path)
    holder = sqlite3.connect(journal_path(), isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with History() as history:
            began = time.monotonic()
            run = history.run("killed")
            assert run.phase == "aborted"
            assert {one.phase for one in history.actions(run.id)} == {"aborted", "succeeded"}
            assert [one.name for one in history.runs(phases=["aborted"])] == ["killed"]
            assert history.runs(phases=["running"]) == []
            assert history.counts(run.id)["aborted"] == 2
            assert time.monotonic() - began < 5
        assert holder.execute("SELECT phase FROM run").fetchall() == [("running",)]
    finally:
        holder.close()
    with History() as history:
        history.run("killed")
    file = sqlite3.connect(journal_path())
    assert file.execute("SELECT phase FROM run").fetchall() == [("aborted",)]
    file.close()


def test_a_run_of_a_living_process_is_left_as_it_is(tmp_path):
    process = start(tmp_path, "alive")
    try:
        with History() as history:
            until(lambda: _running(history, "alive", "killed.slow"))
            for _ in range(3):
                assert history.run("alive").phase == "running"
                assert [run.name for run in history.runs(phases=["running"])] == ["alive"]
    finally:
        process.kill()
        process.communicate(timeout=10)


# Beside writers ------------------------------------------------------------------------------------------------------


def test_reading_waits_for_no_writer_and_no_writer_for_reading():
    named("first").run(main, 3)
    writer = sqlite3.connect(journal_path(), isolation_level=None, timeout=0)
    try:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE run SET project = 'changed'")
        with History() as history:
            began = time.monotonic()
            assert history.run("first").project is None
            assert len(history.actions(history.run("first").id)) == 4
            assert time.monotonic() - began < 1
        writer.execute("COMMIT")
        with History() as history:
            assert history.run("first").project == "changed"
            reader = history._connection()
            assert reader is not None
            cursor = reader.execute("SELECT * FROM action")  # half read
            cursor.fetchone()
            writer.execute("UPDATE run SET project = 'again'")
            cursor.close()
            assert history.run("first").project == "again"
    finally:
        writer.close()


WRITERS = """
import asyncio, sys
import flyte

env = flyte.TaskEnvironment("many")

@env.task
async def leaf(x: int) -> int:
    print("leaf", x)
    return x

@env.task
async def main(n: int) -> int:
    return sum(await asyncio.gather(*[leaf(i) for i in range(n)]))

if __name__ == "__main__":
    for i in range(3):
        flyte.with_runcontext("local", name=f"w{sys.argv[1]}-{i}").run(main, 20)
"""


def test_sixteen_processes_write_while_one_reads(tmp_path):
    processes = [start(tmp_path, str(number), text=WRITERS) for number in range(16)]
    wrong: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                with History() as history:
                    for run in history.runs(limit=5):
                        history.actions(run.id)
            except Exception as error:
                wrong.append(repr(error))
                return
            time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        said = [process.communicate(timeout=90)[1] for process in processes]
    finally:
        over.set()
        reader.join()
        for process in processes:
            process.kill()
            process.communicate()
    assert wrong == []
    assert [process.returncode for process in processes] == [0] * 16, said
    assert not any(said), said
    with History() as history:
        runs = history.runs()
        assert sorted(run.name for run in runs) == sorted(f"w{n}-{i}" for n in range(16) for i in range(3))
        assert {run.phase for run in runs} == {"succeeded"}
        for run in runs:
            assert history.counts(run.id) == {"succeeded": 21}
            assert len(history.logs(run.id)) == 20


def test_a_hundred_thousand_actions_are_read_in_less_than_a_second():
    named("large").run(main, 1)
    file = sqlite3.connect(journal_path(), isolation_level=None)
    ((run, task, root),) = file.execute("SELECT run, task, id FROM action WHERE name != 'a0'").fetchall()
    rows = ((root + n, run, os.urandom(16), f"a{n}", run << 32, task, b"x" * 60, b"y" * 60) for n in range(1, 100_000))
    file.execute("BEGIN")
    file.executemany(
        "INSERT INTO action (id, run, key, name, parent, task, phase, attempts, queued_at, inputs, outputs)"
        " VALUES (?, ?, ?, ?, ?, ?, 'succeeded', 1, 1, ?, ?)",
        rows,
    )
    file.execute("COMMIT")
    file.close()
    began = time.process_time()  # of this process: others use the machine, too
    with History() as history:
        actions = history.actions(history.run("large").id)
        tasks = history.tasks({one.task for one in actions})
    assert time.process_time() - began < 1
    assert len(actions) == 100_001 and len(tasks) == 2


# Files that are no journals ------------------------------------------------------------------------------------------


def test_a_file_that_is_no_journal_is_refused_with_a_remedy():
    journal_path().parent.mkdir(parents=True)
    journal_path().write_bytes(b"this is not a database, whatever its name says" * 100)
    with History() as history, pytest.raises(NotAJournal, match=r"move it away to start a new history: mv "):
        history.runs()


def test_a_file_whose_pages_are_damaged_is_refused_with_a_remedy():
    for number in range(30):
        named(f"run-{number}").run(main, 20)
    file = sqlite3.connect(journal_path())
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    data = bytearray(journal_path().read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 512] = os.urandom(512)
    copy = journal_path().with_name("damaged.db")
    copy.write_bytes(data)
    with History(copy) as history, pytest.raises(NotAJournal, match=r"move it away.*: mv .*damaged\.db"):
        [history.actions(run.id) for run in history.runs()]


def test_a_file_of_a_later_version_is_refused_and_left_alone():
    named("now").run(main, 1)
    later = journal_path().with_name("later.db")
    file = sqlite3.connect(later)
    file.execute("PRAGMA journal_mode=WAL")
    file.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    file.close()
    before = later.read_bytes()
    with History(later) as history, pytest.raises(NotAJournal, match="written by a later version of flyte"):
        history.runs()
    assert later.read_bytes() == before


def test_a_file_that_was_exchanged_is_read_anew():
    named("old").run(main, 1)
    with History() as history:
        assert history.run("last").name == "old"
        other = journal_path().with_name("other.db")
        with sqlite3.connect(other) as file:
            file.execute("PRAGMA journal_mode=WAL")
        file.close()
        for end in ("-wal", "-shm"):
            journal_path().with_name(journal_path().name + end).unlink(missing_ok=True)
        other.rename(journal_path())
        assert history.runs() == []


# Deleting ------------------------------------------------------------------------------------------------------------


def count(table: str) -> int:
    file = sqlite3.connect(journal_path())
    try:
        return int(file.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        file.close()


def stored() -> set[str]:
    folder = journal_path().parent / "values"
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_deleting_a_run_takes_its_rows_its_folder_and_values_that_nobody_else_has(monkeypatch):
    monkeypatch.setattr(values, "YOUNG_S", -1.0)
    named("keeps").run(makes_large, 300_000, "k")
    named("goes").run(makes_large, 300_000, "g")
    named("shares").run(makes_large, 300_000, "g")
    assert len(stored()) == 2
    with History() as history:
        goes, shares = history.run("goes"), history.run("shares")
        folder = Path(goes.base_dir)
        (folder / "a0").mkdir(parents=True, exist_ok=True)
        (folder / "a0" / "report.html").write_text("<p>")
        done = delete_runs(history, [goes])
        assert done.runs == ["goes"] and done.left == []
        assert not folder.exists()
        assert len(stored()) == 2, "another run has the same value"
        assert [run.name for run in history.runs()] == ["shares", "keeps"]
        assert history.counts(goes.id) == {}
        delete_runs(history, [shares])
        (left,) = stored()
        assert values.fetch(f"sha256:{left}")
        keeps = history.run("keeps")
        _, outputs = history.values(history.action(keeps, "large").id)
        assert outputs == f"sha256:{left}"
        delete_runs(history, [keeps])
    assert stored() == set()
    assert (count("run"), count("action"), count("big"), count("log"), count("attempt")) == (0, 0, 0, 0, 0)


def test_a_folder_that_flyte_did_not_choose_stays(tmp_path):
    mine = tmp_path / "precious"
    mine.mkdir()
    (mine / "thesis.txt").write_text("words")
    named("elsewhere", run_base_dir=str(mine)).run(main, 1)
    with History() as history:
        done = delete_runs(history, [history.run("elsewhere")])
        assert done.left and str(mine) in done.left[0] and "may hold more than the run" in done.left[0]
    assert (mine / "thesis.txt").read_text() == "words"


def test_a_path_that_leads_out_of_the_folder_of_runs_is_not_followed(tmp_path):
    named("honest").run(main, 1)
    runs = journal_path().parent / "runs"
    runs.mkdir(exist_ok=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (runs / "link").symlink_to(outside)
    for path in (f"{runs}/..", f"{runs}/link", str(runs), "/", f"{runs}/a/../.."):
        with sqlite3.connect(journal_path()) as file:
            file.execute("INSERT INTO run (name, task, phase, started_at, base_dir, writer, pid, host, program)"
                         " VALUES ('evil', 't', 'failed', 1, ?, 'w', 1, 'h', '{}')", (path,))  # fmt: skip
        file.close()
        with History() as history:
            assert delete_runs(history, [history.run("evil")]).left, path
    assert outside.is_dir() and runs.is_dir() and journal_path().is_file()


def test_a_run_that_runs_is_not_deleted_unless_forced(tmp_path):
    process = start(tmp_path, "busy")
    try:
        with History() as history:
            until(lambda: _running(history, "busy", "killed.slow"))
            busy = history.run("busy")
            with pytest.raises(RefusedDeletion, match=rf"run 'busy' still runs, in process {process.pid}; wait"):
                delete_runs(history, [busy])
            assert history.run("busy").phase == "running"
            delete_runs(history, [busy], force=True)
            assert history.runs() == []
            # Its process still writes under its id, which is therefore given to nobody else.
            named("after").run(main, 1)
            assert history.run("after").id > busy.id
            assert [run.name for run in history.runs()] == ["after"]
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_a_run_whose_results_another_one_took_over_is_not_deleted_alone(monkeypatch):
    monkeypatch.setattr(values, "YOUNG_S", -1.0)
    named("first").run(makes_large, 300_000, "z")
    named("second", recover_from="first").run(makes_large, 300_000, "z")
    with History() as history:
        first, second = history.run("first"), history.run("second")
        assert second.recovered_from == first.id and second.recovered_name == "first"
        with pytest.raises(RefusedDeletion, match="run 'first' has results that second took over"):
            delete_runs(history, [first])
        assert len(history.runs()) == 2
        delete_runs(history, [first], force=True)
        # What the heir took over it still has.
        second = history.run("second")
        assert second.recovered_from is None
        (action, *_) = [one for one in history.actions(second.id) if one.phase == "recovered"]
        _, outputs = history.values(action.id)
        assert outputs is not None and values.fetch(outputs)
        delete_runs(history, [second])
    assert stored() == set()


def test_a_value_that_was_kept_a_moment_ago_stays():
    """Whoever keeps it again at this moment may not have written that yet."""
    named("run").run(makes_large, 300_000, "y")
    with History() as history:
        delete_runs(history, history.runs())
    assert len(stored()) == 1


def test_runs_of_one_chain_are_deleted_together():
    named("one").run(main, 2)
    named("two", recover_from="one").run(main, 2)
    with History() as history:
        done = delete_runs(history, history.runs())
        assert sorted(done.runs) == ["one", "two"]
        assert history.runs() == []
    assert (count("run"), count("action")) == (0, 0)


def test_what_people_said_to_a_run_goes_with_the_last_run_of_its_name():
    named("twice").run(main, 1)
    named("twice").run(main, 1)
    with sqlite3.connect(journal_path()) as file:
        file.execute("INSERT INTO signal VALUES ('twice', 'go', 'true', 1, 'me')")
    file.close()
    with History() as history:
        latest, earlier = history.runs_named("twice")
        delete_runs(history, [earlier])
        assert Path(latest.base_dir) == Path(earlier.base_dir) and count("signal") == 1
        delete_runs(history, [latest])
    assert count("signal") == 0


def test_a_deletion_that_fails_half_way_takes_nothing(monkeypatch):
    named("whole").run(makes_large, 300_000, "h")
    with History() as history:
        monkeypatch.setattr(values, "remove", lambda digest: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            delete_runs(history, [history.run("whole")])
        assert history.counts(history.run("whole").id) == {"succeeded": 2}
        assert len(stored()) == 1


def test_what_is_remembered_of_a_death_is_json():
    from flyte._journal.history import gone

    assert json.loads(gone("x"))["message"].startswith("its process ended before it did; 'flyte rerun x --recover'")
