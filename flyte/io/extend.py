"""The seam for data frames of other libraries and in other formats.

Subclass :class:`DataFrameEncoder` and :class:`DataFrameDecoder` and register an instance of each::

    DataFrameTransformerEngine.register(SparkEncoder())
    DataFrameTransformerEngine.register(SparkDecoder())

Their class is then a task's value like those of pandas, and :class:`flyte.io.DataFrame` carries it.
"""

from flyte.io._dataframe import DataFrame as DataFrame  # encoders are shown one
from flyte.types._frames.handlers import (
    DataFrameDecoder,
    DataFrameEncoder,
    DataFrameTransformerEngine,
    DuplicateHandlerError,
)

__all__ = ["DataFrameDecoder", "DataFrameEncoder", "DataFrameTransformerEngine", "DuplicateHandlerError"]
