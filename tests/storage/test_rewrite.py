"""``_F_PATH_REWRITE``: what an operator has mounted is read there, and only read."""

from pathlib import Path

import pytest

import flyte.storage as storage

FAR = "s3://no-such-bucket-anywhere/data"


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mnt"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("here")
    (folder / "sub" / "b.txt").write_text("below")
    monkeypatch.setenv("_F_PATH_REWRITE", f"{FAR}/->{folder}/")
    return folder


async def test_every_way_of_reading_goes_there(mounted: Path, tmp_path: Path) -> None:
    assert await storage.exists(f"{FAR}/a.txt") and await storage.exists(FAR)
    assert b"".join([piece async for piece in storage.get_stream(f"{FAR}/a.txt")]) == b"here"
    async with await storage.open(f"{FAR}/sub/b.txt", "rb") as file:
        assert await file.read() == b"below"
    assert Path(await storage.get(f"{FAR}/a.txt", tmp_path / "copy")).read_text() == "here"
    folder = Path(await storage.get(FAR, tmp_path / "all", recursive=True))
    assert sorted(one.name for one in folder.rglob("*.txt")) == ["a.txt", "b.txt"]


async def test_what_is_written_goes_where_it_is_said(mounted: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("_F_PATH_REWRITE", f"{tmp_path}/out->{mounted}")
    await storage.put_stream(b"new", to_path=str(tmp_path / "out" / "a.txt"))
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"new"
    assert (mounted / "a.txt").read_text() == "here"


@pytest.mark.parametrize("path", ["{root}/else.txt", "{root}-other/a.txt"])
async def test_what_is_not_mounted_is_read_where_it_is(mounted: Path, tmp_path: Path, monkeypatch, path: str) -> None:
    root = tmp_path / "far"
    monkeypatch.setenv("_F_PATH_REWRITE", f"{root}->{mounted}")
    there = Path(path.format(root=root))
    there.parent.mkdir(parents=True)
    there.write_text("its own")
    assert b"".join([piece async for piece in storage.get_stream(str(there))]) == b"its own"


@pytest.mark.parametrize("said", ["nonsense", "->x", "x->"])
async def test_a_form_that_is_none_is_an_error(monkeypatch, said: str) -> None:
    monkeypatch.setenv("_F_PATH_REWRITE", said)
    with pytest.raises(ValueError, match="is not of the form old->new"):
        await storage.exists("/anything")
