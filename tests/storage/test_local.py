"""What only files of this machine have: permissions, links, names that are left out."""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flyte import storage
from flyte.storage import _local
from flyte.storage._local import PART
from flyte.storage._transfer import list_objects


async def names_below(folder):
    return [relative async for _, relative, _ in list_objects(str(folder))]


async def test_links_are_followed_and_circles_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "other")
    assert await names_below(tmp_path / "folder") == ["link/x"]
    (tmp_path / "other" / "back").symlink_to(tmp_path / "folder")
    with pytest.raises(ValueError, match="leads back"):
        await names_below(tmp_path / "folder")


async def test_a_dangling_link_is_named(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="gone"):
        await names_below(tmp_path)


async def test_unfinished_files_are_not_listed(tmp_path):
    (tmp_path / f".x.123{PART}").write_text("half")
    (tmp_path / "x").write_text("whole")
    assert await names_below(tmp_path) == ["x"]


READ_AS_ANOTHER = """
import asyncio, os, sys
from flyte import storage

async def read(path):
    return b"".join([chunk async for chunk in storage.get_stream(path)])

readable, closed = sys.argv[1:]
print(asyncio.run(read(readable)))  # and loads all that is needed: the other user may be unable to read our files
if os.geteuid() == 0:  # who may do anything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(asyncio.run(read(readable)))
try:
    print(asyncio.run(read(closed)))
except PermissionError as error:
    print(error)
"""


def test_no_permission():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        os.chmod(folder, 0o755)
        readable, closed = Path(folder, "readable"), Path(folder, "closed")
        readable.write_text("x")
        readable.chmod(0o644)
        closed.write_text("x")
        closed.chmod(0)
        command = [sys.executable, "-c", READ_AS_ANOTHER, str(readable), str(closed)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first, second, refused = done.stdout.splitlines()
    assert first == second == "b'x'" and str(closed) in refused and "Permission denied" in refused


async def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        await storage.put_stream(b"x", to_path=str(tmp_path / "folder"))
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == []


async def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises((FileExistsError, NotADirectoryError), match="x/y"):
        await storage.put_stream(b"x", to_path=str(tmp_path / "x" / "y"))


async def test_a_full_device_is_named(tmp_path):
    # A limit on the size of files stands for a disk that is full.
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=f"{tmp_path}/x.*too large"):
            await storage.put_stream(b"x" * 5000, to_path=str(tmp_path / "x"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


async def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(NotADirectoryError, match="leave out recursive"):
        await storage.put(str(tmp_path / "x"), str(tmp_path / "y"), recursive=True)


async def test_copying_onto_itself_keeps_the_file(tmp_path):
    (tmp_path / "x").write_text("x")
    await storage.put(str(tmp_path / "x"), str(tmp_path / "x"))
    assert (tmp_path / "x").read_text() == "x"


async def test_arguments_that_cannot_be(tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(ValueError, match="chunk_size=0"):
        await storage.put(str(tmp_path / "x"), str(tmp_path / "y"), chunk_size=0)
    with pytest.raises(ValueError, match=r"mode='ab'.*appended"):
        await storage.open(str(tmp_path / "x"), "ab")
    with pytest.raises(TypeError, match="'anon'"):
        await storage.exists(str(tmp_path / "x"), anon=True)
    with pytest.raises(ValueError, match="not both"):
        await storage.put_stream(b"", name="a", to_path="b")
    with pytest.raises(ValueError, match="lead outside"):
        await storage.put_stream(b"", name="../a")


async def test_a_large_file_is_read_whole(tmp_path):
    content = os.urandom(1 << 20) * 33 + b"end"
    (tmp_path / "large").write_bytes(content)
    async with await storage.open(str(tmp_path / "large")) as file:
        assert await file.read(10) == content[:10]
        assert await file.read() == content[10:]
        assert await file.read() == b""
        await file.seek(-20 * 1024 * 1024, 2)
        assert await file.read() == content[-20 * 1024 * 1024 :]


@pytest.mark.parametrize("kept", [30 << 20, 5 << 20, 0])
async def test_a_large_file_that_shrinks_while_it_is_read_ends_there(tmp_path, monkeypatch, kept):
    content = os.urandom(1 << 20) * 40
    (tmp_path / "large").write_bytes(content)
    fill = _local._fill

    def shrinks(*args):
        os.truncate(tmp_path / "large", kept)
        return fill(*args)

    monkeypatch.setattr(_local, "_fill", shrinks)
    async with await storage.open(str(tmp_path / "large")) as file:
        assert await file.read() == content[:kept]


async def test_a_large_read_is_cancelled(tmp_path):
    (tmp_path / "large").write_bytes(bytes(40 << 20))
    async with await storage.open(str(tmp_path / "large")) as file:
        reading = asyncio.ensure_future(file.read())
        await asyncio.sleep(0.002)
        reading.cancel()
        (outcome,) = await asyncio.wait_for(asyncio.gather(reading, return_exceptions=True), 10)
        assert isinstance(outcome, asyncio.CancelledError) or outcome == bytes(40 << 20)
