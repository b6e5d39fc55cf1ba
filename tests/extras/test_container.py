"""Container tasks: what they tell a control plane, and real containers on this machine."""

import asyncio
import dataclasses
import datetime
import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from flyteidl2.core.literals_pb2 import LiteralMap
from flyteidl2.core.tasks_pb2 import DataLoadingConfig

import flyte
from flyte._definition.work import work_version
from flyte.errors import RuntimeUserError, TaskTimeoutError
from flyte.extras import ContainerTask
from flyte.io import Dir, File
from flyte.models import SerializationContext

SH = ["/bin/sh", "-c"]


def task(script: str, image: str = "example.com/tools:1", **fields) -> ContainerTask:
    return ContainerTask(name=fields.pop("name", "tool"), image=image, command=[*SH, script], **fields)


# What is declared ---------------------------------------------------------------------------------------------------


def test_what_a_control_plane_is_told():
    made = task("echo {{.inputs.x}}", inputs={"x": int}, outputs={"y": str}, arguments=["--n", "{{.inputs.x}}"])
    context = SerializationContext(version="v1")
    assert made.task_type == "raw-container"
    assert made.container_args(context) == [*SH, "echo {{.inputs.x}}", "--n", "{{.inputs.x}}"]
    expected = DataLoadingConfig(enabled=True, input_path="/var/inputs", output_path="/var/outputs", format="JSON")
    assert made.data_loading_config(context) == expected
    named = task("true", input_data_dir=Path("/in/"), output_data_dir="/out", metadata_format="YAML",
                 file_input_layout="NAMED_DIR").data_loading_config(context)  # fmt: skip
    assert (named.input_path, named.output_path, named.format) == ("/in", "/out", DataLoadingConfig.YAML)
    assert named.file_input_layout == DataLoadingConfig.NAMED_DIR


def test_the_version_follows_from_what_runs():
    one, same, other = task("a", cache="auto"), task("a", cache="auto"), task("b", cache="auto")
    assert one.cache.is_enabled() and not task("a").cache.is_enabled()
    assert one.definition_version == same.definition_version != other.definition_version
    assert work_version(task("a")) == work_version(task("a")) != work_version(task("b"))
    assert one.cache.version_override == one.definition_version
    assert task("a", cache=flyte.Cache("override", version_override="7")).cache.version_override == "7"


def test_it_is_overridden_and_pickled_as_other_tasks_are():
    made = task("echo {{.inputs.x}}", inputs={"x": int}, metadata_format="PROTO")
    changed = made.override(retries=3, timeout=5, env_vars={"A": "1"})
    assert changed.retries.count == 3 and changed.command == made.command and changed.interface is made.interface
    assert changed.metadata_format == "PROTO" and made.retries.count == 0
    assert pickle.loads(pickle.dumps(made)).command == made.command
    env = flyte.TaskEnvironment.from_task("tools", made)
    assert env.tasks == {"tool": made} and made.parent_env_name == "tools"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": "ls -l"}, "command takes a list of words"),
        ({"command": ["a", 3]}, r"write '3'"),
        ({"arguments": "x"}, "arguments takes a list"),
        ({"metadata_format": "XML"}, "'JSON', 'YAML', 'PROTO'"),
        ({"file_input_layout": "X"}, "'DIRECT', 'NAMED_DIR'"),
        ({"input_data_dir": "inputs"}, "absolute path"),
        ({"output_data_dir": "/a/../b"}, "absolute path"),
        ({"command": ["{{.inputs.nam}}"], "inputs": {"name": str}}, "names no input; did you mean 'name'"),
        ({"retris": 1}, "retris"),
    ],
)
def test_mistakes_are_named_when_it_is_declared(fields, words):
    with pytest.raises((TypeError, ValueError), match=words):
        ContainerTask(**{"name": "tool", "image": "x:1", "command": ["a"], **fields})


def test_without_podman_and_docker_it_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("FLYTE_CONTAINER_ENGINE", raising=False)
    with pytest.raises(RuntimeUserError, match="neither podman nor docker is found on PATH; install"):
        flyte.run(task("true"))
    monkeypatch.setenv("FLYTE_CONTAINER_ENGINE", "nerdctl")
    with pytest.raises(RuntimeUserError, match=r"'nerdctl' .FLYTE_CONTAINER_ENGINE. is not found"):
        flyte.run(task("true"))


def test_buildah_alone_is_not_enough(monkeypatch, tmp_path):
    (tmp_path / "buildah").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("FLYTE_CONTAINER_ENGINE", raising=False)
    with pytest.raises(RuntimeUserError, match=r"nor docker is found on PATH \(buildah is, but it only builds images"):
        flyte.run(task("true"))


# Real containers ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int
    y: float


def run(made: ContainerTask, **arguments):
    return flyte.run(made, **arguments).outputs().named_outputs


def test_simple_values_go_in_and_out(shell_image):
    names = {"n": int, "r": float, "s": str, "b": bool, "when": datetime.datetime, "long": datetime.timedelta,
             "many": list[int], "point": Point, "maybe": int | None}  # fmt: skip
    made = task(
        "cd /var/inputs && for name in n r s b when long many point; do cp $name /var/outputs/$name; done",
        shell_image, inputs=names, outputs=names,
    )  # fmt: skip
    values = {
        "n": -7, "r": 0.1, "s": "two\nlines ü $HOME", "b": True,
        "when": datetime.datetime(2026, 1, 2, 3, 4, 5, 678, datetime.UTC), "long": datetime.timedelta(minutes=1.5),
        "many": [1, 2], "point": Point(1, 2.5), "maybe": None,
    }  # fmt: skip
    assert run(made, **values) == values


def test_values_stand_in_the_command(shell_image):
    made = task("echo $0 $1 > /var/outputs/said", shell_image, inputs={"n": int, "s": str, "b": bool},
                arguments=["{{.inputs.n}}-{{ .inputs.b }}", "{{.Inputs.s}}"], outputs={"said": str})  # fmt: skip
    # A value is one word, whatever is in it: no shell reads it a second time.
    assert run(made, n=3, s="a; echo b", b=False) == {"said": "3-false a; echo b"}


@pytest.mark.parametrize("form", ["JSON", "YAML", "PROTO"])
def test_all_inputs_in_one_file(shell_image, form):
    suffix = {"JSON": "json", "YAML": "yaml", "PROTO": "pb"}[form]
    made = task(f"cp /var/inputs/inputs.{suffix} /var/outputs/all", shell_image, inputs={"n": int, "p": Point},
                outputs={"all": File}, metadata_format=form)  # fmt: skip
    content = Path(run(made, n=3, p=Point(1, 2.0))["all"].path).read_bytes()
    if form == "PROTO":
        assert LiteralMap.FromString(content).literals["n"].scalar.primitive.integer == 3
    else:
        assert json.loads(content) == {"n": 3, "p": {"x": 1, "y": 2.0}}


@pytest.mark.parametrize("layout", ["DIRECT", "NAMED_DIR"])
def test_files_and_folders(shell_image, tmp_path, layout):
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.csv").write_text("2")
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d/deep/c.txt").write_text("3")
    made = task(
        "cat {{.inputs.one}} > /var/outputs/single; cp -r {{.inputs.folder}} /var/outputs/tree; "
        "ls {{.inputs.many}} > /var/outputs/listed; mkdir /var/outputs/parts; "
        "for i in 2 1; do echo $i > /var/outputs/parts/p$i; done; echo {{.inputs.one}} > /var/outputs/where",
        shell_image, inputs={"one": File, "many": list[File], "folder": Dir},
        outputs={"single": File, "tree": Dir, "listed": str, "parts": list[File], "where": str},
        file_input_layout=layout,
    )  # fmt: skip
    one, two = (File.from_local_sync(tmp_path / name) for name in ("a.csv", "b.csv"))
    found = run(made, one=one, many=[one, two], folder=Dir.from_local_sync(tmp_path / "d"))
    assert Path(found["single"].path).read_text() == "1"
    assert Path(found["tree"].path, "deep", "c.txt").read_text() == "3"
    assert found["listed"] == "0\n1"
    assert [Path(part.path).read_text() for part in found["parts"]] == ["1\n", "2\n"]
    assert found["where"] == ("/var/inputs/one" if layout == "DIRECT" else "/var/inputs/one/a.csv")


def test_what_it_writes_is_shown(shell_image, capfd):
    script = "echo to out; echo to err >&2"
    run(task(script, shell_image))
    shown = capfd.readouterr()
    assert "to out\n" in shown.out and "to err\n" in shown.err
    run(task(script, shell_image, local_logs=False))
    shown = capfd.readouterr()
    assert "to out" not in shown.out and "to err" not in shown.err


def test_a_failure_has_its_exit_code_and_what_it_said(shell_image):
    with pytest.raises(RuntimeUserError, match=r"exit code 3.*standard error:\nno such thing") as caught:
        run(task("echo no such thing >&2; exit 3", shell_image, local_logs=False))
    assert caught.value.code == "ContainerFailed"
    with pytest.raises(RuntimeUserError, match="could not be started") as caught:
        run(task("true", "localhost/not-there:1"))
    assert caught.value.code == "ContainerNotStarted"
    with pytest.raises(RuntimeUserError, match=r"exit code 127|could not be started"):
        run(ContainerTask("tool", shell_image, ["/bin/no-such-program"]))


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("echo 1 > /var/outputs/other", int, "did not write output 'y'.*holds other"),
        ("echo many > /var/outputs/y", int, "output 'y' is not what its type says.*many"),
        ("echo perhaps > /var/outputs/y", bool, "not true or false"),
        ("echo '[1, \"a\"]' > /var/outputs/y", list[int], "output 'y' is not what"),
        ("ln -s /etc/passwd /var/outputs/y", str, "leads out of the output folder"),
        ("mkdir /var/outputs/y; ln -s /etc /var/outputs/y/z", Dir, "leads out of the output folder"),
    ],
)
def test_outputs_that_cannot_be_read_are_named(shell_image, script, kind, words):
    with pytest.raises(RuntimeUserError, match=words):
        run(task(script, shell_image, outputs={"y": kind}))


def test_variables_and_secrets_reach_it_and_no_command_line(shell_image, monkeypatch, capfd):
    monkeypatch.setenv("MY_TOKEN", "very secret")
    made = task("echo $A $MY_TOKEN > /var/outputs/y; sleep 1", shell_image, outputs={"y": str}, env_vars={"A": "one"},
                secrets="my-token")  # fmt: skip

    async def look() -> str:
        lines = ""
        for _ in range(15):
            done = await asyncio.create_subprocess_exec("ps", "-ef", stdout=asyncio.subprocess.PIPE)
            lines += (await done.communicate())[0].decode()
            await asyncio.sleep(0.05)
        return lines

    async def both():
        return await asyncio.gather(flyte.run.aio(made), look())

    finished, seen = asyncio.run(both())
    assert finished.outputs()[0] == "one very secret"
    assert "very secret" not in seen


def test_resources_limit_it(shell_image, tmp_path, monkeypatch):
    """Read back as the kernel has them, in cgroups of version 2 or 1."""
    script = """
        cd /sys/fs/cgroup
        if [ -f memory.max ]; then cat memory.max; cat cpu.max
        else cat memory/memory.limit_in_bytes; echo $(cat cpu/cpu.cfs_quota_us) $(cat cpu/cpu.cfs_period_us); fi
    """
    asked = flyte.Resources(cpu=("100m", "500m"), memory="96Mi")
    made = task(f"({script}) > /var/outputs/y", shell_image, outputs={"y": str}, resources=asked)
    memory, quota, period = run(made)["y"].split()
    assert int(memory) == 96 * 2**20 and int(quota) / int(period) == 0.5
    memory, quota, _ = run(made.override(resources=flyte.Resources(memory=("8Mi", "1Gi"))))["y"].split()
    assert int(memory) == 2**30 and quota in ("max", "-1")
    run(task("true", shell_image, resources=flyte.Resources(cpu=512)))  # as many as there are


def test_too_much_memory_is_its_own_error(shell_image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hungry = task("x=$(seq 1 9000000); echo ${#x} > /var/outputs/y", shell_image, outputs={"y": int}, name="hungry",
                  resources=flyte.Resources(memory="48Mi"))  # fmt: skip
    env = flyte.TaskEnvironment("flow", image="x:1", depends_on=[flyte.TaskEnvironment.from_task("tools", hungry)])

    @env.task
    async def main() -> int:
        with pytest.raises(flyte.errors.OOMError, match=r"'hungry': .* limit of 48 MiB") as found:
            await hungry()
        assert found.value.limit == 48 * 2**20
        return await hungry.override(resources=flyte.Resources(memory="1Gi"))()

    assert flyte.run(main).outputs()[0] == 70_888_895
    assert os.listdir(tmp_path) == []  # podman leaves a file where it was started
    wait_until_none_is_left()


def test_another_user_may_write_outputs(shell_image, tmp_path):
    other = f"{shell_image}-other"
    (tmp_path / "Dockerfile").write_text(f"FROM {shell_image}\nUSER 1234\n")
    built = subprocess.run(["podman", "build", "--quiet", "-t", other, str(tmp_path)], capture_output=True, timeout=60)
    assert built.returncode == 0, built.stderr
    assert run(task("id -u > /var/outputs/y", other, outputs={"y": int})) == {"y": 1234}


def containers() -> list[str]:
    listed = subprocess.run(["podman", "ps", "--all", "--quiet"], capture_output=True, text=True, timeout=60)
    return listed.stdout.split()


def wait_until_none_is_left() -> None:
    deadline = time.monotonic() + 20
    while containers():
        assert time.monotonic() < deadline, containers()
        time.sleep(0.1)


def test_a_timeout_ends_it_and_leaves_nothing(shell_image, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    began = time.monotonic()
    with pytest.raises(TaskTimeoutError):
        run(task("sleep 60", shell_image, timeout=2))
    assert time.monotonic() - began < 20
    wait_until_none_is_left()
    deadline = time.monotonic() + 10
    while list(tmp_path.glob("flyte-container-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_cancelling_ends_it_and_leaves_nothing(shell_image):
    started = asyncio.ensure_future(task("sleep 60", shell_image)())
    async with asyncio.timeout(20):
        while not containers():
            assert not started.done(), started
            await asyncio.sleep(0.1)
    started.cancel()
    with pytest.raises(asyncio.CancelledError):
        await started
    await asyncio.to_thread(wait_until_none_is_left)


def test_ctrl_c_leaves_nothing(shell_image, tmp_path):
    program = """
        import flyte
        from flyte.extras import ContainerTask
        flyte.run(ContainerTask("tool", "IMAGE", ["/bin/sleep", "60"]))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program).replace("IMAGE", shell_image))
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not containers():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(2)
    process.communicate(timeout=30)
    assert process.returncode != 0
    wait_until_none_is_left()


def test_called_from_a_task_and_cached(shell_image):
    count = task("wc -l < /var/inputs/text > /var/outputs/lines", shell_image, name="count", inputs={"text": str},
                 outputs={"lines": int}, cache="auto")  # fmt: skip
    tools = flyte.TaskEnvironment.from_task("tools", count)
    env = flyte.TaskEnvironment(name="flow", image="x:1", depends_on=[tools])

    @env.task
    async def main(text: str) -> int:
        first, second = await asyncio.gather(count(text=text), count(text=text + "c\n"))
        return first * 10 + second

    assert flyte.run(main, text="a\nb\n").outputs()[0] == 23
    os.environ["PATH"], kept = "/nowhere", os.environ["PATH"]
    try:
        assert flyte.run(main, text="a\nb\n").outputs()[0] == 23  # no container is needed
    finally:
        os.environ["PATH"] = kept
