"""Values that are big: files and folders, passed between tasks by reference.

A face: names are resolved on first use, so importing this package does not load pydantic.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.io._dir import Dir as Dir
    from flyte.io._dir import EmptyDir as EmptyDir
    from flyte.io._file import File as File
    from flyte.io._hashing import HashFunction as HashFunction
    from flyte.io._hashing import HashlibAccumulator as HashlibAccumulator
    from flyte.io._hashing import HashMethod as HashMethod

_TABLE = {
    "Dir": "flyte.io._dir",
    "EmptyDir": "flyte.io._dir",
    "File": "flyte.io._file",
    "HashFunction": "flyte.io._hashing",
    "HashMethod": "flyte.io._hashing",
    "HashlibAccumulator": "flyte.io._hashing",
}
_MISSING = {"DataFrame": "data frames are not built yet", "PARQUET": "data frames are not built yet"}

__getattr__, __dir__ = lazy_face(__name__, _TABLE, _MISSING)

__all__ = ["Dir", "EmptyDir", "File", "HashFunction", "HashMethod", "HashlibAccumulator"]
