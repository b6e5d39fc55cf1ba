"""A proxy on loopback that misbehaves: it cuts connections, resets them, goes silent, and changes bytes.

Faults are given in a list and used up one by one, each by the first connection on which its time comes.
"""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

Way = Literal["down", "up"]


@dataclass
class Fault:
    """After ``after_bytes`` of one connection's answers (down) or requests (up) something goes wrong.

    :param kind: ``cut`` closes, ``reset`` resets, ``stall`` keeps the connection open and moves nothing more,
        ``flip`` changes one byte.
    """

    kind: Literal["cut", "reset", "stall", "flip"]
    after_bytes: int
    way: Way = "down"


class Line:
    """One connection, as both its directions see it."""

    is_silent = False
    """Nothing moves on it any more, and it stays open."""


class ChaosProxy:
    """Use in a ``with`` statement; ``endpoint`` is where clients go."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self.faults: list[Fault] = []
        self.moved = {"down": 0, "up": 0}
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> "ChaosProxy":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stopped is not None
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        there: asyncio.StreamWriter | None = None
        reset = False
        try:
            from_there, there = await asyncio.open_connection(*self._target, limit=1 << 20)
            line = Line()
            ways = [
                asyncio.ensure_future(self._move("up", reader, there, line)),
                asyncio.ensure_future(self._move("down", from_there, writer, line)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                reset = any(way.done() and isinstance(way.exception(), Reset) for way in ways)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            if reset:
                for end in filter(None, (writer, there)):
                    linger = struct.pack("ii", 1, 0)
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    end.transport.abort()
            writer.close()
            if there is not None:
                there.close()
            self._open.discard(task)

    async def _move(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
        count = 0
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                fault = next((f for f in self.faults if f.way == way and count + len(data) > f.after_bytes), None)
                if fault is not None:
                    self.faults.remove(fault)
                    here = max(0, fault.after_bytes - count)
                    if fault.kind == "flip":
                        data = data[:here] + bytes([data[here] ^ 1]) + data[here + 1 :]
                    else:
                        writer.write(data[:here])
                        await writer.drain()
                        if fault.kind == "stall":
                            await asyncio.Event().wait()
                        if fault.kind == "reset":
                            raise Reset
                        return
                count += len(data)
                self.moved[way] += len(data)
                writer.write(data)
                await writer.drain()


class Reset(Exception):
    """The connection is to be reset, both ways."""
