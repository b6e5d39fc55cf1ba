"""Plain values as msgpack and back, and the order of keys that makes their bytes the same everywhere."""

from collections.abc import Callable
from typing import Any, cast

import msgpack

_LEAVES = frozenset((int, float, str, bool, type(None), bytes))

pack: Callable[[Any], bytes] = cast("Callable[[Any], bytes]", msgpack.packb)
_unpack: Callable[..., Any] = msgpack.unpackb  # type: ignore[attr-defined]


def unpack(payload: bytes) -> Any:
    """What a msgpack payload holds.

    :raises ValueError: it is not msgpack.
    """
    try:
        return _unpack(payload, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise ValueError(f"not msgpack ({type(error).__name__})") from error


def sort_payload(payload: bytes) -> bytes:
    """A msgpack payload with the keys of all its maps sorted; one that is not msgpack as it is."""
    try:
        return pack(sort_maps(unpack(payload)))
    except (ValueError, TypeError, OverflowError, RecursionError):
        # What cannot be read back is hashed as it came.
        return payload


def sort_maps(plain: Any) -> Any:
    """A copy of a plain value with the keys of all its maps sorted."""
    cls = type(plain)
    if cls is dict:
        # A loop, because on the way of every model it takes a third less than a comprehension over pairs.
        ordered = {}
        for key in sorted_keys(plain):
            value = plain[key]
            ordered[key] = value if type(value) in _LEAVES else sort_maps(value)
        return ordered
    if cls is list:
        return [item if type(item) in _LEAVES else sort_maps(item) for item in plain]
    return plain


def sorted_keys(plain: dict[Any, Any]) -> list[Any]:
    """The keys of a map in the order of their canonical form."""
    try:
        return sorted(plain)
    except TypeError:
        return sorted(plain, key=lambda key: (type(key).__name__, repr(key)))  # keys of several types
