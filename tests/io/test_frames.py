"""Frames of pandas, polars and pyarrow as values: the same after a hop as after storage, and the receiver's alone."""

import asyncio
import dataclasses
import subprocess
import sys
import threading
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

import flyte
from flyte.errors import TypeTransformerFailedError
from flyte.io import DataFrame, HashFunction, HashlibAccumulator
from flyte.types import TypeEngine
from flyte.types._engine import codec_for
from flyte.types._frames import pandas as of_pandas
from flyte.types._frames.content import library_of
from flyte.types._hashing import canonical_bytes
from flyte.types._raw_data import raw_data_path

sys.path.insert(0, str(Path(__file__).parent))
from frame_samples import ALL, PANDAS, check_same

sys.path.pop(0)


@pytest.fixture
def raw(tmp_path):
    token = raw_data_path.set(str(tmp_path / "raw"))
    yield tmp_path / "raw"
    raw_data_path.reset(token)


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


# What a hop means -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [frame for _, frame in ALL], ids=[name for name, _ in ALL])
def test_a_hop_means_encode_and_decode(frame, raw):
    codec = codec_for(type(frame))
    received, canonical = codec.transfer(frame)
    sized, size = codec.transfer_sized(frame)
    assert stored(raw) == [] and size == 0
    literal = codec.encode(frame)
    check_same(received, codec.decode(literal))
    check_same(sized, received)
    assert canonical == canonical_bytes(literal) == literal.hash.encode()
    wired, size, kept = codec.transfer_wired(frame)
    check_same(wired, received)
    assert kept == literal.SerializeToString(deterministic=True) and size == 0
    # Written once, as one parquet file in a folder, which readers of other languages open.
    (file,) = stored(raw)
    assert str(file) == f"{literal.scalar.structured_dataset.uri}/00000"
    assert pq.read_table(file).num_rows == (frame.collect() if isinstance(frame, pl.LazyFrame) else frame).shape[0]


@pytest.mark.parametrize("frame", [frame for _, frame in ALL], ids=[name for name, _ in ALL])
def test_equal_frames_have_equal_hashes(frame, raw):
    codec = codec_for(type(frame))
    first = codec.transfer(frame)[1]
    again = frame.copy(deep=True) if isinstance(frame, pd.DataFrame) else frame
    if isinstance(frame, (pa.Table, pl.DataFrame)) and frame.num_rows if isinstance(frame, pa.Table) else False:
        again = pa.concat_tables([frame.slice(0, 1), frame.slice(1)])  # in other pieces
    assert codec.transfer(again)[1] == first


@pytest.mark.parametrize("name", list(PANDAS))
def test_frames_that_differ_have_other_hashes(name, raw):
    codec = codec_for(pd.DataFrame)
    frame = PANDAS[name]
    digests = {codec.transfer(other)[1] for other in PANDAS.values()}
    assert len(digests) == len(PANDAS)
    if len(frame):
        assert codec.transfer(frame.iloc[:-1])[1] != codec.transfer(frame)[1]
    if frame.columns[:1].tolist() == ["a"]:
        assert codec.transfer(frame.rename(columns={"a": "z"}))[1] != codec.transfer(frame)[1]


def test_the_hash_is_the_same_in_every_process():
    program = (
        "import pandas as pd, polars as pl, pyarrow as pa; from flyte.types._engine import codec_for\n"
        "for f in (pd.DataFrame({'a': [1, 2], 'b': ['x', None]}), pa.table({'a': [1]}), pl.DataFrame({'a': ['x']})):\n"
        "    print(codec_for(type(f)).transfer(f)[1].decode())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1 and next(iter(runs)).count("\n") == 3


# Isolation ------------------------------------------------------------------------------------------------------------


def test_a_receiver_changes_its_own_frame_only():
    codec = codec_for(pd.DataFrame)
    sent = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    received, _ = codec.transfer(sent)
    other, _ = codec.transfer(sent)
    received.loc[0, "a"] = 99
    received["b"] = "changed"
    received.iloc[1, 0] = 77
    assert sent.a.tolist() == other.a.tolist() == [1, 2, 3] and sent.b.tolist() == other.b.tolist() == ["x", "y", "z"]


def test_a_sender_that_goes_on_changing_does_not_reach_the_receiver():
    codec = codec_for(pd.DataFrame)
    sent = pd.DataFrame({"a": np.arange(3)})
    received, first = codec.transfer(sent)
    sent.loc[0, "a"] = 99
    assert received.a.tolist() == [0, 1, 2]
    again, second = codec.transfer(sent)
    assert again.a.tolist() == [99, 1, 2] and first != second
    sent.loc[0, "a"] = 0
    assert codec.transfer(sent)[1] == first


@pytest.mark.parametrize("library", ["pandas", "arrow", "polars"])
def test_an_array_that_a_frame_was_made_of_does_not_reach_the_receiver(library):
    array = np.arange(1000.0)
    sent = {
        "pandas": lambda: pd.DataFrame(array.reshape(-1, 1), columns=["a"], copy=False),
        "arrow": lambda: pa.table({"a": pa.array(array)}),
        "polars": lambda: pl.from_arrow(pa.table({"a": pa.array(array)})),
    }[library]()
    received, first = codec_for(type(sent)).transfer(sent)
    array[0] = -1
    assert received["a"].to_numpy()[0] == 0
    assert codec_for(type(sent)).transfer(received)[1] == first


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.loc.__setitem__((0, "a"), 9),
        lambda f: f.__setitem__("a", [7, 8, 9]),
        lambda f: f.rename(columns={"a": "z"}, inplace=True),
        lambda f: f.sort_values("a", ascending=False, inplace=True),
        lambda f: f.drop(columns="b", inplace=True),
        lambda f: f.insert(0, "new", 1),
        lambda f: f.attrs.update(x=1),
        lambda f: setattr(f, "index", [3, 4, 5]),
        lambda f: setattr(f, "columns", ["p", "q", "t"]),
        lambda f: f.replace({"t": {"x": "w"}}, inplace=True),
        lambda f: f.iloc.__setitem__((slice(None), 1), 5.0),
    ],
)
def test_a_change_is_noticed_however_it_is_made(change):
    codec = codec_for(pd.DataFrame)
    sent = pd.DataFrame({"a": [1, 2, 3], "b": [1.0, 2.0, 3.0], "t": ["x", "y", "z"]})
    received, first = codec.transfer(sent)
    change(received)
    again, second = codec.transfer(received)
    check_same(again, received)
    assert second != first
    assert codec.transfer(sent)[1] == first
    assert sent.columns.tolist() == ["a", "b", "t"] and sent.a.tolist() == [1, 2, 3] and sent.attrs == {}


def test_a_frame_that_did_not_change_is_neither_copied_nor_hashed_again(monkeypatch):
    codec = codec_for(pd.DataFrame)
    sent = pd.DataFrame({"a": np.arange(1000.0), "b": np.arange(1000)})
    received, first = codec.transfer(sent)
    monkeypatch.setattr(of_pandas, "digest_of", lambda frame: pytest.fail("hashed again"))
    for _ in range(5):
        received, digest = codec.transfer(received)
        assert digest == first and np.shares_memory(received["a"].to_numpy(), sent["a"].to_numpy())
    assert codec.transfer(sent)[1] == first


def test_only_a_frame_that_is_alone_lends_its_memory():
    frame = pd.DataFrame({"a": np.arange(5.0), "b": ["x"] * 5})
    assert of_pandas.is_alone(frame)
    column = frame["a"]
    assert not of_pandas.is_alone(frame)
    del column
    array = frame["a"].to_numpy()
    assert not of_pandas.is_alone(frame)
    del array
    view = memoryview(frame["a"].to_numpy())
    assert not of_pandas.is_alone(frame)
    view.release()
    del view
    assert of_pandas.is_alone(frame)


def test_nothing_is_kept_of_frames_that_are_gone():
    codec = codec_for(pd.DataFrame)
    before = len(of_pandas._sharing)
    frame = pd.DataFrame({"a": range(10)})
    for _ in range(20):
        frame = codec.transfer(frame)[0]
    del frame
    assert len(of_pandas._sharing) == before
    table = codec_for(pa.Table).transfer(pa.table({"a": [1]}))[0]
    number = id(table)
    from flyte.types._frames.arrow import _owned

    assert number in _owned
    del table
    assert number not in _owned


# Columns, formats, hashes ---------------------------------------------------------------------------------------------

TWO = {"a": [1, 2], "b": ["x", "y"], "c": [1.0, 2.0]}
CLASSES = [pd.DataFrame, pa.table, pl.DataFrame, pl.LazyFrame]


@pytest.mark.parametrize("make", CLASSES, ids=lambda c: f"{c.__module__}.{c.__name__}")
@pytest.mark.parametrize("wanted", [["b"], OrderedDict(b=str), {"b": str}], ids=["names", "ordered", "dict"])
def test_a_subset_of_the_columns(make, wanted, raw):
    frame = make(TWO)
    codec = codec_for(Annotated[type(frame), wanted])
    whole = codec_for(type(frame))
    for got in (codec.transfer(frame)[0], codec.decode(codec.encode(frame)), codec.decode(whole.encode(frame))):
        assert library_of(type(frame)).columns(got) == ["b"]
    missing = codec_for(Annotated[type(frame), ["b", "zz"]])
    with pytest.raises(TypeTransformerFailedError, match=r"without column 'zz'.*its columns are 'a', 'b', 'c'"):
        missing.transfer(frame)
    literal = whole.encode(frame)
    with pytest.raises(TypeTransformerFailedError, match="without column 'zz'"):
        missing.decode(literal)


def test_a_subset_keeps_the_index(raw):
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=pd.Index(["x", "y"], name="key"))
    codec = codec_for(Annotated[pd.DataFrame, ["b"]])
    expected = frame[["b"]]
    check_same(codec.transfer(frame)[0], expected)
    check_same(codec.decode(codec.encode(frame)), expected)


def test_the_wire_is_that_of_the_published_sdk(raw):
    # As 2.12.1 prints them for the same annotations.
    said = {
        pd.DataFrame: 'structured_dataset_type {\n}\nstructure {\n  tag: "pandas.DataFrame"\n}\n',
        pa.Table: 'structured_dataset_type {\n}\nstructure {\n  tag: "pyarrow.lib.Table"\n}\n',
        DataFrame: "structured_dataset_type {\n}\n",
        Annotated[pd.DataFrame, "csv"]: (
            'structured_dataset_type {\n  format: "csv"\n}\nstructure {\n  tag: "pandas.DataFrame"\n}\n'
        ),
        Annotated[DataFrame, pa.schema([("a", pa.int64())])]: (
            'structured_dataset_type {\n  external_schema_type: "arrow"\n  external_schema_bytes: "a: int64"\n}\n'
        ),
    }
    for annotation, text in said.items():
        assert str(TypeEngine.to_literal_type(annotation)) == text
    columns = TypeEngine.to_literal_type(Annotated[pd.DataFrame, OrderedDict(a=int, c=list[str])])
    assert [c.name for c in columns.structured_dataset_type.columns] == ["a", "c"]
    assert columns.structured_dataset_type.columns[1].literal_type.collection_type.simple == 3
    union = TypeEngine.to_literal_type(pd.DataFrame | None)
    assert union.union_type.variants[0].structure.tag == "DataFrame Transformer"
    literal = codec_for(Annotated[pd.DataFrame, OrderedDict(a=int)]).encode(pd.DataFrame({"a": [1]}))
    kind = literal.scalar.structured_dataset.metadata.structured_dataset_type
    assert kind.format == "parquet" and kind.columns[0].name == "a"


def test_a_hash_of_ones_own_stands_for_the_content(raw):
    frame = pd.DataFrame({"a": [1, 2]})
    own = codec_for(Annotated[pd.DataFrame, HashFunction.from_fn(lambda f: f"{len(f)} rows")])
    assert own.transfer(frame)[1] == b"2 rows" == canonical_bytes(own.encode(frame))
    hashed = codec_for(Annotated[pd.DataFrame, HashlibAccumulator("md5")])
    assert len(hashed.transfer(frame)[1]) == 32 and hashed.transfer(frame)[1] == canonical_bytes(hashed.encode(frame))
    # Two contents of one hash of one's own are two files all the same.
    own.encode(pd.DataFrame({"a": [3, 4]}))
    assert len(stored(raw)) == 2


# What is refused ------------------------------------------------------------------------------------------------------


class Sub(pd.DataFrame):
    pass


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (pd.DataFrame, 5, "expected .*DataFrame, got int 5"),
        (pd.DataFrame, pl.DataFrame({"a": [1]}), "convert it, or annotate with flyte.io.DataFrame"),
        (pa.Table, pd.DataFrame({"a": [1]}), "convert it"),
        (pd.DataFrame, Sub({"a": [1]}), r"a subclass would come back as DataFrame; pass DataFrame\(value\)"),
        (pd.DataFrame, DataFrame(uri="/x"), r"open it first: await value.open\(DataFrame\).all\(\)"),
        (pd.DataFrame, pd.DataFrame({"a": [object()]}), "that parquet can carry"),
        (pd.DataFrame, pd.DataFrame([[1, 2]], columns=["a", "a"]), "that parquet can carry.*[Dd]uplicate"),
        (pl.DataFrame, pl.DataFrame({"a": [object()]}, schema={"a": pl.Object}), "that parquet can carry"),
        (pl.LazyFrame, pl.LazyFrame({"a": [1]}).select("gone"), "one that fails"),
        (DataFrame, pd.DataFrame({"a": [1]}), r"wrap it: DataFrame.from_df\(value\)"),
        (DataFrame, DataFrame(), "without a frame and without a uri"),
        (list[pd.DataFrame], [pd.DataFrame({"a": [1]}), 3], r"\[1\]"),
    ],
)
def test_other_values_are_refused(annotation, value, says, raw):
    for convert in (codec_for(annotation).transfer, codec_for(annotation).encode):
        with pytest.raises(TypeTransformerFailedError, match=says):
            convert(value)


def test_stored_frames_that_cannot_be_read(raw, tmp_path):
    literal = codec_for(pd.DataFrame).encode(pd.DataFrame({"a": [1]}))
    (file,) = stored(raw)
    file.write_bytes(b"PAR1 is not all of it")
    for cls in (pd.DataFrame, pa.Table, pl.DataFrame):
        with pytest.raises(TypeTransformerFailedError, match="cannot be read"):
            codec_for(cls).decode(literal)
    literal.scalar.structured_dataset.uri = str(tmp_path / "gone")
    with pytest.raises(TypeTransformerFailedError, match="a place where there is none"):
        codec_for(pd.DataFrame).decode(literal)
    literal.scalar.structured_dataset.metadata.structured_dataset_type.format = "orc"
    with pytest.raises(TypeTransformerFailedError, match="in 'orc': register a DataFrameDecoder"):
        codec_for(pd.DataFrame).decode(literal)
    with pytest.raises(TypeTransformerFailedError, match=r"expected .*DataFrame, got a integer literal"):
        codec_for(pd.DataFrame).decode(codec_for(int).encode(3))


# Through tasks and containers -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Row:
    frame: pd.DataFrame
    ref: DataFrame
    n: int = 1


def containers() -> list[tuple[typing.Any, typing.Any, typing.Callable[[typing.Any], typing.Any]]]:
    frame = pd.DataFrame({"a": [1, 2]})
    return [
        (list[pd.DataFrame], [frame, frame], lambda v: v[1]),
        (dict[str, pd.DataFrame], {"k": frame}, lambda v: v["k"]),
        (pd.DataFrame | None, frame, lambda v: v),
        (int | pd.DataFrame | pl.DataFrame, frame, lambda v: v),
        (list[pd.DataFrame | int], [1, frame], lambda v: v[1]),
        (dict[str, list[pd.DataFrame]], {"k": [frame]}, lambda v: v["k"][0]),
        (tuple[int, pd.DataFrame], (1, frame), lambda v: v[1]),
        (Row, Row(frame, DataFrame.from_df(frame)), lambda v: v.frame),
        (Row, Row(frame, DataFrame.from_df(frame)), lambda v: v.ref.open(pd.DataFrame).all_sync()),
        (list[Row], [Row(frame, DataFrame.from_df(frame))], lambda v: v[0].frame),
    ]


@pytest.mark.parametrize(("annotation", "value", "pick"), containers(), ids=[str(c[0]) for c in containers()])
def test_inside_containers(annotation, value, pick, raw):
    codec = codec_for(annotation)
    received, canonical = codec.transfer(value)
    literal = codec.encode(value)
    assert canonical == canonical_bytes(literal)
    for got in (received, codec.decode(literal), asyncio.run(codec.decode_async(literal))):
        check_same(pick(got), pd.DataFrame({"a": [1, 2]}))
    mine = pick(received)
    mine.loc[0, "a"] = 9
    check_same(pick(value), pd.DataFrame({"a": [1, 2]}))
    assert asyncio.run(codec.encode_async(value)) == literal
    assert len(stored(raw)) == 1


env = flyte.TaskEnvironment(name="frames")


@env.task
async def double(frame: pd.DataFrame) -> pd.DataFrame:
    frame["a"] *= 2
    return frame


@env.task
def count(frame: Annotated[pl.DataFrame, ["a"]], table: pa.Table) -> tuple[int, int]:
    return frame.width, table.num_rows


@env.task
async def several() -> int:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    twice = await double(await double(frame))
    assert frame.a.tolist() == [1, 2]
    width, rows = await count.aio(pl.from_pandas(frame), pa.Table.from_pandas(twice))
    assert (width, rows) == (1, 2)
    return int(twice.a.sum())


def test_through_tasks():
    assert flyte.run(several).outputs()[0] == 12


ran: list[int] = []


@env.task(cache="auto")
async def cached(frame: pd.DataFrame) -> pd.DataFrame:
    ran.append(len(frame))
    return frame + 1


@env.task
async def calls_cached() -> int:
    first = await cached(pd.DataFrame({"a": np.arange(50.0)}))
    second = await cached(pd.DataFrame({"a": np.arange(50.0)}))
    check_same(first, second)
    await cached(pd.DataFrame({"a": np.arange(51.0)}))
    return len(ran)


def test_equal_frames_hit_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    ran.clear()
    assert flyte.run(calls_cached).outputs()[0] == 2
    assert flyte.run(calls_cached).outputs()[0] == 2


def test_a_wrong_frame_is_refused_at_the_call():
    @env.task
    async def calls() -> None:
        await double(pl.DataFrame({"a": [1]}))  # type: ignore[arg-type]

    with pytest.raises(TypeTransformerFailedError, match=r"parameter 'frame': expected .*DataFrame"):
        flyte.run(calls)


async def test_reading_and_writing_leave_the_event_loop_free(raw):
    frame = pd.DataFrame({"a": np.random.default_rng(0).random(3_000_000)})
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    literal = await codec_for(list[pd.DataFrame]).encode_async([frame])
    await codec_for(list[pd.DataFrame]).decode_async(literal)
    ticking.cancel()
    assert turns > 5


def test_a_program_without_frames_loads_no_library(tmp_path):
    program = """
import sys, flyte, flyte.io
from flyte.types._engine import codec_for
env = flyte.TaskEnvironment(name="e")
@env.task
async def add(x: int, files: list[flyte.io.File], text: str | None = None) -> int:
    return x + 1
assert flyte.run(add, x=1, files=[]).outputs()[0] == 2
codec_for(flyte.io.DataFrame)
loaded = {"pandas", "polars", "pyarrow", "numpy"} & set(sys.modules)
assert not loaded, loaded
"""
    environment = {"FLYTE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)


def test_each_library_works_without_the_others(raw):
    program = """
import sys, {module}
from flyte.types._engine import codec_for
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {others}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
codec = codec_for({cls})
frame = {make}
received = codec.decode(codec.encode(codec.transfer(frame)[0]))
assert received.shape == (2, 1), received
"""
    cases = [
        ("polars", "('pandas', 'pyarrow')", "polars.DataFrame", "polars.DataFrame({'a': [1, 2]})"),
        ("pyarrow", "('pandas', 'polars')", "pyarrow.Table", "pyarrow.table({'a': [1, 2]})"),
        ("pandas", "('polars',)", "pandas.DataFrame", "pandas.DataFrame({'a': [1, 2]})"),
    ]
    for module, others, cls, make in cases:
        text = program.format(module=module, others=others, cls=cls, make=make)
        subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


@env.task
async def pass_on(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def test_the_event_loop_goes_on_while_a_frame_is_kept(tmp_path, monkeypatch):
    began, seen = threading.Event(), threading.Event()
    answers = []
    write = of_pandas.PandasContent.write

    def slow_write(self: of_pandas.PandasContent, path: str) -> None:
        began.set()
        answers.append(seen.wait(20))
        write(self, path)

    @env.task
    async def beside() -> int:
        async def watch() -> None:
            while not began.is_set():
                await asyncio.sleep(0.001)
            seen.set()

        watching = asyncio.create_task(watch())
        passed = await pass_on(pd.DataFrame({"a": [1.0]}))
        await watching
        return len(passed)

    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    monkeypatch.setattr(of_pandas.PandasContent, "write", slow_write)
    assert flyte.run(beside).outputs()[0] == 1
    assert answers == [True]  # once, although the frame was both input and result
