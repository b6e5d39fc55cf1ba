"""The bytes that stand for a value when it is hashed (wire-protocol section 6.2, "literal repr")."""

from collections.abc import Callable
from typing import Any, cast

import msgpack
from flyteidl2.core.literals_pb2 import Binary, Literal, Scalar

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


def canonical_bytes(literal: Literal) -> bytes:
    """What of a literal its hash is made of.

    ``Literal.hash`` if there is one; of a collection the members one after the other; of a map key and member in the
    order of the keys; of a msgpack binary the literal with its maps sorted; of a union whose value has a hash inside
    that value's canonical bytes and its type; else the deterministic bytes.
    """
    if literal.hash:
        return literal.hash.encode()
    which = literal.WhichOneof("value")
    if which == "collection":
        return b"".join([canonical_bytes(member) for member in literal.collection.literals])
    if which == "map":
        members = literal.map.literals
        return b"".join([key.encode() + canonical_bytes(members[key]) for key in sorted(members)])
    if which == "scalar" and literal.scalar.HasField("union") and has_hash(literal.scalar.union.value):
        # The members' hashes replace their content, whose bytes may name a file made anew each time.
        union = literal.scalar.union
        variant = union.type.SerializeToString(deterministic=True)
        marks = "".join(f"{key}={literal.metadata[key]};" for key in sorted(literal.metadata))
        return canonical_bytes(union.value) + variant + marks.encode()
    if which == "scalar" and literal.scalar.HasField("binary") and literal.scalar.binary.tag == "msgpack":
        payload = sort_payload(literal.scalar.binary.value)
        copy = Literal(scalar=Scalar(binary=Binary(value=payload, tag="msgpack")))
        copy.metadata.update(literal.metadata)
        return copy.SerializeToString(deterministic=True)
    return literal.SerializeToString(deterministic=True)


def has_hash(literal: Literal) -> bool:
    """Whether a value, or a member of it, brings a hash of its own."""
    if literal.hash:
        return True
    which = literal.WhichOneof("value")
    if which == "collection":
        return any(map(has_hash, literal.collection.literals))
    if which == "map":
        return any(map(has_hash, literal.map.literals.values()))
    return which == "scalar" and literal.scalar.HasField("union") and has_hash(literal.scalar.union.value)


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
