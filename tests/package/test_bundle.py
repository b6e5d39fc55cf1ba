"""Building bundles: equal everywhere, refused when they would not work, reused when nothing changed."""

import gzip
import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from pathlib import Path

import cloudpickle
import pytest

from flyte._core.code_bundle import CodeBundle
from flyte._package import archive
from flyte._package import bundle as module
from flyte._package.bundle import build_bundle, build_pickled_bundle, download_code_bundle, examine
from flyte._package.local_imports import certain, glance
from flyte.errors import CodeBundleError

REPOSITORY = str(Path(__file__).resolve().parents[2])
KEY = "-----BEGIN RSA PRIVATE " + "KEY-----\n" + "MIIEpAIBAAKCAQEA7bq9f0m2Jd8sC3vX1yZkQwErTyUiOpAsDfGhJkLz\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def build(tmp_path):
    def made(root: Path = tmp_path / "project", **arguments) -> CodeBundle:
        arguments = {"style": "all", "state_folder": tmp_path / "state", **arguments}
        return build_bundle(root, tmp_path / "out", **arguments)

    return made


GOLDEN = {
    "main.py": "import pkg.a\n",
    "pkg/__init__.py": "",
    "pkg/a.py": "x = 1\n",
    "pkg/ü.txt": "ü\n",
    "z" * 120: "long",
}


def test_golden_digest(tmp_path, build):
    bundle = build(tree(tmp_path / "project", GOLDEN))
    expected = hashlib.md5(usedforsecurity=False)
    for name in sorted(GOLDEN):
        expected.update(GOLDEN[name].encode() + name.replace("/", "").encode())
    assert os.path.basename(bundle.tgz) == f"fast{expected.hexdigest()}.tar.gz"
    assert os.path.basename(bundle.tgz) == "fastf10ca7b027cbc7d60be979d399712683.tar.gz"
    content = Path(bundle.tgz).read_bytes()
    assert bundle.computed_version == hashlib.md5(content, usedforsecurity=False).hexdigest()
    # Not of the compressed bytes: they are the business of whatever zlib this Python has.
    assert (
        hashlib.md5(gzip.decompress(content), usedforsecurity=False).hexdigest() == "b00078924b89c63856b71ffc97518dc6"
    )
    assert bundle.files == sorted(GOLDEN)
    with tarfile.open(bundle.tgz) as tar:
        assert tar.getnames() == sorted(GOLDEN)


def test_equal_on_another_machine(tmp_path, build):
    here = build(tree(tmp_path / "project", GOLDEN))
    there = tmp_path / "elsewhere" / "other name"
    there.mkdir(parents=True)
    code = """
        import os, sys
        os.umask(0o077)
        names = eval(sys.argv[1])
        for name in reversed(names):
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            with open(name, "w") as f: f.write(names[name])
            os.utime(name, (1, 1))
        from flyte._package.bundle import build_bundle
        print(build_bundle(".", "../out", style="all", state_folder="../state").computed_version)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), repr(GOLDEN)], cwd=there, text=True, timeout=60,
        capture_output=True, env={**os.environ, "PYTHONPATH": REPOSITORY, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert done.stdout.strip() == here.computed_version, done.stderr


@pytest.mark.parametrize("change", ["content", "name", "executable", "new", "gone"])
def test_every_change_makes_another_version(tmp_path, build, change):
    root = tree(tmp_path / "project", {"a.txt": "1", "b.txt": "2"})
    before = build()
    if change == "content":
        (root / "a.txt").write_text("3")
    elif change == "name":
        (root / "a.txt").rename(root / "c.txt")
    elif change == "executable":
        (root / "a.txt").chmod(0o755)
    elif change == "new":
        (root / "c.txt").touch()
    else:
        (root / "a.txt").unlink()
    assert build().computed_version != before.computed_version


def test_unchanged_is_not_read_again(tmp_path, build, monkeypatch):
    root = tree(tmp_path / "project", {"a.py": "import b", "b.py": "", "c.txt": "1"})
    time.sleep(0.1)  # what changed within one step of the file clock is read again on purpose
    first = build()
    monkeypatch.setattr(module._Project, "_content", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(module, "write_archive", lambda *_: pytest.fail("packed again"))
    assert build() == first
    monkeypatch.undo()
    Path(first.tgz).unlink()
    assert build() == first and Path(first.tgz).exists()
    times = os.stat(root / "c.txt")
    (root / "c.txt").write_text("2")
    os.utime(root / "c.txt", ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same mtime
    assert build().computed_version != first.computed_version


def test_a_damaged_memory_is_no_harm(tmp_path, build):
    tree(tmp_path / "project", {"a.py": "1"})
    time.sleep(0.1)
    first = build()
    (memory,) = (tmp_path / "state" / "bundles").iterdir()
    memory.write_text("{")
    assert build() == first


@pytest.mark.parametrize("files", [{".env": "A=1"}, {"deploy.txt": KEY}, {"k.py": f"KEY = '''{KEY}'''"}])
def test_secrets_are_refused_unless_asked_for(tmp_path, build, files):
    tree(tmp_path / "project", {"a.py": "", **files})
    (name,) = files
    with pytest.raises(CodeBundleError, match=f"secrets.*{name}"):
        build()
    assert not (tmp_path / "out").exists()
    assert name in build(allow_secrets=True).files
    assert name in build(include=[name]).files
    (tmp_path / "project/.flyteignore").write_text(name)
    assert name not in build().files


def test_code_that_speaks_of_keys_is_no_key(tmp_path, build):
    tree(
        tmp_path / "project",
        {"a.py": "if '-----BEGIN PRIVATE KEY-----' in text: raise ValueError('no keys here please')"},
    )
    assert build().files == ["a.py"]


@pytest.mark.parametrize(
    "statement",
    ["import app.gone", "from app import gone", "from app.gone import x", "from .app import (  # comment\n  gone,\n)",
     "def f():\n    import app.gone as g", "if 1: from app import gone", "x = 1; import app.gone"],
)  # fmt: skip
def test_imports_that_would_not_travel(tmp_path, build, statement):
    root = tree(
        tmp_path / "project", {"main.py": statement, "app/__init__.py": "", "app/gone.py": "", ".gitignore": "gone.py"}
    )
    with pytest.raises(CodeBundleError) as caught:
        build()
    for words in ("app/gone.py", "imported by main.py", ".gitignore in ./"):
        assert words in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert "app/gone.py" in build(include=["app/gone.py"]).files
    if "from ." not in statement:
        assert "app/gone.py" not in build(in_image=["app"]).files
    (root / ".flyteignore").write_text("main.py")
    assert build().files == [".flyteignore", ".gitignore", "app/__init__.py"]


@pytest.mark.parametrize(
    "text",
    ["import gone.not_there", "try:\n    import gone\nexcept ImportError:\n    gone = None", '"""\nimport gone\n"""',
     "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gone", "import json, numpy", "import gone2 \n{{"],
)  # fmt: skip
def test_imports_that_are_no_trouble(tmp_path, build, text):
    files = {"main.py": text, ".gitignore": "gone*"}
    if "not_there" not in text:
        files["gone.py"] = ""
    tree(tmp_path / "project", files)
    assert "main.py" in build().files


def test_modules_outside_the_root(tmp_path, build, monkeypatch):
    tree(tmp_path, {"project/main.py": "import sharedlib", "libs/sharedlib/__init__.py": ""})
    monkeypatch.syspath_prepend(tmp_path / "libs")
    with pytest.raises(CodeBundleError, match=r"sharedlib/__init__\.py, imported by main\.py: outside"):
        build()
    assert build(in_image=["sharedlib"]).files == ["main.py"]
    assert build(tmp_path, include=[]).files[-1] == "project/main.py"


def test_loaded_modules_take_what_they_import_later(tmp_path, monkeypatch, build):
    files = {
        "src/bundled_one/__init__.py": "def f():\n    from . import later\n",
        "src/bundled_one/later.py": "import bundled_one.last",
        "src/bundled_one/last.py": "",
        "src/other.py": "",
    }
    tree(tmp_path / "project", files)
    monkeypatch.syspath_prepend(tmp_path / "project" / "src")
    import bundled_one  # type: ignore[import-not-found]  # noqa: F401

    try:
        selection, _ = examine(tmp_path / "project", state_folder=tmp_path / "state")
        assert {f.path: f.reason for f in selection.files} == {
            "src/bundled_one/__init__.py": "module bundled_one is loaded",
            "src/bundled_one/last.py": "imported by src/bundled_one/later.py",
            "src/bundled_one/later.py": "imported by src/bundled_one/__init__.py",
        }
    finally:
        del sys.modules["bundled_one"]


def test_the_glance_sees_what_the_parser_sees():
    """Over the sources of this package and of the standard library's email: no import goes unseen."""
    import email

    sources = [*Path(REPOSITORY, "flyte").rglob("*.py"), *Path(email.__file__).parent.rglob("*.py")]
    assert len(sources) > 50
    for source in sources:
        content = source.read_bytes()
        sure = {(level, name, tuple(sorted(names))) for level, name, names in certain(content, guarded=True)}
        seen = {(level, name, tuple(sorted(names))) for level, name, names in glance(content)}
        assert {s for s in sure if s[2] != ("*",)} <= seen, source


def test_nothing_to_bundle(tmp_path, build):
    (tmp_path / "project").mkdir()
    for style in ("all", "none", "loaded_modules"):
        with pytest.raises(CodeBundleError, match=f"nothing to bundle.*{style}"):
            build(style=style)


def test_a_large_file_is_not_held_in_memory_and_comes_back(tmp_path, build, monkeypatch):
    monkeypatch.setattr(module, "_KEPT_BYTES", 10)
    root = tree(tmp_path / "project", {"a.py": "x" * 100})
    (root / "big.bin").write_bytes(os.urandom(3_000_000))
    with tarfile.open(build().tgz) as tar:
        assert tar.extractfile("big.bin").read() == (root / "big.bin").read_bytes()
        assert tar.extractfile("a.py").read() == b"x" * 100


def test_the_bytes_of_an_archive_follow_from_its_content_alone(monkeypatch):
    """Not from how it comes in, nor from how many threads there are; any gzip reads them."""
    chance = random.Random(3)
    content = b"".join(chance.choice((b"def x(): ", b"return 1\n", chance.randbytes(9))) for _ in range(300_000))
    made = set()
    for threads, step in ((1, 999), (2, 1 << 20), (4, archive._PIECE_BYTES), (3, len(content))):
        monkeypatch.setattr(archive, "_THREADS", threads)
        file = io.BytesIO()
        with archive.GzipWriter(file) as packed:
            for start in range(0, len(content), step):
                packed.write(content[start : start + step])
            assert packed.close() == hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest()
        made.add(file.getvalue())
    assert len(made) == 1 and gzip.decompress(made.pop()) == content
    assert len(content) > 5 * archive._PIECE_BYTES


def test_an_archive_that_fails_leaves_no_thread():
    def members():
        yield "a", False, 3_000_000, [bytes(3_000_000)]
        yield "b", False, 3, [b"four"]

    with pytest.raises(ValueError, match="b changed while it was read"):
        archive.write_archive(io.BytesIO(), members())
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("flyte-gzip")]


PICKLER = """
import sys
sys.path.insert(0, sys.argv[1])
import flyte, beside
from flyte._package.bundle import build_pickled_bundle
env = flyte.TaskEnvironment(name="notebook")
@env.task
async def double(x: int) -> int:
    return beside.times_two(x)
print(build_pickled_bundle(double, sys.argv[2], root=sys.argv[1]).pkl)
"""


async def test_pickled_task_runs_where_its_modules_are_not(tmp_path):
    tree(tmp_path / "project", {"beside.py": "FACTOR = 2\ndef times_two(x):\n    return FACTOR * x\n"})
    env = {**os.environ, "PYTHONPATH": REPOSITORY}
    made = subprocess.run([sys.executable, "-c", PICKLER, str(tmp_path / "project"), str(tmp_path / "out")], env=env,
                          text=True, capture_output=True, timeout=60)  # fmt: skip
    assert made.returncode == 0, made.stderr
    path = Path(made.stdout.strip())
    assert path.name == "code_bundle.pkl.gz"
    version = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    bundle = CodeBundle(computed_version=version, destination=str(tmp_path / "dest"), pkl=str(path))
    fetched = await download_code_bundle(bundle)
    assert fetched.downloaded_path == tmp_path / "dest" / "code_bundle.pkl.gz"
    run = (
        "import asyncio, gzip, pickle, sys, flyte\ntask = pickle.load(gzip.open(sys.argv[1]))\nflyte.init()\n"
        "print(asyncio.run(task.aio(21)) if hasattr(task, 'aio') else asyncio.run(task(21)))\n"
    )
    done = subprocess.run([sys.executable, "-c", run, str(fetched.downloaded_path)], env=env, text=True,
                          capture_output=True, timeout=60, cwd=tmp_path)  # fmt: skip
    assert done.stdout.strip() == "42", done.stderr


def test_what_cannot_be_pickled_is_an_error(tmp_path):
    lock = threading.Lock()
    with pytest.raises(CodeBundleError, match="cannot pickle"):
        build_pickled_bundle(lambda: lock, tmp_path, root=tmp_path)
    assert not list(tmp_path.iterdir())
    assert cloudpickle.list_registry_pickle_by_value() == set()
