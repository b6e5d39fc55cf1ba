"""One compiled conversion: the base class of every codec, and the forms that all of them share.

A codec is built once per annotation by :mod:`flyte.types._engine` and used on every call. Subclasses define three
methods that raise :class:`Mismatch`: ``wire`` (value -> bytes of the literal), ``read`` (literal -> value) and ``take``
(value -> value as the receiver sees it, and canonical bytes). The public methods turn a Mismatch into the public error.
"""

from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Generic, TypeVar

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import LiteralType, TypeStructure

from flyte._core.interface import describe
from flyte._core.threads import run_in_thread
from flyte.errors import TypeTransformerFailedError
from flyte.types._hashing import canonical_bytes
from flyte.types._mismatch import Mismatch

T = TypeVar("T")

in_memory: ContextVar[bool] = ContextVar("flyte_types_in_memory", default=False)
"""Set while a value only crosses a boundary inside the process, so that nothing is written to storage."""

parse_literal: Callable[[bytes], Literal] = Literal.FromString


class Codec(Generic[T]):
    """How the values of one annotation travel.

    :param annotation: the annotation, as declared.
    :param name: the transformer's name on the wire, the tag of a union's variant.
    """

    awaits: bool = False
    """Whether only the async methods may be used."""
    by_reference: bool = False
    """Whether values are addresses of a content, which do not count as passed inline."""
    canonical: bool = False
    """Whether the canonical bytes that :meth:`transfer` gives are themselves a literal of the value."""
    maps: bool = False
    """Whether literals hold maps, whose order in deterministic bytes the protobuf library decides."""

    def __init__(self, annotation: Any, name: str) -> None:
        self.annotation = annotation
        self.name = name

    @property
    def blocks(self) -> bool:
        """Whether encoding and decoding may take long; the async methods then do it in a thread."""
        return False

    # What subclasses define ---------------------------------------------------------------------------------------

    def build_type(self) -> LiteralType:
        """The LiteralType; asked once."""
        raise NotImplementedError

    def wire(self, value: Any) -> bytes:
        """The deterministic bytes of the literal of a value."""
        raise NotImplementedError

    def read(self, literal: Literal) -> T:
        """The value of a literal."""
        raise NotImplementedError

    def take(self, value: Any) -> tuple[T, bytes]:
        """What :meth:`transfer` gives."""
        token = in_memory.set(True)
        try:
            literal = parse_literal(self.wire(value))
        finally:
            in_memory.reset(token)
        return self.read(literal), canonical_bytes(literal)

    def take_sized(self, value: Any) -> tuple[T, int]:
        """What :meth:`transfer_sized` gives."""
        taken, data = self.take(value)
        return taken, len(data)

    def wire_taken(self, value: Any, canonical: bytes) -> bytes:
        """:meth:`wire` of a value that :meth:`take` has just given, with its canonical bytes."""
        return self.wire(value)

    def take_inside(self, value: Any) -> tuple[T, bytes, bool] | None:
        """:meth:`take` for a union that holds the value; None where the union is to go through the literal.

        :returns: the value, its canonical bytes, and whether these are a hash rather than the literal itself.
        """
        return None

    def take_wired(self, value: Any) -> tuple[T, int, bytes]:
        """What :meth:`transfer_wired` gives."""
        taken, size = self.take_sized(value)
        return taken, size, self.wire(value)

    def accepts_class(self, cls: type) -> bool:
        """Whether values of exactly this class are this codec's own; a union asks."""
        return False

    def show(self, value: Any) -> str:
        """A value as HTML for a report; empty where its text does."""
        return ""

    async def make(self, value: Any) -> Literal:
        """The literal of a value, when a part of it must be awaited."""
        return parse_literal(self.wire(value))

    async def load(self, literal: Literal) -> T:
        """The value of a literal, when a part of it must be awaited."""
        return self.read(literal)

    # What everybody uses --------------------------------------------------------------------------------------------

    @cached_property
    def literal_type(self) -> LiteralType:
        """The LiteralType of the annotation; built on first use, not to be changed."""
        return self.build_type()

    @cached_property
    def value_type(self) -> LiteralType:
        """The LiteralType that the literal of a union's value names: tagged, without constraints."""
        return self.variant_type

    @cached_property
    def variant_type(self) -> LiteralType:
        """The LiteralType as a union names it: with the transformer's name as its tag."""
        tagged = LiteralType()
        tagged.CopyFrom(self.literal_type)
        tagged.structure.MergeFrom(TypeStructure(tag=self.name))  # replaces a tag, keeps a dataclass_type
        return tagged

    @cached_property
    def _description(self) -> str:
        return describe(self.annotation)

    def describe(self) -> str:
        """The expected type in readable words, such as ``list[int]``."""
        return self._description

    def encode(self, value: Any) -> Literal:
        """The literal of a value.

        :raises TypeTransformerFailedError: the value does not fit.
        """
        try:
            return parse_literal(self.wire(value))
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise self._too_deep(value) from error

    def decode(self, literal: Literal) -> T:
        """The value of a literal.

        :raises TypeTransformerFailedError: the literal is not one of this type.
        """
        try:
            return self.read(literal)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise Mismatch(self.describe(), got="a literal nested too deeply").failure() from error

    def transfer(self, value: Any) -> tuple[T, bytes]:
        """One trip over a boundary inside the process: the value as the receiver sees it, and canonical bytes.

        Means exactly ``decode(encode(value))`` and ``canonical_bytes(encode(value))``; values that cannot change pass
        by identity, and nothing is written to storage.

        :raises TypeTransformerFailedError: the value does not fit.
        """
        try:
            return self.take(value)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise self._too_deep(value) from error

    def transfer_sized(self, value: Any) -> tuple[T, int]:
        """:meth:`transfer` where only the number of bytes matters, as for a result, which no name is made from.

        :raises TypeTransformerFailedError: the value does not fit.
        """
        try:
            return self.take_sized(value)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise self._too_deep(value) from error

    def transfer_wired(self, value: Any) -> tuple[T, int, bytes]:
        """:meth:`transfer_sized`, and the bytes of the literal to keep, for which large values go to storage.

        :raises TypeTransformerFailedError: the value does not fit.
        """
        try:
            return self.take_wired(value)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise self._too_deep(value) from error

    async def encode_async(self, value: Any) -> Literal:
        """:meth:`encode`, for every codec."""
        if not self.awaits:
            return await run_in_thread(self.encode, value) if self.blocks else self.encode(value)
        try:
            return await self.make(value)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise self._too_deep(value) from error

    async def decode_async(self, literal: Literal) -> T:
        """:meth:`decode`, for every codec."""
        try:
            if literal.HasField("offloaded_metadata"):
                literal = await run_in_thread(read_offloaded, literal)
            if not self.awaits:
                return await run_in_thread(self.decode, literal) if self.blocks else self.decode(literal)
            return await self.load(literal)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__
        except RecursionError as error:
            raise Mismatch(self.describe(), got="a literal nested too deeply").failure() from error

    async def transfer_async(self, value: Any) -> tuple[T, bytes]:
        """:meth:`transfer`, for every codec."""
        if not self.awaits:
            return self.transfer(value)
        token = in_memory.set(True)
        try:
            literal = await self.encode_async(value)
        finally:
            in_memory.reset(token)
        return await self.decode_async(literal), canonical_bytes(literal)

    def _too_deep(self, value: Any) -> TypeTransformerFailedError:
        why = "it is nested too deeply, or contains itself"
        return Mismatch(self.describe(), got=f"a {type(value).__qualname__}", why=why).failure()

    def unexpected(self, literal: Literal) -> T:
        """Read a literal that is not of this codec's own form: unwrap it if it is wrapped, else refuse it."""
        if literal.HasField("offloaded_metadata"):
            return self.read(read_offloaded(literal))
        if literal.HasField("scalar") and literal.scalar.HasField("union"):
            return self.read(literal.scalar.union.value)
        raise Mismatch(self.describe(), got=describe_literal(literal))

    def __repr__(self) -> str:
        return f"<codec of {self.describe()}>"


def describe_literal(literal: Literal) -> str:
    """What form a literal has, in words; never its content."""
    which = literal.WhichOneof("value")
    if which is None:
        return "an empty literal"
    if which != "scalar":
        return f"a {which} literal"
    scalar = literal.scalar.WhichOneof("value")
    if scalar == "primitive":
        return f"a {literal.scalar.primitive.WhichOneof('value') or 'primitive'} literal"
    if scalar == "binary":
        tag = literal.scalar.binary.tag
        return f"a binary literal tagged {tag!r}" if tag else "a pickled literal"
    return f"a {scalar or 'scalar'} literal"


def read_offloaded(literal: Literal) -> Literal:
    """The literal that an offloaded one points to.

    :raises Mismatch: its file cannot be read, is damaged, or is not a literal.
    """
    from hashlib import sha256

    from google.protobuf.message import DecodeError

    from flyte.types._files import read_bytes
    from flyte.types._offload import ENDING

    uri = literal.offloaded_metadata.uri
    data = read_bytes(uri)
    name = uri.rpartition("/")[2]
    if name.endswith(ENDING) and sha256(data).hexdigest() != name.removesuffix(ENDING):
        raise Mismatch("an offloaded literal", got=f"a file that is damaged: {uri}")
    try:
        loaded = parse_literal(data)
    except DecodeError as error:
        raise Mismatch("an offloaded literal", got=f"a file that is not one: {uri}") from error
    if loaded.HasField("offloaded_metadata"):
        raise Mismatch("an offloaded literal", got=f"one that points to another: {uri}")
    return loaded
