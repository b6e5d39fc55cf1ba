"""Data frames between tasks: any library's, by reference, and each task opens them as what it likes.

Inside one process nothing is written or copied; on other machines it is a parquet file, named by its content.

$ python examples/dataframes.py
$ flyte run examples/dataframes.py main --days 10
"""

from typing import Annotated

import pandas as pd
import polars as pl
import pyarrow as pa

import flyte
from flyte.io import DataFrame

env = flyte.TaskEnvironment(name="dataframes")


@env.task
async def measure(days: int) -> pd.DataFrame:
    return pd.DataFrame({"day": range(days), "rain_mm": [(7 * day) % 11 / 2 for day in range(days)], "note": "dry"})


@env.task
async def annotate(weather: pd.DataFrame) -> DataFrame:
    weather.loc[weather.rain_mm > 2, "note"] = "wet"  # its own: the sender's frame stays as it was
    return DataFrame.from_df(weather)


@env.task
def total(weather: Annotated[pl.DataFrame, ["rain_mm"]]) -> float:  # gets this column only
    return float(weather["rain_mm"].sum())


@env.task
async def count_wet(weather: DataFrame) -> int:
    wet = 0
    async for piece in weather.open(pa.Table).iter(4):  # four rows at a time, however large it is
        wet += piece["note"].to_pylist().count("wet")
    return wet


@env.task
async def main(days: int = 7) -> list[str]:
    """Make a frame with pandas, sum it up with polars, and count in it with pyarrow.

    :param days: how many rows.
    """
    weather = await measure(days)
    annotated = await annotate(weather)
    return [
        f"before: {weather.note.unique().tolist()}",
        f"total: {await total.aio(await annotated.open(pl.DataFrame).all()):g} mm",
        f"wet: {await count_wet(annotated)} of {days} days",
    ]


if __name__ == "__main__":
    for line in flyte.run(main).result:
        print(line)
