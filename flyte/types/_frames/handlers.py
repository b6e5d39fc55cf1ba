"""The seam for frames of other libraries and other formats: encoders, decoders, and where they are registered."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from flyte.types import _transformer
from flyte.types._frames.content import PARQUET

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal, StructuredDataset, StructuredDatasetMetadata
    from flyteidl2.core.types_pb2 import LiteralType, StructuredDatasetType

T = TypeVar("T")
DF = TypeVar("DF")

_ANY = ""


class DuplicateHandlerError(ValueError):
    """A handler is registered already for the same class, protocol and format."""


class DataFrameEncoder(ABC, Generic[T]):
    """Writes frames of one class; subclass it and register an instance.

    :param python_type: the class of the frames.
    :param protocol: scheme of the storage that it writes to, such as ``"s3"`` or ``"bq"``; None for any.
    :param supported_format: the format that it writes; None for any.
    """

    def __init__(self, python_type: type[T], protocol: str | None = None, supported_format: str | None = None) -> None:
        self._python_type = python_type
        self._protocol = protocol.replace("://", "") if protocol else None
        self._supported_format = supported_format or ""

    @property
    def python_type(self) -> type[T]:
        """The class of the frames."""
        return self._python_type

    @property
    def protocol(self) -> str | None:
        """Scheme of the storage; None for any."""
        return self._protocol

    @property
    def supported_format(self) -> str:
        """The format; empty for any."""
        return self._supported_format

    @abstractmethod
    async def encode(self, dataframe: Any, structured_dataset_type: "StructuredDatasetType") -> "StructuredDataset":
        """Write a frame and say where it is.

        :param dataframe: a :class:`flyte.io.DataFrame` whose ``val`` is the frame.
        :param structured_dataset_type: what the annotation says: columns and format.
        :returns: the dataset, with its ``uri``.
        """


class DataFrameDecoder(ABC, Generic[DF]):
    """Reads frames of one class; subclass it and register an instance.

    :param python_type: the class of the frames.
    :param protocol: scheme of the storage that it reads from; None for any.
    :param supported_format: the format that it reads; None for any.
    :param additional_protocols: further schemes.
    """

    def __init__(
        self,
        python_type: type[DF],
        protocol: str | None = None,
        supported_format: str | None = None,
        additional_protocols: list[str] | None = None,
    ) -> None:
        self._python_type = python_type
        self._protocol = protocol.replace("://", "") if protocol else None
        self._supported_format = supported_format or ""
        self.additional_protocols = [p.replace("://", "") for p in additional_protocols or ()]

    @property
    def python_type(self) -> type[DF]:
        """The class of the frames."""
        return self._python_type

    @property
    def protocol(self) -> str | None:
        """Scheme of the storage; None for any."""
        return self._protocol

    @property
    def supported_format(self) -> str:
        """The format; empty for any."""
        return self._supported_format

    @abstractmethod
    async def decode(
        self, flyte_value: "StructuredDataset", current_task_metadata: "StructuredDatasetMetadata"
    ) -> "DF | AsyncIterator[DF]":
        """Read a frame, or an async iterator over its pieces.

        :param flyte_value: the dataset, with its ``uri``.
        :param current_task_metadata: what the receiver's annotation says: the columns that it wants.
        """


Handler = DataFrameEncoder[Any] | DataFrameDecoder[Any]
_Table = dict[type, dict[str, dict[str, Any]]]


class DataFrameTransformerEngine:
    """Where encoders and decoders of frames are registered, by class methods.

    An instance converts frames, for a transformer of something that holds one.
    """

    ENCODERS: ClassVar[_Table] = {}
    """class -> protocol -> format -> encoder; empty text stands for any."""
    DECODERS: ClassVar[_Table] = {}
    """class -> protocol -> format -> decoder."""
    DEFAULT_FORMATS: ClassVar[dict[type, str]] = {}
    """class -> the format that is written where an annotation names none."""
    DEFAULT_PROTOCOLS: ClassVar[dict[type, str]] = {}
    """class -> the protocol that is written to."""
    Renderers: ClassVar[dict[type, Any]] = {}
    """class -> what shows its frames in reports."""

    def get_literal_type(self, t: Any) -> "LiteralType":
        """The LiteralType of an annotation with a frame's class."""
        from flyte.types._engine import codec_for

        return codec_for(t).literal_type

    async def to_literal(self, python_val: Any, python_type: Any, expected: "LiteralType") -> "Literal":
        """The literal of a frame.

        :raises TypeTransformerFailedError: the value is none of ``python_type``.
        """
        from flyte.types._engine import codec_for

        return await codec_for(python_type).encode_async(python_val)

    async def to_python_value(self, lv: "Literal", expected_python_type: Any) -> Any:
        """The frame of a literal, as one of ``expected_python_type``."""
        from flyte.types._engine import codec_for

        return await codec_for(expected_python_type).decode_async(lv)

    @classmethod
    def register(
        cls,
        h: Handler,
        default_for_type: bool = False,
        override: bool = False,
        default_format_for_type: bool = False,
        default_storage_for_type: bool = False,
    ) -> None:
        """Let an encoder or decoder handle its class from now on.

        :param h: the handler.
        :param default_for_type: its format and protocol become those of the class.
        :param override: replace the handler that is there.
        :param default_format_for_type: its format becomes that of the class.
        :param default_storage_for_type: its protocol becomes that of the class.
        :raises DuplicateHandlerError: there is one already.
        :raises TypeError: it is neither an encoder nor a decoder.
        """
        if not isinstance(h, (DataFrameEncoder, DataFrameDecoder)):
            raise TypeError(f"register() takes a DataFrameEncoder or DataFrameDecoder, got {type(h).__qualname__}")
        protocols = [h.protocol or _ANY, *(h.additional_protocols if isinstance(h, DataFrameDecoder) else ())]
        for protocol in protocols:
            cls.register_for_protocol(
                h, protocol, default_for_type, override, default_format_for_type, default_storage_for_type
            )

    @classmethod
    def register_for_protocol(
        cls,
        h: Handler,
        protocol: str,
        default_for_type: bool,
        override: bool,
        default_format_for_type: bool,
        default_storage_for_type: bool,
    ) -> None:
        """:meth:`register` for one protocol, whatever the handler says of itself."""
        protocol = "file" if protocol == "/" else protocol
        table = cls.ENCODERS if isinstance(h, DataFrameEncoder) else cls.DECODERS
        formats = table.setdefault(h.python_type, {}).setdefault(protocol, {})
        if h.supported_format in formats and formats[h.supported_format] is not h and not override:
            kind = "an encoder" if isinstance(h, DataFrameEncoder) else "a decoder"
            raise DuplicateHandlerError(
                f"{h.python_type.__qualname__} has {kind} for protocol {protocol or 'any'!r} and format "
                f"{h.supported_format or 'any'!r} already; pass override=True to replace it"
            )
        formats[h.supported_format] = h
        if (default_for_type or default_format_for_type) and h.supported_format:
            cls.DEFAULT_FORMATS[h.python_type] = h.supported_format
        if (default_for_type or default_storage_for_type) and protocol:
            cls.DEFAULT_PROTOCOLS[h.python_type] = protocol
        _transformer.announce()

    @classmethod
    def register_renderer(cls, python_type: type, renderer: Any) -> None:
        """Let ``renderer.to_html(frame)`` show the frames of a class in reports.

        :raises DuplicateHandlerError: the class has one already.
        """
        if cls.Renderers.get(python_type, renderer) is not renderer:
            raise DuplicateHandlerError(f"{python_type.__qualname__} has a renderer already")
        cls.Renderers[python_type] = renderer

    @classmethod
    def get_encoder(cls, df_type: type, protocol: str, format: str) -> DataFrameEncoder[Any]:
        """The registered encoder.

        :raises ValueError: there is none.
        """
        found: DataFrameEncoder[Any] = _found(cls.ENCODERS, df_type, protocol, format, "encoder")
        return found

    @classmethod
    def get_decoder(cls, df_type: type, protocol: str, format: str) -> DataFrameDecoder[Any]:
        """The registered decoder.

        :raises ValueError: there is none.
        """
        found: DataFrameDecoder[Any] = _found(cls.DECODERS, df_type, protocol, format, "decoder")
        return found


def _find(table: _Table, cls: type, protocol: str, format: str) -> Any:
    protocols = table.get(cls, {})
    for scheme in (protocol, _ANY):
        formats = protocols.get(scheme, {})
        for name in dict.fromkeys((format, _ANY, format or PARQUET)):
            if name in formats:
                return formats[name]
        # Where nobody asked for a format, the only one there is does.
        if not format and len(formats) == 1:
            return next(iter(formats.values()))
    return None


def _found(table: _Table, cls: type, protocol: str, format: str, kind: str) -> Any:
    handler = _find(table, cls, protocol, format)
    if handler is None:
        raise ValueError(
            f"no {kind} is registered for {cls.__module__}.{cls.__qualname__}, protocol {protocol or 'any'!r}, format "
            f"{format or 'any'!r}; add one with flyte.io.extend.DataFrameTransformerEngine.register"
        )
    return handler


def encoder_for(cls: type, uri: str, format: str) -> DataFrameEncoder[Any] | None:
    """The registered encoder of a class, for the storage that a URI is in; None where there is none."""
    wanted = format or DataFrameTransformerEngine.DEFAULT_FORMATS.get(cls, "")
    protocol = DataFrameTransformerEngine.DEFAULT_PROTOCOLS.get(cls) or protocol_of(uri)
    found: DataFrameEncoder[Any] | None = _find(DataFrameTransformerEngine.ENCODERS, cls, protocol, wanted)
    return found


def decoder_for(cls: type, uri: str, format: str) -> DataFrameDecoder[Any] | None:
    """The registered decoder of a class, for what is at a URI; None where there is none."""
    found: DataFrameDecoder[Any] | None = _find(DataFrameTransformerEngine.DECODERS, cls, protocol_of(uri), format)
    return found


def handles(cls: type) -> bool:
    """Whether anything is registered for a class."""
    return cls in DataFrameTransformerEngine.ENCODERS or cls in DataFrameTransformerEngine.DECODERS


def handles_any() -> bool:
    """Whether anything is registered at all."""
    return bool(DataFrameTransformerEngine.ENCODERS or DataFrameTransformerEngine.DECODERS)


def protocol_of(uri: str) -> str:
    """The scheme of a URI; ``file`` for a path."""
    if "://" not in uri:
        return "file"
    from urllib.parse import urlsplit

    return urlsplit(uri).scheme


_wrapper: Any = None


def wrap_with(wrapper: Any) -> None:
    """Say of which class references to frames are; ``flyte.io``, which stands above, does."""
    global _wrapper
    _wrapper = wrapper


def wrapper_class() -> Any:
    """The class of references to frames; None where the program did not import ``flyte.io.DataFrame``."""
    return _wrapper


def wrapped(frame: Any) -> Any:
    """A frame as encoders are shown it."""
    assert _wrapper is not None, "only flyte.io registers encoders, and it says how to wrap"
    return _wrapper.from_df(frame)
