"""Values that are big: files, folders and data frames, passed between tasks by reference.

A face: names are resolved on first use, so importing this package does not load pydantic.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.io._dataframe import DataFrame as DataFrame
    from flyte.io._dir import Dir as Dir
    from flyte.io._dir import EmptyDir as EmptyDir
    from flyte.io._file import File as File
    from flyte.io._hashing import HashFunction as HashFunction
    from flyte.io._hashing import HashlibAccumulator as HashlibAccumulator
    from flyte.io._hashing import HashMethod as HashMethod
    from flyte.types._frames.content import PARQUET as PARQUET
    from flyte.types._frames.handlers import DataFrameDecoder as DataFrameDecoder
    from flyte.types._frames.handlers import DataFrameEncoder as DataFrameEncoder
    from flyte.types._frames.handlers import DataFrameTransformerEngine as DataFrameTransformerEngine

_TABLE = {
    "DataFrame": "flyte.io._dataframe",
    "DataFrameDecoder": "flyte.io.extend",
    "DataFrameEncoder": "flyte.io.extend",
    "DataFrameTransformerEngine": "flyte.io.extend",
    "Dir": "flyte.io._dir",
    "EmptyDir": "flyte.io._dir",
    "File": "flyte.io._file",
    "HashFunction": "flyte.io._hashing",
    "HashMethod": "flyte.io._hashing",
    "HashlibAccumulator": "flyte.io._hashing",
    "PARQUET": "flyte.types._frames.content",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "DataFrame",
    "DataFrameDecoder",
    "DataFrameEncoder",
    "DataFrameTransformerEngine",
    "Dir",
    "EmptyDir",
    "File",
    "HashFunction",
    "HashMethod",
    "HashlibAccumulator",
    "PARQUET",
]
