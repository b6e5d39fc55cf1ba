"""The public face: names, laziness, guesses, maps of literals, what a report and a console show."""

import asyncio
import dataclasses
import datetime
import enum
import subprocess
import sys
import typing
from typing import Annotated, Any, NamedTuple, Optional

import pytest
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.interface_pb2 import Variable
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral, NamedParameter

import flyte.types
from flyte._core.interface import NativeInterface
from flyte.types import (
    FlytePickle,
    Renderable,
    TypeEngine,
    TypeTransformer,
    TypeTransformerFailedError,
    guess_interface,
    literal_string_repr,
)
from flyte.types._interface import typed_interface


@dataclasses.dataclass
class Point:
    x: float
    label: str = "p"
    when: datetime.datetime | None = None


class Color(enum.Enum):
    RED = "r"


def literal(value: Any, annotation: Any) -> pb.Literal:
    return asyncio.run(TypeEngine.to_literal(value, annotation, TypeEngine.to_literal_type(annotation)))


def test_public_names():
    assert sorted(flyte.types.__all__) == flyte.types.__all__
    for name in flyte.types.__all__:
        assert getattr(flyte.types, name).__module__ in ("flyte.types", "flyte.errors"), name
        assert name in dir(flyte.types)
    with pytest.raises(AttributeError, match="did you mean 'TypeEngine'"):
        flyte.types.TypeEngin  # noqa: B018


def test_the_face_loads_nothing_heavy():
    program = (
        "import sys, flyte.types; flyte.types.TypeTransformer; flyte.types.TypeTransformerFailedError\n"
        "from flyte.types._annotations import pickled_parts, pickle_policy\n"
        "pickled_parts(dict[str, list[int | None]])\n"
        "heavy = {'google.protobuf', 'flyteidl2', 'pydantic', 'msgpack', 'cloudpickle'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "flyte.types.TypeEngine\n"
        "assert 'flyteidl2' in sys.modules and 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_round_trip_through_the_engine():
    for annotation, value in ((int, 3), (list[Point], [Point(1.0)]), (Optional[Color], Color.RED)):
        made = literal(value, annotation)
        assert asyncio.run(TypeEngine.to_python_value(made, annotation)) == value


def test_a_literal_type_may_be_changed_by_its_receiver():
    TypeEngine.to_literal_type(int).simple = SimpleType.STRING
    assert TypeEngine.to_literal_type(int).simple == SimpleType.INTEGER


def test_checks():
    TypeEngine.to_literal_checks(3, int, LiteralType())
    with pytest.raises(TypeTransformerFailedError, match="expected int"):
        TypeEngine.to_literal_checks("x", int, LiteralType())


def test_maps_of_literals():
    made = asyncio.run(TypeEngine.dict_to_literal_map({"a": 1, "b": "x"}, {"a": int}))
    assert made.literals["b"].scalar.primitive.string_value == "x"
    kwargs = asyncio.run(TypeEngine.literal_map_to_kwargs(made, {"a": int, "b": str}))
    assert kwargs == {"a": 1, "b": "x"}
    variables = {n: Variable(type=TypeEngine.to_literal_type(t)) for n, t in {"a": int, "b": str}.items()}
    assert asyncio.run(TypeEngine.literal_map_to_kwargs(made, literal_types=variables)) == kwargs
    with pytest.raises(ValueError, match="needs python_types or literal_types"):
        asyncio.run(TypeEngine.literal_map_to_kwargs(made))
    with pytest.raises(ValueError, match="without a type: b"):
        asyncio.run(TypeEngine.literal_map_to_kwargs(made, {"a": int}))
    with pytest.raises(TypeTransformerFailedError, match="'a': expected int"):
        asyncio.run(TypeEngine.dict_to_literal_map({"a": "x"}, {"a": int}))
    with pytest.raises(TypeTransformerFailedError, match="'b': expected int"):
        asyncio.run(TypeEngine.literal_map_to_kwargs(made, {"a": int, "b": int}))


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        float,
        str,
        bool,
        type(None),
        datetime.datetime,
        datetime.timedelta,
        typing.List[int],
        typing.Dict[str, float],
        Optional[int],
        typing.Union[int, str, typing.List[bool]],
        dict,
    ],
)
def test_a_guess_gives_the_annotation_back(annotation):
    assert TypeEngine.guess_python_type(TypeEngine.to_literal_type(annotation)) == annotation


def test_a_guess_of_a_structure_reads_its_values():
    guessed = TypeEngine.guess_python_type(TypeEngine.to_literal_type(Point))
    value = asyncio.run(TypeEngine.to_python_value(literal(Point(1.5), Point), guessed))
    assert (value.x, value.label, value.when) == (1.5, "p", None)
    color = TypeEngine.guess_python_type(TypeEngine.to_literal_type(Color))
    assert asyncio.run(TypeEngine.to_python_value(literal(Color.RED, Color), color)).name == "RED"
    assert TypeEngine.guess_python_type(TypeEngine.to_literal_type(bytes)) is FlytePickle
    with pytest.raises(ValueError, match="no Python type is known"):
        TypeEngine.guess_python_type(LiteralType())


def test_a_guessed_interface():
    def func(a: int, b: str = "x") -> float: ...

    typed = typed_interface(NativeInterface.from_callable(func))
    parameter = NamedParameter(name="b")
    parameter.parameter.default.CopyFrom(literal("x", str))
    guessed = guess_interface(typed, [parameter])
    assert guessed == NativeInterface({"a": (int, guessed.inputs["a"][1]), "b": (str, "x")}, {"o0": float})
    assert guessed.required_inputs() == ["a"]
    assert TypeEngine.guess_python_types(list(typed.inputs.variables)) == {"a": int, "b": str}


def test_the_variables_of_a_named_tuple():
    class Out(NamedTuple):
        a: int
        b: list[str]

    variables = TypeEngine.named_tuple_to_variable_map(Out).variables
    assert [(entry.key, entry.value.type) for entry in variables] == [
        ("a", TypeEngine.to_literal_type(int)),
        ("b", TypeEngine.to_literal_type(list[str])),
    ]


def test_what_a_report_shows():
    class Bold:
        def to_html(self, python_value: Any) -> str:
            return f"<b>{python_value}</b>"

    assert isinstance(Bold(), Renderable)
    assert TypeEngine.to_html(3, Annotated[int, Bold()]) == "<b>3</b>"
    assert TypeEngine.to_html("<i>", str) == "&lt;i&gt;"


def test_what_a_console_shows():
    literals = {
        "a": literal(1, int),
        "b": literal([1, 2], list[int]),
        "c": literal(Point(1.0), Point),
        "d": literal(None, Optional[int]),
        "e": literal(datetime.datetime(2020, 1, 2, 3, 4, 5), datetime.datetime),
        "f": literal(b"a", bytes),
        "g": literal({"k": 1}, dict[str, int]),
        "h": literal(datetime.timedelta(seconds=90), datetime.timedelta),
    }
    shown = literal_string_repr(literals)
    assert shown == {
        "a": 1,
        "b": [1, 2],
        "c": '{"x": 1.0, "label": "p", "when": null}',
        "d": None,
        "e": "2020-01-02T03:04:05",
        "f": b"gAWVBQAAAAAAAABDAWGULg==",
        "g": {"k": 1},
        "h": 90,
    }
    assert literal_string_repr(pb.LiteralMap(literals=literals)) == shown
    named = NamedLiteral(name="a", value=literals["a"])
    assert literal_string_repr(named) == literal_string_repr(Inputs(literals=[named])) == {"a": 1}
    with pytest.raises(ValueError, match="not int"):
        literal_string_repr(3)  # type: ignore[arg-type]


def test_offloaded_literals(tmp_path):
    inner = literal(3, int)
    assert asyncio.run(TypeEngine.unwrap_offloaded_literal(inner)) is inner
    path = tmp_path / "literal.pb"
    path.write_bytes(inner.SerializeToString())
    offloaded = pb.Literal(offloaded_metadata=pb.LiteralOffloadedMetadata(uri=str(path)))
    assert asyncio.run(TypeEngine.unwrap_offloaded_literal(offloaded)) == inner
    offloaded.offloaded_metadata.uri = "gs://bucket/x"
    with pytest.raises(TypeTransformerFailedError, match="gs"):
        asyncio.run(TypeEngine.unwrap_offloaded_literal(offloaded))


def test_a_built_in_type_seen_as_a_transformer():
    transformer = TypeEngine.get_transformer(list[int])
    assert isinstance(transformer, TypeTransformer)
    assert (transformer.name, transformer.python_type) == ("Typed List", list[int])
    expected = transformer.get_literal_type(list[int])
    made = asyncio.run(transformer.to_literal([1], list[int], expected))
    assert asyncio.run(transformer.to_python_value(made, list[int])) == [1]
    with pytest.raises(TypeTransformerFailedError):
        transformer.assert_type(list[int], ["x"])
    struct = TypeEngine.get_transformer(Point)
    assert struct.from_binary_idl(literal(Point(1.0), Point).scalar.binary, Point) == Point(1.0)
