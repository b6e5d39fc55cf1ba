"""Files and objects that values are kept in: on this machine, or in any storage that ``flyte.storage`` reaches.

Everything here blocks. A file is written under the name of its content, whole or not at all, so a content that is
there already is not written again, and nothing is ever overwritten.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from flyte._core.loop import run_blocking
from flyte.types._mismatch import Mismatch
from flyte.types._raw_data import raw_data_path

_temporary: tuple[int, str] | None = None


def raw_folder() -> str:
    """Where large values are written now."""
    global _temporary
    folder = raw_data_path.get()
    if folder is not None:
        return folder
    if _temporary is None or _temporary[0] != os.getpid() or not os.path.isdir(_temporary[1]):
        _temporary = (os.getpid(), tempfile.mkdtemp(prefix="flyte-raw-"))
    return _temporary[1]


def local_path(uri: str) -> str | None:
    """The path that a path or ``file://`` URI names; None for an object of a store.

    :raises Mismatch: it is not a URI.
    """
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise Mismatch("a path or URI", got=repr(uri)) from error
    return unquote(parts.path) if parts.scheme.lower() == "file" else None


def is_remote(uri: str) -> bool:
    """Whether a URI names an object of a store, so that reading or writing it waits for a network."""
    return "://" in uri and uri[:7].lower() != "file://"


@contextmanager
def opened(uri: str) -> Iterator[BinaryIO]:
    """A file or object, opened for reading.

    :raises Mismatch: it cannot be read.
    """
    with ExitStack() as stack:
        path = local_path(uri)
        if path is None:
            path = _fetched(uri, stack.enter_context(tempfile.TemporaryDirectory(prefix="flyte-")))
        try:
            file = stack.enter_context(open(path, "rb"))
        except (OSError, ValueError) as error:  # ValueError: a path with a null byte
            raise Mismatch("a readable file", got=f"{uri!r} ({error})") from error
        yield file


def read_bytes(uri: str) -> bytes:
    """The content of a file or object.

    :raises Mismatch: it cannot be read.
    """
    with opened(uri) as file:
        try:
            return file.read()
        except OSError as error:
            raise Mismatch("a readable file", got=f"{uri!r} ({error})") from error


def _fetched(uri: str, folder: str) -> str:
    # A program whose values stay on this machine loads no object store.
    from flyte.storage._transfer import get

    path = os.path.join(folder, "object")
    try:
        run_blocking(lambda: get(uri, path))
    except (OSError, ValueError, ImportError) as error:
        raise Mismatch("a readable file", got=f"{uri!r} ({error})") from error
    return path


def keep(name: str, write: Callable[[str], None], size_bytes: int | None = None) -> str:
    """Keep a content below the place of large values; returns its URI.

    :param name: relative path, which must follow from the content alone; what is there under it is left as it is.
    :param write: fills a new empty file, given by its path on this machine.
    :param size_bytes: of the content; a file of this machine that is of another size is written again.
    :raises OSError: it cannot be written.
    :raises ValueError: large values are to go to a storage of an unknown scheme.
    """
    from flyte.storage._local import replacing
    from flyte.storage._uri import join, locate

    uri = join(raw_folder(), name)
    at = locate(uri)
    if at.kind == "local":
        if not os.path.exists(at.key) or size_bytes not in (None, os.path.getsize(at.key)):
            with replacing(at) as part:
                write(part)
        return uri
    from flyte.storage._transfer import exists, put

    if not run_blocking(lambda: exists(uri)):
        with tempfile.TemporaryDirectory(prefix="flyte-") as folder:
            part = os.path.join(folder, "part")
            write(part)
            run_blocking(lambda: put(part, uri))
    return uri
