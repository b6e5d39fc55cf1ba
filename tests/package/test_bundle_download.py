"""Unpacking and fetching: what is hostile or damaged is refused, and one bundle is fetched once."""

import asyncio
import dataclasses
import gzip
import io
import os
import secrets
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte import storage
from flyte._core.code_bundle import CodeBundle
from flyte._package import download
from flyte._package.archive import unpack, write_archive
from flyte._package.bundle import build_bundle, download_code_bundle
from flyte.errors import CodeBundleError
from flyte.storage._config import configured
from tests.storage.conftest import s3_endpoint  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def import_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", content: bytes = b"") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content)
    return info


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def everything_below(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.name.startswith(".flyte-bundle"))


SYM, LNK = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = {
    "absolute": [member("/tmp/evil.py")],
    "above": [member("../evil.py")],
    "above, inside": [member("a/../../evil.py")],
    "link to absolute": [member("l", SYM, "/etc")],
    "link above": [member("l", SYM, "..")],
    "link above from a folder": [member("a/l", SYM, "../../x")],
    "through a link": [member("l", SYM, "a"), member("l/evil.py")],
    "through a link that comes later": [member("l/evil.py"), member("l", SYM, "a")],
    "through a link in other case": [member("L", SYM, "a"), member("l/evil.py")],
    "link by way of a link": [member("a/b", SYM, ".."), member("c", SYM, "a/b/..")],
    "file over a link": [member("l", SYM, "a"), member("l")],
    "hard link to absolute": [member("l", LNK, "/etc/passwd")],
    "hard link above": [member("l", LNK, "../x")],
    "hard link to no member": [member("l", LNK, "x")],
    "hard link to a link": [member("s", SYM, "x"), member("l", LNK, "s")],
    "device": [member("d", tarfile.CHRTYPE)],
    "block device": [member("d", tarfile.BLKTYPE)],
    "pipe": [member("d", tarfile.FIFOTYPE)],
    "the destination itself": [member(".", SYM, "a")],
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_archives_write_nothing(tmp_path, case):
    path = archive(tmp_path / "a.tar.gz", member("innocent.py", content=b"1"), *HOSTILE[case])
    with pytest.raises(CodeBundleError) as caught:
        await download_code_bundle(CodeBundle(computed_version="v", destination=str(tmp_path / "out"), tgz=str(path)))
    assert str(path) in str(caught.value) and "member" in str(caught.value)
    assert everything_below(tmp_path) == ["a.tar.gz", "out"]


async def test_links_that_lie_in_the_destination_are_not_written_through(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/pkg").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out/file").symlink_to(tmp_path / "target")
    for name in ("pkg/x.py", "file"):
        path = archive(tmp_path / "a.tar.gz", member("ok.py"), member(name))
        with pytest.raises(CodeBundleError, match="through a link"):
            await download_code_bundle(
                CodeBundle(computed_version=name, destination=str(tmp_path / "out"), tgz=str(path))
            )
        assert everything_below(tmp_path / "out") == ["file", "pkg"]
        assert not list((tmp_path / "elsewhere").iterdir()) and not (tmp_path / "target").exists()


def test_links_inside_are_kept(tmp_path):
    path = archive(
        tmp_path / "a.tar.gz",
        member("lib/x", content=b"12"),
        member("bin/x", SYM, "../lib/x"),
        member("h", LNK, "lib/x"),
    )
    unpack(str(path), str(tmp_path / "out"))
    assert (tmp_path / "out/bin/x").read_bytes() == (tmp_path / "out/h").read_bytes() == b"xx"


PART = st.sampled_from(["a", "b", "..", ".", "", "A"])
NAMES = st.lists(PART, min_size=1, max_size=4).map("/".join)
MEMBERS = st.lists(
    st.builds(member, NAMES, st.sampled_from([tarfile.REGTYPE, SYM, LNK, tarfile.DIRTYPE]), NAMES), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(MEMBERS)
def test_whatever_is_in_an_archive_nothing_escapes(tmp_path_factory, members):
    top = tmp_path_factory.mktemp("t")
    (top / "in").mkdir()
    path = archive(top / "in" / "a.tar.gz", *members)
    inside = top / "x" / "y"
    try:
        unpack(str(path), str(inside))
    except (ValueError, tarfile.TarError, OSError):
        pass
    assert everything_below(top / "in") == ["a.tar.gz"]
    assert {p.name for p in top.iterdir()} <= {"in", "x"}
    assert not (top / "x").exists() or {p.name for p in (top / "x").iterdir()} <= {"y"}
    for found in inside.rglob("*"):
        assert os.path.realpath(found).startswith(os.path.realpath(inside))


FILES = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=120).filter(
        lambda s: s.strip(". ") and len(s.encode()) < 250 and not s.startswith(".")
    ),
    st.binary(max_size=2000),
    max_size=5,
)


@settings(max_examples=50, deadline=None)
@given(FILES)
def test_archives_come_back_whole(tmp_path_factory, files):
    top = tmp_path_factory.mktemp("t")
    with open(top / "a.tar.gz", "wb") as file:
        write_archive(file, [(f"d/{n}", False, len(c), [c]) for n, c in sorted(files.items())])
    unpack(str(top / "a.tar.gz"), str(top / "out"))
    with tarfile.open(top / "a.tar.gz") as tar:
        assert {m.name.removeprefix("d/"): tar.extractfile(m).read() for m in tar} == files
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} <= {(347155200, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("damage", ["cut", "flipped", "no gzip", "empty", "no tar"])
async def test_damaged_archives_are_named(tmp_path, damage):
    path = archive(tmp_path / "a.tar.gz", member("a.py", content=b"1" * 5000), member("b.py", content=b"2" * 5000))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # in the checksum at the end
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "flipped": bytes(flipped), "no gzip": b"<html>", "empty": b"",
         "no tar": gzip.compress(b"no tar")}[damage]
    )  # fmt: skip
    with pytest.raises(CodeBundleError) as caught:
        await download_code_bundle(CodeBundle(computed_version="v", destination=str(tmp_path / "out"), tgz=str(path)))
    assert str(path) in str(caught.value)
    assert everything_below(tmp_path) == ["a.tar.gz", "out"]


@pytest.mark.parametrize("uri", ["gopher://host/fast.tar.gz", "/gone/fast.tar.gz", "file:///gone/fast.tar.gz"])
async def test_what_cannot_be_fetched_is_named(tmp_path, uri):
    with pytest.raises(CodeBundleError) as caught:
        await download_code_bundle(CodeBundle(computed_version="v", destination=str(tmp_path / "out"), tgz=uri))
    assert uri in str(caught.value)
    assert not (tmp_path / "out").exists()


async def test_a_bundle_that_is_there_is_given_back(tmp_path):
    bundle = CodeBundle(computed_version="v", tgz="s3://unreachable/x", downloaded_path=tmp_path)
    assert await download_code_bundle(code_bundle=bundle) is bundle


def project(tmp_path: Path, files: int = 30) -> CodeBundle:
    for i in range(files):
        (tmp_path / "project").mkdir(exist_ok=True)
        (tmp_path / f"project/travelled_{i}.py").write_text(f"x = {i}\n")
    return build_bundle(tmp_path / "project", tmp_path / "é out", style="all", state_folder=tmp_path / "state",
                        destination=str(tmp_path / "new" / "dest"))  # fmt: skip


@pytest.mark.parametrize("as_uri", [False, True])
async def test_fetched_once_and_importable(tmp_path, as_uri):
    made = project(tmp_path)
    bundle = CodeBundle(**{f: getattr(made, f) for f in ("computed_version", "destination", "files")},
                        tgz=Path(made.tgz).as_uri() if as_uri else made.tgz)  # fmt: skip
    fetched = await download_code_bundle(code_bundle=bundle)
    assert bundle.downloaded_path is None
    assert fetched == bundle.with_downloaded_path(tmp_path / "new" / "dest")
    assert sys.path[0] == bundle.destination
    import travelled_7  # type: ignore[import-not-found]

    assert travelled_7.x == 7
    (tmp_path / "new/dest/travelled_7.py").write_text("changed")
    assert await download_code_bundle(bundle) == fetched
    assert (tmp_path / "new/dest/travelled_7.py").read_text() == "changed"  # not unpacked again
    assert sys.path.count(bundle.destination) == 1


@pytest.mark.parametrize("kind", ["memory", "s3"])
@pytest.mark.parametrize("pickled", [False, True])
async def test_fetched_from_a_store(tmp_path, kind, pickled, request):
    folder = f"memory://{tmp_path.name}"
    if kind == "s3":
        endpoint = request.getfixturevalue("s3_endpoint")
        there = storage.S3(endpoint=endpoint, access_key_id="key", secret_access_key="secret", region="us-east-1")
        folder = f"s3://bucket/{secrets.token_hex(6)}"
        with configured.override(there):
            await check_fetching(tmp_path, folder, pickled)
    else:
        await check_fetching(tmp_path, folder, pickled)


async def check_fetching(tmp_path, folder, pickled):
    made = project(tmp_path, files=3)
    destination = tmp_path / "new" / "dest"
    if pickled:
        (tmp_path / "code.pkl.gz").write_bytes(gzip.compress(b"any"))
        uri = await storage.put(str(tmp_path / "code.pkl.gz"), f"{folder}/code.pkl.gz")
        bundle = CodeBundle(computed_version="v", destination=str(destination), pkl=uri)
    else:
        uri = await storage.put(made.tgz, f"{folder}/fast.tar.gz")
        bundle = CodeBundle(computed_version="v", destination=str(destination), tgz=uri)
    fetched = await asyncio.gather(*(download_code_bundle(bundle) for _ in range(5)))
    assert {f.downloaded_path for f in fetched} == {destination / "code.pkl.gz" if pickled else destination}
    there = {p.name for p in destination.iterdir() if not p.name.startswith(".")}
    assert there == ({"code.pkl.gz"} if pickled else {f"travelled_{i}.py" for i in range(3)})
    assert not list(destination.glob("*fetched*"))
    gone = dataclasses.replace(bundle, computed_version="w", **{"pkl" if pickled else "tgz": f"{folder}/gone.gz"})
    with pytest.raises(CodeBundleError, match=r"gone\.gz"):
        await download_code_bundle(gone)
    assert await download_code_bundle(bundle) == fetched[0]  # which is still there


async def test_another_bundle_in_the_same_place_takes_it_over(tmp_path):
    (tmp_path / "project").mkdir()
    bundles = []
    for text in ("first", "second"):
        (tmp_path / "project/t.txt").write_text(text)
        bundles.append(project(tmp_path, files=1))
    for bundle, text in (*zip(bundles, ("first", "second"), strict=True), (bundles[0], "first")):
        await download_code_bundle(bundle)
        assert (tmp_path / "new/dest/t.txt").read_text() == text


async def test_a_pickle_is_fetched_as_it_is(tmp_path):
    for name, content in (("a.pkl", b"any"), ("b.pkl.gz", gzip.compress(b"any"))):
        (tmp_path / name).write_bytes(content)
        bundle = CodeBundle(computed_version="v", destination=str(tmp_path / "out"), pkl=str(tmp_path / name))
        fetched = await download_code_bundle(bundle)
        assert fetched.downloaded_path == tmp_path / "out" / name
        assert fetched.downloaded_path.read_bytes() == content
    (tmp_path / "c.pkl.gz").write_bytes(gzip.compress(b"any")[:-3])
    bundle = CodeBundle(computed_version="v", destination=str(tmp_path / "out"), pkl=str(tmp_path / "c.pkl.gz"))
    with pytest.raises(CodeBundleError, match=r"c\.pkl\.gz"):
        await download_code_bundle(bundle)
    assert not (tmp_path / "out/c.pkl.gz").exists()


async def test_ten_at_once_cost_one(tmp_path, monkeypatch):
    bundle = project(tmp_path, files=200)
    unpacked = []
    real = download.unpack
    monkeypatch.setattr(download, "unpack", lambda *a: (unpacked.append(a), real(*a))[1])
    fetched = await asyncio.gather(*(download_code_bundle(bundle) for _ in range(10)))
    assert len(unpacked) == 1
    assert {f.downloaded_path for f in fetched} == {tmp_path / "new" / "dest"}


async def test_two_processes_cost_one(tmp_path):
    bundle = project(tmp_path, files=500)
    code = (
        "import asyncio, sys\nfrom flyte._core.code_bundle import CodeBundle\nfrom flyte._package import download\n"
        "real = download.unpack\ndef unpack(*a):\n    print('unpacked')\n    return real(*a)\n"
        "download.unpack = unpack\n"
        "b = CodeBundle(computed_version=sys.argv[1], destination=sys.argv[2], tgz=sys.argv[3])\n"
        "asyncio.run(download.download_code_bundle(b))\nimport travelled_499\nassert travelled_499.x == 499\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, bundle.computed_version, bundle.destination, bundle.tgz, env=env,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    outputs = await asyncio.wait_for(asyncio.gather(*(p.communicate() for p in started)), 60)
    assert [p.returncode for p in started] == [0, 0, 0]
    assert b"".join(out for out, _ in outputs).split() == [b"unpacked"]


async def test_a_lock_that_is_never_released_ends_in_an_error(tmp_path, monkeypatch):
    import fcntl

    bundle = project(tmp_path, files=1)
    monkeypatch.setattr(download, "LOCK_DEADLINE_S", 0.1)
    Path(bundle.destination).mkdir(parents=True)
    with open(Path(bundle.destination) / ".flyte-bundle.lock", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CodeBundleError, match="another process"):
            await download_code_bundle(bundle)
    assert (await download_code_bundle(bundle)).downloaded_path is not None
