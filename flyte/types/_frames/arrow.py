"""Tables of pyarrow, and the parquet files that pandas shares with them.

A table cannot be changed, so one that is known to own its memory crosses as it is.
"""

import hashlib
import weakref
from collections.abc import Iterator
from html import escape
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flyte.types._frames.content import Columns, Content, check_columns
from flyte.types._mismatch import Mismatch

_WINDOW_ROWS = 1 << 17
"""Rows that are hashed at once, so that the pieces a table happens to consist of make no difference."""
_GROUP_ROWS = 1 << 20


def refusal(frame: Any, error: Exception) -> Mismatch:
    """What to say when parquet cannot carry a frame."""
    words = f"a {type(frame).__qualname__} that parquet can carry"
    return Mismatch(words, got="one that it cannot", why=f"{type(error).__name__}: {str(error)[:300]}")


def write_parquet(table: pa.Table, target: Any) -> None:
    """Write a table as one parquet file, which keeps its schema."""
    # A dictionary shortens words; of numbers it only costs time.
    words: Any = [f.name for f in table.schema if _is_text(f.type)]
    pq.write_table(table, target, row_group_size=_GROUP_ROWS, use_dictionary=words)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_dictionary(kind)
    )


def read_parquet(source: Any, columns: Columns, for_pandas: bool = False) -> pa.Table:
    """The table of a parquet file, a folder of them, or a buffer.

    :raises Mismatch: it is none, or lacks a column.
    """
    try:
        if columns is not None:
            check_columns("a stored frame", columns, _schema_of(source).names)
        wanted = list(columns) if columns is not None else None
        return pq.read_table(source, columns=wanted, use_pandas_metadata=for_pandas)
    except (pa.ArrowException, OSError) as error:
        raise Mismatch("a frame in parquet files", got=f"what cannot be read ({str(error)[:300]})") from error


def _schema_of(source: Any) -> pa.Schema:
    if isinstance(source, str):
        return pq.ParquetDataset(source).schema
    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow
    source.seek(0)
    return schema


def read_batches(source: str, columns: Columns, rows: int) -> Iterator[pa.Table]:
    """The same in pieces of at most ``rows`` rows; memory holds one row group."""
    try:
        dataset = pq.ParquetDataset(source)
        check_columns("a stored frame", columns, dataset.schema.names)
        wanted = list(columns) if columns is not None else None
        for fragment in dataset.fragments:
            for batch in fragment.to_batches(
                columns=wanted, batch_size=rows, batch_readahead=1, fragment_readahead=0, schema=dataset.schema
            ):
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise Mismatch("a frame in parquet files", got=f"what cannot be read ({str(error)[:300]})") from error


def windows(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of a table in batches of one size."""
    for start in range(0, table.num_rows, _WINDOW_ROWS):
        yield from table.slice(start, _WINDOW_ROWS).combine_chunks().to_batches()


class Digester:
    """A file that only hashes what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take the next bytes."""
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def feed(table: pa.Table, target: Any) -> None:
    """Write a table in windows in the IPC form."""
    with pa.ipc.new_stream(target, table.schema) as writer:
        for batch in windows(table):
            writer.write_batch(batch)


class EncodedContent:
    """The content of a frame that is only known by its parquet file.

    :param library: of the frame.
    :param data: the file.
    """

    def __init__(self, library: Any, data: pa.Buffer) -> None:
        self.cls: type = library.cls
        self.digest = f"{library.name}-parquet-{hashlib.sha256(data).hexdigest()}"
        self._library = library
        self._data = data

    def receive(self, columns: Columns = None) -> Any:
        """The frame, read anew."""
        return self._library.read(pa.BufferReader(self._data), columns)

    def write(self, path: str) -> None:
        """Write the file."""
        with open(path, "wb") as file:
            file.write(self._data)


def encoded(library: Any, frame: Any, table: pa.Table) -> EncodedContent:
    """The content of a frame as the parquet file of a table.

    :raises Mismatch: parquet cannot carry it.
    """
    sink = pa.BufferOutputStream()
    try:
        write_parquet(table, sink)
    except (pa.ArrowException, ValueError) as error:
        raise refusal(frame, error) from error
    return EncodedContent(library, sink.getvalue())


class ArrowContent:
    """The content of a table that owns its memory.

    :param table: the table.
    :param digest: what stands for its content.
    """

    cls: type = pa.Table

    def __init__(self, table: pa.Table, digest: str) -> None:
        self.digest = digest
        self._table = table

    def receive(self, columns: Columns = None) -> pa.Table:
        """The table itself, which nobody can change."""
        return self._table if columns is None else self._table.select(list(columns))

    def write(self, path: str) -> None:
        """Write the table."""
        write_parquet(self._table, path)


_owned: dict[int, tuple[Any, str]] = {}
"""Tables that own their memory, by id, with their digests."""


def _forget(number: int) -> Any:
    return lambda _: _owned.pop(number, None)


class ArrowTables:
    """Tables of pyarrow."""

    name = "arrow"
    cls: type = pa.Table

    def content(self, frame: pa.Table) -> Content:
        """What a table holds."""
        known = _owned.get(id(frame))
        if known is not None and known[0]() is frame:
            return ArrowContent(frame, known[1])
        if not frame.num_columns or not all(_kept_by_parquet(field.type) for field in frame.schema):
            return encoded(self, frame, frame)
        # Its memory may be that of an array, which somebody changes: it gets its own, and is hashed on the way.
        sink = pa.BufferOutputStream()
        try:
            feed(frame, sink)
        except (pa.ArrowException, ValueError) as error:
            raise refusal(frame, error) from error
        data = sink.getvalue()
        table = pa.ipc.open_stream(data).read_all()
        digest = f"arrow-{hashlib.sha256(data).hexdigest()}"
        _owned[id(table)] = (weakref.ref(table, _forget(id(table))), digest)
        return ArrowContent(table, digest)

    def columns(self, frame: pa.Table) -> list[str]:
        """The names of its columns."""
        return list(frame.column_names)

    def read(self, path: Any, columns: Columns) -> pa.Table:
        """The table of a parquet file, or of a folder of them."""
        return read_parquet(path, columns)

    def batches(self, path: str, columns: Columns, rows: int) -> Iterator[pa.Table]:
        """The same in pieces."""
        return read_batches(path, columns, rows)

    def detach(self, frame: pa.Table) -> pa.Table:
        """The frame, which is in memory."""
        return frame

    def show(self, frame: pa.Table) -> str:
        """The first rows as HTML."""
        return table_html(frame)


def _kept_by_parquet(kind: pa.DataType) -> bool:
    """Whether parquet gives back this type as it was."""
    types = pa.types
    if types.is_timestamp(kind) or types.is_time64(kind):
        return bool(kind.unit != "s")
    return bool(
        types.is_integer(kind)
        or types.is_float32(kind)
        or types.is_float64(kind)
        or types.is_boolean(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_date32(kind)
        or types.is_decimal128(kind)
    )


def table_html(table: pa.Table, rows: int = 10) -> str:
    """The first rows of a table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.column_names)
    lines = []
    columns = [column.to_pylist() for column in table.slice(0, rows).columns]
    for values in zip(*columns, strict=True):
        lines.append("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in values) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
