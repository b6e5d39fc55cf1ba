"""``flyte.new_condition``: a point in a workflow where it waits for a person, or a program, to say something."""

import asyncio
import datetime
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast, overload

from flyte._core.context import Execution, TaskContext, current
from flyte.errors import NotInTaskContextError, RuntimeUserError, SyncTaskCallInAsyncContextError

from .task import controller_of, wait_in_thread

T = TypeVar("T")
R = TypeVar("R")

PromptType = Literal["text", "markdown"]
MAX_PROMPT_CHARACTERS = 4096
"""Of a condition's prompt; its description may have half of it (wire-protocol section 6.3)."""
MAX_DESCRIPTION_CHARACTERS = 2048


@dataclass(frozen=True)
class ConditionWebhook:
    """An address that is called when a run begins to wait for a condition.

    :param url: gets a POST request; ``http://`` or ``https://``.
    :param payload: sent as JSON. In its texts ``{callback_uri}`` stands for where to answer: a run in this process has
        no address, so it becomes the command that answers, ``flyte signal RUN NAME VALUE``.
    :raises ValueError: the URL is not one of http.
    """

    url: str
    payload: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not self.url.startswith(("http://", "https://")):
            raise ValueError(f"ConditionWebhook(url={self.url!r}) must begin with http:// or https://")
        if self.payload is not None and not isinstance(self.payload, dict):
            raise TypeError(f"ConditionWebhook(payload=...) takes a dict, but got {type(self.payload).__name__}")


class Condition(Generic[T]):
    """A condition of the running action; see :func:`flyte.new_condition`."""

    def __init__(
        self,
        name: str,
        prompt: str,
        prompt_type: PromptType,
        data_type: Any,
        description: str,
        timeout: datetime.timedelta | float | None,
        webhook: ConditionWebhook | None,
    ) -> None:
        self.name = _checked_text("name", name, 200)
        if not name.strip() or not name.isprintable():
            raise ValueError(f"new_condition(name={name!r}) must be a line of text, and not empty")
        self.prompt = _checked_text("prompt", prompt, MAX_PROMPT_CHARACTERS)
        if prompt_type not in ("text", "markdown"):
            raise ValueError(f"new_condition({name!r}, prompt_type={prompt_type!r}) is 'text' or 'markdown'")
        self.prompt_type = prompt_type
        self.data_type = data_type
        self.description = _checked_text("description", description, MAX_DESCRIPTION_CHARACTERS)
        self.timeout = timeout
        self.timeout_s = _seconds(name, timeout)
        if webhook is not None and not isinstance(webhook, ConditionWebhook):
            raise TypeError(
                f"new_condition({name!r}, webhook=...) takes a flyte.ConditionWebhook, but got {type(webhook).__name__}"
            )
        self.webhook = webhook
        self._wait: Callable[[], Coroutine[Any, Any, T]] | None = None
        self._run: Execution | None = None
        _check_type(name, data_type)

    @property
    def wait(self) -> "WaitMethod[T]":
        """Wait for the value; from async code ``await condition.wait.aio()``."""
        return WaitMethod(self)

    def __repr__(self) -> str:
        return f"Condition({self.name!r}, prompt={self.prompt!r}, data_type={self.data_type!r})"


class WaitMethod(Generic[T]):
    """``Condition.wait``: blocking when called, and awaited as ``.aio``."""

    def __init__(self, condition: Condition[T]) -> None:
        self._condition = condition

    def __call__(self) -> T:
        """Block until somebody has answered, and give the value; once answered it is given at once.

        :raises flyte.errors.ConditionTimedoutError: nobody did within the condition's ``timeout``.
        :raises flyte.errors.ConditionAlreadyExistsError: the run already waits for a condition of that name.
        :raises flyte.errors.NotInTaskContextError: outside a run.
        :raises flyte.errors.SyncTaskCallInAsyncContextError: in async code; use ``.aio()``.
        """
        _refuse_blocking(f"condition {self._condition.name!r} was waited for", "await condition.wait.aio()")
        context = _context_for_waiting(self._condition)
        return wait_in_thread(context, _wait(self._condition, context))

    async def aio(self) -> T:
        """The same for async code."""
        context = _context_for_waiting(self._condition)
        return await _on_loop_of(context, _wait(self._condition, context))


class _NewCondition:
    """``flyte.new_condition``."""

    @overload
    def __call__(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        *,
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[bool]: ...
    @overload
    def __call__(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        *,
        data_type: type[T],
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[T]: ...
    @overload
    def __call__(
        self,
        name: str,
        /,
        prompt: str,
        prompt_type: PromptType,
        data_type: type[T],
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[T]: ...
    @overload
    def __call__(  # a union is no class to a type checker
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        *,
        data_type: Any,
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[Any]: ...
    def __call__(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        data_type: Any = bool,
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[Any]:
        """Ask for a value from outside: the run waits, in phase PAUSED, when :meth:`Condition.wait` is called.

        It can be answered from the moment this returns: by ``flyte signal RUN NAME VALUE``, by Python with
        ``flyte.signal(run, name, value)``, or where the run was started, if that is a terminal and ``FLYTE_PROMPT`` is
        not ``off``. A run that was killed meanwhile and is recovered goes on with the value that was given, and asks no
        second time for the same: same name and caller, prompt and type.

        :param name: tells it from others that the run waits for at the same time.
        :param prompt: the question, shown to whom it is put; at most 4096 characters.
        :param prompt_type: ``"text"`` or ``"markdown"``, which a terminal shows as it is written.
        :param data_type: type of the value: bool, or any other that a task can return.
        :param description: more about the question; at most 2048 characters.
        :param timeout: how long to wait, in seconds or as a timedelta, from the moment the condition was first
            reached, restarts included; None for as long as it takes.
        :param webhook: an address to call once it can be answered.
        :raises TypeError: an argument of the wrong type, or a ``data_type`` that no task could return.
        :raises ValueError: an empty name, a text that is too long, a timeout that is not positive.
        :raises flyte.errors.ConditionAlreadyExistsError: the run already waits for a condition of that name.
        :raises flyte.errors.SyncTaskCallInAsyncContextError: in async code; use ``await flyte.new_condition.aio()``.
        """
        condition = Condition[Any](name, prompt, prompt_type, data_type, description, timeout, webhook)
        context = current.get()
        if context is not None:
            _refuse_blocking(f"new_condition({name!r}) was called", f"await flyte.new_condition.aio({name!r}, ...)")
            wait_in_thread(context, _register(condition, context))
        return condition

    @overload
    async def aio(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        *,
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[bool]: ...
    @overload
    async def aio(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        *,
        data_type: type[T],
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[T]: ...
    @overload
    async def aio(
        self,
        name: str,
        /,
        prompt: str,
        prompt_type: PromptType,
        data_type: type[T],
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[T]: ...
    @overload
    async def aio(  # a union is no class to a type checker
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        *,
        data_type: Any,
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[Any]: ...
    async def aio(
        self,
        name: str,
        /,
        prompt: str = "Approve?",
        prompt_type: PromptType = "text",
        data_type: Any = bool,
        description: str = "",
        timeout: datetime.timedelta | float | None = None,
        webhook: ConditionWebhook | None = None,
    ) -> Condition[Any]:
        """The same for async code."""
        condition = Condition[Any](name, prompt, prompt_type, data_type, description, timeout, webhook)
        context = current.get()
        if context is not None:
            await _on_loop_of(context, _register(condition, context))
        return condition

    def __repr__(self) -> str:
        return "<function flyte.new_condition, also .aio>"


new_condition = _NewCondition()


async def _register(condition: Condition[Any], context: TaskContext) -> None:
    condition._wait = await controller_of(context, condition.name).condition(condition)
    condition._run = context.execution


async def _wait(condition: Condition[T], context: TaskContext) -> T:
    if condition._wait is not None:
        if condition._run is not context.execution:
            raise RuntimeUserError(
                "ConditionOfAnotherRun",
                f"condition {condition.name!r} was made in another run; make one in each run that waits for it",
            )
        return await condition._wait()
    # Made outside a run, perhaps for several: it is registered with each that waits for it.
    wait = await controller_of(context, condition.name).condition(condition)
    return cast(T, await wait())


def _context_for_waiting(condition: Condition[Any]) -> TaskContext:
    context = current.get()
    if context is None:
        raise NotInTaskContextError(
            "NotInTaskContextError",
            f"condition {condition.name!r} can be waited for in a task only; outside a run there is nobody to answer",
        )
    return context


def _refuse_blocking(what: str, instead: str) -> None:
    if asyncio._get_running_loop() is not None:
        raise SyncTaskCallInAsyncContextError(
            f"{what} in the blocking way from async code, which would park the event loop; write '{instead}' instead"
        )


async def _on_loop_of(context: TaskContext, call: Coroutine[Any, Any, R]) -> R:
    """Await ``call`` on the event loop of the run, whichever one this is."""
    loop = context.execution.loop
    if asyncio.get_running_loop() is loop:
        return await call
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, loop))


def _checked_text(parameter: str, text: object, most: int) -> str:
    if not isinstance(text, str):
        raise TypeError(f"new_condition({parameter}=...) takes a string, but got {type(text).__name__} {text!r}")
    if len(text) > most:
        raise ValueError(f"new_condition({parameter}=...) has {len(text):,} characters; at most {most:,} are shown")
    return text


def _seconds(name: str, timeout: object) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, datetime.timedelta):
        seconds = timeout.total_seconds()
    elif isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        seconds = float(timeout)
    else:
        raise TypeError(
            f"new_condition({name!r}, timeout={timeout!r}) takes seconds or a timedelta, not a {type(timeout).__name__}"
        )
    if not 0 < seconds < float("inf"):
        raise ValueError(f"new_condition({name!r}, timeout={timeout!r}) must be positive")
    return seconds


def _check_type(name: str, data_type: Any) -> None:
    if data_type in (bool, int, float, str):
        return
    from flyte.types._engine import codec_for

    try:
        codec_for(data_type).literal_type  # noqa: B018 (made on first use, which is what fails)
    except TypeError as error:
        raise TypeError(
            f"new_condition({name!r}, data_type={data_type!r}) cannot be a task's result: {error}"
        ) from None
