"""Whether two values are equal and of the same type, all the way down."""

from dataclasses import fields, is_dataclass
from typing import Any

_LEAVES = frozenset((int, str, bool, type(None), bytes))


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of the same type, all the way down; NaN is the same as NaN."""
    cls = type(left)
    if cls is not type(right):
        return False
    if cls in _LEAVES:
        return bool(left == right)
    if cls is float:
        return bool(left == right or (left != left and right != right))
    if cls is complex:
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, dict):
        return _same_dicts(left, right)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (set, frozenset)):
        return bool(left == right) and sorted(map(_class_name, left)) == sorted(map(_class_name, right))
    if is_dataclass(left):
        return all(same(getattr(left, f.name, None), getattr(right, f.name, None)) for f in fields(left))
    if hasattr(cls, "model_fields"):
        return all(same(getattr(left, name), getattr(right, name)) for name in cls.model_fields)
    return bool(left == right or (left != left and right != right))


def _same_dicts(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    # 1 and True are the same key to Python, so the stored keys are compared as well.
    stored = {key: key for key in right}
    return all(
        key in stored and type(stored[key]) is type(key) and same(value, right[key]) for key, value in left.items()
    )


def _class_name(value: Any) -> str:
    return type(value).__qualname__
