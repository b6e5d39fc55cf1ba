"""``flyte bundle`` as users run it: what travels and why, what is refused, and layouts that projects have."""

import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from cli_process import ROOT, command, environment

TRAIN = """
import flyte
{imports}
env = flyte.TaskEnvironment(name="t"{more})

@env.task
async def main(x: int = 1) -> int:
    return x
"""
KEY = "-----BEGIN RSA PRIVATE " + "KEY-----\n" + "MIIEpAIBAAKCAQEA7bq9f0m2Jd8sC3vX1yZkQwErTyUiOpAsDfGhJkLz\n"
CLOUD = "[default]\naws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPx" + "RfiCYEXAMPLEKEY\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def program(imports: str = "", more: str = "") -> str:
    return TRAIN.format(imports=imports, more=more)


@pytest.fixture
def bundle(tmp_path):
    """Run ``flyte bundle ARGS`` in a folder; its document and exit code."""

    def run(*args: str, cwd: Path = tmp_path / "project", json_output: bool = True, **env: str):
        words = ["bundle", *args, *(("--output", "json") if json_output else ())]
        done = subprocess.run(
            command(*words), cwd=cwd, env=environment(FLYTE_HOME=str(tmp_path / "home"), **env), capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        return (json.loads(done.stdout) if json_output else done.stdout + done.stderr), done.returncode

    return run


def paths(document) -> list[str]:
    return [file["path"] for file in document["files"]]


def members(archive: str) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_explains_what_goes_in_and_what_does_not(tmp_path, bundle):
    files = {
        "flows/train.py": program("import lib.a", ", include=('data', '*.sql')"),
        "flows/data/x.csv": "1", "flows/q.sql": "select 1", "lib/__init__.py": "", "lib/a.py": "import lib.later",
        "lib/later.py": "", "lib/other.py": "", "notes.log": "", "big.bin": "x" * 5000, "secret/a.txt": "",
        ".gitignore": "*.log", ".flyteignore": "secret/", "__pycache__/x.pyc": "",
    }  # fmt: skip
    root = tree(tmp_path / "project", files)
    (root / ".git").mkdir()
    found, code = bundle("flows/train.py", "--explain")
    assert code == 0
    assert {f["path"]: f["reason"] for f in found["files"]} == {
        "flows/data/x.csv": "include 'flows/data'",
        "flows/q.sql": "include 'flows/*.sql'",
        "flows/train.py": "module train is loaded",
        "lib/__init__.py": "module lib is loaded",
        "lib/a.py": "module lib.a is loaded",
        "lib/later.py": "module lib.later is loaded",
    }
    left_out = {x["path"]: x["reason"] for x in found["left_out"]}
    assert left_out == {
        ".git/": "version control", "__pycache__/": "cache", "notes.log": ".gitignore in ./",
        "secret/": ".flyteignore in ./", "lib/other.py": "not a loaded module",
        **dict.fromkeys((".gitignore", ".flyteignore", "big.bin"), "neither a module nor included"),
    } | {k: v for k, v in left_out.items() if k.endswith("__pycache__/")}  # fmt: skip
    assert found["largest"][0] == "flows/train.py" and found["count"] == 6
    assert "archive" not in found and not (tmp_path / "home" / "local" / "bundles" / "made").exists()
    everything, _ = bundle("flows/train.py", "--explain", "--copy-style", "all")
    assert {"big.bin", "lib/other.py", ".gitignore"} <= {*paths(everything)}
    assert everything["largest"][0] == "big.bin"
    text, _ = bundle("flows/train.py", "--explain", json_output=False)
    for words in ("6 files", "lib/a.py  16 bytes  (module lib.a is loaded)", "largest:", "left out:",
                  "notes.log  (.gitignore in ./)"):  # fmt: skip
        assert words in text
    nothing, _ = bundle("flows/train.py", "--copy-style", "none", "--explain")
    assert paths(nothing) == ["flows/data/x.csv", "flows/q.sql"]


def test_writes_the_archive_and_says_where(tmp_path, bundle):
    tree(tmp_path / "project", {"train.py": program("import other"), "other.py": ""})
    made, code = bundle("train.py")
    assert code == 0 and members(made["archive"]) == ["other.py", "train.py"] == paths(made)
    assert made["archive"].startswith(str(tmp_path / "home"))
    again, _ = bundle("train.py", "--to", "out", "--copy-style", "all")
    assert members(tmp_path / "project" / again["archive"]) == ["other.py", "train.py"]
    assert paths(bundle("train.py", "--copy-style", "all")[0]) == ["other.py", "train.py"]  # not the archive in out/
    text, _ = bundle("train.py", json_output=False)
    first, second = text.splitlines()
    assert first.startswith(f"{made['version']}  2 files, ") and second == made["archive"]


@pytest.mark.parametrize(
    ("name", "content"),
    [(".env", "A=1"), ("keys/id_ed25519", "x"), ("deploy.txt", KEY), (".aws/credentials", "x"), ("cfg.ini", CLOUD),
     (".docker/config.json", "{}"), ("application_default_credentials.json", "{}")],
)  # fmt: skip
def test_secrets_are_refused_unless_asked_for(tmp_path, bundle, name, content):
    tree(tmp_path / "project", {"train.py": program(), name: content})
    found, code = bundle("train.py", "--copy-style", "all", "--to", "out")
    assert code == 1 and name in found["error"]["message"] and "--allow-secrets" in found["error"]["message"]
    assert not (tmp_path / "project" / "out").exists()
    assert "wJalr" not in json.dumps(found) and "MIIE" not in json.dumps(found)
    found, code = bundle("train.py", "--copy-style", "all", "--allow-secrets")
    assert code == 0 and name in paths(found)


def test_an_import_that_would_not_travel_is_an_error(tmp_path, bundle):
    files = {"train.py": program(), "main.py": "import gone", "gone.py": "", ".gitignore": "gone.py"}
    root = tree(tmp_path / "project", files)
    (root / ".git").mkdir()
    text, code = bundle("train.py", "--copy-style", "all", "--explain", "--to", "out", json_output=False)
    assert code == 1 and "gone.py, imported by main.py: left out: .gitignore" in text and "main.py  11 bytes" in text
    assert not (root / "out").exists()
    assert bundle("train.py", "--copy-style", "all", "--in-image", "gone")[1] == 0
    found, code = bundle("train.py", "--copy-style", "all", "--include", "gone.py")
    assert code == 0 and "gone.py" in paths(found)


def test_includes_outside_of_the_root_are_named(tmp_path, bundle):
    tree(tmp_path / "project", {"train.py": program("", ", include=('../beside.txt',)")})
    (tmp_path / "beside.txt").write_text("x")
    found, code = bundle("train.py")
    assert code == 1 and "environment 't' includes '../beside.txt'" in found["error"]["message"]
    found, code = bundle("train.py", "--root-dir", "..")
    assert code == 0 and paths(found) == ["beside.txt", "project/train.py"]


def test_a_clone_includes_what_its_original_does(tmp_path, bundle):
    files = {
        "lib/base.py": "import flyte\nbase = flyte.TaskEnvironment(name='base', include=('a.txt',))\n",
        "lib/a.txt": "1", "a.txt": "2", "b.txt": "3",
        "flow.py": "from lib.base import base\nsame = base.clone_with('same')\n"
        "other = base.clone_with('other', include=('b.txt',))\n",
    }  # fmt: skip
    tree(tmp_path / "project", files)
    found, _ = bundle("flow.py", "--copy-style", "none")
    assert paths(found) == ["b.txt", "lib/a.txt"]


# Layouts ------------------------------------------------------------------------------------------------------------

SRC = {"src/app/__init__.py": "", "src/app/flow.py": program("from app import steps"), "src/app/steps.py": ""}
NAMESPACE = {"company/team/flow.py": program("import company.lib.a"), "company/lib/a.py": ""}
UNICODE = {"flow.py": program("import größe", ", include=('дані/*',)"), "größe.py": "", "дані/a b.txt": "1"}
LAYOUTS = {
    "src": (SRC, "src/app/flow.py", [*SRC], "src"),
    "namespace": (NAMESPACE, "company/team/flow.py", [*NAMESPACE], "."),
    "unicode": (UNICODE, "flow.py", [*UNICODE], ""),
    "script": ({"one.py": program(), "two.py": ""}, "one.py", ["one.py"], ""),
    "package": (
        {"pkg/__init__.py": "", "pkg/flow.py": program("from .near import x"), "pkg/near.py": "x = 1"},
        "pkg/flow.py", ["pkg/__init__.py", "pkg/flow.py", "pkg/near.py"], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, bundle, layout):
    files, target, expected, on_path = LAYOUTS[layout]
    root = tree(tmp_path / "project", files)
    path = {"PYTHONPATH": os.pathsep.join([ROOT, *([str(root / on_path)] if on_path else [])])}
    found, code = bundle(target, **path)
    assert code == 0, found
    assert paths(found) == sorted(expected) == members(found["archive"])
    # From elsewhere, with the root said; it is the same bundle.
    (tmp_path / "else").mkdir()
    elsewhere, _ = bundle(f"../project/{target}", "--root-dir", "../project", cwd=tmp_path / "else", **path)
    assert elsewhere["version"] == found["version"]


def test_a_workspace_of_several_packages(tmp_path, bundle):
    """As uv lays one out; the members' folders are on the import path."""
    files = {
        "pyproject.toml": "[tool.uv.workspace]\nmembers = ['packages/*']",
        "packages/core/src/ws_core/__init__.py": "", "packages/core/src/ws_core/maths.py": "",
        "packages/flows/src/ws_flows/__init__.py": "",
        "packages/flows/src/ws_flows/main.py": program("from ws_core import maths"),
    }  # fmt: skip
    root = tree(tmp_path / "project", files)
    on_path = [ROOT, *(str(root / "packages" / name / "src") for name in ("core", "flows"))]
    found, code = bundle("packages/flows/src/ws_flows/main.py", PYTHONPATH=os.pathsep.join(on_path))
    assert code == 0
    assert paths(found) == sorted(name for name in files if name.endswith(".py"))
    # With one member as the root, the other would not travel.
    found, code = bundle("src/ws_flows/main.py", cwd=root / "packages/flows", PYTHONPATH=os.pathsep.join(on_path))
    assert code == 1 and "ws_core" in found["error"]["message"]


def test_links_travel_as_what_they_lead_to(tmp_path, bundle):
    root = tree(tmp_path / "project", {"flow.py": program(), "real/a.txt": "1"})
    (root / "linked").symlink_to("real")
    (root / "file.txt").symlink_to("real/a.txt")
    (root / "round").symlink_to(".")
    (root / "nowhere").symlink_to("gone")
    found, _ = bundle("flow.py", "--copy-style", "all", "--explain", "--to", "out")
    assert paths(found) == ["file.txt", "flow.py", "linked/a.txt", "real/a.txt"]
    assert {x["path"] for x in found["left_out"]} >= {"nowhere", "round/"}
    with tarfile.open(root / found["archive"]) as tar:
        assert all(member.isreg() for member in tar)
        assert tar.extractfile("linked/a.txt").read() == b"1"


@pytest.mark.slow
def test_fifty_thousand_files_in_bounded_time(tmp_path, bundle):
    root = tree(tmp_path / "project", {"flow.py": program()})
    for i in range(500):
        (root / f"p{i:03d}").mkdir()
        for j in range(100):
            (root / f"p{i:03d}" / f"m{j:02d}.txt").touch()
    began = time.monotonic()
    found, code = bundle("flow.py", "--copy-style", "all", "--explain", "--to", str(tmp_path / "out"))
    assert code == 0 and found["count"] == 50_001
    assert time.monotonic() - began < 60  # about 4 s; what is quadratic takes minutes
