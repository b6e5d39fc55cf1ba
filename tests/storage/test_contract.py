"""What every store does the same: the contract of the seam, over local files, memory and a real S3 server."""

import asyncio
import hashlib
import os
import random

import pytest

from flyte import storage
from tests.storage import azure_server

pytestmark = pytest.mark.timeout(60)
LARGE = random.Random(1).randbytes(20 * 1024 * 1024 + 17)  # several chunks and a rest


def test_azure_is_here(request):
    if not azure_server.installed():
        pytest.skip(f"the contract does not run over Azure's server: no {azure_server.PROGRAM} is installed")
    assert request.getfixturevalue("azure_environment")


async def read_all(uri, **options):
    return b"".join([chunk async for chunk in storage.get_stream(uri, **options)])


@pytest.mark.parametrize("content", [b"", b"x", b"some text\n", LARGE], ids=["empty", "byte", "text", "large"])
async def test_what_is_put_comes_back(place, content):
    uri = storage.join(place, "a folder", "ü +%20#?.bin")
    assert await storage.put_stream(content, to_path=uri) == uri
    assert await read_all(uri) == content
    assert await storage.exists(uri)
    assert await storage.checksum(uri) == hashlib.sha256(content).hexdigest()
    assert await storage.checksum(uri, "md5") == hashlib.md5(content).hexdigest()


async def test_a_second_write_replaces(place):
    uri = storage.join(place, "x")
    await storage.put_stream(b"first, and longer", to_path=uri)
    await storage.put_stream(b"second", to_path=uri)
    assert await read_all(uri) == b"second"


async def test_chunks_are_of_the_size_asked_for(place):
    uri = storage.join(place, "x")
    await storage.put_stream((b"ab" for _ in range(10)), to_path=uri)
    assert [chunk async for chunk in storage.get_stream(uri, chunk_size=8)] == [b"abababab", b"abababab", b"abab"]


async def test_files_go_there_and_back(place, tmp_path):
    (tmp_path / "source").write_bytes(LARGE)
    uri = await storage.put(str(tmp_path / "source"), storage.join(place, "x"), chunk_size=6 * 1024 * 1024)
    got = await storage.get(uri, tmp_path / "deep" / "target")
    assert (tmp_path / "deep" / "target").read_bytes() == LARGE and got == str(tmp_path / "deep" / "target")
    (tmp_path / "folder").mkdir()
    assert await storage.get(uri, tmp_path / "folder") == str(tmp_path / "folder" / "x")


async def test_folders_go_there_and_back(place, tmp_path):
    files = {f"a{n}/b/{n}.txt": str(n).encode() * n for n in range(20)} | {"top": LARGE[: 9 * 1024 * 1024], ".dot": b""}
    for name, content in files.items():
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(content)
    await storage.put(str(tmp_path / "source"), storage.join(place, "copy"), recursive=True)
    assert await storage.exists(storage.join(place, "copy"))
    assert await storage.exists(storage.join(place, "copy", "a1", "b"))
    await storage.get(storage.join(place, "copy"), tmp_path / "back", recursive=True)
    back = {
        str(p.relative_to(tmp_path / "back")): p.read_bytes() for p in (tmp_path / "back").rglob("*") if p.is_file()
    }
    assert back == files


async def test_what_is_not_there(place, tmp_path):
    uri = storage.join(place, "missing")
    assert not await storage.exists(uri)
    for operation in (
        read_all(uri),
        storage.get(uri, tmp_path / "x"),
        storage.get(uri, tmp_path / "x", recursive=True),
        storage.open(uri),
        storage.checksum(uri),
    ):
        with pytest.raises(FileNotFoundError, match=uri.rpartition("/")[2]):
            await operation
    assert not (tmp_path / "x").exists()


async def test_a_folder_is_not_a_file(place, tmp_path):
    await storage.put_stream(b"x", to_path=storage.join(place, "folder", "x"))
    with pytest.raises(IsADirectoryError, match="recursive=True"):
        await storage.get(storage.join(place, "folder"), tmp_path / "target")


async def test_a_name_is_not_a_prefix(place):
    await storage.put_stream(b"x", to_path=storage.join(place, "folder-2", "x"))
    assert not await storage.exists(storage.join(place, "folder"))


async def test_a_writer_that_fails_leaves_nothing(place):
    async def chunks():
        for _ in range(3):
            yield LARGE[: 6 * 1024 * 1024]
        raise ArithmeticError("mine")

    uri = storage.join(place, "x")
    with pytest.raises(ArithmeticError, match="mine"):
        await storage.put_stream(chunks(), to_path=uri)
    assert not await storage.exists(uri)

    with pytest.raises(KeyError):  # noqa: PT012
        async with await storage.open(uri, "wb") as file:
            await file.write(LARGE)
            raise KeyError
    assert not await storage.exists(uri)
    if not storage.is_remote(place):
        folder = place.removeprefix("file://")
        assert os.listdir(folder) == []


async def test_a_cancelled_writer_leaves_the_old_content(place):
    uri = storage.join(place, "x")
    await storage.put_stream(b"old", to_path=uri)
    started = asyncio.Event()

    async def chunks():
        yield LARGE
        started.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(storage.put_stream(chunks(), to_path=uri))
    await asyncio.wait_for(started.wait(), 20)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await read_all(uri) == b"old"
    if not storage.is_remote(place):
        assert os.listdir(place.removeprefix("file://")) == ["x"]


async def test_open_as_bytes(place):
    uri = storage.join(place, "x")
    async with await storage.open(uri, "wb") as file:
        for start in range(0, len(LARGE), 1_000_003):
            piece = LARGE[start : start + 1_000_003]
            assert await file.write(piece) == len(piece)
        assert await file.tell() == len(LARGE)
        assert not await storage.exists(uri)
    async with await storage.open(uri) as file:
        assert await file.read(5) == LARGE[:5]
        assert await file.seek(-7, 2) == len(LARGE) - 7
        assert await file.read() == LARGE[-7:]
        assert await file.read(3) == b""
        await file.seek(9_000_000)
        assert await file.read(2) == LARGE[9_000_000:9_000_002] and await file.tell() == 9_000_002
        await file.seek(-1, 1)
        assert await file.read(1) == LARGE[9_000_001:9_000_002]
        with pytest.raises(ValueError, match="before the start"):
            await file.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        await file.read()


async def test_open_as_text(place):
    uri = storage.join(place, "x")
    text = "größer €\nzweite\n\nohne Ende"
    async with await storage.open(uri, "w") as file:
        assert await file.write(text) == len(text)
        with pytest.raises(TypeError, match="takes str"):
            await file.write(b"bytes")
    async with await storage.open(uri, "r", block_size=3) as file:  # cuts characters in two
        assert await file.read(6) == text[:6]
        assert await file.read() == text[6:]
    async with await storage.open(uri, "r", block_size=3) as file:
        assert [line async for line in file] == text.splitlines(keepends=True)


async def test_the_target_of_put_may_be_left_out(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    first, second = await storage.put(str(tmp_path / "x.txt")), await storage.put(str(tmp_path / "x.txt"))
    assert first != second and first.endswith("/x.txt") and await read_all(second) == b"x"


async def test_exists_in_sync_code(place):
    assert not storage.exists_sync(storage.join(place, "x"))  # also where a loop runs already
    await storage.put_stream(b"x", to_path=storage.join(place, "x"))
    assert storage.exists_sync(storage.join(place, "x"))
