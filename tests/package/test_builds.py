"""Real builds with podman and buildah, a real registry, and a task that runs in the container that comes out."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest

from flyte import Image, Secret
from flyte._definition.layers import PythonWheels
from flyte._package.image_build import watch_builds
from flyte._package.image_checkers import PodmanStoreChecker, RegistryChecker
from flyte.errors import ImageBuildError
from flyte.extend import ImageBuildEngine

# The first of them waits for the base image as well.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]

MODULE = """
import os, subprocess
import flyte, six

env = flyte.TaskEnvironment("words")

@env.task
async def count(text: str) -> dict[str, int]:
    split = ["jq", "-cn", "--arg", "t", text, '$t | split(" ")']
    made = subprocess.run(split, capture_output=True, text=True, check=True)
    words = six.ensure_str(made.stdout.strip()).strip("[]").replace('"', "").split(",")
    return {f"{os.environ['GREETING']} {word}": words.count(word) for word in words}
"""


async def build(image, builder="local-podman", **options):
    """The result, and the lines of the log."""
    events = []
    with watch_builds(events.append):
        result = await ImageBuildEngine.build(image, builder, **options)
    return result, [event.text for event in events if event.kind == "log"]


def ran(log):
    """The steps that were not taken from the cache."""
    steps = re.split(r"^STEP ", "\n".join(log), flags=re.MULTILINE)[1:]
    said = [step.splitlines()[0].partition(": ")[2] for step in steps if "--> Using cache" not in step]
    return [step for step in said if not step.startswith("FROM ")]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The flyte of this checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(argv, check=True, timeout=180)
    return folder


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "words.py").write_text(MODULE)
    return folder


@pytest.fixture
def base(machine):
    return Image.from_debian_base((3, 11), install_flyte=False, name="team/app", platform=("linux/amd64",))


async def test_a_task_runs_in_a_container_of_an_image_from_a_registry(machine, base, wheels, project, state_folder):
    """Apt, pip, source and env layers; built, pushed, pulled, run; the second decision needs nothing but the record."""
    image = (
        base.clone(registry=machine.registry)
        .with_apt_packages("jq")
        .clone(addl_layer=PythonWheels(wheel_dir=wheels, package_name="flyte"))
        .with_pip_packages("six==1.16.0")
        .with_source_folder(project, ".", copy_contents_only=True)
        .with_env_vars({"GREETING": "the word"})
    )
    result, log = await build(image)
    assert result == f"{machine.registry}/team/app:{image.uri.rpartition(':')[2]}" and result.built
    assert "+ six==1.16.0" in "\n".join(log)
    tags = json.load(urllib.request.urlopen(f"http://{machine.registry}/v2/team/app/tags/list", timeout=10))
    assert tags["tags"] == [image.uri.rpartition(":")[2]]

    machine.run("rmi", "--force", result)
    machine.run("pull", "--quiet", "--tls-verify=false", result)
    program = (
        "import asyncio, os, flyte, words; print(flyte.run(words.count, text='a b a').outputs().value, os.getuid())"
    )
    said = machine.run("run", "--rm", result, "python", "-c", program)
    assert said.splitlines()[-1] == "{'the word a': 2, 'the word b': 1} 1000"
    assert machine.run("run", "--rm", result, "printenv", "_F_IMG_ID") == result

    # Somebody else, who has built nothing: the registry says that it is there, and for which machines.
    repository, _, tag = result.rpartition(":")
    assert await RegistryChecker.image_exists(repository, tag, ("linux/amd64",)) == result
    assert await RegistryChecker.image_exists(repository, tag, ("linux/amd64", "linux/arm64")) is None
    assert await RegistryChecker.image_exists(repository, "other", ("linux/amd64",)) is None

    decided = decide(image.registry, result, state_folder, wheels, project)
    assert decided["why"].startswith("unchanged") and decided["milliseconds"] < 50


def decide(registry, uri, state_folder, wheels, project):
    """The engine's decision in a new process that may open no connection and start no program."""
    program = textwrap.dedent("""
        import asyncio, json, sys, time
        from flyte import Image
        from flyte._definition.layers import PythonWheels
        from flyte.extend import ImageBuildEngine

        def refuse(event, arguments):
            if event in ("socket.connect", "subprocess.Popen", "os.posix_spawn"):
                raise AssertionError(event)

        sys.addaudithook(refuse)
        registry, wheels, project = sys.argv[1:]
        image = (
            Image.from_debian_base((3, 11), install_flyte=False, name="team/app", platform=("linux/amd64",))
            .clone(registry=registry)
            .with_apt_packages("jq")
            .clone(addl_layer=PythonWheels(wheel_dir=__import__("pathlib").Path(wheels), package_name="flyte"))
            .with_pip_packages("six==1.16.0")
            .with_source_folder(project, ".", copy_contents_only=True)
            .with_env_vars({"GREETING": "the word"})
        )
        began = time.perf_counter()
        result = asyncio.run(ImageBuildEngine.build(image, "local-podman"))
        milliseconds = (time.perf_counter() - began) * 1000
        print(json.dumps({"uri": result, "why": result.why, "milliseconds": milliseconds}))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, registry, str(wheels), str(project)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "FLYTE_HOME": str(state_folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    decided = json.loads(done.stdout)
    assert decided["uri"] == uri
    return decided


async def test_changing_one_package_rebuilds_that_layer_only(base, project):
    def image(package, code="x = 1\n"):
        (project / "words.py").write_text(code)
        return (
            base.with_source_folder(project)
            .with_pip_packages("iniconfig==2.0.0")
            .with_pip_packages(package)
            .with_workdir("/home/flyte")
        )

    first, log = await build(image("six==1.16.0"))
    assert first.built and any("iniconfig==2.0.0" in step for step in ran(log))
    second, log = await build(image("six==1.17.0"))
    assert "since the last build, layer 3 (pip): -six==1.16.0 +six==1.17.0" in second.why
    steps = ran(log)
    assert "six==1.17.0" in steps[0] or "six==1.17.0" in steps[1], steps
    assert not any("iniconfig" in step or "venv" in step for step in steps), steps
    assert " + six==1.17.0" in log and not any("iniconfig" in line for line in log if line.startswith(" + "))


async def test_changed_code_installs_nothing_again(base, project):
    """Code that was copied before packages, as written, is copied after them, as built."""

    def image(code):
        (project / "words.py").write_text(code)
        return base.with_source_folder(project).with_pip_packages("iniconfig==2.0.0")

    await build(image("x = 1\n"))
    second, log = await build(image("x = 2\n"))
    assert "since the last build, layer 1 (copy to ./src): content changed" in second.why
    steps = ran(log)
    assert len(steps) <= 3 and steps[0].startswith("COPY"), steps


async def test_nothing_changed_and_every_reason_to_build(machine, base, tmp_path):
    machine.run("tag", machine.base, "localhost/mine:1")
    image = Image.from_base("localhost/mine:1").clone(name="reasons", extendable=True).with_env_vars({"A": "1"})
    first, _ = await build(image)
    assert first.built and first.why.startswith("there is no such tag: reasons:")
    again, log = await build(image)
    assert not again.built and log == []
    # Another process, or later: the record says it, and the store's own list that the image is still there.
    forget_this_process()
    assert (await build(image))[0].why == "unchanged since it was built or found from here"
    machine.run("rmi", "--force", f"localhost/{image.uri}")
    forget_this_process()
    assert (await build(image))[0].built
    (tmp_path / "Dockerfile").write_text(f"FROM {machine.base}\nRUN echo changed > /changed\n")
    machine.run("build", "--quiet", "--tag", "localhost/mine:1", str(tmp_path))
    forget_this_process()
    changed, _ = await build(image)
    assert changed.built and changed.why.startswith("base changed: localhost/mine:1 is another image than")
    assert machine.run("run", "--rm", f"localhost/{image.uri}", "cat", "/changed") == "changed"
    assert (await build(image, force=True))[0].why == "forced"
    other, _ = await build(image.with_env_vars({"B": "2"}))
    assert "since the last build, layer 2 (env) is new" in other.why
    repository, _, tag = image.uri.rpartition(":")
    assert await PodmanStoreChecker.image_exists(repository, tag) == image.uri
    assert await PodmanStoreChecker.image_exists(repository, "other") is None


def forget_this_process():
    from flyte._package import image_engine

    image_engine._known.clear()


async def test_latest_is_built_each_time(base):
    from dataclasses import replace

    image = replace(base.with_env_vars({"A": "1"}), _tag="latest")
    for _ in range(2):
        result, _ = await build(image)
        assert result.built and result == "team/app:latest"


async def test_a_secret_is_readable_in_its_step_and_nowhere_else(machine, base, monkeypatch):
    monkeypatch.setenv("INDEX_TOKEN", "s3cr3t-of-the-index")
    secret = Secret("index-token")
    image = base.with_commands(
        ['echo "the token is $INDEX_TOKEN" && test ${#INDEX_TOKEN} = 19 && env > /variables'],
        secret_mounts=[secret],
    ).with_commands(
        ['test -z "$INDEX_TOKEN" && test -z "$(ls -A /run/secrets 2>/dev/null)"', "sed -i /TOKEN/d /variables"]
    )
    result, log = await build(image)
    assert any("the token is ***" in line for line in log)
    assert not any("s3cr3t-of-the-index" in line for line in log)
    name = f"localhost/{result}"
    described = machine.run("image", "inspect", name) + machine.run("history", "--no-trunc", "--format", "json", name)
    assert "s3cr3t-of-the-index" not in described
    monkeypatch.delenv("INDEX_TOKEN")
    with pytest.raises(ImageBuildError, match="secret 'index-token', which building the image needs, is not set"):
        await build(image, force=True)


async def test_tasks_may_write_to_their_work_dir(machine, base):
    result, _ = await build(base.with_workdir("/srv/app"))
    name = f"localhost/{result}"
    assert machine.run("run", "--rm", name, "sh", "-c", "touch made && pwd && id -un").split() == ["/srv/app", "flyte"]


async def test_a_failed_build_says_how_it_ended(base):
    image = base.with_commands(["echo about to fail; echo E: the reason >&2; exit 7"])
    with pytest.raises(
        ImageBuildError, match=r"(?s)could not be built by podman .* log:.*about to fail.*E: the reason"
    ):
        await build(image)


async def test_projects_scripts_and_requirements(machine, base, tmp_path):
    (tmp_path / "requirements.txt").write_text("iniconfig==2.0.0\n")
    script = '# /// script\n# dependencies = ["six==1.16.0"]\n# ///\nprint()\n'
    (tmp_path / "script.py").write_text(script)
    project = tmp_path / "project"
    (project / "src" / "own").mkdir(parents=True)
    (project / "src" / "own" / "__init__.py").write_text("WHO = 'own'\n")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "own"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["toolz==1.0.0"]\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    image = (
        base.with_requirements(tmp_path / "requirements.txt")
        .with_uv_project(project / "pyproject.toml", project_install_mode="install_project")
        .with_source_file(tmp_path / "script.py", "/opt/scripts")
        .with_workdir("/opt/scripts")
        .with_commands(["python -c 'import iniconfig, toolz, own; print(own.WHO)'"])
    )
    result, log = await build(image)
    assert {" + iniconfig==2.0.0", " + toolz==1.0.0", "own"} <= set(log)
    listed = machine.run("run", "--rm", f"localhost/{result}", "sh", "-c", "pwd; id -un; ls")
    assert listed.split() == ["/opt/scripts", "flyte", "script.py"]
    scripted = Image.from_uv_script(
        tmp_path / "script.py", name="scripted", python_version=(3, 11), platform=("linux/amd64",)
    )
    _, log = await build(scripted.with_commands(["python -c 'import six'"]))
    assert " + six==1.16.0" in log


LOCK = """
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "iniconfig"
version = "2.0.0"
source = { registry = "https://pypi.org/simple" }
wheels = [
    { url = "https://files.pythonhosted.org/packages/ef/a6/\
62565a6e1cf69e10f5727360368e451d4b7f58beeac6173dc9db836a5b46/iniconfig-2.0.0-py3-none-any.whl", \
hash = "sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374" },
]

[[package]]
name = "locked"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "iniconfig" }]

[package.metadata]
requires-dist = [{ name = "iniconfig" }]
"""


async def test_a_locked_uv_project(base, tmp_path):
    """What the lock file says, not the newest; and the project's own code stays out."""
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(
        '[project]\nname = "locked"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["iniconfig"]\n'
    )
    unlocked, log = await build(base.with_uv_project(pyproject).with_commands(["python -c 'import iniconfig'"]))
    assert [line for line in log if line.startswith(" + ")] != [" + iniconfig==2.0.0"]
    (tmp_path / "uv.lock").write_text(LOCK)
    locked, log = await build(base.with_uv_project(pyproject).with_commands(["python -c 'import iniconfig'"]))
    assert locked != unlocked and [line for line in log if line.startswith(" + ")] == [" + iniconfig==2.0.0"]


# As poetry 2.5.1 writes it; the hash is of what pyproject.toml says of dependencies.
POETRY = """
[project]
name = "own"
version = "1"
requires-python = ">=3.11"
dependencies = ["iniconfig<2.1"]
[tool.poetry]
packages = [{ include = "own", from = "src" }]
[build-system]
requires = ["poetry-core>=2"]
build-backend = "poetry.core.masonry.api"
[[tool.poetry.source]]
name = "index"
url = "https://pypi.org/simple/"
priority = "primary"
"""
POETRY_LOCK = """
[[package]]
name = "iniconfig"
version = "2.0.0"
description = "brain-dead simple config-ini parsing"
optional = false
python-versions = ">=3.7"
groups = ["main"]
files = [
    {file = "iniconfig-2.0.0-py3-none-any.whl", \
hash = "sha256:b6a85871a79d2e3b22d2d1b94ac2824226a63c6b741c88f7ae975f18b6778374"},
]

[package.source]
type = "legacy"
url = "https://pypi.org/simple"
reference = "index"

[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "383c75c0b095a531432680f50527b04f5320c5b0500b52be33637ed3e045f82e"
"""
# The same with a package in a folder of the project.
POETRY_BESIDE = POETRY.replace('dependencies = ["iniconfig<2.1"]', 'dynamic = ["dependencies"]')
POETRY_BESIDE += '[tool.poetry.dependencies]\nbeside = { path = "beside" }\n'
POETRY_BESIDE_LOCK = """
[[package]]
name = "beside"
version = "2"
description = ""
optional = false
python-versions = "*"
groups = ["main"]
files = []
develop = false

[package.source]
type = "directory"
url = "beside"

[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "ee1b3c3d89173c87e24399d7d348aefbdfd8da614c8e1b0dacafb6468bea40a7"
"""


async def test_poetry_projects(machine, base, tmp_path):
    """The dependencies alone, as locked; and a project with its own code, and a package beside it."""
    alone, whole = tmp_path / "alone", tmp_path / "whole"
    for folder, pyproject, lock in ((alone, POETRY, POETRY_LOCK), (whole, POETRY_BESIDE, POETRY_BESIDE_LOCK)):
        (folder / "src" / "own").mkdir(parents=True)
        (folder / "src" / "own" / "__init__.py").write_text("WHO = 'own'\n")
        (folder / "pyproject.toml").write_text(pyproject)
        (folder / "poetry.lock").write_text(lock)
    (whole / "beside" / "beside").mkdir(parents=True)
    (whole / "beside" / "beside" / "__init__.py").write_text("WHO = 'beside'\n")
    (whole / "beside" / "pyproject.toml").write_text(
        '[project]\nname = "beside"\nversion = "2"\n'
        '[build-system]\nrequires = ["poetry-core>=2"]\nbuild-backend = "poetry.core.masonry.api"\n'
    )
    result, _ = await build(base.with_poetry_project(alone / "pyproject.toml"))
    program = "import importlib.metadata as m, importlib.util as u; print(m.version('iniconfig'), u.find_spec('own'))"
    assert machine.run("run", "--rm", f"localhost/{result}", "python", "-c", program) == "2.0.0 None"

    image = base.with_poetry_project(whole / "pyproject.toml", project_install_mode="install_project")
    result, _ = await build(image)
    program = "import beside, own; print(beside.WHO, own.WHO)"
    assert machine.run("run", "--rm", f"localhost/{result}", "python", "-c", program) == "beside own"

    # A lock file of another project is refused, with poetry's own words.
    (alone / "pyproject.toml").write_text(POETRY.replace("iniconfig<2.1", "toolz"))
    with pytest.raises(ImageBuildError, match=r"(?s)poetry install.*poetry.lock"):
        await build(base.with_poetry_project(alone / "pyproject.toml"))


async def test_code_bundle(machine, base, tmp_path, monkeypatch):
    import flyte
    from flyte._verbs.prepare import build_images
    from flyte._verbs.session import _session

    (tmp_path / "flow.py").write_text("X = 1\n")
    (tmp_path / ".gitignore").write_text("data/\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big.bin").write_bytes(b"0" * 100)
    monkeypatch.setattr(_session, "_default", None)
    flyte.init(root_dir=tmp_path, image_builder="local-podman")
    env = flyte.TaskEnvironment("bundled", image=base.with_code_bundle("all"))
    travels = (await build_images.aio(env)).image_lookup["bundled"]
    inside = (await build_images.aio(env, copy_style="none")).image_lookup["bundled"]
    assert travels != inside
    assert machine.run("run", "--rm", f"localhost/{inside}", "ls").split() == ["flow.py"]
    assert machine.run("run", "--rm", f"localhost/{travels}", "ls") == ""


async def test_buildah_alone_is_enough(machine, base, tmp_path, monkeypatch):
    """Where there is no podman: the same recipe, the same registry."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("buildah", "runc", "sh", "true"):
        (programs / name).symlink_to(shutil.which(name))
    image = base.clone(registry=machine.registry, name="by-buildah").with_commands(["echo made > /made"])
    monkeypatch.setenv("PATH", str(programs))
    result, _ = await build(image)
    assert result.built
    local = base.clone(name="by-buildah").with_commands(["echo made > /made"])
    assert (await build(local))[0].built
    forget_this_process()
    assert not (await build(local))[0].built
    assert await PodmanStoreChecker.image_exists("by-buildah", local.uri.rpartition(":")[2]) == local.uri
    assert await PodmanStoreChecker.image_exists("by-buildah", "other") is None
    monkeypatch.undo()
    repository, _, tag = result.rpartition(":")
    assert await RegistryChecker.image_exists(repository, tag) == result


async def test_a_cancelled_build_leaves_nothing_running(base):
    command = f"sleep {100_000 + os.getpid()}"
    image = base.with_commands([command])
    began = asyncio.Event()

    def watch(event):
        if command in event.text:
            began.set()

    async def work():
        with watch_builds(watch):
            await ImageBuildEngine.build(image, "local-podman")

    task = asyncio.create_task(work())
    async with asyncio.timeout(60):
        await began.wait()
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for _ in range(50):
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        if not re.search(rf"^(/bin/sh -c )?{command}$", listed, re.MULTILINE):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the step is still running")
