"""The small files that attempts leave: read where they are, on this machine or in a store."""

from pathlib import Path

from flyte.storage._transfer import exists, get_stream
from flyte.storage._uri import locate


async def read_document(uri: str) -> bytes | None:
    """The content of a file; None if it is not there."""
    at = locate(uri)
    if at.kind == "local":
        return _read_local(at.key)
    if not await exists(uri):
        return None
    return b"".join([chunk async for chunk in get_stream(uri)])


def may_exist(uri: str) -> bool:
    """Whether a file is there, or cannot be looked for without asking a store."""
    at = locate(uri)
    return at.kind != "local" or Path(at.key).exists()


def _read_local(path: str) -> bytes | None:
    # A few kilobytes of a local disk: a thread would take longer.
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


async def write_document(uri: str, data: bytes) -> None:
    """Write a file, all of it or none."""
    from flyte.storage._transfer import put_stream

    await put_stream(data, to_path=uri)
