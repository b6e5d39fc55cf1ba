"""Files of this machine that values are kept in; other storage is not reachable from here yet."""

import os
from urllib.parse import unquote, urlsplit

from flyte.types._mismatch import Mismatch


def local_path(uri: str) -> str:
    """The path of a local path or ``file://`` URI.

    :raises Mismatch: another scheme.
    """
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise Mismatch("a local path or file:// URI", got=repr(uri)) from error
    if parts.scheme != "file":
        raise Mismatch(
            "a local path or file:// URI",
            got=repr(uri),
            why=f"storage of scheme {parts.scheme!r} is not supported by the type engine in this version",
        )
    return unquote(parts.path)


def read_bytes(uri: str) -> bytes:
    """The content of a file."""
    path = local_path(uri)
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise Mismatch("a readable file", got=f"{uri!r} ({error})") from error


def write_new(directory: str, name: str, data: bytes) -> str:
    """Write a new file and return its URI; an existing one is never overwritten."""
    folder = local_path(directory)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "xb") as file:
        file.write(data)
    return f"file://{path}" if directory.startswith("file://") else path
