"""Named values as bytes to keep: one deterministic LiteralMap."""

from collections.abc import Iterable
from typing import Any

from flyteidl2.core.literals_pb2 import LiteralMap
from google.protobuf.message import DecodeError

from flyte.errors import TypeTransformerFailedError

from ._codec import Codec


async def dump_values(codecs: Iterable[tuple[str, Codec[Any]]], values: Iterable[Any]) -> bytes:
    """The bytes of ``values``, each under its codec's name.

    :raises TypeTransformerFailedError: a value does not fit its type.
    """
    kept = LiteralMap()
    for (name, codec), value in zip(codecs, values, strict=True):
        kept.literals[name].CopyFrom(await codec.encode_async(value))
    return kept.SerializeToString(deterministic=True)


async def load_values(codecs: Iterable[tuple[str, Codec[Any]]], data: bytes) -> list[Any]:
    """What :func:`dump_values` made the bytes from, in the order of the codecs.

    :raises TypeTransformerFailedError: the bytes are damaged, or hold other values than the codecs are for.
    """
    try:
        kept = LiteralMap.FromString(data)
    except DecodeError as error:
        raise TypeTransformerFailedError(f"expected stored values, got damaged bytes: {error}") from error
    loaded = []
    for name, codec in codecs:
        if name not in kept.literals:
            raise TypeTransformerFailedError(f"expected a stored value {name!r}, got {sorted(kept.literals)}")
        loaded.append(await codec.decode_async(kept.literals[name]))
    return loaded
