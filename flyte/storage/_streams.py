"""Objects as async files: a reader that seeks, a writer whose object appears when it is closed well.

:func:`flyte.storage.open` makes them. They know a store and a location, nothing of tasks.
"""

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flyte.storage._failures import missing
from flyte.storage._store import CHUNK_BYTES, ObjectStore
from flyte.storage._uri import Location

D = TypeVar("D", bytes, str)


class AsyncReadableFile(Generic[D]):
    """An object opened for reading, as bytes or as UTF-8 text; use it in ``async with``.

    Memory holds one chunk, unless all of it is asked for at once. Seeking forgets the chunk.
    """

    def __init__(self, store: ObjectStore, at: Location, size_bytes: int, text: bool, chunk_bytes: int) -> None:
        self._store = store
        self._at = at
        self._size_bytes = size_bytes
        self._text = text
        self._chunk_bytes = chunk_bytes
        self._buffer = b""
        self._offset = 0  # in the buffer
        self._position = 0  # in the object, of the buffer's end
        self._chunks: AsyncIterator[bytes] | None = None
        self._decoder: Any = codecs.getincrementaldecoder("utf-8")() if text else None
        self._letters = ""
        self.closed = False

    @property
    def name(self) -> str:
        """The URI."""
        return self._at.uri

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """False."""
        return False

    def seekable(self) -> bool:
        """Whether :meth:`seek` may be used: not in text."""
        return not self._text

    async def read(self, size: int | None = -1) -> D:
        """Up to ``size`` bytes or characters, all that is left for -1 or None; empty at the end."""
        self._check()
        want = -1 if size is None else size
        if not self._text:
            return await self._bytes(want)  # type: ignore[return-value]
        pieces, count = [self._letters], len(self._letters)
        self._letters = ""
        while want < 0 or count < want:
            data = await self._bytes(self._chunk_bytes)
            pieces.append(self._decoder.decode(data, final=not data))
            count += len(pieces[-1])
            if not data:
                break
        letters = "".join(pieces)
        if want >= 0:
            letters, self._letters = letters[:want], letters[want:]
        return letters  # type: ignore[return-value]

    async def readline(self) -> D:
        """The next line with its end; empty at the end of the object."""
        self._check()
        if self._letters:
            raise ValueError("readline() after read(n) of text is not supported; read lines or characters, not both")
        parts = []
        while await self._fill():
            end = self._buffer.find(b"\n", self._offset)
            stop = end + 1 if end >= 0 else len(self._buffer)
            parts.append(self._buffer[self._offset : stop])
            self._offset = stop
            if end >= 0:
                break
        line = b"".join(parts)
        return line.decode() if self._text else line  # type: ignore[return-value]

    async def readlines(self) -> list[D]:
        """All lines that are left."""
        return [line async for line in self]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> D:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position: from the start (0), from here (1) or from the end (2).

        :raises ValueError: text, a position before the start, or another ``whence``.
        """
        self._check()
        if self._text:
            raise ValueError(f"{self._at.uri!r} is open as text; open it as 'rb' to seek")
        if whence not in (0, 1, 2):
            raise ValueError(f"whence={whence!r} is not one of 0, 1 and 2")
        position = offset + (0, await self.tell(), self._size_bytes)[whence]
        if position < 0:
            raise ValueError(f"seek to {position} is before the start of {self._at.uri!r}")
        await self._stop()
        self._buffer, self._offset, self._position = b"", 0, position
        return position

    async def tell(self) -> int:
        """The position, in bytes."""
        return self._position - (len(self._buffer) - self._offset)

    async def close(self) -> None:
        """Stop reading; more than once does no harm."""
        self.closed = True
        self._buffer = b""
        await self._stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _bytes(self, want: int) -> bytes:
        if want < 0 and self._at.kind in ("local", "memory") and self._offset == len(self._buffer):
            # All that is left is wanted, from a place that gives it at once.
            await self._stop()
            left = max(self._size_bytes - self._position, self._chunk_bytes)
            self._chunks = self._store.read(self._at, self._position, None, left)
        parts, count = [], 0
        while (want < 0 or count < want) and await self._fill():
            stop = len(self._buffer) if want < 0 else min(len(self._buffer), self._offset + want - count)
            whole = self._offset == 0 and stop == len(self._buffer)
            parts.append(self._buffer if whole else self._buffer[self._offset : stop])
            count += len(parts[-1])
            self._offset = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _fill(self) -> bool:
        """Whether there is something in the buffer, after reading more if need be."""
        if self._offset < len(self._buffer):
            return True
        if self._chunks is None:
            self._chunks = self._store.read(self._at, self._position, None, self._chunk_bytes)
        self._buffer, self._offset = b"", 0
        self._buffer = await anext(self._chunks, b"")
        self._position += len(self._buffer)
        return bool(self._buffer)

    async def _stop(self) -> None:
        chunks, self._chunks = self._chunks, None
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()

    def _check(self) -> None:
        if self.closed:
            raise ValueError(f"{self._at.uri!r} is closed")


class AsyncWritableFile(Generic[D]):
    """An object opened for writing, as bytes or as UTF-8 text; use it in ``async with``.

    The object appears, whole, when the block ends well; if it ends with an error there is no object.

    :param update: told of all bytes in order, for a hash.
    """

    def __init__(
        self,
        store: ObjectStore,
        at: Location,
        text: bool,
        chunk_bytes: int,
        update: Callable[[memoryview], None] | None = None,
    ) -> None:
        self._at = at
        self._text = text
        self._chunk_bytes = chunk_bytes
        self._update = update
        self._pending = bytearray()
        self._position = 0
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._written = asyncio.create_task(store.write(at, self._drain(), chunk_bytes))
        self.closed = False

    @property
    def name(self) -> str:
        """The URI."""
        return self._at.uri

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    async def write(self, data: D) -> int:
        """Add bytes or text; returns how many bytes or characters.

        :raises TypeError: text where bytes are written, or the other way round.
        :raises OSError: the store refused what was written before.
        """
        if self.closed:
            raise ValueError(f"{self._at.uri!r} is closed")
        if isinstance(data, str) != self._text:
            takes = "str; open it as 'wb' to write bytes" if self._text else "bytes; open it as 'w' to write text"
            raise TypeError(f"{self._at.uri!r} takes {takes}, but got {type(data).__name__}")
        encoded = data.encode() if isinstance(data, str) else data
        view = memoryview(encoded).cast("B")
        if self._update is not None:
            self._update(view)
        self._position += len(view)
        if type(encoded) is bytes and len(encoded) >= self._chunk_bytes and not self._pending:
            # Large, and nobody can change it: handed on as it is.
            await self._hand(encoded)
            return len(data)
        while view:
            room = self._chunk_bytes - len(self._pending)
            self._pending += view[:room]
            view = view[room:]
            if len(self._pending) >= self._chunk_bytes:
                await self._send()
        return len(data)

    async def tell(self) -> int:
        """How many bytes were written."""
        return self._position

    async def flush(self) -> None:
        """Does nothing: an object appears when it is closed."""

    async def close(self) -> None:
        """Send what is left and wait until the object is there."""
        if self.closed:
            return
        if self._pending:
            await self._send()
        self.closed = True
        await self._hand(None)
        await self._written

    async def abort(self) -> None:
        """Leave no object."""
        self.closed = True
        self._written.cancel()
        await asyncio.gather(self._written, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            await self.abort()
            return
        try:
            await self.close()
        except BaseException:
            await self.abort()
            raise

    async def _send(self) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        await self._hand(data)

    async def _hand(self, data: bytes | None) -> None:
        handing = asyncio.ensure_future(self._queue.put(data))
        try:
            # Whoever drains the queue may have failed; its error is the one to raise.
            await asyncio.wait({handing, self._written}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not handing.done():
                handing.cancel()
        if self._written.done() and data is not None:
            self.closed = True
            await self._written

    async def _drain(self) -> AsyncIterator[bytes]:
        while (data := await self._queue.get()) is not None:
            yield data


async def open_reader(
    store: ObjectStore, at: Location, text: bool, chunk_bytes: int = CHUNK_BYTES
) -> AsyncReadableFile[Any]:
    """A reader of an object.

    :raises FileNotFoundError: there is none.
    """
    info = await store.stat(at)
    if info is None:
        raise missing(at)
    return AsyncReadableFile(store, at, info.size_bytes, text, chunk_bytes)
