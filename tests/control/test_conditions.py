"""Conditions: a run waits, paused, until somebody says something; it survives a kill, and asks nobody twice."""

import asyncio
import dataclasses
import datetime
import enum
import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pydantic
import pytest

import flyte
from flyte._control.conditions import _desks
from flyte._definition.condition import Condition
from flyte._journal import signals
from flyte._journal.schema import journal_path
from flyte.errors import (
    ActionAbortedError,
    ConditionAlreadyExistsError,
    ConditionNotFoundError,
    ConditionTimedoutError,
    NotInTaskContextError,
    RuntimeUserError,
    SyncTaskCallInAsyncContextError,
    TraceDoesNotAllowNestedTasksError,
    TypeTransformerFailedError,
)
from flyte.extend import Controller
from flyte.testing import DeadlockError, ManualClock, with_testcontext

env = flyte.TaskEnvironment(name="people")


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclasses.dataclass
class Decision:
    approved: bool
    limit: float = 1.5
    tags: list[str] = dataclasses.field(default_factory=list)


class Order(pydantic.BaseModel):
    count: int = pydantic.Field(gt=0)
    note: str | None = None

    @pydantic.field_validator("note")
    @classmethod
    def _polite(cls, note: str | None) -> str | None:
        if note == "now!":
            raise ValueError("say please")
        return note


TYPES = {
    "bool": (bool, True), "int": (int, -7), "float": (float, 2.5), "str": (str, "5"), "decision": (Decision, None),
    "order": (Order, Order(count=2)), "sizes": (list[Size], [Size.LARGE]), "maybe": (int | None, None),
    "day": (datetime.datetime, datetime.datetime(2026, 2, 28, 19, 30, tzinfo=datetime.UTC)), "set": (set[int], {1, 2}),
}  # fmt: skip


@env.task
async def ask(kind: str) -> str:
    condition = await flyte.new_condition.aio("answer", prompt="What?", data_type=TYPES[kind][0])
    return repr(await condition.wait.aio())


@env.task
def ask_sync() -> bool:
    return flyte.new_condition("answer").wait()


def when_paused(run: str, name: str = "answer", within_s: float = 10.0) -> signals.Asked:
    """The condition, once another connection sees it."""
    until = time.monotonic() + within_s
    while True:
        try:
            found = signals.find_condition(run, name)
            if found.is_open:
                return found
        except ConditionNotFoundError:
            if time.monotonic() > until:
                raise
        time.sleep(0.01)


async def start(task, *args, run: str = "r1", **options):
    """A run beside the test, which has reached its first condition."""
    running = asyncio.create_task(flyte.with_runcontext(name=run, **options).run.aio(task, *args))
    paused = asyncio.create_task(asyncio.to_thread(when_paused, run))
    await asyncio.wait({running, paused}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    await paused
    return running


def rows(statement: str, *values):
    file = sqlite3.connect(journal_path())
    try:
        return file.execute(statement, values).fetchall()
    finally:
        file.close()


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert not _desks
    assert not signals._here


# Answers --------------------------------------------------------------------------------------------------------------


async def test_a_run_is_paused_until_python_answers():
    running = await start(ask, "bool")
    (row,) = rows("SELECT a.phase, a.waiting, t.kind FROM action a JOIN task t ON t.id = a.task WHERE t.kind != 'task'")
    waiting = json.loads(row[1])
    assert (row[0], row[2]) == ("paused", "condition")
    assert waiting["for"] == "an answer to condition 'answer' (bool): What?"
    assert abs(waiting["since"] - time.time()) < 10
    await flyte.signal.aio("r1", "answer", True, by="ada")
    assert (await running).result == "True"
    (asked,) = signals.conditions_of("r1")
    assert (asked.phase, asked.answer.value, asked.answer.by) == ("succeeded", "true", "ada")
    assert asked.since <= asked.answer.at <= asked.ended_at + 0.5


async def test_a_sync_task_waits_in_its_thread():
    running = await start(ask_sync)
    await flyte.signal.aio("r1", "answer", False)
    assert (await running).result is False


@pytest.mark.parametrize("kind", list(TYPES))
async def test_any_type_that_a_task_can_return(kind):
    value = TYPES[kind][1] if kind != "decision" else Decision(True, tags=["a"])
    running = await start(ask, kind)
    await flyte.signal.aio("r1", "answer", value)
    assert (await running).result == repr(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bool", "No", False),
        ("int", "-7", -7),
        ("float", "3", 3.0),
        ("str", '"quoted"', '"quoted"'),
        ("decision", '{"approved": true}', Decision(True)),
        ("order", '{"count": 2, "note": "ok"}', Order(count=2, note="ok")),
        ("sizes", '["l", "s"]', [Size.LARGE, Size.SMALL]),
        ("maybe", "null", None),
        ("day", "2026-02-28T20:30:00+01:00", TYPES["day"][1]),
        ("set", "[3]", {3}),
    ],
)
async def test_what_a_person_types_is_read_by_the_declared_type(kind, text, value):
    running = await start(ask, kind)
    asked = signals.find_condition("r1", "answer")
    signals.answer_condition(asked, signals.Answer(asked.form.read(text), time.time(), "ada"))
    assert (await running).result == repr(value)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("bool", "maybe", "'maybe' is not a bool: answer yes or no"),
        ("int", "3.5", "'3.5' is not a int: it must be a whole number"),
        ("int", "many", "it must be a whole number"),
        ("float", "true", "it must be a number"),
        ("decision", '{"approved": 1}', r"at \['approved'\]: it must be true or false"),
        ("decision", "{}", "'approved' is missing"),
        ("decision", '{"approved": true, "tags": [1]}', r"at \['tags'\]\[0\]: it must be a text"),
        ("decision", '{"approved', "Unterminated string"),
        ("order", '{"count": 0}', r"at \['count'\]: it must be greater than 0"),
        ("sizes", '["m"]', r'at \[0\]: it must be one of "s", "l"'),
        ("maybe", "x", "it must be a whole number or it must be null"),
        ("day", "tomorrow", "it must be a date-time"),
    ],
)
async def test_a_value_of_another_type_is_refused_before_anything_is_written(kind, text, says):
    running = await start(ask, kind)
    form = signals.find_condition("r1", "answer").form
    with pytest.raises(ValueError, match=says):
        form.read(text)
    with pytest.raises(TypeTransformerFailedError):
        await flyte.signal.aio("r1", "answer", object() if kind != "maybe" else "x")
    assert rows("SELECT * FROM signal") == []
    running.cancel()
    await asyncio.wait({running})


async def test_what_only_the_run_can_check_is_refused_by_it_and_asked_again():
    running = await start(ask, "order")
    asked = signals.find_condition("r1", "answer")
    signals.answer_condition(asked, signals.Answer('{"count": 1, "note": "now!"}', time.time(), "ada"))
    until = time.monotonic() + 5
    while (now := signals.find_condition("r1", "answer")).refusal is None and time.monotonic() < until:
        await asyncio.sleep(0.02)
    assert "say please" in now.refusal
    assert now.is_open
    await flyte.signal.aio("r1", "answer", Order(count=1, note="please"))
    assert (await running).result == repr(Order(count=1, note="please"))


async def test_the_first_answer_counts_and_the_same_again_is_fine():
    running = await start(ask, "bool")
    await flyte.signal.aio("r1", "answer", True, by="ada")
    await running
    await flyte.signal.aio("r1", "answer", True, by="bob")
    with pytest.raises(RuntimeUserError, match=r"was answered true by ada at .*; the first answer counts"):
        await flyte.signal.aio("r1", "answer", False, by="bob")
    assert rows("SELECT value, by FROM signal") == [("true", "ada")]


async def test_unknown_runs_and_conditions_are_named():
    running = await start(ask, "bool", run="nightly")
    with pytest.raises(ConditionNotFoundError, match=r"there is no run 'nigthly'.*did you mean 'nightly'"):
        flyte.signal("nigthly", "answer", True)
    with pytest.raises(ConditionNotFoundError, match=r"no condition 'anser'; did you mean 'answer'\?.*it has 'answer'"):
        flyte.signal("nightly", "anser", True)
    flyte.signal("nightly", signals.find_condition("nightly", "answer").action, True)  # by the name of its action
    assert (await running).result == "True"


def test_without_a_journal_only_this_process_can_answer(monkeypatch, caplog):
    monkeypatch.setenv("FLYTE_JOURNAL", "off")

    async def main():
        running = asyncio.create_task(flyte.with_runcontext(name="r1").run.aio(ask, "decision"))
        while signals.waiting_here("r1", "answer") is None:
            await asyncio.sleep(0.01)
        with pytest.raises(TypeTransformerFailedError, match="Decision"):
            await flyte.signal.aio("r1", "answer", 3)
        await flyte.signal.aio("r1", "answer", Decision(False))
        return (await running).result

    assert asyncio.run(main()) == repr(Decision(False))
    assert "the history of runs is off, so no other process can" in caplog.text
    assert "flyte.signal('r1', 'answer', VALUE) in this process" in caplog.text


async def test_an_answer_in_the_same_process_is_heard_at_once():
    """Python in the same process need not wait for the next look into the journal."""
    running = await start(ask, "bool")
    began = time.perf_counter()
    await flyte.signal.aio("r1", "answer", True)
    await running
    assert time.perf_counter() - began < 0.5


# Several, and names ---------------------------------------------------------------------------------------------------


@env.task
async def one(name: str) -> bool:
    condition = await flyte.new_condition.aio(name)
    return await condition.wait.aio()


@env.task
async def several(names: list[str]) -> list[bool]:
    return list(await asyncio.gather(*[one(name) for name in names]))


async def test_several_wait_at_once():
    running = await start(several, ["answer", "second one", "dritte?"])
    when_paused("r1", "dritte?")
    for name, value in (("dritte?", False), ("answer", True), ("second one", True)):
        await flyte.signal.aio("r1", name, value)
    assert (await running).result == [True, True, False]


async def test_a_name_that_is_waited_for_is_taken():
    with pytest.raises(ConditionAlreadyExistsError, match="run r1 already waits for a condition 'answer'"):
        await flyte.with_runcontext(name="r1").run.aio(several, ["answer", "answer"])


@env.task
async def again() -> list[int]:
    values = []
    for _ in range(3):
        condition = await flyte.new_condition.aio("answer", data_type=int)
        values.append(await condition.wait.aio())
    return values


async def test_a_name_may_be_asked_again_and_needs_a_new_answer():
    running = await start(again)
    for value in (1, 2, 3):
        await asyncio.to_thread(when_paused, "r1")
        await flyte.signal.aio("r1", "answer", value)
        while signals.conditions_of("r1")[value - 1].phase == "paused":
            await asyncio.sleep(0.01)
    assert (await running).result == [1, 2, 3]
    assert [asked.answer.value for asked in signals.conditions_of("r1")] == ["1", "2", "3"]


async def test_another_run_of_the_same_name_is_not_answered_by_what_was_said_to_the_first():
    running = await start(ask, "int")
    await flyte.signal.aio("r1", "answer", 1)
    assert (await running).result == "1"
    running = await start(ask, "int")
    await asyncio.sleep(0.3)
    assert not running.done()
    await flyte.signal.aio("r1", "answer", 2)
    assert (await running).result == "2"


@env.task
async def twice() -> list[bool]:
    condition = await flyte.new_condition.aio("answer")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await condition.wait.aio()
    return [await condition.wait.aio(), await condition.wait.aio()]


async def test_who_waits_may_give_up_and_wait_again():
    running = await start(twice)
    await asyncio.sleep(0.1)
    await flyte.signal.aio("r1", "answer", True)
    assert (await running).result == [True, True]


# Misuse ---------------------------------------------------------------------------------------------------------------


@flyte.trace
async def traced() -> bool:
    return await (await flyte.new_condition.aio("inside")).wait.aio()


@env.task
async def misuse(how: str) -> str:
    if how == "sync":
        flyte.new_condition("x")
    elif how == "wait":
        (await flyte.new_condition.aio("x")).wait()
    elif how == "trace":
        await traced()
    return ""


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("sync", SyncTaskCallInAsyncContextError, r"await flyte.new_condition.aio\('x', ...\)"),
        ("wait", SyncTaskCallInAsyncContextError, r"await condition.wait.aio\(\)"),
        ("trace", TraceDoesNotAllowNestedTasksError, "wait for people in the task itself"),
    ],
)
def test_misuse_is_refused(how, error, says):
    with pytest.raises(error, match=says):
        flyte.run(misuse, how)


declared = flyte.new_condition("answer", data_type=int)
kept: list[Condition[bool]] = []


@env.task
async def uses_a_declared_one() -> int:
    return await declared.wait.aio()


@env.task
async def keeps_its_condition() -> bool:
    if not kept:
        kept.append(await flyte.new_condition.aio("answer"))
    return await kept[0].wait.aio()


async def test_one_that_is_declared_outside_is_asked_by_each_run():
    for value in (1, 2):
        running = await start(uses_a_declared_one, run=f"r{value}")
        await flyte.signal.aio(f"r{value}", "answer", value)
        assert (await running).result == value


async def test_one_that_was_made_in_a_run_is_of_that_run():
    kept.clear()
    running = await start(keeps_its_condition)
    await flyte.signal.aio("r1", "answer", True)
    assert (await running).result is True
    with pytest.raises(RuntimeUserError, match="condition 'answer' was made in another run"):
        await flyte.run.aio(keeps_its_condition)


def test_outside_a_run_a_condition_is_only_declared():
    condition = flyte.new_condition("later", data_type=int, timeout=datetime.timedelta(minutes=2))
    assert (condition.name, condition.timeout_s, condition.prompt) == ("later", 120.0, "Approve?")
    with pytest.raises(NotInTaskContextError, match="condition 'later' can be waited for in a task only"):
        condition.wait()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"timeout": 0}, ValueError, "timeout=0"),
        ({"timeout": "soon"}, TypeError, "takes seconds or a timedelta"),
        ({"timeout": float("inf")}, ValueError, "must be positive"),
        ({"prompt_type": "html"}, ValueError, "'text' or 'markdown'"),
        ({"prompt": "x" * 4097}, ValueError, "4,097 characters"),
        ({"description": 3}, TypeError, r"description=...\) takes a string"),
        ({"webhook": "http://x"}, TypeError, "flyte.ConditionWebhook"),
        ({"data_type": 5}, TypeError, "data_type=5"),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments, error, says):
    with pytest.raises(error, match=says):
        flyte.new_condition("x", **arguments)


@pytest.mark.parametrize("name", ["", " ", "a\tb", "a\nb"])
def test_a_name_is_a_line_of_text(name):
    with pytest.raises(ValueError, match="must be a line of text"):
        flyte.new_condition(name)


class Elsewhere(Controller):
    async def submit(self, task, /, *args, **kwargs):
        from flyte._core.context import TaskContext, current

        scope = current.get()
        token = current.set(TaskContext(scope.execution, scope, task.name, "a0"))
        try:
            return await task.func(*args, **kwargs)
        finally:
            current.reset(token)


def test_a_controller_that_knows_no_conditions_says_so():
    with pytest.raises(NotImplementedError, match=r"Elsewhere does not implement condition\(\)"):
        flyte.with_runcontext(controller=Elsewhere()).run(ask, "bool")


# Ends -----------------------------------------------------------------------------------------------------------------


@env.task
async def limited(timeout: float) -> str:
    condition = await flyte.new_condition.aio("answer", timeout=timeout)
    try:
        return str(await condition.wait.aio())
    except ConditionTimedoutError as error:
        return str(error)


def test_a_timeout_of_thirty_days_takes_no_time_under_a_manual_clock():
    began = time.perf_counter()
    run = with_testcontext(ManualClock(), home=os.environ["FLYTE_HOME"], name="r1").run(limited, 30 * 86400.0)
    assert run.result == "nobody answered condition 'answer' of run r1 within its timeout of 2.592e+06 s: Approve?"
    assert time.perf_counter() - began < 5
    (asked,) = signals.conditions_of("r1")
    assert asked.phase == "timed_out"
    assert asked.ended_at - asked.since == pytest.approx(30 * 86400, abs=1)
    with pytest.raises(RuntimeUserError, match="waits no more: it has timed out"):
        flyte.signal("r1", "answer", True)
    assert rows("SELECT * FROM signal") == []


def test_a_condition_that_nobody_can_answer_in_a_test_is_a_deadlock_and_not_a_busy_loop():
    with pytest.raises(DeadlockError):
        with_testcontext(ManualClock()).run(ask, "bool")


async def test_an_answer_at_the_last_moment_counts():
    """Others are refused from the moment that the journal says so, and who came before that is heard."""
    running = await start(limited, 0.4)
    asked = signals.find_condition("r1", "answer")
    said = None
    while not running.done() and said is None:
        await asyncio.sleep(0)
        if time.time() > asked.since + 0.385:
            said = signals.answer_condition(asked, signals.Answer("true", time.time(), "ada"))
    assert (await running).result == "True"


@env.task
async def fails_while_waiting() -> None:
    await flyte.new_condition.aio("answer")
    await asyncio.to_thread(when_paused, "r1")
    raise ValueError("something else")


@env.task
async def leaves_it() -> str:
    await flyte.new_condition.aio("answer")
    return "done"


async def test_a_condition_ends_with_the_action_that_asked(caplog):
    with pytest.raises(ValueError, match="something else"):
        await flyte.with_runcontext(name="r1").run.aio(fails_while_waiting)
    assert [asked.phase for asked in signals.conditions_of("r1")] == ["aborted"]
    assert (await flyte.with_runcontext(name="r2").run.aio(leaves_it)).result == "done"
    assert [asked.phase for asked in signals.conditions_of("r2")] == ["aborted"]


async def test_a_run_that_is_cancelled_stops_waiting():
    running = await start(ask_sync)
    running.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - began < 2
    assert [asked.phase for asked in signals.conditions_of("r1")] == ["aborted"]


@env.task
async def late() -> str:
    async def afterwards() -> None:
        await asyncio.sleep(0.05)
        await flyte.new_condition.aio("answer")

    late.task = asyncio.create_task(afterwards())
    return "ended"


async def test_an_action_that_has_ended_asks_nobody():
    await flyte.run.aio(late)
    with pytest.raises((ActionAbortedError, asyncio.CancelledError)):
        await late.task


tries: list[int] = []


@env.task(retries=2)
async def flaky() -> str:
    condition = await flyte.new_condition.aio("answer", data_type=int)
    value = await condition.wait.aio()
    tries.append(value)
    if len(tries) < 3:
        raise ValueError("not yet")
    return str(value)


async def test_a_further_attempt_does_not_ask_again():
    tries.clear()
    running = await start(flaky)
    await flyte.signal.aio("r1", "answer", 5)
    assert (await running).result == "5"
    assert tries == [5, 5, 5]
    assert len(signals.conditions_of("r1")) == 1


# Webhooks -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver():
    """An address on loopback, and what was sent there; answers with the status in the path."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


@env.task
async def hooked(url: str) -> bool:
    payload = {"text": "please: {callback_uri}", "list": ["{callback_uri}", 1]}
    webhook = flyte.ConditionWebhook(url, payload)
    return await (await flyte.new_condition.aio("answer", webhook=webhook)).wait.aio()


async def test_a_webhook_is_called_once_it_can_be_answered(receiver):
    url, got = receiver
    running = await start(hooked, f"{url}/200")
    while not got:
        await asyncio.sleep(0.01)
    command = "flyte signal r1 answer VALUE"
    assert got == [{"text": f"please: {command}", "list": [command, 1]}]
    await flyte.signal.aio("r1", "answer", True)
    assert (await running).result is True


async def test_a_webhook_that_fails_leaves_the_other_ways_to_answer(receiver, caplog):
    url, _ = receiver
    running = await start(hooked, f"{url}/500")
    while "could not be called" not in caplog.text:
        await asyncio.sleep(0.01)
    assert "at 127.0.0.1 could not be called (HTTPStatusError 500); the run goes on waiting" in caplog.text
    assert url not in caplog.text
    await flyte.signal.aio("r1", "answer", True)
    assert (await running).result is True


# Restarts, with real processes ----------------------------------------------------------------------------------------

PROGRAM = """
    import sys
    import flyte

    env = flyte.TaskEnvironment(name="flow")

    def note(line):
        with open("notes.txt", "a") as file:
            file.write(line + chr(10))

    @env.task
    async def prepare(x: int) -> int:
        note("prepare")
        return x + 1

    @env.task
    async def finish(approved: bool, amount: float) -> str:
        note("finish")
        return f"{approved} {amount}"

    @env.task
    async def main(x: int, timeout: float) -> str:
        y = await prepare(x)
        approve = await flyte.new_condition.aio("approve", prompt=f"Approve {y}?", timeout=timeout)
        approved = await approve.wait.aio()
        note(f"approved {approved}")
        amount = await flyte.new_condition.aio("amount", data_type=float)
        return await finish(approved, await amount.wait.aio())

    if __name__ == "__main__":
        name, recover_from, timeout = sys.argv[1:]
        run = flyte.with_runcontext(name=name, recover_from=recover_from or None).run(main, 1, float(timeout))
        print(run.result)
"""


class Processes:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "flow.py").write_text(textwrap.dedent(PROGRAM))
        self.started: list[subprocess.Popen[str]] = []

    def start(self, name: str, recover_from: str = "", timeout_s: float = 60.0) -> subprocess.Popen[str]:
        root = str(Path(flyte.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "flow.py", name, recover_from, str(timeout_s)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": root},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def kill(self, process: "subprocess.Popen[str]") -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def notes(self) -> list[str]:
        return (self.folder / "notes.txt").read_text().splitlines()


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            made.kill(process)


def test_another_process_answers_and_the_run_goes_on(processes):
    process = processes.start("r1")
    for name, value in (("approve", True), ("amount", 2)):
        when_paused("r1", name)
        flyte.signal("r1", name, value)
    out, errors = process.communicate(timeout=30)
    assert out == "True 2.0\n"
    assert "run r1 waits for an answer to condition 'approve' (bool): Approve 2?" in errors
    assert "flyte signal r1 approve VALUE" in errors


def test_killed_while_paused_it_finds_what_was_said_to_the_old_run(processes):
    process = processes.start("r1")
    first = when_paused("r1", "approve")
    processes.kill(process)
    assert not signals.find_condition("r1", "approve").is_alive
    flyte.signal("r1", "approve", False, by="ada")
    process = processes.start("r2", "r1")
    when_paused("r2", "amount")
    flyte.signal("r2", "amount", 1.0)
    assert process.communicate(timeout=30)[0] == "False 1.0\n"
    assert processes.notes() == ["prepare", "approved False", "finish"]
    approve, _ = signals.conditions_of("r2")
    assert (approve.since, approve.answer.by) == (first.since, "ada")  # asked once, answered once


def test_killed_after_an_answer_it_asks_no_second_time(processes):
    process = processes.start("r1")
    when_paused("r1", "approve")
    flyte.signal("r1", "approve", True, by="ada")
    when_paused("r1", "amount")
    processes.kill(process)
    process = processes.start("r2", "r1")
    when_paused("r2", "amount")
    assert [(asked.name, asked.phase) for asked in signals.conditions_of("r2")] == [
        ("approve", "recovered"),
        ("amount", "paused"),
    ]
    assert signals.conditions_of("r2")[0].answer.by == "ada"
    processes.kill(process)
    # What is said to any of the runs in the chain is heard.
    flyte.signal("r1", "amount", 3.0)
    process = processes.start("r3", "r2")
    assert process.communicate(timeout=30)[0] == "True 3.0\n"
    assert processes.notes() == ["prepare", "approved True", "approved True", "approved True", "finish"]


def test_what_is_said_to_the_old_run_while_the_new_one_waits_is_heard(processes):
    process = processes.start("r1")
    when_paused("r1", "approve")
    processes.kill(process)
    process = processes.start("r2", "r1")
    when_paused("r2", "approve")
    flyte.signal("r1", "approve", True)
    when_paused("r2", "amount")
    flyte.signal("r2", "amount", 1.0)
    assert process.communicate(timeout=30)[0] == "True 1.0\n"


def test_two_runs_that_ask_the_same_get_one_answer(processes):
    process = processes.start("r1")
    when_paused("r1", "approve")
    processes.kill(process)
    process = processes.start("r2", "r1")
    when_paused("r2", "approve")
    flyte.signal("r2", "approve", True, by="ada")
    with pytest.raises(RuntimeUserError, match="was answered true by ada"):
        flyte.signal("r1", "approve", False, by="bob")
    flyte.signal("r1", "approve", True, by="bob")
    when_paused("r2", "amount")
    processes.kill(process)
    flyte.signal("r2", "amount", 1.0)
    process = processes.start("r3", "r2")
    assert process.communicate(timeout=30)[0] == "True 1.0\n"


def test_the_timeout_counts_from_the_first_time_the_condition_was_reached(processes):
    process = processes.start("r1", timeout_s=1.0)
    when_paused("r1", "approve")
    processes.kill(process)
    time.sleep(1.0)
    process = processes.start("r2", "r1", timeout_s=1.0)
    errors = process.communicate(timeout=30)[1]
    assert "ConditionTimedoutError: nobody answered condition 'approve' of run r2 within its timeout of 1 s" in errors
    late = signals.find_condition("r2", "approve")
    assert late.phase == "timed_out"
    ((waited_s,),) = rows("SELECT ended_at - started_at FROM action WHERE id = ?", late.id)
    assert waited_s < 0.5  # not another second
    # It was over: asked once more, the time begins anew.
    process = processes.start("r3", "r2", timeout_s=30.0)
    when_paused("r3", "approve")


SAYS = """
    import sys
    import time
    import flyte
    from flyte.errors import RuntimeUserError

    while time.time() < float(sys.argv[2]):
        pass
    try:
        flyte.signal("r1", "answer", int(sys.argv[1]), by=sys.argv[1])
        print("first")
    except RuntimeUserError as error:
        print(error)
"""


async def test_of_many_that_answer_at_the_same_moment_one_is_the_first():
    running = await start(ask, "int")
    moment = str(time.time() + 1.5)
    root = str(Path(flyte.__file__).parents[1])
    people = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            textwrap.dedent(SAYS),
            str(number),
            moment,
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
        )
        for number in range(4)
    ]
    said = [(await person.communicate())[0].decode().strip() for person in people]
    (first,) = [number for number, text in enumerate(said) if text == "first"]
    assert (await running).result == str(first)
    others = [text for text in said if text != "first"]
    assert len(others) == 3
    assert all(f"condition 'answer' of run r1 was answered {first} by {first} at" in text for text in others)
