"""Task templates: fields (F), methods (T), overrides (O), function tasks (A). Ids are those of the requirements."""

import asyncio
import datetime
import gc
import pickle
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import flyte
import flyte.errors
import flyte.extend
from flyte.extend import AsyncFunctionTaskTemplate, TaskTemplate
from flyte.models import NativeInterface, SerializationContext

env = flyte.TaskEnvironment(name="templates")


@env.task
async def plain(x: int, y: str = "a") -> int:
    """Add things.

    At length.

    :param x: the first thing
    """
    return x


@env.task
def plain_sync(x: int) -> int:
    return x


async def bare(x: int) -> int:
    return x


def bare_sync(x: int) -> int:
    return x


def test_fields_have_the_documented_defaults():
    """F3-F5, F7, F9-F19, F22, F23 on a template built directly; D1 for the cache."""
    task = TaskTemplate(name="t", interface=NativeInterface({}, {}))
    assert (task.short_name, task.task_type, task.task_type_version) == ("t", "python", 0)
    assert task.resources is None and task.interruptible is False and task.reusable is None
    assert task.cache.behavior == "auto"  # type: ignore[union-attr]
    assert task.retries == flyte.RetryStrategy(count=0)
    assert (task.docs, task.env_vars, task.secrets, task.timeout, task.pod_template) == (None,) * 5
    assert (task.report, task.queue, task.debuggable, task.triggers) == (False, None, False, ())
    assert task.max_inline_io_bytes == 10 * 1024 * 1024
    assert task.parent_env is None and task.parent_env_name is None and task._call_as_synchronous is False
    with pytest.raises(TypeError):
        TaskTemplate("t", NativeInterface({}, {}))  # type: ignore[misc]


def test_name_and_interface_of_a_decorated_function():
    """F1, F2, F3, F20, F21, F24, T19, A2, A3."""
    assert plain.name == "templates.plain" and plain.short_name == "plain"
    assert plain.interface is plain.native_interface
    assert type(plain) is type(plain_sync) is AsyncFunctionTaskTemplate
    assert plain.parent_env is not None and plain.parent_env() is env and plain.parent_env_name == "templates"
    assert (plain._call_as_synchronous, plain_sync._call_as_synchronous) == (False, True)
    assert env.tasks["templates.plain"] is plain
    assert plain.debuggable is True


def test_a_function_template_names_itself_after_its_function():
    """F1, A1."""
    task = AsyncFunctionTaskTemplate(func=bare, interface=NativeInterface.from_callable(bare))
    assert task.name == "bare" and task.plugin_config is None and task.func is bare
    assert issubclass(AsyncFunctionTaskTemplate, TaskTemplate)


def test_image_cache_and_retries_are_normalised():
    """F6, F8, F10, O13."""
    interface = NativeInterface({}, {})
    assert isinstance(TaskTemplate(name="t", interface=interface).image, flyte.Image)
    named = TaskTemplate(name="t", interface=interface, image="repo/thing:1").image
    assert isinstance(named, flyte.Image) and named.uri == "repo/thing:1"
    assert isinstance(TaskTemplate(name="t", interface=interface, cache="disable").cache, flyte.Cache)
    assert TaskTemplate(name="t", interface=interface, retries=3).retries == flyte.RetryStrategy(count=3)
    for wrong in ({"cache": "sometimes"}, {"retries": -1}, {"max_inline_io_bytes": -5}, {"timeout": -1}):
        with pytest.raises((ValueError, TypeError)):
            TaskTemplate(name="t", interface=interface, **wrong)


def test_pickling_drops_the_weak_reference_and_keeps_the_name():
    """F25."""

    @env.task(retries=2)
    async def local(x: int) -> int:
        return x + 1

    asyncio.run(local(1))
    flyte.run(local, x=1)  # compiled things must not travel
    copy = pickle.loads(cloudpickle.dumps(local))
    assert copy.parent_env is None and copy.parent_env_name == "templates"
    assert copy.name == local.name and copy.retries == local.retries
    assert asyncio.run(copy(4)) == 5 and flyte.run(copy, x=4).result == 5


def test_a_task_does_not_keep_its_environment_alive():
    """F20."""
    short_lived = flyte.TaskEnvironment(name="short")
    task = short_lived.task(bare)
    gone = weakref.ref(short_lived)
    del short_lived
    gc.collect()
    assert gone() is None and task.parent_env is not None and task.parent_env() is None
    assert task.parent_env_name == "short"


def test_forward_is_the_function():
    """A4, T9."""
    coroutine = plain.forward(3)
    assert asyncio.iscoroutine(coroutine) and asyncio.run(coroutine) == 3
    assert plain_sync.forward(3) == 3
    with pytest.raises(NotImplementedError):
        TaskTemplate(name="t", interface=NativeInterface({}, {})).forward()


def test_hooks_of_the_base():
    """T14-T18, T20, T21."""
    task = TaskTemplate(name="t", interface=NativeInterface({}, {}))
    context = SerializationContext(version="v")
    assert task.config(sctx=context) == {} and task.custom_config(sctx=context) == {}
    assert task.container_args(sctx=context) == [] and task.data_loading_config(sctx=context) is None
    assert task.sql(sctx=context) is None and task.source_file is None
    assert asyncio.run(task.pre(1, a=2)) == {} and asyncio.run(task.post(5)) == 5
    with pytest.raises(NotImplementedError):
        asyncio.run(task.execute())
    with pytest.raises(flyte.errors.RuntimeSystemError, match="root_dir"):
        plain.container_args(serialize_context=context)  # A12
    context.root_dir = Path(__file__).parent
    assert plain.container_args(serialize_context=context) == plain.container_args(context)
    with pytest.raises(TypeError, match="one SerializationContext"):
        plain.container_args()


def test_source_file():
    """A7."""
    assert plain.source_file == __file__
    names: dict[str, Any] = {}
    exec("async def typed(x: int) -> int:\n    return x", names)
    assert AsyncFunctionTaskTemplate(func=names["typed"]).source_file is None


def test_a_function_that_was_typed_in_runs():
    names: dict[str, Any] = {"env": env}
    exec("@env.task\nasync def typed(x: int) -> int:\n    return x * 3", names)
    assert flyte.run(names["typed"], x=2).result == 6


def test_variadic_parameters_are_refused():
    """A14."""

    async def many(*args: int) -> int:
        return 1

    async def keywords(**kwargs: int) -> int:
        return 1

    for func, stars in ((many, r"\*args"), (keywords, r"\*\*kwargs")):
        with pytest.raises(ValueError, match=stars):
            env.task(func)


# override -----------------------------------------------------------------------------------------------------------

OVERRIDES: dict[str, Any] = {
    "short_name": "other",
    "resources": flyte.Resources(cpu=1),
    "cache": flyte.Cache(behavior="auto"),
    "retries": flyte.RetryStrategy(count=4),
    "timeout": datetime.timedelta(seconds=5),
    "reusable": flyte.ReusePolicy(replicas=2),
    "env_vars": {"A": "1"},
    "secrets": "key",
    "max_inline_io_bytes": 7,
    "pod_template": "big",
    "queue": "q",
    "interruptible": True,
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_each_override_changes_that_field_and_nothing_else(name: str):
    """O1, O2, O3, O9, O14."""
    changed = plain.override(**{name: OVERRIDES[name]})
    assert type(changed) is type(plain) and changed is not plain and changed.func is plain.func
    assert getattr(changed, name) == OVERRIDES[name]
    for other in OVERRIDES:
        if other != name:
            assert getattr(changed, other) == getattr(plain, other)
    assert changed.name == plain.name and changed.interface is plain.interface
    assert getattr(plain, name) != OVERRIDES[name]


def test_what_a_task_is_cannot_be_overridden():
    """O4."""
    for name in ("name", "image", "docs", "interface"):
        with pytest.raises(ValueError, match=f"{name} cannot be overridden"):
            plain.override(**{name: "x"})


def test_further_fields_may_be_overridden_and_unknown_ones_not():
    """O5, O6."""
    changed = plain.override(report=True, task_type="spark", debuggable=False, plugin_config={"a": 1})
    assert (changed.report, changed.task_type, changed.debuggable) == (True, "spark", False)
    assert changed.plugin_config == {"a": 1}
    trigger = flyte.Trigger.hourly()
    assert plain.override(triggers=trigger).triggers == (trigger,)
    with pytest.raises(TypeError, match="no parameter 'retrys'"):
        plain.override(retrys=3)


def test_overriding_a_reusable_task():
    """O7, O8."""
    pool = flyte.TaskEnvironment(name="pool", reusable=flyte.ReusePolicy(replicas=2))
    task = pool.task(bare)
    assert task.override(reusable="off").reusable is None
    for change in ({"resources": flyte.Resources(cpu=1)}, {"env_vars": {}}, {"secrets": "k"}):
        with pytest.raises(ValueError, match="reusable='off'"):
            task.override(**change)  # type: ignore[arg-type]
        assert task.override(reusable="off", **change).reusable is None  # type: ignore[arg-type]


def test_zero_false_and_none():
    """O11, O12, O17, D3."""
    stubborn = plain.override(retries=3, interruptible=True, max_inline_io_bytes=9)
    assert stubborn.override(retries=0).retries == flyte.RetryStrategy(count=0)
    assert stubborn.override(interruptible=False).interruptible is False
    assert stubborn.override(max_inline_io_bytes=None).max_inline_io_bytes == 9
    assert stubborn.override(short_name="s").retries == flyte.RetryStrategy(count=3)


def test_env_vars_are_replaced_as_a_whole():
    """O10."""
    assert plain.override(env_vars={"A": "1"}).override(env_vars={"B": "2"}).env_vars == {"B": "2"}


def test_overrides_chain_and_run():
    """O15, O16."""
    changed = plain.override(retries=2).override(short_name="s")
    assert (changed.retries, changed.short_name) == (flyte.RetryStrategy(count=2), "s")
    assert changed.parent_env is not None and changed.parent_env() is env
    assert asyncio.run(plain.override(retries=5)(3)) == 3
    assert flyte.run(plain.override(retries=5), x=3).result == 3


def test_setting_a_field_takes_effect_on_the_next_run():
    tries: list[int] = []

    @env.task
    async def failing() -> int:
        tries.append(1)
        raise ValueError("no")

    for retries, expected in ((0, 1), (2, 3)):
        failing.retries = flyte.RetryStrategy(count=retries)
        tries.clear()
        with pytest.raises(ValueError):
            flyte.run(failing)
        assert len(tries) == expected


# plugins ------------------------------------------------------------------------------------------------------------


@dataclass
class PoolConfig:
    size: int


@dataclass(kw_only=True, eq=False)
class PoolTask(AsyncFunctionTaskTemplate):  # type: ignore[type-arg]
    def __post_init__(self) -> None:
        super().__post_init__()
        self.task_type = "pool"

    def custom_config(self, sctx: SerializationContext) -> dict[str, Any]:
        return {"size": self.plugin_config.size}


def test_a_plugin_builds_the_tasks_of_its_configuration():
    """RG1-RG4, A15, M3."""
    registry = flyte.extend.TaskPluginRegistry
    assert not isinstance(registry, type) and type(registry).__name__ == "_Registry"
    assert registry.find(PoolConfig) is None or registry.find(PoolConfig) is PoolTask
    registry.register(PoolConfig, PoolTask)
    registry.register(PoolConfig, PoolTask)
    assert registry.find(PoolConfig) is PoolTask and PoolConfig in registry.list_plugins()
    task = flyte.TaskEnvironment(name="p", plugin_config=PoolConfig(3)).task(bare)
    assert type(task) is PoolTask and task.plugin_config == PoolConfig(3) and task.task_type == "pool"
    assert task.custom_config(SerializationContext(version="v")) == {"size": 3}
    assert flyte.run(task, x=2).result == 2


def test_plugins_that_are_missing_or_in_conflict():
    """RG5, RG6, RG7."""

    @dataclass
    class Unknown:
        pass

    with pytest.raises(ValueError, match=r"Unknown.*TaskPluginRegistry\.register"):
        flyte.TaskEnvironment(name="p", plugin_config=Unknown()).task(bare)

    @dataclass(kw_only=True, eq=False)
    class Other(AsyncFunctionTaskTemplate):  # type: ignore[type-arg]
        pass

    flyte.extend.TaskPluginRegistry.register(PoolConfig, PoolTask)
    with pytest.raises(ValueError, match="already registered"):
        flyte.extend.TaskPluginRegistry.register(PoolConfig, Other)
    with pytest.raises(ValueError, match="reusable"):
        flyte.TaskEnvironment(name="p", plugin_config=PoolConfig(1), reusable=flyte.ReusePolicy(replicas=2))
