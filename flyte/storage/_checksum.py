"""A checksum of an object's content, made while it streams past."""

import hashlib

from flyte.storage._store import CHUNK_BYTES, store_for
from flyte.storage._uri import locate


async def checksum(path: str, algorithm: str = "sha256") -> str:
    """The checksum of a file or object, in hexadecimal, with bounded memory.

    :param algorithm: a name that :mod:`hashlib` knows.
    :raises ValueError: an unknown algorithm.
    :raises FileNotFoundError: there is no such object.
    """
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake_"):
        known = ", ".join(sorted(n for n in hashlib.algorithms_guaranteed if not n.startswith("shake_")))
        raise ValueError(f"algorithm={algorithm!r} is not one of {known}")
    at = locate(path)
    digest = hashlib.new(algorithm, usedforsecurity=False)
    async for chunk in store_for(at).read(at, 0, None, CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
