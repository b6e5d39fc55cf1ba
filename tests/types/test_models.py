"""pydantic models whose JSON dump alone would lose something."""

import datetime
import enum
from typing import Any

import pydantic
import pytest

from flyte.errors import TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._equality import same
from flyte.types._hashing import canonical_bytes


class Color(enum.Enum):
    RED = "r"
    GREEN = "RED"


class Point(pydantic.BaseModel):
    x: float


class Point3(Point):
    z: float = 0.0


class Loose(pydantic.BaseModel):
    anything: Any = None
    moment: str | datetime.datetime = ""
    color: Color | str = ""
    colors: dict[Color, set[Color]] = {}


class Holder(pydantic.BaseModel):
    point: Point
    points: list[Point] = []
    maybe: dict[str, Point | None] = {}


class Computed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int

    @pydantic.computed_field
    def double(self) -> int:
        return self.a * 2


class Extra(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int


class Excluded(pydantic.BaseModel):
    a: int
    cache: str = pydantic.Field(exclude=True, default="")
    _private: int = pydantic.PrivateAttr(default=0)


class Secret(pydantic.BaseModel):
    token: pydantic.SecretStr


class Root(pydantic.RootModel[list[int]]):
    pass


NOW = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "value",
    [
        Loose(anything=(1, {2}, {"a": (3.5, b"\xff")})),
        Loose(moment=NOW),
        Loose(moment="2020-01-01T00:00:00Z"),
        Loose(color=Color.RED, anything=(1,)),
        Loose(color="RED", anything=(1,)),
        Loose(colors={Color.RED: {Color.GREEN}}, anything=(1,)),
        Loose(anything=("$enum", "x", "y")),
        Holder(point=Point(x=1), points=[Point(x=2)], maybe={"a": None, "b": Point(x=3)}),
        Computed(a=1),
        Extra(a=1, b=(1, 2)),
        Root([1, 2]),
    ],
    ids=repr,
)
def test_round_trip(value):
    codec = codec_for(type(value))
    literal = codec.encode(value)
    assert same(codec.decode(literal), value)
    received, data = codec.transfer(value)
    assert same(received, value) and data == canonical_bytes(literal)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Point, Point3(x=1), "annotate with Point3, or with a union of both"),
        (Holder, Holder(point=Point3(x=1)), "an instance of a subclass"),
        (Holder, Holder(point=Point(x=1), points=[Point3(x=1)]), "an instance of a subclass"),
        (Holder, Holder(point=Point(x=1), maybe={"a": Point3(x=1)}), "an instance of a subclass"),
        (Secret, Secret(token="s3cr3t"), "it holds a SecretStr"),
        (Loose, Loose(anything=object()), "it holds a object"),
    ],
)
def test_what_would_be_lost_is_refused(annotation, value, message):
    with pytest.raises(TypeTransformerFailedError, match=message) as caught:
        codec_for(annotation).encode(value)
    assert "s3cr3t" not in str(caught.value)


def test_what_a_model_leaves_out_on_purpose_may_be_left_out():
    value = Excluded(a=1, cache="x")
    assert codec_for(Excluded).decode(codec_for(Excluded).encode(value)) == Excluded(a=1)


def test_a_simple_model_is_not_read_back_while_it_is_written():
    reads = []

    class Counting(pydantic.BaseModel):
        a: int

        @pydantic.model_validator(mode="after")
        def count(self) -> "Counting":
            reads.append(self.a)
            return self

    value = Counting(a=1)
    reads.clear()
    codec_for(Counting).encode(value)
    assert reads == []
    codec_for(Counting).transfer(value)
    assert reads == [1]
