"""Which codec an annotation of frames gets."""

from typing import Any

from flyte.types._annotations import Shape
from flyte.types._codec import Codec
from flyte.types._frames.codec import DataFrameCodec, FrameCodec
from flyte.types._frames.declared import parse
from flyte.types._frames.handlers import handles, handles_any


def frame_codec(annotation: Any, shape: Shape) -> Codec[Any]:
    """The codec of an annotation of frames, or of ``flyte.io.DataFrame``."""
    declared = parse(shape.metadata)
    # Only a program that has handlers pays for waiting.
    if shape.kind == "frame":
        if handles(shape.target):
            from flyte.types._frames.handled import HandledFrameCodec

            return HandledFrameCodec(annotation, shape.target, declared)
        return FrameCodec(annotation, shape.target, declared)
    if handles_any():
        from flyte.types._frames.handled import HandledDataFrameCodec

        return HandledDataFrameCodec(annotation, shape.target, declared)
    return DataFrameCodec(annotation, shape.target, declared)
