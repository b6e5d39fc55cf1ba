"""A large object of a cloud into a file of this machine, in parts side by side, so that a later call can go on.

Beside the target stand, until it is whole, a file of its size and a record: which object it is of, and the SHA-256 of
each part that is complete. Another call for the same object and target, also from another process after a crash, takes
the parts that are still what the record says and asks for the others. Nothing is at the target before all of it is.
"""

import asyncio
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flyte._core.log import logger
from flyte.storage._failures import Changed, Damaged, is_folder, is_out_of_space, missing, no_space, of_system
from flyte.storage._local import PART, replacing
from flyte.storage._store import ObjectInfo
from flyte.storage._uri import Location

if TYPE_CHECKING:
    from flyte.storage._clouds import CloudStore

SHA256_ATTRIBUTE = "flytesha256"
"""What uploads keep with an object. Letters and digits only, which every cloud takes as a name."""
_HASHED_AT_ONCE_BYTES = 1024 * 1024
_FORM = 1
_MD5 = re.compile("[0-9a-f]{32}")
"""The ETag of an object in S3 that was sent in one piece is its MD5; one of several parts has another form."""


async def download(
    store: "CloudStore", source: Location, target: Location, part_bytes: int, concurrency: int, resumable: bool
) -> None:
    """Bring an object here.

    :param part_bytes: length of one part.
    :param concurrency: how many parts at once.
    :param resumable: keep what has arrived when it does not end well, for another call.
    :raises FileNotFoundError: there is no such object.
    :raises OSError: no space, or not what the store's checksum says.
    :raises ConnectionError: the connection breaks again and again.
    :raises TimeoutError: nothing arrives.
    """
    info = await store.stat(source)
    if info is None:
        async for _ in store.list(source):
            raise is_folder(source, "pass recursive=True, or use Dir")
        raise missing(source)
    if os.path.isdir(target.key):  # noqa: ASYNC240 (one system call, of a folder that is looked at next anyway)
        raise is_folder(target, "a file cannot take its place; name a file")
    await asyncio.to_thread(_prepare_folder, target)
    if info.size_bytes <= part_bytes:
        await _fetch_small(store, source, target, info)
        return
    parts = await asyncio.to_thread(_Parts.open, source, target, info, part_bytes, resumable)
    try:
        await _fetch_parts(store, source, target, info, parts, concurrency)
    except BaseException as error:
        useless = isinstance(error, (Changed, Damaged, FileNotFoundError)) or is_out_of_space(error)
        await asyncio.to_thread(parts.close, resumable and not useless)
        raise
    await asyncio.to_thread(parts.close, False)


def _prepare_folder(target: Location) -> None:
    try:
        os.makedirs(os.path.dirname(target.key) or ".", exist_ok=True)
    except OSError as error:
        raise of_system(target, error) from error


async def _fetch_small(store: "CloudStore", source: Location, target: Location, info: ObjectInfo) -> None:
    attributes: dict[str, str] = {}
    data = bytearray()
    if info.size_bytes:
        data = await store.fetch(source, 0, info.size_bytes, info.version, attributes)
    await _compare(
        store,
        source,
        info,
        attributes,
        lambda algorithm: hashlib.new(algorithm, data, usedforsecurity=False).hexdigest(),
    )
    await asyncio.to_thread(_write_small, target, data)


def _write_small(target: Location, data: bytearray) -> None:
    with replacing(target) as part:
        try:
            with open(part, "wb") as file:
                file.write(data)
        except OSError as error:
            raise of_system(target, error) from error


async def _fetch_parts(
    store: "CloudStore", source: Location, target: Location, info: ObjectInfo, parts: "_Parts", concurrency: int
) -> None:
    attributes: dict[str, str] = {}
    waiting = iter(parts.missing())

    async def work() -> None:
        for number in waiting:
            start, end = parts.range_of(number)
            data = await store.fetch(source, start, end, parts.version, attributes)
            keeping = asyncio.ensure_future(asyncio.to_thread(parts.keep, number, data))
            del data  # or it would stay until the next part is here
            try:
                await asyncio.shield(keeping)
            except asyncio.CancelledError:
                await asyncio.wait({keeping})  # it writes to a file that is closed next
                raise

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, concurrency - 1)):  # one part more is in memory, of which the file is written
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    if not attributes:  # all parts were here already
        await store.fetch(source, 0, 1, parts.version, attributes)
    await _compare(store, source, info, attributes, parts.digest)
    try:
        await asyncio.to_thread(os.replace, parts.path, target.key)
    except OSError as error:
        raise of_system(target, error) from error


async def _compare(
    store: "CloudStore",
    source: Location,
    info: ObjectInfo,
    attributes: dict[str, str],
    digest: Callable[[str], str],
) -> None:
    """Hold what arrived against the checksum that is kept with the object, if there is one.

    :param digest: gives the checksum of what arrived, for the name of an algorithm.
    """
    expected = attributes.get(SHA256_ATTRIBUTE)
    if expected is not None:
        found = await asyncio.to_thread(digest, "sha256")
        if found != expected:
            raise Damaged(f"{source.uri!r}: what arrived has the SHA-256 {found}, but the store says {expected}")
        return
    tag = info.version.strip('"')
    if source.kind != "s3" or store.has_opaque_tags or not _MD5.fullmatch(tag):
        return
    found = await asyncio.to_thread(digest, "md5")
    if found == tag:
        return
    # Buckets that are encrypted with a key of their own give tags that look the same and mean nothing.
    again = hashlib.md5(usedforsecurity=False)
    async for chunk in store.read(source):
        await asyncio.to_thread(again.update, chunk)
    if again.hexdigest() != found:
        raise Damaged(f"{source.uri!r}: what arrived has the MD5 {found}, but the store says {tag}")
    store.has_opaque_tags = True


@dataclass
class _Parts:
    """The parts of one download: a file that is filled, and a record of what is in it."""

    target: Location
    path: str
    record_path: str
    size_bytes: int
    part_bytes: int
    version: str
    file: int
    record: int
    done: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, source: Location, target: Location, info: ObjectInfo, part_bytes: int, resumable: bool) -> "_Parts":
        """The parts that an earlier call left, those that are whole; else none.

        :raises OSError: the device has too little space, or the folder cannot be written.
        """
        try:
            return cls._open(source, target, info, part_bytes, resumable)
        except OSError as error:
            raise error if error.filename is None else of_system(target, error) from error

    @classmethod
    def _open(cls, source: Location, target: Location, info: ObjectInfo, part_bytes: int, resumable: bool) -> "_Parts":
        folder, name = os.path.split(target.key)
        # Without a version nobody knows whether the parts are of the same object; and of two calls one resumes.
        resumable = resumable and bool(info.version)
        mark = hashlib.sha256(source.uri.encode()).hexdigest()[:16] if resumable else secrets.token_hex(8)
        stem = os.path.join(folder, f".{name[:80]}.{mark}")
        record = _locked(f"{stem}.record{PART}")
        if record is None:
            stem = os.path.join(folder, f".{name[:80]}.{secrets.token_hex(8)}")
            record = _locked(f"{stem}.record{PART}")
            assert record is not None
        record_path, path = f"{stem}.record{PART}", f"{stem}{PART}"
        file = -1
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            parts = cls(target, path, record_path, info.size_bytes, part_bytes, info.version, file, record)
            parts._resume(source)
            parts._check_space(folder or ".")
        except BaseException as error:
            for descriptor in (file, record):
                if descriptor >= 0:
                    os.close(descriptor)
            if is_out_of_space(error):
                _unlink(path, record_path)
            raise
        return parts

    def _resume(self, source: Location) -> None:
        header = {
            "form": _FORM,
            "source": source.uri,
            "version": self.version,
            "size_bytes": self.size_bytes,
            "part_bytes": self.part_bytes,
        }
        lines = _lines(self.record)
        if lines and lines[0] == header:
            for line in lines[1:]:
                number, expected = line.get("part"), line.get("sha256")
                if isinstance(number, int) and number < self._count and self._digest_part(number) == expected:
                    self.done.add(number)
            if self.done:
                logger.info("%s: %d of %d parts are here already", source.uri, len(self.done), self._count)
        elif lines:
            logger.info("%s: what was here is of another version; starting again", source.uri)
        # Written anew: a record that was cut off in the middle of a line stays readable.
        whole = [header, *({"part": n, "sha256": self._digest_part(n)} for n in sorted(self.done))]
        os.ftruncate(self.record, 0)
        os.lseek(self.record, 0, os.SEEK_SET)
        _write_all(self.record, b"".join(json.dumps(line).encode() + b"\n" for line in whole))
        if not self.done:
            os.ftruncate(self.file, 0)
        os.ftruncate(self.file, self.size_bytes)

    def _check_space(self, folder: str) -> None:
        to_come = self.size_bytes - sum(self._length(number) for number in self.done)
        free = shutil.disk_usage(folder).free
        if to_come > free:
            raise no_space(self.target, to_come, free)

    @property
    def _count(self) -> int:
        return -(-self.size_bytes // self.part_bytes)

    def range_of(self, number: int) -> tuple[int, int]:
        """First byte of a part, and the one after its last."""
        return number * self.part_bytes, min((number + 1) * self.part_bytes, self.size_bytes)

    def _length(self, number: int) -> int:
        start, end = self.range_of(number)
        return end - start

    def missing(self) -> list[int]:
        """Numbers of the parts that are not here."""
        return [number for number in range(self._count) if number not in self.done]

    def keep(self, number: int, data: bytearray) -> None:
        """Write a part, and then the record of it."""
        try:
            _write_all(self.file, data, self.range_of(number)[0])
            line = json.dumps({"part": number, "sha256": hashlib.sha256(data).hexdigest()})
            _write_all(self.record, line.encode() + b"\n")
        except OSError as error:
            raise of_system(self.target, error) from error
        self.done.add(number)

    def digest(self, algorithm: str) -> str:
        """The checksum of all parts in order."""
        return self._digest_of(0, self.size_bytes, algorithm)

    def _digest_part(self, number: int) -> str:
        return self._digest_of(*self.range_of(number))

    def _digest_of(self, start: int, end: int, algorithm: str = "sha256") -> str:
        digest = hashlib.new(algorithm, usedforsecurity=False)
        while start < end and (data := os.pread(self.file, min(_HASHED_AT_ONCE_BYTES, end - start), start)):
            digest.update(data)
            start += len(data)
        return digest.hexdigest()

    def close(self, keep: bool) -> None:
        """Let go of the files.

        :param keep: leave them for another call.
        """
        if not keep:
            _unlink(self.path, self.record_path)
        os.close(self.file)
        os.close(self.record)


def _locked(path: str) -> int | None:
    """A file that only we have open for writing; None if another process, or another call here, has it."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        # Whoever held it before may have removed it meanwhile.
        if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
        os.close(descriptor)


def _lines(descriptor: int) -> list[dict[str, Any]]:
    """The lines of a record that can be read; nothing of one that is no record."""
    with open(os.dup(descriptor), "rb") as file:
        text = file.read()
    lines: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            break
        if not isinstance(value, dict):
            break
        lines.append(value)
    return lines


def _write_all(descriptor: int, data: bytes | bytearray, at: int | None = None) -> None:
    view = memoryview(data)
    while view:
        if at is None:
            view = view[os.write(descriptor, view) :]
        else:
            count = os.pwrite(descriptor, view, at)
            view, at = view[count:], at + count


def _unlink(*paths: str) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
