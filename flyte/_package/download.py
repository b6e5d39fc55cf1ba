"""Fetching a code bundle to the machine that runs it: once, whoever asks, and nowhere but its folder.

Called by the runtime in a container and by those who extend flyte. What lies in a store comes through
:mod:`flyte.storage`.
"""

import asyncio
import contextlib
import fcntl
import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from flyte._core.code_bundle import CodeBundle
from flyte.errors import CodeBundleError
from flyte.storage._transfer import get
from flyte.storage._uri import file_name, locate

from .archive import unpack

LOCK_DEADLINE_S = 600.0
_POLL_S = 0.02


async def download_code_bundle(code_bundle: CodeBundle) -> CodeBundle:
    """Fetch and unpack a code bundle, unless that has been done, and make it importable.

    A tar archive is unpacked into the bundle's ``destination``, which is then first on ``sys.path``; a pickle is put
    there as it is. Calls and processes that ask for one bundle at the same time share one download.

    :param code_bundle: the bundle, on this machine or in any store that :mod:`flyte.storage` reaches; one whose
        ``downloaded_path`` exists is given back as it is.
    :returns: the bundle with ``downloaded_path``: the destination, or the file of the pickle.
    :raises CodeBundleError: the bundle is missing or damaged, would write outside its destination, lies where this
        process cannot fetch from, or another process holds the lock for more than 10 minutes; names the URI.
    """
    if code_bundle.downloaded_path is not None and code_bundle.downloaded_path.exists():
        return code_bundle
    uri = code_bundle.tgz or code_bundle.pkl or ""
    destination = os.path.abspath(code_bundle.destination)  # noqa: ASYNC240 - asks for the working folder only
    try:
        at = locate(uri)
        if at.kind == "local" and not await asyncio.to_thread(os.path.isfile, at.key):
            raise CodeBundleError(f"code bundle {uri!r} is not there, or is no file")
        await asyncio.to_thread(os.makedirs, destination, exist_ok=True)
        # Lock and marker lie beside what is unpacked, so that processes with different homes share them as well.
        lock = await asyncio.to_thread(open, os.path.join(destination, ".flyte-bundle.lock"), "ab")
        with lock:
            await _wait_for(lock, uri, destination)
            place = _Place(code_bundle, uri, file_name(at.key), destination)
            if await asyncio.to_thread(place.is_made):
                path = place.path
            elif at.kind == "local":
                path = await _to_its_end(place.make, at.key)
            else:
                path = await _from_store(place, uri, destination)
    except (OSError, ValueError, EOFError, ImportError, tarfile.TarError, zlib.error) as error:
        raise CodeBundleError(f"code bundle {uri!r} cannot be used: {str(error) or type(error).__name__}") from error
    if code_bundle.tgz is not None and destination not in sys.path:
        sys.path.insert(0, destination)
    return code_bundle.with_downloaded_path(Path(path))


async def _wait_for(lock: IO[bytes], uri: str, destination: str) -> None:
    deadline = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            pass
        if time.monotonic() > deadline:
            raise CodeBundleError(
                f"code bundle {uri!r}: another process has been unpacking into {destination} for "
                f"{LOCK_DEADLINE_S:.0f} s; stop it and try again"
            )
        await asyncio.sleep(_POLL_S)  # flock has no form that can be awaited


async def _to_its_end(function: Callable[[str], str], source: str) -> str:
    """Call in a thread; when cancelled, end only with the thread: what it writes must not outlive the lock."""
    work = asyncio.ensure_future(asyncio.to_thread(function, source))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


async def _from_store(place: "_Place", uri: str, destination: str) -> str:
    fetched = os.path.join(destination, f".flyte-bundle-fetched{place.suffix}")
    try:
        # Under a name of its own: an interrupted transfer of a large bundle goes on where it was.
        await get(uri, fetched)
        return await _to_its_end(place.make, fetched)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fetched)


class _Place:
    """Where one bundle is put, and the marker that says that it is there.

    :param name: of the archive or pickle.
    """

    def __init__(self, bundle: CodeBundle, uri: str, name: str, destination: str) -> None:
        self._is_archive = bundle.tgz is not None
        self._destination = destination
        self._key = hashlib.md5(f"{uri}\0{bundle.computed_version}".encode(), usedforsecurity=False).hexdigest()
        self.path = destination if self._is_archive else os.path.join(destination, name)
        self.suffix = ".gz" if name.endswith(".gz") else ""
        # One marker for each place: another bundle that is put there takes it over.
        self._marker = os.path.join(destination, ".flyte-bundle" if self._is_archive else f".flyte-bundle-{name}")

    def is_made(self) -> bool:
        """Whether this bundle, and no other, is there."""
        return os.path.exists(self.path) and _said_by(self._marker) == self._key

    def make(self, source: str) -> str:
        """Unpack or copy the file ``source``; gives the path."""
        if os.path.exists(self._marker):
            os.unlink(self._marker)  # what is written halfway is neither bundle
        if self._is_archive:
            unpack(source, self._destination)
        else:
            _copy_pickle(source, self.path)
        with open(self._marker, "w", encoding="ascii") as written:
            written.write(self._key)
        return self.path


def _said_by(marker: str) -> str | None:
    try:
        with open(marker, encoding="ascii") as written:
            return written.read()
    except FileNotFoundError:
        return None


def _copy_pickle(source: str, path: str) -> None:
    if source.endswith(".gz"):
        with gzip.open(source) as content:
            while content.read(1 << 20):  # damage is found here, not when the task is loaded
                pass
    if os.path.exists(path) and os.path.samefile(source, path):
        return
    unfinished = f"{path}.{os.getpid()}.part"
    shutil.copyfile(source, unfinished)
    os.replace(unfinished, path)
