"""Frames of every library, with columns of every kind that users have."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

_TIMES = pd.to_datetime(["2020-01-01", "2021-06-01 12:00:00.000001", None], format="ISO8601")


def _with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["unit"] = "m"
    return frame


PANDAS = {
    "numbers": pd.DataFrame({"a": [1, 2, 3], "b": [1.5, np.nan, 2.0], "c": [True, False, True]}),
    "small numbers": pd.DataFrame({"a": np.arange(3, dtype="f4"), "b": np.arange(3, dtype="i1")}),
    "half floats": pd.DataFrame({"a": np.arange(3, dtype="f2")}),
    "unsigned": pd.DataFrame({"a": np.array([2**64 - 1], dtype="u8")}),
    "text": pd.DataFrame({"a": ["x", None, "long " * 100]}),
    "objects": pd.DataFrame({"a": pd.Series(["x", None], dtype=object)}),
    "times": pd.DataFrame({"a": _TIMES}),
    "times in ns": pd.DataFrame({"a": _TIMES.astype("datetime64[ns]")}),
    "times in s": pd.DataFrame({"a": _TIMES.astype("datetime64[s]")}),
    "times in UTC": pd.DataFrame({"a": _TIMES.tz_localize("UTC")}),
    "times in Berlin": pd.DataFrame({"a": _TIMES.tz_localize("Europe/Berlin")}),
    "durations": pd.DataFrame({"a": pd.to_timedelta([1, 2])}),
    "periods": pd.DataFrame({"a": pd.period_range("2020", periods=2)}),
    "dates": pd.DataFrame({"a": [datetime.date(2020, 1, 1)]}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y", "x"], ordered=True)}),
    "lists": pd.DataFrame({"a": [[1], [2, 3], []]}),
    "nullable": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "arrow text": pd.DataFrame({"a": pd.array(["x", None], dtype=pd.StringDtype("pyarrow"))}),
    "python text": pd.DataFrame({"a": pd.array(["x", None], dtype=pd.StringDtype("python"))}),
    "arrow numbers": pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]")}),
    "an index": pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "a named range": pd.DataFrame({"a": range(3)}, index=pd.RangeIndex(3, name="row")),
    "every other row": pd.DataFrame({"a": range(6)})[::2],
    "a tree as index": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, 2), (3, 4)])),
    "names that are numbers": pd.DataFrame(np.ones((3, 2))),
    "names that are objects": pd.DataFrame(np.ones((2, 2)), columns=pd.Index(["a", "b"], dtype=object)),
    "one block": pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=list("abcd")),
    "attributes": _with_attrs(),
    "no rows": pd.DataFrame({"a": [1]}).iloc[:0],
    "nothing": pd.DataFrame(),
}
ARROW = {
    "plain": pa.table({"a": [1, None], "b": ["x", "y"]}),
    "in pieces": pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2, 3]})]),
    "dictionary": pa.table({"a": pa.array(["x", "y"]).dictionary_encode()}),
    "seconds": pa.table({"a": pa.array([1], pa.timestamp("s"))}),
    "nested": pa.table({"a": [[1], [2]], "b": [{"x": 1}, {"x": None}]}),
    "nulls": pa.table({"a": [None]}),
    "metadata": pa.table({"a": [1]}).replace_schema_metadata({"k": "v"}),
    "field": pa.table({"a": [1]}, schema=pa.schema([pa.field("a", pa.int64(), nullable=False, metadata={"k": "v"})])),
    "decimal": pa.table({"a": pa.array([1], pa.decimal128(10, 2))}),
    "no rows": pa.table({"a": pa.array([], pa.int64())}),
}
POLARS = {
    "plain": pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [1.5, float("nan")]}),
    "time": pl.DataFrame({"a": [datetime.datetime(2020, 1, 1)], "b": [datetime.timedelta(1)]}),
    "zone": pl.DataFrame({"a": [datetime.datetime(2020, 1, 1)]}, schema={"a": pl.Datetime("ns", "Europe/Berlin")}),
    "nested": pl.DataFrame({"a": [[1], [2]], "b": [{"x": 1}, {"x": 2}]}),
    "categories": pl.DataFrame({"a": ["x"]}, schema={"a": pl.Categorical}),
    "enum": pl.DataFrame({"a": ["x"]}, schema={"a": pl.Enum(["x", "y"])}),
    "decimal": pl.DataFrame({"a": [decimal.Decimal("1.5")]}),
    "array": pl.DataFrame({"a": [[1, 2]]}, schema={"a": pl.Array(pl.Int64, 2)}),
    "no rows": pl.DataFrame({"a": []}, schema={"a": pl.Int64}),
    "nothing": pl.DataFrame(),
    "lazy": pl.LazyFrame({"a": [1, 2]}).filter(pl.col("a") > 1),
}
ALL = [
    (f"{library} {name}", frame)
    for library, frames in (("pandas", PANDAS), ("arrow", ARROW), ("polars", POLARS))
    for name, frame in frames.items()
]


def check_same(left: object, right: object) -> None:
    """Fail unless two frames are equal in every respect."""
    assert type(left) is type(right)
    if isinstance(left, pd.DataFrame) and isinstance(right, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_freq=True)
        assert type(left.index) is type(right.index) and left.columns.dtype == right.columns.dtype
        assert left.attrs == right.attrs
    elif isinstance(left, pa.Table) and isinstance(right, pa.Table):
        assert left.equals(right) and left.schema.equals(right.schema, check_metadata=True)
    elif isinstance(left, pl.LazyFrame) and isinstance(right, pl.LazyFrame):
        check_same(left.collect(), right.collect())
    else:
        assert isinstance(left, pl.DataFrame) and isinstance(right, pl.DataFrame)
        assert left.equals(right) and left.schema == right.schema
