"""Named values as bytes to keep: one deterministic LiteralMap. Whoever has values to keep has loaded their codecs, and
protobuf with them; it is not loaded for a task without any.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flyte.errors import TypeTransformerFailedError

from . import _framing as framing
from ._inline import INLINE_BYTES
from ._mismatch import Mismatch

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import LiteralMap

    from ._codec import Codec


async def dump_values(codecs: "Iterable[tuple[str, Codec[Any]]]", values: Iterable[Any]) -> bytes:
    """The bytes of ``values``, each under its codec's name; what is too large is stored apart.

    :raises TypeTransformerFailedError: a value does not fit its type.
    """
    from flyteidl2.core.literals_pb2 import LiteralMap

    kept = LiteralMap()
    names, found = [], []
    for (name, codec), value in zip(codecs, values, strict=True):
        names.append(name)
        found.append(codec)
        kept.literals[name].CopyFrom(await codec.encode_async(value))
    data = kept.SerializeToString(deterministic=True)
    if len(data) <= INLINE_BYTES:
        return data
    from ._offload import store_large

    return await store_large(data, zip(names, found, strict=True))


def pack_literals(names: Sequence[bytes], literals: Sequence[bytes]) -> bytes:
    """The bytes of a LiteralMap of literals that are bytes already.

    :param names: :func:`pack_name` of each.
    """
    if len(names) == 1:  # by far the commonest
        return framing.member(names[0], literals[0])
    return b"".join([framing.member(name, literal) for name, literal in zip(names, literals, strict=True)])


def pack_name(name: str) -> bytes:
    """What stands before the literal of a name in its map."""
    return framing.frame(b"\x0a", name.encode()) + b"\x12"


def wire_of(codec: "Codec[Any]", value: Any, canonical: bytes | None = None) -> bytes:
    """The literal of a value as bytes to keep, for which large values go to storage.

    :param canonical: the canonical bytes, if :meth:`Codec.transfer` has just given the value with them: a large value
        is then not hashed again.
    :raises TypeTransformerFailedError: the value does not fit.
    """
    try:
        return codec.wire(value) if canonical is None else codec.wire_taken(value, canonical)
    except Mismatch as mismatch:
        raise mismatch.failure() from mismatch.__cause__


async def load_values(codecs: "Iterable[tuple[str, Codec[Any]]]", data: bytes) -> list[Any]:
    """What :func:`dump_values` made the bytes from, in the order of the codecs.

    :raises TypeTransformerFailedError: the bytes are damaged, or hold other values than the codecs are for.
    """
    kept = _map_of(data)
    loaded = []
    for name, codec in codecs:
        if name not in kept.literals:
            raise TypeTransformerFailedError(f"expected a stored value {name!r}, got {sorted(kept.literals)}")
        loaded.append(await codec.decode_async(kept.literals[name]))
    return loaded


def names_of(data: bytes) -> set[str]:
    """The names of stored values.

    :raises TypeTransformerFailedError: the bytes are damaged.
    """
    return set(_map_of(data).literals)


def _map_of(data: bytes) -> "LiteralMap":
    from flyteidl2.core.literals_pb2 import LiteralMap
    from google.protobuf.message import DecodeError

    try:
        return LiteralMap.FromString(data)
    except DecodeError as error:
        raise TypeTransformerFailedError(f"expected stored values, got damaged bytes: {error}") from error
