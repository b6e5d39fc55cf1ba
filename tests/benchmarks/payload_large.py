"""The large values of S5 and the tasks they pass through; apart, so that others load no numpy and no pandas."""

import functools
import os
from typing import Any

import numpy as np
import pandas as pd

import flyte
import flyte.io

env = flyte.TaskEnvironment(name="benchmarks_large")
PASSES = 5
MB = 1_000_000


@functools.cache
def numbers(mb: int) -> Any:
    """``mb`` MB of random floats, made once: what is measured is how they pass."""
    return np.random.default_rng(0).random(mb * MB // 8)


@functools.cache
def frame(mb: int) -> Any:
    return pd.DataFrame({"v": numbers(mb)})


@functools.cache
def file(mb: int) -> str:
    path = os.path.abspath(f"payload-{mb}.bin")
    with open(path, "wb") as out:
        for _ in range(mb):
            out.write(os.urandom(MB))
    return path


def checksum(values: Any) -> float:
    return float(values[0] + values[len(values) // 2] + values[-1])


@env.task
async def pass_bytes(x: bytes) -> bytes:
    return x


@env.task
async def chain_bytes(mb: int) -> int:
    x = b"\x5a" * (mb * MB)
    for _ in range(PASSES):
        x = await pass_bytes(x)
    return len(x)


@env.task
async def pass_numpy(x: np.ndarray) -> np.ndarray:
    return x


@env.task
async def chain_numpy(mb: int) -> float:
    x = numbers(mb)
    for _ in range(PASSES):
        x = await pass_numpy(x)
    return checksum(x)


@env.task
async def pass_pandas(df: pd.DataFrame) -> pd.DataFrame:
    return df


@env.task
async def chain_pandas(mb: int) -> float:
    df = frame(mb)
    for _ in range(PASSES):
        df = await pass_pandas(df)
    return checksum(df["v"].to_numpy())


@env.task
async def pass_flyteframe(df: flyte.io.DataFrame) -> flyte.io.DataFrame:
    opened = await df.open(pd.DataFrame).all()
    return flyte.io.DataFrame.from_df(opened)


@env.task
async def chain_flyteframe(mb: int) -> float:
    df = flyte.io.DataFrame.from_df(frame(mb))
    for _ in range(PASSES):
        df = await pass_flyteframe(df)
    return checksum((await df.open(pd.DataFrame).all())["v"].to_numpy())


@env.task
async def read_file(f: flyte.io.File, seen: int) -> int:
    async with f.open("rb") as opened:
        data = await opened.read()
    return seen + len(bytes(data))


@env.task
async def chain_file(path: str) -> int:
    f = await flyte.io.File.from_local(path)
    seen = 0
    for _ in range(PASSES):
        seen = await read_file(f, seen)
    return seen
