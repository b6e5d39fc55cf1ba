"""What a frame held when it was taken, and the libraries whose frames are known.

A library's module is imported when a value of it is first met; a class is recognised by its name, without importing.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from flyte.types._mismatch import Mismatch

PARQUET = "parquet"

_LIBRARIES: dict[tuple[str, str], tuple[str, str]] = {
    ("pandas", "DataFrame"): ("flyte.types._frames.pandas", "PandasFrames"),
    ("polars", "DataFrame"): ("flyte.types._frames.polars", "PolarsFrames"),
    ("polars", "LazyFrame"): ("flyte.types._frames.polars", "PolarsLazyFrames"),
    ("pyarrow", "Table"): ("flyte.types._frames.arrow", "ArrowTables"),
}

Columns = Sequence[str] | None
"""The names of the columns to keep; None for all."""


class Content(Protocol):
    """What a frame held at one moment; it does not change afterwards.

    :ivar cls: the class of the frame.
    :ivar digest: what stands for the content; equal for equal frames of a class.
    """

    cls: type
    digest: str

    def receive(self, columns: Columns = None) -> Any:
        """A frame of the same class with this content, which is the receiver's own."""
        ...

    def write(self, path: str) -> None:
        """Write the content as one parquet file."""
        ...


class Library(Protocol):
    """What is done with the frames of one class.

    Every method blocks.
    """

    cls: type

    def content(self, frame: Any) -> Content:
        """What a frame holds now.

        :raises Mismatch: parquet cannot carry it.
        """
        ...

    def columns(self, frame: Any) -> list[str]:
        """The names of its columns."""
        ...

    def read(self, path: str, columns: Columns) -> Any:
        """The frame of a parquet file, or of a folder of them."""
        ...

    def batches(self, path: str, columns: Columns, rows: int) -> Iterator[Any]:
        """The same in pieces of at most so many rows."""
        ...

    def detach(self, frame: Any) -> Any:
        """A frame that was read, so that it needs its file no longer."""
        ...

    def show(self, frame: Any) -> str:
        """The first rows as HTML."""
        ...


_loaded: dict[type, Library] = {}


def is_known(cls: Any) -> bool:
    """Whether a class is a frame of a library that is known here."""
    if not isinstance(cls, type):
        return False
    return (cls.__module__.partition(".")[0], cls.__name__) in _LIBRARIES


def library_of(cls: type) -> Library:
    """The library of a class that :func:`is_known` knows."""
    found = _loaded.get(cls)
    if found is None:
        module, name = _LIBRARIES[cls.__module__.partition(".")[0], cls.__name__]
        found = _loaded[cls] = getattr(importlib.import_module(module), name)()
    return found


def check_columns(words: str, wanted: Columns, present: Sequence[str]) -> None:
    """Refuse a frame without a column that was declared.

    :raises Mismatch: one is missing.
    """
    missing = [name for name in wanted or () if name not in present]
    if missing:
        names = ", ".join(map(repr, missing))
        known = ", ".join(map(repr, list(present)[:20])) or "none"
        raise Mismatch(words, got=f"a frame without column {names}", why=f"its columns are {known}")


def qualified_name(cls: type) -> str:
    """How the wire names a class of frames."""
    return f"{cls.__module__}.{cls.__qualname__}"
