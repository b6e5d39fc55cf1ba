"""A format of your own for data frames: an encoder and a decoder; here CSV for those of pandas.

$ python examples/dataframe_format.py
$ flyte run examples/dataframe_format.py main
"""

from typing import Annotated, Any

import pandas as pd
from flyteidl2.core.literals_pb2 import StructuredDataset, StructuredDatasetMetadata

import flyte.storage
from flyte.io import DataFrame, DataFrameDecoder, DataFrameEncoder, DataFrameTransformerEngine


class CsvEncoder(DataFrameEncoder[pd.DataFrame]):
    async def encode(self, dataframe: DataFrame, structured_dataset_type: Any) -> StructuredDataset:
        uri = await flyte.storage.put_stream(dataframe.val.to_csv(index=False).encode(), name="frame.csv")
        return StructuredDataset(uri=uri, metadata=StructuredDatasetMetadata())


class CsvDecoder(DataFrameDecoder[pd.DataFrame]):
    async def decode(self, flyte_value: StructuredDataset, current_task_metadata: Any) -> pd.DataFrame:
        print("reading", flyte_value.uri.rpartition("/")[2])  # from below the run's raw data, wherever that is
        return pd.read_csv(await flyte.storage.get(flyte_value.uri))


DataFrameTransformerEngine.register(CsvEncoder(pd.DataFrame, supported_format="csv"))
DataFrameTransformerEngine.register(CsvDecoder(pd.DataFrame, supported_format="csv"))
env = flyte.TaskEnvironment(name="csv")


@env.task
async def main() -> Annotated[pd.DataFrame, "csv"]:
    return pd.DataFrame({"rain_mm": [0.5, 3.0]})


if __name__ == "__main__":
    print(flyte.run(main).result.rain_mm.sum(), "mm")
