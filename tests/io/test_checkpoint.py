"""Checkpoints: what is saved comes back in the next attempt, after a failure, a kill, and in a run that recovers."""

import asyncio
import gc
import gzip
import io
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime, timedelta

import pytest

import flyte
from flyte._core.context import Execution, TaskContext, current
from flyte._core.paths import CheckpointPaths
from flyte.storage._memory import MEMORY

env = flyte.TaskEnvironment(name="checkpoints")
FAST = flyte.RetryStrategy(count=3, backoff=flyte.Backoff(base=timedelta(milliseconds=1)))


def tree_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# By itself ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    return str(tmp_path / "deep" / "kept") if request.param == "local" else f"memory://{secrets.token_hex(6)}/kept"


def test_bytes_come_back(place):
    first = flyte.Checkpoint(place)
    assert not first.prev_exists()
    assert first.load_sync() is None
    first.save_sync(b"one")
    first.save_sync(b"two")
    second = flyte.Checkpoint(place + "-next", place)
    assert second.prev_exists()
    loaded = second.load_sync()
    assert loaded == second.path / "payload"
    assert loaded.read_bytes() == b"two"
    assert isinstance(second, flyte.BaseCheckpoint)


async def test_files_come_back(place, tmp_path):
    (tmp_path / "weights").write_bytes(b"w" * 100_000)
    first = flyte.Checkpoint(place)
    await first.save(tmp_path / "weights")
    loaded = await flyte.Checkpoint(place + "-next", place).load()
    assert loaded is not None
    assert loaded.read_bytes() == b"w" * 100_000
    await first.save(str(tmp_path / "weights"))


async def test_folders_come_back(place, tmp_path):
    source = tmp_path / "source"
    (source / "epoch 2" / "deep").mkdir(parents=True)
    (source / "epoch 2" / "last.ckpt").write_bytes(b"2")
    (source / "ü").write_bytes(b"u")
    (source / "empty").mkdir()
    os.link(source / "ü", source / "same")
    (source / "newest").symlink_to("epoch 2/last.ckpt")
    os.utime(source / "ü", (1_000_000, 1_000_000))
    await flyte.Checkpoint(place).save(source)
    second = flyte.Checkpoint(place + "-next", place)
    (second.path / "old").write_text("old")
    loaded = await second.load()
    assert loaded == second.path
    assert tree_of(loaded) == tree_of(source)
    assert (loaded / "empty").is_dir() and (loaded / "newest").is_symlink()
    assert (loaded / "ü").stat().st_mtime == 1_000_000
    assert flyte.latest_checkpoint(loaded) == loaded / "epoch 2" / "last.ckpt"
    # What was loaded can be changed, saved, and loaded again.
    (loaded / "more").write_bytes(b"more")
    await second.save(loaded)
    assert set(tree_of(await flyte.Checkpoint(place, place + "-next").load() or loaded)) == {*tree_of(source), "more"}


async def test_an_empty_folder_comes_back_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    await flyte.Checkpoint(str(tmp_path / "kept")).save(tmp_path / "empty")
    checkpoint = flyte.Checkpoint(str(tmp_path / "next"), str(tmp_path / "kept"))
    assert await checkpoint.load() == checkpoint.path
    assert tree_of(checkpoint.path) == {}


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", gzip.compress(b"text"), gzip.compress(bytes(500_000))])
def test_bytes_that_resemble_an_archive(tmp_path, content):
    flyte.Checkpoint(str(tmp_path / "kept")).save_sync(content)
    loaded = flyte.Checkpoint(str(tmp_path / "next"), str(tmp_path / "kept")).load_sync()
    assert loaded is not None
    assert loaded.read_bytes() == content


def archive_of(*members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                tar.addfile(info)
    return packed.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, b"x")],
        [("/tmp/out", tarfile.REGTYPE, b"x")],
        [("a/../../out", tarfile.REGTYPE, b"x")],
        [("link", tarfile.SYMTYPE, "../.."), ("link/out", tarfile.REGTYPE, b"x")],
        [("link", tarfile.SYMTYPE, "/etc/passwd")],
        [("link", tarfile.SYMTYPE, "sub"), ("link/out", tarfile.REGTYPE, b"x")],
        [("p", tarfile.SYMTYPE, "."), ("q", tarfile.SYMTYPE, "p/..")],
        [("hard", tarfile.LNKTYPE, "../../out")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("disk", tarfile.BLKTYPE, "")],
    ],
)
def test_an_archive_that_would_leave_its_folder(tmp_path, members):
    (tmp_path / "kept").write_bytes(archive_of(("good", tarfile.REGTYPE, b"g"), *members))
    checkpoint = flyte.Checkpoint(str(tmp_path / "next"), str(tmp_path / "kept"))
    (checkpoint.path / "before").write_text("b")
    with pytest.raises(ValueError, match="kept"):
        checkpoint.load_sync()
    assert tree_of(checkpoint.path) == {"before": b"b"}
    assert sorted(os.listdir(checkpoint.path.parent)) == ["fetched", "files", "fresh"]
    assert os.listdir(checkpoint.path.parent / "fresh") == []


def test_a_damaged_archive(tmp_path):
    whole = archive_of(("a", tarfile.REGTYPE, secrets.token_bytes(100_000)))
    (tmp_path / "kept").write_bytes(whole[:50_000])
    with pytest.raises(OSError, match=r"kept.*damaged"):
        flyte.Checkpoint(str(tmp_path / "next"), str(tmp_path / "kept")).load_sync()


def test_what_cannot_be_saved(tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "out").symlink_to("../elsewhere")
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "pipe")
    checkpoint = flyte.Checkpoint(str(tmp_path / "kept"))
    checkpoint.save_sync(b"before")
    for data, error, says in (
        (tmp_path / "missing", FileNotFoundError, "missing"),
        ("missing", FileNotFoundError, "missing"),
        (3, TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        (tmp_path / "links", ValueError, "out of the folder"),
        (tmp_path / "pipes", ValueError, "pipe' is neither a file"),
    ):
        with pytest.raises(error, match=says):
            checkpoint.save_sync(data)
    assert (tmp_path / "kept").read_bytes() == b"before"
    assert sorted(os.listdir(tmp_path)) == ["kept", "links", "pipes"]


@pytest.mark.parametrize("nothing", [None, "", '""'])
def test_nothing_to_continue_from(tmp_path, nothing):
    checkpoint = flyte.Checkpoint(str(tmp_path / "kept"), nothing)
    assert (checkpoint.remote_source, checkpoint.prev_exists(), checkpoint.load_sync()) == (None, False, None)


def test_a_source_that_is_not_there(tmp_path):
    checkpoint = flyte.Checkpoint(str(tmp_path / "kept"), str(tmp_path / "gone"))
    assert (checkpoint.prev_exists(), checkpoint.load_sync()) == (False, None)


def test_bad_destinations():
    with pytest.raises(ValueError, match="unknown scheme 'ftp'"):
        flyte.Checkpoint("ftp://x/y")
    with pytest.raises(TypeError, match="abstract"):
        flyte.BaseCheckpoint()


def test_the_latest_of_several(tmp_path):
    assert flyte.latest_checkpoint(tmp_path / "nowhere") is None
    for number, name in enumerate(("a/last.ckpt", "b/last.ckpt", "step-10.ckpt", "step-9.ckpt")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        os.utime(path, (1000 + number, 1000 + number))
    assert flyte.latest_checkpoint(tmp_path) == tmp_path / "b" / "last.ckpt"
    steps = flyte.latest_checkpoint(tmp_path, "*.ckpt", key=lambda p: int(p.stem.partition("-")[2]))
    assert steps == tmp_path / "step-10.ckpt"
    assert flyte.latest_checkpoint(tmp_path, "*.pt") is None


# In a task ------------------------------------------------------------------------------------------------------------


@env.task(retries=FAST)
async def count_up(target: int) -> list[int]:
    """Fails at 3 and at 6; gives where each number was counted."""
    checkpoint = flyte.ctx().checkpoint
    done: list[int] = []
    if loaded := await checkpoint.load():
        done = [int(n) for n in loaded.read_text().split()]
    while len(done) < target:
        if len(done) in (3, 6) and done[-1] == flyte.ctx().attempt_number:
            raise ConnectionError("lost")
        done.append(flyte.ctx().attempt_number)
        await checkpoint.save(" ".join(map(str, done)).encode())
    return done


def test_a_retry_continues(tmp_path):
    run = flyte.with_runcontext(run_base_dir=str(tmp_path)).run(count_up, target=8)
    assert run.result == [0, 0, 0, 1, 1, 1, 2, 2]
    kept = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("_flytecheckpoints"))
    assert kept == [f"a0/{n}/_flytecheckpoints" for n in range(3)]


def test_a_retry_continues_in_a_store(tmp_path):
    base = f"memory://{secrets.token_hex(6)}"
    run = flyte.with_runcontext(run_base_dir=base, raw_data_path=str(tmp_path)).run(count_up, target=4)
    assert run.result == [0, 0, 0, 1]
    assert f"{base.removeprefix('memory://')}/a0/1/_flytecheckpoints" in MEMORY.objects


@env.task(retries=FAST)
def forgetful() -> str:
    context = flyte.ctx()
    if context.attempt_number == 0:
        context.checkpoint.save_sync(b"from the first")
    if context.attempt_number < 2:
        raise ConnectionError("lost")
    loaded = context.checkpoint.load_sync()
    paths = context.checkpoint_paths
    assert paths.prev_checkpoint_path == context.checkpoint.remote_source
    return f"{loaded.read_text()} | {paths.prev_checkpoint_path} | {paths.checkpoint_path}"


def test_an_attempt_that_saved_nothing_is_passed_over(tmp_path):
    run = flyte.with_runcontext(run_base_dir=str(tmp_path)).run(forgetful)
    kept = f"{tmp_path}/a0/0/_flytecheckpoints | {tmp_path}/a0/2/_flytecheckpoints"
    assert run.result == f"from the first | {kept}"


@env.task
async def traced_and_nested() -> list[bool]:
    @flyte.trace
    async def step() -> str:
        return str(flyte.ctx().checkpoint.remote_destination)

    own = flyte.ctx().checkpoint
    return [await step() == own.remote_destination, flyte.ctx().checkpoint is own, own.prev_exists()]


def test_the_task_of_a_trace(tmp_path):
    assert flyte.with_runcontext(run_base_dir=str(tmp_path)).run(traced_and_nested).result == [True, True, False]


@env.task
async def each(n: int) -> str:
    await flyte.ctx().checkpoint.save(b"%d" % n)
    return str(flyte.ctx().checkpoint.path)


@env.task
async def many() -> list[str]:
    return list(await asyncio.gather(*[each(n) for n in range(5)]))


def test_actions_do_not_share_and_their_folders_go(tmp_path):
    folders = flyte.with_runcontext(run_base_dir=str(tmp_path)).run(many).result
    assert sorted(p.read_bytes() for p in tmp_path.rglob("_flytecheckpoints")) == [b"0", b"1", b"2", b"3", b"4"]
    assert len(set(folders)) == 5
    gc.collect()  # an error may hold a context in a circle
    assert not [folder for folder in folders if os.path.exists(folder)]


def test_outside_of_a_task():
    assert flyte.ctx().checkpoint is None
    assert flyte.ctx().checkpoint_paths is None


def test_another_run_of_the_same_name_starts_anew(tmp_path):
    stale = tmp_path / "a0" / "0" / "_flytecheckpoints"
    stale.parent.mkdir(parents=True)
    stale.write_text("9 9 9")
    an_hour_ago = time.time() - 3600
    os.utime(stale, (an_hour_ago, an_hour_ago))
    with entered(execution(tmp_path), attempt=1) as context:
        assert context.checkpoint.load_sync() is None


# Recovered ------------------------------------------------------------------------------------------------------------


def execution(base, *recovered):
    return Execution(
        run_name="again",
        controller=None,
        loop=asyncio.new_event_loop(),
        run_base_dir=str(base),
        recovered_from=tuple(map(str, recovered)),
        start_time=datetime.now(UTC),
    )


class entered:
    """The context of action a0 of a hand-made run."""

    def __init__(self, run, attempt=0):
        self.run = run
        self.context = TaskContext(run, None, "task", "a0", attempt_number=attempt)

    def __enter__(self):
        self.token = current.set(self.context)
        return self.context

    def __exit__(self, *_):
        current.reset(self.token)
        self.run.loop.close()


KILLED = """
import pathlib, sys, flyte
env = flyte.TaskEnvironment(name="killed")

@env.task
def work() -> int:
    folder = pathlib.Path(sys.argv[2])
    step = 0
    while True:
        step += 1
        (folder / "step").write_text(str(step) * 200_000)
        (folder / "same").write_text(str(step))
        flyte.ctx().checkpoint.save_sync(folder)
        print(step, flush=True)

flyte.with_runcontext(run_base_dir=sys.argv[1]).run(work)
"""


def test_a_killed_run_is_continued_by_the_one_that_recovers_it(tmp_path):
    (tmp_path / "state").mkdir()
    for round_number in range(4):
        base = tmp_path / f"run {round_number}"
        command = [sys.executable, "-c", KILLED, str(base), str(tmp_path / "state")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(3):
                process.stdout.readline()
            time.sleep(0.003 * round_number)  # somewhere within a save
            process.send_signal(signal.SIGKILL)
            said = [3, *map(int, process.stdout.read().split())]
        with entered(execution(tmp_path / "next", base)) as context:
            assert context.checkpoint.prev_exists()
            loaded = context.checkpoint.load_sync()
            step = int((loaded / "same").read_text())
            assert step >= said[-1]
            assert (loaded / "step").read_text() == str(step) * 200_000


def test_the_latest_attempt_of_a_recovered_run_counts_and_then_ones_own(tmp_path):
    for attempt, text in ((0, "0"), (2, "2"), (10, "10")):
        with entered(execution(tmp_path / "old"), attempt) as context:
            context.checkpoint.save_sync(text.encode())
    (tmp_path / "old" / "a0" / "99").mkdir()
    with entered(execution(tmp_path / "new", tmp_path / "old")) as context:
        assert context.checkpoint.load_sync().read_text() == "10"
        context.checkpoint.save_sync(b"mine")
    with entered(execution(tmp_path / "new", tmp_path / "old"), 1) as context:
        assert context.checkpoint.load_sync().read_text() == "mine"
        assert context.checkpoint_paths.prev_checkpoint_path == f"{tmp_path}/new/a0/0/_flytecheckpoints"


def test_a_recovered_run_that_saved_nothing_hands_on_what_it_had(tmp_path):
    with entered(execution(tmp_path / "first")) as context:
        context.checkpoint.save_sync(b"kept")
    with entered(execution(tmp_path / "second", tmp_path / "first")) as context:
        assert context.checkpoint.prev_exists()
    with entered(execution(tmp_path / "third", tmp_path / "second", tmp_path / "first")) as context:
        assert context.checkpoint.load_sync().read_text() == "kept"


def test_nothing_to_recover(tmp_path):
    with entered(execution(tmp_path / "new", tmp_path / "nowhere")) as context:
        assert context.checkpoint.load_sync() is None
        assert context.checkpoint_paths.prev_checkpoint_path is None
    with entered(execution("")) as context:
        assert context.checkpoint is None
        assert context.checkpoint_paths == CheckpointPaths(None, None)


def test_many_saves_at_once_leave_one_whole(tmp_path):
    async def save_all():
        checkpoint = flyte.Checkpoint(str(tmp_path / "kept"))
        await asyncio.gather(*[checkpoint.save(bytes([n]) * 300_000) for n in range(20)])

    asyncio.run(save_all())
    content = pathlib.Path(tmp_path / "kept").read_bytes()
    assert content == content[:1] * 300_000
    assert os.listdir(tmp_path) == ["kept"]
