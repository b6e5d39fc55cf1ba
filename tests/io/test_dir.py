"""Dir: how one is made, walked and brought here; names that try to leave it."""

import secrets
from pathlib import Path

import pytest

from flyte.io import Dir, EmptyDir, File

TREE = {"top.txt": "t", "a/one.txt": "1", "a/two.csv": "2", "a/b/deep.txt": "d"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in TREE.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(content)
    return tmp_path / "tree"


@pytest.fixture(params=["local", "memory"])
def made(request, tree, tmp_path) -> Dir:
    target = str(tmp_path / "copy") if request.param == "local" else f"memory://{secrets.token_hex(4)}/copy"
    return Dir.from_local_sync(tree, target, dir_cache_key="k")


def below(made: Dir, files: list[File]) -> set[str]:
    return {file.path.removeprefix(made.path + "/") for file in files}


async def test_walk(made):
    assert (made.name, made.hash) == ("tree", "k")
    assert await made.exists() and made.exists_sync()
    assert below(made, [f async for f in made.walk()]) == set(TREE)
    assert below(made, [f async for f in made.walk(max_depth=2)]) == set(TREE) - {"a/b/deep.txt"}
    assert below(made, [f async for f in made.walk(recursive=False)]) == {"top.txt"}
    assert below(made, await made.list_files()) == below(made, made.list_files_sync()) == {"top.txt"}
    assert below(made, list(made.walk_sync(file_pattern="*.csv"))) == {"a/two.csv"}
    assert below(made, list(made.walk_sync(max_depth=1))) == {"top.txt"}
    with pytest.raises(ValueError, match="max_depth=0"):
        _ = [f async for f in made.walk(max_depth=0)]


async def test_get_file(made):
    found = await made.get_file("a/b/deep.txt")
    assert found is not None
    with found.open_sync("r") as text:
        assert text.read() == "d"
    assert await made.get_file("nothing") is None and made.get_file_sync("a") is None


@pytest.mark.parametrize(
    "name", ["../tree/top.txt", "/etc/passwd", "a/../../x", "", ".", "a\\..\\x", "s3://b/x", "a//b"]
)
async def test_names_that_leave_the_folder(made, name):
    with pytest.raises(ValueError, match="plain relative path"):
        await made.get_file(name)
    with pytest.raises(ValueError, match="plain relative path"):
        Dir.new_remote(name)


async def test_keys_that_leave_the_folder(tmp_path):
    from flyte.storage._memory import MEMORY

    root = secrets.token_hex(4)
    MEMORY.objects[f"{root}/../escaped"] = b"x"
    with pytest.raises(ValueError, match=r"'\.\./escaped' is not a plain relative path"):
        await Dir(path=f"memory://{root}").download(tmp_path / "a")
    assert not (tmp_path / "escaped").exists()


async def test_download(made, tmp_path):
    for target in (await made.download(tmp_path / "here"), made.download_sync()):
        assert {str(p.relative_to(target)): p.read_text() for p in Path(target).rglob("*") if p.is_file()} == TREE


async def test_from_local_goes_to_a_new_place(tree):
    first, second = await Dir.from_local(tree), await Dir.from_local(tree)
    assert first.path != second.path and first.name == "tree"
    assert below(first, [f async for f in first.walk()]) == set(TREE)


async def test_what_cannot_be(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        await Dir.from_local(tmp_path / "gone")
    with pytest.raises(NotADirectoryError, match="top"):
        await Dir.from_local(tree / "top.txt")
    with pytest.raises(ValueError, match="inside the folder"):
        await Dir.from_local(tree, str(tree / "a" / "copy"))
    with pytest.raises(FileNotFoundError, match="gone"):
        await Dir(path=str(tmp_path / "gone")).download()
    with pytest.raises(ValueError, match="empty path"):
        Dir(path="")


async def test_an_empty_folder(tmp_path):
    empty = Dir.empty()
    assert isinstance(empty, EmptyDir) and empty.is_empty and not Dir(path="x").is_empty
    assert [f async for f in empty.walk()] == [] and await empty.get_file("x") is None and await empty.exists()
    assert list(Path(await empty.download(tmp_path / "e")).iterdir()) == []
    assert Dir(path=empty.path).is_empty  # as a task receives it
