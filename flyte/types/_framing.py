"""The bytes of a ``core.Literal``, composed without building the message.

Building a protobuf message in Python costs more than everything else that a call does with a number, so scalars and
containers write their wire form directly. The tests compare every byte with the protobuf library's own.
Field numbers are those of flyteidl2 ``core/literals.proto``.
"""

SCALAR = b"\x0a"  # Literal.scalar = 1
COLLECTION = b"\x12"  # Literal.collection = 2
MAP = b"\x1a"  # Literal.map = 3
HASH = b"\x22"  # Literal.hash = 4
MEMBER = b"\x0a"  # LiteralCollection.literals = 1, LiteralMap.literals = 1
PRIMITIVE = b"\x0a"  # Scalar.primitive = 1
BINARY = b"\x1a"  # Scalar.binary = 3
NONE = b"\x0a\x02\x2a\x00"  # Literal{scalar{none_type{}}}
UNION = b"\x4a"  # Scalar.union = 9
_FIRST = b"\x0a"  # field 1, length-delimited
_SECOND = b"\x12"  # field 2, length-delimited
_MSGPACK_TAG = b"\x12\x07msgpack"  # Binary.tag = 2

_SHORT = [bytes((n,)) for n in range(128)]


def varint(number: int) -> bytes:
    """A number in base 128, least significant group first; a negative one as its 64-bit two's complement."""
    if 127 < number < 16384:  # sizes of values, mostly
        return bytes((number & 127 | 128, number >> 7))
    if number < 0:
        number += 1 << 64
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def frame(tag: bytes, body: bytes) -> bytes:
    """A length-delimited field."""
    size = len(body)
    return tag + (_SHORT[size] if size < 128 else varint(size)) + body


def member(name: bytes, literal: bytes) -> bytes:
    """A member of a LiteralMap; ``name`` is what stands before its literal."""
    size = len(literal)
    if size < 128:
        body = name + _SHORT[size] + literal
        size = len(body)
        return MEMBER + (_SHORT[size] if size < 128 else varint(size)) + body
    return frame(MEMBER, frame(name, literal))


def primitive(body: bytes) -> bytes:
    """Literal{scalar{primitive{body}}}."""
    size = len(body)
    if size < 124:
        return SCALAR + _SHORT[size + 2] + PRIMITIVE + _SHORT[size] + body
    return frame(SCALAR, frame(PRIMITIVE, body))


def seconds_and_nanos(seconds: int, nanos: int) -> bytes:
    """The body of a Timestamp or a Duration."""
    body = b"\x08" + varint(seconds) if seconds else b""
    return body + b"\x10" + varint(nanos) if nanos else body


def msgpack_binary(payload: bytes) -> bytes:
    """Literal{scalar{binary{value: payload, tag: "msgpack"}}}; a msgpack payload is never empty."""
    return frame(SCALAR, frame(BINARY, frame(_FIRST, payload) + _MSGPACK_TAG))


def plain_binary(payload: bytes, content_hash: str = "") -> bytes:
    """Literal{scalar{binary{value: payload}}, hash}."""
    body = frame(SCALAR, frame(BINARY, frame(_FIRST, payload)))
    return body + frame(HASH, content_hash.encode()) if content_hash else body


def union(value: bytes, variant: bytes) -> bytes:
    """Literal{scalar{union{value, type: variant}}}."""
    return frame(SCALAR, frame(UNION, frame(_FIRST, value) + frame(_SECOND, variant)))


def split_map(data: bytes) -> list[tuple[str, memoryview]]:
    """The names and literals of the bytes of a LiteralMap, which this SDK has written.

    :raises ValueError: it is damaged.
    """
    view = memoryview(data)
    members = []
    position = 0
    try:
        while position < len(view):
            entry, position = _field(view, position, MEMBER)
            name, inside = _field(entry, 0, _FIRST)
            value, end = _field(entry, inside, _SECOND)
            if end != len(entry):
                raise ValueError("a map entry is longer than its parts")
            members.append((str(name, "utf-8"), value))
    except IndexError as error:
        raise ValueError("a map of literals ends too soon") from error
    return members


def _field(view: memoryview, position: int, tag: bytes) -> tuple[memoryview, int]:
    """The body of a length-delimited field at a position, and where it ends."""
    if view[position] != tag[0]:
        raise ValueError("not a map of literals")
    position += 1
    size = shift = 0
    while True:
        group = view[position]
        position += 1
        size |= (group & 127) << shift
        if group < 128:
            break
        shift += 7
    if position + size > len(view):
        raise ValueError("a map of literals ends too soon")
    return view[position : position + size], position + size


def map_entry(key: bytes, value: bytes) -> bytes:
    """One entry of LiteralMap.literals."""
    return frame(MEMBER, frame(_FIRST, key) + frame(_SECOND, value))
