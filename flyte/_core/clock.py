"""Time as a seam: the system's clock, or a test's."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where waits and limits read the time."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        ...

    def time(self) -> float:
        """Seconds since the epoch, as ``time.time()`` gives them."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds on the running event loop."""
        await asyncio.sleep(delay_s)
