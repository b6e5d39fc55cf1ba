"""Objects in the memory of this process, under ``memory://``: for tests."""

from collections.abc import AsyncIterable, AsyncIterator

from flyte.storage._failures import missing
from flyte.storage._store import CHUNK_BYTES, CONCURRENCY, ObjectInfo
from flyte.storage._uri import Location


class MemoryStore:
    """A dict of bytes that the whole process shares; it never shrinks by itself."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def stat(self, at: Location) -> ObjectInfo | None:
        """What is known of an object."""
        data = self.objects.get(at.key)
        return None if data is None else ObjectInfo(at.key, len(data))

    async def read(
        self, at: Location, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """The bytes of an object."""
        data = self.objects.get(at.key)
        if data is None:
            raise missing(at)
        stop = len(data) if end is None else min(end, len(data))
        for position in range(start, stop, chunk_bytes):
            yield data[position : min(position + chunk_bytes, stop)]

    async def write(
        self,
        at: Location,
        chunks: AsyncIterable[bytes],
        chunk_bytes: int = CHUNK_BYTES,
        concurrency: int = CONCURRENCY,
    ) -> None:
        """Keep bytes under a key."""
        if not at.key:
            raise ValueError(f"{at.uri!r} names no object; write memory://path")
        self.objects[at.key] = b"".join([bytes(chunk) async for chunk in chunks])

    async def list(self, at: Location) -> AsyncIterator[ObjectInfo]:
        """Every object below a key."""
        prefix = f"{at.key}/" if at.key else ""
        for key in sorted(self.objects):
            if key.startswith(prefix) and key in self.objects:
                yield ObjectInfo(key, len(self.objects[key]))


MEMORY = MemoryStore()
