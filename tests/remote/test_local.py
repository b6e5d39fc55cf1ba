"""Runs of this machine through flyte.remote: found, waited for from another process, and read without their code."""

import asyncio
import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid

import pydantic
import pytest

import flyte
import flyte.errors
import flyte.io
import flyte.remote
from flyte._journal.schema import journal_path
from flyte.io import Dir, File
from flyte.models import ActionPhase
from flyte.remote import Action, ActionDetails, ActionInputs, ActionOutputs, Run, RunDetails, TimeFilter

ROOT = pathlib.Path(flyte.__file__).parents[1]
env = flyte.TaskEnvironment("home")
tried: list[int] = []


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str]
    color: Color = Color.RED


class Order(pydantic.BaseModel):
    number: int
    at: Point | None = None


class Odd:
    """What only pickle carries, and whose reading runs code."""

    def __init__(self, path: str = "") -> None:
        self.path = path

    def __reduce__(self):
        return (_touch, (self.path,)) if self.path else (Odd, ())


def _touch(path: str) -> Odd:
    pathlib.Path(path).write_text("code ran")
    return Odd(path)


@env.task
async def add(x: int, y: int = 1) -> int:
    return x + y


@env.task
async def main(n: int = 3) -> int:
    return sum(await asyncio.gather(*[add(i) for i in range(n)]))


@env.task(retries=1)
async def shaky(x: int) -> tuple[int, str]:
    tried.append(x)
    if len(tried) < 2:
        raise ValueError("the first time")
    return x, "s"


@env.task
async def calls_shaky(x: int) -> str:
    return (await shaky(x))[1]


@env.task
async def bad(x: int) -> int:
    raise KeyError("nothing here")


@env.task
async def calls_bad(x: int) -> int:
    await add(x)
    return await bad(x)


def named(name: str, **more):
    return flyte.with_runcontext("local", name=name, **more)


def kinds(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


# Finding -----------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_name_and_tells_of_itself():
    made = named("first").run(main, 4)
    run = Run.get("first")
    assert (run.name, run.task_name, run.phase, run.url) == ("first", "home.main", ActionPhase.SUCCEEDED, made.url)
    assert run.done() and run.inputs() == {"n": 4} and run.outputs() == (10,)
    assert run.outputs().o0 == 10 and run.outputs().named_outputs == {"o0": 10}
    assert isinstance(run.inputs(), ActionInputs) and isinstance(run.outputs(), ActionOutputs)
    assert run.action.name == "a0" and run.action_id.run_name == "first"
    assert run.sync() is run
    run.wait()
    run.raise_for_status()
    assert run.first_failure() is None
    assert Run.get("last").name == "first"


def test_runs_are_listed_newest_first_and_chosen():
    for name in ("one", "two"):
        named(name).run(main, 1)
    with pytest.raises(KeyError):
        named("three").run(calls_bad, 1)
    assert [run.name for run in Run.listall()] == ["three", "two", "one"]
    assert [run.name for run in Run.listall(limit=1)] == ["three"]
    assert [run.name for run in Run.listall(in_phase=("failed",))] == ["three"]
    assert [run.name for run in Run.listall(in_phase=(ActionPhase.SUCCEEDED,))] == ["two", "one"]
    assert [run.name for run in Run.listall(task_name="home.main", sort_by=("created_at", "asc"))] == ["one", "two"]
    now = datetime.datetime.now(datetime.UTC)
    assert list(Run.listall(created_at=TimeFilter(after=now))) == []
    assert len(list(Run.listall(created_at=TimeFilter(before=now)))) == 3
    with pytest.raises(ValueError, match="in_phase='sucseeded' is no phase; did you mean 'succeeded'"):
        list(Run.listall(in_phase=("sucseeded",)))
    with pytest.raises(ValueError, match="sort_by='size' is not known"):
        list(Run.listall(sort_by=("size", "asc")))


async def test_everything_is_awaited_in_async_code():
    await named("inside").run.aio(calls_shaky, 1)
    run = await Run.get.aio("inside")
    assert (await run.outputs.aio()) == ("s",)
    names = [run.name async for run in Run.listall.aio()]
    assert names == ["inside"]
    actions = [action async for action in Action.listall.aio("inside")]
    details = await actions[1].details()
    assert (await details.inputs()) == {"x": 1}
    assert (await details.outputs()) == (1, "s")
    assert (await (await run.details.aio()).outputs()) == ("s",)
    assert [line async for line in run.get_logs.aio()] == []
    # A sync face also works where a loop runs.
    assert Run.get("inside").outputs() == ("s",)


def test_actions_of_a_run():
    tried.clear()
    named("acts").run(calls_shaky, 5)
    root, child = Action.listall("acts")
    assert (root.name, root.parent_name, root.task_name) == ("a0", None, "home.calls_shaky")
    assert (child.parent_name, child.task_name, child.run_name) == ("a0", "home.shaky", "acts")
    assert child.phase is ActionPhase.SUCCEEDED and child.done()
    assert [one.name for one in Action.listall("acts", parent_name="a0")] == [child.name]
    assert [one.name for one in Action.listall("acts", sort_by=("task_name", "desc"))] == [child.name, "a0"]
    assert list(Action.listall("acts", in_phase=("failed",))) == []
    assert Action.get(run_name="acts", name=child.name).name == child.name
    assert Action.get(f"acts/{child.name}").name == Action.get(run_name="acts", name="shaky").name == child.name
    details = child.details()
    assert isinstance(details, ActionDetails) and details.attempts == 2
    assert details.inputs() == {"x": 5} and details.outputs() == (5, "s") and details.outputs().o1 == "s"
    first, last = details.get_phase_transitions(1), details.get_phase_transitions()
    assert [one.phase.value for one in first] == ["queued", "running", "failed"]
    assert [one.phase.value for one in last] == ["running", "succeeded"]
    with pytest.raises(ValueError, match="attempt=3 is not one of the 2 attempts"):
        details.get_phase_transitions(3)
    assert details.running_time is not None and details.runtime >= details.running_time
    document = details.to_dict()
    assert document["attempt_list"][0]["error"]["message"].startswith("the first time")
    assert document["attempt_list"][1]["error"] is None


def test_what_is_not_there_is_said():
    named("breakfast").run(main, 1)
    with pytest.raises(flyte.errors.RuntimeUserError, match="did you mean 'breakfast'") as caught:
        Run.get("breakfust")
    assert caught.value.code == "RunNotFoundError"
    with pytest.raises(flyte.errors.ActionNotFoundError, match="has no action 'ad'"):
        Action.get(run_name="breakfast", name="ad")
    with pytest.raises(ValueError, match="an action is found by the name of its run"):
        Action.get()


def test_what_needs_a_control_plane_says_so():
    named("here").run(main, 1)
    run = Run.get("here")
    action = run.action
    for call in (
        run.abort,
        run.download_code,
        action.abort,
        action.download_code,
        lambda: run.raw_phase,
        lambda: list(Run.listall(with_labels={"a": "b"})),
        lambda: list(Run.listall(task_version="1")),
    ):
        with pytest.raises(NotImplementedError, match="needs a control plane"):
            call()
    with pytest.raises(
        AttributeError, match=r"flyte\.remote\.Artifact is not available in this version: artifacts are"
    ):
        flyte.remote.Artifact  # noqa: B018


# Failures -----------------------------------------------------------------------------------------------------------


def test_a_failed_run_raises_what_its_caller_would_have_seen():
    with pytest.raises(KeyError):
        named("bad").run(calls_bad, 1)
    run = Run.get("bad")
    assert run.phase is ActionPhase.FAILED and "nothing here" in run.error_message and run.outputs() == ()
    failure = run.first_failure()
    assert failure is not None and failure.task_name == "home.bad" and "nothing here" in failure.error_message
    assert failure.error_info is not None and failure.error_info.type == "KeyError" and failure.abort_info is None
    with pytest.raises(KeyError, match="nothing here") as caught:
        run.raise_for_status()
    assert isinstance(caught.value, flyte.errors.RuntimeUserError) and caught.value.code == "KeyError"


class Sold(Exception):
    """With a constructor of its own."""

    def __init__(self, item, left):
        super().__init__(f"{left} of {item}")


@pytest.mark.parametrize(
    ("error", "classes"),
    [
        (ValueError("v"), {"ValueError", "RuntimeUserError"}),
        (flyte.errors.NonRecoverableError("n"), {"NonRecoverableError"}),
        (flyte.errors.OOMError("o", "m"), {"OOMError"}),
        (flyte.errors.RuntimeSystemError("Code", "s"), {"RuntimeSystemError"}),
        (flyte.errors.MaxRuntimeExceededError("m"), {"MaxRuntimeExceededError", "TaskTimeoutError"}),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), {"UnicodeDecodeError", "RuntimeUserError"}),
        (Sold("tea", 2), {"Sold", "RuntimeUserError"}),
        (type("MyOwn", (Exception,), {})("mine"), {"RuntimeUserError"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_class_of_a_failure_is_that_of_the_tree_or_built_in_or_imported(error, classes):
    @env.task
    async def raises() -> None:
        raise error

    with pytest.raises(type(error)):
        named("raises").run(raises)
    with pytest.raises(BaseException) as caught:
        Run.get("raises").raise_for_status()
    assert classes <= kinds(caught.value)
    assert str(error).partition("\n")[0] in str(caught.value)


# Values -------------------------------------------------------------------------------------------------------------


def values_of(annotation, value):
    """The value of a task's input and output, as a reader without its code sees them."""

    async def same(x):
        return x

    same.__annotations__ = {"x": annotation, "return": annotation}
    flyte.run(env.task(same), value)
    run = Run.get("last")
    (came,), (went,) = run.inputs().values(), run.outputs()
    return came, went


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 3),
        (float, 2.5),
        (str, "text"),
        (bool, True),
        (bytes, b"\x00raw"),
        (datetime.datetime, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
        (datetime.timedelta, datetime.timedelta(hours=3)),
        (list[int], [1, 2]),
        (dict[str, list[float]], {"a": [1.5]}),
        (dict, {"a": [1, {"b": None}]}),
        (int | str, "either"),
        (int | None, None),
        (set[int], {1, 2}),
        (decimal.Decimal, decimal.Decimal("1.5")),
        (uuid.UUID, uuid.UUID(int=7)),
        (list[decimal.Decimal], [decimal.Decimal("0.1")]),
        (dict[int, str], {1: "one"}),
    ],
    ids=str,
)
def test_plain_values_are_what_they_were(annotation, value):
    came, went = values_of(annotation, value)
    assert came == went == value
    assert type(came) is type(went) is type(value)


def test_structures_are_shown_by_their_fields_without_their_classes():
    came, _ = values_of(Point, Point(1, ["a"], Color.GREEN))
    assert type(came) is not Point and (came.x, came.tags, came.color) == (1, ["a"], "g")
    came, _ = values_of(Order, Order(number=4, at=Point(2, [])))
    assert type(came) is not Order and came.number == 4 and came.at.x == 2
    came, _ = values_of(list[Point], [Point(5, [])])
    assert came[0].x == 5
    came, _ = values_of(Color, Color.GREEN)
    assert came == "GREEN"
    came, _ = values_of(list[tuple[int, str]], [(1, "a")])
    assert came == [(1, "a")]


def test_files_and_folders_are_the_references_that_they_are(tmp_path):
    (tmp_path / "f.txt").write_text("content")
    came, _ = values_of(File, File(path=str(tmp_path / "f.txt")))
    assert isinstance(came, File) and came.path == str(tmp_path / "f.txt")
    came, _ = values_of(Dir, Dir(path=str(tmp_path)))
    assert isinstance(came, Dir) and came.path == str(tmp_path)


def test_a_data_frame_is_a_reference_too():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    came, _ = values_of(pandas.DataFrame, pandas.DataFrame({"a": [1, 2]}))
    assert isinstance(came, flyte.io.DataFrame)
    read = asyncio.run(came.open(pandas.DataFrame).all())
    assert read["a"].tolist() == [1, 2]


def test_what_an_action_made_that_failed_is_no_result():
    @env.task(max_inline_io_bytes=1000)
    async def too_long(n: int) -> str:
        return "x" * n

    with pytest.raises(flyte.errors.InlineIOMaxBytesBreached):
        named("long").run(too_long, 5000)
    assert Run.get("long").outputs() == ()


@pytest.mark.parametrize("annotation", [Odd, list[Odd], Odd | None, dict[str, Odd]], ids=str)
def test_what_only_pickle_carries_is_not_read(annotation, tmp_path, monkeypatch):
    monkeypatch.setenv("FLYTE_PICKLE", "allow")
    canary = tmp_path / "canary"
    odd = Odd(str(canary))
    value = {list[Odd]: [odd], dict[str, Odd]: {"k": odd}}.get(annotation, odd)
    values_of_it = []

    async def gives(x):
        return x

    gives.__annotations__ = {"x": annotation, "return": annotation}
    flyte.run(env.task(gives), value)
    canary.unlink(missing_ok=True)  # the task itself read it, as it may
    run = Run.get("last")
    values_of_it += [*run.inputs().values(), *run.outputs()]
    assert len(values_of_it) == 2
    assert isinstance(values_of_it[0], flyte.remote.PickledValue) or annotation not in (Odd, Odd | None)
    assert all("pickled" in repr(one) and "not read" in repr(one) for one in values_of_it), values_of_it
    run.inputs().to_json()
    run.outputs().to_json()
    assert not canary.exists()


def test_large_values_are_read_from_their_file_and_their_loss_is_said():
    @env.task
    async def long(n: int) -> str:
        return "x" * n

    named("large").run(long, 400_000)
    run = Run.get("large")
    assert run.outputs()[0] == "x" * 400_000
    for path in (journal_path().parent / "values").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(FileNotFoundError, match="a large value of this action is gone"):
        Run.get("large").outputs()
    assert Run.get("large").inputs() == {"n": 400_000}


def test_traced_functions_are_shown_too():
    @flyte.trace
    async def step(a, b: int = 2):
        return {"sum": a + b}

    @env.task
    async def traces() -> int:
        return (await step(3))["sum"]

    named("traced").run(traces)
    _, action = Action.listall("traced")
    assert action.task_name == "step" and action.to_dict()["kind"] == "trace"
    details = action.details()
    assert details.inputs() == {"a": 3, "b": 2}
    assert "'sum': 5" in repr(details.outputs())


def test_values_can_be_asked_for_as_types_of_ones_own():
    @env.task
    async def point(p: Point) -> Point:
        return Point(p.x + 1, [])

    named("typed").run(point, Point(1, ["a"]))
    run = Run.get("typed")
    assert run.typed_inputs({"p": Point}) == {"p": Point(1, ["a"])}
    assert run.typed_outputs({"o0": Point}) == {"o0": Point(2, [])}
    made = run.typed_outputs({"o0": dict}, {dict: lambda value: {"from": type(value).__name__}})
    assert set(made["o0"]) == {"from"}
    with pytest.raises(KeyError, match="there is no value 'o1'; there are: o0"):
        run.typed_outputs({"o1": Point})
    assert set(run.output_literals()) == {"o0"}


def test_json_has_all_that_the_object_says():
    named("doc").run(main, 2)
    run = Run.get("doc")
    document = json.loads(run.to_json())
    assert document["name"] == "doc" and document["phase"] == "succeeded" and document["error"] is None
    assert datetime.datetime.fromisoformat(document["started_at"]).tzinfo is not None
    assert document["duration_s"] >= 0 and document["pid"] == os.getpid()
    details = json.loads(run.details().to_json())
    assert details["action"]["task"] == "home.main"
    assert json.loads(run.inputs().to_json()) == {"n": 2} and json.loads(run.outputs().to_json()) == {"o0": 3}
    with pytest.raises(KeyError):
        named("broken").run(calls_bad, 1)
    assert json.loads(Run.get("broken").to_json())["error"]["type"] == "KeyError"


# Other processes ---------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys
import flyte

env = flyte.TaskEnvironment("live")

@env.task
async def work(x: int) -> int:
    print("working", flush=True)
    await asyncio.sleep(float(sys.argv[2]))
    return x

@env.task
async def main(x: int) -> int:
    return await work(x)

if __name__ == "__main__":
    flyte.with_runcontext("local", name=sys.argv[1]).run(main, 7)
"""


@pytest.fixture
def live(tmp_path):
    """Start a run in a process of its own; gives the process and the run once it is remembered."""
    program = tmp_path / "live_program.py"
    program.write_text(PROGRAM)
    processes = []

    def start(name: str, lasts_s: float) -> tuple["subprocess.Popen[bytes]", Run]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen([sys.executable, str(program), name, str(lasts_s)], env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        return process, Run.get(name)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_run_of_another_process_is_waited_for(live):
    process, run = live("waited", 1.0)
    assert run.phase is ActionPhase.RUNNING and not run.done()
    run.wait(wait_for="running")
    assert not run.done()
    with pytest.raises(flyte.errors.RuntimeUserError, match="has not ended; call wait"):
        run.raise_for_status()
    run.wait()
    assert run.done() and run.phase is ActionPhase.SUCCEEDED and run.outputs() == (7,)
    process.wait(timeout=10)


async def test_a_run_of_another_process_is_watched_to_its_end(live):
    _, run = live("watched", 1.0)
    seen = [details.phase.value async for details in run.watch()]
    assert seen[-1] == "succeeded" and set(seen) <= {"running", "succeeded"}
    assert run.done()
    action = await Action.get.aio(run_name="watched", name="work")
    assert [one.phase.value async for one in action.watch()] == ["succeeded"]


def test_waiting_for_a_run_ends_when_its_process_is_killed(live):
    process, run = live("killed", 60.0)
    ended = []

    def wait() -> None:
        run.wait()
        ended.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    assert not ended
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    at = time.monotonic()
    thread.join(timeout=10)
    assert ended and ended[0] - at < 2
    assert run.phase is ActionPhase.ABORTED
    with pytest.raises(flyte.errors.ActionAbortedError, match="its process ended before it did; 'flyte rerun killed "):
        run.raise_for_status()
    failure = run.first_failure()
    assert failure is not None and failure.abort_info is not None and failure.error_info is None


def test_log_lines_are_given_for_a_run_and_for_an_action(live, capsys):
    _, run = live("said", 0.1)
    run.wait()
    assert list(run.get_logs()) == ["working"]
    action = Action.get(run_name="said", name="work")
    assert list(action.get_logs()) == list(action.get_logs(attempt=0)) == ["working"]
    assert list(Action.get(run_name="said", name="main").get_logs()) == []
    (stamped,) = action.get_logs(show_ts=True)
    at, _, line = stamped.partition(" ")
    assert line == "working" and datetime.datetime.fromisoformat(at)
    with pytest.raises(ValueError, match="attempt=4 is not one of the 1 attempts"):
        list(action.get_logs(attempt=4))
    run.show_logs()
    assert capsys.readouterr().out == "working\n"


def test_a_report_is_its_page():
    @env.task(report=True)
    async def reports() -> int:
        flyte.report.log("<b>all is well</b>")
        return 1

    named("told").run(reports)
    assert "<b>all is well</b>" in Run.get("told").get_report()
    assert "<b>all is well</b>" in Run.get("told").action.get_report()
    named("silent").run(main, 1)
    with pytest.raises(FileNotFoundError, match="has no report; declare its task with report=True"):
        Run.get("silent").get_report()


# The published form ------------------------------------------------------------------------------------------------

PARAMETERS = {
    (Run, "get"): "name",
    (Run, "listall"): "in_phase task_name task_version created_by_subject sort_by limit project domain created_at"
    " updated_at with_labels with_label_keys paused_actions_only",
    (Run, "wait"): "quiet wait_for",
    (Run, "watch"): "cache_data_on_done",
    (Run, "get_logs"): "attempt filter_system show_ts",
    (Run, "show_logs"): "attempt max_lines show_ts raw filter_system",
    (Run, "abort"): "reason",
    (Run, "typed_outputs"): "types deserializers",
    (Run, "download_code"): "dest extract attempt",
    (Run, "get_report"): "attempt",
    (RunDetails, "get"): "name",
    (RunDetails, "get_details"): "run_id",
    (RunDetails, "typed_inputs"): "types deserializers",
    (Action, "get"): "uri run_name name",
    (Action, "listall"): "for_run_name in_phase parent_name sort_by created_at updated_at",
    (Action, "wait"): "quiet wait_for",
    (Action, "watch"): "cache_data_on_done wait_for",
    (ActionDetails, "get"): "uri run_name name",
    (ActionDetails, "get_details"): "action_id",
    (ActionDetails, "get_phase_transitions"): "attempt",
    (ActionDetails, "logs_available"): "attempt",
    (ActionDetails, "watch_updates"): "cache_data_on_done",
}
"""Asked of the published 2.12.1 with inspect.signature on 2026-11-21."""


@pytest.mark.parametrize(("owner", "name"), PARAMETERS, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_parameters_are_those_of_the_published_class(owner, name):
    face = getattr(owner, name)
    parameters = list(inspect.signature(getattr(face, "aio", face)).parameters)
    assert [p for p in parameters if p not in ("self", "cls")] == PARAMETERS[owner, name].split()


def test_the_face_is_light():
    code = (
        "import sys, flyte.remote\n"
        "heavy = ('sqlite3', 'google.protobuf', 'flyteidl2', 'pydantic', 'grpc', 'asyncio')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
