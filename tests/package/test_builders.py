"""What builders start: argument lists, seen by programs that write down how they were called; no engine is needed."""

import asyncio
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from flyte import Image, Secret
from flyte._package import builders
from flyte._package.build_context import build_folder, read_secrets
from flyte._package.build_process import TAIL_LINES, run_program
from flyte._package.build_records import TRUST_S, BuildRecord, BuildRecords, explain_difference, stored_ids
from flyte._package.dockerfile import Recipe, Source, write_dockerfile
from flyte._package.image_build import watch_builds
from flyte.errors import ImageBuildError
from flyte.extend import ImageBuildEngine

OWN = builders.own_platform()
OTHER = next(one for one in ("linux/amd64", "linux/arm64") if one != OWN)
IMAGE = Image.from_base("base.example/b:1").clone(
    name="app", registry="registry.example/team", platform=(OWN,), extendable=True
)

RECORDER = """#!{python}
import json, os, sys
call = {{"argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]]}}
if "build" in sys.argv[1:3] and os.path.isdir(sys.argv[-1]):
    call["context"] = sorted(os.path.relpath(os.path.join(f, n), sys.argv[-1]) for f, _, ns in os.walk(sys.argv[-1])
                             for n in ns)
    call["secrets"] = {{}}
    for word in sys.argv:
        if word.startswith("id="):
            name, path = word[3:].split(",src=")
            call["secrets"][name] = [open(path).read(), oct(os.stat(path).st_mode)[-3:]]
    call["dockerfile"] = open(sys.argv[sys.argv.index("--file") + 1]).read()
with open({log!r}, "a") as log:
    log.write(json.dumps(call) + "\\n")
for start, code, text in {answers!r}:
    if sys.argv[1 : 1 + len(start)] == start:
        print(text)
        sys.exit(code)
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with nothing but recording programs; gives a function that adds one, and one that reads the calls."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name, *answers):
        path = folder / name
        path.write_text(RECORDER.format(python=sys.executable, log=str(log), answers=list(answers)))
        path.chmod(0o755)

    def calls():
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return add, calls


async def build(image, builder):
    return await ImageBuildEngine.build(image, builder, force=True)


async def test_docker_pushes_with_a_builder_of_its_own(programs, monkeypatch):
    add, calls = programs
    add("docker", (["buildx", "inspect"], 1, "no builder"))
    monkeypatch.setenv("TOKEN", "value-of-token")
    image = IMAGE.clone(platform=("linux/amd64", "linux/arm64")).with_commands(["ls"], Secret("token"))
    assert (await build(image, "local-docker")).built
    name = f"token-{Secret('token').stable_hash()[:8]}"
    made = calls()
    assert [call["argv"][:4] for call in made[:-1]] == [
        ["docker", "buildx", "version"],
        ["docker", "version", "--format", "{{.Server.Version}}"],
        ["docker", "buildx", "inspect", "flytex"],
        ["docker", "buildx", "create", "--name"],
    ]
    assert made[3]["argv"][4:] == ["flytex", "--driver", "docker-container", "--driver-opt", "network=host"]
    argv = made[-1]["argv"]
    source = argv[argv.index("--secret") + 1].partition("src=")[2]
    assert argv == [
        "docker", "buildx", "build", "--progress", "plain", "--file", argv[6], "--tag", image.uri,
        "--platform", "linux/amd64,linux/arm64", "--builder", "flytex", "--push",
        "--secret", f"id={name},src={source}", argv[-1],
    ]  # fmt: skip
    assert made[-1]["secrets"] == {name: ["value-of-token", "600"]}
    assert "value-of-token" not in made[-1]["dockerfile"] and made[-1]["dockerfile"] == write_dockerfile(image).text
    assert not os.path.exists(source) and not os.path.exists(argv[-1])


async def test_docker_loads_what_has_no_registry(programs):
    add, calls = programs
    add("docker")
    image = Image.from_base("b:1").clone(name="app", platform=("linux/amd64", "linux/arm64")).clone(extendable=True)
    await build(image.with_env_vars({"A": "1"}), "local-docker")
    argv = calls()[-1]["argv"]
    assert argv[argv.index("--platform") + 1] == OWN and "--load" in argv and "--push" not in argv


async def test_podman_builds_and_pushes(programs):
    add, calls = programs
    add("podman")
    image = IMAGE.with_env_vars({"A": "1"})
    await build(image, "local-podman")
    first, second, *_ = [call["argv"] for call in calls()]
    assert first == ["podman", "build", "--layers", "--network", "host", "--file", first[6], "--platform", OWN,
                     "--tag", image.uri, first[-1]]  # fmt: skip
    assert second == ["podman", "push", image.uri, f"docker://{image.uri}"]


async def test_podman_speaks_plain_http_to_this_machine_only(programs):
    add, calls = programs
    add("podman")
    image = Image.from_base("localhost:5000/b:1").clone(name="app", registry="127.0.0.1:5000", extendable=True)
    await build(image.with_env_vars({"A": "1"}), "local-podman")
    assert ["--tls-verify=false" in call["argv"] for call in calls()[:2]] == [True, True]
    hub = Image.from_base("b:1").clone(name="app", registry="team", extendable=True).with_env_vars({"A": "1"})
    await build(hub, "local-podman")
    assert [call["argv"] for call in calls()][-2] == ["podman", "push", f"docker.io/{hub.uri}",
                                                      f"docker://docker.io/{hub.uri}"]  # fmt: skip


async def test_podman_for_several_platforms(programs, monkeypatch, tmp_path):
    add, calls = programs
    add("podman")
    image = IMAGE.clone(platform=(OWN, OTHER)).with_env_vars({"A": "1"})
    monkeypatch.setattr(builders, "_BINFMT", tmp_path)
    with pytest.raises(ImageBuildError, match=f"cannot be built for {OTHER} on this machine, .* qemu-user-static"):
        await build(image, "local-podman")
    assert calls() == []
    (tmp_path / builders._EMULATORS[OTHER]).write_text("enabled")
    await build(image, "local-podman")
    first, second, third, *_ = [call["argv"] for call in calls()]
    assert first == ["podman", "manifest", "rm", image.uri]
    assert second[second.index("--platform") + 1] == f"{OWN},{OTHER}" and "--manifest" in second
    assert third == ["podman", "manifest", "push", "--all", image.uri, f"docker://{image.uri}"]


async def test_local_takes_docker_if_it_works_else_podman_else_buildah(programs):
    add, calls = programs
    image = IMAGE.with_env_vars({"A": "1"})

    async def used():
        await build(image, "local")
        return next(call["argv"][0] for call in reversed(calls()) if "build" in call["argv"][1:3])

    add("buildah")
    assert await used() == "buildah"
    add("podman")
    assert await used() == "podman"
    add("docker", (["version"], 1, "Cannot connect to the Docker daemon"))
    assert await used() == "podman"
    add("docker")
    assert await used() == "docker"


async def test_a_dockerfile_of_ones_own_with_its_folder(programs, tmp_path):
    add, calls = programs
    add("podman")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "Dockerfile").write_text("FROM x\nCOPY a.txt /\n")
    (tmp_path / "own" / "a.txt").write_text("a")
    image = Image.from_dockerfile(tmp_path / "own" / "Dockerfile", registry="registry.example", name="own")
    await build(image.clone(platform=OWN), "local-podman")
    call = calls()[0]
    assert call["context"] == ["Dockerfile", "a.txt"] and call["dockerfile"] == "FROM x\nCOPY a.txt /\n"
    assert call["argv"][-1] == str(tmp_path / "own")


async def test_a_program_that_fails(programs, monkeypatch):
    add, _ = programs
    monkeypatch.setenv("TOKEN", "value-of-token")
    add("podman", (["build"], 3, "E: cannot log in with value-of-token\nE: over"))
    lines = []
    with watch_builds(lines.append), pytest.raises(ImageBuildError) as failed:
        await build(IMAGE.with_commands(["ls"], Secret("token")), "local-podman")
    assert str(failed.value).endswith("could not be built by podman (exit code 3); the end of its log:\n"
                                      "E: cannot log in with ***\nE: over")  # fmt: skip
    assert [event.text for event in lines if event.kind == "log"] == ["E: cannot log in with ***", "E: over"]


# The folder that is built from --------------------------------------------------------------------------------------


def test_the_context_is_the_same_whatever_the_times_and_modes(tmp_path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run.sh").write_text("x")
    (source / "sub" / "run.sh").chmod(0o711)
    (source / "a.txt").write_text("a")
    (source / "a.txt").chmod(0o600)
    (source / "link").symlink_to("a.txt")
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "a.pyc").write_text("")
    (source / "data.log").write_text("")
    (tmp_path / ".dockerignore").write_text("**/*.log\n")
    image = IMAGE.with_dockerignore(tmp_path / ".dockerignore").with_source_folder(source)
    seen = []
    for at_s in (1_000_000_000, 1_500_000_000):
        for path in source.rglob("*"):
            os.utime(path, (at_s, at_s), follow_symlinks=False)
        with build_folder(write_dockerfile(image), {}) as folder:
            found = {
                path.relative_to(folder.context).as_posix(): (
                    stat.filemode(path.lstat().st_mode),
                    path.lstat().st_mtime,
                )
                for path in folder.context.rglob("*")
            }
        assert not folder.context.exists()
        seen.append(found)
    assert seen[0] == seen[1] and len({at for _, at in seen[0].values()}) == 1
    (top,) = [name for name in seen[0] if "/" not in name]
    assert {name.removeprefix(f"{top}/"): mode for name, (mode, _) in seen[0].items()} == {
        top: "drwxr-xr-x",
        "a.txt": "-rw-r--r--",
        "link": "lrwxrwxrwx",
        "sub": "drwxr-xr-x",
        "sub/run.sh": "-rwxr-xr-x",
    }


def test_what_vanishes_while_it_is_copied(tmp_path):
    with pytest.raises(ImageBuildError, match=r"gone could not be copied"):
        with build_folder(Recipe("FROM x", (Source("a/gone", tmp_path / "gone"),)), {}):
            pass


def test_where_secrets_are_found(tmp_path, monkeypatch, state_folder):
    def read(secret):
        return list(read_secrets(Recipe("", secrets=(secret,))).values())

    plain, grouped = Secret("my-key"), Secret("key", group="team", as_env_var="OTHER")
    with pytest.raises(ImageBuildError, match=r"set the environment variable MY_KEY or write it to .*secrets/my-key"):
        read(plain)
    (state_folder / "secrets" / "team").mkdir(parents=True)
    (state_folder / "secrets" / "my-key").write_text("from a file\n")
    (state_folder / "secrets" / "team" / "key").write_text("of the team")
    assert (read(plain), read(grouped)) == (["from a file"], ["of the team"])
    monkeypatch.setenv("TEAM_KEY", "by default name")
    assert read(grouped) == ["by default name"]
    monkeypatch.setenv("OTHER", "by its own name")
    monkeypatch.setenv("MY_KEY", "")
    assert (read(plain), read(grouped)) == ([""], ["by its own name"])


# Programs -----------------------------------------------------------------------------------------------------------


async def test_lines_of_a_program():
    code = (
        "import sys\n"
        "sys.stdout.write('a\\rb\\r\\n\\n\\x1b[31mred\\x1b[0m  \\n' + 'x' * 200_000 + '\\nlast')\n"
        "sys.stdout.flush(); sys.stderr.write('\\xff'); sys.exit(5)"
    )
    lines = []
    done = await run_program([sys.executable, "-c", code], timeout_s=20, on_line=lines.append)
    assert done.code == 5 and lines[:3] == ["a", "b", "red"]
    assert "".join(lines[3:]).startswith("x" * 200_000 + "last") and done.tail == tuple(lines[-TAIL_LINES:])


async def test_secrets_of_several_lines_are_hidden():
    lines = []
    code = "print('-----BEGIN\\nabcdef\\nshort: ab -----BEGIN')"
    await run_program(
        [sys.executable, "-c", code], timeout_s=20, on_line=lines.append, hidden=["-----BEGIN\nabcdef\nab"]
    )
    assert lines == ["***", "***", "short: ab ***"]


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
async def test_a_program_is_ended_with_all_that_it_started(how, tmp_path):
    """Also what has left its session, as a container's process has."""
    marker = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        f"open({str(marker)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )
    import flyte._package.build_process as module

    task = asyncio.create_task(run_program([sys.executable, "-c", code], timeout_s=1.5 if how == "deadline" else None))
    while not marker.exists() or not marker.read_text():
        await asyncio.sleep(0.02)
    grace, module._GRACE_S = module._GRACE_S, 0.3
    try:
        if how == "cancelled":
            task.cancel()
        with pytest.raises(TimeoutError if how == "deadline" else asyncio.CancelledError):
            await task
    finally:
        module._GRACE_S = grace
    deadline = time.monotonic() + 5
    for pid in map(int, marker.read_text().split()):
        while is_running(pid):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


def is_running(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ProcessLookupError):
        return False


# What is remembered -------------------------------------------------------------------------------------------------


def record(**changes):
    values = {"uri": "r.example/a:1", "builder": "b", "seen_s": time.time(), "recipe": {"base": "x:1"},
              "in_registry": True, "store": None, "image_id": None, "base_id": None}  # fmt: skip
    return BuildRecord(**{**values, **changes})


def test_records(tmp_path, state_folder):
    records = BuildRecords()
    assert records.find("r.example/a:1", "b") is None and records.last("r.example/a:1") is None
    records.keep(record())
    records.keep(record(uri="r.example/a:2"))
    records.keep(record())
    assert records.find("r.example/a:1", "b").uri == records.last("r.example/a:3").uri == "r.example/a:1"
    assert records.find("r.example/a:1", "other") is None and records.last("r.example/b:1") is None
    (path,) = (state_folder / "images").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for broken in ("", "{", "[1]", '{"a": 1}', '[{"uri": 1}]'):
        path.write_text(broken)
        assert records.last("r.example/a:1") is None
    for number in range(60):
        records.keep(record(uri=f"r.example/a:{number}"))
    assert len(json.loads(path.read_text())) == 50
    (tmp_path / "file").write_text("")
    BuildRecords(tmp_path / "file" / "below").keep(record())  # nothing can be written there, and nothing happens


def test_how_long_a_record_is_believed(tmp_path):
    assert record().is_certain(None) and not record(seen_s=time.time() - TRUST_S - 1).is_certain(None)
    assert not record(seen_s=time.time() + 3600).is_certain(None)
    local = record(uri="team/a:1", in_registry=False, image_id="1")
    assert local.is_certain({"localhost/team/a:1": "1"})
    assert not local.is_certain({"localhost/team/a:1": "2"}) and not local.is_certain(None)


def test_a_base_that_is_another_image_now():
    mine = record(recipe={"base": "localhost/base:1"}, base_id="a" * 64)
    assert mine.changed_base({"localhost/base:1": "a" * 64}) is None
    assert mine.changed_base({}) is None
    assert mine.changed_base({"localhost/base:1": "b" * 64}).startswith("base changed: localhost/base:1 is another")


def test_a_store_that_cannot_be_read(tmp_path):
    assert stored_ids(None) is None and stored_ids(tmp_path / "gone") is None
    (tmp_path / "images.json").write_text('[{"id": "1", "names": ["a:1", "b:1"]}, {"id": "2"}]')
    assert stored_ids(tmp_path / "images.json") == {"a:1": "1", "b:1": "1"}
    (tmp_path / "images.json").write_text('{"id": 1}')
    assert stored_ids(tmp_path / "images.json") is None


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (IMAGE.with_pip_packages("a", "b==1"), IMAGE.with_pip_packages("a", "b==2"), "layer 1 (pip): -b==1 +b==2"),
        (IMAGE.with_pip_packages("a", "b"), IMAGE.with_pip_packages("b", "a"), "layer 1 (pip): another order"),
        (IMAGE.with_pip_packages("a"), IMAGE.with_apt_packages("a"), "layer 1 (apt) was pip"),
        (IMAGE.with_workdir("/a"), IMAGE.with_workdir("/b"), "layer 1 (workdir to /b): path changed"),
        (IMAGE.with_env_vars({"A": "s3cret"}), IMAGE.with_env_vars({"A": "t"}), "layer 1 (env): A changed"),
        (IMAGE.with_env_vars({"A": "1"}), IMAGE, "layer 1 (env) is gone"),
        (IMAGE, IMAGE.with_env_vars({"A": "1"}), "layer 1 (env) is new"),
        (IMAGE, IMAGE.clone(base_image="c:1"), "base changed: c:1, was base.example/b:1"),
        (IMAGE, IMAGE.clone(platform=OTHER), "the platforms changed"),
        (IMAGE, IMAGE.clone(python_version=(3, 13)), "the Python version changed"),
        (IMAGE, IMAGE, ""),
    ],
)
def test_what_has_changed(before, now, said):
    assert explain_difference(before.describe(), now.describe()) == said
