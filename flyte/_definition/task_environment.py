"""TaskEnvironment: owns tasks; ``@env.task`` makes a function one of them.

Annotations stay texts, as in `task`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, overload

from flyte._core.interface import NativeInterface, describe
from flyte._core.log import logger
from flyte.types._annotations import pickle_policy, pickled_parts

from .cache import cache_from_request
from .environment import Environment, check_type, unknown_field
from .plugin import TaskPluginRegistry
from .task import MAX_INLINE_IO_BYTES, AsyncFunctionTaskTemplate, F, P, R, TaskTemplate, declared

if TYPE_CHECKING:
    from .cache import CacheRequest
    from .documentation import Documentation
    from .image import Image
    from .link import Link
    from .pod import PodTemplate
    from .resources import Resources
    from .retry import RetryStrategy
    from .reuse import ReusePolicy
    from .secret import SecretRequest
    from .task import AsyncTask, SyncTask
    from .timeout import TimeoutType
    from .trigger import Trigger


class TaskDecorator(Protocol):
    """What ``env.task(...)`` gives: it turns a function into a task."""

    # An async function is also a plain one that gives a coroutine: the first overload is meant to win.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...


@dataclass(eq=False)
class TaskEnvironment(Environment):
    """Owns tasks, and says where and how they run.

    :param cache: default of each task: ``"auto"``, ``"override"``, ``"disable"`` or a :class:`flyte.Cache`; default
        ``"disable"``, so a decorated task is not cached unless asked for.
    :param reusable: keep workers of this environment and share them between calls.
    :param plugin_config: configuration of a registered task plugin; each task is then built by that plugin.
    :param queue: queue of each task; None for the default queue.

    The other parameters are those of :class:`flyte.Environment`.

    :raises TypeError: a field has the wrong type.
    :raises ValueError: a name that is not allowed, or ``plugin_config`` together with ``reusable``.
    """

    cache: CacheRequest = "disable"
    reusable: ReusePolicy | None = None
    plugin_config: Any = None
    queue: str | None = None
    _tasks: dict[str, TaskTemplate[Any, Any, Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"TaskEnvironment({self.name!r})"
        cache_from_request(self.cache)
        if self.reusable is not None:
            from .reuse import ReusePolicy

            check_type(owner, "reusable", self.reusable, (ReusePolicy,), "a flyte.ReusePolicy")
            if self.plugin_config is not None:
                raise ValueError(f"{owner}: plugin_config cannot be combined with reusable; leave one of them out")
        if self.queue is not None:
            check_type(owner, "queue", self.queue, (str,), "the name of a queue")

    @property
    def tasks(self) -> dict[str, TaskTemplate[Any, Any, Any]]:
        """The tasks of this environment by full name."""
        return self._tasks

    @overload
    def task(  # type: ignore[overload-overlap]
        self, _func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, _func: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        *,
        short_name: str | None = None,
        cache: CacheRequest | None = None,
        retries: int | RetryStrategy = 0,
        timeout: TimeoutType = 0,
        docs: Documentation | None = None,
        pod_template: str | PodTemplate | None = None,
        report: bool = False,
        interruptible: bool | None = None,
        max_inline_io_bytes: int = MAX_INLINE_IO_BYTES,
        queue: str | None = None,
        service_account: str | None = None,
        triggers: tuple[Trigger, ...] | Trigger = (),
        links: tuple[Link, ...] | Link = (),
        task_resolver: Any | None = None,
        entrypoint: bool = False,
        produces_artifacts: bool = False,
    ) -> TaskDecorator: ...
    def task(
        self,
        _func: Callable[..., Any] | None = None,
        *,
        short_name: str | None = None,
        cache: CacheRequest | None = None,
        retries: int | RetryStrategy = 0,
        timeout: TimeoutType = 0,
        docs: Documentation | None = None,
        pod_template: str | PodTemplate | None = None,
        report: bool = False,
        interruptible: bool | None = None,
        max_inline_io_bytes: int = MAX_INLINE_IO_BYTES,
        queue: str | None = None,
        service_account: str | None = None,
        triggers: tuple[Trigger, ...] | Trigger = (),
        links: tuple[Link, ...] | Link = (),
        task_resolver: Any | None = None,
        entrypoint: bool = False,
        produces_artifacts: bool = False,
    ) -> Any:
        """Make a function, sync or async, a task of this environment.

        What is not given, or given as None, is the environment's. The task's full name is
        ``<environment>.<function>``.

        :param short_name: shown to readers; the function's name if not given.
        :param cache: see :class:`flyte.Cache`.
        :param retries: how often a failed attempt is repeated.
        :param timeout: seconds, a timedelta or a :class:`flyte.Timeout`; 0 for no limit.
        :param docs: documentation; the docstring if not given.
        :param report: whether the task makes a report.
        :param max_inline_io_bytes: limit of inputs plus outputs passed inline, in bytes; by default larger values are
            stored and passed by reference.
        :param triggers: what starts the task by itself.
        :raises TypeError: not a function, or an annotation that does not exist.
        :raises ValueError: the function takes ``*args`` or ``**kwargs``; there is already a task of that name from
            elsewhere; a value is not allowed; pickle is forbidden and nothing else fits a parameter.
        """

        def decorate(func: Callable[..., Any]) -> AsyncFunctionTaskTemplate[Any, Any, Any]:
            if isinstance(func, TaskTemplate):
                raise TypeError(f"{func.name!r} is already a task; apply @env.task once")
            if not callable(func) or not hasattr(func, "__name__"):
                raise TypeError(f"@{self.name}.task takes a function, but got {type(func).__name__} {func!r}")
            made = self._template_class()(
                func=func,
                name=f"{self.name}.{func.__name__}",
                interface=NativeInterface.from_callable(func),
                short_name=short_name or func.__name__,
                image=self.image,
                resources=self.resources,
                cache=self.cache if cache is None else cache,
                interruptible=self.interruptible if interruptible is None else interruptible,
                retries=retries,
                reusable=self.reusable,
                docs=docs,
                env_vars=self.env_vars,
                secrets=self.secrets,
                service_account=service_account or self.service_account,
                timeout=timeout,
                pod_template=pod_template or self.pod_template,
                report=report,
                queue=queue or self.queue,
                parent_env=weakref.ref(self),
                parent_env_name=self.name,
                max_inline_io_bytes=max_inline_io_bytes,
                triggers=cast("tuple[Trigger, ...]", triggers),
                links=cast("tuple[Link, ...]", links),
                plugin_config=self.plugin_config,
                task_resolver=task_resolver,
                entrypoint=entrypoint,
                produces_artifacts=produces_artifacts,
            )
            _say_what_is_pickled(made)
            self._own(made)
            return made

        return decorate if _func is None else decorate(_func)

    def _template_class(self) -> type[AsyncFunctionTaskTemplate[Any, Any, Any]]:
        if self.plugin_config is None:
            return AsyncFunctionTaskTemplate
        config_type = type(self.plugin_config)
        plugin = TaskPluginRegistry.find(config_type)
        if plugin is None:
            raise ValueError(
                f"TaskEnvironment({self.name!r}): no task plugin is registered for plugin_config of type "
                f"{config_type.__name__}; call flyte.extend.TaskPluginRegistry.register({config_type.__name__}, "
                "YourTaskTemplate), or install the package that does"
            )
        return plugin

    def _own(self, task: TaskTemplate[Any, Any, Any]) -> None:
        present = self._tasks.get(task.name)
        # A notebook defines the same function again; two modules that share a name would hide each other.
        if present is not None and _origin(present) != _origin(task):
            raise ValueError(
                f"TaskEnvironment({self.name!r}) already has a task {task.name!r}, from {_origin(present)}; "
                "rename one of the functions or use another environment"
            )
        self._tasks[task.name] = task
        declared[task.name] = task

    def clone_with(
        self,
        name: str,
        image: str | Image | Literal["auto"] | None = None,
        resources: Resources | None = None,
        env_vars: dict[str, str] | None = None,
        secrets: SecretRequest | None = None,
        depends_on: list[Environment] | None = None,
        description: str | None = None,
        interruptible: bool | None = None,
        include: tuple[str, ...] | None = None,
        service_account: str | None = None,
        **kwargs: Any,
    ) -> TaskEnvironment:
        """A new environment without tasks, like this one but for what is given.

        :param name: name of the new environment.
        :param kwargs: further fields: ``cache``, ``reusable``, ``plugin_config``, ``queue``, ``pod_template``.
        :raises TypeError: a field that environments do not have.
        """
        known = [f.name for f in fields(self) if f.init and f.name != "name"]
        for key in kwargs:
            if key not in known:
                raise unknown_field(f"TaskEnvironment({name!r})", key, known)
        given = {
            "image": image,
            "resources": resources,
            "env_vars": env_vars,
            "secrets": secrets,
            "depends_on": depends_on,
            "description": description,
            "interruptible": interruptible,
            "include": include,
            "service_account": service_account,
        }
        values = {key: getattr(self, key) for key in known}
        values.update({key: value for key, value in given.items() if value is not None})
        values.update(kwargs)
        values["depends_on"] = list(values["depends_on"])
        made = TaskEnvironment(name=name, **values)
        if include is None:
            made._declared_in = self._declared_in  # which its includes are relative to
        return made

    @classmethod
    def from_task(
        cls, name: str, *tasks: TaskTemplate[Any, Any, Any], depends_on: list[Environment] | None = None
    ) -> TaskEnvironment:
        """An environment that owns tasks made without one, such as container tasks.

        :param name: name of the environment.
        :param tasks: at least one task, all with the same image.
        :raises ValueError: no tasks, tasks with different images, or a task that another environment owns.
        """
        if not tasks:
            raise ValueError(f"TaskEnvironment.from_task({name!r}) needs at least one task")
        first = tasks[0]
        for task in tasks:
            check_type(f"TaskEnvironment.from_task({name!r})", "tasks", task, (TaskTemplate,), "tasks")
            if task.parent_env_name is not None:
                raise ValueError(
                    f"task {task.name!r} belongs to environment {task.parent_env_name!r}; a task has one environment"
                )
            if task.image != first.image:
                raise ValueError(
                    f"tasks {first.name!r} and {task.name!r} have different images; put them into two environments"
                )
        made = cls(
            name=name,
            resources=first.resources,
            image=first.image,
            depends_on=list(depends_on or []),
            pod_template=first.pod_template,
            secrets=first.secrets,
            env_vars=first.env_vars,
        )
        for task in tasks:
            made._own(task)
            task.parent_env = weakref.ref(made)
            task.parent_env_name = name
        return made


def _origin(task: TaskTemplate[Any, Any, Any]) -> str:
    func = getattr(task, "func", None)
    return f"module {getattr(func, '__module__', None)!r}" if func is not None else f"a {type(task).__name__}"


def _say_what_is_pickled(task: AsyncFunctionTaskTemplate[Any, Any, F]) -> None:
    """Pickle is never silent: say once, when the task is declared, which of its values only pickle can carry."""
    policy = pickle_policy()
    if policy == "allow":
        return
    interface = task.interface
    parts = [
        (f"{kind} {name!r}", annotation, path)
        for kind, variables in (
            ("parameter", interface.get_input_types()),
            ("result", interface.outputs),
        )
        for name, annotation in variables.items()
        for path in pickled_parts(annotation)
    ]
    if not parts:
        return
    listed = "; ".join(f"{what} ({path or describe(annotation)})" for what, annotation, path in parts)
    text = (
        f"task {task.name!r} passes values that only pickle can carry: {listed}. Annotate them with a type that flyte "
        "knows (a dataclass, a pydantic model, ...) or register one with flyte.types.TypeEngine.register()"
    )
    if policy == "forbid":
        raise ValueError(f"{text}. Pickle is forbidden by FLYTE_PICKLE=forbid")
    logger.warning("%s. Set FLYTE_PICKLE=allow to accept this silently, or =forbid to refuse it", text)
