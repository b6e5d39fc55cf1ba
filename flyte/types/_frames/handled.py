"""Codecs of frames that registered encoders and decoders write and read; their conversions are coroutines."""

from collections.abc import Callable
from typing import Any

from flyteidl2.core.literals_pb2 import Literal, Scalar, StructuredDataset, StructuredDatasetMetadata

from flyte._core.threads import run_in_thread
from flyte.types._codec import parse_literal
from flyte.types._files import raw_folder
from flyte.types._frames.codec import DataFrameCodec, FrameCodec, dataset_of
from flyte.types._frames.content import PARQUET, is_known
from flyte.types._frames.declared import Declared
from flyte.types._frames.handlers import decoder_for, encoder_for, wrapped
from flyte.types._mismatch import Mismatch


async def encode_dataset(frame: Any, declared: Declared) -> StructuredDataset | None:
    """A frame as its class's encoder wrote it; None where none is registered.

    :raises Mismatch: the encoder did not say where the frame is.
    """
    cls = type(frame)
    encoder = encoder_for(cls, raw_folder(), declared.format)
    if encoder is None:
        return None
    made: StructuredDataset = await encoder.encode(wrapped(frame), declared.dataset_type(declared.format))
    if not isinstance(made, StructuredDataset) or not made.uri:
        raise Mismatch(
            "a StructuredDataset with a uri", got=f"what {type(encoder).__qualname__}.encode() gave: {made!r:.80}"
        )
    kind = made.metadata.structured_dataset_type
    if not kind.format:
        kind.format = encoder.supported_format or declared.format or PARQUET
    return made


async def decode_dataset(cls: type, dataset: StructuredDataset, declared: Declared) -> tuple[bool, Any]:
    """Whether a decoder is registered, and what it gave: a frame, or an async iterator over pieces."""
    format = dataset.metadata.structured_dataset_type.format
    decoder = decoder_for(cls, dataset.uri, format)
    if decoder is None:
        return False, None
    wanted = StructuredDatasetMetadata(structured_dataset_type=declared.dataset_type(format))
    return True, await decoder.decode(dataset, wanted)


def taken(take: Callable[[Any], tuple[Any, bytes]], value: Any) -> tuple[Any, bytes]:
    """What a codec takes, with the public error."""
    try:
        return take(value)
    except Mismatch as mismatch:
        raise mismatch.failure() from mismatch.__cause__


class HandledFrameCodec(FrameCodec):
    """A frame of a class that handlers are registered for; what they leave is parquet, if the class is known."""

    awaits = True

    def _only_async(self) -> Mismatch:
        return Mismatch(
            self.describe(),
            got="a call that cannot wait",
            why="registered encoders and decoders are coroutines; use encode_async, decode_async or transfer_async",
        )

    def wire(self, value: Any) -> bytes:
        raise self._only_async()

    def read(self, literal: Literal) -> Any:
        raise self._only_async()

    def take(self, value: Any) -> tuple[Any, bytes]:
        raise self._only_async()

    async def transfer_async(self, value: Any) -> tuple[Any, bytes]:
        if is_known(self.cls) and encoder_for(self.cls, raw_folder(), self.declared.format) is None:
            return taken(super().take, value)
        return await super().transfer_async(value)

    async def make(self, value: Any) -> Literal:
        if not isinstance(value, self.cls):
            raise Mismatch(self.describe(), value)
        made = await encode_dataset(value, self.declared)
        if made is not None:
            method = self.declared.hash_method
            content_hash = ""
            if method is not None:
                method.reset()
                method.update(value)
                content_hash = method.result()
            return Literal(scalar=Scalar(structured_dataset=made), hash=content_hash)
        if not is_known(self.cls):
            raise Mismatch(self.describe(), value, "no DataFrameEncoder is registered for it")
        return parse_literal(await run_in_thread(super().wire, value))

    async def load(self, literal: Literal) -> Any:
        if dataset_of(literal) is None:
            raise Mismatch(self.describe(), got="a literal that is no frame")
        handled, frame = await decode_dataset(self.cls, literal.scalar.structured_dataset, self.declared)
        if handled:
            if not isinstance(frame, self.cls):
                raise Mismatch(self.describe(), frame, "its decoder gave something else")
            return frame
        if not is_known(self.cls):
            raise Mismatch(self.describe(), got="a stored frame", why="no DataFrameDecoder is registered for it")
        return await run_in_thread(super().read, literal)


class HandledDataFrameCodec(DataFrameCodec):
    """``flyte.io.DataFrame`` in a program that has handlers registered."""

    awaits = True

    async def transfer_async(self, value: Any) -> tuple[Any, bytes]:
        frame = getattr(value, "val", None)
        if frame is None or encoder_for(type(frame), raw_folder(), self.declared.format) is None:
            return taken(self.take, value)
        return await super().transfer_async(value)

    async def make(self, value: Any) -> Literal:
        self.check(value)
        frame = value.val
        if frame is not None and value._stored_uri is None:
            made = await encode_dataset(frame, self.declared)
            if made is not None:
                method = self.declared.hash_method or value._hash_method
                content_hash = value.hash or ""
                if isinstance(method, str):
                    content_hash = method
                elif method is not None:
                    method.reset()
                    method.update(frame)
                    content_hash = method.result()
                return Literal(scalar=Scalar(structured_dataset=made), hash=content_hash)
        return parse_literal(await run_in_thread(super().wire, value))
