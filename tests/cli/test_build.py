"""`flyte build`: what it prints, where, and its exit code; the builder is a podman that only says what it is told."""

import json
import re
from pathlib import Path

import pytest

PROGRAM = """
import flyte
from flyte import Image

base = Image.from_base("x:1").clone(name="app", registry="registry.invalid/team", extendable=True)
first = flyte.TaskEnvironment("first", image=base.with_pip_packages("six"))
second = flyte.TaskEnvironment("second-one", image=base.with_commands(["make all"]), depends_on=[first])
plain = flyte.TaskEnvironment("plain", image="y:2")
"""


@pytest.fixture
def images(folder):
    (folder / "images.py").write_text(PROGRAM)
    (folder / "bin").mkdir()
    return folder


def podman(folder: Path, text: str = "STEP 1/1: FROM x:1", code: int = 0) -> dict[str, str]:
    """Variables that bring a podman which prints ``text`` and ends with ``code``."""
    path = folder / "bin" / "podman"
    path.write_text(f"#!/bin/sh\n[ $1 = build ] || exit 0\necho '{text}'\nexit {code}\n")
    path.chmod(0o755)
    return {"PATH": str(folder / "bin"), "FLYTE_HOME": str(folder / "home")}


def test_a_dry_run_prints_the_dockerfiles(run_flyte, images):
    done = run_flyte("build", "--dry-run", "images.py", "first", PATH="")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^# registry\.invalid/team/app:[0-9a-f]{32}\nFROM x:1\n", done.stdout)
    assert "uv pip install six" in done.stdout and "make all" not in done.stdout
    done = run_flyte("build", "--dry-run", "images.py", PATH="")
    assert done.stdout.count("\nFROM x:1\n") == 2 and "make all" in done.stdout


def test_it_builds_says_why_and_prints_the_uris(run_flyte, images):
    done = run_flyte("build", "--force", "images.py", **podman(images))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["first", "second-one", "plain"] and lines[2][1] == "y:2"
    assert (
        len(re.findall(r"^building registry\.invalid/team/app:[0-9a-f]{32}: forced$", done.stderr, re.MULTILINE)) == 2
    )
    assert len(re.findall(r"^built .* in \d+\.\d s$", done.stderr, re.MULTILINE)) == 2
    assert (
        re.search(r"^  (\[[0-9a-f]{8}\] )?STEP 1/1: FROM x:1$", done.stderr, re.MULTILINE)
        and "not building y:2: it is its base" in done.stderr
    )
    again = run_flyte("build", "images.py", "second-one", **podman(images, code=1))
    assert again.returncode == 0 and again.stdout == "".join(
        f"{line}\n" for line in sorted(done.stdout.splitlines()[:2], reverse=True)
    )
    assert (
        len(re.findall(r"^not building .*: unchanged .* \(decided in \d+\.\d ms\)$", again.stderr, re.MULTILINE)) == 2
    )


def test_json(run_flyte, images):
    done = run_flyte("build", "--force", "--output", "json", "images.py", "first", **podman(images))
    (image,) = json.loads(done.stdout)["images"]
    assert image["environment"] == "first" and image["built"] and image["why"] == "forced" and image["duration_s"] >= 0
    done = run_flyte("--output-format", "json", "build", "--dry-run", "images.py", "first", PATH="")
    (image,) = json.loads(done.stdout)["images"]
    assert image["dockerfile"].startswith("FROM x:1") and not image["built"]


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_failure_has_the_end_of_the_log_and_an_exit_code(run_flyte, images, output):
    done = run_flyte(
        "build", "--force", "--output", output, "images.py", "first", **podman(images, "E: no package six", 7)
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = done.stderr if output == "text" else json.loads(done.stdout)["error"]["message"]
    assert "could not be built by podman (exit code 7); the end of its log:\nE: no package six" in said
    if output == "json":
        assert json.loads(done.stdout)["error"]["type"] == "ImageBuildError"


def test_without_a_builder(run_flyte, images):
    done = run_flyte("build", "--force", "images.py", PATH=str(images / "bin"))
    assert done.returncode == 1 and "neither podman nor buildah is on PATH; install Docker" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("images.py", "fist"), "'images.py' has no environment 'fist'; did you mean 'first'?"),
        (("images.py", "zzz"), "'images.py' has no environment 'zzz'; it has first, second-one, plain"),
        (("empty.py",), "'empty.py' has no environments; make one with flyte.TaskEnvironment"),
        (("gone.py",), "there is no file 'gone.py'"),
        (("--builder", "locale", "images.py"), "there is no image builder 'locale'; did you mean 'local'?"),
        (("--copy-style", "some", "images.py"), "'some' is not one of loaded_modules, all, none"),
        ((), "Missing argument"),
    ],
)
def test_refused(run_flyte, images, args, said):
    (images / "empty.py").write_text("x = 1\n")
    done = run_flyte("build", *args)
    assert done.returncode == 2 and said in " ".join(done.stderr.split()), done.stderr


def test_a_file_that_cannot_be_imported(run_flyte, images):
    (images / "broken.py").write_text("raise RuntimeError('at import')\n")
    done = run_flyte("build", "broken.py")
    assert done.returncode == 1 and "RuntimeError: at import" in done.stderr and "could not be imported" in done.stderr


def test_the_remote_builder_says_what_it_needs(run_flyte, images):
    done = run_flyte("build", "--force", "--builder", "remote", "images.py", "first")
    assert done.returncode == 1 and "is a service of hosted control planes" in done.stderr


def test_help_and_the_list_of_commands(run_flyte):
    done = run_flyte("build", "--help")
    assert done.returncode == 0 and "--dry-run" in done.stdout and "FILE_OR_MODULE" in done.stdout
    assert re.search(r"^ +build +Build the images", run_flyte("--help").stdout, re.MULTILINE)
