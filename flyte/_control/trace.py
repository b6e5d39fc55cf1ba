"""Traced functions as steps of an action: their names, the context that their bodies run in, and their results in the
journal, from which a repeated or recovered action takes them.

:class:`StepCall` is what all steps share; :class:`Call` keeps them in the journal of this process, and
``remote_trace.SentCall`` on a control plane.
"""

import asyncio
import hashlib
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from weakref import ref

from flyte._core.context import TaskContext, current
from flyte._core.identity import ActionPhase, hash_data
from flyte._core.interface import NativeInterface
from flyte._core.log import logger
from flyte._definition.cache import dump_of_source
from flyte._definition.discovery import code_bytes
from flyte._journal import values
from flyte.errors import RuntimeSystemError, TaskTimeoutError, TypeTransformerFailedError
from flyte.types._engine import codec_for, generation
from flyte.types._stored import dump_values, load_values, pack_literals, pack_name, wire_of

from .boundary import Boundary, boundary_of
from .journal import Record

_RESULT = "o0"
_NAMES = (pack_name(_RESULT),)


class Step:
    """What is known of a traced function, compiled once."""

    __slots__ = ("_boxed", "_generation", "_typed", "_warned", "boundary", "identity", "name", "results", "version")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = name = function.__name__
        try:
            body = dump_of_source(function).encode()
        except (OSError, TypeError, SyntaxError):  # typed at a prompt or generated: there is no source to read
            body = code_bytes(function.__code__)
        self.version = hashlib.sha256(body).hexdigest()
        # Identity of a trace: its name and the hash of its syntax tree (wire-protocol section 6.2).
        self.identity = f"{name}-{self.version}"
        interface = NativeInterface.from_callable(function)
        declared: Any = None
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            annotation = next(iter(interface.outputs.values()), None)
            items = typing.get_args(annotation)
            declared = list[items[0]] if items else None  # type: ignore[valid-type]
            interface = NativeInterface(interface.inputs, {}, None)
        elif len(interface.outputs) == 1:
            declared = next(iter(interface.outputs.values()))
        elif interface.outputs:
            declared = tuple[tuple(interface.outputs.values())]  # type: ignore[misc]
        self.boundary: Boundary = boundary_of(NativeInterface(interface.inputs, {}, None))
        # A result that nothing is declared of is kept if it is of built-in types, which need no declaration.
        self._boxed = declared is None
        self.results = codec_for(dict if declared is None else declared)
        self._generation = generation()
        self._warned = False
        self._typed: Any = None

    def typed(self) -> Any:
        """The interface as it travels, with the result as it is kept; made once.

        :raises TypeError: a parameter that cannot travel.
        """
        if self._typed is None:
            from flyte.types._interface import typed_interface

            self._typed = typed_interface(self.boundary.interface)
            self._typed.outputs.variables.add(key=_RESULT).value.type.CopyFrom(self.results.literal_type)
        return self._typed

    @property
    def is_current(self) -> bool:
        """False when a type has been registered since."""
        return self._generation == generation()

    def pack(self, result: Any) -> bytes | None:
        """A result as bytes to keep; None, after one warning, where it cannot be kept."""
        try:
            return pack_literals(_NAMES, (wire_of(self.results, self._box(result)),))
        except (TypeTransformerFailedError, OSError) as error:
            self._say_lost(error)
            return None

    async def dump(self, result: Any) -> bytes | None:
        """:meth:`pack` for every type."""
        try:
            return await dump_values([(_RESULT, self.results)], [self._box(result)])
        except (TypeTransformerFailedError, OSError) as error:
            self._say_lost(error)
            return None

    def _say_lost(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "the result of traced function %r is not remembered, so a recovered run calls it again: %s. "
                "Annotate its result with a type that tasks can return",
                self.name,
                error,
            )

    async def load(self, data: bytes) -> Any:
        """What :meth:`dump` was given.

        :raises TypeTransformerFailedError: the bytes are damaged, or of another type.
        """
        (value,) = await load_values([(_RESULT, self.results)], data)
        return value["result"] if self._boxed else value

    def _box(self, result: Any) -> Any:
        return {"result": result} if self._boxed else result


_steps: dict[int, tuple["ref[Callable[..., Any]]", Step]] = {}
"""By id of the function, while it lives: a WeakKeyDictionary takes a microsecond longer to find one, at every call."""


def _step_of(function: Callable[..., Any]) -> Step:
    number = id(function)
    known = _steps.get(number)
    if known is not None and known[0]() is function and known[1].is_current:
        return known[1]
    step = Step(function)
    _steps[number] = (ref(function, lambda _: _steps.pop(number, None)), step)
    return step


class StepCall:
    """One call of a traced function: its name, its inputs, and the context that its body runs in.

    :raises TypeError: an argument of the wrong type, or unknown.
    :raises RuntimeSystemError: outside a run.
    """

    __slots__ = ("context", "inputs_hash", "parent", "pieces", "step", "taken")

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        parent = current.get()
        if parent is None:
            raise RuntimeSystemError("NoRun", "a traced function was recorded outside a run")
        self.step = step = _step_of(function)
        self.parent = parent
        self.taken, self.pieces = step.boundary.take(step.name, tuple(args), kwargs)
        data = b"".join(self.pieces)
        self.inputs_hash = inputs_hash = hash_data(data) if data else ""
        sequence = parent.calls.next_sequence(step.identity, inputs_hash, parent.group)
        context = TaskContext(parent.execution, parent, step.name, None, (inputs_hash, step.identity, sequence))
        context.in_trace = True
        context.data = parent.data
        context.runner = parent.runner
        self.context = context

    def pack(self, result: Any) -> bytes | None:
        """The result of a sync function as bytes to keep; None where it cannot be kept."""
        step = self.step
        packed: bytes | None = at_once(step.dump(result)) if step.results.awaits else step.pack(result)
        return packed

    async def pack_awaiting(self, result: Any) -> bytes | None:
        """:meth:`pack`, for an async function."""
        step = self.step
        return await step.dump(result) if step.results.awaits else step.pack(result)


class Call(StepCall):
    """One call of a traced function, and what the journal knows of it.

    :raises TypeError: an argument of the wrong type, or unknown.
    :raises RuntimeSystemError: outside a run.
    """

    __slots__ = ("is_kept", "journal", "may_be_known", "record")

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        super().__init__(function, args, kwargs)
        step, parent = self.step, self.parent
        self.journal = parent.execution.journal if parent.calls.record is not None else None
        self.is_kept = self.journal is not None
        self.record: Record | None = None
        self.may_be_known = False
        """Whether an earlier attempt or run may have made this call."""
        if self.journal is not None:
            record = self.journal.begin_step(step.name, step.version, self.context, self.inputs_hash)
            record.inputs = step.boundary.wire_inputs(self.taken, self.pieces)
            self.record = record
            self.may_be_known = record.again or self.journal.past is not None
            if not self.may_be_known:
                self.journal.started(record)

    async def found(self) -> tuple[bool, Any]:
        """Whether the call was made before, and its result then."""
        record, journal = self.record, self.journal
        if record is None or journal is None or not self.may_be_known:
            return False, None
        earlier = journal.look_up(record, self.step.version, self.step.name)
        if earlier is None:
            journal.started(record)
            return False, None
        try:
            result = await self.step.load(values.fetch(earlier.outputs))
        except (OSError, ValueError, TypeTransformerFailedError) as error:
            logger.warning("the earlier result of trace %r cannot be read, so it runs again: %s", self.step.name, error)
            return False, None
        if earlier.action != record.id:
            journal.recovered_soon(record, earlier)
        return True, result

    async def keep(self, result: Any) -> None:
        """The call has ended well; its result is written for good when this returns."""
        if self.record is not None and self.journal is not None:
            step = self.step
            self.record.outputs = await step.dump(result) if step.results.awaits else step.pack(result)
            if not self.journal.succeeded_alone(self.record):
                await self.journal.written(self.record)

    def found_at_once(self) -> tuple[bool, Any]:
        """:meth:`found`, for a sync function."""
        found: tuple[bool, Any] = at_once(self.found())
        return found

    def keep_at_once(self, result: Any) -> None:
        """:meth:`keep`, for a sync function."""
        if self.record is not None and self.journal is not None:
            self.record.outputs = self.pack(result)
            self.journal.succeeded_at_once(self.record)

    def failed(self, error: BaseException) -> None:
        """The call has ended otherwise. Other kinds of calls may give something to await."""
        if self.record is not None and self.journal is not None:
            self.journal.failed(self.record, phase_of(error), error)

    failed_at_once = failed
    """:meth:`failed`, for a sync function."""


def phase_of(error: BaseException) -> ActionPhase:
    """The terminal phase of an action that ended with ``error``."""
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)):
        return ActionPhase.ABORTED
    return ActionPhase.TIMED_OUT if isinstance(error, TaskTimeoutError) else ActionPhase.FAILED


def at_once(call: Any) -> Any:
    """The result of a coroutine that has nothing to wait for.

    :raises TypeTransformerFailedError: it has, because a value's conversion waits for something.
    """
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    call.close()
    raise TypeTransformerFailedError("expected a value whose conversion waits for nothing, inside a sync function")


# The four kinds of traced functions -----------------------------------------------------------------------------------

Make = Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]
"""Makes what keeps a call: :class:`Call`, or a class with its methods."""


async def trace_async(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], make: Make = Call
) -> Any:
    """Run an async function as a step of the current action."""
    call = make(function, args, kwargs)
    if call.may_be_known:
        known, result = await call.found()
        if known:
            return result
    token = current.set(call.context)
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        left = call.failed(error)
        if left is not None:
            await left
        raise
    finally:
        current.reset(token)
    await call.keep(result)
    return result


def trace_sync(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], make: Make = Call) -> Any:
    """Run a sync function as a step of the current action."""
    call = make(function, args, kwargs)
    if call.may_be_known:
        known, result = call.found_at_once()
        if known:
            return result
    token = current.set(call.context)
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        call.failed_at_once(error)
        raise
    finally:
        current.reset(token)
    call.keep_at_once(result)
    return result


async def trace_async_items(
    function: Callable[..., AsyncIterator[Any]], args: Sequence[Any], kwargs: dict[str, Any], make: Make = Call
) -> AsyncIterator[Any]:
    """Run an async generator as a step; its items are remembered when it has given the last one."""
    call = make(function, args, kwargs)
    known, kept = await call.found()
    if known:
        for item in kept:
            yield item
        return
    items = []
    source = function(*args, **kwargs)
    try:
        while True:
            # The generator's body sees its own context, whoever takes the item does not.
            token = current.set(call.context)
            try:
                item = await anext(source)
            except StopAsyncIteration:
                break
            finally:
                current.reset(token)
            if call.is_kept:
                items.append(item)
            yield item
    except BaseException as error:
        left = call.failed(error)
        if left is not None:
            await left
        raise
    finally:
        await source.aclose()  # type: ignore[attr-defined]
    await call.keep(items)


def trace_items(
    function: Callable[..., Iterator[Any]], args: Sequence[Any], kwargs: dict[str, Any], make: Make = Call
) -> Iterator[Any]:
    """Run a generator as a step; its items are remembered when it has given the last one."""
    call = make(function, args, kwargs)
    known, kept = call.found_at_once()
    if known:
        yield from kept
        return
    items = []
    source = function(*args, **kwargs)
    try:
        while True:
            token = current.set(call.context)
            try:
                item = next(source)
            except StopIteration:
                break
            finally:
                current.reset(token)
            if call.is_kept:
                items.append(item)
            yield item
    except BaseException as error:
        call.failed_at_once(error)
        raise
    finally:
        source.close()  # type: ignore[attr-defined]
    call.keep_at_once(items)
