"""DataFrame: a table of any library, passed between tasks by reference.

Made by users and by the type engine (through ``__flyte_reference__``, see ``flyte.types._frames``). What it holds is
still in memory, or parquet files in storage, or both.
"""

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_serializer

from flyte._core.loop import run_blocking
from flyte._core.threads import run_in_thread
from flyte.io._hashing import HashMethod
from flyte.storage._transfer import get_random_local_path
from flyte.storage._uri import locate
from flyte.types._files import is_remote
from flyte.types._files import local_path as path_of
from flyte.types._frames import handlers
from flyte.types._frames.content import PARQUET, Content, is_known, library_of
from flyte.types._frames.dataset import fetch, keep_content, on_this_machine, write_content
from flyte.types._frames.declared import Declared, dataset_message, hash_with
from flyte.types._mismatch import Mismatch

__all__ = ["PARQUET", "Batches", "DataFrame"]

DF = TypeVar("DF")

BATCH_ROWS = 65_536
"""How many rows :meth:`DataFrame.iter` gives at once, unless told otherwise."""


class DataFrame(BaseModel):
    """A data frame by reference: what crosses between tasks is where its parquet files are.

    The same value is opened as a frame of any library: ``await value.open(pandas.DataFrame).all()``. Inside one process
    nothing is written as long as nobody asks for :attr:`uri`. Annotate with ``Annotated[DataFrame, {"a": int}]``, or a
    list of names, to get only those columns.

    :param uri: path or URI of a parquet file, or of a folder of them.
    :param format: the format of what is there; ``"parquet"`` unless a decoder for another is registered.
    :param hash: what stands for the content in the key of the cache.
    """

    __flyte_reference__: ClassVar[str] = "dataframe"

    model_config = ConfigDict(
        json_schema_extra={
            "description": "A tabular data reference backed by a remote file.",
            "x-flyte-type": "dataframe",
        }
    )

    stored_uri: str | None = Field(default=None, alias="uri", title="Uri")
    format: str | None = ""
    hash: str | None = None

    _val: Any = PrivateAttr(default=None)
    _content: Any = PrivateAttr(default=None)
    _declared: Any = PrivateAttr(default_factory=Declared)
    _hash_method: Any = PrivateAttr(default=None)
    _open_as: Any = PrivateAttr(default=None)

    # How one is made ------------------------------------------------------------------------------------------------

    @classmethod
    def from_df(cls, val: Any | None = None, uri: str | None = None) -> Self:
        """A reference to a frame in memory, which is taken as it is when it crosses to another task.

        :param val: a frame of pandas, polars or pyarrow, or of a class that an encoder is registered for.
        :param uri: where its content is already, if it is anywhere.
        :raises TypeError: ``val`` is no frame.
        """
        if val is not None:
            _check_frame(val)
        made = cls(uri=uri)
        made._val = val
        return made

    wrap_df = from_df

    @classmethod
    async def from_local(
        cls,
        df: Any,
        columns: "OrderedDict[str, type[Any]] | None" = None,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
    ) -> Self:
        """Write a frame to storage now.

        :param df: the frame.
        :param columns: name -> type of its columns; part of its literal.
        :param remote_destination: path or URI of the folder to write. By default a place below the run's raw-data path
            that is named by the content, and written only if it is not there yet.
        :param hash_method: how its hash is found, or the hash itself; by default it is that of the content.
        :raises TypeError: ``df`` is no frame.
        :raises TypeTransformerFailedError: parquet cannot carry it.
        """
        _check_frame(df)
        if not is_known(type(df)):
            raise TypeError(
                f"from_local() writes frames of pandas, polars and pyarrow; wrap a {type(df).__qualname__} with "
                "DataFrame.from_df(), and its encoder writes it when it crosses"
            )
        if remote_destination is not None:
            locate(remote_destination)
        return await run_in_thread(_public, cls._write, df, columns, remote_destination, hash_method)

    @classmethod
    def _write(cls, df: Any, columns: Any, destination: str | None, hash_method: Any) -> Self:
        content = library_of(type(df)).content(df)
        if destination is None:
            uri = keep_content(content)
        else:
            uri = destination if "://" in destination else os.path.abspath(destination)
            write_content(content, uri)
        found = hash_with(hash_method, content) if hash_method is not None else None
        made = cls(uri=uri, format=PARQUET, hash=found)
        made._content = content
        made._declared = Declared(columns=dict(columns or {}))
        return made

    @classmethod
    def from_local_sync(
        cls,
        df: Any,
        columns: "OrderedDict[str, type[Any]] | None" = None,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
    ) -> Self:
        """:meth:`from_local` for code that is not async."""
        return run_blocking(lambda: cls.from_local(df, columns, remote_destination, hash_method))

    @classmethod
    def from_existing_remote(cls, remote_path: str, format: str | None = None, **kwargs: Any) -> Self:
        """A reference to files that are there already; storage is not asked.

        :param remote_path: path or URI of a parquet file, or of a folder of them.
        :param format: their format; None for parquet.
        :param kwargs: ``hash``, what stands for the content in the key of the cache.
        """
        if not remote_path:
            raise ValueError("an empty path names no frame; give a path or a URI")
        unknown = sorted(set(kwargs) - {"hash"})
        if unknown:
            raise TypeError(f"DataFrame.from_existing_remote() does not take {', '.join(map(repr, unknown))}")
        return cls(uri=remote_path, format=format or "", **kwargs)

    @classmethod
    def _received(
        cls, content: Content | None, uri: str | None, format: str, hash: str | None, declared: Declared
    ) -> Self:
        made = cls(uri=uri, format=format or PARQUET, hash=hash)
        made._content = content
        made._declared = declared
        return made

    # What it is asked -----------------------------------------------------------------------------------------------

    @property
    def uri(self) -> str | None:
        """Where the parquet files are; None for a frame that has not crossed yet.

        A frame that came from another task of this process is written when this is first asked, which blocks.

        :raises TypeTransformerFailedError: it cannot be written.
        """
        if self.stored_uri is None and self._content is not None:
            self.stored_uri = _public(keep_content, self._content)
        return self.stored_uri

    @uri.setter
    def uri(self, uri: str | None) -> None:
        self.stored_uri = uri

    @property
    def val(self) -> Any:
        """The frame that it was made of; None for one that crossed, which is to be opened."""
        return self._val

    @property
    def metadata(self) -> Any:
        """What is known of the format and the columns, as a StructuredDatasetMetadata."""
        return dataset_message("", self._declared, self.format or PARQUET).metadata

    @property
    def literal(self) -> Any:
        """Where it is, as a StructuredDataset; None for a frame that has not crossed yet."""
        uri = self.uri
        return None if uri is None else dataset_message(uri, self._declared, self.format or PARQUET)

    @classmethod
    def columns(cls) -> dict[str, type]:
        """Name -> type of the columns of every value of the class; a plain DataFrame says nothing of them."""
        return {}

    @classmethod
    def column_names(cls) -> list[str]:
        """The names of :meth:`columns`."""
        return list(cls.columns())

    def open(self, dataframe_type: type[DF]) -> Self:
        """Say as what class of frame to read it; :meth:`all` or :meth:`iter` then do.

        :param dataframe_type: ``pandas.DataFrame``, ``polars.DataFrame``, ``polars.LazyFrame``, ``pyarrow.Table``, or a
            class that a decoder is registered for.
        :raises TypeError: another class.
        """
        if not (is_known(dataframe_type) or (isinstance(dataframe_type, type) and handlers.handles(dataframe_type))):
            raise TypeError(
                f"no frame is read as {dataframe_type!r}; known are pandas.DataFrame, polars.DataFrame, "
                "polars.LazyFrame, pyarrow.Table and classes with a registered DataFrameDecoder"
            )
        self._open_as = dataframe_type
        # One of its own, so that two may be opened at once as different classes.
        opened = self.model_copy()
        opened._open_as = dataframe_type
        return opened

    async def all(self) -> Any:
        """The whole frame, as the class that :meth:`open` was told.

        :raises ValueError: :meth:`open` was not called.
        :raises TypeTransformerFailedError: the files cannot be read, or lack a column.
        """
        cls = self._class("all")
        content, uri = await self._place(cls)
        if content is not None:
            return content.receive(self._declared.names)
        handled, frame = await self._decoded(cls, uri)
        if not handled:
            return await run_in_thread(_public, self._read, cls, uri)
        if hasattr(frame, "__aiter__"):
            raise ValueError(f"the decoder of {cls.__qualname__} gives pieces; use iter()")
        return frame

    def all_sync(self) -> Any:
        """:meth:`all` for code that is not async."""
        return run_blocking(self.all)

    def iter(self, batch_rows: int = BATCH_ROWS) -> "Batches":
        """The frame in pieces, for ``async for``; memory holds about one piece, or one row group of the file.

        :param batch_rows: rows of one piece at most.
        :raises ValueError: :meth:`open` was not called, or fewer than one row.
        """
        if batch_rows < 1:
            raise ValueError(f"batch_rows={batch_rows!r} must be 1 or more")
        return Batches(self._batches(self._class("iter"), batch_rows))

    def iter_sync(self, batch_rows: int = BATCH_ROWS) -> Iterator[Any]:
        """:meth:`iter` for code that is not async; of registered decoders, all pieces are read first."""
        cls = self._class("iter_sync")
        if batch_rows < 1:
            raise ValueError(f"batch_rows={batch_rows!r} must be 1 or more")
        content, uri = run_blocking(lambda: self._place(cls, write=True))
        assert content is None
        if handlers.decoder_for(cls, uri, self.format or PARQUET) is not None:
            yield from run_blocking(lambda: _collected(self._batches(cls, batch_rows)))
            return
        with on_this_machine(uri) as path:
            yield from library_of(cls).batches(path, self._declared.names, batch_rows)

    async def download(self, local_path: str | Path | None = None) -> str:
        """Bring the parquet files to this machine; returns the path of the file or folder.

        :param local_path: a new file or folder to make. By default a new temporary place, or where they are, if that is
            this machine.
        :raises TypeTransformerFailedError: there is nothing.
        """
        content, uri = await self._place(type(None), write=True)
        assert content is None
        if local_path is None and not is_remote(uri):
            return str(path_of(uri))
        target = str(local_path) if local_path is not None else str(get_random_local_path("frame"))
        await run_in_thread(_public, fetch, uri, target)
        return await asyncio.to_thread(os.path.abspath, target)

    def download_sync(self, local_path: str | Path | None = None) -> str:
        """:meth:`download` for code that is not async."""
        return run_blocking(lambda: self.download(local_path))

    # How it is read and written -------------------------------------------------------------------------------------

    @property
    def _stored_uri(self) -> str | None:
        return self.stored_uri

    def _content_now(self) -> Content | None:
        """What it holds in memory at this moment; None when it is only in storage."""
        if self._content is None and self._val is not None:
            return library_of(type(self._val)).content(self._val) if is_known(type(self._val)) else None
        content: Content | None = self._content
        return content

    def _class(self, method: str) -> type:
        if self._open_as is None:
            raise ValueError(
                f"DataFrame.{method}() does not know what to read it as; say so first: value.open(pandas.DataFrame)"
            )
        cls: type = self._open_as
        return cls

    async def _place(self, cls: type, write: bool = False) -> tuple[Content | None, str]:
        """The content, if it can be had as ``cls`` from memory, else the URI of its files, written by now."""
        content: Content | None
        if self._content is None and self._val is not None and self.stored_uri is None:
            if not is_known(type(self._val)):
                self.stored_uri, self.format = await self._encoded()
            else:
                content = await run_in_thread(_public, self._content_now)
                assert content is not None
                if not write and content.cls is cls:
                    return content, ""
                return None, await run_in_thread(_public, keep_content, content)
        content = self._content
        if content is not None and content.cls is cls and not write:
            return content, ""
        uri = self.stored_uri or (await run_in_thread(lambda: self.uri) if content is not None else None)
        if uri is None:
            raise ValueError("this DataFrame holds no frame and has no uri, so there is nothing to read")
        return None, uri

    async def _encoded(self) -> tuple[str, str]:
        from flyte.types._frames.handled import encode_dataset

        made = await encode_dataset(self._val, self._declared)
        if made is None:
            raise ValueError(f"no encoder is registered for {type(self._val).__qualname__}")
        return made.uri, made.metadata.structured_dataset_type.format

    async def _decoded(self, cls: type, uri: str) -> tuple[bool, Any]:
        if not handlers.handles(cls):
            return False, None
        from flyte.types._frames.handled import decode_dataset

        return await decode_dataset(cls, dataset_message(uri, self._declared, self.format or PARQUET), self._declared)

    def _read(self, cls: type, uri: str) -> Any:
        from flyte.types._frames.codec import read_dataset

        if not is_known(cls):
            handlers.DataFrameTransformerEngine.get_decoder(cls, handlers.protocol_of(uri), self.format or PARQUET)
        return read_dataset(cls, uri, self.format or PARQUET, self._declared)

    async def _batches(self, cls: type, rows: int) -> AsyncIterator[Any]:
        _, uri = await self._place(cls, write=True)
        handled, found = await self._decoded(cls, uri)
        if handled:
            if not hasattr(found, "__aiter__"):
                yield found
                return
            async for piece in found:
                yield piece
            return
        pieces = self._pieces(cls, uri, rows)
        reading = threading.Lock()

        def following() -> Any:
            with reading:
                return next(pieces, None)

        def close() -> None:
            # A reader that was cancelled left its thread behind, which is still at the last piece.
            with reading:
                pieces.close()

        try:
            while True:
                piece = await run_in_thread(_public, following)
                if piece is None:
                    return
                yield piece
        finally:
            run_in_thread(close)

    def _pieces(self, cls: type, uri: str, rows: int) -> Generator[Any, None, None]:
        with on_this_machine(uri) as path:
            yield from library_of(cls).batches(path, self._declared.names, rows)

    # How it is copied and serialised --------------------------------------------------------------------------------

    @model_serializer(mode="plain")
    def _serialized(self) -> dict[str, str | None]:
        uri = self.stored_uri or _public(_kept, self)
        fields = {"uri": uri, "format": self.format or (PARQUET if uri is not None else "")}
        return {**fields, "hash": self.hash} if self.hash is not None else fields

    def __reduce__(self) -> Any:
        # A copy in another process reads the files.
        return _rebuilt, (type(self), self._serialized())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataFrame):
            return NotImplemented
        if self.hash is not None or other.hash is not None:
            return self.hash == other.hash
        if self.stored_uri is not None and self.stored_uri == other.stored_uri:
            return True
        mine, others = self._content_now(), other._content_now()
        if mine is None or others is None:
            return self.stored_uri == other.stored_uri and mine is others
        return mine.digest == others.digest

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        held = type(self._val) if self._val is not None else self._content.cls if self._content is not None else None
        memory = f", holds a {held.__module__.partition('.')[0]}.{held.__qualname__}" if held is not None else ""
        return f"DataFrame(uri={self.stored_uri!r}, format={self.format!r}, hash={self.hash!r}{memory})"

    __str__ = __repr__


class Batches:
    """The pieces of a frame; for ``async for``, with or without an ``await`` before it."""

    def __init__(self, pieces: AsyncIterator[Any]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._pieces

    def __await__(self) -> Generator[Any, None, AsyncIterator[Any]]:
        return self._pieces
        yield  # only a generator can be awaited


def _check_frame(value: Any) -> None:
    cls = type(value)
    if not is_known(cls) and not handlers.handles(cls):
        raise TypeError(
            f"a {cls.__module__}.{cls.__qualname__} is no data frame: pass one of pandas, polars or pyarrow, or "
            "register a DataFrameEncoder for it"
        )


def _public(call: Any, *args: Any) -> Any:
    """Call with the public error for what does not fit."""
    try:
        return call(*args)
    except Mismatch as mismatch:
        raise mismatch.failure() from mismatch.__cause__


def _kept(value: DataFrame) -> str | None:
    content = value._content_now()
    return keep_content(content) if content is not None else None


def _rebuilt(cls: type[DataFrame], fields: dict[str, str | None]) -> DataFrame:
    return cls(**fields)


async def _collected(pieces: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in pieces]


handlers.wrap_with(DataFrame)
