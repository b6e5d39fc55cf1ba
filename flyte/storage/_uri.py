"""Addresses of objects: which store a URI names, and where in it.

Pure text; nothing here touches storage. Everything else in the room takes its schemes from here.
"""

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pathlib

from flyte.storage import _registry

Kind = Literal["local", "memory", "s3", "gs", "azure", "registered"]

SCHEMES: dict[str, Kind] = {
    "file": "local",
    "memory": "memory",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}
"""Every scheme that comes with flyte, and the kind of store that serves it."""

CLOUDS: frozenset[Kind] = frozenset({"s3", "gs", "azure"})
"""Kinds of store that are reached over a network."""


class Location(NamedTuple):
    """Where an object is.

    :param uri: the address as it was given, for messages.
    :param kind: the kind of store.
    :param root: bucket or container; empty for files and memory. Of a store that others bring, what stands before the
        first slash.
    :param key: path in the store; for files the path on this machine.
    """

    uri: str
    kind: Kind
    root: str
    key: str


def locate(uri: str | os.PathLike[str]) -> Location:
    """The store and the key that a path or URI names.

    :raises ValueError: an empty path, an unknown scheme, or a bucket that is missing.
    """
    text = os.fspath(uri)
    if not text:
        raise ValueError("an empty path names no file; give a path or a URI")
    scheme, separator, rest = text.partition("://")
    if not separator:
        if "\0" in text:
            raise ValueError(f"path {text!r} holds a null character")
        return Location(text, "local", "", text)
    kind = SCHEMES.get(scheme.lower())
    if kind is None:
        if not _registry.is_known(scheme.lower()):
            raise ValueError(
                f"{text!r}: unknown scheme {scheme!r}; known are {', '.join(known_schemes())}, and plain paths; "
                "flyte.storage.register_store() adds one"
            )
        root, _, key = rest.partition("/")
        return Location(text, "registered", root, key.strip("/"))
    if kind == "local":
        from urllib.parse import unquote

        path = unquote(rest.removeprefix("localhost"))
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{text!r} names no file of this machine; write file:///absolute/path")
        return Location(text, kind, "", path)
    if kind == "memory":
        return Location(text, kind, "", rest.strip("/"))
    root, _, key = rest.partition("/")
    if not root:
        raise ValueError(f"{text!r} names no bucket or container; write {scheme}://bucket/path")
    return Location(text, kind, root, key.strip("/"))


def known_schemes() -> list[str]:
    """Every scheme that a URI may have."""
    return sorted({*SCHEMES, *_registry.names()})


def is_remote(path: "pathlib.Path | str") -> bool:
    """Whether a path names something that is not a file of this machine: it has a scheme other than ``file``."""
    scheme, separator, _ = str(path).partition("://")
    return bool(separator) and scheme.lower() != "file"


def join(*paths: str) -> str:
    """Paths or URIs put together with one slash between each; an absolute later part starts anew.

    Means the same as ``posixpath.join``, and keeps the scheme and the bucket of a URI.
    """
    if not paths:
        return ""
    result = paths[0]
    for part in paths[1:]:
        if part.startswith("/") or "://" in part:
            result = part
        elif not result or result.endswith("/"):
            result += part
        else:
            result += "/" + part
    return result


def file_name(uri: str) -> str:
    """The last segment of a path or URI; empty when there is none."""
    return (
        uri.partition("://")[2].rstrip("/").rpartition("/")[2] if "://" in uri else uri.rstrip("/").rpartition("/")[2]
    )


def check_relative(name: str, where: str) -> str:
    """``name`` if it stays below the folder that it is joined to.

    :param where: what the name is for, in messages.
    :raises ValueError: it is empty or absolute, names a parent folder, or holds what some file system reads otherwise.
    """
    segments = name.split("/")
    if not name or "\0" in name or "\\" in name or "://" in name or any(s in ("", ".", "..") for s in segments):
        raise ValueError(f"{where}: {name!r} is not a plain relative path, so it could lead outside the folder")
    return name
