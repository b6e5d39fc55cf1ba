"""flyte.io.DataFrame: made of frames of every library, opened as any, read whole or in pieces, on any storage."""

import asyncio
import copy
import importlib.util
import pickle
import typing
from collections import OrderedDict
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel

import flyte
from flyte.errors import TypeTransformerFailedError
from flyte.io import PARQUET, DataFrame, HashFunction
from flyte.types import TypeEngine
from flyte.types._engine import codec_for
from flyte.types._hashing import canonical_bytes
from flyte.types._raw_data import raw_data_path

_spec = importlib.util.spec_from_file_location(
    "storage_fixtures", Path(__file__).parents[1] / "storage" / "conftest.py"
)
assert _spec is not None and _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
s3_endpoint, s3 = _fixtures.s3_endpoint, _fixtures.s3

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
CLASSES = [pd.DataFrame, pa.Table, pl.DataFrame, pl.LazyFrame]
env = flyte.TaskEnvironment(name="dataframes")


@pytest.fixture
def raw(tmp_path):
    token = raw_data_path.set(str(tmp_path / "raw"))
    yield tmp_path / "raw"
    raw_data_path.reset(token)


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def rows(frame: typing.Any) -> list[dict[str, typing.Any]]:
    if isinstance(frame, pd.DataFrame):
        return frame.to_dict("records")
    if isinstance(frame, pa.Table):
        return frame.to_pylist()
    return frame.lazy().collect().to_dicts()


def of(cls: type) -> typing.Any:
    if cls is pd.DataFrame:
        return FRAME.copy()
    if cls is pa.Table:
        return pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    made = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    return made.lazy() if cls is pl.LazyFrame else made


# Made and opened ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_as", CLASSES, ids=lambda c: f"as {c.__module__.partition('.')[0]}.{c.__name__}")
@pytest.mark.parametrize("made_of", CLASSES, ids=lambda c: f"{c.__module__.partition('.')[0]}.{c.__name__}")
async def test_every_library_reads_every_other(made_of, read_as, raw):
    expected = rows(FRAME)
    for value in (DataFrame.from_df(of(made_of)), await DataFrame.from_local(of(made_of))):
        opened = await value.open(read_as).all()
        assert type(opened) is read_as and rows(opened) == expected
        received = codec_for(DataFrame).transfer(value)[0]
        opened = await received.open(read_as).all()
        assert type(opened) is read_as and rows(opened) == expected
        read = codec_for(DataFrame).decode(codec_for(DataFrame).encode(value))
        opened = await read.open(read_as).all()
        assert type(opened) is read_as and rows(opened) == expected
        pieces = [rows(piece) async for piece in received.open(read_as).iter(2)]
        assert [row for piece in pieces for row in piece] == expected
    assert len(stored(raw)) == 1


def test_without_async(raw):
    value = DataFrame.from_local_sync(FRAME, columns=OrderedDict(a=int, b=str))
    assert value.format == PARQUET and Path(value.uri).is_dir()
    assert [c.name for c in value.metadata.structured_dataset_type.columns] == ["a", "b"]
    assert rows(value.open(pd.DataFrame).all_sync()) == rows(FRAME)
    assert [len(piece) for piece in value.open(pd.DataFrame).iter_sync(2)] == [2, 1]
    assert value.download_sync() == value.uri


async def test_nothing_is_written_until_somebody_asks_where_it_is(raw):
    sent = DataFrame.from_df(FRAME.copy())
    assert sent.uri is None and sent.literal is None and sent.val is not None
    received, _ = codec_for(DataFrame).transfer(sent)
    await received.open(pd.DataFrame).all()
    assert stored(raw) == [] and received.val is None
    assert "uri=None" in repr(received) and "pandas" in repr(received)
    uri = received.uri
    assert [str(file) for file in stored(raw)] == [f"{uri}/00000"] and received.literal.uri == uri
    # An equal frame is there already.
    assert codec_for(DataFrame).transfer(DataFrame.from_df(FRAME.copy()))[0].uri == uri
    assert len(stored(raw)) == 1


async def test_each_opening_gives_a_frame_of_ones_own(raw):
    value = codec_for(DataFrame).transfer(DataFrame.from_df(FRAME.copy()))[0]
    first = await value.open(pd.DataFrame).all()
    first.loc[0, "a"] = 99
    assert rows(await value.open(pd.DataFrame).all()) == rows(FRAME)


async def test_two_may_be_open_at_once(raw):
    value = await DataFrame.from_local(FRAME)
    got = await asyncio.gather(*[value.open(cls).all() for cls in CLASSES])
    assert [type(frame) for frame in got] == CLASSES
    # As the published package also lets one write it.
    value.open(pa.Table)
    assert type(await value.all()) is pa.Table


async def test_a_frame_that_is_changed_before_it_crosses(raw):
    frame = FRAME.copy()
    value = DataFrame.from_df(frame)
    frame.loc[0, "a"] = 5
    received, first = codec_for(DataFrame).transfer(value)
    frame.loc[0, "a"] = 6
    assert rows(await received.open(pd.DataFrame).all())[0]["a"] == 5
    assert codec_for(DataFrame).transfer(value)[1] != first


async def test_columns(raw):
    codec = codec_for(Annotated[DataFrame, OrderedDict(b=str)])
    for value in (DataFrame.from_df(of(pd.DataFrame)), await DataFrame.from_local(of(pa.Table))):
        for received in (codec.transfer(value)[0], codec.decode(codec.encode(value))):
            for cls in CLASSES:
                assert rows(await received.open(cls).all()) == [{"b": "x"}, {"b": "y"}, {"b": "z"}]
            pieces = [len(rows(piece)[0]) async for piece in received.open(pl.DataFrame).iter(1)]
            assert pieces == [1, 1, 1]
    with pytest.raises(TypeTransformerFailedError, match="without column 'zz'"):
        codec_for(Annotated[DataFrame, ["zz"]]).transfer(DataFrame.from_df(FRAME))
    assert DataFrame.columns() == {} and DataFrame.column_names() == []


async def test_hashes(raw):
    codec = codec_for(DataFrame)
    plain = DataFrame.from_df(FRAME.copy())
    assert codec.transfer(plain)[1] == codec.transfer(await DataFrame.from_local(FRAME.copy()))[1]
    assert codec.transfer(plain)[1] == canonical_bytes(codec.encode(plain))
    assert codec.transfer(plain)[0].hash == codec.encode(plain).hash
    assert (await DataFrame.from_local(FRAME, hash_method="mine")).hash == "mine"
    counted = await DataFrame.from_local(FRAME, hash_method=HashFunction.from_fn(lambda f: f"{len(f)} rows"))
    assert counted.hash == "3 rows" and codec.transfer(counted)[1] == b"3 rows"
    own = codec_for(Annotated[DataFrame, HashFunction.from_fn(lambda f: f"{len(f)} rows")])
    assert own.transfer(plain)[1] == b"3 rows" == canonical_bytes(own.encode(plain))
    # Of a reference to files that were never looked at the URI is all there is.
    there, other = DataFrame.from_existing_remote("s3://b/x"), DataFrame.from_existing_remote("s3://b/y")
    assert codec.transfer(there)[1] == canonical_bytes(codec.encode(there)) != codec.transfer(other)[1]
    assert codec.transfer(DataFrame.from_existing_remote("s3://b/x", hash="h"))[1] == b"h"


async def test_files_that_others_wrote(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        pq.write_table(pa.table({"n": [number, number]}), folder / f"part-{number}.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / ".part-0.crc").write_text("")
    for uri in (str(folder), f"file://{folder}"):
        value = DataFrame.from_existing_remote(uri)
        for cls in CLASSES:
            assert [row["n"] for row in rows(await value.open(cls).all())] == [0, 0, 1, 1, 2, 2]
            assert sum([len(rows(piece)) async for piece in value.open(cls).iter(4)]) == 6
    one = DataFrame(uri=str(folder / "part-1.parquet"))
    assert [row["n"] for row in rows(await one.open(pd.DataFrame).all())] == [1, 1]


async def test_a_destination_of_ones_own(tmp_path, monkeypatch):
    value = await DataFrame.from_local(FRAME, remote_destination=str(tmp_path / "there"))
    assert value.uri == str(tmp_path / "there") and pq.read_table(value.uri).num_rows == 3
    await DataFrame.from_local(FRAME.iloc[:1], remote_destination=str(tmp_path / "there"))
    assert pq.read_table(value.uri).num_rows == 1
    monkeypatch.chdir(tmp_path)
    assert (await DataFrame.from_local(FRAME, remote_destination="near")).uri == str(tmp_path / "near")
    target = await value.download(tmp_path / "copy")
    assert pq.read_table(target).num_rows == 1 and await value.download() == value.uri


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: DataFrame.from_df(5), TypeError, "a builtins.int is no data frame"),
        (lambda: DataFrame.from_local_sync([1]), TypeError, "a builtins.list is no data frame"),
        (lambda: DataFrame.from_local_sync(FRAME, remote_destination="ftp://x/y"), ValueError, "unknown scheme 'ftp'"),
        (lambda: DataFrame.from_existing_remote(""), ValueError, "an empty path"),
        (lambda: DataFrame.from_existing_remote("/x", mode="r"), TypeError, "does not take 'mode'"),
        (lambda: DataFrame(uri="/x").all_sync(), ValueError, "say so first: value.open"),
        (lambda: DataFrame(uri="/x").iter(), ValueError, "say so first: value.open"),
        (lambda: DataFrame(uri="/x").open(int), TypeError, "no frame is read as <class 'int'>"),
        (lambda: DataFrame().open(pd.DataFrame).all_sync(), ValueError, "holds no frame and has no uri"),
        (lambda: DataFrame(uri="/x").open(pd.DataFrame).iter(0), ValueError, "batch_rows=0 must be 1 or more"),
        (lambda: DataFrame(uri="/gone").open(pd.DataFrame).all_sync(), TypeTransformerFailedError, "there is none"),
        (
            lambda: DataFrame(uri="/etc/hostname", format="csv").open(pd.DataFrame).all_sync(),
            TypeTransformerFailedError,
            "register a DataFrameDecoder",
        ),
        (
            lambda: DataFrame.from_local_sync(pd.DataFrame({"a": [object()]})),
            TypeTransformerFailedError,
            "that parquet can carry",
        ),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


async def test_leaving_a_stream_early_and_cancelling_it(raw, tmp_path):
    value = await DataFrame.from_local(pd.DataFrame({"a": np.arange(200_000.0)}))

    async def read_some(at_least: int) -> None:
        seen = 0
        async for piece in value.open(pd.DataFrame).iter(100):
            seen += len(piece)
            if seen >= at_least:
                break

    await read_some(500)
    reading = asyncio.create_task(read_some(10**9))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await read_some(100)


# As a value -----------------------------------------------------------------------------------------------------------


class Model(BaseModel):
    data: DataFrame
    more: list[DataFrame] = []
    n: int = 1


async def test_inside_a_pydantic_model(raw):
    codec = codec_for(Model)
    value = Model(data=DataFrame.from_df(FRAME.copy()), more=[DataFrame.from_df(FRAME.copy())])
    received, canonical = codec.transfer(value)
    literal = codec.encode(value)
    assert canonical == canonical_bytes(literal)
    for got in (received, codec.decode(literal)):
        assert got.n == 1 and rows(await got.data.open(pd.DataFrame).all()) == rows(FRAME)
        assert rows(await got.more[0].open(pl.DataFrame).all()) == rows(FRAME)
    assert len(stored(raw)) == 1
    assert '"dataframe"' in str(codec.literal_type.metadata["$defs"]).replace("'", '"')
    assert Model.model_validate(value.model_dump()).data.uri == received.data.uri


async def test_copies_and_pickles(raw):
    value = codec_for(DataFrame).transfer(DataFrame.from_df(FRAME.copy()))[0]
    for got in (copy.copy(value), copy.deepcopy(value), value.model_copy(), pickle.loads(pickle.dumps(value))):
        assert rows(await got.open(pd.DataFrame).all()) == rows(FRAME)
        assert got == value
    assert value != DataFrame.from_df(FRAME.iloc[:1]) and value != 3
    assert value.model_dump() == {"uri": value.uri, "format": "parquet", "hash": value.hash}
    assert DataFrame(uri="/x", format="parquet").model_dump() == {"uri": "/x", "format": "parquet"}


def test_the_schema_is_that_of_the_published_sdk():
    # As 2.12.1 prints it.
    assert DataFrame.model_json_schema() == {
        "description": "A tabular data reference backed by a remote file.",
        "properties": {
            "uri": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Uri"},
            "format": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": "", "title": "Format"},
            "hash": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "Hash"},
        },
        "title": "DataFrame",
        "type": "object",
        "x-flyte-type": "dataframe",
    }


@env.task
async def grow(data: DataFrame) -> DataFrame:
    frame = await data.open(pd.DataFrame).all()
    frame["a"] += 1
    return DataFrame.from_df(frame)


@env.task
def measure(data: Annotated[DataFrame, ("a",)] | None, all: list[DataFrame]) -> int:
    assert data is not None
    return int(data.open(pl.DataFrame).all_sync()["a"].sum()) + sum(
        piece.num_rows for one in all for piece in one.open(pa.Table).iter_sync(2)
    )


@env.task
async def workflow() -> int:
    data = DataFrame.from_df(FRAME.copy())
    grown = await grow(await grow(data))
    assert rows(await data.open(pd.DataFrame).all()) == rows(FRAME)
    return await measure.aio(grown, [data, grown])


def test_through_tasks():
    assert flyte.run(workflow).outputs()[0] == 1 + 2 + 3 + 6 + 6


@env.task
async def give() -> DataFrame:
    return DataFrame.from_df(FRAME.copy())


def test_the_result_of_a_run_can_be_opened_when_the_run_is_over():
    value = flyte.run(give).outputs()[0]
    assert rows(value.open(pd.DataFrame).all_sync()) == rows(FRAME)
    assert rows(value.open(pa.Table).all_sync()) == rows(FRAME)


# Other storage --------------------------------------------------------------------------------------------------------


async def test_on_s3(s3):
    token = raw_data_path.set(f"{s3}/raw")
    try:
        value = await DataFrame.from_local(FRAME)
        assert value.uri.startswith(f"{s3}/raw/")
        again = DataFrame.from_existing_remote(value.uri)
        for cls in CLASSES:
            assert rows(await again.open(cls).all()) == rows(FRAME)
        assert [len(piece) async for piece in again.open(pd.DataFrame).iter(2)] == [2, 1]
        assert pq.read_table(await again.download()).num_rows == 3
        chosen = await DataFrame.from_local(FRAME, remote_destination=f"{s3}/chosen")
        assert chosen.uri == f"{s3}/chosen"
        for codec, frame in ((codec_for(pd.DataFrame), FRAME), (codec_for(list[pa.Table]), [of(pa.Table)])):
            literal = await codec.encode_async(frame)
            back = await codec.decode_async(literal)
            assert rows(back if codec is codec_for(pd.DataFrame) else back[0]) == rows(FRAME)
        # Sync code and pickles reach it as well.
        assert rows(codec_for(pl.DataFrame).decode(codec_for(pl.DataFrame).encode(of(pl.DataFrame)))) == rows(FRAME)
        for value in (b"x" * 200_000, np.arange(50_000)):
            codec = codec_for(type(value))
            literal = await codec.encode_async(value)
            assert literal.scalar.blob.uri.startswith(f"{s3}/raw/")
            assert np.array_equal(await codec.decode_async(literal), value) and codec.encode(value) == literal
            assert np.array_equal(codec.decode(literal), value)
        with pytest.raises(TypeTransformerFailedError, match="gone"):
            await DataFrame.from_existing_remote(f"{s3}/gone").open(pd.DataFrame).all()
    finally:
        raw_data_path.reset(token)


def test_a_run_whose_large_values_go_to_s3(s3):
    value = flyte.with_runcontext(mode="local", raw_data_path=f"{s3}/run").run(workflow).outputs()[0]
    assert value == 18


async def test_the_type_engine_takes_it(raw):
    literal = await TypeEngine.to_literal(FRAME, pd.DataFrame, TypeEngine.to_literal_type(pd.DataFrame))
    assert rows(await TypeEngine.to_python_value(literal, pd.DataFrame)) == rows(FRAME)
    assert rows(await TypeEngine.to_python_value(literal, pa.Table)) == rows(FRAME)
    value = await TypeEngine.to_python_value(literal, DataFrame)
    assert rows(await value.open(pl.DataFrame).all()) == rows(FRAME)
    for annotation in (pd.DataFrame, DataFrame):
        assert TypeEngine.guess_python_type(TypeEngine.to_literal_type(annotation)) is DataFrame
        assert TypeEngine.get_transformer(annotation).name == "DataFrame Transformer"
    assert "<table" in TypeEngine.to_html(FRAME, pd.DataFrame)
    assert "<table" in TypeEngine.to_html(DataFrame.from_df(FRAME), DataFrame)
