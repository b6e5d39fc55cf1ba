"""A file of this machine into a cloud: with a checksum, and a second, more patient try for a slow or broken way up.

The object appears whole when its last part is there. An upload that ends before, or whose process dies, leaves nothing
that can be seen; what obstore sent is given back if the process lives. It is not resumed but started again, and the log
says so: obstore has no list of the parts that a store holds. Servers of S3 check each part against its signature.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from flyte._core.log import logger
from flyte.storage._download import SHA256_ATTRIBUTE
from flyte.storage._failures import Changed, of_system
from flyte.storage._local import LOCAL
from flyte.storage._uri import Location

if TYPE_CHECKING:
    from flyte.storage._clouds import CloudStore


async def upload(store: "CloudStore", source: Location, target: Location, part_bytes: int, concurrency: int) -> None:
    """Send a file.

    :param part_bytes: length of one part.
    :param concurrency: how many parts at once.
    :raises OSError: the file changed while it was read, or the store has another length of it.
    :raises ConnectionError: the connection breaks again and again.
    :raises TimeoutError: nothing moves.
    """
    expected = await asyncio.to_thread(_digest, source)
    attributes = {SHA256_ATTRIBUTE: expected}
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        sent = 0
        digest = hashlib.sha256()
        async for chunk in LOCAL.read(source, 0, None, part_bytes):
            await asyncio.to_thread(digest.update, chunk)
            sent += len(chunk)
            yield chunk
        if digest.hexdigest() != expected:
            raise Changed(f"{source.uri!r} was changed while it was uploaded")

    try:
        await store.write(target, chunks(), part_bytes, concurrency, attributes)
    except (ConnectionError, TimeoutError) as error:
        if not store.retries:
            raise
        logger.warning("the upload was interrupted and starts again from the beginning, part by part: %s", error)
        await store.write(target, chunks(), part_bytes, concurrency, attributes, patient=True)
    info = await store.stat(target)
    if info is None or info.size_bytes != sent:
        there = "nothing" if info is None else f"{info.size_bytes:,} bytes"
        raise OSError(f"{target.uri!r}: {sent:,} bytes were sent, but the store has {there}")


def _digest(source: Location) -> str:
    try:
        with open(source.key, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise of_system(source, error) from error
