"""TypeEngine directly: literals and back."""

import asyncio
import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Dict, List, Optional, Union

from flyteidl2.core import literals_pb2

import flyte
from flyte.types import FlytePickle, TypeEngine, TypeTransformer, TypeTransformerFailedError, guess_interface, literal_string_repr
from transcript import attempt, show


class Color(enum.Enum):
    RED = "red"


@dataclass
class D:
    x: int


def literal(value, kind):
    return asyncio.run(TypeEngine.to_literal(value, kind, TypeEngine.to_literal_type(kind)))


for label, value, kind in [
    ("int", 3, int), ("float", 1.5, float), ("str", "x", str), ("bool", True, bool), ("none", None, type(None)),
    ("datetime", datetime(2025, 1, 1, tzinfo=timezone.utc), datetime), ("timedelta", timedelta(seconds=3), timedelta),
    ("date", date(2025, 1, 1), date), ("enum", Color.RED, Color), ("list", [1, 2], List[int]), ("dict", {"a": 1}, Dict[str, int]),
    ("optional", 3, Optional[int]), ("union", "x", Union[int, str]), ("dataclass", D(1), D), ("bytes", b"x", bytes),
    ("tuple", (1, "x"), tuple[int, str]), ("int dict", {1: "x"}, dict[int, str]),
]:
    attempt(f"{label} type", lambda: str(TypeEngine.to_literal_type(kind)) if label not in ("dataclass", "tuple") else "")
    made = attempt(f"{label} literal", lambda: str(literal(value, kind)) if label not in ("dataclass", "tuple", "bytes") else "")
    attempt(f"{label} back", lambda: asyncio.run(TypeEngine.to_python_value(literal(value, kind), kind)))
    attempt(f"{label} repr", lambda: literal_string_repr(literal(value, kind)))
attempt("wrong", lambda: literal("x", int))
attempt("transformer", lambda: TypeEngine.get_transformer(int).name)
for kind in (str, float, bool, datetime, timedelta, date, list[int], dict[str, int], Optional[int], D, Color, bytes, tuple[int, str], set[int]):
    attempt(f"transformer {kind}", lambda: type(TypeEngine.get_transformer(kind)).__name__ and isinstance(TypeEngine.get_transformer(kind), TypeTransformer))
attempt("guess int", lambda: str(TypeEngine.guess_python_type(TypeEngine.to_literal_type(int))))
attempt("guess list", lambda: str(TypeEngine.guess_python_type(TypeEngine.to_literal_type(List[int]))))
attempt("guess dict", lambda: str(TypeEngine.guess_python_type(TypeEngine.to_literal_type(Dict[str, float]))))
attempt("available", lambda: len(list(TypeEngine.get_available_transformers())) > 5)
attempt("dict to map", lambda: sorted(asyncio.run(TypeEngine.dict_to_literal_map({"a": 1, "b": "x"}, {"a": int, "b": str}))))
attempt("map to kwargs", lambda: asyncio.run(TypeEngine.literal_map_to_kwargs(
    literals_pb2.LiteralMap(literals={"a": literal(1, int)}), {"a": int})))
attempt("failed is", lambda: [issubclass(TypeTransformerFailedError, k) for k in (TypeError, ValueError, AssertionError)])
attempt("unwrap optional", lambda: str(TypeEngine.unwrap_offloaded_literal) != "")
attempt("named tuple", lambda: TypeEngine.named_tuple_to_variable_map.__name__)
attempt("pickle", lambda: FlytePickle[D].__name__ != "")
