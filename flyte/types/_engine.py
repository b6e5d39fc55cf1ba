"""From an annotation to its codec.

Controllers call :func:`codec_for` once per interface; users go through :class:`flyte.types.TypeEngine`. The codecs, and
protobuf with them, are loaded with the first annotation: a task without values has none.
"""

import threading
from typing import TYPE_CHECKING, Any

from flyte.types import _transformer
from flyte.types._annotations import classify, key_of

if TYPE_CHECKING:
    from flyte.types._codec import Codec

_KEPT_BY_IDENTITY = 4096  # annotations made anew for each call would fill the memory otherwise

_by_identity: "dict[int, tuple[Any, Codec[Any]]]" = {}
_by_key: "dict[Any, Codec[Any]]" = {}
_lock = threading.RLock()
_generation = 0


def _forget() -> None:
    global _generation
    with _lock:
        _generation += 1
        _by_identity.clear()
        _by_key.clear()


_transformer.on_change(_forget)


def generation() -> int:
    """A number that grows with each registration; codecs taken before it grew may be out of date."""
    return _generation


def codec_for(annotation: Any) -> "Codec[Any]":
    """The codec of an annotation, compiled on first use.

    :raises TypeError: the annotation cannot be a task's input or output.
    :raises RestrictedTypeError: its type may not be used.
    """
    entry = _by_identity.get(id(annotation))
    if entry is not None and entry[0] is annotation:
        return entry[1]
    key = key_of(annotation)
    codec = _by_key.get(key)
    if codec is None:
        with _lock:
            codec = _by_key.get(key)
            if codec is None:
                codec = _by_key[key] = _compile(annotation)
    if len(_by_identity) >= _KEPT_BY_IDENTITY:
        _by_identity.clear()
    _by_identity[id(annotation)] = (annotation, codec)
    return codec


def _compile(annotation: Any) -> "Codec[Any]":
    from flyte.types._codecs import codec_of

    shape = classify(annotation)
    codec = codec_of(annotation, shape, codec_for)
    if shape.metadata and shape.kind != "foreign":
        from flyte.types._schema import constrain

        constrain(codec, shape)
    return codec
