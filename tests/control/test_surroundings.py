"""What a body finds around it: context, groups, environment variables, secrets, custom context, traces, hooks."""

import asyncio
import logging
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flyte
import flyte.errors
import flyte.extend
from flyte.models import ActionPhase, NativeInterface

env = flyte.TaskEnvironment(name="surroundings")


def test_the_context_of_a_task():
    """X20."""

    @env.task
    async def looks() -> dict[str, str]:
        context = flyte.ctx()
        assert context and context.group_data is None
        with flyte.group("g1"):
            group = flyte.ctx().group_data
        return {
            "run": context.action.run_name or "",
            "action": context.action.name,
            "mode": context.mode,
            "raw": context.raw_data_path.path,
            "group": group.name if group else "",
            "project": context.action.project or "",
            "version": context.version,
        }

    run = flyte.with_runcontext("local", name="r1", raw_data_path="/tmp/raw", project="p", version="v7").run(looks)
    assert run.result == {
        "run": "r1",
        "action": "a0",
        "mode": "local",
        "raw": "/tmp/raw",
        "group": "g1",
        "project": "p",
        "version": "v7",
    }
    assert run.name == "r1" and run.phase is ActionPhase.SUCCEEDED and run.done() and run.url.endswith("r1")
    run.wait()


def test_outside_a_task_the_context_is_false_and_empty():
    context = flyte.ctx()
    assert not context and context.action is None and context.data is None and not context.is_in_cluster()
    with pytest.raises(AttributeError, match="actoin"):
        _ = context.actoin  # type: ignore[attr-defined]


def test_custom_context_travels_to_children():
    @env.task
    def leaf() -> dict[str, str]:
        return flyte.get_custom_context()

    @env.task
    async def root() -> tuple[dict[str, str], dict[str, str]]:
        with flyte.custom_context(inner="2"):
            inside = await leaf.aio()
        return inside, await leaf.aio()

    run = flyte.with_runcontext(custom_context={"outer": "1"}).run(root)
    assert run.result == ({"outer": "1", "inner": "2"}, {"outer": "1"})
    with flyte.custom_context(ambient="3"):
        assert flyte.run(leaf).result == {"ambient": "3"}
    with pytest.raises(TypeError, match="n"), flyte.custom_context(n=1):  # type: ignore[arg-type]
        pass


def test_environment_variables_are_seen_in_the_body_only_even_side_by_side():
    """B7, F13."""

    @env.task
    async def reads(n: int) -> list[str]:
        seen = []
        for _ in range(5):
            seen.append(os.environ["WHO"])
            seen.append(os.getenv("WHO") or "")
            await asyncio.sleep(0.001)
        seen.append(subprocess.run(["sh", "-c", "echo $WHO"], capture_output=True, text=True).stdout.strip())
        return seen

    @env.task
    def reads_sync(n: int) -> list[str]:
        return [os.environ["WHO"], dict(os.environ)["WHO"]]

    @env.task
    async def root() -> tuple[list[str], bool]:
        calls: list[Any] = [reads.override(env_vars={"WHO": f"w{i}"})(i) for i in range(5)]
        calls += [reads_sync.override(env_vars={"WHO": f"w{i}"}).aio(i) for i in range(5)]
        answers = await asyncio.gather(*calls)
        return [",".join(sorted(set(a))) for a in answers], "WHO" in os.environ

    answers, leaked = flyte.run(root).result
    assert answers == [f"w{i}" for i in range(5)] * 2 and not leaked
    assert "WHO" not in os.environ
    everywhere = flyte.with_runcontext(env_vars={"WHO": "run"}).run(reads, 1).result
    assert set(everywhere) == {"run"}


def test_secrets_are_seen_in_the_body_only_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """B8, F14."""
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "my-key").write_text("s3cret-value\n")

    @env.task(retries=1)
    async def reads(fail: bool) -> int:
        assert os.environ["MY"] == "s3cret-value"
        if fail:
            raise ValueError("failed")
        return len(os.environ["MY"])

    task = reads.override(secrets=flyte.Secret("my-key", as_env_var="MY"))
    with caplog.at_level("DEBUG"):
        assert flyte.run(task, fail=False).result == 12
        with pytest.raises(ValueError) as caught:
            flyte.run(task, fail=True)
    assert "MY" not in os.environ
    assert "s3cret-value" not in caplog.text + repr(task) + str(caught.value) + str(caught.value.__notes__)


def test_a_missing_secret_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    monkeypatch.setattr(logging.getLogger("flyte"), "propagate", True)

    @env.task
    async def reads(how: str) -> str:
        if how == "get":
            return os.environ.get("NOPE", "default") + str("NOPE" in os.environ) + str("NOPE" in dict(os.environ))
        return os.environ["NOPE"]

    task = reads.override(secrets="nope")
    with caplog.at_level("WARNING", logger="flyte"):
        assert flyte.run(task, "get").result == "defaultFalseFalse"
        assert flyte.run(task, "get").result == "defaultFalseFalse"
    assert len([r for r in caplog.records if "secret 'nope'" in r.message]) == 1
    with pytest.raises(KeyError, match=r"secret 'nope'.*variable NOPE"):
        flyte.run(task, "item")


def test_pre_and_post_surround_the_body():
    """T11, T12, T13, A6, D4."""
    log: list[str] = []

    @dataclass(kw_only=True, eq=False)
    class Hooked(flyte.AsyncFunctionTaskTemplate):  # type: ignore[type-arg]
        async def pre(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            log.append(f"pre {kwargs}")
            return {"seen": 41}

        async def post(self, return_vals: Any) -> Any:
            log.append(f"post {return_vals}")
            return return_vals + 1

    async def body(x: int) -> int:
        log.append("body")
        if x < 0:
            raise ValueError("negative")
        return int(flyte.ctx().data["seen"]) + x

    task = Hooked(func=body)
    assert task.name == "body" == task.short_name
    assert flyte.run(task, x=1).result == 43
    assert log == ["pre {'x': 1}", "body", "post 42"]
    log.clear()
    with pytest.raises(ValueError):
        flyte.run(task, x=-1)
    assert log == ["pre {'x': -1}", "body"]


def test_a_template_of_its_own_runs_what_execute_says():
    """T9, T10."""

    @dataclass(kw_only=True, eq=False)
    class Constant(flyte.TaskTemplate):  # type: ignore[type-arg]
        async def execute(self, *args: Any, **kwargs: Any) -> int:
            return 42

    task = Constant(name="constant", interface=NativeInterface({}, {"o0": int}))
    assert flyte.run(task).result == 42
    with pytest.raises(NotImplementedError, match="forward"):
        task()
    bare = flyte.TaskTemplate(name="bare", interface=NativeInterface({}, {}))
    with pytest.raises(NotImplementedError, match="execute"):
        flyte.run(bare)


def test_a_context_without_a_controller_says_so():
    """T3."""
    from flyte._core.context import Execution, TaskContext, current

    @env.task
    async def leaf() -> int:
        return 1

    async def main() -> None:
        execution = Execution(run_name="r", controller=None, loop=asyncio.get_running_loop())
        token = current.set(TaskContext(execution, None, "", "a0"))
        try:
            await leaf()
        finally:
            current.reset(token)

    with pytest.raises(flyte.errors.RuntimeSystemError, match="no controller"):
        asyncio.run(main())


def test_a_users_controller_receives_every_call_of_an_unchanged_workflow():
    """K2: installed by public API, in a few lines."""
    calls: list[str] = []

    class Listening(flyte.extend.LocalController):
        async def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
            calls.append(f"{task.short_name} retries={task.retries.count}")
            return await super().submit(task, *args, **kwargs)

    @env.task
    def leaf_sync(x: int) -> int:
        return x

    @env.task
    async def leaf(x: int) -> int:
        return x

    @env.task
    def below(x: int) -> int:
        return leaf_sync(x)

    @env.task
    async def root() -> int:
        total = await leaf(1) + await leaf.override(retries=4, short_name="patient")(1) + await below.aio(1)
        async for got in flyte.map.aio(leaf_sync, [1, 2]):
            total += got  # type: ignore[operator]
        return total

    assert flyte.with_runcontext(controller=Listening()).run(root).result == 6
    assert calls == [
        "root retries=0",
        "leaf retries=0",
        "patient retries=4",
        "below retries=0",
        "leaf_sync retries=0",
        "leaf_sync retries=0",
        "leaf_sync retries=0",
    ]
    with pytest.raises(TypeError, match="Controller"):
        flyte.with_runcontext(controller=object())  # type: ignore[arg-type]


def test_a_recorder_is_told_of_every_action():
    events: list[str] = []

    class Log:
        def action_started(self, action: Any) -> None:
            events.append(f"start {action.task_name} {action.attempt_number}")

        def action_finished(self, action: Any, phase: ActionPhase, error: BaseException | None) -> None:
            events.append(f"end {action.task_name} {phase.value} {type(error).__name__}")

    tries: list[int] = []

    @env.task(retries=1)
    async def flaky() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("x")
        return 1

    @env.task
    async def root() -> int:
        return await flaky()

    flyte.with_runcontext(recorder=Log()).run(root)
    assert events == [
        "start surroundings.root 0",
        "start surroundings.flaky 0",
        "start surroundings.flaky 1",
        "end surroundings.flaky succeeded NoneType",
        "end surroundings.root succeeded NoneType",
    ]


def test_traces():
    @flyte.trace
    async def step(x: int) -> str:
        return flyte.ctx().action.name

    @flyte.trace
    def step_sync(x: int) -> str:
        return flyte.ctx().action.name

    @env.task
    async def leaf() -> int:
        return 1

    @flyte.trace
    async def bad() -> int:
        return await leaf()

    @env.task
    async def root() -> list[str]:
        mine = flyte.ctx().action
        names = [await step(1), await step(1), step_sync(2)]
        assert flyte.ctx().action == mine
        return names

    first = flyte.run(root).result
    assert len(set(first)) == 3 and flyte.run(root).result == first
    assert step_sync(1) if flyte.ctx() else True

    @env.task
    async def nests() -> int:
        return await bad()

    with pytest.raises(flyte.errors.TraceDoesNotAllowNestedTasksError):
        flyte.run(nests)

    @env.task
    async def wrong() -> str:
        return await step("x")  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"'step'.*'x'"):
        flyte.run(wrong)
    with pytest.raises(TypeError, match="takes a function"):
        flyte.trace(3)  # type: ignore[type-var]


def test_a_trace_outside_a_run_is_its_function():
    @flyte.trace
    def plain(x: int) -> int:
        return x + 1

    @flyte.trace
    async def plain_async(x: int) -> int:
        return x + 1

    @flyte.trace
    def items(n: int) -> Any:
        yield from range(n)

    assert plain(1) == 2 and asyncio.run(plain_async(1)) == 2 and list(items(2)) == [0, 1]


@pytest.mark.parametrize("option", [{"dry_run": True}, {"tracked": True}])
def test_what_is_not_there_says_so(option: dict[str, Any]):
    @env.task
    async def leaf() -> int:
        return 1

    with pytest.raises(NotImplementedError, match="not available"):
        flyte.with_runcontext(**option).run(leaf)


def test_run_options_are_checked():
    for bad in ("Has-Capital", "x" * 31, "9starts", "ends-"):
        with pytest.raises(ValueError, match="run name"):
            flyte.with_runcontext(name=bad)
    with pytest.raises(ValueError, match="mode"):
        flyte.with_runcontext("clowd")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="env_vars"):
        flyte.with_runcontext(env_vars={"A": 1})  # type: ignore[dict-item]


def test_remote_without_a_control_plane_says_how_to_get_one():
    @env.task
    async def leaf() -> int:
        return 1

    with pytest.raises(flyte.errors.InitializationError, match="flyte start devbox"):
        flyte.with_runcontext(mode="remote").run(leaf)


def test_a_child_does_not_see_its_callers_variables_and_secrets(monkeypatch):
    monkeypatch.setenv("UNDER_ANOTHER_NAME", "s")
    own = flyte.TaskEnvironment(
        "own", env_vars={"ONLY_MINE": "1"}, secrets=flyte.Secret("mine", as_env_var="UNDER_ANOTHER_NAME")
    )
    monkeypatch.setenv("FLYTE_SECRETS_ENV_PREFIX", "P_")
    monkeypatch.setenv("P_SECOND", "hidden")
    second = flyte.TaskEnvironment("second", secrets=flyte.Secret("second"), env_vars={"ONLY_SECOND": "1"})
    bare = flyte.TaskEnvironment("bare")

    @bare.task
    async def sees() -> list[str | None]:
        return [os.environ.get(name) for name in ("ONLY_MINE", "ONLY_SECOND", "SECOND", "FOR_ALL")]

    @second.task
    async def middle() -> list[str | None]:
        return [os.environ.get("ONLY_MINE"), os.environ.get("SECOND"), *await sees()]

    @own.task
    async def main() -> list[str | None]:
        found = await middle()
        return [os.environ.get("ONLY_MINE"), *found, *await sees(), os.environ.get("ONLY_MINE")]

    result = flyte.with_runcontext(env_vars={"FOR_ALL": "x"}).run(main).result
    assert result == ["1", None, "hidden", None, None, None, "x", None, None, None, "x", "1"]
    assert flyte.run(main).result == ["1", None, "hidden", *[None] * 8, "1"]
