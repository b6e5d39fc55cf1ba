"""Frames of polars, eager and lazy; pyarrow is not needed.

A frame crosses as a clone of one in memory of its own; polars itself copies what is changed.
"""

import glob
import hashlib
import io
import os
from collections.abc import Iterator
from typing import Any

import polars as pl

from flyte.types._frames.content import Columns, Content, check_columns
from flyte.types._mismatch import Mismatch


def _words(cls: type) -> str:
    return f"a polars {cls.__qualname__} that parquet can carry"


class PolarsContent:
    """The content of a frame, in memory of its own.

    :param frame: it; kept to itself.
    :param digest: what stands for it.
    :param file: its parquet file, if there is one already.
    """

    cls: type = pl.DataFrame

    def __init__(self, frame: pl.DataFrame, digest: str, file: bytes | None = None) -> None:
        self.digest = digest
        self._frame = frame
        self._file = file

    def receive(self, columns: Columns = None) -> Any:
        """A clone."""
        return self._frame.clone() if columns is None else self._frame.select(list(columns))

    def write(self, path: str) -> None:
        """Write the frame."""
        if self._file is not None:
            with open(path, "wb") as file:
                file.write(self._file)
            return
        try:
            self._frame.write_parquet(path)
        except pl.exceptions.PolarsError as error:
            raise Mismatch(_words(self.cls), got="one that it cannot", why=str(error)[:300]) from error


class PolarsLazyContent(PolarsContent):
    """The content of a plan: what it gave when it was carried out."""

    cls: type = pl.LazyFrame

    def receive(self, columns: Columns = None) -> Any:
        """A plan that gives it."""
        return super().receive(columns).lazy()


_KEPT = (
    pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.Int8, pl.Int16, pl.Int32, pl.Int64,
    pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64,
)  # fmt: skip


def _kept_by_parquet(kind: Any) -> bool:
    """Whether parquet gives back this type as it was."""
    if isinstance(kind, pl.List):
        return _kept_by_parquet(kind.inner)
    if isinstance(kind, pl.Struct):
        return bool(kind.fields) and all(_kept_by_parquet(field.dtype) for field in kind.fields)
    return isinstance(kind, _KEPT)


def files_of(path: str) -> list[str]:
    """The parquet files below a folder, without those that other writers keep notes in; of a file, itself."""
    if not os.path.isdir(path):
        return [path]
    found = sorted(glob.glob(os.path.join(glob.escape(path), "**", "*"), recursive=True))
    return [file for file in found if os.path.isfile(file) and not os.path.basename(file).startswith(("_", "."))]


class PolarsFrames:
    """Eager frames."""

    name = "polars"
    cls: type = pl.DataFrame
    content_class = PolarsContent

    def content(self, frame: Any) -> Content:
        """What a frame holds now."""
        try:
            if not frame.width or not all(map(_kept_by_parquet, frame.dtypes)):
                return self._encoded(frame)
            sink = io.BytesIO()
            frame.rechunk().write_ipc_stream(sink, compression="uncompressed")
            digest = hashlib.sha256(sink.getbuffer()).hexdigest()
            sink.seek(0)
            held = pl.read_ipc_stream(sink)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise Mismatch(_words(type(frame)), got="one that it cannot", why=str(error)[:300]) from error
        return self.content_class(held, f"polars-{digest}")

    def _encoded(self, frame: pl.DataFrame) -> Content:
        sink = io.BytesIO()
        frame.write_parquet(sink)
        data = sink.getvalue()
        held = pl.read_parquet(data)
        return self.content_class(held, f"polars-parquet-{hashlib.sha256(data).hexdigest()}", data)

    def columns(self, frame: Any) -> list[str]:
        """The names of its columns."""
        return list(frame.collect_schema().names())

    def read(self, path: str, columns: Columns) -> Any:
        """The frame of a parquet file, or of a folder of them."""
        try:
            return self._scan(path, columns).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise Mismatch("a frame in parquet files", got=f"what cannot be read ({str(error)[:300]})") from error

    def _scan(self, path: str, columns: Columns) -> pl.LazyFrame:
        plan = pl.scan_parquet(files_of(path), glob=False, hive_partitioning=False)
        if columns is None:
            return plan
        check_columns("a stored frame", columns, plan.collect_schema().names())
        return plan.select(list(columns))

    def batches(self, path: str, columns: Columns, rows: int) -> Iterator[Any]:
        """The same in pieces."""
        try:
            yield from self._scan(path, columns).collect_batches(chunk_size=rows, maintain_order=True)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise Mismatch("a frame in parquet files", got=f"what cannot be read ({str(error)[:300]})") from error

    def detach(self, frame: Any) -> Any:
        """The frame, which is in memory."""
        return frame

    def show(self, frame: Any) -> str:
        """The first rows as HTML."""
        return str(frame.lazy().head(10).collect()._repr_html_())


class PolarsLazyFrames(PolarsFrames):
    """Plans: carried out when they are taken; read as plans over the files."""

    cls: type = pl.LazyFrame
    content_class = PolarsLazyContent

    def content(self, frame: Any) -> Content:
        """What the plan gives now."""
        try:
            return super().content(frame.collect())
        except pl.exceptions.PolarsError as error:
            raise Mismatch(_words(pl.LazyFrame), got="one that fails", why=str(error)[:300]) from error

    def read(self, path: str, columns: Columns) -> pl.LazyFrame:
        """A plan over a parquet file, or a folder of them."""
        try:
            return self._scan(path, columns)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise Mismatch("a frame in parquet files", got=f"what cannot be read ({str(error)[:300]})") from error

    def detach(self, frame: Any) -> Any:
        """A plan over what it gives now."""
        return frame.collect().lazy()
