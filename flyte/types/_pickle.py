"""Values that travel pickled: the closed set of built-in types, and everything that nothing else fits.

Closed types are read by an unpickler that knows their classes and no others, so reading them runs no code. Open ones
need full cloudpickle, whose reading may run anything; ``FLYTE_PICKLE=forbid`` refuses that. Which of the two reads a
literal is decided by the declared type alone.
"""

import enum
import hashlib
import importlib
import io
import mmap
import pickle
import typing
from typing import Any, BinaryIO, ClassVar, Generic, TypeVar

from flyteidl2.core.literals_pb2 import Blob, BlobMetadata, Literal, Scalar
from flyteidl2.core.types_pb2 import BlobType, LiteralType, SimpleType, TypeStructure, UnionType

from flyte.types import _framing as framing
from flyte.types._annotations import enums_in, pickle_policy, resolve
from flyte.types._codec import Codec, in_memory
from flyte.types._files import is_remote, keep, opened, raw_folder
from flyte.types._mismatch import Mismatch
from flyte.types._raw_data import raw_data_path

T = TypeVar("T")

INLINE_BYTES = 10 * 1024
"""Pickles longer than this many bytes are kept in a file instead of inside the literal."""

TAG = "FlytePickle"
FORMAT = "PythonPickle"
_PROTOCOL = 5  # the one that every supported Python and the peers write

# Every global that a pickle of the closed set may name, and nothing else. None of them runs code of the data's choice.
_CLOSED_GLOBALS: dict[tuple[str, str], str] = {
    (module, name): module
    for module, names in {
        "builtins": ("complex", "frozenset", "range", "set"),
        "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
        "decimal": ("Decimal",),
        "uuid": ("UUID", "SafeUUID"),
        "pathlib": ("PurePath", "PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath", "Path"),
    }.items()
    for name in names
}
_MOVED = {("pathlib._local", name): ("pathlib", name) for _, name in list(_CLOSED_GLOBALS) if "Path" in name}


class FlytePickle(Generic[T]):
    """Annotate a value with ``FlytePickle[T]`` to send it pickled on purpose.

    Reading a pickle may run code, so it is only read where it was declared.
    """

    @classmethod
    def python_type(cls) -> type:
        """The class that is pickled."""
        return type(None)

    @classmethod
    async def to_pickle(cls, python_val: Any) -> str:
        """Write a value's pickle to the raw-data path; returns its URI."""
        return _write_blob(_dump_open(python_val))

    @classmethod
    async def from_pickle(cls, uri: str) -> Any:
        """Read the value of a pickle file.

        :raises TypeTransformerFailedError: open pickles are forbidden, or the file is not readable.
        """
        try:
            with opened(uri) as file:
                return _load_open(file, "a pickled value")
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__


class ClosedUnpickler(pickle.Unpickler):
    """An unpickler that admits the closed set of built-in types, and Enum classes that were declared.

    :param file: holds the pickle.
    :param declared: Enum classes of the annotation.
    """

    def __init__(self, file: BinaryIO, declared: dict[tuple[str, str], type[enum.Enum]]) -> None:
        super().__init__(file)
        self._declared = declared

    def find_class(self, module: str, name: str) -> Any:
        module, name = _MOVED.get((module, name), (module, name))
        declared = self._declared.get((module, name))
        if declared is not None:
            return declared
        if (module, name) == ("builtins", "getattr"):
            return self._attribute
        if (module, name) == ("zoneinfo", "ZoneInfo"):
            return _ZONES
        if (module, name) == ("fractions", "Fraction"):
            return _fraction
        owner = _CLOSED_GLOBALS.get((module, name))
        if owner is None:
            raise pickle.UnpicklingError(f"the pickle names {module}.{name}, which is not of the closed set")
        return getattr(importlib.import_module(owner), name)

    def _attribute(self, owner: Any, name: Any) -> Any:
        # Time zones, and in some versions of Python the members of an Enum, are pickled as attributes of their class.
        if owner is _ZONES and name == "_unpickle":
            return _zone
        if type(name) is str and any(owner is cls for cls in self._declared.values()):
            return owner.__members__[name]
        raise pickle.UnpicklingError("the pickle asks for an attribute that is not of the closed set")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("the pickle refers to an object outside itself")


_ZONES: Any = object()  # stands for the class, which must not be called with a key that was not checked


def _zone(key: Any, from_cache: Any) -> Any:
    # A key becomes a path and the name of a data package, so only the letters of real keys are let through.
    if type(key) is not str or not key.replace("/", "").replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise pickle.UnpicklingError("the pickle names a time zone that is none")
    from zoneinfo import ZoneInfo

    return ZoneInfo(key) if from_cache else ZoneInfo.no_cache(key)


def _fraction(*parts: Any) -> Any:
    from flyte.types._leaves import read_fraction

    if len(parts) == 1 and type(parts[0]) is str:
        return read_fraction(parts[0])
    from fractions import Fraction

    if not parts or any(type(part) is not int for part in parts):
        raise pickle.UnpicklingError("the pickle names a fraction that is none")
    return Fraction(*parts)


def load_closed(file: BinaryIO, declared: dict[tuple[str, str], type[enum.Enum]], words: str) -> Any:
    """The value of a pickle of the closed set.

    :raises Mismatch: it is not one.
    """
    try:
        return ClosedUnpickler(file, declared).load()
    except MemoryError as error:
        raise Mismatch(words, got="a pickle that is too large or not one") from error
    except Exception as error:  # garbage makes an unpickler raise nearly anything
        raise Mismatch(words, got=f"a pickle that is not of this type ({type(error).__name__}: {error})") from error


class Dump:
    """A value's pickle, whose large parts are not copied: they stay where they are in the value.

    :param pieces: the pickle in pieces.
    :param buffers: what pickle leaves out of line, such as the memory of an array.
    :param again: writes the whole pickle, buffers in line, to a file; needed where there are buffers.
    """

    __slots__ = ("_again", "_pieces", "buffers", "size_bytes")

    def __init__(
        self,
        pieces: "tuple[bytes, ...]",
        buffers: "list[memoryview] | None" = None,
        again: "typing.Callable[[BinaryIO], None] | None" = None,
    ) -> None:
        self._pieces = pieces
        self.buffers = buffers or []
        self._again = again
        self.size_bytes = sum(map(len, pieces)) + sum(buffer.nbytes for buffer in self.buffers)

    @property
    def head(self) -> bytes:
        """The pickle without its buffers."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def write(self, file: BinaryIO) -> None:
        """Write the whole pickle."""
        if self._again is not None and self.buffers:
            self._again(file)
        else:
            file.writelines(self._pieces)

    def whole(self) -> bytes:
        """The whole pickle."""
        if not self.buffers:
            return self.head
        file = io.BytesIO()
        self.write(file)
        return file.getvalue()

    def digest(self) -> str:
        """What stands for the content."""
        digest = hashlib.sha256()
        for piece in self._pieces:
            digest.update(piece)
        for buffer in self.buffers:
            digest.update(buffer.nbytes.to_bytes(8, "little"))
            digest.update(buffer)
        return digest.hexdigest()

    def keep(self, digest: str) -> str:
        """Have the whole pickle in a file under the name of its content; returns its URI."""

        def write(path: str) -> None:
            with open(path, "wb") as file:
                self.write(file)

        return keep(f"{digest}.pickle", write)


_LARGE_BYTES = 1 << 16  # from here on pickle puts bytes outside its frames


def _dump_bytes(value: bytes) -> Dump:
    size = len(value)
    if size <= _LARGE_BYTES:
        return Dump((pickle.dumps(value, protocol=_PROTOCOL),))
    # What pickle writes, without a copy of the value.
    opcode = (
        pickle.BINBYTES + size.to_bytes(4, "little")
        if size < 1 << 32
        else pickle.BINBYTES8 + size.to_bytes(8, "little")
    )
    return Dump((pickle.PROTO + bytes((_PROTOCOL,)) + opcode, value, pickle.MEMOIZE + pickle.STOP))


def _cloudpickle(value: Any) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(value, protocol=_PROTOCOL)  # type: ignore[no-untyped-call]
    return data


def _dump_open(value: Any) -> Dump:
    _permit("write")
    import cloudpickle

    found: list[pickle.PickleBuffer] = []
    try:
        head: bytes = cloudpickle.dumps(value, protocol=_PROTOCOL, buffer_callback=found.append)  # type: ignore[no-untyped-call]
        try:
            buffers = [buffer.raw() for buffer in found]
        except BufferError:  # memory that is not in one piece
            return Dump((_cloudpickle(value),))
    except Exception as error:
        raise Mismatch(
            "a value that cloudpickle can carry", value, f"{type(error).__name__}: {str(error)[:200]}"
        ) from error

    def again(file: BinaryIO) -> None:
        cloudpickle.Pickler(file, protocol=_PROTOCOL).dump(value)  # type: ignore[no-untyped-call]

    return Dump((head,), buffers, again)


def _load_open(file: BinaryIO, words: str, buffers: "list[Any] | None" = None) -> Any:
    _permit("read")
    try:
        return pickle.load(file, buffers=buffers)  # noqa: S301 - declared by the user as a type that only pickle can carry
    except Exception as error:
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise Mismatch(words, got=f"a pickle that cannot be read ({why})") from error


_HUGE_BYTES = 1 << 20


def _copied(buffer: memoryview) -> Any:
    """A writable copy of a buffer."""
    if buffer.nbytes < _HUGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(buffer)
    # In huge pages, because the operating system takes ten times as long to hand out the same memory in small ones.
    copy = mmap.mmap(-1, buffer.nbytes)
    copy.madvise(mmap.MADV_HUGEPAGE)
    copy.write(buffer)
    return copy


def _permit(verb: str) -> None:
    if pickle_policy() == "forbid":
        raise Mismatch(
            "a value that travels without pickle",
            got="one that only pickle can carry",
            why=f"FLYTE_PICKLE=forbid does not let it be {'written' if verb == 'write' else 'read'}",
        )


def _write_blob(dump: Dump) -> str:
    return dump.keep(dump.digest())


def _is_a(value: Any, cls: type) -> bool:
    try:
        return isinstance(value, cls)
    except TypeError:  # a Protocol that cannot be checked at run time
        return True


# Not classes to check a value against: in some versions of Python Any is a class, and no value is an instance of it.
_ANYTHING = (Any, object)


class PickleCodec(Codec[Any]):
    """Any annotation that travels pickled.

    :param annotation: the annotation.
    :param wire_name: what stands for it in ``python_class_name``.
    :param closed: whether every value consists of types of the closed set.
    """

    def __init__(self, annotation: Any, wire_name: str, closed: bool) -> None:
        super().__init__(annotation, TAG)
        self.wire_name = wire_name
        self.closed = closed
        self.target, _ = resolve(annotation)
        origin = typing.get_origin(self.target)
        if origin is FlytePickle or self.target is FlytePickle:
            args = typing.get_args(self.target)
            self.target = resolve(args[0])[0] if args else Any
            origin = typing.get_origin(self.target)
        cls = origin if isinstance(origin, type) else self.target
        self.cls: Any = cls if isinstance(cls, type) and cls not in _ANYTHING else None
        self.is_path = self.closed and self.cls is not None and self.cls.__name__ in ("Path", "PurePath")
        self.choices = typing.get_args(self.target) if origin is typing.Literal else None
        self.deep = None
        if closed and typing.get_args(self.target) and self.choices is None:
            from flyte.types._compile import plain_of

            # What checks the elements: their plain forms refuse what is not of the declared type.
            self.deep = plain_of(self.target, "dataclass").pack
        enums = set(enums_in(annotation)) | {type(c) for c in self.choices or () if isinstance(c, enum.Enum)}
        self.declared = {(cls.__module__, cls.__qualname__): cls for cls in enums}
        self.hashed = self.cls in (set, frozenset)

    def build_type(self) -> LiteralType:
        tag = TypeStructure(tag=TAG)
        result = LiteralType(
            union_type=UnionType(
                variants=[
                    LiteralType(blob=BlobType(format=FORMAT), structure=tag),
                    LiteralType(simple=SimpleType.BINARY, structure=tag),
                ]
            )
        )
        result.metadata.update({"python_class_name": self.wire_name})
        return result

    def accepts_class(self, cls: type) -> bool:
        if self.choices is not None:
            return any(cls is type(choice) for choice in self.choices)
        if cls is self.cls:
            return True
        place = (cls.__module__, cls.__name__)
        return self.is_path and _MOVED.get(place, place) in _CLOSED_GLOBALS

    def check(self, value: Any) -> None:
        """Refuse a value that is not of the declared type."""
        if self.choices is not None:
            if not any(type(value) is type(choice) and value == choice for choice in self.choices):
                raise Mismatch(self.describe(), value)
        elif self.cls is not None and not (self.accepts_class(type(value)) if self.closed else _is_a(value, self.cls)):
            raise Mismatch(self.describe(), value)
        elif self.deep is not None:
            self.deep(value)

    @property
    def blocks(self) -> bool:
        return is_remote(raw_folder()) if raw_data_path.get() is not None else False

    def dump(self, value: Any) -> Dump:
        """The pickle of a value."""
        self.check(value)
        if not self.closed:
            return _dump_open(value)
        if type(value) is bytes:
            return _dump_bytes(value)
        try:
            moved = type(value).__module__ == "pathlib._local"
            data = _dump_path(value) if moved else pickle.dumps(value, protocol=_PROTOCOL)
        except Exception as error:
            raise Mismatch(self.describe(), value, f"{type(error).__name__}: {str(error)[:200]}") from error
        if self.deep is not None:
            # A subclass of int inside set[int] would only be found out by the receiver.
            load_closed(io.BytesIO(data), self.declared, self.describe())
        return Dump((data,))

    def load_from(self, file: BinaryIO, buffers: list[Any] | None = None) -> Any:
        """The value of a pickle.

        :param buffers: what is not in the pickle itself; the value takes them over.
        """
        if not self.closed:
            value = _load_open(file, self.describe(), buffers)
        else:
            value = load_closed(file, self.declared, self.describe())
        try:
            self.check(value)
        except RecursionError as error:
            raise Mismatch(self.describe(), got="a value nested too deeply") from error
        return value

    def content_hash(self, value: Any, dump: Dump) -> str:
        """The hash that stands for a value when inputs are hashed; empty when its bytes do."""
        if self.hashed:
            return _hash_of_members(value)
        return dump.digest() if dump.size_bytes > INLINE_BYTES else ""

    def wire(self, value: Any) -> bytes:
        dump = self.dump(value)
        return self._wire_dump(dump, self.content_hash(value, dump))

    def wire_taken(self, value: Any, canonical: bytes) -> bytes:
        dump = self.dump(value)
        # The canonical bytes of a large value are its hash.
        known = dump.size_bytes > INLINE_BYTES and not self.hashed
        return self._wire_dump(dump, canonical.decode() if known else self.content_hash(value, dump))

    def _wire_dump(self, dump: Dump, content_hash: str) -> bytes:
        if dump.size_bytes <= INLINE_BYTES or in_memory.get():
            return framing.plain_binary(dump.whole(), content_hash)
        metadata = BlobMetadata(type=BlobType(format=FORMAT))
        # The hash of a set is one of its members as they are sorted, not of its bytes.
        blob = Blob(metadata=metadata, uri=dump.keep(dump.digest() if self.hashed else content_hash))
        return Literal(scalar=Scalar(blob=blob), hash=content_hash).SerializeToString(deterministic=True)

    def read(self, literal: Literal) -> Any:
        scalar = literal.scalar
        if scalar.HasField("binary") and not scalar.binary.tag:
            return self.load_from(io.BytesIO(scalar.binary.value))
        if scalar.HasField("blob") and scalar.blob.metadata.type.format == FORMAT:
            with opened(scalar.blob.uri) as file:
                return self.load_from(file)
        return self.unexpected(literal)

    def take(self, value: Any) -> tuple[Any, bytes]:
        taken, canonical, _ = self.take_inside(value)
        return taken, canonical

    def take_inside(self, value: Any) -> tuple[Any, bytes, bool]:
        dump = self.dump(value)
        content_hash = self.content_hash(value, dump)
        canonical = content_hash.encode() if content_hash else framing.plain_binary(dump.whole())
        return self._received(value, dump), canonical, bool(content_hash)

    def take_sized(self, value: Any) -> tuple[Any, int]:
        # What is in a file counts as long as its hash, which need not be found out for that.
        dump = self.dump(value)
        if self.hashed or dump.size_bytes <= INLINE_BYTES:
            taken, data = self.take(value)
            return taken, len(data)
        return self._received(value, dump), hashlib.sha256().digest_size * 2

    def take_wired(self, value: Any) -> tuple[Any, int, bytes]:
        dump = self.dump(value)
        content_hash = self.content_hash(value, dump)
        literal = self._wire_dump(dump, content_hash)
        return self._received(value, dump), len(content_hash or literal), literal

    def _received(self, value: Any, dump: Dump) -> Any:
        if type(value) is bytes:
            return value
        return self.load_from(io.BytesIO(dump.head), [_copied(buffer) for buffer in dump.buffers])


def _dump_path(path: Any) -> bytes:
    """The pickle of a path as Python 3.12 and earlier write it; later ones name another module and join the parts."""
    from io import BytesIO

    # The pickler in C names a class by its own module, come what may; the one in Python can be told.
    base: Any = vars(pickle)["_Pickler"]

    def save_type(pickler: Any, obj: type) -> None:
        pickler.save("pathlib")
        pickler.save(obj.__qualname__)
        pickler.write(pickle.STACK_GLOBAL)
        pickler.memoize(obj)

    class Pickler(base):  # type: ignore[misc]
        dispatch: ClassVar[Any] = {**base.dispatch, type: save_type}

        def reducer_override(self, obj: Any) -> Any:
            return (type(obj), obj.parts) if obj is path else NotImplemented

    file = BytesIO()
    Pickler(file, _PROTOCOL).dump(path)
    return file.getvalue()


def _hash_of_members(members: Any) -> str:
    # A set has no order of its own: md5 of the pickled list of its sorted members, as peers make it.
    try:
        ordered = sorted(members)
    except TypeError:  # members of several types
        ordered = sorted(members, key=lambda member: (type(member).__qualname__, repr(member)))
    return hashlib.md5(_cloudpickle(ordered), usedforsecurity=False).hexdigest()
