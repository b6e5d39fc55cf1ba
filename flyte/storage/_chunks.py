"""The content of one object, read and written in chunks: what the runtime of a task needs, and no more."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from flyte.storage._rewrite import locate_to_read
from flyte.storage._store import CHUNK_BYTES, CONCURRENCY, store_for
from flyte.storage._uri import locate


def check_chunk(chunk_bytes: int) -> None:
    """:raises ValueError: not a size that something can be moved in."""
    if chunk_bytes < 1:
        raise ValueError(f"chunk_size={chunk_bytes!r} must be 1 byte or more")


async def read_chunks(path: str, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
    """The content of an object, with bounded memory.

    :raises FileNotFoundError: there is no such object.
    """
    check_chunk(chunk_bytes)
    at = await locate_to_read(path)
    async for chunk in store_for(at).read(at, 0, None, chunk_bytes):
        yield chunk


async def write_chunks(
    data: AsyncIterable[bytes] | Iterable[bytes] | bytes,
    path: str,
    chunk_bytes: int = CHUNK_BYTES,
    concurrency: int = CONCURRENCY,
) -> None:
    """Make an object of bytes, or of pieces as they come, with bounded memory."""
    check_chunk(chunk_bytes)
    at = locate(path)
    await store_for(at).write(at, _rechunked(data, chunk_bytes), chunk_bytes, concurrency)


async def _rechunked(data: AsyncIterable[bytes] | Iterable[bytes] | bytes, chunk_bytes: int) -> AsyncIterator[bytes]:
    """The same bytes in chunks of one size, so that neither tiny nor huge pieces cost a store dearly."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        view = memoryview(data).cast("B")
        for start in range(0, len(view), chunk_bytes):
            yield bytes(view[start : start + chunk_bytes])
        return
    pending = bytearray()
    async for piece in data if isinstance(data, AsyncIterable) else _awaited(data):
        view = memoryview(piece).cast("B")
        while view:
            room = chunk_bytes - len(pending)
            pending += view[:room]
            view = view[room:]
            if len(pending) == chunk_bytes:
                yield bytes(pending)
                pending.clear()
    if pending:
        yield bytes(pending)


async def _awaited(data: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece
