"""Fetching a code bundle to the machine that runs it: once, whoever asks, and nowhere but its folder.

Called by the runtime in a container and by those who extend flyte. Reads local files and ``file://``.
"""

import asyncio
import fcntl
import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import time
import zlib
from pathlib import Path

from flyte._core.code_bundle import CodeBundle
from flyte.errors import CodeBundleError

from .archive import unpack

LOCK_DEADLINE_S = 600.0
_POLL_S = 0.02


async def download_code_bundle(code_bundle: CodeBundle) -> CodeBundle:
    """Fetch and unpack a code bundle, unless that has been done, and make it importable.

    A tar archive is unpacked into the bundle's ``destination``, which is then first on ``sys.path``; a pickle is put
    there as it is. Calls and processes that ask for one bundle at the same time share one download.

    :param code_bundle: the bundle; one whose ``downloaded_path`` exists is given back as it is.
    :returns: the bundle with ``downloaded_path``: the destination, or the file of the pickle.
    :raises CodeBundleError: the bundle is missing or damaged, would write outside its destination, lies where this
        version cannot fetch from, or another process holds the lock for more than 10 minutes; names the URI.
    """
    if code_bundle.downloaded_path is not None and code_bundle.downloaded_path.exists():
        return code_bundle
    uri = code_bundle.tgz or code_bundle.pkl or ""
    source = _local_path(uri)
    destination = os.path.abspath(code_bundle.destination)  # noqa: ASYNC240 - asks for the working folder only
    deadline = time.monotonic() + LOCK_DEADLINE_S
    while (path := await asyncio.to_thread(_fetch, code_bundle, uri, source, destination)) is None:
        if time.monotonic() > deadline:
            raise CodeBundleError(
                f"code bundle {uri!r}: another process has been unpacking into {destination} for "
                f"{LOCK_DEADLINE_S:.0f} s; stop it and try again"
            )
        await asyncio.sleep(_POLL_S)  # flock has no form that can be awaited
    if code_bundle.tgz is not None and destination not in sys.path:
        sys.path.insert(0, destination)
    return code_bundle.with_downloaded_path(Path(path))


def _local_path(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return uri
    if scheme != "file":
        raise CodeBundleError(
            f"code bundle {uri!r} cannot be fetched: this version of flyte fetches from local paths and file:// only"
        )
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(uri).path)


def _fetch(bundle: CodeBundle, uri: str, source: str, destination: str) -> str | None:
    """Unpack or copy, unless that has been done; None while another holds the lock."""
    try:
        if not os.path.isfile(source):
            raise CodeBundleError(f"code bundle {uri!r} is not there, or is no file")
        os.makedirs(destination, exist_ok=True)
        # Lock and marker lie beside what is unpacked, so that processes with different homes share them as well.
        key = hashlib.md5(f"{uri}\0{bundle.computed_version}".encode(), usedforsecurity=False).hexdigest()
        name = os.path.basename(source)
        path = destination if bundle.tgz is not None else os.path.join(destination, name)
        # One marker for each place: another bundle that is put there takes it over.
        marker = os.path.join(destination, ".flyte-bundle" if bundle.tgz is not None else f".flyte-bundle-{name}")
        with open(os.path.join(destination, ".flyte-bundle.lock"), "ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            if os.path.exists(path) and _said_by(marker) == key:
                return path
            if os.path.exists(marker):
                os.unlink(marker)  # what is written halfway is neither bundle
            if bundle.tgz is not None:
                unpack(source, destination)
            else:
                _copy_pickle(source, path)
            with open(marker, "w", encoding="ascii") as written:
                written.write(key)
            return path
    except (OSError, ValueError, EOFError, tarfile.TarError, zlib.error) as error:
        raise CodeBundleError(f"code bundle {uri!r} cannot be used: {str(error) or type(error).__name__}") from error


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
