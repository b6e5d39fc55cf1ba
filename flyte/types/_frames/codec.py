"""Codecs of frames: of the libraries' own classes, and of ``flyte.io.DataFrame``."""

from typing import Any

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import LiteralType

from flyte._core.interface import describe
from flyte.types._annotations import Shape
from flyte.types._codec import Codec
from flyte.types._files import is_remote
from flyte.types._frames.content import PARQUET, Content, check_columns, is_known, library_of, qualified_name
from flyte.types._frames.dataset import keep_content, on_this_machine
from flyte.types._frames.declared import Declared, dataset_literal, dataset_literal_type, parse
from flyte.types._frames.handlers import DataFrameTransformerEngine
from flyte.types._mismatch import Mismatch
from flyte.types._plain import Plain

NAME = "DataFrame Transformer"


def read_dataset(cls: type, uri: str, format: str, declared: Declared) -> Any:
    """The frame at a URI.

    :raises Mismatch: there is none, or it is of a format that nobody reads.
    """
    if format not in ("", PARQUET):
        raise Mismatch(
            f"a frame in format {PARQUET!r}",
            got=f"one in {format!r}",
            why="register a DataFrameDecoder for it with flyte.io.extend.DataFrameTransformerEngine.register",
        )
    library = library_of(cls)
    with on_this_machine(uri) as path:
        frame = library.read(path, declared.names)
        # The copy of a file of another storage is gone when this returns.
        return library.detach(frame) if is_remote(uri) else frame


def dataset_of(literal: Literal) -> tuple[str, str] | None:
    """URI and format of a stored frame; None for another literal."""
    if not (literal.HasField("scalar") and literal.scalar.HasField("structured_dataset")):
        return None
    dataset = literal.scalar.structured_dataset
    return dataset.uri, dataset.metadata.structured_dataset_type.format


class FrameCodec(Codec[Any]):
    """A frame of pandas, polars or pyarrow.

    Inside the process its content is handed over in memory; a literal points to a parquet file named by the content.
    """

    def __init__(self, annotation: Any, cls: type, declared: Declared) -> None:
        super().__init__(annotation, NAME)
        self.cls = cls
        self.declared = declared

    @property
    def blocks(self) -> bool:
        return True

    def build_type(self) -> LiteralType:
        return dataset_literal_type(self.declared, qualified_name(self.cls))

    def accepts_class(self, cls: type) -> bool:
        return cls is self.cls

    def content(self, value: Any) -> Content:
        """What a frame holds.

        :raises Mismatch: it is not a frame of this class, or lacks a declared column.
        """
        if type(value) is not self.cls:
            raise Mismatch(self.describe(), value, _remedy(value, self.cls))
        library = library_of(self.cls)
        if self.declared.columns:
            check_columns(self.describe(), self.declared.names, library.columns(value))
        return library.content(value)

    def wire(self, value: Any) -> bytes:
        return self._wire_content(self.content(value))

    def _wire_content(self, content: Content) -> bytes:
        literal = dataset_literal(keep_content(content), self.declared, PARQUET, self.declared.hash_of(content))
        return literal.SerializeToString(deterministic=True)

    def read(self, literal: Literal) -> Any:
        found = dataset_of(literal)
        if found is None:
            return self.unexpected(literal)
        return read_dataset(self.cls, *found, self.declared)

    def take(self, value: Any) -> tuple[Any, bytes]:
        content = self.content(value)
        return content.receive(self.declared.names), self.declared.hash_of(content).encode()

    def take_inside(self, value: Any) -> tuple[Any, bytes, bool] | None:
        return (*self.take(value), True)

    def take_sized(self, value: Any) -> tuple[Any, int]:
        # Nothing of a frame is inline: limits on inline data are not meant for it.
        return self.content(value).receive(self.declared.names), 0

    def take_wired(self, value: Any) -> tuple[Any, int, bytes]:
        content = self.content(value)
        return content.receive(self.declared.names), 0, self._wire_content(content)

    def show(self, value: Any) -> str:
        return _shown(value)


def _shown(frame: Any) -> str:
    renderer = DataFrameTransformerEngine.Renderers.get(type(frame))
    if renderer is not None:
        return str(renderer.to_html(frame))
    return library_of(type(frame)).show(frame) if is_known(type(frame)) else ""


def _remedy(value: Any, cls: type) -> str:
    if isinstance(value, cls):
        return f"a subclass would come back as {cls.__name__}; pass {cls.__name__}(value)"
    if getattr(type(value), "__flyte_reference__", None) == "dataframe":
        return f"open it first: await value.open({cls.__name__}).all()"
    if is_known(type(value)):
        return "convert it, or annotate with flyte.io.DataFrame, which carries frames of every library"
    return ""


class DataFrameCodec(Codec[Any]):
    """``flyte.io.DataFrame``: a frame that is still in memory, or the address of one.

    :param cls: the class; see :class:`flyte.io._dataframe.DataFrame` for what it offers.
    """

    def __init__(self, annotation: Any, cls: type[Any], declared: Declared) -> None:
        super().__init__(annotation, NAME)
        self.cls = cls
        self.declared = declared

    @property
    def blocks(self) -> bool:
        return True

    def build_type(self) -> LiteralType:
        return dataset_literal_type(self.declared, "")

    def accepts_class(self, cls: type) -> bool:
        return issubclass(cls, self.cls)

    def check(self, value: Any) -> None:
        """Refuse what is not a DataFrame, and one that is nowhere."""
        if not isinstance(value, self.cls):
            why = "wrap it: DataFrame.from_df(value)" if is_known(type(value)) else ""
            raise Mismatch(self.describe(), value, why)

    def _content(self, value: Any) -> tuple[Content | None, str | None]:
        self.check(value)
        content = value._content_now()
        if content is None:
            if value._stored_uri is None:
                got = "a DataFrame without a frame and without a uri"
                if value.val is not None:
                    got = f"one of a {qualified_name(type(value.val))}, which only its encoder can write"
                raise Mismatch(self.describe(), got=got)
            return None, value.hash or None
        if self.declared.columns:
            held: Any = content
            check_columns(self.describe(), self.declared.names, library_of(content.cls).columns(held.receive()))
        method = self.declared.hash_method or value._hash_method
        given = method if method is not None else value.hash
        if given is None:
            return content, content.digest
        from flyte.types._frames.declared import hash_with

        return content, hash_with(given, content)

    def wire(self, value: Any) -> bytes:
        content, content_hash = self._content(value)
        return self._wire_content(value, content, content_hash)

    def _wire_content(self, value: Any, content: Content | None, content_hash: str | None) -> bytes:
        if content is None:
            literal = dataset_literal(value._stored_uri, self.declared, value.format or "", content_hash)
        else:
            uri = value._stored_uri or keep_content(content)
            literal = dataset_literal(uri, self.declared, PARQUET, content_hash)
        return literal.SerializeToString(deterministic=True)

    def show(self, value: Any) -> str:
        content = value._content_now()
        return _shown(content.receive() if content is not None else value.val)

    def read(self, literal: Literal) -> Any:
        found = dataset_of(literal)
        if found is None:
            return self.unexpected(literal)
        uri, format = found
        return self.cls._received(None, uri, format, literal.hash or None, self.declared)

    def _receive(self, value: Any, content: Content | None, content_hash: str | None) -> Any:
        format = PARQUET if content is not None else value.format or PARQUET
        return self.cls._received(content, value._stored_uri, format, content_hash, self.declared)

    def take(self, value: Any) -> tuple[Any, bytes]:
        content, content_hash = self._content(value)
        taken = self._receive(value, content, content_hash)
        return taken, content_hash.encode() if content_hash else self._wire_content(value, content, content_hash)

    def take_inside(self, value: Any) -> tuple[Any, bytes, bool] | None:
        content, content_hash = self._content(value)
        return (self._receive(value, content, content_hash), content_hash.encode(), True) if content_hash else None

    def take_sized(self, value: Any) -> tuple[Any, int]:
        content, content_hash = self._content(value)
        return self._receive(value, content, content_hash), 0

    def take_wired(self, value: Any) -> tuple[Any, int, bytes]:
        content, content_hash = self._content(value)
        literal = self._wire_content(value, content, content_hash)
        return self._receive(value, content, content_hash), 0, literal


_FIELDS = {"uri", "format", "hash"}


def _fits(plain: Any) -> bool:
    return type(plain) is dict and type(plain.get("uri")) is str and plain.keys() <= _FIELDS


def frame_plain(annotation: Any, shape: Shape) -> Plain:
    """The plain form of a frame inside a structure: a map of URI, format and hash; the frame is written for it."""
    codec: Any = (FrameCodec if shape.kind == "frame" else DataFrameCodec)(
        annotation, shape.target, parse(shape.metadata)
    )
    words = describe(annotation)

    def pack(value: Any) -> Any:
        literal = Literal.FromString(codec.wire(value))
        dataset = literal.scalar.structured_dataset
        packed = {"uri": dataset.uri, "format": dataset.metadata.structured_dataset_type.format}
        return {**packed, "hash": literal.hash} if literal.hash else packed

    def canon(value: Any) -> Any:
        return dict(sorted(pack(value).items()))

    def unpack(plain: Any) -> Any:
        if not _fits(plain):
            raise Mismatch(words, plain)
        literal = dataset_literal(plain["uri"], codec.declared, plain.get("format") or "", plain.get("hash"))
        return codec.read(literal)

    def schema(_: Any) -> dict[str, Any]:
        return {
            "description": "A tabular data reference backed by a remote file.",
            "properties": {
                "uri": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Uri"},
                "format": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": "", "title": "Format"},
                "hash": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Hash"},
            },
            "title": "DataFrame",
            "type": "object",
            "x-flyte-type": "dataframe",
        }

    return Plain(annotation, pack, unpack, canon=canon, kinds=(dict,), owns=(shape.target,), schema=schema, fits=_fits)
