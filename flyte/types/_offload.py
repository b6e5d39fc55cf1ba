"""Values that are too large to travel inside a message: each is stored once, by content, and passed by reference.

What is left in its place is a literal of offloaded metadata (wire-protocol section 7): the URI of a file that holds the
value's own literal, its size and its type. Whoever decodes it reads the file then. Called where values become bytes to
keep or to send; a value that only crosses a boundary inside the process never comes here.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from flyteidl2.core.literals_pb2 import Literal, LiteralOffloadedMetadata

from flyte._core.threads import run_in_thread
from flyte.errors import TypeTransformerFailedError

from . import _framing as framing
from ._codec import Codec, parse_literal
from ._files import keep
from ._hashing import canonical_bytes
from ._inline import INLINE_BYTES, digest_of, positions_apart

ENDING = ".literal"
"""Of files that hold one literal and are named by the SHA-256 of their bytes."""


async def store_large(data: bytes, codecs: Iterable[tuple[str, Codec[Any]]]) -> bytes:
    """The bytes of a LiteralMap with its largest values stored apart, if they are too many.

    The map's members are taken as bytes: a message of millions of numbers would be many times as large.

    :raises TypeTransformerFailedError: a value cannot be stored.
    """
    if len(data) <= INLINE_BYTES:
        return data
    codec_of = dict(codecs)
    members = framing.split_map(data)
    apart = positions_apart([len(value) for _, value in members])
    stored = [
        await _store(name, value, codec_of.get(name)) if position in apart else value
        for position, (name, value) in enumerate(members)
    ]
    return b"".join(
        framing.map_entry(name.encode(), bytes(value)) for (name, _), value in zip(members, stored, strict=True)
    )


async def store_large_literals(named: Sequence[Any], codecs: Sequence[Codec[Any]]) -> None:
    """Store the largest values of a message of inputs or outputs apart, in place, if they are too many.

    :param named: NamedLiterals.
    :param codecs: of each.
    :raises TypeTransformerFailedError: a value cannot be stored.
    """
    if sum(one.value.ByteSize() for one in named) <= INLINE_BYTES:
        return
    canonical = [canonical_bytes(one.value) for one in named]
    for position in positions_apart([len(data) for data in canonical]):
        one = named[position]
        # The same stands for the value in a hash of inputs as where the caller has the value itself.
        content_hash = one.value.hash or digest_of(canonical[position])
        whole = one.value.SerializeToString(deterministic=True)
        one.value.CopyFrom(parse_literal(await _store(one.name, whole, codecs[position], content_hash)))


async def _store(
    name: str, whole: bytes | memoryview, codec: Codec[Any] | None, content_hash: str | None = None
) -> bytes:
    """The literal of offloaded metadata for a value's own literal.

    :param content_hash: what stands for the value in hashes; the hash of its bytes if not given.
    """

    def write(path: str) -> None:
        with open(path, "wb") as file:
            file.write(whole)

    def stored() -> tuple[str, str]:
        digest = digest_of(whole)
        return digest, keep(f"{digest}{ENDING}", write, len(whole))

    try:
        digest, uri = await run_in_thread(stored)
    except (OSError, ValueError) as error:
        raise TypeTransformerFailedError(
            f"{name!r} takes {len(whole):,} bytes, too many for a message, and cannot be stored: {error}"
        ) from error
    metadata = LiteralOffloadedMetadata(uri=uri, size_bytes=len(whole))
    if codec is not None:
        metadata.inferred_type.CopyFrom(codec.literal_type)
    return Literal(offloaded_metadata=metadata, hash=content_hash or digest).SerializeToString(deterministic=True)
