"""Parquet files in storage: a folder a frame, named by its content; everything here blocks."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from flyte._core.loop import run_blocking
from flyte.types._files import keep, local_path
from flyte.types._frames.content import Content
from flyte.types._mismatch import Mismatch

_FILE = "00000"  # as peers name the one file in a frame's folder


def keep_content(content: Content) -> str:
    """Have a content in storage below the place of large values; returns the folder's URI."""
    return keep(f"{content.digest}/{_FILE}", content.write).removesuffix(f"/{_FILE}")


def write_content(content: Content, uri: str) -> None:
    """Write a content to a folder of one's choice, in place of a frame that is there."""
    from flyte.storage._local import replacing
    from flyte.storage._transfer import put
    from flyte.storage._uri import join, locate

    target = join(uri, _FILE)
    at = locate(target)
    if at.kind == "local":
        with replacing(at) as part:
            content.write(part)
        return
    with tempfile.TemporaryDirectory(prefix="flyte-") as folder:
        part = os.path.join(folder, _FILE)
        content.write(part)
        run_blocking(lambda: put(part, target))


@contextmanager
def on_this_machine(uri: str) -> Iterator[str]:
    """The path of a file or folder of parquet files; of another storage, of a temporary copy.

    :raises Mismatch: there is nothing.
    """
    path = local_path(uri)
    if path is not None:
        if not os.path.exists(path):
            raise Mismatch("a stored frame", got=f"a place where there is none: {uri!r}")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="flyte-") as folder:
        path = os.path.join(folder, "frame")
        fetch(uri, path)
        yield path


def fetch(uri: str, path: str) -> None:
    """Copy a stored frame to a new file or folder of this machine.

    :raises Mismatch: there is none, or it cannot be read.
    """
    from flyte.storage._store import store_for
    from flyte.storage._transfer import get
    from flyte.storage._uri import locate

    async def copy() -> None:
        at = locate(uri)
        is_file = await store_for(at).stat(at) is not None
        await get(uri, path, recursive=not is_file)

    try:
        run_blocking(copy)
    except (OSError, ValueError, ImportError) as error:
        raise Mismatch("a stored frame", got=f"{uri!r} ({error})") from error
