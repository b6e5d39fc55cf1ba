"""What users do with storage: look, copy in and out, stream, open.

Tasks' own files and folders (:mod:`flyte.io`) are made of these. A target without a name goes below the raw-data path
of the run; outside a run into a temporary folder.
"""

import asyncio
import os
import pathlib
import secrets
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

from flyte._core.context import current
from flyte._core.loop import run_blocking
from flyte.storage._chunks import check_chunk, read_chunks, write_chunks
from flyte.storage._failures import is_folder, missing
from flyte.storage._local import copy_file
from flyte.storage._rewrite import is_there, locate_to_read
from flyte.storage._store import CHUNK_BYTES, CONCURRENCY, ObjectInfo, store_for
from flyte.storage._streams import AsyncReadableFile, AsyncWritableFile, open_reader
from flyte.storage._uri import CLOUDS, Location, check_relative, file_name, join, locate

_SMALL_BYTES = CHUNK_BYTES
_MODES = {"rb": (False, False), "r": (False, True), "rt": (False, True), "wb": (True, False), "w": (True, True)}
_MODES["wt"] = _MODES["w"]


def get_random_local_directory() -> pathlib.Path:
    """A new empty folder in the temporary folder of this machine."""
    return pathlib.Path(tempfile.mkdtemp(prefix="flyte-"))


def get_random_local_path(file_path_or_file_name: pathlib.Path | str | None = None) -> pathlib.Path:
    """A path in a new temporary folder, where there is no file yet.

    :param file_path_or_file_name: its last segment names the file; None for a random name.
    """
    name = file_name(str(file_path_or_file_name)) if file_path_or_file_name else ""
    if name in (".", ".."):
        raise ValueError(f"{str(file_path_or_file_name)!r} names no file")
    return get_random_local_directory() / (name or secrets.token_hex(16))


def raw_path(name: str | None = None) -> str:
    """A new place below the raw-data path of the run, under a random folder; outside a run in a temporary folder.

    :param name: last segment; None for a random name.
    :raises ValueError: the name leads out of the folder.
    """
    if name is not None:
        check_relative(name, "the name of a file or folder")
    context = current.get()
    base = context.execution.raw_data_path if context is not None else ""
    if not base:
        folder = str(get_random_local_directory())
        return join(folder, name or secrets.token_hex(16))
    place = join(base, secrets.token_hex(16))
    return join(place, name) if name else place


async def exists(path: str, **kwargs: Any) -> bool:
    """Whether there is a file, a folder, or an object; a prefix under which there are objects counts as a folder.

    :param path: a path or URI.
    :raises ValueError: an unknown scheme.
    :raises PermissionError: the store does not let us look.
    """
    _refuse("exists", kwargs)
    return await is_there(await locate_to_read(path))


def exists_sync(path: str, **kwargs: Any) -> bool:
    """:func:`exists` for code that is not async."""
    return run_blocking(lambda: exists(path, **kwargs))


async def get(from_path: str, to_path: str | pathlib.Path | None = None, recursive: bool = False, **kwargs: Any) -> str:
    """Copy an object to a file of this machine, or, recursively, a folder; returns where it is.

    :param from_path: path or URI of the object or folder.
    A large object of a cloud comes in parts, side by side. When that is interrupted, the same call goes on with the
    parts that are whole; they wait in hidden files beside ``to_path``.

    :param to_path: the file or folder to make; a file is also put into a folder that exists. None for a new temporary
        place.
    :raises FileNotFoundError: there is nothing at ``from_path``.
    :raises ConnectionError: the connection broke, and broke again each time it was tried.
    :raises TimeoutError: nothing arrived for as long as the setting ``stall`` says, each time it was tried.
    :raises OSError: no space is left, or what arrived is not what the checksum in the store says.
    """
    _refuse("get", kwargs)
    source = await locate_to_read(from_path)
    target = str(to_path) if to_path is not None else str(get_random_local_path(file_name(source.key or source.root)))
    if locate(target).kind != "local":
        raise ValueError(f"to_path={target!r} is not a path of this machine; get() brings objects here")
    if recursive:
        await _copy_folder(source, target)
        return target
    path = locate(target).key
    if target.endswith("/") or await asyncio.to_thread(os.path.isdir, path):
        target = join(target, file_name(source.key))
    # Nobody could name a random place a second time, so there nothing is left to go on from.
    await _copy_object(source, locate(target), resumable=to_path is not None)
    return target


async def put(
    from_path: str,
    to_path: str | None = None,
    recursive: bool = False,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    max_concurrency: int | None = None,
    **kwargs: Any,
) -> str:
    """Copy a file of this machine, or, recursively, a folder, to storage; returns where it is.

    The SHA-256 of a file is kept with its object in a cloud, and :func:`get` checks it. An upload that is interrupted
    leaves nothing to be seen, and starts from the beginning.

    :param from_path: the file or folder.
    :param to_path: path or URI of the object or folder to make; None for a new place below the run's raw-data path.
    :param batch_size: how many files of a folder at once; default 4.
    :param chunk_size: bytes of one part; default 8 MiB.
    :param max_concurrency: how many parts of one file at once; default 4.
    :raises FileNotFoundError: there is nothing at ``from_path``.
    :raises ConnectionError: the connection broke, and broke again each time it was tried.
    :raises TimeoutError: a part was not sent in as long as the setting ``stall`` says, each time it was tried.
    """
    _refuse("put", kwargs)
    for name, value in (("batch_size", batch_size), ("chunk_size", chunk_size), ("max_concurrency", max_concurrency)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value!r} must be 1 or more")
    source = locate(from_path)
    if source.kind != "local":
        raise ValueError(f"from_path={from_path!r} is not a path of this machine; put() takes files from here")
    target = to_path if to_path is not None else raw_path(file_name(source.key) or None)
    chunk, at_once = chunk_size or CHUNK_BYTES, max_concurrency or CONCURRENCY
    if recursive:
        await _copy_folder(source, target, batch_size or CONCURRENCY, chunk, at_once)
    else:
        await _copy_object(source, locate(target), chunk, at_once)
    return target


async def get_stream(path: str, chunk_size: int = CHUNK_BYTES, **kwargs: Any) -> AsyncGenerator[bytes, None]:
    """The content of an object in chunks, with bounded memory.

    :param chunk_size: bytes of one chunk.
    :raises FileNotFoundError: there is no such object.
    """
    _refuse("get_stream", kwargs)
    async for chunk in read_chunks(path, chunk_size):
        yield chunk


async def put_stream(
    data_iterable: AsyncIterable[bytes] | Iterable[bytes] | bytes,
    *,
    name: str | None = None,
    to_path: str | None = None,
    size_hint: int | None = None,
    chunk_size: int | None = None,
    max_concurrency: int | None = None,
    **kwargs: Any,
) -> str:
    """Make an object of bytes or of chunks as they come, with bounded memory; returns where it is.

    :param data_iterable: the bytes, or an iterable of them, async or not.
    :param name: last segment of a new place below the run's raw-data path; not together with ``to_path``.
    :param to_path: path or URI of the object.
    :param size_hint: not needed; kept for compatibility.
    :param chunk_size: bytes of one part; default 8 MiB.
    :param max_concurrency: how many parts at once; default 4.
    """
    _refuse("put_stream", kwargs)
    if name is not None and to_path is not None:
        raise ValueError(f"put_stream takes name={name!r} or to_path={to_path!r}, not both")
    target = to_path if to_path is not None else raw_path(name)
    await write_chunks(data_iterable, target, chunk_size or CHUNK_BYTES, max_concurrency or CONCURRENCY)
    return target


async def open(path: str, mode: str = "rb", **kwargs: Any) -> AsyncReadableFile[Any] | AsyncWritableFile[Any]:
    """Open an object as an async file, for use in ``async with``.

    :param mode: ``rb`` or ``wb`` for bytes, ``r`` or ``w`` for UTF-8 text.
    :param kwargs: ``block_size``, the bytes of one chunk; default 8 MiB.
    :raises FileNotFoundError: it is to be read and is not there.
    :raises ValueError: another mode.
    """
    chunk_bytes = kwargs.pop("block_size", None) or CHUNK_BYTES
    _refuse("open", kwargs)
    return await open_stream(path, mode, chunk_bytes)


async def open_stream(
    path: str, mode: str, chunk_bytes: int = CHUNK_BYTES, update: Callable[[memoryview], None] | None = None
) -> AsyncReadableFile[Any] | AsyncWritableFile[Any]:
    """:func:`open` with a function that is told of all bytes written."""
    writing, text = parse_mode(mode)
    check_chunk(chunk_bytes)
    if writing:
        at = locate(path)
        return AsyncWritableFile(store_for(at), at, text, chunk_bytes, update)
    at = await locate_to_read(path)
    return await open_reader(store_for(at), at, text, chunk_bytes)


def parse_mode(mode: str) -> tuple[bool, bool]:
    """Whether a mode writes, and whether it is of text.

    :raises ValueError: objects cannot be opened so.
    """
    if mode not in _MODES:
        why = "; objects cannot be appended to" if "a" in mode else ""
        raise ValueError(f"mode={mode!r} is not one of {', '.join(sorted(_MODES))}{why}")
    return _MODES[mode]


def _refuse(function: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(
            f"flyte.storage.{function}() does not take {', '.join(map(repr, sorted(kwargs)))}; stores are set up with "
            "flyte.storage.S3, GCS or ABFS, or in the environment"
        )


async def _copy_object(
    source: Location,
    target: Location,
    chunk_bytes: int = CHUNK_BYTES,
    concurrency: int = CONCURRENCY,
    resumable: bool = True,
) -> None:
    if source.kind == target.kind == "local":
        await asyncio.to_thread(copy_file, source, target)
        return
    if source.kind == "local":
        if await asyncio.to_thread(os.path.isdir, source.key):
            raise is_folder(source, "pass recursive=True, or use Dir")
        if not await asyncio.to_thread(os.path.exists, source.key):
            raise missing(source)
        if target.kind in CLOUDS:
            from flyte.storage._clouds import cloud_store
            from flyte.storage._upload import upload

            await upload(cloud_store(target), source, target, chunk_bytes, concurrency)
            return
    elif source.kind in CLOUDS and target.kind == "local":
        from flyte.storage._clouds import cloud_store
        from flyte.storage._download import download

        await download(cloud_store(source), source, target, chunk_bytes, concurrency, resumable)
        return
    store = store_for(source)
    if await store.stat(source) is None:
        async for _ in store.list(source):
            raise is_folder(source, "pass recursive=True, or use Dir")
        raise missing(source)
    await store_for(target).write(target, store.read(source, 0, None, chunk_bytes), chunk_bytes, concurrency)


async def _copy_folder(
    source: Location,
    target: str,
    at_once: int = CONCURRENCY,
    chunk_bytes: int = CHUNK_BYTES,
    concurrency: int = CONCURRENCY,
) -> None:
    if source.kind == "local" and not await asyncio.to_thread(os.path.isdir, source.key):
        if await asyncio.to_thread(os.path.exists, source.key):
            raise NotADirectoryError(f"{source.uri!r} is a file; leave out recursive=True")
        raise missing(source)
    limit = asyncio.Semaphore(at_once)
    alone = asyncio.Lock()  # large objects use several chunks each, so one at a time keeps memory bounded

    async def copy(info: ObjectInfo) -> None:
        try:
            at, place = below(source, info.key), locate(join(target, relative(source, info.key)))
            if info.size_bytes > _SMALL_BYTES:
                async with alone:
                    await _copy_object(at, place, chunk_bytes, concurrency)
            else:
                await _copy_object(at, place, chunk_bytes, concurrency)
        finally:
            limit.release()

    found = False
    try:
        async with asyncio.TaskGroup() as group:
            async for info in store_for(source).list(source):
                found = True
                await limit.acquire()
                group.create_task(copy(info))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    if not found and source.kind != "local":
        raise missing(source)
    if locate(target).kind == "local":
        os.makedirs(locate(target).key, exist_ok=True)


def relative(folder: Location, key: str) -> str:
    """The path of an object below a folder.

    :raises ValueError: the key leads outside, as a key ``../x`` in a bucket might.
    """
    prefix = folder.key.rstrip("/") + "/" if folder.key else ""
    return check_relative(key.removeprefix(prefix).replace(os.sep, "/"), f"an object below {folder.uri!r}")


def below(folder: Location, key: str) -> Location:
    """The location of an object that a listing of a folder gave."""
    if folder.kind == "local":
        uri = join(folder.uri, relative(folder, key)) if "://" in folder.uri else key
        return Location(uri, "local", "", key)
    return Location(join(folder.uri, relative(folder, key)), folder.kind, folder.root, key)


async def list_objects(path: str) -> AsyncIterator[tuple[str, str, ObjectInfo]]:
    """Every object below a folder: its URI, its path below the folder, and what is known of it.

    :raises ValueError: a key leads outside of the folder.
    """
    at = await locate_to_read(path)
    async for info in store_for(at).list(at):
        yield below(at, info.key).uri, relative(at, info.key), info


async def digest_of(path: str, update: Callable[[memoryview], None]) -> None:
    """Show all bytes of an object to a hash, in order."""
    async for chunk in get_stream(path):
        update(memoryview(chunk))
