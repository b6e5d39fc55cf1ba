"""Files of this machine. System calls run in threads, so that the event loop goes on meanwhile."""

import asyncio
import errno
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from flyte.storage._failures import is_folder, is_out_of_space, missing, of_system
from flyte.storage._store import CHUNK_BYTES, CONCURRENCY, ObjectInfo
from flyte.storage._uri import Location

T = TypeVar("T")

PART = ".flyte-part"
"""Ending of a file that is still being written; such files are never listed."""
_HALVED_BYTES = 16 * 1024 * 1024
"""From this size on, a piece is read by two threads: most of the time goes to new memory, page by page (100 MB: 38 ms
by one thread, 22 ms by two on two cores, measured 2026-11-30)."""


class LocalStore:
    """Files by their path. A file is written beside its place and renamed, so nobody sees half of it."""

    async def stat(self, at: Location) -> ObjectInfo | None:
        """Size and time of a file; None for a folder, or nothing."""
        return await asyncio.to_thread(_stat, at)

    async def read(
        self, at: Location, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """The bytes of a file."""
        try:
            file = await _in_thread(io.FileIO, at.key)
            try:
                if start:
                    await _in_thread(file.seek, start)
                left = end - start if end is not None else None
                while left is None or left > 0:
                    size = chunk_bytes if left is None else min(chunk_bytes, left)
                    data = await (_in_halves(file, size) if size >= _HALVED_BYTES else _in_thread(file.read, size))
                    if not data:
                        break
                    if left is not None:
                        left -= len(data)
                    yield data
            finally:
                file.close()
        except OSError as error:
            raise of_system(at, error) from error

    async def write(
        self,
        at: Location,
        chunks: AsyncIterable[bytes],
        chunk_bytes: int = CHUNK_BYTES,
        concurrency: int = CONCURRENCY,
    ) -> None:
        """Write a file; its folders are made."""
        with replacing(at) as part:
            with open(part, "wb", 0) as file:  # noqa: ASYNC230 (opening a new file does not wait; writing does)
                async for chunk in chunks:
                    try:
                        await _in_thread(_write_all, file.fileno(), chunk)
                    except OSError as error:  # no space left
                        raise of_system(at, error) from error

    async def list(self, at: Location) -> AsyncIterator[ObjectInfo]:
        """Every file below a folder, following links.

        :raises ValueError: a link leads back to a folder above it.
        """
        pending = [(at.key, frozenset[str]())]
        while pending:
            folder, above = pending.pop()
            found, inner = await asyncio.to_thread(_scan, at, folder, above)
            for info in found:
                yield info
            pending += reversed(inner)


async def _in_thread(func: Callable[..., T], *args: Any) -> T:
    """Run a system call in a thread; a cancellation waits for it, because its file is closed next."""
    call = asyncio.ensure_future(asyncio.to_thread(func, *args))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if not call.done():
            await asyncio.wait({call})
        raise


async def _in_halves(file: io.FileIO, size: int) -> bytes:
    """Read up to ``size`` bytes from the file's position, a large piece by two threads at once."""
    position = file.tell()
    size = min(size, os.fstat(file.fileno()).st_size - position)
    if size < _HALVED_BYTES or not hasattr(os, "preadv"):
        return await _in_thread(file.read, max(size, 1))
    # The bytes that a BytesIO starts with and gives at last are one object, which is not copied.
    whole = io.BytesIO(bytes(size))
    half = size // 2
    with whole.getbuffer() as view, view[:half] as first, view[half:] as second:
        counts = await asyncio.gather(
            _in_thread(_fill, file.fileno(), first, position),
            _in_thread(_fill, file.fileno(), second, position + half),
        )
    count = sum(counts) if counts[0] == half else counts[0]
    file.seek(position + count)
    return whole.getvalue() if count == size else whole.getvalue()[:count]


def _fill(descriptor: int, into: memoryview, position: int) -> int:
    """Read into a buffer until it is full or the file ends; returns how many bytes there were."""
    done = 0
    while done < len(into) and (count := os.preadv(descriptor, [into[done:]], position + done)):
        done += count
    return done


def _stat(at: Location) -> ObjectInfo | None:
    try:
        found = os.stat(at.key)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise of_system(at, error) from error
    if os.path.isdir(at.key):
        return None
    return ObjectInfo(at.key, found.st_size, str(found.st_mtime_ns), found.st_mtime)


_Folder = tuple[str, frozenset[str]]
"""A folder that is still to be listed, and the real paths of all that hold it."""


def _scan(at: Location, folder: str, above: frozenset[str]) -> tuple[list[ObjectInfo], list[_Folder]]:
    real = os.path.realpath(folder)
    if real in above:
        raise ValueError(f"{at.uri!r}: the link {folder!r} leads back to a folder that holds it")
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = os.path.join(folder, entry.name)
                if entry.is_dir():
                    folders.append((path, above | {real}))
                elif not entry.name.endswith(PART):
                    try:
                        found = entry.stat()
                        files.append(ObjectInfo(path, found.st_size, str(found.st_mtime_ns), found.st_mtime))
                    except FileNotFoundError as error:
                        if entry.is_symlink():
                            raise FileNotFoundError(f"{path!r} is a link to a file that does not exist") from error
                        # It was removed since the folder was read.
    except (FileNotFoundError, NotADirectoryError):
        if above or os.path.isdir(folder):
            raise
        return [], []
    except OSError as error:
        raise of_system(at, error) from error
    return files, folders


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def replacing(at: Location) -> Iterator[str]:
    """The path of a new file beside a location, which takes its place when the ``with`` block ends well."""
    folder = os.path.dirname(at.key)
    part = os.path.join(folder, f".{os.path.basename(at.key)[:100]}.{os.urandom(8).hex()}{PART}")
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
        if not os.path.isdir(at.key) and not at.key.endswith("/"):
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise of_system(at, error) from error
    if not os.path.lexists(part):
        raise is_folder(at, "a file cannot take its place; name a file")
    try:
        yield part  # what is raised here may be of the user's own, and stays as it is
        try:
            os.replace(part, at.key)
        except OSError as error:
            raise of_system(at, error) from error
    except BaseException:
        # Also on cancellation: nothing half written is left behind.
        if os.path.lexists(part):
            os.unlink(part)
        raise


def copy_file(source: Location, target: Location) -> None:
    """Copy a file on this machine, by the operating system's own means; blocks."""
    if not os.path.exists(source.key):
        raise missing(source)
    if os.path.isdir(source.key):
        raise is_folder(source, "pass recursive=True, or use Dir")
    if os.path.exists(target.key) and os.path.samefile(source.key, target.key):
        return
    with replacing(target) as part:
        try:
            _copy_content(source.key, part)
        except OSError as error:
            # What is copied is named also when it is the other side that is full.
            of_source = error.filename == source.key and not is_out_of_space(error)
            raise of_system(source if of_source else target, error) from error


LOCAL = LocalStore()


# Where the system cannot copy inside the kernel: another file system, one that does not do it, or an old kernel.
_NOT_IN_KERNEL = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


def _copy_content(source: str, target: str) -> None:
    if hasattr(os, "copy_file_range"):
        try:
            with open(source, "rb") as reader, open(target, "wb") as writer:
                left = os.fstat(reader.fileno()).st_size
                # Shares the blocks where the file system can, and else copies them a quarter faster than sendfile.
                while left > 0 and (copied := os.copy_file_range(reader.fileno(), writer.fileno(), left)):
                    left -= copied
            if left == 0 and os.path.getsize(source) == os.path.getsize(target):
                return
        except OSError as error:
            if error.errno not in _NOT_IN_KERNEL:
                raise
    import shutil  # which brings every kind of archive with it

    shutil.copyfile(source, target)
