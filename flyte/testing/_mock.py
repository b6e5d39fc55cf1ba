"""mock(): a stand-in for a task, in runs and in plain calls alike."""

import copy
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from flyte._control.boundary import boundary_of, count_positional
from flyte._definition.cache import Cache
from flyte._definition.task import NOT_GIVEN, AsyncFunctionTaskTemplate, TaskTemplate

__all__ = ["mock"]

C = TypeVar("C", bound=Callable[..., Any])

_active: dict[str, list["mock"]] = {}
"""Full name of a task -> the mocks of it that are in force, the latest last."""
_lock = threading.Lock()


class mock:
    """A stand-in for a task: ``with mock(charge, result="ok") as charged: ...``, or a decorator of a test.

    While it is in force every call of the task, from any workflow and with any ``override()``, gets the stand-in. It
    crosses the task's boundary as the body would: arguments and results must fit the interface, and retries, timeouts
    and the manual clock apply. Its results are never cached.

    :param task: the task to stand in for.
    :param function: called in place of the body with the task's own parameters; sync or async.
    :param result: what each call gives; it must fit the task's return annotation.
    :param side_effect: an exception or exception class to raise, or an iterable with what each call in turn gives;
        exceptions in it are raised.
    :raises TypeError: ``task`` is no task; more than one of ``function``, ``result`` and ``side_effect`` was given, or
        none for a task that returns something; or ``function`` cannot take the task's parameters.
    :raises flyte.errors.RuntimeDataValidationError: ``result`` does not fit the annotation.
    """

    def __init__(
        self,
        task: TaskTemplate[Any, Any, Any],
        function: Callable[..., Any] | None = None,
        *,
        result: Any = NOT_GIVEN,
        side_effect: BaseException | type[BaseException] | Iterable[Any] | None = None,
    ) -> None:
        if not isinstance(task, TaskTemplate):
            raise TypeError(f"mock takes a task, made with @env.task, but got {type(task).__name__} {task!r}")
        given = [function is not None, result is not NOT_GIVEN, side_effect is not None]
        if sum(given) > 1:
            raise TypeError(f"mock of task {task.name!r} takes one of function, result and side_effect, not several")
        if not any(given):
            if task.interface.outputs:
                raise TypeError(
                    f"mock of task {task.name!r} needs what its calls give: result=..., side_effect=... or a function"
                )
            result = None
        self.task = task
        self.calls: list[dict[str, Any]] = []
        """The arguments of each call, by name, in the order of the calls; a repeated attempt is a call of its own."""
        self._function = function
        self._result = result
        self._error: BaseException | type[BaseException] | None = None
        self._items: Iterator[Any] | None = None
        if isinstance(side_effect, BaseException) or _is_exception_class(side_effect):
            self._error = cast("BaseException | type[BaseException]", side_effect)
        elif side_effect is not None:
            if not isinstance(side_effect, Iterable):
                raise TypeError(
                    f"side_effect takes an exception or an iterable of results, but got {side_effect!r}; pass a "
                    "function as mock(task, function)"
                )
            self._items = iter(side_effect)
        if function is not None:
            _check_function(task, function)
        if result is not NOT_GIVEN and not boundary_of(task.interface).awaits:
            boundary_of(task.interface).give(task.name, result)
        self._kept: list[dict[str, Any]] = []

    @property
    def call_count(self) -> int:
        """How many calls were made."""
        return len(self.calls)

    # In force ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._kept.append(self._put_on(self.task))
        with _lock:
            _active.setdefault(self.task.name, []).append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _lock:
            _active[self.task.name].remove(self)
            if not _active[self.task.name]:
                del _active[self.task.name]
        for name, value in self._kept.pop().items():
            if value is NOT_GIVEN:
                del self.task.__dict__[name]
            else:
                setattr(self.task, name, value)
        self.task.__dict__.pop("_compiled", None)

    def __call__(self, test: C) -> C:
        """Decorate a test, sync or async: the mock is in force while it runs."""
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def mocked_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await test(*args, **kwargs)

            return cast(C, mocked_async)

        @functools.wraps(test)
        def mocked(*args: Any, **kwargs: Any) -> Any:
            with self:
                return test(*args, **kwargs)

        return cast(C, mocked)

    def __repr__(self) -> str:
        return f"mock({self.task.name!r}, {len(self.calls)} calls)"

    def standing_in(self, task: TaskTemplate[Any, Any, Any]) -> TaskTemplate[Any, Any, Any]:
        """``task``, a copy of the mocked one with other settings, with the stand-in in it."""
        changed = copy.copy(task)
        self._put_on(changed)
        return changed

    def _put_on(self, task: TaskTemplate[Any, Any, Any]) -> dict[str, Any]:
        """Put the stand-in in the place of the body, and give what was there."""
        stand_in = self._stand_in_async() if _is_async(task) else self._stand_in_sync()
        changes: dict[str, Any] = {"cache": Cache("disable")}
        if isinstance(task, AsyncFunctionTaskTemplate):
            changes["func"] = stand_in
        if type(task).execute is not AsyncFunctionTaskTemplate.execute:
            changes |= {"execute": self._stand_in_async(), "forward": stand_in}
        kept = {name: task.__dict__.get(name, NOT_GIVEN) for name in changes}
        for name, value in changes.items():
            setattr(task, name, value)
        return kept

    def _stand_in_async(self) -> Callable[..., Any]:
        async def stand_in(*args: Any, **kwargs: Any) -> Any:
            result = self._answer(args, kwargs)
            return await result if inspect.isawaitable(result) else result

        return _marked(stand_in, self)

    def _stand_in_sync(self) -> Callable[..., Any]:
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return self._answer(args, kwargs)

        return _marked(stand_in, self)

    def _answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        interface = self.task.interface
        values = dict(zip(interface.inputs, interface.bind(args, kwargs), strict=True))
        with _lock:
            self.calls.append(values)
            item = next(self._items, _END) if self._items is not None else NOT_GIVEN
        if item is _END:
            raise AssertionError(
                f"the mock of task {self.task.name!r} was called {len(self.calls)} times, but its side_effect gives "
                f"{len(self.calls) - 1} results"
            )
        if item is NOT_GIVEN:
            item = self._error if self._error is not None else self._result
        if self._function is not None:
            by_position, _ = count_positional(self._function)
            names = list(values)
            return self._function(
                *[values[name] for name in names[:by_position]], **{name: values[name] for name in names[by_position:]}
            )
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, type) and issubclass(item, BaseException):
            raise item()
        return item


_END = object()
_MARK = "_flyte_mock"


def _marked(stand_in: Callable[..., Any], by: mock) -> Callable[..., Any]:
    setattr(stand_in, _MARK, by)
    return stand_in


def mocked(task: TaskTemplate[Any, Any, Any]) -> TaskTemplate[Any, Any, Any] | None:
    """The task to run in place of ``task``; None if nothing stands in for it."""
    body = getattr(task, "func", None) or task.__dict__.get("execute")
    if hasattr(body, _MARK):
        return task
    with _lock:
        active = _active.get(task.name)
    return active[-1].standing_in(task) if active else None


def _is_async(task: TaskTemplate[Any, Any, Any]) -> bool:
    return not task._call_as_synchronous


def _is_exception_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _check_function(task: TaskTemplate[Any, Any, Any], function: Callable[..., Any]) -> None:
    if not callable(function):
        raise TypeError(f"mock of task {task.name!r} takes a function, but got {function!r}; for a value use result=")
    if isinstance(function, TaskTemplate):
        raise TypeError(f"mock of task {task.name!r} takes a function, but got task {function.name!r}; use its .func")
    if inspect.iscoroutinefunction(function) and not _is_async(task):
        raise TypeError(f"task {task.name!r} is a sync function, so its mock's function must be one, too")
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C
        return
    by_position, _ = count_positional(function)
    names = list(task.interface.inputs)
    given: Mapping[str, None] = dict.fromkeys(names[by_position:])
    try:
        signature.bind(*[None] * len(names[:by_position]), **given)
    except TypeError as error:
        raise TypeError(
            f"the function of the mock of task {task.name!r} cannot take its parameters ({', '.join(names)}): {error}"
        ) from None
