"""Codecs of list, dict with text keys, and Union (wire-protocol section 7).

The parts are codecs themselves. When one of them must be awaited, so must the container.
"""

from typing import Any

from flyteidl2.core.literals_pb2 import Literal, LiteralCollection, LiteralMap, Scalar, Union
from flyteidl2.core.types_pb2 import LiteralType, UnionType

from flyte.errors import TypeTransformerFailedError
from flyte.types import _framing as framing
from flyte.types._codec import Codec, parse_literal
from flyte.types._equality import same
from flyte.types._mismatch import Mismatch, segment
from flyte.types._scalars import EnumCodec, FloatCodec, IntCodec, SimpleCodec, StrCodec
from flyte.types._structs import PayloadCodec

_MISFIT = (Mismatch, TypeTransformerFailedError)


_EXACT: dict[type, type] = {IntCodec: int, FloatCodec: float, StrCodec: str}


class ListCodec(Codec[list[Any]]):
    """``list[T]``: a collection."""

    def __init__(self, annotation: Any, item: Codec[Any]) -> None:
        super().__init__(annotation, "Typed List")
        self.item = item
        self.awaits = item.awaits
        # What fills a list of numbers or words at the speed of C: the class that every element must have.
        self.exact = _EXACT.get(type(item))

    @property
    def blocks(self) -> bool:
        return self.item.blocks

    def build_type(self) -> LiteralType:
        return LiteralType(collection_type=self.item.literal_type)

    def accepts_class(self, cls: type) -> bool:
        return cls is list

    def wire(self, value: Any) -> bytes:
        if not isinstance(value, list):
            raise self._refusal(value)
        elements = iter(value)
        try:
            parts = [framing.frame(framing.MEMBER, data) for data in map(self.item.wire, elements)]
        except Mismatch as mismatch:
            raise mismatch.under(_position(value, elements)) from mismatch.__cause__
        return framing.frame(framing.COLLECTION, b"".join(parts))

    def read(self, literal: Literal) -> list[Any]:
        if not literal.HasField("collection"):
            return self.unexpected(literal)
        members = literal.collection.literals
        read = self.item.read
        values: list[Any] = []
        try:
            for member in members:
                values.append(read(member))
        except Mismatch as mismatch:
            raise mismatch.under(f"[{len(values)}]") from mismatch.__cause__
        return values

    def take(self, value: Any) -> tuple[list[Any], bytes]:
        if not isinstance(value, list):
            raise self._refusal(value)
        if self.exact is not None and set(map(type, value)) <= {self.exact}:
            elements = iter(value)
            try:
                return list(value), b"".join(map(self.item.wire, elements))
            except Mismatch as mismatch:
                raise mismatch.under(_position(value, elements)) from mismatch.__cause__
        values, parts = [], []
        take = self.item.take
        try:
            for element in value:
                taken, data = take(element)
                values.append(taken)
                parts.append(data)
        except Mismatch as mismatch:
            raise mismatch.under(f"[{len(values)}]") from mismatch.__cause__
        return values, b"".join(parts)

    async def make(self, value: Any) -> Literal:
        if not isinstance(value, list):
            raise self._refusal(value)
        members = []
        for index, element in enumerate(value):
            try:
                members.append(await self.item.make(element))
            except Mismatch as mismatch:
                raise mismatch.under(f"[{index}]") from mismatch.__cause__
        return Literal(collection=LiteralCollection(literals=members))

    async def load(self, literal: Literal) -> list[Any]:
        if not literal.HasField("collection"):
            inner = unwrap(literal)
            if inner is None:
                return self.unexpected(literal)
            return await self.load(inner)
        values: list[Any] = []
        for member in literal.collection.literals:
            try:
                values.append(await self.item.load(member))
            except Mismatch as mismatch:
                raise mismatch.under(f"[{len(values)}]") from mismatch.__cause__
        return values

    def _refusal(self, value: Any) -> Mismatch:
        why = "pass list(value)" if isinstance(value, (tuple, set, frozenset, range)) else ""
        return Mismatch(self.describe(), value, why)


def _position(value: list[Any], elements: Any) -> str:
    return f"[{len(value) - elements.__length_hint__() - 1}]"


def unwrap(literal: Literal) -> Literal | None:
    """What an offloaded literal or one inside a union holds; None for any other."""
    if literal.HasField("offloaded_metadata"):
        from flyte.types._codec import read_offloaded

        return read_offloaded(literal)
    if literal.HasField("scalar") and literal.scalar.HasField("union"):
        return literal.scalar.union.value
    return None


class DictCodec(Codec[dict[str, Any]]):
    """``dict[str, T]``: a map; its order is kept where protobuf keeps it, which is nowhere promised."""

    def __init__(self, annotation: Any, item: Codec[Any]) -> None:
        super().__init__(annotation, "Typed Dict")
        self.item = item
        self.maps = True
        self.awaits = item.awaits

    @property
    def blocks(self) -> bool:
        return self.item.blocks

    def build_type(self) -> LiteralType:
        return LiteralType(map_value_type=self.item.literal_type)

    def accepts_class(self, cls: type) -> bool:
        return cls is dict

    def _items(self, value: Any) -> list[tuple[str, Any]]:
        if not isinstance(value, dict):
            raise Mismatch(self.describe(), value)
        try:
            items = sorted(value.items(), key=_key)
        except TypeError:
            items = list(value.items())
        for key, _ in items:
            if not isinstance(key, str):
                raise Mismatch("str as key", key).under(segment(key))
        return items

    def wire(self, value: Any) -> bytes:
        wire = self.item.wire
        entries = []
        for key, member in self._items(value):
            try:
                entries.append(framing.map_entry(_key_bytes(key), wire(member)))
            except Mismatch as mismatch:
                raise mismatch.under(segment(key)) from mismatch.__cause__
        return framing.frame(framing.MAP, b"".join(entries))

    def read(self, literal: Literal) -> dict[str, Any]:
        if not literal.HasField("map"):
            return self.unexpected(literal)
        members = literal.map.literals
        read = self.item.read
        values: dict[str, Any] = {}
        key = ""
        try:
            # Sorted, because a protobuf map is iterated in an order of its own.
            for key in sorted(members):
                values[key] = read(members[key])
        except Mismatch as mismatch:
            raise mismatch.under(segment(key)) from mismatch.__cause__
        return values

    def take(self, value: Any) -> tuple[dict[str, Any], bytes]:
        take = self.item.take
        values: dict[str, Any] = {}
        parts = []
        for key, member in self._items(value):
            try:
                parts.append(_key_bytes(key))
                values[key if type(key) is str else str.__str__(key)], data = take(member)
            except Mismatch as mismatch:
                raise mismatch.under(segment(key)) from mismatch.__cause__
            parts.append(data)
        return values, b"".join(parts)

    async def make(self, value: Any) -> Literal:
        members = {}
        for key, member in self._items(value):
            try:
                members[key] = await self.item.make(member)
            except Mismatch as mismatch:
                raise mismatch.under(segment(key)) from mismatch.__cause__
        return Literal(map=LiteralMap(literals=members))

    async def load(self, literal: Literal) -> dict[str, Any]:
        if not literal.HasField("map"):
            inner = unwrap(literal)
            if inner is None:
                return self.unexpected(literal)
            return await self.load(inner)
        values = {}
        members = literal.map.literals
        for key in sorted(members):
            try:
                values[key] = await self.item.load(members[key])
            except Mismatch as mismatch:
                raise mismatch.under(segment(key)) from mismatch.__cause__
        return values


def _key(item: tuple[Any, Any]) -> Any:
    return item[0]


def _key_bytes(key: str) -> bytes:
    try:
        return str.encode(key)
    except UnicodeEncodeError as error:
        raise Mismatch("a key that UTF-8 can encode", key, "it holds a lone surrogate") from error


_VARIANT = "variant"  # key of Literal.metadata that tells variants of one LiteralType apart


class UnionCodec(Codec[Any]):
    """``Union`` and ``Optional``: the value with the type of the variant it belongs to.

    A value belongs to the variant of its own class; when several fit, to the first that gives it back equal and of the
    same type. Variants whose LiteralTypes are the same are told apart by their position, in the literal's metadata.
    """

    def __init__(self, annotation: Any, variants: list[Codec[Any]]) -> None:
        super().__init__(annotation, "Typed Union")
        self.variants = variants
        self.awaits = any(variant.awaits for variant in variants)
        self._by_class: dict[type, list[int]] = {}
        self._types: list[bytes] | None = None
        self._positions: dict[bytes, list[int]] = {}

    @property
    def blocks(self) -> bool:
        return any(variant.blocks for variant in self.variants)

    def build_type(self) -> LiteralType:
        return LiteralType(union_type=UnionType(variants=[variant.variant_type for variant in self.variants]))

    def accepts_class(self, cls: type) -> bool:
        return any(variant.accepts_class(cls) for variant in self.variants)

    def candidates(self, cls: type) -> list[int]:
        """Positions of the variants that a value of this class may belong to, best first."""
        found = self._by_class.get(cls)
        if found is None:
            own = [i for i, variant in enumerate(self.variants) if variant.accepts_class(cls)]
            found = own or list(range(len(self.variants)))
            self._by_class[cls] = found
        return found

    def types(self) -> list[bytes]:
        """The bytes of each variant's type."""
        if self._types is None:
            types = [variant.value_type.SerializeToString(deterministic=True) for variant in self.variants]
            for i, data in enumerate(types):
                self._positions.setdefault(data, []).append(i)
            self._types = types
        return self._types

    def wire(self, value: Any) -> bytes:
        return self._wrapped(*self._choose(value))

    def _wrapped(self, position: int, data: bytes) -> bytes:
        types = self.types()
        wrapped = framing.union(data, types[position])
        if len(self._positions[types[position]]) > 1:
            entry = framing.frame(b"\x0a", _VARIANT.encode()) + framing.frame(b"\x12", str(position).encode())
            wrapped += framing.frame(b"\x2a", entry)  # Literal.metadata = 5
        return wrapped

    def _choose(self, value: Any) -> tuple[int, bytes]:
        candidates = self.candidates(type(value))
        if len(candidates) == 1:
            return candidates[0], self.variants[candidates[0]].wire(value)
        first: tuple[int, bytes] | None = None
        nearest: Mismatch | None = None
        for position in candidates:
            variant = self.variants[position]
            try:
                data = variant.wire(value)
            except Mismatch as mismatch:
                if nearest is None or len(mismatch.path) > len(nearest.path):
                    nearest = mismatch
                continue
            if same(variant.read(Literal.FromString(data)), value):
                return position, data
            first = first or (position, data)
        if first is None:
            # Where a single class of variant fits, its own words say best what is wrong inside.
            if nearest is not None and nearest.path:
                raise nearest
            raise Mismatch(self.describe(), value)
        return first

    def read(self, literal: Literal) -> Any:
        for position, inner in self._readings(literal):
            if position is not None:
                return self.variants[position].read(inner)
            return self._first(inner)
        raise Mismatch(self.describe())

    def _readings(self, literal: Literal) -> list[tuple[int | None, Literal]]:
        if literal.HasField("offloaded_metadata"):
            literal = unwrap(literal) or literal
        if not (literal.HasField("scalar") and literal.scalar.HasField("union")):
            return [(None, literal)]
        union = literal.scalar.union
        types = self.types()
        data = union.type.SerializeToString(deterministic=True)
        positions = self._positions.get(data)
        if positions is None:
            # Another SDK or version says the type in other words: go by the tag, then by what fits.
            tag = union.type.structure.tag
            positions = [i for i, variant in enumerate(self.variants) if tag and variant.name == tag]
            return [(positions[0] if len(positions) == 1 else None, union.value)]
        if len(positions) > 1:
            marked = literal.metadata.get(_VARIANT, "")
            if marked.isdecimal() and int(marked) < len(types) and int(marked) in positions:
                return [(int(marked), union.value)]
        return [(positions[0], union.value)]

    def _first(self, literal: Literal) -> Any:
        for variant in self._in_order_of_reading():
            try:
                return variant.read(literal)
            except Mismatch:
                continue
        return self.unexpected_form(literal)

    def _in_order_of_reading(self) -> list[Codec[Any]]:
        # A float reads an integer, so where there is an int, it comes first.
        return sorted(self.variants, key=lambda variant: isinstance(variant, FloatCodec))

    def unexpected_form(self, literal: Literal) -> Any:
        """Refuse a literal that no variant reads."""
        from flyte.types._codec import describe_literal

        raise Mismatch(self.describe(), got=describe_literal(literal))

    def take(self, value: Any) -> tuple[Any, bytes]:
        candidates = self.candidates(type(value))
        variant = self.variants[candidates[0]]
        types = self.types()
        data = types[candidates[0]]
        if len(candidates) == 1 and (inside := variant.take_inside(value)) is not None:
            taken, canonical, is_hash = inside
            if not is_hash:
                return taken, self._wrapped(candidates[0], canonical)
            mark = f"{_VARIANT}={candidates[0]};".encode() if len(self._positions[data]) > 1 else b""
            return taken, canonical + data + mark
        if len(candidates) > 1 or len(self._positions[data]) > 1 or not isinstance(variant, _DIRECT) or variant.maps:
            return super().take(value)
        inner = variant.wire(value)
        if isinstance(variant, SimpleCodec):
            return variant.take(value)[0], framing.union(inner, data)
        return variant.read(parse_literal(inner)), framing.union(inner, data)

    async def make(self, value: Any) -> Literal:
        nearest: Exception | None = None
        for position in self.candidates(type(value)):
            variant = self.variants[position]
            try:
                inner = await variant.make(value)
            except _MISFIT as error:
                nearest = error
                continue
            made = Literal(scalar=Scalar(union=Union(value=inner, type=variant.value_type)))
            if len(self._positions_of(position)) > 1:
                made.metadata[_VARIANT] = str(position)
            return made
        if isinstance(nearest, Mismatch) and nearest.path:
            raise nearest
        raise Mismatch(self.describe(), value) from nearest

    def _positions_of(self, position: int) -> list[int]:
        return self._positions[self.types()[position]]

    async def load(self, literal: Literal) -> Any:
        position, inner = self._readings(literal)[0]
        if position is not None:
            return await self.variants[position].load(inner)
        for variant in self._in_order_of_reading():
            try:
                return await variant.load(inner)
            except _MISFIT:
                continue
        return self.unexpected_form(inner)


# Codecs whose literals hold no hash, unless they are of parts that do.
_DIRECT = (SimpleCodec, EnumCodec, PayloadCodec)
