"""``a0`` as a control plane starts it: a real process, its exit code, and what it leaves behind."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument, ExecutionError
from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.task.common_pb2 import Inputs, Outputs

from flyte._core.code_bundle import CodeBundle
from flyte._core.command import container_args
from flyte._core.interface import NativeInterface
from flyte._package.bundle import build_bundle
from flyte._wire.faults import error_from, execution_error_from
from flyte._wire.values import inputs_from
from flyte.errors import OOMError

FLOW = """
    import asyncio, os, sys, time
    from dataclasses import dataclass
    from datetime import datetime

    import flyte
    import flyte.report
    from helper import twice

    env = flyte.TaskEnvironment("shop", env_vars={"COLOUR": "red"})

    @dataclass
    class Order:
        n: int
        names: list[str]

    @env.task
    async def good(order: Order, factor: float = 2.0) -> tuple[int, str]:
        context = flyte.ctx()
        assert context.is_in_cluster() and context.mode == "remote"
        print("the body ran")
        said = [context.action.name, context.action.run_name, str(context.attempt_number), os.environ["COLOUR"]]
        said += [context.custom_context.get("who", "nobody"), context.action.project or ""]
        return int(twice(order.n) * factor), " ".join(said)

    @env.task
    def sync(x: int) -> int:
        return x + 1

    @env.task
    async def nothing() -> None:
        pass

    @env.task
    async def fails(x: int) -> int:
        raise KeyError(f"no {x}")

    @env.task
    async def final(x: int) -> int:
        raise flyte.errors.NonRecoverableError("never again")

    @env.task
    async def wrong(x: int) -> int:
        return "not an int"

    @env.task
    async def sleeps() -> int:
        print("sleeping", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            print("cleaned up", flush=True)
        return 1

    @env.task
    async def eats(x: int) -> int:
        raise MemoryError()

    @env.task
    async def far(x: int) -> int:
        import deep
        return deep.VALUE + x

    safe = flyte.TaskEnvironment("safe", secrets=flyte.Secret(key="key", group="shop"))

    @safe.task
    async def secret(x: int) -> str:
        return os.environ["SHOP_KEY"]

    @env.task
    async def calls(x: int) -> int:
        return await sync.aio(x)

    @env.task(report=True)
    async def reports() -> None:
        flyte.report.log("<p>said</p>")
        flyte.report.flush()

    @env.task
    async def fired(at: datetime, who: str = "nobody") -> str:
        return f"{at.isoformat()} {who} {sorted(flyte.ctx().custom_context)}"

    @env.task
    async def saves(x: int) -> int:
        path = await flyte.ctx().checkpoint.load()
        if path is not None:
            return int(path.read_text())
        await flyte.ctx().checkpoint.save(b"41")
        raise RuntimeError("once more")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "flow.py").write_text(textwrap.dedent(FLOW))
    (folder / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (folder / "broken.py").write_text("import not_there_at_all\n")
    (folder / "hungry.py").write_text("raise MemoryError('too much')\n")
    (folder / "unreadable.py").write_text("raise OSError(5, 'Input/output error', 'a/file')\n")
    (folder / "lib").mkdir()
    (folder / "lib" / "deep.py").write_text("VALUE = 40\n")
    return folder


@pytest.fixture
def a0(project, tmp_path):
    """Runs one action; gives the finished process and the folder of its outputs."""

    def run(variable, module="flow", attempt=0, inputs=None, environ=None, wait=True, args=None, filled_in=None):
        from flyte.storage._uri import join

        out = tmp_path / f"out-{attempt}"
        out.mkdir(exist_ok=True)
        (tmp_path / "inputs.pb").write_bytes((inputs or Inputs()).SerializeToString())
        argv = args or container_args(
            version="v1",
            code_bundle=CodeBundle(
                computed_version="v1", tgz=bundle(project, tmp_path), destination=str(tmp_path / "code")
            ),
            loader_args=("mod", module, "instance", variable),
        )
        filled = {
            "{{.input}}": join(str(tmp_path), "inputs.pb"),
            "{{.outputPrefix}}": str(out),
            "{{.rawOutputDataPrefix}}": str(tmp_path / "raw"),
            "{{.checkpointOutputPrefix}}": str(tmp_path / f"checkpoint-{attempt}"),
            "{{.prevCheckpointPrefix}}": str(tmp_path / f"checkpoint-{attempt - 1}") if attempt else '""',
        }
        filled |= filled_in or {}
        command = [filled.get(word, word) for word in argv[1:]]
        env = {
            **os.environ,
            "RUN_NAME": "run1",
            "ACTION_NAME": "act1",
            "_U_RUN_BASE": str(tmp_path / "base"),
            "_U_ORG_NAME": "local",
            "FLYTE_ATTEMPT_NUMBER": str(attempt),
            "FLYTE_INTERNAL_EXECUTION_PROJECT": "proj",
            **(environ or {}),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "flyte._runtime.entrypoint", *command],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process, out
        process.out, process.err = process.communicate(timeout=60)
        return process, out

    return run


_bundles: dict[Path, str] = {}


def bundle(project: Path, tmp_path: Path) -> str:
    if project not in _bundles:
        made = build_bundle(project, project.parent / "bundles", style="all")
        _bundles[project] = str(made.tgz)
    return _bundles[project]


def sent(interface: NativeInterface, context=None, **values) -> Inputs:
    return asyncio.run(inputs_from(interface, values, context=context))


def error_of(out: Path) -> ContainerError:
    document = ErrorDocument.FromString((out / "error.pb").read_bytes())
    assert not (out / "outputs.pb").exists()
    return document.error


X = NativeInterface.from_types({"x": int}, {"o0": int})


def test_outputs(a0):
    order = {"n": 21, "names": ["a"]}
    from dataclasses import make_dataclass

    order_type = make_dataclass("Order", [("n", int), ("names", list[str])])
    interface = NativeInterface.from_types({"order": order_type}, {})
    inputs = sent(interface, order=order_type(**order), context={"who": "Ada"})
    process, out = a0("good", inputs=inputs, attempt=1)
    assert process.returncode == 0, process.err
    assert "the body ran" in process.out
    outputs = Outputs.FromString((out / "outputs.pb").read_bytes())
    found = {one.name: one.value.scalar.primitive for one in outputs.literals}
    assert found["o0"].integer == 84
    assert found["o1"].string_value == "act1 run1 1 red Ada proj"
    assert not (out / "error.pb").exists()


def test_a_sync_task_and_one_without_results(a0):
    process, out = a0("sync", inputs=sent(X, x=1))
    assert process.returncode == 0, process.err
    assert Outputs.FromString((out / "outputs.pb").read_bytes()).literals[0].value.scalar.primitive.integer == 2
    process, out = a0("nothing", attempt=1)
    assert (process.returncode, (out / "outputs.pb").read_bytes()) == (0, b"")


@pytest.mark.parametrize(
    ("variable", "module", "code", "message", "kind", "origin", "exit_code"),
    [
        ("fails", "flow", "KeyError", "'no 7'", "RECOVERABLE", "USER", 0),
        ("final", "flow", "NonRecoverableError", "never again", "NON_RECOVERABLE", "USER", 0),
        ("eats", "flow", "OOM", "out of memory", "RECOVERABLE", "USER", 0),
        ("any", "hungry", "OOM", "override(resources=...)", "RECOVERABLE", "USER", 0),
        ("any", "unreadable", "FilesystemIOError", "Input/output error", "RECOVERABLE", "SYSTEM", 0),
        ("wrong", "flow", "DataValidationError", "expected int", "NON_RECOVERABLE", "USER", 0),
        ("not_there", "flow", "TaskNotFound", "has no 'not_there'", "RECOVERABLE", "USER", 0),
        ("twice", "flow", "TaskNotFound", "is a function, not a task", "RECOVERABLE", "USER", 0),
        ("any", "broken", "ModuleNotFoundError", "not_there_at_all", "RECOVERABLE", "UNKNOWN", 1),
        ("calls", "flow", "DomainNotInitializedError", "no domain is set", "RECOVERABLE", "USER", 0),
    ],
)
def test_each_failure_leaves_its_error(a0, variable, module, code, message, kind, origin, exit_code):
    process, out = a0(variable, module, inputs=sent(X, x=7))
    error = error_of(out)
    assert (error.code, process.returncode) == (code, exit_code), process.err
    assert message in error.message
    assert ContainerError.Kind.Name(error.kind) == kind
    assert ExecutionError.ErrorKind.Name(error.origin) == origin
    # A result of the wrong type has no frame of the user's own.
    assert ("Traceback (most recent call last)" in process.err) == (variable != "wrong")


def test_the_users_traceback_reaches_whoever_reads_the_error(a0):
    _, out = a0("fails", inputs=sent(X, x=7))
    document = ErrorDocument.FromString((out / "error.pb").read_bytes())
    error = error_from(execution_error_from(document))
    assert str(error) == "'no 7'"
    assert 'raise KeyError(f"no {x}")' in error.__notes__[-1]
    assert "/flyte/_control/" not in error.__notes__[-1]


def test_out_of_memory_is_that_for_the_caller(a0):
    _, out = a0("eats", inputs=sent(X, x=7))
    document = ErrorDocument.FromString((out / "error.pb").read_bytes())
    assert type(error_from(execution_error_from(document))) is OOMError


def test_folders_that_were_searched_are_searched(a0):
    process, out = a0("far", inputs=sent(X, x=2), environ={"_F_SYS_PATH": "./lib:./gone"})
    assert process.returncode == 0, process.err
    assert Outputs.FromString((out / "outputs.pb").read_bytes()).literals[0].value.scalar.primitive.integer == 42
    _, out = a0("far", inputs=sent(X, x=2), attempt=1)
    assert error_of(out).code == "ModuleNotFoundError"


def test_secrets_are_where_the_cluster_puts_them(a0, tmp_path):
    def given(attempt, environ):
        process, out = a0("secret", inputs=sent(X, x=1), attempt=attempt, environ=environ)
        assert process.returncode == 0, process.err
        assert "s3cret" not in process.out + process.err
        return Outputs.FromString((out / "outputs.pb").read_bytes()).literals[0].value.scalar.primitive.string_value

    assert given(0, {"FLYTE_SECRETS_ENV_PREFIX": "_X_", "_X_SHOP_KEY": "s3cret"}) == "s3cret"
    (tmp_path / "mounted" / "shop").mkdir(parents=True)
    (tmp_path / "mounted" / "shop" / "key").write_text("s3cret file")
    assert given(1, {"FLYTE_SECRETS_DEFAULT_DIR": str(tmp_path / "mounted")}) == "s3cret file"


def test_wrong_inputs(a0):
    text = NativeInterface.from_types({"x": str}, {})
    _, out = a0("sync", inputs=sent(text, x="seven"))
    assert error_of(out).code == "DataValidationError"
    process, out = a0("sync", attempt=1)
    assert "was not sent" in error_of(out).message
    assert process.returncode == 0


def test_a_bundle_that_is_missing(a0, tmp_path):
    words = container_args(
        version="v1",
        code_bundle=CodeBundle(computed_version="v1", tgz=str(tmp_path / "gone.tgz"), destination=str(tmp_path / "c")),
        loader_args=("mod", "flow", "instance", "sync"),
    )
    process, out = a0("sync", args=words)
    assert (error_of(out).code, process.returncode) == ("CodeBundleError", 0)
    assert "gone.tgz" in error_of(out).message


def test_sigterm_lets_the_body_clean_up_and_says_why(a0):
    process, out = a0("sleeps", wait=False)
    assert process.stdout.readline() == "sleeping\n"
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert said == "cleaned up\n"
    assert process.returncode == 143
    assert (error_of(out).code, ContainerError.Kind.Name(error_of(out).kind)) == ("Interrupted", "RECOVERABLE")


def test_a_command_that_cannot_be_read(a0):
    process, _ = a0("sync", args=["a0", "--inputs", "x"])
    assert process.returncode == 2
    assert process.err == "a0: --outputs-path is not given; a control plane sets it\n"
    process, _ = a0("sync", environ={"FLYTE_ATTEMPT_NUMBER": "one"})
    assert "FLYTE_ATTEMPT_NUMBER='one'" in process.err


def test_a_report_lies_beside_the_outputs(a0):
    process, out = a0("reports")
    assert process.returncode == 0, process.err
    assert "<p>said</p>" in (out / "report.html").read_text()


def test_a_checkpoint_is_handed_from_attempt_to_attempt(a0):
    _, out = a0("saves", inputs=sent(X, x=1))
    assert error_of(out).code == "RuntimeError"
    process, out = a0("saves", inputs=sent(X, x=1), attempt=1)
    assert process.returncode == 0, process.err
    assert Outputs.FromString((out / "outputs.pb").read_bytes()).literals[0].value.scalar.primitive.integer == 41


def test_custom_context_of_the_caller_is_seen():
    assert sent(X, x=1, context={"a": "b"}).context == [KeyValuePair(key="a", value="b")]


# What a control plane leaves to the runtime ---------------------------------------------------------------------------

FIRED = NativeInterface.from_types({"who": str}, {})
STARTED = {"{{.runStartTime}}": "2026-03-01T06:00:00.123456789Z"}


def only_output(out: Path) -> str:
    outputs = Outputs.FromString((out / "outputs.pb").read_bytes())
    return outputs.literals[0].value.scalar.primitive.string_value


def test_the_time_that_a_trigger_fired_at_is_filled_in(a0):
    context = {"_u_kickoff_time_input_arg": "at", "_u_produced_artifacts": "x", "team": "tea"}
    process, out = a0("fired", inputs=sent(FIRED, who="Ada", context=context), filled_in=STARTED)
    assert process.returncode == 0, process.err
    assert only_output(out) == "2026-03-01T06:00:00.123456+00:00 Ada ['team']"


def test_a_default_that_was_filled_in_makes_way_for_the_time(a0):
    given = NativeInterface.from_types({"at": datetime}, {})
    inputs = sent(given, at=datetime(2020, 1, 2, tzinfo=UTC), context={"_u_kickoff_time_input_arg": "at"})
    process, out = a0("fired", inputs=inputs, filled_in=STARTED)
    assert process.returncode == 0, process.err
    assert only_output(out) == "2026-03-01T06:00:00.123456+00:00 nobody []"
    process, out = a0("fired", attempt=1, inputs=inputs)
    assert only_output(out) == "2020-01-02T00:00:00+00:00 nobody []", "no time was said, so the default stays"


@pytest.mark.parametrize(
    ("task", "parameter", "started", "words"),
    [
        ("fired", "at", {}, "which the control plane did not say"),
        ("fired", "when", STARTED, "is no parameter"),
        ("fired", "who", STARTED, "str"),
    ],
)
def test_a_time_that_cannot_be_filled_in_is_an_error(a0, task, parameter, started, words):
    inputs = sent(NativeInterface({}, {}), context={"_u_kickoff_time_input_arg": parameter})
    _, out = a0(task, inputs=inputs, filled_in=started)
    error = error_of(out)
    assert error.code == "DataValidationError", error
    assert f"'{parameter}'" in error.message and words in error.message


def test_what_is_mounted_is_read_there(a0, tmp_path):
    """The bundle and the inputs are named by a prefix that leads nowhere here."""
    inside = str(tmp_path)[1:]
    named = {"{{.input}}": f"/elsewhere/{inside}/inputs.pb"}
    inputs = sent(X, x=4)
    process, out = a0("sync", inputs=inputs, filled_in=named, environ={"_F_PATH_REWRITE": "/elsewhere/->/"})
    assert process.returncode == 0, process.err
    assert Outputs.FromString((out / "outputs.pb").read_bytes()).literals[0].value.scalar.primitive.integer == 5
    process, out = a0("sync", attempt=1, inputs=inputs, filled_in=named, environ={"_F_PATH_REWRITE": "/other->/"})
    assert "/elsewhere/" in error_of(out).message
    process, out = a0("sync", attempt=2, inputs=inputs, environ={"_F_PATH_REWRITE": "nonsense"})
    assert "_F_PATH_REWRITE='nonsense' is not of the form old->new" in error_of(out).message


def test_what_is_not_mounted_is_read_where_it_is(a0, tmp_path):
    process, _ = a0("sync", inputs=sent(X, x=4), environ={"_F_PATH_REWRITE": f"{tmp_path}->/nowhere"})
    assert process.returncode == 0, process.err


def test_a_wrapper_is_put_before_the_program_once(a0, tmp_path):
    wrapper = tmp_path / "wrapper"
    lines = [
        f"#!{sys.executable}",
        "import os, sys",
        "print('wrapped by', sys.argv[1], flush=True)",
        "os.execv(sys.argv[2], sys.argv[2:])",
    ]
    wrapper.write_text("\n".join(lines))
    wrapper.chmod(0o755)
    process, out = a0("sync", inputs=sent(X, x=4), environ={"_F_EXEC_WRAPPER": f"{wrapper} 'the test'"})
    assert process.returncode == 0, process.err
    assert process.out == "wrapped by the test\n"
    assert (out / "outputs.pb").exists()
    process, out = a0("sync", attempt=1, inputs=sent(X, x=4), environ={"_F_EXEC_WRAPPER": "/not/there"})
    assert process.returncode == 2
    assert "_F_EXEC_WRAPPER='/not/there' cannot be run" in process.err


def test_a_debug_server_that_is_not_there_is_said(a0):
    process, _ = a0("nothing", environ={"_F_E_VS": "1"})
    assert process.returncode == 0
    assert "there is no debug server in this version" in process.err
