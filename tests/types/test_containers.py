"""Lists, dicts and unions: which variant, where an error is, and what changes do not leak."""

import dataclasses
import enum
from typing import Any, Literal, Optional, Union

import pytest
from flyteidl2.core import literals_pb2 as pb

from flyte.errors import TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._equality import same
from flyte.types._hashing import canonical_bytes


@dataclasses.dataclass
class Left:
    x: int


@dataclasses.dataclass
class Right:
    x: int
    y: int = 0


class Red(enum.Enum):
    A = 1


class Blue(enum.Enum):
    A = 1


def check(annotation: Any, value: Any) -> None:
    codec = codec_for(annotation)
    literal = codec.encode(value)
    assert same(codec.decode(literal), value)
    received, data = codec.transfer(value)
    assert same(received, value)
    assert data == canonical_bytes(literal)


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (Union[float, int], [1, 1.0]),
        (Union[int, bool], [1, True]),
        (Union[bool, int], [1, True]),
        (int | str | None, [1, "1", None]),
        (Union[list[int], list[str]], [[1], ["a"]]),
        (Union[list[float], list[int]], [[1], [1.0]]),
        (Union[Left, Right], [Left(1), Right(1), Right(1, 2)]),
        (Union[Red, Blue], [Red.A, Blue.A]),
        (Union[Red, str], [Red.A, "A"]),
        (Union[dict[str, int], dict[int, int]], [{"a": 1}, {1: 1}]),
        (Union[tuple[int, str], tuple[int, int]], [(1, "a"), (1, 1)]),
        (Union[bytes, bytearray], [b"a", bytearray(b"a")]),
        (Optional[dict[str, list[int]]], [{"b": [1], "a": [2]}, None]),
        (Union[Literal["a"], int], ["a", 1]),
        (list[Union[int, list[Union[str, float]]]], [[1, ["a", 1.0]]]),
        (Union[set[int], set[str]], [{1}, {"a"}]),
    ],
)
def test_a_union_gives_back_the_same_type(annotation, values):
    for value in values:
        check(annotation, value)


def test_the_order_of_variants_is_kept():
    # typing says that these are equal, so a cache keyed by the annotation would mix them up.
    one, other = codec_for(list[Union[int, str]]), codec_for(list[Union[str, int]])
    assert one.literal_type != other.literal_type


def test_variants_of_one_class_inside_a_structure():
    @dataclasses.dataclass
    class Holder:
        either: Union[Left, Right]
        many: list[Union[Right, Left]]
        text: Union[str, Red]

    for value in (
        Holder(Left(1), [Left(2), Right(3)], "A"),
        Holder(Right(1), [Right(2, 3)], Red.A),
    ):
        check(Holder, value)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (list[int], [1, 2, "x"], r"at \[2\]: expected int, got str 'x'"),
        (list[list[int]], [[1], [2, "x"]], r"at \[1\]\[1\]: expected int"),
        (list[int], (1, 2), r"expected list\[int\], got tuple \(1, 2\): pass list\(value\)"),
        (dict[str, int], {"a": "x"}, r"at \['a'\]: expected int"),
        (dict[str, int], {1: 1}, r"at \[1\]: expected str as key, got int 1"),
        (dict[str, int], [("a", 1)], r"expected dict\[str, int\]"),
        (dict[str, list[Left]], {"k": [Left("x")]}, r"at \['k'\]\[0\]\.x: expected int, got str 'x'"),
        (int | str, 1.5, r"expected int \| str, got float 1\.5"),
        (Optional[list[int]], ["x"], r"at \[0\]: expected int"),
        (dict[int, str], {1: 2}, r"at \[1\]: expected str"),
    ],
)
def test_errors_say_where(annotation, value, message):
    codec = codec_for(annotation)
    for convert in (codec.encode, codec.transfer):
        with pytest.raises(TypeTransformerFailedError, match=message):
            convert(value)


def test_an_error_while_reading_says_where():
    literal = codec_for(list[str]).encode(["a"])
    with pytest.raises(TypeTransformerFailedError, match=r"at \[0\]: expected int, got a string_value literal"):
        codec_for(list[int]).decode(literal)


def test_a_change_by_the_receiver_does_not_reach_the_sender():
    sent = {"a": [1, 2]}
    received, _ = codec_for(dict[str, list[int]]).transfer(sent)
    received["a"].append(3)
    received["b"] = []
    assert sent == {"a": [1, 2]}
    plain = {"a": [1], "b": {"c": [2]}}
    received, _ = codec_for(dict).transfer(plain)
    received["b"]["c"].append(3)
    assert plain == {"a": [1], "b": {"c": [2]}}


def test_the_bytes_of_a_dict_do_not_depend_on_its_order():
    for annotation in (dict[str, int], dict[str, Left], dict):
        codec = codec_for(annotation)
        value = Left(1) if annotation == dict[str, Left] else 1
        assert codec.transfer({"a": value, "b": value})[1] == codec.transfer({"b": value, "a": value})[1]


def test_a_literal_inside_a_union_is_read_by_a_plain_type():
    literal = codec_for(Optional[int]).encode(3)
    assert codec_for(int).decode(literal) == 3
    assert codec_for(float).decode(literal) == 3.0


def test_a_union_reads_a_bare_literal():
    assert codec_for(Union[float, int]).decode(codec_for(int).encode(3)) == 3
    assert codec_for(Optional[list[int]]).decode(codec_for(list[int]).encode([1])) == [1]
    with pytest.raises(TypeTransformerFailedError, match="a string_value literal"):
        codec_for(Optional[int]).decode(codec_for(str).encode("x"))


def test_a_union_goes_by_the_tag_of_another_version():
    literal = codec_for(Union[int, float]).encode(1.0)
    literal.scalar.union.type.metadata.update({"from": "elsewhere"})
    assert codec_for(Union[int, float, str]).decode(literal) == 1.0


def test_an_offloaded_literal_is_read_from_its_file(tmp_path):
    inner = codec_for(list[int]).encode([1, 2])
    path = tmp_path / "offloaded.pb"
    path.write_bytes(inner.SerializeToString())
    for uri in (str(path), f"file://{path}"):
        literal = pb.Literal(offloaded_metadata=pb.LiteralOffloadedMetadata(uri=uri))
        assert codec_for(list[int]).decode(literal) == [1, 2]
        assert codec_for(Optional[list[int]]).decode(literal) == [1, 2]
    away = pb.Literal(offloaded_metadata=pb.LiteralOffloadedMetadata(uri="ftp://host/key"))
    with pytest.raises(TypeTransformerFailedError, match=r"ftp://host/key.*unknown scheme"):
        codec_for(list[int]).decode(away)
    gone = pb.Literal(offloaded_metadata=pb.LiteralOffloadedMetadata(uri=str(tmp_path / "gone")))
    with pytest.raises(TypeTransformerFailedError, match="gone"):
        codec_for(list[int]).decode(gone)


def test_a_value_that_contains_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeTransformerFailedError, match="contains itself"):
        codec_for(dict).encode({"a": loop})
