"""Dir: all objects below a prefix, passed between tasks by reference."""

import asyncio
import fnmatch
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from flyte._core.loop import run_blocking
from flyte.io._file import File
from flyte.storage._failures import missing
from flyte.storage._store import store_for
from flyte.storage._transfer import (
    exists,
    get,
    get_random_local_path,
    list_objects,
    put,
    raw_path,
)
from flyte.storage._uri import check_relative, file_name, join, locate

T = TypeVar("T")

_EMPTY = "::flyte-empty-dir::"  # what peers write for a folder that is known to be empty (2.12.1)


class Dir(BaseModel, Generic[T]):
    """A folder by reference: what crosses between tasks is its URI; the files stay where they are.

    Object stores know no folders: a folder is the objects below a prefix, so empty folders in it do not travel.
    ``Dir[T]`` says for readers what the files hold; nothing checks it.

    :param path: path or URI of the folder.
    :param name: its name; by default the last segment of the path.
    :param format: what the files hold; part of its literal.
    :param hash: what stands for the content in the key of the cache; without it, the URI does.
    """

    __flyte_reference__: ClassVar[str] = "dir"

    model_config = ConfigDict(json_schema_extra={"description": "A folder by reference.", "x-flyte-type": "dir"})

    path: str
    name: str | None = None
    format: str = ""
    hash: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name") is None and isinstance(data.get("path"), str):
            return {**data, "name": "" if data["path"] == _EMPTY else file_name(data["path"])}
        return data

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path:
            raise ValueError("an empty path names no folder")
        return path

    # How one is made ------------------------------------------------------------------------------------------------

    @classmethod
    async def from_local(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        dir_cache_key: str | None = None,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> "Dir[T]":
        """Copy a folder of this machine to storage, so that other tasks can read it; links are followed.

        :param local_path: the folder.
        :param remote_destination: path or URI to copy it to. By default a new place below the run's raw-data path;
            outside a run in a new temporary folder.
        :param dir_cache_key: what stands for its content in the key of the cache.
        :param batch_size: how many files at once; default 4.
        :param chunk_size: bytes of one part of a large file; default 8 MiB.
        :param max_concurrency: how many parts of one file at once; default 4.
        :raises FileNotFoundError: there is no such folder.
        :raises NotADirectoryError: it is a file.
        :raises ValueError: a link in it leads back to a folder above.
        """
        source = locate(local_path)
        if source.kind != "local":
            raise ValueError(f"{str(local_path)!r} is not a path of this machine; use Dir.from_existing_remote(uri)")
        folder = await asyncio.to_thread(os.path.abspath, source.key)
        name = file_name(folder)
        target = remote_destination if remote_destination is not None else raw_path(name or None)
        if locate(target).kind == "local" and "://" not in target:
            target = await asyncio.to_thread(os.path.abspath, target)
            if os.path.commonpath([folder, target]) == folder:
                raise ValueError(f"remote_destination={target!r} is inside the folder {folder!r} that is copied to it")
        await put(
            folder,
            target,
            recursive=True,
            batch_size=batch_size,
            chunk_size=chunk_size,
            max_concurrency=max_concurrency,
        )
        return cls(path=target, name=name, hash=dir_cache_key)

    @classmethod
    def from_local_sync(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        dir_cache_key: str | None = None,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> "Dir[T]":
        """:meth:`from_local` for code that is not async."""
        return run_blocking(
            lambda: cls.from_local(
                local_path, remote_destination, dir_cache_key, batch_size, chunk_size, max_concurrency
            )
        )

    @classmethod
    def from_existing_remote(cls, remote_path: str, dir_cache_key: str | None = None) -> "Dir[T]":
        """A reference to a folder that is there already; storage is not asked.

        :param remote_path: its path or URI.
        :param dir_cache_key: what stands for its content in the key of the cache.
        :raises ValueError: an unknown scheme.
        """
        locate(remote_path)
        return cls(path=remote_path, hash=dir_cache_key)

    @classmethod
    def new_remote(cls, dir_name: str | None = None, hash: str | None = None) -> "Dir[T]":
        """A reference to a folder that is still to be filled.

        It is below the run's raw-data path, in a random folder of its own; outside a run in a new temporary folder.

        :param dir_name: its last segment; None for a random one.
        :param hash: what stands for its content in the key of the cache.
        """
        return cls(path=raw_path(dir_name), hash=hash)

    @classmethod
    def empty(cls) -> "EmptyDir":
        """A folder that holds nothing and is nowhere."""
        return EmptyDir(path=_EMPTY)

    # What it is asked -----------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether it was made by :meth:`empty`; storage is not asked."""
        return self.path == _EMPTY

    async def exists(self) -> bool:
        """Whether there is anything below the path, or, on this machine, the folder itself."""
        return self.is_empty or await exists(self.path)

    def exists_sync(self) -> bool:
        """:meth:`exists` for code that is not async."""
        return run_blocking(self.exists)

    async def walk(self, recursive: bool = True, max_depth: int | None = None) -> AsyncIterator[File[T]]:
        """Every file below, as references.

        :param recursive: whether to go into folders; False gives only the files directly here.
        :param max_depth: how many levels, 1 for the files directly here; None for all.
        :raises ValueError: a depth below 1.
        """
        if max_depth is not None and max_depth < 1:
            raise ValueError(f"max_depth={max_depth!r} must be 1 or more; 1 gives the files directly in the folder")
        if self.is_empty:
            return
        depth = max_depth if recursive else 1
        async for uri, relative, _ in list_objects(self.path):
            if depth is None or relative.count("/") < depth:
                yield File(path=uri)

    def walk_sync(
        self, recursive: bool = True, file_pattern: str = "*", max_depth: int | None = None
    ) -> Iterator[File[T]]:
        """:meth:`walk` for code that is not async.

        :param file_pattern: which file names, as in a shell; the folder does not count.
        """

        async def collect() -> list[File[T]]:
            return [file async for file in self.walk(recursive, max_depth)]

        for file in run_blocking(collect):
            if fnmatch.fnmatchcase(file.name or "", file_pattern):
                yield file

    async def list_files(self) -> list[File[T]]:
        """The files directly in the folder."""
        return [file async for file in self.walk(recursive=False)]

    def list_files_sync(self) -> list[File[T]]:
        """:meth:`list_files` for code that is not async."""
        return run_blocking(self.list_files)

    async def get_file(self, file_name: str) -> File[T] | None:
        """The file of this name in the folder, or in a folder of it; None when there is none.

        :raises ValueError: a name that leads out of the folder.
        """
        check_relative(file_name, f"a file of {self.path!r}")
        if self.is_empty:
            return None
        uri = join(self.path, file_name)
        at = locate(uri)
        return File(path=uri) if await store_for(at).stat(at) is not None else None

    def get_file_sync(self, file_name: str) -> File[T] | None:
        """:meth:`get_file` for code that is not async."""
        return run_blocking(lambda: self.get_file(file_name))

    async def download(self, local_path: str | Path | None = None) -> str:
        """Bring the folder to this machine; returns its path.

        :param local_path: the folder to fill. By default a new temporary one, or where it is, if that is this machine.
        :raises FileNotFoundError: there is nothing below the path.
        :raises ValueError: a key in the store leads out of the folder.
        """
        at = locate(self.path) if not self.is_empty else None
        if local_path is None and at is not None and at.kind == "local":
            if not await asyncio.to_thread(os.path.isdir, at.key):
                raise missing(at)
            return await asyncio.to_thread(os.path.abspath, at.key)
        target = str(local_path) if local_path is not None else str(get_random_local_path(self.name))
        if at is None:
            await asyncio.to_thread(os.makedirs, target, exist_ok=True)
        else:
            await get(self.path, target, recursive=True)
        return await asyncio.to_thread(os.path.abspath, target)

    def download_sync(self, local_path: str | Path | None = None) -> str:
        """:meth:`download` for code that is not async."""
        return run_blocking(lambda: self.download(local_path))


class EmptyDir(Dir[Any]):
    """A folder that is known to be empty; :meth:`Dir.empty` makes it."""
