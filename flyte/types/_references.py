"""Values that travel by reference: a file or a folder is the address of its content, never the content.

The seam for :mod:`flyte.io`, which stands above this room: a class that declares ``__flyte_reference__`` (``"file"`` or
``"dir"``) and has the four fields of :class:`Reference` is one. Nothing here touches storage, so a file crosses a
boundary inside the process as cheaply as its URI.
"""

from typing import Any, Protocol, TypeVar

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import BlobType, LiteralType

from flyte._core.interface import describe
from flyte.types import _framing as framing
from flyte.types._annotations import REFERENCE
from flyte.types._codec import Codec
from flyte.types._mismatch import Mismatch
from flyte.types._pickle import FORMAT as PICKLE_FORMAT
from flyte.types._plain import Plain

R = TypeVar("R", bound="Reference")

_NAMES = {"file": "File", "dir": "Dir"}
_DIMENSIONALITY = {"file": BlobType.SINGLE, "dir": BlobType.MULTIPART}
_BLOB = b"\x12"  # Scalar.blob = 2
_BLOB_METADATA, _BLOB_URI = b"\x0a", b"\x1a"  # Blob.metadata = 1, Blob.uri = 3
_BLOB_TYPE = b"\x0a"  # BlobMetadata.type = 1
_FORMAT, _MULTIPART = b"\x0a", b"\x10\x01"  # BlobType.format = 1, BlobType.dimensionality = 2


class Reference(Protocol):
    """What a value that travels by reference has."""

    path: str
    name: str | None
    format: str
    hash: str | None

    def __init__(self, *, path: str, name: str | None = None, format: str = "", hash: str | None = None) -> None: ...


def _family(cls: type) -> type:
    """The class that declares itself a reference; ``File`` of ``File[str]``."""
    return next(base for base in cls.__mro__ if REFERENCE in base.__dict__)


def _made(cls: type[R], words: str, fields: dict[str, Any]) -> R:
    for name, value in fields.items():
        if not (type(value) is str or (value is None and name in ("name", "hash"))):
            raise Mismatch(words, got=f"a reference whose {name} is a {type(value).__name__}")
    try:
        return cls(**fields)
    except ValueError as error:  # an empty path
        raise Mismatch(words, got=f"a reference that is not valid ({str(error)[:200]})") from error


class ReferenceCodec(Codec[Any]):
    """A file or folder: a blob literal that holds its URI.

    :param cls: the class, such as ``File`` or ``File[str]``.
    """

    by_reference = True

    def __init__(self, annotation: Any, cls: type[Any]) -> None:
        self.kind: str = getattr(cls, REFERENCE)
        super().__init__(annotation, _NAMES[self.kind])
        self.cls = cls
        self.family = _family(cls)
        self.dimensionality = _DIMENSIONALITY[self.kind]

    def build_type(self) -> LiteralType:
        return LiteralType(blob=BlobType(dimensionality=self.dimensionality))

    def accepts_class(self, cls: type) -> bool:
        return issubclass(cls, self.family)

    def wire(self, value: Any) -> bytes:
        if not isinstance(value, self.family):
            raise Mismatch(self.describe(), value, _remedy(value, self.kind))
        reference: Any = value
        kind = framing.frame(_FORMAT, reference.format.encode()) if reference.format else b""
        if self.dimensionality:
            kind += _MULTIPART
        blob = framing.frame(_BLOB_METADATA, framing.frame(_BLOB_TYPE, kind))
        blob += framing.frame(_BLOB_URI, reference.path.encode())
        literal = framing.frame(framing.SCALAR, framing.frame(_BLOB, blob))
        return literal + framing.frame(framing.HASH, reference.hash.encode()) if reference.hash else literal

    def read(self, literal: Literal) -> Any:
        if not (literal.HasField("scalar") and literal.scalar.HasField("blob")):
            return self.unexpected(literal)
        blob = literal.scalar.blob
        kind = blob.metadata.type
        if kind.dimensionality != self.dimensionality or kind.format == PICKLE_FORMAT:
            found = (
                "a pickled value" if kind.format == PICKLE_FORMAT else "a file" if self.kind == "dir" else "a folder"
            )
            raise Mismatch(self.describe(), got=f"the literal of {found}")
        fields = {"path": blob.uri, "format": kind.format, "hash": literal.hash or None}
        return _made(self.cls, self.describe(), fields)

    def take(self, value: Any) -> tuple[Any, bytes]:
        data = self.wire(value)
        fields = {"path": value.path, "format": value.format, "hash": value.hash or None}
        return _made(self.cls, self.describe(), fields), value.hash.encode() if value.hash else data

    def take_sized(self, value: Any) -> tuple[Any, int]:
        # Nothing of a file is inline: limits on inline data are not meant for it.
        return self.take(value)[0], 0


def _remedy(value: Any, kind: str) -> str:
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        name = _NAMES[kind]
        return f"make it with {name}.from_local(path), or {name}.from_existing_remote(uri)"
    return ""


def reference_plain(annotation: Any, cls: type[Any]) -> Plain:
    """The plain form of a file or folder inside a structure: a map of its path, name, format and hash."""
    words = describe(annotation)
    family = _family(cls)
    kind: str = getattr(cls, REFERENCE)

    def pack(value: Any) -> Any:
        if not isinstance(value, family):
            raise Mismatch(words, value, _remedy(value, kind))
        held: Any = value
        return {"path": held.path, "name": held.name, "format": held.format, "hash": held.hash}

    def canon(value: Any) -> Any:
        return dict(sorted(pack(value).items()))

    def unpack(plain: Any) -> Any:
        if not fits(plain):
            raise Mismatch(words, plain)
        fields = {"path": plain["path"], "name": plain.get("name"), "hash": plain.get("hash")}
        return _made(cls, words, {**fields, "format": plain.get("format", "")})

    def fits(plain: Any) -> bool:
        return type(plain) is dict and "path" in plain and plain.keys() <= {"path", "name", "format", "hash"}

    def schema(_: Any) -> dict[str, Any]:
        described: dict[str, Any] = cls.model_json_schema()
        return described

    return Plain(annotation, pack, unpack, canon=canon, kinds=(dict,), owns=(cls, family), schema=schema, fits=fits)
