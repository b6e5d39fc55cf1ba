"""Frames of other libraries and in other formats: encoders and decoders that a program registers."""

import asyncio
import subprocess
import sys
import textwrap

import pytest

import flyte.io
from flyte.io import DataFrameDecoder, DataFrameEncoder, DataFrameTransformerEngine
from flyte.io.extend import DuplicateHandlerError

# Registrations are for the life of a process, so each program here has one of its own.
HEAD = """
import asyncio, csv, json, typing
from pathlib import Path
import flyte, flyte.io
import pandas as pd
from flyteidl2.core.literals_pb2 import StructuredDataset
from flyte.errors import TypeTransformerFailedError
from flyte.io import DataFrame, DataFrameDecoder, DataFrameEncoder, DataFrameTransformerEngine
from flyte.types import TypeEngine

env = flyte.TaskEnvironment(name="e")
log = []

class Grid:
    def __init__(self, cells): self.cells = cells

class GridEncoder(DataFrameEncoder):
    def __init__(self): super().__init__(Grid, supported_format="json")
    async def encode(self, dataframe, structured_dataset_type):
        log.append("encode")
        file = flyte.io.File.new_remote("grid.json")
        async with file.open("wb") as out:
            await out.write(json.dumps(dataframe.val.cells).encode())
        return StructuredDataset(uri=file.path)

class GridDecoder(DataFrameDecoder):
    def __init__(self): super().__init__(Grid, supported_format="json")
    async def decode(self, flyte_value, current_task_metadata):
        log.append("decode")
        cells = json.loads(Path(flyte_value.uri).read_text())
        names = [column.name for column in current_task_metadata.structured_dataset_type.columns]
        return Grid({name: cells[name] for name in names or cells})
"""
PROGRAMS = {
    "a class of ones own": """
        DataFrameTransformerEngine.register(GridEncoder())
        DataFrameTransformerEngine.register(GridDecoder())
        @env.task
        async def grow(grid: Grid) -> Grid:
            grid.cells["a"].append(9)
            return grid
        @env.task
        async def narrow(grid: typing.Annotated[Grid, {"b": int}], many: list[Grid], one: Grid | None = None) -> int:
            assert list(grid.cells) == ["b"] and one is not None
            return len(many) + len(one.cells)
        @env.task
        async def main() -> Grid:
            grid = Grid({"a": [1], "b": [2]})
            grown = await grow(grid)
            assert grid.cells["a"] == [1] and grown.cells["a"] == [1, 9]
            assert await narrow(grid, [grown, grid], grid) == 4
            return grown
        assert flyte.run(main).outputs()[0].cells == {"a": [1, 9], "b": [2]}
        assert "encode" in log and "decode" in log
        kind = TypeEngine.to_literal_type(Grid)
        assert kind.structured_dataset_type.format == "" and kind.structure.tag.endswith("Grid"), kind
    """,
    "inside a DataFrame": """
        DataFrameTransformerEngine.register(GridEncoder())
        DataFrameTransformerEngine.register(GridDecoder())
        @env.task
        async def cells(data: DataFrame, frame: DataFrame) -> DataFrame:
            assert data.format == "json" and data.uri.endswith("grid.json")
            grid = await data.open(Grid).all()
            assert grid.cells == {"a": [1]}
            assert [piece.cells async for piece in data.open(Grid).iter()] == [{"a": [1]}]
            assert (await frame.open(pd.DataFrame).all()).a.tolist() == [1]
            return data
        @env.task
        async def main() -> int:
            data = DataFrame.from_df(Grid({"a": [1]}))
            back = await cells(data, DataFrame.from_df(pd.DataFrame({"a": [1]})))
            return len((await back.open(Grid).all()).cells)
        assert flyte.run(main).outputs()[0] == 1
        data = DataFrame.from_df(Grid({"a": [1]}))
        assert data.open(Grid).all_sync().cells == {"a": [1]}
        try:
            DataFrame.from_local_sync(Grid({}))
        except TypeError as error:
            assert "DataFrame.from_df()" in str(error)
        else:
            raise AssertionError
    """,
    "another format of a known class": """
        class ToCsv(DataFrameEncoder):
            def __init__(self): super().__init__(pd.DataFrame, supported_format="csv")
            async def encode(self, dataframe, structured_dataset_type):
                uri = flyte.io.File.new_remote("frame.csv").path
                Path(uri).parent.mkdir(parents=True, exist_ok=True)
                dataframe.val.to_csv(uri, index=False)
                return StructuredDataset(uri=uri)
        class FromCsv(DataFrameDecoder):
            def __init__(self): super().__init__(pd.DataFrame, supported_format="csv")
            async def decode(self, flyte_value, current_task_metadata):
                async def pieces():
                    for number in range(2):
                        yield pd.read_csv(flyte_value.uri)
                return pieces() if flyte_value.uri.endswith("pieces.csv") else pd.read_csv(flyte_value.uri)
        DataFrameTransformerEngine.register(ToCsv())
        DataFrameTransformerEngine.register(FromCsv())
        @env.task
        async def as_csv(frame: typing.Annotated[pd.DataFrame, "csv"]) -> typing.Annotated[DataFrame, "csv"]:
            return DataFrame.from_df(frame)
        @env.task
        async def as_parquet(frame: typing.Annotated[pd.DataFrame, "parquet"]) -> pd.DataFrame:
            return frame
        @env.task
        async def main() -> str:
            frame = pd.DataFrame({"a": [1, 2]})
            assert (await as_parquet(frame)).a.tolist() == [1, 2]
            data = await as_csv(frame)
            assert Path(data.uri).read_text() == "a\\n1\\n2\\n", data
            assert (await data.open(pd.DataFrame).all()).a.tolist() == [1, 2]
            copied = DataFrame.from_existing_remote(data.uri.replace("frame.csv", "pieces.csv"), format="csv")
            Path(copied.uri).write_text("a\\n5\\n")
            assert [p.a.tolist() async for p in copied.open(pd.DataFrame).iter()] == [[5], [5]]
            try:
                await copied.open(pd.DataFrame).all()
            except ValueError as error:
                assert "gives pieces; use iter()" in str(error)
            return data.format
        assert flyte.run(main).outputs()[0] == "csv"
    """,
    "another storage of a known class": """
        class ToTable(DataFrameEncoder):
            def __init__(self): super().__init__(pd.DataFrame, protocol="bq")
            async def encode(self, dataframe, structured_dataset_type):
                raise AssertionError("nothing goes there")
        class FromTable(DataFrameDecoder):
            def __init__(self): super().__init__(pd.DataFrame, protocol="bq")
            async def decode(self, flyte_value, current_task_metadata):
                return pd.DataFrame({"from": [flyte_value.uri]})
        DataFrameTransformerEngine.register(ToTable())
        DataFrameTransformerEngine.register(FromTable())
        @env.task
        async def take(frame: pd.DataFrame, data: DataFrame, both: list[pd.DataFrame]) -> str:
            frame.loc[0, "a"] = 5
            assert both[0].a.tolist() == [1]
            return (await data.open(pd.DataFrame).all())["from"][0]
        @env.task
        async def main() -> str:
            frame = pd.DataFrame({"a": [1]})
            said = await take(frame, DataFrame.from_existing_remote("bq://project/table"), [frame])
            assert frame.a.tolist() == [1]
            return said
        assert flyte.run(main).outputs()[0] == "bq://project/table"
        try:
            flyte.run(take, frame=3, data=DataFrame(uri="/x"), both=[])
        except TypeTransformerFailedError as error:
            assert "parameter 'frame': expected" in str(error) and "got int 3" in str(error), error
        else:
            raise AssertionError
    """,
    "an encoder that says nothing": """
        class Bad(GridEncoder):
            async def encode(self, dataframe, structured_dataset_type):
                return None
        DataFrameTransformerEngine.register(Bad())
        @env.task
        async def take(grid: Grid) -> int:
            return 1
        @env.task
        async def main() -> int:
            for value, says in ((Grid({}), "a StructuredDataset with a uri"), (3, "got int 3")):
                try:
                    await take(value)
                except TypeTransformerFailedError as error:
                    assert says in str(error), error
                else:
                    raise AssertionError
            return 1
        flyte.run(main)
        async def read():
            from flyteidl2.core.literals_pb2 import Literal, Scalar
            literal = Literal(scalar=Scalar(structured_dataset=StructuredDataset(uri="/x")))
            await TypeEngine.to_python_value(literal, Grid)
        try:
            asyncio.run(read())
        except TypeTransformerFailedError as error:
            assert "no DataFrameDecoder is registered" in str(error), error
        else:
            raise AssertionError
    """,
    "a class that shows itself": """
        class Shows:
            def to_html(self, frame): return f"<b>{len(frame.cells)}</b>"
        DataFrameTransformerEngine.register(GridEncoder())
        DataFrameTransformerEngine.register_renderer(Grid, Shows())
        assert TypeEngine.to_html(Grid({"a": 1}), Grid) == "<b>1</b>"
        assert TypeEngine.to_html(DataFrame.from_df(Grid({"a": 1})), DataFrame) == "<b>1</b>"
    """,
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_program(name, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(HEAD + textwrap.dedent(PROGRAMS[name]))
    environment = {"FLYTE_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


class Thing:
    pass


class ThingEncoder(DataFrameEncoder):
    async def encode(self, dataframe, structured_dataset_type):
        raise NotImplementedError


class ThingDecoder(DataFrameDecoder):
    async def decode(self, flyte_value, current_task_metadata):
        raise NotImplementedError


def test_handlers_are_found_by_protocol_and_format(monkeypatch):
    engine = DataFrameTransformerEngine
    for table in ("ENCODERS", "DECODERS", "DEFAULT_FORMATS", "DEFAULT_PROTOCOLS"):
        monkeypatch.setattr(engine, table, {})
    to_s3 = ThingEncoder(Thing, protocol="s3://", supported_format="csv")
    anywhere = ThingEncoder(Thing)
    engine.register(to_s3, default_format_for_type=True)
    engine.register(anywhere)
    assert engine.get_encoder(Thing, "s3", "csv") is to_s3
    assert engine.get_encoder(Thing, "s3", "orc") is anywhere
    assert engine.get_encoder(Thing, "gs", "csv") is anywhere
    assert {Thing: "csv"} == engine.DEFAULT_FORMATS
    reader = ThingDecoder(Thing, protocol="bq", additional_protocols=["bigquery"])
    engine.register(reader)
    assert engine.get_decoder(Thing, "bq", "") is engine.get_decoder(Thing, "bigquery", "x") is reader
    with pytest.raises(ValueError, match=r"no decoder is registered for .*Thing, protocol 's3', format 'csv'"):
        engine.get_decoder(Thing, "s3", "csv")
    with pytest.raises(DuplicateHandlerError, match=r"has an encoder for protocol 's3' and format 'csv' already"):
        engine.register(ThingEncoder(Thing, protocol="s3", supported_format="csv"))
    other = ThingEncoder(Thing, protocol="s3", supported_format="csv")
    engine.register(other, override=True)
    assert engine.get_encoder(Thing, "s3", "csv") is other
    with pytest.raises(TypeError, match="takes a DataFrameEncoder or DataFrameDecoder, got object"):
        engine.register(object())


def test_the_face_hands_on_the_seam():
    import flyte.io.extend as extend

    for name in ("DataFrameDecoder", "DataFrameEncoder", "DataFrameTransformerEngine"):
        assert getattr(extend, name) is getattr(flyte.io, name)
    assert asyncio.iscoroutinefunction(DataFrameEncoder.encode)
