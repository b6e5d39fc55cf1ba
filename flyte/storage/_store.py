"""The seam of the room: what a store must do, and which one serves a URI.

A store moves bytes between a key and an iterator of chunks. It knows nothing of folders on this machine, of File and
Dir, or of tasks. Adding one: a class of this form, and :func:`register_store`, or an entry point.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import NamedTuple, Protocol, cast

from flyte.storage import _registry
from flyte.storage._uri import SCHEMES, Location

CHUNK_BYTES = 8 * 1024 * 1024
"""How much is moved at once; with :data:`CONCURRENCY` this bounds the memory of a transfer to 32 MiB."""
CONCURRENCY = 4
"""How many chunks of one object, or small objects of a folder, are under way at once."""


class ObjectInfo(NamedTuple):
    """What a store knows of an object.

    :param key: its path in the store.
    :param size_bytes: its length.
    :param version: something that changes with the content, such as an ETag; empty if the store has none.
    :param modified_s: when it was written, in seconds since 1970 by the store's clock; 0 if the store does not say.
    """

    key: str
    size_bytes: int
    version: str = ""
    modified_s: float = 0.0


class ObjectStore(Protocol):
    """Objects under keys: what serves the URIs of one scheme.

    ``at.root`` and ``at.key`` are the two parts of ``scheme://root/key``. Every error is one of Python's own and names
    ``at.uri``. Calls come from several event loops and threads of a process, and side by side.
    """

    async def stat(self, at: Location) -> ObjectInfo | None:
        """What is known of an object; None when there is none."""
        ...

    def read(
        self, at: Location, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """The bytes from ``start`` to before ``end``, in chunks.

        :raises FileNotFoundError: there is no such object.
        """
        ...

    async def write(
        self,
        at: Location,
        chunks: AsyncIterable[bytes],
        chunk_bytes: int = CHUNK_BYTES,
        concurrency: int = CONCURRENCY,
    ) -> None:
        """Make an object of these bytes; it appears whole, or, when anything fails, not at all."""
        ...

    def list(self, at: Location) -> AsyncIterator[ObjectInfo]:
        """Every object below a key, at any depth, in an order that does not change; nothing when there is none."""
        ...


def register_store(scheme: str, store: ObjectStore | Callable[[], ObjectStore]) -> None:
    """Let a store serve all URIs of a scheme: in ``flyte.storage``, for File, Dir and frames, and as raw-data path.

    Each process in which such a URI is used registers it: at the top of a task's module, or by an entry point of the
    group ``flyte.plugins.storage`` in an installed package, which has the scheme's name and gives what ``store`` takes.

    :param scheme: what stands before ``://``, in lower case.
    :param store: the store, or a class or function that makes it on first use.
    :raises ValueError: it is no scheme, or another store has it.
    :raises TypeError: it lacks a method of :class:`ObjectStore`.
    """
    _registry.add(scheme, store, SCHEMES)


def store_for(at: Location) -> ObjectStore:
    """The store that serves a location.

    :raises ImportError: the package for its cloud is not installed.
    :raises TypeError: what was registered for its scheme makes no store.
    """
    if at.kind == "local":
        from flyte.storage._local import LOCAL

        return LOCAL
    if at.kind == "memory":
        from flyte.storage._memory import MEMORY

        return MEMORY
    if at.kind == "registered":
        return cast(ObjectStore, _registry.find(at.uri.partition("://")[0].lower()))
    from flyte.storage._clouds import cloud_store

    return cloud_store(at)
