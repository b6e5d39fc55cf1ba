"""File: one object of storage, passed between tasks by reference.

Made by users and by the type engine (through ``__flyte_reference__``, see ``flyte.types._references``). With
``_dir`` the only module of the room that loads pydantic.
"""

import asyncio
import io
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from flyte._core.context import current
from flyte._core.loop import run_blocking
from flyte.io._hashing import Hashing, HashMethod
from flyte.storage._failures import is_folder, missing
from flyte.storage._local import replacing
from flyte.storage._store import CHUNK_BYTES
from flyte.storage._streams import AsyncReadableFile, AsyncWritableFile
from flyte.storage._transfer import (
    digest_of,
    exists,
    get,
    get_random_local_path,
    open_stream,
    parse_mode,
    put,
    raw_path,
)
from flyte.storage._uri import check_relative, file_name, join, locate

T = TypeVar("T")


class File(BaseModel, Generic[T]):
    """A file by reference: what crosses between tasks is its URI; the content stays where it is.

    ``File[T]`` says for readers what the file holds; nothing checks it. Use it as a parameter, a result, an element
    of a list or dict, or a field of a dataclass or pydantic model.

    :param path: path or URI of the object.
    :param name: its file name; by default the last segment of the path.
    :param format: what the file holds, such as ``"csv"``; part of its literal.
    :param hash: what stands for the content in the key of the cache; without it, the URI does.
    :param hash_method: how ``hash`` is found when the file is written through :meth:`open`; does not travel.
    """

    __flyte_reference__: ClassVar[str] = "file"

    model_config = ConfigDict(
        arbitrary_types_allowed=True, json_schema_extra={"description": "A file by reference.", "x-flyte-type": "file"}
    )

    path: str
    name: str | None = None
    format: str = ""
    hash: str | None = None
    hash_method: SkipJsonSchema[HashMethod | None] = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name") is None and isinstance(data.get("path"), str):
            return {**data, "name": file_name(data["path"])}
        return data

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path:
            raise ValueError("an empty path names no file")
        return path

    # How one is made ------------------------------------------------------------------------------------------------

    @classmethod
    async def from_local(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> "File[T]":
        """Copy a file of this machine to storage, so that other tasks can read it.

        :param local_path: the file.
        :param remote_destination: path or URI to copy it to. By default a new place below the run's raw-data path;
            outside a run in a new temporary folder.
        :param hash_method: how its hash is found, or the hash itself.
        :param chunk_size: bytes of one part of the upload; default 8 MiB.
        :param max_concurrency: how many parts at once; default 4.
        :raises FileNotFoundError: there is no such file.
        :raises IsADirectoryError: it is a folder.
        """
        source = locate(local_path)
        if source.kind != "local":
            raise ValueError(f"{str(local_path)!r} is not a path of this machine; use File.from_existing_remote(uri)")
        await asyncio.to_thread(_check_file, source.key)
        hashing = Hashing(hash_method)
        name = file_name(source.key)
        target = _absolute(remote_destination) if remote_destination is not None else raw_path(name)
        if hashing.update is not None:
            await digest_of(source.key, hashing.update)
        await put(source.key, target, chunk_size=chunk_size, max_concurrency=max_concurrency)
        return cls(path=target, name=name, hash=hashing.result())

    @classmethod
    def from_local_sync(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> "File[T]":
        """:meth:`from_local` for code that is not async."""
        return run_blocking(
            lambda: cls.from_local(local_path, remote_destination, hash_method, chunk_size, max_concurrency)
        )

    @classmethod
    def from_existing_remote(cls, remote_path: str, file_cache_key: str | None = None) -> "File[T]":
        """A reference to an object that is there already; storage is not asked.

        :param remote_path: its path or URI.
        :param file_cache_key: what stands for its content in the key of the cache.
        :raises ValueError: an unknown scheme.
        """
        locate(remote_path)
        return cls(path=remote_path, hash=file_cache_key)

    @classmethod
    def new_remote(cls, file_name: str | None = None, hash_method: HashMethod | str | None = None) -> "File[T]":
        """A reference to a file that is still to be written, with :meth:`open` or :meth:`open_sync`.

        It is below the run's raw-data path, in a random folder of its own; outside a run in a new temporary folder.

        :param file_name: its last segment; None for a random one.
        :param hash_method: how its hash is found while it is written, or the hash itself.
        """
        Hashing(hash_method)  # refuses what is none
        known = hash_method if isinstance(hash_method, str) else None
        method = hash_method if not isinstance(hash_method, str) else None
        return cls(path=raw_path(file_name), hash=known, hash_method=method)

    @classmethod
    def named_remote(cls, name: str) -> "File[T]":
        """A reference to the file of this name of the running action: the same place in each of its attempts.

        :raises ValueError: outside a running task, or a name that leads out of the action's folder.
        """
        context = current.get()
        if context is None:
            raise ValueError(f"File.named_remote({name!r}) was called outside a running task; use it in a task's body")
        check_relative(name, "File.named_remote")
        return cls(path=join(context.output_path, name))

    # What it is asked -----------------------------------------------------------------------------------------------

    async def exists(self) -> bool:
        """Whether the object is there."""
        return await exists(self.path)

    def exists_sync(self) -> bool:
        """:meth:`exists` for code that is not async."""
        return run_blocking(self.exists)

    async def download(self, local_path: str | Path | None = None) -> str:
        """Bring the file to this machine; returns its path.

        :param local_path: where to; a folder that exists, or a path that ends with a slash, gets the file under its own
            name. By default a new temporary place, or where it is, if that is this machine.
        :raises FileNotFoundError: the object is not there.
        """
        at = locate(self.path)
        if local_path is None and at.kind == "local":
            await asyncio.to_thread(_check_file, at.key)
            return _absolute(at.key)
        target = str(local_path) if local_path is not None else str(get_random_local_path(self.name))
        return _absolute(await get(self.path, target))

    def download_sync(self, local_path: str | Path | None = None) -> str:
        """:meth:`download` for code that is not async."""
        return run_blocking(lambda: self.download(local_path))

    def open(
        self,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str = "readahead",
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> AbstractAsyncContextManager[AsyncReadableFile[Any] | AsyncWritableFile[Any]]:
        """Open the file for ``async with``; its methods are awaited.

        What is written appears, whole, when the block ends well. With a ``hash_method``, ``hash`` is set then.

        :param mode: ``rb`` or ``wb`` for bytes, ``r`` or ``w`` for UTF-8 text.
        :param block_size: bytes that are moved at once; default 8 MiB.
        :param cache_type: kept for compatibility, like ``cache_options``; has no effect.
        :param compression: must be None; use :mod:`gzip` and the like on the content.
        :raises FileNotFoundError: it is to be read and is not there.
        :raises ValueError: another mode, or a compression.
        """
        _refuse(compression, kwargs)
        parse_mode(mode)
        return self._open(mode, block_size or CHUNK_BYTES)

    @asynccontextmanager
    async def _open(self, mode: str, chunk_bytes: int) -> AsyncIterator[Any]:
        writing, _ = parse_mode(mode)
        hashing = Hashing(self.hash_method if writing else None)
        async with await open_stream(self.path, mode, chunk_bytes, hashing.update) as file:
            yield file
        if writing and self.hash_method is not None:
            self.hash = hashing.result()

    @contextmanager
    def open_sync(
        self,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str = "readahead",
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Iterator[IO[Any]]:
        """:meth:`open` for code that is not async: an ordinary file object for ``with``.

        An object of another machine is copied into a temporary file of this one, before it is read or after it was
        written.
        """
        _refuse(compression, kwargs)
        writing, text = parse_mode(mode)
        encoding = "utf-8" if text else None
        at = locate(self.path)
        if not writing:
            if at.kind == "local":
                _check_file(at.key)
                with io.open(at.key, mode, encoding=encoding) as file:  # noqa: UP020 (not this class's own open)
                    yield file
                return
            with tempfile.TemporaryDirectory(prefix="flyte-") as folder:
                path = self.download_sync(os.path.join(folder, "content"))
                with io.open(path, mode, encoding=encoding) as file:  # noqa: UP020
                    yield file
            return
        if at.kind == "local":
            with replacing(at) as part:
                with io.open(part, mode, encoding=encoding) as file:  # noqa: UP020
                    yield file
                self._hash_written(part)
            return
        with tempfile.TemporaryDirectory(prefix="flyte-") as folder:
            part = os.path.join(folder, secrets.token_hex(8))
            with io.open(part, mode, encoding=encoding) as file:  # noqa: UP020
                yield file
            self._hash_written(part)
            run_blocking(lambda: put(part, self.path))

    def _hash_written(self, path: str) -> None:
        hashing = Hashing(self.hash_method)
        update = hashing.update
        if update is not None:
            run_blocking(lambda: digest_of(path, update))
            self.hash = hashing.result()


def _check_file(path: str) -> None:
    at = locate(path)
    if os.path.isdir(path):
        raise is_folder(at, "use Dir, or name a file in it")
    if not os.path.exists(path):
        raise missing(at)


def _absolute(path: str) -> str:
    return os.path.abspath(path) if locate(path).kind == "local" and "://" not in path else path


def _refuse(compression: str | None, kwargs: dict[str, Any]) -> None:
    if compression is not None:
        raise ValueError(f"compression={compression!r} is not supported; compress or decompress the content yourself")
    if kwargs:
        raise TypeError(f"File.open() does not take {', '.join(map(repr, sorted(kwargs)))}")
