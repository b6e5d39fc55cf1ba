"""Values on their way into and out of a task, compiled once for each interface.

What crosses is isolated: the receiver sees what it would see on another machine, never the sender's own mutable
object. Controllers call this; it knows codecs, not tasks' policies.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from flyte._core.interface import NativeInterface
from flyte.errors import RuntimeDataValidationError, TypeTransformerFailedError
from flyte.types._engine import codec_for, generation
from flyte.types._inline import INLINE_BYTES, digest_of, positions_apart
from flyte.types._stored import dump_values, load_values, names_of, pack_literals, pack_name, wire_of

_MEMO = "boundary"


class Boundary:
    """How the values of one interface cross: a codec for each parameter and result, looked up once."""

    __slots__ = (
        "awaits",
        "canonical",
        "inputs",
        "interface",
        "keys",
        "names",
        "output_class",
        "output_keys",
        "outputs",
        "prefixes",
        "single",
        "single_wired",
        "takers",
    )

    def __init__(self, interface: NativeInterface) -> None:
        self.interface = interface
        self.names = tuple(interface.inputs)
        self.inputs = [codec_for(annotation) for annotation, _ in interface.inputs.values()]
        self.outputs = [(name, codec_for(annotation)) for name, annotation in interface.outputs.items()]
        self.output_class = interface.output_class
        # Canonical bytes of the inputs: name + ":" + value + ";" for each (wire-protocol section 6.2).
        self.prefixes = [f"{name}:".encode() for name in self.names]
        self.takers = [codec.transfer for codec in self.inputs]
        self.keys = [pack_name(name) for name in self.names]
        self.output_keys = [pack_name(name) for name, _ in self.outputs]
        self.canonical = all(codec.canonical for codec in self.inputs)
        # What takes long to encode is waited for as well, so that the event loop goes on while it is kept.
        self.awaits = any(c.awaits or c.blocks for c in (*self.inputs, *(codec for _, codec in self.outputs)))
        # One plain result is by far the commonest case.
        alone = len(self.outputs) == 1 and not self.awaits and self.output_class is None
        self.single = self.outputs[0][1].transfer_sized if alone else None
        self.single_wired = self.outputs[0][1].transfer_wired if alone else None

    def take(self, task_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], list[bytes]]:
        """The values as the body gets them, in order, and the canonical bytes of each with its name.

        :raises TypeError: an argument of the wrong type, unknown, or given twice.
        :raises ValueError: too many arguments, or a required one is missing.
        """
        values = args if not kwargs and len(args) == len(self.names) else self._bind(task_name, args, kwargs)
        taken = []
        pieces = []
        position = 0
        try:
            for take in self.takers:
                value, data = take(values[position])
                taken.append(value)
                pieces.append(b"%b%b;" % (self.prefixes[position], data))
                position += 1
        except TypeTransformerFailedError as error:
            raise self._refusal(task_name, position, error) from error.__cause__
        return taken, pieces

    async def take_awaiting(
        self, task_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any], list[bytes]]:
        """:meth:`take` where a value's conversion has to wait for something."""
        values = self._bind(task_name, args, kwargs)
        taken = []
        pieces = []
        for position, codec in enumerate(self.inputs):
            try:
                value, data = await codec.transfer_async(values[position])
            except TypeTransformerFailedError as error:
                raise self._refusal(task_name, position, error) from error.__cause__
            taken.append(value)
            pieces.append(b"%b%b;" % (self.prefixes[position], data))
        return taken, pieces

    def give(self, task_name: str, result: Any) -> tuple[Any, int]:
        """The result as the caller gets it, and its size in bytes.

        :raises RuntimeDataValidationError: the result is not what the annotation says.
        """
        if self.single is not None:
            try:
                return self.single(result)
            except TypeTransformerFailedError as error:
                raise RuntimeDataValidationError(self.outputs[0][0], error, task_name) from error.__cause__
        received = []
        size = 0
        for (name, codec), value in zip(self.outputs, self._results(task_name, result), strict=True):
            try:
                value, value_bytes = codec.transfer_sized(value)
            except TypeTransformerFailedError as error:
                raise RuntimeDataValidationError(name, error, task_name) from error.__cause__
            received.append(value)
            size += value_bytes
        return self._join(received), size

    def give_wired(self, task_name: str, result: Any) -> tuple[Any, int, bytes]:
        """:meth:`give`, and the result as bytes to keep, which :meth:`load` reads."""
        if self.single_wired is not None:
            try:
                taken, size, literal = self.single_wired(result)
            except TypeTransformerFailedError as error:
                raise RuntimeDataValidationError(self.outputs[0][0], error, task_name) from error.__cause__
            return taken, size, pack_literals(self.output_keys, (literal,))
        received, literals = [], []
        size = 0
        for (name, codec), value in zip(self.outputs, self._results(task_name, result), strict=True):
            try:
                value, value_bytes, literal = codec.transfer_wired(value)
            except TypeTransformerFailedError as error:
                raise RuntimeDataValidationError(name, error, task_name) from error.__cause__
            received.append(value)
            literals.append(literal)
            size += value_bytes
        return self._join(received), size, pack_literals(self.output_keys, literals)

    async def give_awaiting(self, task_name: str, result: Any) -> tuple[Any, int]:
        """:meth:`give` where a value's conversion has to wait for something."""
        received = []
        size = 0
        for (name, codec), value in zip(self.outputs, self._results(task_name, result), strict=True):
            try:
                value, data = await codec.transfer_async(value)
            except TypeTransformerFailedError as error:
                raise RuntimeDataValidationError(name, error, task_name) from error.__cause__
            received.append(value)
            size += len(data)
        return self._join(received), size

    def wire_inputs(self, values: Sequence[Any], pieces: Sequence[bytes]) -> bytes:
        """The inputs as bytes to keep.

        :param pieces: what :meth:`take` gave with the values.
        """
        if self.canonical:
            if len(self.prefixes) == 1:
                return pack_literals(self.keys, (pieces[0][len(self.prefixes[0]) : -1],))
            bare = [piece[len(prefix) : -1] for prefix, piece in zip(self.prefixes, pieces, strict=True)]
            return pack_literals(self.keys, bare)
        literals = [
            piece[len(prefix) : -1] if codec.canonical else wire_of(codec, value, piece[len(prefix) : -1])
            for codec, prefix, value, piece in zip(self.inputs, self.prefixes, values, pieces, strict=True)
        ]
        return pack_literals(self.keys, literals)

    def condensed(self, pieces: Sequence[bytes]) -> bytes:
        """Canonical bytes of the inputs in which what is too large for a message is replaced by its hash.

        :param pieces: of all inputs, or of those that tell calls apart.
        """
        prefixes = [piece[: piece.index(b":") + 1] for piece in pieces]  # no name holds a colon
        bare = [memoryview(piece)[len(prefix) : -1] for prefix, piece in zip(prefixes, pieces, strict=True)]
        apart = positions_apart([len(data) for data in bare])
        return b"".join(
            b"%b%b;" % (prefixes[i], digest_of(bare[i]).encode()) if i in apart else piece
            for i, piece in enumerate(pieces)
        )

    async def dump_inputs(self, values: Sequence[Any]) -> bytes:
        """:meth:`wire_inputs` where a value's conversion has to wait for something."""
        return await dump_values(zip(self.names, self.inputs, strict=True), values)

    def reference_bytes(self, values: Sequence[Any]) -> int:
        """How many bytes of the inputs are addresses of files and folders, which do not count as passed inline."""
        return sum(
            len(codec.transfer(value)[1])
            for codec, value in zip(self.inputs, values, strict=True)
            if codec.by_reference
        )

    async def identify(self, values: Sequence[Any], ignored: frozenset[str]) -> bytes:
        """The canonical bytes of the inputs, without those that do not tell calls apart."""
        pieces = []
        for name, prefix, codec, value in zip(self.names, self.prefixes, self.inputs, values, strict=True):
            if name not in ignored:
                pieces.append(b"%b%b;" % (prefix, (await codec.transfer_async(value))[1]))
        return self.condensed(pieces) if sum(map(len, pieces)) > INLINE_BYTES else b"".join(pieces)

    async def store_inputs(self, data: bytes) -> bytes:
        """What :meth:`wire_inputs` gave, with values that are too large stored apart.

        :raises TypeTransformerFailedError: one cannot be stored.
        """
        from flyte.types._offload import store_large

        return await store_large(data, zip(self.names, self.inputs, strict=True))

    async def store_outputs(self, data: bytes) -> bytes:
        """What :meth:`give_wired` gave, with values that are too large stored apart.

        :raises TypeTransformerFailedError: one cannot be stored.
        """
        from flyte.types._offload import store_large

        return await store_large(data, self.outputs)

    async def dump(self, result: Any) -> bytes:
        """A result as bytes to keep.

        :raises TypeTransformerFailedError: it does not fit its type.
        """
        alone = len(self.outputs) == 1 and self.output_class is None
        values = (result,) if alone else () if result is None else result
        return await dump_values(self.outputs, values)

    async def load(self, data: bytes) -> Any:
        """The result that :meth:`dump` made bytes of.

        :raises TypeTransformerFailedError: the bytes are damaged, or of another interface.
        """
        return self._join(await load_values(self.outputs, data))

    async def load_inputs(self, data: bytes) -> tuple[dict[str, Any], list[str]]:
        """The inputs that :meth:`wire_inputs` made bytes of, and names among them that are no parameters any more.

        :raises TypeTransformerFailedError: the bytes are damaged, or a value does not fit its parameter.
        """
        there = names_of(data)
        known = [(name, codec) for name, codec in zip(self.names, self.inputs, strict=True) if name in there]
        values = await load_values(known, data)
        return dict(zip([name for name, _ in known], values, strict=True)), sorted(there - set(self.names))

    def _bind(self, task_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
        try:
            return self.interface.bind(args, kwargs)
        except (TypeError, ValueError) as error:
            raise type(error)(f"task {task_name!r} {error}") from None

    def _refusal(self, task_name: str, position: int, error: TypeTransformerFailedError) -> TypeTransformerFailedError:
        return type(error)(f"task {task_name!r}: parameter {self.names[position]!r}: {error}")

    def _results(self, task_name: str, result: Any) -> Sequence[Any]:
        count = len(self.outputs)
        if count == 1 and self.output_class is None:
            return (result,)
        if count == 0:
            if result is None:
                return ()
            raise RuntimeDataValidationError(
                "return",
                f"returned a {type(result).__name__}, but its function declares no result; add '-> "
                f"{type(result).__name__}' or return nothing",
                task_name,
            )
        if not isinstance(result, (tuple, list)) or len(result) != count:
            got = f"{len(result)} values" if isinstance(result, (tuple, list)) else f"a {type(result).__name__}"
            names = ", ".join(name for name, _ in self.outputs)
            raise RuntimeDataValidationError("return", f"must be {count} values ({names}), but is {got}", task_name)
        return result

    def _join(self, received: list[Any]) -> Any:
        if self.output_class is not None:
            return self.output_class(*received)
        if len(received) == 1:
            return received[0]
        return tuple(received) if received else None


def boundary_of(interface: NativeInterface) -> Boundary:
    """The compiled form of ``interface``, made once, and again when a type has been registered since."""
    made = interface.memo.get(_MEMO)
    if made is None or made[0] != generation():
        made = interface.memo[_MEMO] = (generation(), Boundary(interface))
    compiled: Boundary = made[1]
    return compiled


def count_positional(func: Callable[..., Any] | None) -> tuple[int, int]:
    """How many parameters of ``func`` can only be passed by position, and how many can be passed so."""
    code = getattr(inspect.unwrap(func), "__code__", None) if func is not None else None
    return (0, 0) if code is None else (code.co_posonlyargcount, code.co_argcount)
