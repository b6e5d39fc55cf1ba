"""Stores that others bring: what may be registered, and where their URIs are taken. The contract runs over one too."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import flyte
from flyte import storage
from flyte.io import DataFrame, Dir, File
from flyte.storage import _registry

ROOT = Path(__file__).resolve().parents[2]


class Store:
    """Says what it is asked, and has nothing."""

    async def stat(self, at):
        return storage.ObjectInfo(at.key, 3) if at.key.endswith("x") else None

    async def read(self, at, start=0, end=None, chunk_bytes=1):
        yield f"{at.root}|{at.key}".encode()[start:end]

    async def write(self, at, chunks, *sizes):
        raise PermissionError(f"{at.uri!r}: read only")

    async def list(self, at):
        return
        yield


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    monkeypatch.setattr(_registry, "_registered", type(_registry._registered)("store"))
    monkeypatch.setattr(_registry, "_made", {})


@pytest.mark.parametrize(
    ("scheme", "error", "words"),
    [
        ("s3", ValueError, "scheme='s3' is served by flyte itself"),
        ("My Store", ValueError, "scheme='My Store' is not one of a URI"),
        ("shelf://", ValueError, "is not one of a URI"),
        (7, ValueError, "scheme=7 is not one of a URI"),
    ],
)
def test_schemes_that_cannot_be(scheme, error, words):
    with pytest.raises(error, match=words):
        storage.register_store(scheme, Store)


def test_what_is_no_store_is_refused():
    with pytest.raises(TypeError, match=r"the store of toy:// is .*has no stat\(\), read\(\), write\(\), list\(\)"):
        storage.register_store("toy", object())
    storage.register_store("toy", dict)  # a class: it is made on first use
    with pytest.raises(TypeError, match=r"has no stat\(\), read\(\), write\(\), list\(\); see flyte"):
        storage.exists_sync("toy://a/x")


def test_two_stores_of_one_scheme():
    first = Store()
    storage.register_store("toy", first)
    storage.register_store("toy", first)
    storage.register_store("toy", Store())  # as when a notebook's cell runs again
    with pytest.raises(ValueError, match="another store is already registered for 'toy'"):
        storage.register_store("toy", lambda: first)


async def test_its_uris_have_two_parts_and_its_errors_are_kept():
    storage.register_store("toy", Store)
    assert b"".join([chunk async for chunk in storage.get_stream("TOY://some.host:80/a/b/x")]) == b"some.host:80|a/b/x"
    assert await storage.exists("toy://r/x") and not await storage.exists("toy://r/y")
    with pytest.raises(PermissionError, match=r"toy://r/y.*read only"):
        await storage.put_stream(b"x", to_path="toy://r/y")
    with pytest.raises(ValueError, match=r"unknown scheme 'tot'; known are .*toy.*register_store\(\) adds one"):
        await storage.exists("tot://r/x")
    with pytest.raises(ValueError, match="a registered store is no file system of fsspec"):
        storage.get_underlying_filesystem("toy")


def test_files_folders_and_frames_of_a_run_go_there(shelf, tmp_path):
    import pandas as pd

    (tmp_path / "f").write_text("in a folder")
    env = flyte.TaskEnvironment(name="all")

    @env.task
    async def make() -> tuple[File, Dir, DataFrame, pd.DataFrame]:
        file = await File.from_local(tmp_path / "f")
        folder = await Dir.from_local(tmp_path)
        frame = pd.DataFrame({"a": [1, 2]})
        return file, folder, DataFrame.from_df(frame), frame

    @env.task
    async def look(file: File, folder: Dir, frame: DataFrame, other: pd.DataFrame) -> list[str]:
        async with file.open() as opened:
            text = bytes(await opened.read()).decode()
        names = [found.name async for found in folder.walk()]
        opened_frame = await frame.open(pd.DataFrame).all()
        uris = [file.path, folder.path, frame.uri]
        return [text, *names, str(opened_frame.a.sum() + other.a.sum()), *(str(uri).split("/")[0] for uri in uris)]

    @env.task
    async def main() -> list[str]:
        return await look(*await make())

    storage.register_store("shelf", shelf)
    found = flyte.with_runcontext(raw_data_path="shelf://run").run(main).result
    assert found == ["in a folder", "f", "6", "shelf:", "shelf:", "shelf:"]


def installed(folder: Path, entry: str) -> dict[str, str]:
    """The environment of a process in which a package with an entry point is installed."""
    (info := folder / "toys-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[flyte.plugins.storage]\n{entry}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("toy = tests.storage.test_registry:Store", "True"),
        ("toy = tests.storage.test_registry:missing", r"ImportError.*toy://.*:missing of toys, cannot.*AttributeError"),
        ("toy = tests.storage.test_registry:ROOT", "TypeError.*toy://.*has no read"),
        ("other = tests.storage.test_registry:Store", "ValueError.*unknown scheme 'toy'; known are .*other"),
    ],
)
def test_an_installed_package_brings_one(tmp_path, entry, says):
    program = textwrap.dedent("""
        from flyte import storage
        try:
            print(storage.exists_sync("toy://r/x"))
        except Exception as error:
            print(type(error).__name__, error)
    """)
    env = installed(tmp_path, entry)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(says, done.stdout), done.stdout
