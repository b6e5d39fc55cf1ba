"""A named table of plugins that third parties fill by registration or through entry points."""

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Registry(Generic[K, V]):
    """Keys and the plugins registered for them.

    :param what: what is registered, in words for messages ("task plugin").
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._entries: dict[K, V] = {}
        self._lock = threading.Lock()

    def register(self, key: K, value: V) -> None:
        """Add an entry; the same pair may be registered again.

        :raises ValueError: another plugin is registered for ``key``.
        """
        with self._lock:
            present = self._entries.get(key)
            if present is not None and present is not value:
                raise ValueError(f"another {self._what} is already registered for {key!r}: {present!r}")
            self._entries[key] = value

    def replace(self, key: K, value: V) -> None:
        """Put another plugin in the place of the one that is registered for ``key``."""
        with self._lock:
            self._entries[key] = value

    def find(self, key: K) -> V | None:
        """The plugin registered for ``key``, or None."""
        return self._entries.get(key)

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._entries))
