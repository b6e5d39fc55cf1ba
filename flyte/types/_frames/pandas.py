"""Frames of pandas.

Where pandas copies on write, a frame crosses as a shallow copy: whoever changes one of the two gets memory of his own.
What parquet would not give back as it was crosses as a parquet file in memory instead, so that a hop inside the
process means the same as one between machines.
"""

import sys
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from flyte.types._frames.arrow import Digester, encoded, feed, read_batches, read_parquet, refusal, write_parquet
from flyte.types._frames.content import Columns, Content
from flyte.types._mismatch import Mismatch

_WINDOW = 1 << 17  # values that are hashed at once
_PLAIN = "biuf"  # kinds of numpy's types: bool, integers, floats
_NAMES = pd.Index(["a"]).dtype  # what names that parquet gives back are held as
_ZONES = ("timezone", "ZoneInfo")
_ALWAYS_COPIES_ON_WRITE = int(pd.__version__.partition(".")[0]) >= 3

Layout = tuple[Any, ...]


def _copies_on_write() -> bool:
    return _ALWAYS_COPIES_ON_WRITE or pd.get_option("mode.copy_on_write") is True


def _numbers(column: Any) -> Any:
    """The memory of a column as a numpy array; None for a column that has none or that parquet changes."""
    kind = column.dtype
    if isinstance(kind, np.dtype):
        if kind.kind in _PLAIN and kind != np.float16 and kind.isnative:
            return column.to_numpy(copy=False)
        if kind.kind == "M" and np.datetime_data(kind)[0] != "s":
            return column.to_numpy(copy=False).view("i8")
    elif isinstance(kind, pd.DatetimeTZDtype) and kind.unit != "s" and type(kind.tz).__name__ in _ZONES:
        return column.array.view("i8")
    return None


def _words(column: Any) -> Any:
    """A column of text in arrow's memory, which cannot be changed; None for any other."""
    if isinstance(column.dtype, pd.StringDtype) and column.dtype.storage == "pyarrow":
        found = column.array.__arrow_array__()
        return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
    return None


def _where(array: Any) -> Layout:
    about = array.__array_interface__
    return (about["data"][0], about["strides"], about["typestr"])


def _where_words(words: pa.ChunkedArray) -> Layout:
    found: list[int] = []
    for chunk in words.chunks:
        found += (chunk.offset, len(chunk), *(buffer.address if buffer else 0 for buffer in chunk.buffers()))
    return tuple(found)


def layout_of(frame: pd.DataFrame) -> Layout | None:
    """Where a frame's content is in memory: as long as that stays the same, so does the content.

    None for a frame that parquet would not give back as it is.
    """
    names = frame.columns
    index = frame.index
    if type(names) is not pd.Index or names.name is not None or not names.is_unique or frame.attrs:
        return None
    if names.dtype != _NAMES or not len(names) or not all(type(name) is str for name in names):
        return None
    if type(index) is not pd.RangeIndex or not (index.name is None or type(index.name) is str):
        return None
    if index.name in names or not frame.flags.allows_duplicate_labels:
        return None
    parts: list[Any] = [str(names.dtype), (index.start, index.stop, index.step, index.name)]
    for position, name in enumerate(names):
        column = frame.iloc[:, position]
        numbers = _numbers(column)
        if numbers is not None:
            parts.append((name, str(column.dtype), *_where(numbers)))
            continue
        words = _words(column)
        if words is None:
            return None
        parts.append((name, str(column.dtype), _where_words(words)))
    return tuple(parts)


def digest_of(frame: pd.DataFrame) -> str:
    """What stands for the content of a frame that has a layout."""
    sink = Digester()
    index: Any = frame.index
    sink.write(repr((str(frame.columns.dtype), index.start, index.stop, index.step, index.name)).encode())
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        sink.write(repr((name, str(column.dtype))).encode())
        numbers = _numbers(column)
        if numbers is None:
            feed(pa.table({"words": _words(column)}), pa.PythonFile(sink, mode="w"))
            continue
        for start in range(0, len(numbers), _WINDOW):
            sink.write(np.ascontiguousarray(numbers[start : start + _WINDOW]).view("u1"))
    return f"pandas-{sink.digest.hexdigest()}"


def _references(frame: pd.DataFrame, position: int) -> int | None:
    """How many references there are to the object that owns a column's memory; None if no array owns it."""
    owner = _numbers(frame.iloc[:, position])
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return sys.getrefcount(owner) if owner.flags.owndata else None


_ALONE = _references(pd.DataFrame({"a": np.arange(3.0)}).copy(deep=True), 0)
"""The references where nobody but the frame has the memory, learnt from a frame of which that is certain."""


def is_alone(frame: pd.DataFrame) -> bool:
    """Whether nobody but the frame can reach the memory of its numbers, such as the array that it was made of."""
    if sys.implementation.name != "cpython":
        return False
    return all(
        _references(frame, position) == _ALONE
        for position in range(frame.shape[1])
        if _words(frame.iloc[:, position]) is None
    )


class PandasContent:
    """The content of a frame in memory that is changed by nobody.

    :param frame: copies on write, and is kept to itself: while it lives, whoever changes a frame that shares its
        memory gets memory of his own.
    :param digest: what stands for it.
    """

    cls: type = pd.DataFrame

    def __init__(self, frame: pd.DataFrame, digest: str) -> None:
        self.digest = digest
        self._frame = frame
        self.layout = layout_of(frame)

    def receive(self, columns: Columns = None) -> pd.DataFrame:
        """A shallow copy."""
        received = self._frame.copy(deep=False)
        if columns is not None:
            chosen: Any = received[list(columns)]
            return chosen
        self.remember(received)
        return received

    def remember(self, frame: pd.DataFrame) -> None:
        """As long as a frame shares this content's memory, it need not be hashed."""
        number = id(frame)
        _sharing[number] = (weakref.ref(frame, lambda _: _sharing.pop(number, None)), self)

    def write(self, path: str) -> None:
        """Write the frame."""
        try:
            write_parquet(pa.Table.from_pandas(self._frame), path)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise refusal(self._frame, error) from error


_sharing: dict[int, tuple[Any, PandasContent]] = {}
"""Frames that share the memory of a content, by id."""


class PandasFrames:
    """Frames of pandas."""

    name = "pandas"
    cls: type = pd.DataFrame

    def content(self, frame: pd.DataFrame) -> Content:
        """What a frame holds now."""
        layout = layout_of(frame) if _copies_on_write() else None
        known = _sharing.get(id(frame))
        if known is not None and known[0]() is frame and layout is not None and known[1].layout == layout:
            return known[1]
        if layout is None:
            try:
                return encoded(self, frame, pa.Table.from_pandas(frame))
            except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
                raise refusal(frame, error) from error
        alone = is_alone(frame)
        held = frame.copy(deep=not alone)
        content = PandasContent(held, digest_of(held))
        if alone:
            content.remember(frame)
        return content

    def columns(self, frame: pd.DataFrame) -> list[str]:
        """The names of its columns."""
        return [str(name) for name in frame.columns]

    def read(self, path: Any, columns: Columns) -> pd.DataFrame:
        """The frame of a parquet file, or of a folder of them."""
        table = read_parquet(path, columns, for_pandas=True)
        try:
            # The table is given up column by column, so that memory does not hold everything twice.
            return table.to_pandas(self_destruct=True)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise Mismatch("a frame that pandas can hold", got=f"another ({str(error)[:300]})") from error

    def batches(self, path: str, columns: Columns, rows: int) -> Iterator[pd.DataFrame]:
        """The same in pieces."""
        for table in read_batches(path, columns, rows):
            yield table.to_pandas()

    def detach(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame, which is in memory."""
        return frame

    def show(self, frame: pd.DataFrame) -> str:
        """The first rows as HTML."""
        return str(frame.head(10).to_html())
