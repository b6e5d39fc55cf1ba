"""TaskEnvironment and @env.task: what is inherited, what is refused (X18, X19, A2, A14)."""

import logging
import subprocess
import sys
from typing import Any

import pytest

import flyte
import flyte.errors
from flyte.models import NativeInterface


async def work(x: int) -> int:
    return x


class Opaque:
    """Nothing but pickle can carry it."""


def test_every_field_has_its_documented_default():
    """X18."""
    env = flyte.TaskEnvironment(name="my-env")
    assert env.depends_on == [] and env.image == "auto" and env.cache == "disable" and env.interruptible is False
    assert (env.pod_template, env.description, env.secrets, env.env_vars, env.resources) == (None,) * 5
    assert (env.reusable, env.plugin_config, env.queue, env.tasks) == (None, None, None, {})


@pytest.mark.parametrize("name", ["my_env", "my-env", "env2", "a"])
def test_names_that_are_allowed(name: str):
    assert flyte.TaskEnvironment(name=name).name == name


@pytest.mark.parametrize(
    ("name", "suggestion"), [("MyEnv", "my_env"), ("my env", "my_env"), ("-x", "x"), ("", "my_env")]
)
def test_names_that_are_not_with_a_suggestion(name: str, suggestion: str):
    with pytest.raises(ValueError, match=suggestion):
        flyte.TaskEnvironment(name=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resources", {"cpu": 1}),
        ("image", 3),
        ("env_vars", [("A", "1")]),
        ("env_vars", {"A": 1}),
        ("secrets", 3),
        ("secrets", ["a", 3]),
        ("depends_on", "other"),
        ("depends_on", ["other"]),
        ("description", 1),
        ("interruptible", "yes"),
        ("reusable", 3),
        ("queue", 3),
        ("pod_template", 3),
        ("include", [1]),
    ],
)
def test_a_wrongly_typed_field_is_named(field: str, value: Any):
    with pytest.raises(TypeError, match=field):
        flyte.TaskEnvironment(name="e", **{field: value})
    with pytest.raises(TypeError, match="name"):
        flyte.TaskEnvironment(name=3)  # type: ignore[arg-type]


def test_the_decorator_inherits_and_wins():
    """X19."""
    env = flyte.TaskEnvironment(
        name="e",
        cache="auto",
        interruptible=True,
        queue="env-queue",
        env_vars={"A": "1"},
        secrets="k",
        resources=flyte.Resources(cpu=2),
        pod_template="env-pod",
    )
    inherits = env.task(work)
    assert inherits.cache.behavior == "auto" and inherits.interruptible is True  # type: ignore[union-attr]
    assert (inherits.queue, inherits.env_vars, inherits.secrets) == ("env-queue", {"A": "1"}, "k")
    assert inherits.resources == flyte.Resources(cpu=2) and inherits.pod_template == "env-pod"
    wins = env.task(
        cache="disable",
        interruptible=False,
        queue="mine",
        pod_template="my-pod",
        short_name="Short",
        retries=2,
        timeout=30,
        report=True,
        max_inline_io_bytes=5,
        docs=flyte.Documentation(description="d"),
        triggers=flyte.Trigger.hourly(),
    )(work)
    assert wins.cache.behavior == "disable" and wins.interruptible is False  # type: ignore[union-attr]
    assert (wins.queue, wins.pod_template, wins.short_name, wins.report) == ("mine", "my-pod", "Short", True)
    assert wins.retries == flyte.RetryStrategy(count=2) and wins.max_inline_io_bytes == 5
    assert isinstance(wins.triggers, tuple) and len(wins.triggers) == 1
    assert wins.name == "e.work"


def test_a_decorated_task_is_not_cached_unless_asked():
    """D1."""
    task = flyte.TaskEnvironment(name="e").task(work)
    assert not task.cache.is_enabled()  # type: ignore[union-attr]


def test_dependencies():
    a, b, c = (flyte.TaskEnvironment(name=n) for n in "abc")
    a.add_dependency(b)
    b.add_dependency(c, a)
    assert a.depends_on == [b] and [e.name for e in a.closure()] == ["a", "b", "c"]
    a.add_dependency(b)
    assert a.depends_on == [b]
    with pytest.raises(ValueError, match="itself"):
        a.add_dependency(a)
    with pytest.raises(TypeError):
        a.add_dependency("b")  # type: ignore[arg-type]


def test_clone_with():
    original = flyte.TaskEnvironment(name="a", env_vars={"A": "1"}, resources=flyte.Resources(cpu=1), cache="auto")
    original.task(work)
    clone = original.clone_with("b", env_vars={"B": "2"}, queue="q")
    assert (clone.name, clone.env_vars, clone.queue, clone.cache) == ("b", {"B": "2"}, "q", "auto")
    assert clone.resources == original.resources and clone.tasks == {}
    clone.add_dependency(flyte.TaskEnvironment(name="c"))
    assert original.depends_on == []
    with pytest.raises(TypeError, match="no field 'queu'; did you mean 'queue'"):
        original.clone_with("d", queu="q")


def test_from_task():
    """X18: a task belongs to one environment."""
    first = flyte.TaskTemplate(name="one", interface=NativeInterface({}, {}), image="repo/x:1")
    second = flyte.TaskTemplate(name="two", interface=NativeInterface({}, {}), image="repo/x:1")
    env = flyte.TaskEnvironment.from_task("e", first, second)
    assert env.tasks == {"one": first, "two": second}
    assert first.parent_env is not None and first.parent_env() is env and first.parent_env_name == "e"
    with pytest.raises(ValueError, match="belongs to environment 'e'"):
        flyte.TaskEnvironment.from_task("f", first)
    with pytest.raises(ValueError, match="at least one"):
        flyte.TaskEnvironment.from_task("f")
    other = flyte.TaskTemplate(name="three", interface=NativeInterface({}, {}), image="repo/y:1")
    third = flyte.TaskTemplate(name="four", interface=NativeInterface({}, {}), image="repo/x:1")
    with pytest.raises(ValueError, match="different images"):
        flyte.TaskEnvironment.from_task("f", other, third)


def test_what_cannot_be_a_task():
    env = flyte.TaskEnvironment(name="e")
    task = env.task(work)
    with pytest.raises(TypeError, match="already a task"):
        env.task(task)
    with pytest.raises(TypeError, match="takes a function"):
        env.task(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="unexpected keyword"):
        env.task(retry=3)  # type: ignore[call-overload]


def test_the_same_function_may_be_defined_again_but_not_by_another_module():
    env = flyte.TaskEnvironment(name="e")
    env.task(work)
    again = env.task(work)  # a notebook cell that is run again
    assert env.tasks["e.work"] is again
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec("async def work(x: int) -> int:\n    return x", names)
    with pytest.raises(ValueError, match=r"already has a task 'e\.work'"):
        env.task(names["work"])


def test_pickle_is_said_aloud(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    async def takes(thing: Opaque, n: int) -> Opaque:
        return thing

    monkeypatch.delenv("FLYTE_PICKLE", raising=False)
    flyte_logger = logging.getLogger("flyte")
    monkeypatch.setattr(flyte_logger, "propagate", True)
    env = flyte.TaskEnvironment(name="e")
    with caplog.at_level("WARNING", logger="flyte"):
        env.task(takes)
    (record,) = caplog.records
    assert "'e.takes'" in record.message and "parameter 'thing'" in record.message and "'n'" not in record.message
    caplog.clear()
    monkeypatch.setenv("FLYTE_PICKLE", "allow")
    env.task(takes)
    assert not caplog.records
    monkeypatch.setenv("FLYTE_PICKLE", "forbid")
    with pytest.raises(ValueError, match="FLYTE_PICKLE=forbid"):
        env.task(takes)
    monkeypatch.setenv("FLYTE_PICKLE", "perhaps")
    with pytest.raises(ValueError, match="FLYTE_PICKLE"):
        env.task(takes)


def test_is_initialized_and_init():
    """IN1-IN3."""
    program = (
        "import flyte, flyte.extend, threading\n"
        "assert flyte.extend.is_initialized() is False\n"
        "both = [{'project': f'p{i}', 'domain': f'd{i}'} for i in range(16)]\n"
        "ts = [threading.Thread(target=flyte.init, kwargs=k) for k in both]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "assert flyte.extend.is_initialized() is True\n"
        "assert flyte.current_project()[1:] == flyte.current_domain()[1:]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
