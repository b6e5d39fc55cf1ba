"""Files and folders as values: on the wire as the published SDK writes them, through tasks in every container."""

import asyncio
import dataclasses
import importlib.util
import json
import sys
import typing
from pathlib import Path

import pytest
from flyteidl2.core.literals_pb2 import Blob, BlobMetadata, Literal, Scalar
from flyteidl2.core.types_pb2 import BlobType
from pydantic import BaseModel

import flyte
from flyte.errors import TypeTransformerFailedError
from flyte.io import Dir, EmptyDir, File
from flyte.types import TypeEngine
from flyte.types._engine import codec_for
from flyte.types._hashing import canonical_bytes

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden_2_12_1.json").read_text())
_spec = importlib.util.spec_from_file_location("golden_values", HERE / "golden_values.py")
assert _spec is not None and _spec.loader is not None
golden_values = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = golden_values  # pydantic looks up where a generic class is made
_spec.loader.exec_module(golden_values)


@pytest.mark.parametrize(("name", "annotation", "value"), golden_values.CASES, ids=[c[0] for c in golden_values.CASES])
async def test_the_wire_is_that_of_the_published_sdk(name, annotation, value):
    assert await golden_values.one(annotation, value) == GOLDEN[name]
    peers = Literal.FromString(bytes.fromhex(GOLDEN[name]["hex"]))
    assert await TypeEngine.to_python_value(peers, annotation) == value


@pytest.mark.parametrize(
    ("annotation", "value"), [c[1:] for c in golden_values.CASES], ids=[c[0] for c in golden_values.CASES]
)
def test_a_transfer_means_encode_and_decode(annotation, value):
    codec = codec_for(annotation)
    literal = codec.encode(value)
    taken, canonical = codec.transfer(value)
    assert taken == codec.decode(literal) and type(taken) is type(value)
    assert canonical == canonical_bytes(literal)


def test_a_hash_stands_for_the_content():
    codec = codec_for(File)
    first, second = File(path="/a/1", hash="h"), File(path="/b/2", hash="h")
    assert codec.transfer(first)[1] == codec.transfer(second)[1] != codec.transfer(File(path="/a/1"))[1]


def test_the_receiver_has_an_object_of_its_own():
    sent = File(path="/a/b")
    taken, _ = codec_for(File).transfer(sent)
    taken.path = "/changed"
    assert sent.path == "/a/b"


@pytest.mark.parametrize(("cls", "kind"), [(File, "file"), (Dir, "dir")])
def test_the_schema_marks_what_it_holds(cls, kind):
    class Model(BaseModel):
        value: cls

    @dataclasses.dataclass
    class Plain:
        value: cls

    for annotation in (Model, Plain):
        assert f'"{kind}"' in str(
            codec_for(annotation).literal_type.metadata["properties" if annotation is Plain else "$defs"]
        )


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (File, "/a/b", "File.from_local"),
        (File, Path("/a/b"), "File.from_local"),
        (Dir, "s3://b/x", "Dir.from_local.*Dir.from_existing_remote"),
        (File, Dir(path="/a"), "expected File"),
        (list[File], [File(path="/a"), 3], r"\[1\]"),
        (golden_values.Plain, golden_values.Plain(f=Dir(path="/a"), d=Dir(path="/a")), "f: expected File"),
    ],
)
def test_other_values_are_refused(annotation, value, says):
    with pytest.raises(TypeTransformerFailedError, match=says):
        codec_for(annotation).encode(value)


def blob(dimensionality=0, format="", uri="/a"):
    kind = BlobType(format=format, dimensionality=dimensionality)
    return Literal(scalar=Scalar(blob=Blob(metadata=BlobMetadata(type=kind), uri=uri)))


@pytest.mark.parametrize(
    ("annotation", "literal", "says"),
    [
        (File, blob(1), "literal of a folder"),
        (Dir, blob(0), "literal of a file"),
        (File, blob(0, "PythonPickle"), "pickled"),
        (File, blob(0, uri=""), "not valid"),
        (File, codec_for(int).encode(3), "integer literal"),
    ],
)
def test_other_literals_are_refused(annotation, literal, says):
    with pytest.raises(TypeTransformerFailedError, match=says):
        codec_for(annotation).decode(literal)


@pytest.mark.parametrize(
    "plain", [{"name": "x"}, {"path": 3}, {"path": "/a", "hash": 3}, {"path": "/a", "more": 1}, {"path": ""}, "x", None]
)
def test_other_maps_inside_a_structure_are_refused(plain):
    from flyte.types._compile import plain_of
    from flyte.types._mismatch import Mismatch

    with pytest.raises(Mismatch):
        plain_of(File, "dataclass").unpack(plain)


@dataclasses.dataclass
class Held:
    file: File
    folders: list[Dir]
    maybe: File | None = None
    by_name: dict[str, File] = dataclasses.field(default_factory=dict)


class Modelled(BaseModel):
    file: File
    text: File[str]
    inner: dict[str, list[Dir]]
    maybe: File | None = None


env = flyte.TaskEnvironment(name="values")


@env.task
async def every_form(
    file: File,
    text: File[str],
    folder: Dir,
    files: list[File],
    folders: dict[str, Dir],
    maybe: typing.Optional[File],
    either: File | Dir,
    pair: tuple[File, Dir],
    held: Held,
    modelled: Modelled,
    default: File | None = None,
) -> tuple[File, Dir, list[File], Held, Modelled]:
    assert type(file) is File and type(text) is File[str] and type(folder) is Dir and default is None
    assert (maybe, type(either), [type(p) for p in pair]) == (None, Dir, [File, Dir])
    async with held.by_name["x"].open() as content:
        assert await content.read() == b"hello"
    assert [f.name for f in await folders["a"].list_files()] == ["x.txt"]
    return file, folder, files, held, modelled


@env.task
def in_a_thread(files: list[File]) -> str:
    with files[0].open_sync("r") as text:
        return str(text.read())


def test_through_tasks_in_every_form(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.txt").write_text("hello")
    file = File.from_local_sync(tmp_path / "folder" / "x.txt", hash_method="h")
    folder = Dir.from_local_sync(tmp_path / "folder")
    held = Held(file, [folder], file, {"x": file})
    modelled = Modelled(file=file, text=File[str](path=file.path), inner={"a": [folder]}, maybe=file)

    @env.task
    async def main() -> bool:
        text = File[str](path=file.path)
        got = await every_form(file, text, folder, [file], {"a": folder}, None, folder, (file, folder), held, modelled)
        assert got == (file, folder, [file], held, modelled)
        assert await asyncio.gather(in_a_thread.aio([file]), in_a_thread.aio([file])) == ["hello", "hello"]
        return True

    assert flyte.run(main).result is True


def test_nothing_is_read_or_written_on_the_way():
    nowhere = File(path="s3://no-such-bucket/x"), Dir(path="gs://no-such-bucket/y")

    @env.task
    async def passes(file: File, folder: Dir) -> tuple[File, Dir]:
        return file, folder

    assert flyte.run(passes, *nowhere).result == nowhere


def test_an_empty_folder_stays_one():
    @env.task
    async def passes(folder: Dir) -> Dir:
        assert folder.is_empty
        return folder

    result = flyte.run(passes, Dir.empty()).result
    assert result.is_empty and not isinstance(result, EmptyDir)


def test_the_size_does_not_count_as_inline(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(100 * 1024 * 1024)

    @env.task(max_inline_io_bytes=1000)
    async def passes(file: File) -> File:
        return file

    result = flyte.run(passes, File.from_local_sync(tmp_path / "large")).result
    assert Path(result.path).stat().st_size == 100 * 1024 * 1024


class Holder(BaseModel):
    file: File


def test_a_field_takes_a_file_of_any_parameter():
    sent = Holder(file=File[str](path="/a", hash="h"))
    assert type(sent.file) is File[str]
    taken, _ = codec_for(Holder).transfer(sent)
    assert type(taken.file) is File and (taken.file.path, taken.file.hash) == ("/a", "h")
