"""A format of your own for data frames: an encoder and a decoder; here CSV for those of pandas.

$ python examples/dataframe_format.py
$ flyte run examples/dataframe_format.py main
"""

from typing import Annotated, Any

import pandas as pd
from flyteidl2.core.literals_pb2 import StructuredDataset, StructuredDatasetMetadata

import flyte
from flyte.io import DataFrame, DataFrameDecoder, DataFrameEncoder, DataFrameTransformerEngine, File


class CsvEncoder(DataFrameEncoder[pd.DataFrame]):
    async def encode(self, dataframe: DataFrame, structured_dataset_type: Any) -> StructuredDataset:
        async with (file := File.new_remote("frame.csv")).open("wb") as target:  # below the run's raw data, wherever
            await target.write(dataframe.val.to_csv(index=False).encode())
        return StructuredDataset(uri=file.path, metadata=StructuredDatasetMetadata())


class CsvDecoder(DataFrameDecoder[pd.DataFrame]):
    async def decode(self, flyte_value: StructuredDataset, current_task_metadata: Any) -> pd.DataFrame:
        print("reading", flyte_value.uri.rpartition("/")[2])
        return pd.read_csv(await File.from_existing_remote(flyte_value.uri).download())


DataFrameTransformerEngine.register(CsvEncoder(pd.DataFrame, supported_format="csv"))
DataFrameTransformerEngine.register(CsvDecoder(pd.DataFrame, supported_format="csv"))
env = flyte.TaskEnvironment(name="csv")


@env.task
async def main() -> Annotated[pd.DataFrame, "csv"]:
    return pd.DataFrame({"rain_mm": [0.5, 3.0]})


if __name__ == "__main__":
    print(flyte.run(main).result.rain_mm.sum(), "mm")
