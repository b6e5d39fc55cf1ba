"""Which files travel: real folders, real git repositories, real loaded modules."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from flyte._package.files import choose_files, import_folders, system_paths
from flyte.errors import CodeBundleError


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def tree(root: Path, files: dict[str, str]) -> Path:
    return write(root, **files)


def paths(selection):
    return [f.path for f in selection.files]


def run_python(code: str, cwd: Path, *argv: str, **env: str) -> str:
    repository = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *argv], cwd=cwd, text=True, capture_output=True, timeout=60,
        env={**os.environ, "PYTHONPATH": repository, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_leaves_out_what_is_not_the_projects(tmp_path):
    tree(tmp_path, {"a.py": "", "pkg/b.py": "", "pkg/__pycache__/b.cpython-311.pyc": "", "c.pyc": "", ".git/config": "",
                    ".venv/pyvenv.cfg": "", ".venv/lib/x.py": "", "env2/pyvenv.cfg": "", "lib/site-packages/y.py": "",
                    "node_modules/z/index.js": "", ".mypy_cache/x.json": "", "data/é 日本.txt": "x"})  # fmt: skip
    selection = choose_files(tmp_path, "all")
    assert paths(selection) == ["a.py", "data/é 日本.txt", "pkg/b.py"]
    why = {x.path: x.reason for x in selection.left_out}
    assert why == {
        ".git/": "version control", ".mypy_cache/": "cache", ".venv/": "virtual environment", "c.pyc": "cache",
        "env2/": "virtual environment", "lib/site-packages/": "installed packages",
        "node_modules/": "installed packages", "pkg/__pycache__/": "cache",
    }  # fmt: skip


def test_ignore_files_mean_what_git_means(tmp_path):
    """The oracle is git itself, in a repository whose root lies above the bundle's."""
    tree(tmp_path, {
        ".gitignore": "*.log\n/app/only_top\nbuild/\n!keep.log\n", "app/.gitignore": "secret*\n!secret_ok.py\nx/**/y\n",
        "app/a.py": "", "app/b.log": "", "app/keep.log": "", "app/build/c.py": "", "app/only_top": "",
        "app/deep/only_top": "", "app/secret_no.py": "", "app/secret_ok.py": "", "app/deep/secret_ok.py": "",
        "app/deep/.gitignore": "!b.log\n", "app/deep/b.log": "", "app/x/1/2/y": "", "app/x/1/z": "", "app/build.py": "",
    })  # fmt: skip
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, env=env, check=True, timeout=30)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "."], cwd=tmp_path / "app", env=env,
                            check=True, text=True, capture_output=True, timeout=30).stdout.split()  # fmt: skip
    assert len(listed) == 10
    assert paths(choose_files(tmp_path / "app", "all")) == sorted(listed)


def test_flyteignore_leaves_out_and_takes_back_in(tmp_path):
    tree(tmp_path, {".gitignore": "*.bin\n", ".flyteignore": "!model.bin\ndocs/\n.*ignore\n", "model.bin": "m",
                    "other.bin": "o", "docs/d.md": "", "a.py": ""})  # fmt: skip
    selection = choose_files(tmp_path, "all")
    assert paths(selection) == ["a.py", "model.bin"]
    assert {x.path: x.reason for x in selection.left_out}["docs/"] == ".flyteignore in ./"


def test_symlinks_are_followed_but_not_in_circles(tmp_path):
    tree(tmp_path, {"shared/s.py": "s", "project/a.py": "a"})
    project = tmp_path / "project"
    (project / "linked").symlink_to(tmp_path / "shared")
    (project / "b.py").symlink_to("a.py")
    (project / "loop").symlink_to(".")
    (project / "nowhere").symlink_to("gone")
    (project / "self").symlink_to("self")
    selection = choose_files(project, "all")
    assert paths(selection) == ["a.py", "b.py", "linked/s.py"]
    assert [x.path for x in selection.left_out] == ["loop/", "nowhere", "self"]


@pytest.mark.parametrize("pattern", ["data", "data/**", "data/x.csv", "./data/x.csv"])
def test_includes(tmp_path, pattern):
    tree(tmp_path, {"a.py": "", ".gitignore": "data\n", "data/x.csv": "1"})
    assert paths(choose_files(tmp_path, "none", [pattern])) == ["data/x.csv"]
    assert paths(choose_files(tmp_path, "all", [pattern])) == [".gitignore", "a.py", "data/x.csv"]


@pytest.mark.parametrize(
    ("include", "words"),
    [("../x", "outside"), ("/etc/passwd", "outside"), ("gone.csv", "names no file"), ("*.nope", "names no file")],
)
def test_includes_that_cannot_be_met(tmp_path, include, words):
    with pytest.raises(CodeBundleError, match=words) as caught:
        choose_files(tmp_path, "none", [include])
    assert include in str(caught.value)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="'some'"):
        choose_files(tmp_path, "some")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="list of paths"):
        choose_files(tmp_path, "none", "a.py")
    with pytest.raises(CodeBundleError, match="gone"):
        choose_files(tmp_path / "gone", "all")


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [(".env", True), (".env.production", True), ("prod.env", True), ("id_rsa", True), ("id_ed25519", True),
     ("k.p12", True), (".netrc", True), (".env.example", False), ("id_rsa.pub", False), ("env.py", False),
     ("environment", False)],
)  # fmt: skip
def test_names_that_hold_secrets(tmp_path, name, is_secret):
    tree(tmp_path, {name: "x", "a.py": ""})
    (tmp_path / "innocent").symlink_to(name)
    found = [f.path for f in choose_files(tmp_path, "all").secrets]
    assert sorted(found) == (sorted([name, "innocent"]) if is_secret else [])
    assert not choose_files(tmp_path, "none", [name]).secrets
    assert bool(choose_files(tmp_path, "none", ["*"]).secrets) == is_secret or name.startswith(".")


def test_explanation(tmp_path):
    tree(tmp_path, {f"f{i:02d}": "x" * i for i in range(20)})
    tree(tmp_path, {".env": "", "__pycache__/x.pyc": ""})
    selection = choose_files(tmp_path, "all")
    assert [f.path for f in selection.largest()] == [f"f{i:02d}" for i in range(19, 9, -1)]
    text = selection.explain()
    for words in (
        "21 files, 190 bytes",
        "f19  19 bytes  (in the project)",
        "__pycache__/  (cache)",
        "refused",
        "  .env",
    ):
        assert words in text


LOADED = """
    import sys
    from flyte._package.files import choose_files
    {imports}
    print(*(f.path for f in choose_files(".", "loaded_modules").files))
"""


def test_loaded_modules_of_src_layout_and_namespace_package(tmp_path):
    tree(tmp_path, {"src/app/__init__.py": "", "src/app/a.py": "", "src/app/unused.py": "", "ns/inner/m.py": "",
                    ".venv/pyvenv.cfg": "", ".venv/other.py": "", "lib/site-packages/inst.py": "",
                    ".gitignore": "a.py\n"})  # fmt: skip
    imports = (
        "sys.path[:0] = ['src', '.venv', 'lib/site-packages']; import app.a, ns.inner.m, other, inst, json, pathspec"
    )
    assert run_python(LOADED.format(imports=imports), tmp_path).split() == [
        "ns/inner/m.py", "src/app/__init__.py", "src/app/a.py",
    ]  # fmt: skip


def test_loaded_modules_through_a_linked_root(tmp_path):
    tree(tmp_path, {"real/m.py": ""})
    (tmp_path / "link").symlink_to("real")
    code = """
        import sys
        from flyte._package.files import choose_files
        sys.path.insert(0, sys.argv[1]); import m
        print(*(f.path for f in choose_files(sys.argv[2], "loaded_modules").files))
    """
    for on_path, root in (("real", "link"), ("link", "real")):
        assert run_python(code, tmp_path, str(tmp_path / on_path), str(tmp_path / root)) == "m.py\n"


def test_single_script(tmp_path):
    code = "from flyte._package.files import choose_files\nprint(*(f.path for f in choose_files('.').files))\n"
    tree(tmp_path, {"script.py": code, "other.py": ""})
    repository = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, text=True, capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": repository})  # fmt: skip
    assert done.stdout == "script.py\n", done.stderr


def test_system_paths(tmp_path, monkeypatch):
    for name in ("src", "a/b", ".venv/lib", "site-packages"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".venv/pyvenv.cfg").touch()
    monkeypatch.chdir(tmp_path)
    entries = ["", str(tmp_path / "src"), "/usr", str(tmp_path / "a/b"), str(tmp_path / "gone"), str(tmp_path / "src"),
               str(tmp_path / ".venv/lib"), str(tmp_path / "site-packages")]  # fmt: skip
    assert system_paths(tmp_path, entries) == "./src:./a/b"
    assert import_folders(tmp_path, entries) == ["", "src", "a/b"]
    (tmp_path / "c:d").mkdir()
    with pytest.raises(CodeBundleError, match="c:d"):
        system_paths(tmp_path, [str(tmp_path / "c:d")])


@pytest.mark.slow
def test_fifty_thousand_files(tmp_path):
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n")
    for i in range(500):
        folder = tmp_path / f"p{i:03d}"
        folder.mkdir()
        for j in range(100):
            (folder / f"m{j:02d}.py").touch()
    start = time.process_time()
    assert len(choose_files(tmp_path, "all").files) == 50_001  # and .gitignore
    assert time.process_time() - start < 10  # about 1 s; a quadratic walk takes minutes
