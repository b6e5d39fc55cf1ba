"""Messages between a run and one of its workers, over a private pair of sockets.

A message is a tuple of plain values: its kind, then what belongs to it. Both ends are the same interpreter, so they are
written with :mod:`marshal`, which reads nothing but plain values; what a body got or gave is bytes in them.
"""

import asyncio
import marshal
from collections.abc import Callable
from typing import Any

HEADER_BYTES = 8
_JOINED = 64 * 1024
"""Up to so many bytes are copied behind their header; beyond that a second write is cheaper than the copy."""

Message = tuple[Any, ...]


class Channel(asyncio.Protocol):
    """One end.

    :param received: called with each message.
    :param closed: called once, when the other end is gone.
    """

    def __init__(self, received: Callable[[Message], None], closed: Callable[[], None]) -> None:
        self._received = received
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write what was sent before."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        for data in self._waiting:
            transport.write(data)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Hand out the messages that are complete."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            end = start + HEADER_BYTES + int.from_bytes(buffer[start : start + HEADER_BYTES], "big")
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                message = marshal.loads(view[start + HEADER_BYTES : end])
            start = end
            self._received(message)
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone, or this one was closed."""
        self._closed()

    def send(self, *message: Any) -> None:
        """Send a message; nothing happens if the other end is gone."""
        payload = marshal.dumps(message)
        header = len(payload).to_bytes(HEADER_BYTES, "big")
        pieces = [header + payload] if len(payload) <= _JOINED else [header, payload]
        if self._transport is None:
            self._waiting += pieces
            return
        for piece in pieces:
            self._transport.write(piece)

    def close(self) -> None:
        """Close this end at once."""
        if self._transport is not None:
            self._transport.abort()
