"""A proxy on loopback that knows where the messages of HTTP/2 begin, and misbehaves there.

Between a client or a container and its control plane, in plain text. Each HEADERS and DATA frame of a stream counts, in
both directions and over all connections: a call of gRPC is a HEADERS frame and a DATA frame for each message, and its
answer is HEADERS, DATA and HEADERS again. Housekeeping (SETTINGS, PING, WINDOW_UPDATE) passes uncounted.
"""

import asyncio
from contextlib import suppress
from typing import Literal

from tests.storage.chaos_proxy import ChaosProxy, Line, Reset, Way

WireFault = Literal["cut", "reset", "silent", "delay", "hold"]
"""What becomes of the connection when a frame is due: ``cut`` closes it, ``reset`` resets it, ``silent`` keeps it open
and swallows the frame and all after it, both ways; ``delay`` lets it pass later, with all behind it in its direction;
``hold`` lets frames of other streams overtake it."""
FAULTS: tuple[WireFault, ...] = ("cut", "reset", "silent", "delay", "hold")

_DATA, _HEADERS, _RST_STREAM = 0, 1, 3
_PREFACE_BYTES, _HEAD_BYTES = 24, 9


class WireProxy(ChaosProxy):
    """Use in a ``with`` statement.

    :param target: ``host:port`` of the control plane.
    :param late_s: how long a frame is delayed or held.
    """

    def __init__(self, target: str, late_s: float = 0.3) -> None:
        super().__init__(target)
        self.late_s = late_s
        self.planned: dict[int, WireFault] = {}
        """What is to happen at which frame, counted from 1; taken out when it has happened."""
        self.frames = 0
        self.done: list[tuple[int, WireFault]] = []

    async def _move(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
        held = _Held(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                if way == "up":
                    writer.write(await reader.readexactly(_PREFACE_BYTES))
                while True:
                    head = await reader.readexactly(_HEAD_BYTES)
                    frame = head + await reader.readexactly(int.from_bytes(head[:3], "big"))
                    kind, stream = head[3], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
                    if line.is_silent:
                        continue
                    fault = self._due() if stream and kind in (_DATA, _HEADERS) else None
                    if fault == "cut":
                        return
                    if fault == "reset":
                        raise Reset
                    if fault == "silent":
                        line.is_silent = True
                        continue
                    if fault == "delay":
                        await asyncio.sleep(self.late_s)
                    if fault == "hold" and held.stream == 0:
                        held.begin(stream, self.late_s)
                    if not held.take(kind, stream, frame):
                        writer.write(frame)
                    await writer.drain()
        finally:
            held.end()

    def _due(self) -> WireFault | None:
        self.frames += 1
        fault = self.planned.pop(self.frames, None)
        if fault is not None:
            self.done.append((self.frames, fault))
        return fault


class _Held:
    """The frames of one stream that others overtake, in one direction of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.stream = 0
        self._writer = writer
        self._frames: list[bytes] = []
        self._has_headers = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, stream: int, for_s: float) -> None:
        self.stream = stream
        self._timer = asyncio.get_running_loop().call_later(for_s, self.let_go)

    def take(self, kind: int, stream: int, frame: bytes) -> bool:
        """Whether the frame is held back."""
        if self.stream == 0:
            return False
        # Headers are compressed with what was in the headers before them: they stay in order, over all streams.
        if (kind == _HEADERS and stream != self.stream and self._has_headers) or kind == _RST_STREAM:
            self.let_go()
            return False
        if stream != self.stream or kind not in (_DATA, _HEADERS):
            return False
        self._has_headers = self._has_headers or kind == _HEADERS
        self._frames.append(frame)
        return True

    def let_go(self) -> None:
        """Let them pass."""
        self.end()
        if not self._writer.is_closing():
            self._writer.write(b"".join(self._frames))
        self._frames, self.stream, self._has_headers = [], 0, False

    def end(self) -> None:
        """The connection is at its end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
