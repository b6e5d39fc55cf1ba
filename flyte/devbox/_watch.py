"""Changes to waiting streams. A subscriber that is slow gets the last state of what changed, never a backlog."""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any


class Subscription:
    """What has changed since it was last asked, by key."""

    __slots__ = ("_changed", "_woken")

    def __init__(self) -> None:
        self._changed: dict[Any, Any] = {}
        self._woken = asyncio.Event()

    def put(self, key: Hashable, value: Any) -> None:
        """Note that ``key`` is ``value`` now."""
        self._changed[key] = value
        self._woken.set()

    async def take(self, timeout_s: float | None = None) -> dict[Any, Any]:
        """All that changed since the last call, waiting for it at most ``timeout_s`` seconds; empty after that."""
        if not self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._woken.wait()
            except TimeoutError:
                return {}
        self._woken.clear()
        changed, self._changed = self._changed, {}
        return changed


class Changes:
    """Who waits for what."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[Subscription]] = {}

    @contextmanager
    def subscribed(self, *topics: Hashable) -> Iterator[Subscription]:
        """A subscription to ``topics`` for as long as the block runs."""
        subscription = Subscription()
        for topic in topics:
            self._waiting.setdefault(topic, []).append(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                left = self._waiting[topic]
                left.remove(subscription)
                if not left:
                    del self._waiting[topic]

    def is_watched(self, topic: Hashable) -> bool:
        """Whether anybody waits for ``topic``."""
        return topic in self._waiting

    def publish(self, topic: Hashable, key: Hashable, value: Any = None) -> None:
        """Tell whoever waits for ``topic`` that ``key`` is ``value`` now."""
        for subscription in self._waiting.get(topic, ()):
            subscription.put(key, value)
