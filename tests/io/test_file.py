"""File: how one is made, read, written and hashed; in sync and async code."""

import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

import flyte
from flyte.io import File, HashFunction, HashlibAccumulator

SHA = hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello.txt"
    path.write_text("hello")
    return path


async def test_from_local_copies(hello):
    made = await File.from_local(hello)
    assert made.name == "hello.txt" and made.path != str(hello) and made.hash is None
    hello.unlink()
    assert await made.exists() and made.exists_sync()
    assert Path(await made.download()).read_text() == "hello"


@pytest.mark.parametrize("scheme", ["memory", "file"])
async def test_a_destination_of_ones_own(hello, scheme, tmp_path):
    target = f"memory://{secrets.token_hex(4)}/x.txt" if scheme == "memory" else f"file://{tmp_path}/to/x.txt"
    made = await File.from_local(hello, target, hash_method="known")
    assert (made.path, made.name, made.hash) == (target, "hello.txt", "known")
    async with made.open() as file:
        assert await file.read() == b"hello"
    with made.open_sync("r") as text:
        assert text.read() == "hello"


@pytest.mark.parametrize(
    ("method", "digest"),
    [
        (HashlibAccumulator("sha256"), SHA),
        (HashlibAccumulator.from_hash_name("md5"), hashlib.md5(b"hello").hexdigest()),
        (HashFunction.from_fn(lambda content: content.decode() + "!"), "hello!"),
        ("given", "given"),
    ],
    ids=["sha256", "md5", "function", "given"],
)
async def test_hashes(hello, method, digest):
    assert (await File.from_local(hello, hash_method=method)).hash == digest
    assert File.from_local_sync(hello, hash_method=method).hash == digest
    for _ in range(2):  # a method can be used again
        written = File.new_remote(hash_method=method)
        async with written.open("wb") as file:
            await file.write(b"hel")
            await file.write(b"lo")
        assert written.hash == digest
        blocking = File.new_remote(hash_method=method)
        with blocking.open_sync("w") as text:
            text.write("hello")
        assert blocking.hash == digest


async def test_a_failing_writer_leaves_nothing(tmp_path):
    target = File(path=str(tmp_path / "x"), hash_method=HashlibAccumulator("sha256"))
    with pytest.raises(ArithmeticError):  # noqa: PT012
        async with target.open("wb") as file:
            await file.write(b"half")
            raise ArithmeticError
    with pytest.raises(ArithmeticError):  # noqa: PT012
        with target.open_sync("w") as text:
            text.write("half")
            raise ArithmeticError
    assert os.listdir(tmp_path) == [] and target.hash is None


def test_an_error_of_the_body_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        with File(path=str(tmp_path / "x")).open_sync("w"):
            (tmp_path / "elsewhere").read_text()
    assert caught.value.filename == str(tmp_path / "elsewhere") and os.listdir(tmp_path) == []


def test_download_targets(hello, tmp_path):
    made = File(path=str(hello))
    assert made.download_sync() == str(hello)
    assert made.download_sync(tmp_path / "copy") == str(tmp_path / "copy")
    (tmp_path / "folder").mkdir()
    assert made.download_sync(tmp_path / "folder") == str(tmp_path / "folder" / "hello.txt")
    remote = File.from_local_sync(hello, f"memory://{secrets.token_hex(4)}/x")
    assert Path(remote.download_sync()).read_text() == "hello"


async def test_what_is_not_there(tmp_path):
    gone = File(path=str(tmp_path / "gone"))
    assert not await gone.exists()
    with pytest.raises(FileNotFoundError, match="gone"):
        await gone.download()
    with pytest.raises(FileNotFoundError, match="gone"):
        async with gone.open():
            pass
    with pytest.raises(FileNotFoundError, match="gone"):
        with gone.open_sync():
            pass
    with pytest.raises(FileNotFoundError, match="gone"):
        await File.from_local(tmp_path / "gone")
    with pytest.raises(IsADirectoryError, match="use Dir"):
        await File.from_local(tmp_path)


def test_bad_arguments(hello):
    with pytest.raises(ValueError, match="empty path"):
        File(path="")
    with pytest.raises(ValueError, match="unknown scheme"):
        File.from_existing_remote("ftp://x/y")
    with pytest.raises(ValueError, match="plain relative path"):
        File.new_remote("../escape")
    with pytest.raises(TypeError, match="hash_method takes"):
        File.new_remote(hash_method=3)
    with pytest.raises(ValueError, match="compression='gzip'"):
        File(path="x").open(compression="gzip")
    with pytest.raises(ValueError, match="mode='a'"):
        File(path="x").open("a")
    with pytest.raises(ValueError, match="outside a running task"):
        File.named_remote("x")


def test_names_and_keys():
    assert [File(path=p).name for p in ("/a/b.txt", "s3://b/k.csv", "a/b/")] == ["b.txt", "k.csv", "b"]
    assert File(path="/a/b", name="c").name == "c"
    made = File.from_existing_remote("s3://bucket/x", file_cache_key="k")
    assert (made.path, made.hash) == ("s3://bucket/x", "k")


def test_places_of_a_run(tmp_path):
    env = flyte.TaskEnvironment(name="places")

    @env.task
    async def places() -> list[str]:
        assert File.named_remote("state").path == File.named_remote("state").path
        first, second = File.new_remote("x.txt"), File.new_remote("x.txt")
        assert first.path != second.path and first.name == "x.txt"
        (tmp_path / "mine").write_text("m")
        made = await File.from_local(tmp_path / "mine")
        return [first.path, second.path, made.path, File.new_remote().path]

    run = flyte.with_runcontext("local", raw_data_path=str(tmp_path / "raw")).run(places)
    assert all(path.startswith(f"{tmp_path}/raw/") for path in run.result)


def test_importing_the_faces_is_cheap():
    heavy = ("pydantic", "obstore", "flyteidl2")
    program = f"import flyte, flyte.io, flyte.storage, sys; print([m for m in {heavy} if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.strip() == "[]"
