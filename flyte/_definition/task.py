"""Task templates: what a task is, and what calling it means.

A template is a value: `override` gives a changed copy. Calling it outside a run runs the body directly; inside a run
the call goes to the controller of the current execution. Nothing here knows which controller that is.

Annotations stay texts: what most tasks do not have, such as triggers and images, is loaded by those that do.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from flyte._core.command import DEFAULT_RESOLVER, container_args
from flyte._core.context import current
from flyte._core.face import nearest
from flyte._core.interface import NativeInterface
from flyte._core.threads import run_in_thread
from flyte.errors import (
    ActionAbortedError,
    RuntimeSystemError,
    SyncTaskCallInAsyncContextError,
    TraceDoesNotAllowNestedTasksError,
)

from .cache import Cache, cache_from_request
from .retry import RetryStrategy, retry_from

if TYPE_CHECKING:
    from flyte._core.code_bundle import SerializationContext
    from flyte._core.context import TaskContext
    from flyte._core.controller import Controller

    from .cache import CacheRequest
    from .documentation import Documentation
    from .environment import Environment
    from .image import Image
    from .link import Link
    from .pod import PodTemplate
    from .resources import Resources
    from .reuse import ReusePolicy
    from .secret import SecretRequest
    from .timeout import TimeoutType
    from .trigger import Trigger

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

MAX_INLINE_IO_BYTES = 10 * 1024 * 1024
"""What travels inside the messages of one call: 10 MiB (wire-protocol section 4.2). Beyond it values are stored and
passed by reference, unless a task has a limit of its own."""


class _NotGiven:
    """Tells "not given" from None, 0 and False (decision D3)."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Any = _NotGiven()


class _ImageField:
    """The field ``image`` of a template: ``"auto"`` becomes an image when somebody asks which.

    :param default: of the field.
    """

    def __init__(self, default: Any) -> None:
        self._default = default

    def __get__(self, task: TaskTemplate[Any, Any, Any] | None, owner: Any = None) -> Any:
        if task is None:
            return self._default  # where dataclasses find the default
        state = task.__dict__
        if state["image"] == "auto":
            from .image import Image

            state["image"] = Image.default()
        return state["image"]

    def __set__(self, task: TaskTemplate[Any, Any, Any], value: Any) -> None:
        task.__dict__["image"] = value


@dataclass(kw_only=True, eq=False)
class TaskTemplate(Generic[P, R, F]):
    """What a task is: its interface, and all that says how it runs.

    Derive from it, or from :class:`AsyncFunctionTaskTemplate`, to make a task plugin; override :meth:`execute` and
    :meth:`forward`, never ``__call__``.

    :param name: full name, ``<environment>.<function>`` for a decorated function.
    :param interface: parameters and results.
    :param short_name: shown to readers; the name if not given.
    :param task_type: router string, says which plugin of the control plane runs it.
    :param task_type_version: version of that type.
    :param image: an image, the URI of one, or ``"auto"`` for the default image of this Python with flyte installed.
    :param resources: None for the platform's default.
    :param cache: ``"auto"``, ``"override"``, ``"disable"`` or a :class:`flyte.Cache`.
    :param interruptible: whether it may run on machines that can be taken away.
    :param retries: how often a failed attempt is repeated: a count or a :class:`flyte.RetryStrategy`; default 0.
    :param reusable: None: a fresh process for each call; else a pool that calls share.
    :param docs: documentation; the function's docstring if not given.
    :param env_vars: set in the body's process environment.
    :param secrets: made available to the body at run time.
    :param service_account: Kubernetes service account to run as.
    :param timeout: seconds, a timedelta or a :class:`flyte.Timeout`; None or 0 for no limit.
    :param pod_template: a pod template or the name of one.
    :param report: whether the task makes a report.
    :param queue: None for the default queue.
    :param debuggable: whether a debugger can be attached.
    :param parent_env: weak reference to the owning environment; not kept when pickled.
    :param parent_env_name: its name, which is kept.
    :param max_inline_io_bytes: limit of inputs plus outputs passed inline, in bytes. Files, folders and data frames do
        not count. By default there is none: what is larger than 10 MiB is stored once, by content, below the raw-data
        path and passed by reference. Any other number is a limit that raises.
    :param triggers: what starts the task by itself.
    :param links: links shown beside the task.
    :param entrypoint: whether the task is meant to be started by people.
    :param produces_artifacts: whether the task's outputs are registered as artifacts.
    :raises TypeError: a field has the wrong type.
    :raises ValueError: a value that is not allowed.
    """

    name: str
    interface: NativeInterface
    short_name: str = ""
    task_type: str = "python"
    task_type_version: int = 0
    image: str | Image | Literal["auto"] | None = cast(Any, _ImageField("auto"))
    resources: Resources | None = None
    cache: CacheRequest = "auto"
    interruptible: bool = False
    retries: int | RetryStrategy = 0
    reusable: ReusePolicy | None = None
    docs: Documentation | None = None
    env_vars: dict[str, str] | None = None
    secrets: SecretRequest | None = None
    service_account: str | None = None
    timeout: TimeoutType | None = None
    pod_template: str | PodTemplate | None = None
    report: bool = False
    queue: str | None = None
    debuggable: bool = False
    entrypoint: bool = False
    produces_artifacts: bool = False

    parent_env: weakref.ReferenceType[Environment] | None = field(default=None, repr=False)
    parent_env_name: str | None = None
    max_inline_io_bytes: int = MAX_INLINE_IO_BYTES
    triggers: tuple[Trigger, ...] = field(default_factory=tuple)
    links: tuple[Link, ...] = field(default_factory=tuple)

    _call_as_synchronous: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.interface, NativeInterface):
            raise TypeError(f"task {self.name!r}: interface takes a NativeInterface, but got {self.interface!r}")
        self.short_name = self.short_name or self.name
        image = self.__dict__["image"]
        if isinstance(image, str) and image != "auto":
            from .image import Image

            self.image = Image.from_base(image)
        if not isinstance(self.cache, Cache):
            self.cache = cache_from_request(self.cache)
        if not isinstance(self.retries, RetryStrategy):
            self.retries = retry_from(self.retries)
        if self.timeout is not None and (self.timeout != 0 or self.timeout is False):
            from .timeout import timeout_from_request

            timeout_from_request(self.timeout)
        limit = self.max_inline_io_bytes
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            raise ValueError(
                f"task {self.name!r}: max_inline_io_bytes takes a number of bytes that is not negative, got {limit!r}"
            )
        if self.triggers:
            from .trigger import Trigger

            self.triggers = (self.triggers,) if isinstance(self.triggers, Trigger) else tuple(self.triggers)
        else:
            self.triggers = ()
        self.links = tuple(self.links) if isinstance(self.links, (tuple, list)) else (self.links,)
        if self.reusable is not None and self.reusable.concurrency > 1 and self._call_as_synchronous:
            raise ValueError(
                f"task {self.name!r} is a sync function, but its ReusePolicy has concurrency="
                f"{self.reusable.concurrency}: only async tasks can share a worker; make it 'async def' or set "
                "concurrency=1"
            )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "image" in vars(cls):  # another default
            cls.image = cast(Any, _ImageField(cls.image))

    # What is compiled from a template is kept beside the fields, and dropped when one of them changes.
    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        state[name] = value
        if name != "_compiled" and "_compiled" in state:
            del state["_compiled"]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_compiled", None)
        state["image"] = self.image  # of this Python, not of the one that reads it
        state["parent_env"] = None  # a weak reference cannot be pickled, and the environment is not part of the task
        return state

    # Calling -----------------------------------------------------------------------------------------------------

    @overload
    def __call__(
        self: TaskTemplate[P, R, Callable[P, Coroutine[Any, Any, R]]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def __call__(self: TaskTemplate[P, R, Callable[P, R]], *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task.

        Outside a run this is :meth:`forward`: the body, with no conversion, retry or cache. Inside a run the call
        goes to the controller: an async task gives an awaitable, a sync task blocks and gives the value.

        :raises flyte.errors.SyncTaskCallInAsyncContextError: a sync task called in the blocking way from async code.
        """
        context = current.get()
        if context is None:
            return self.forward(*args, **kwargs)
        if self._call_as_synchronous:
            return self._wait_for(context, args, kwargs)
        return controller_of(context, self.name).submit(self, *args, **kwargs)

    def _wait_for(self, context: TaskContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if asyncio._get_running_loop() is not None:
            raise SyncTaskCallInAsyncContextError(
                f"sync task {self.name!r} was called in the blocking way from async code, which would park the event "
                f"loop and can hang the run; write 'await {self.short_name}.aio(...)' instead"
            )
        controller = controller_of(context, self.name)
        return wait_in_thread(context, controller.submit(self, *args, **kwargs))

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the task from async code, whether its function is sync or async.

        A sync body runs in a thread, so many of them run side by side under ``asyncio.gather``.

        :raises Exception: what the body raised; inside a run it is also a :class:`flyte.errors.RuntimeUserError`.
        """
        context = current.get()
        if context is not None:
            return cast(R, await controller_of(context, self.name).submit(self, *args, **kwargs))
        if self._call_as_synchronous:
            return await run_in_thread(cast(Any, self.forward), *args, **kwargs)
        return await cast("Coroutine[Any, Any, R]", self.forward(*args, **kwargs))

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R] | R:
        """The local behaviour of the task; what a call outside a run does.

        :raises NotImplementedError: the class does not say.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement forward(), its local behaviour")

    async def execute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What runs inside a run, within the task's context.

        :raises NotImplementedError: the class does not say.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement execute(), what runs inside a run")

    async def pre(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """Called before the body with the same arguments; what it returns is ``flyte.ctx().data`` in the body."""
        return {}

    async def post(self, return_vals: Any) -> Any:
        """Called after the body with its result; a result that is not None replaces it."""
        return return_vals

    # What a control plane is told --------------------------------------------------------------------------------

    def config(self, sctx: SerializationContext) -> dict[str, str]:
        """Key-value pairs for the task's runtime; default empty."""
        return {}

    def custom_config(self, sctx: SerializationContext) -> dict[str, Any]:
        """Nested values for the control plane's plugin; default empty."""
        return {}

    def container_args(
        self,
        sctx: SerializationContext | None = None,
        *,
        serialize_context: SerializationContext | None = None,
    ) -> list[str]:
        """The arguments of the task's container; default empty.

        The published API has the context under both names: give one of them.
        """
        return []

    def data_loading_config(self, sctx: SerializationContext) -> Any:
        """How inputs and outputs are side-loaded into a raw container; default None, nothing is."""
        return None

    def sql(self, sctx: SerializationContext) -> str | None:
        """The SQL statement of a query task; default None."""
        return None

    @property
    def native_interface(self) -> NativeInterface:
        """Parameters and results."""
        return self.interface

    @property
    def source_file(self) -> str | None:
        """The file that defines the task; None if there is none."""
        return None

    # Changing ----------------------------------------------------------------------------------------------------

    def override(
        self,
        *,
        short_name: str | None = NOT_GIVEN,
        resources: Resources | None = NOT_GIVEN,
        cache: CacheRequest | None = NOT_GIVEN,
        retries: int | RetryStrategy = NOT_GIVEN,
        timeout: TimeoutType | None = NOT_GIVEN,
        reusable: ReusePolicy | Literal["off"] | None = NOT_GIVEN,
        env_vars: dict[str, str] | None = NOT_GIVEN,
        secrets: SecretRequest | None = NOT_GIVEN,
        max_inline_io_bytes: int | None = NOT_GIVEN,
        pod_template: str | PodTemplate | None = NOT_GIVEN,
        queue: str | None = NOT_GIVEN,
        interruptible: bool | None = NOT_GIVEN,
        **kwargs: Any,
    ) -> Self:
        """A copy of the task with other values for some fields; what is not given, or given as None, is kept.

        :param reusable: ``"off"`` for a fresh process.
        :param env_vars: replaces all of them.
        :param kwargs: further fields, such as ``report``, ``triggers`` or ``plugin_config``.
        :raises ValueError: ``name``, ``image``, ``docs`` or ``interface``, which are what the task is; or a change of
            what a reusable environment's worker is made of without ``reusable="off"``.
        :raises TypeError: a field that the task does not have.
        """
        changes: dict[str, Any] = {
            "short_name": short_name,
            "resources": resources,
            "cache": cache,
            "retries": retries,
            "timeout": timeout,
            "reusable": reusable,
            "env_vars": env_vars,
            "secrets": secrets,
            "max_inline_io_bytes": max_inline_io_bytes,
            "pod_template": pod_template,
            "queue": queue,
            "interruptible": interruptible,
            **kwargs,
        }
        changes = {name: value for name, value in changes.items() if value is not NOT_GIVEN and value is not None}
        for fixed in ("name", "image", "docs", "interface"):
            if fixed in kwargs:
                raise ValueError(f"task {self.name!r}: {fixed} cannot be overridden; define another task instead")
        known = [f.name for f in fields(self) if f.init and not f.name.startswith("_")]
        for name in kwargs:
            if name not in known:
                raise TypeError(f"task {self.name!r}: override() has no parameter {name!r}{nearest(name, known)}")
        if changes.get("reusable") == "off":
            changes["reusable"] = None
        elif self.reusable is not None and "reusable" not in changes:
            for name in ("resources", "env_vars", "secrets"):
                if name in changes:
                    raise ValueError(
                        f"task {self.name!r} is reusable, so its {name} are those of workers that already run; "
                        f"pass reusable='off' in the same override() to change them"
                    )
        return replace(self, **changes)


declared: weakref.WeakValueDictionary[str, TaskTemplate[Any, Any, Any]] = weakref.WeakValueDictionary()
"""Full name -> the task that an environment of this process declares under it, the latest if there are several."""


@dataclass(kw_only=True, eq=False)
class AsyncFunctionTaskTemplate(TaskTemplate[P, R, F]):
    """A task that wraps a Python function; made by ``@env.task``.

    :param func: the function, sync or async.
    :param plugin_config: configuration of the plugin that runs it, if any.
    :param task_resolver: how the container finds the task again; None for the default.
    :raises ValueError: the function takes ``*args`` or ``**kwargs``.
    """

    func: F
    plugin_config: Any = None
    task_resolver: Any = None
    name: str = ""
    interface: NativeInterface = cast(NativeInterface, None)
    debuggable: bool = True

    def __post_init__(self) -> None:
        self.name = self.name or getattr(self.func, "__name__", "")
        if self.interface is None:
            self.interface = NativeInterface.from_callable(self.func)
        self._call_as_synchronous = not inspect.iscoroutinefunction(self.func)
        super().__post_init__()

    @property
    def native_interface(self) -> NativeInterface:
        """Parameters and results."""
        return self.interface

    @property
    def source_file(self) -> str | None:
        """The file that defines the function; None for one that was typed or generated."""
        code = getattr(inspect.unwrap(self.func), "__code__", None)
        filename = getattr(code, "co_filename", None)
        return None if filename is None or filename.startswith("<") else filename

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R] | R:
        """Exactly ``func(*args, **kwargs)``."""
        return cast("Coroutine[Any, Any, R] | R", self.func(*args, **kwargs))

    async def execute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``pre``, the function and ``post``; a sync function runs off the event loop, in a thread."""
        context = current.get()
        data = await self.pre(*args, **kwargs)
        if context is not None and data:
            context.data = data
        if self._call_as_synchronous:
            result: Any = await run_in_thread(self.func, *args, **kwargs)
        else:
            result = self.func(*args, **kwargs)
        while hasattr(result, "__await__"):  # also a gather that the body returned without awaiting it
            result = await result
        replaced = await self.post(result)
        return cast(R, result if replaced is None else replaced)

    def container_args(
        self,
        sctx: SerializationContext | None = None,
        *,
        serialize_context: SerializationContext | None = None,
    ) -> list[str]:
        """The arguments of the task's container: ``a0`` and what it needs to find, run and report the task.

        They hold template variables, which the control plane's executor fills in (wire-protocol section 5.1).

        :raises RuntimeSystemError: neither a pickled task nor a ``root_dir`` that the module's name is relative to.
        :raises flyte.errors.DeploymentError: the container could not find the task by module and variable.
        """
        context = sctx or serialize_context
        if context is None or (sctx is not None and serialize_context is not None):
            raise TypeError(f"task {self.name!r}: container_args() takes one SerializationContext")
        from flyte._core.image_cache import image_cache_from

        from .location import loader_of

        resolver, loader_args = DEFAULT_RESOLVER, cast("tuple[str, ...]", ())
        if context.code_bundle is None or context.code_bundle.pkl is None:
            resolver, loader_args = loader_of(self, context.root_dir)
        return container_args(
            version=context.version,
            input_path=context.input_path,
            output_path=context.output_path,
            image_cache=image_cache_from(context.image_cache),
            code_bundle=context.code_bundle,
            resolver=resolver,
            loader_args=loader_args,
        )


if TYPE_CHECKING:
    # One class at run time; these two spare type checkers, and readers of their messages, the overloads of the base.

    class AsyncTask(AsyncFunctionTaskTemplate[P, R, Callable[P, Coroutine[Any, Any, R]]]):
        """What ``@env.task`` makes of an async function, as type checkers see it."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...  # type: ignore[override]

    class SyncTask(AsyncFunctionTaskTemplate[P, R, Callable[P, R]]):
        """What ``@env.task`` makes of a plain function, as type checkers see it."""

        def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, *args: P.args, **kwargs: P.kwargs
        ) -> R: ...


def wait_in_thread(context: TaskContext, call: Coroutine[Any, Any, T]) -> T:
    """Run ``call`` on the run's event loop and block this thread until it has ended.

    :raises asyncio.CancelledError: the action of ``context`` was cancelled meanwhile.
    """
    future = asyncio.run_coroutine_threadsafe(call, context.execution.loop)
    try:
        return future.result()
    except concurrent.futures.CancelledError:
        # The standard library has two cancellation errors; only asyncio's passes an 'except Exception'.
        raise asyncio.CancelledError(f"action {context.name!r} was cancelled") from None


def refuse_call(context: TaskContext, callee: str) -> None:
    """Refuse a call that the context must not make; used by controllers before they run anything.

    :raises flyte.errors.TraceDoesNotAllowNestedTasksError: inside a traced function.
    :raises flyte.errors.ActionAbortedError: the caller was cancelled or its time was up.
    """
    if context.in_trace:
        raise TraceDoesNotAllowNestedTasksError(
            f"task {callee!r} was called inside the traced function {context.task_name!r}; a trace records one step, "
            "so call tasks from the task itself"
        )
    if context.calls.responsible().closed:
        raise ActionAbortedError(f"action {context.name!r} has ended, so it cannot start {callee!r}")


def controller_of(context: TaskContext, callee: str) -> Controller:
    """The controller that a call made in ``context`` goes to.

    :raises RuntimeSystemError: there is none.
    """
    controller = context.execution.controller
    if controller is None:
        raise RuntimeSystemError(
            "NoController", f"task {callee!r} was called in a task context that has no controller to run it"
        )
    return controller
