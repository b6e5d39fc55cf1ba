"""Data frames; apart from the rest, because every process that imports pandas pays for it."""

import pandas as pd

import flyte
from flyte.io import DataFrame

from .program import Program

env = flyte.TaskEnvironment("frames")


@env.task
async def table(n: int) -> pd.DataFrame:
    return pd.DataFrame({"x": range(n), "name": [f"n{x}" for x in range(n)]})


@env.task
async def total(found: pd.DataFrame) -> int:
    return int(found.x.sum())


@env.task
async def wrap(found: pd.DataFrame) -> DataFrame:
    return DataFrame.from_df(found)


@env.task
async def frames() -> int:
    return await total(await table(4))


@env.task
async def wrapped_frames() -> int:
    return await total(await (await wrap(await table(3))).open(pd.DataFrame).all())


@env.task
async def frame(n: int) -> DataFrame:
    return DataFrame.from_df(pd.DataFrame({"x": range(n), "y": [None if x % 2 else float(x) for x in range(n)]}))


@env.task
async def describe(found: DataFrame) -> list[str]:
    read = await found.open(pd.DataFrame).all()
    return [str(read.shape), str(list(read.columns)), str(int(read.x.sum())), str(int(read.y.isna().sum()))]


@env.task
async def frame_between() -> list[str]:
    return await describe(await frame(5))


PROGRAMS = {
    "frame": Program(task=frames),
    "frame_wrapped": Program(task=wrapped_frames),
    "frame_between": Program(task=frame_between),
}
