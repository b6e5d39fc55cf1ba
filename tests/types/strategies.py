"""Hypothesis strategies: annotations nested a few levels deep, each with a value."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import itertools
import pathlib
import typing
import uuid
from typing import Any

import pydantic
from hypothesis import strategies as st

Typed = tuple[Any, Any]  # annotation, strategy of its values


class Color(enum.Enum):
    RED = "red-value"
    GREEN = "green-value"
    BLUE = "RED"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)
ints = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: datetime.timezone(datetime.timedelta(minutes=m)))
datetimes = st.datetimes(
    datetime.datetime(2, 1, 1), datetime.datetime(9998, 12, 31), timezones=st.just(datetime.UTC) | offsets
)

LEAVES: list[Typed] = [
    (int, ints),
    (float, st.floats()),
    (bool, st.booleans()),
    (str, text),
    (type(None), st.none()),
    (bytes, st.binary(max_size=6)),
    (datetime.datetime, datetimes),
    (datetime.date, st.dates()),
    (datetime.timedelta, st.timedeltas(datetime.timedelta(days=-100_000_000), datetime.timedelta(days=100_000_000))),
    (datetime.time, st.times()),
    (complex, st.complex_numbers()),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (fractions.Fraction, st.fractions()),
    (uuid.UUID, st.uuids()),
    (pathlib.PurePosixPath, text.map(lambda s: pathlib.PurePosixPath("/", s.replace("\0", "")))),
    (bytearray, st.binary(max_size=4).map(bytearray)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (typing.Literal["a", "b"], st.sampled_from(["a", "b"])),
    (typing.Literal[1, True, "x"], st.sampled_from([1, True, "x"])),
]
HASHABLE = [leaf for leaf in LEAVES if leaf[0] not in (bytearray, float, complex)]
# What pydantic takes: no bytearray, and its Decimal knows no infinity.
IN_MODELS = [leaf for leaf in LEAVES if leaf[0] not in (bytearray, decimal.Decimal)]
IN_MODELS.append((decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)))

IN_ANY = [leaf for leaf in IN_MODELS if leaf[0] not in (Color, Level, fractions.Fraction)]

_counter = itertools.count()


@st.composite
def leaves(draw: Any, among: list[Typed] = LEAVES) -> Typed:
    return draw(st.sampled_from(among))


@st.composite
def typed(draw: Any, depth: int, inside: bool = False) -> Typed:
    """An annotation of at most this many levels, and the strategy of its values.

    :param inside: whether it is part of a structure, where a class needs no pickle.
    """
    if depth <= 1 or draw(st.integers(0, 5)) == 0:
        return draw(leaves())
    kind = draw(st.sampled_from(_KINDS))
    if kind == "list":
        item, values = draw(typed(depth - 1, inside))
        return list[item], st.lists(values, max_size=3)
    if kind == "dict":
        item, values = draw(typed(depth - 1, inside))
        return dict[str, item], st.dictionaries(text, values, max_size=3)
    if kind == "mapping":
        key, keys = draw(leaves(HASHABLE))
        item, values = draw(typed(depth - 1, True))
        return dict[key, item], st.dictionaries(keys, values, max_size=3)
    if kind == "optional":
        item, values = draw(typed(depth - 1, inside))
        return typing.Optional[item], st.none() | values
    if kind == "union":
        parts = [draw(typed(depth - 1, inside)) for _ in range(draw(st.integers(2, 3)))]
        return typing.Union[tuple(p[0] for p in parts)], st.one_of([p[1] for p in parts])
    if kind == "tuple":
        parts = [draw(typed(depth - 1, True)) for _ in range(draw(st.integers(1, 3)))]
        return tuple[tuple(p[0] for p in parts)], st.tuples(*[p[1] for p in parts])
    if kind == "many":
        item, values = draw(typed(depth - 1, True) if inside else leaves())
        return tuple[item, ...], st.lists(values, max_size=3).map(tuple)
    if kind == "set":
        item, values = draw(leaves(HASHABLE))
        return draw(
            st.sampled_from(
                [(set[item], st.sets(values, max_size=3)), (frozenset[item], st.frozensets(values, max_size=3))]
            )
        )
    parts = {f"f{i}": draw(typed(depth - 1, True)) for i in range(draw(st.integers(0, 3)))}
    name = f"Made{next(_counter)}"
    if kind == "dataclass":
        options = draw(st.sampled_from([{}, {"frozen": True}, {"slots": True}, {"kw_only": True}]))
        made = dataclasses.make_dataclass(name, [(n, p[0]) for n, p in parts.items()], **options)
        return made, st.builds(made, **{n: p[1] for n, p in parts.items()})
    if kind == "namedtuple":
        made = typing.NamedTuple(name, [(n, p[0]) for n, p in parts.items()])
        return made, st.builds(made, **{n: p[1] for n, p in parts.items()})
    if kind == "typeddict":
        made = typing.TypedDict(name, {n: p[0] for n, p in parts.items()})
        return made, st.fixed_dictionaries({n: p[1] for n, p in parts.items()})
    if kind == "model":
        return draw(models(depth - 1))
    raise AssertionError(kind)


_KINDS = [
    "list",
    "dict",
    "mapping",
    "optional",
    "union",
    "tuple",
    "many",
    "set",
    "dataclass",
    "namedtuple",
    "typeddict",
    "model",
]


@st.composite
def models(draw: Any, depth: int) -> Typed:
    fields = {}
    for i in range(draw(st.integers(0, 3))):
        item, values = draw(models(depth - 1)) if depth > 1 and draw(st.booleans()) else draw(leaves(IN_MODELS))
        wrap = draw(st.sampled_from(["plain", "list", "dict", "optional", "union", "any", "tuple"]))
        if wrap == "list":
            item, values = list[item], st.lists(values, max_size=2)
        elif wrap == "dict":
            item, values = dict[str, item], st.dictionaries(text, values, max_size=2)
        elif wrap == "optional":
            item, values = typing.Optional[item], st.none() | values
        elif wrap == "union" and item not in (Color, Level):
            other, others = draw(leaves(IN_ANY))
            item, values = typing.Union[item, other], values | others
        elif wrap == "any":
            item, values = Any, draw(leaves(IN_ANY))[1]
        elif wrap == "tuple":
            item, values = tuple[item, ...], st.lists(values, max_size=2).map(tuple)
        fields[f"m{i}"] = (item, values)
    made = pydantic.create_model(f"Model{next(_counter)}", **{n: (p[0], ...) for n, p in fields.items()})
    return made, st.builds(made, **{n: p[1] for n, p in fields.items()})


@st.composite
def typed_values(draw: Any, depth: int = 4) -> tuple[Any, Any]:
    """An annotation nested at most ``depth`` deep, and one value of it."""
    annotation, values = draw(typed(depth))
    return annotation, draw(values)


plain_any = st.recursive(
    st.one_of([values for _, values in LEAVES if _ not in (Color, Level)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(text, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers(), st.integers(0, 3), max_size=2)
    ),
    max_leaves=6,
)

__all__ = ["collections", "models", "plain_any", "typed", "typed_values"]
