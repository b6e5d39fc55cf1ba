"""Answers as JSON: what fits a schema, what does not and why, and what is never refused by mistake."""

import dataclasses
import datetime
import enum
import json
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte._journal.answers import BadAnswer, Form, complaint, form_of, json_of, same, value_of


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Tree(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(min_length=2, max_length=5)
    below: list["Tree"] = pydantic.Field(default=[], max_length=2)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (bool, " YES ", True),
        (bool, "false", False),
        (int, "12", 12),
        (float, "1e3", 1000.0),
        (str, "null", "null"),
        (str, "", ""),
        (str | None, "null", None),
        (str | None, "2026", "2026"),
        (int | str, "2026", 2026),
        (Color, "red", Color.RED),
        (Color, '"green"', Color.GREEN),
        (Literal["a", "b"], "a", "a"),
        (Point, '{"x": 1}', Point(1)),
        (list[Point], '[{"x": 1, "y": 2}]', [Point(1, 2.0)]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (tuple[int, str], '[1, "x"]', (1, "x")),
        (datetime.date, "2026-02-28", datetime.date(2026, 2, 28)),
        (datetime.timedelta, "PT5M", datetime.timedelta(minutes=5)),
        (Tree, '{"name": "oak", "below": [{"name": "leaf"}]}', Tree(name="oak", below=[Tree(name="leaf")])),
        (Any, "[1, null]", [1, None]),
    ],
)
def test_text_becomes_the_value(annotation, text, value):
    said = form_of(annotation).read(text)
    got = value_of(annotation, said)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "says"),
    [
        (bool, "1", "answer yes or no"),
        (int, "true", "a whole number"),
        (int, "1.5", "a whole number"),
        (float, '"1"', "a number"),
        (Color, "blue", 'one of "red", "green"'),
        (Point, "{", "Expecting property name"),
        (Point, "1", "it must be an object"),
        (Point, '{"x": "1"}', r"at \['x'\]: it must be a whole number"),
        (list[int], "[1, [2]]", r"at \[1\]: it must be a whole number"),
        (dict[str, int], '{"a": null}', r"at \['a'\]"),
        (tuple[int, str], '["x", 1]', r"at \[0\]"),
        (Tree, '{"name": "x"}', "at least 2 characters"),
        (Tree, '{"name": "xxxxxx"}', "at most 5 characters"),
        (Tree, '{"name": "oak", "leaves": 3}', r"there is no 'leaves'; it has 'name', 'below'"),
        (Tree, '{"name": "oak", "below": [{"nam": "x"}]}', r"at \['below'\]\[0\]: 'name' is missing"),
        (datetime.datetime, "soon", "such as 2026-02-28T19:30:00"),
        (int, "9" * 200, "..."),
    ],
)
def test_what_does_not_fit_is_explained(annotation, text, says):
    form = form_of(annotation) if len(text) < 200 else Form("int", {"type": "integer", "maximum": 5})
    with pytest.raises(BadAnswer, match=says):
        form.read(text)


def test_a_type_without_json_says_who_can_answer():
    form = form_of(complex)
    assert form.schema is None or form_of(type("Opaque", (), {})).schema is None
    with pytest.raises(BadAnswer, match="only Python in the process of the run can give it"):
        form_of(type("Opaque", (), {})).read("1")


def test_the_true_type_has_the_last_word():
    with pytest.raises(BadAnswer, match="at least 2 characters"):
        value_of(Tree, '{"name": "x"}')
    with pytest.raises(BadAnswer):
        value_of(int, "true")


def test_python_values_become_json():
    assert json_of(Point(1)) == '{"x":1,"y":0.5}'
    assert json_of(True) == "true"
    with pytest.raises(BadAnswer, match="object has no form in JSON"):
        json_of(object())


def test_equal_values_are_the_same_answer():
    assert same('{"a": 1, "b": 2}', '{"b":2,"a":1.0}')
    assert not same("true", "false")
    assert same(b"x", b"x")
    assert not same(b"1", "1")


ADAPTERS = {annotation: pydantic.TypeAdapter(annotation) for annotation in (
    bool, int, float, str, str | None, int | float | None, list[int], dict[str, float], Color, Point, Tree,
    tuple[int, str], list[Point | None], datetime.datetime, datetime.timedelta,
)}  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-2, 2)
    | st.sampled_from(["", "red", "oak", "2026-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y", "name", "below", "other"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(list(ADAPTERS)), JSON)
def test_nothing_that_the_run_would_take_is_refused(annotation, value):
    adapter = ADAPTERS[annotation]
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError:
        return
    if annotation is datetime.timedelta and not isinstance(value, str):
        return  # pydantic takes numbers of seconds beside what its schema says
    if annotation is datetime.datetime and not isinstance(value, str):
        return
    assert complaint(adapter.json_schema(), value) is None
