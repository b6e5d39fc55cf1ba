"""Plain forms of what holds other values: list, set, tuple, dict, union and Any (see ``_plain``)."""

import datetime
import decimal
import fractions
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

from flyte._core.interface import describe
from flyte.types._equality import same
from flyte.types._leaves import leaf
from flyte.types._mismatch import Mismatch, segment
from flyte.types._packing import pack as packed
from flyte.types._packing import sorted_keys
from flyte.types._plain import VALUE, VARIANT, Convert, Dialect, Plain, SchemaContext, mark_of, marked

_STR = frozenset((str,))
_KEY_CLASSES: frozenset[type] = frozenset((str, int, float, bool, type(None), bytes))


def each(plain: Plain, convert: Convert) -> Callable[[Any], list[Any]]:
    """Apply ``convert``, one of the functions of ``plain``, to every element."""
    passing = plain.through

    def convert_all(elements: Any) -> list[Any]:
        if passing and passing.issuperset(map(type, elements)):
            return list(elements)
        converted: list[Any] = []
        append = converted.append
        try:
            for element in elements:
                append(convert(element))
        except Mismatch as mismatch:
            raise mismatch.under(f"[{len(converted)}]") from mismatch.__cause__
        return converted

    return convert_all


def sequence_plain(annotation: Any, cls: Any, item: Plain, bare: bool = False) -> Plain:
    """``list[T]`` and ``tuple[T, ...]``: an array."""
    words = describe(annotation)
    pack_all, canon_all, unpack_all = each(item, item.pack), each(item, item.canon), each(item, item.unpack)

    def pack(value: Any) -> list[Any]:
        if not isinstance(value, cls):
            raise Mismatch(words, value)
        return pack_all(value)

    def canon(value: Any) -> list[Any]:
        if not isinstance(value, cls):
            raise Mismatch(words, value)
        return canon_all(value)

    def unpack_list(plain: Any) -> Any:
        if type(plain) is list:
            return unpack_all(plain)
        raise Mismatch(words, plain)

    def unpack_tuple(plain: Any) -> Any:
        if type(plain) is list:
            return tuple(unpack_all(plain))
        raise Mismatch(words, plain)

    def schema(context: SchemaContext) -> dict[str, Any]:
        items = item.schema(context)
        return {"type": "array", "items": items} if items and not bare else {"type": "array"}

    unpack = unpack_list if cls is list else unpack_tuple
    return Plain(annotation, pack, unpack, canon=canon, kinds=(list,), owns=(cls,), schema=schema)


def set_plain(annotation: Any, cls: Any, item: Plain) -> Plain:
    """``set[T]`` and ``frozenset[T]``: an array in an order of its own, so that it is the same in every process."""
    words = describe(annotation)
    unpack_all = each(item, item.unpack)

    def sorted_plain(convert: Convert) -> Convert:
        def pack(value: Any) -> list[Any]:
            if not isinstance(value, cls):
                raise Mismatch(words, value)
            plains = []
            for element in value:
                try:
                    plains.append(convert(element))
                except Mismatch as mismatch:
                    raise mismatch.under(segment(element)) from mismatch.__cause__
            try:
                plains.sort()
            except TypeError:
                plains.sort(key=packed)
            return plains

        return pack

    def unpack(plain: Any) -> Any:
        if type(plain) is not list:
            raise Mismatch(words, plain)
        try:
            return cls(unpack_all(plain))
        except TypeError as error:
            raise Mismatch(words, plain, "an element is not hashable") from error

    def schema(context: SchemaContext) -> dict[str, Any]:
        return {"type": "array", "items": item.schema(context), "uniqueItems": True}

    # Both forms are the same, because sorting must not depend on whether the maps inside are sorted.
    pack = sorted_plain(item.canon)
    return Plain(annotation, pack, unpack, kinds=(list,), owns=(cls,), schema=schema)


def tuple_plain(annotation: Any, items: list[Plain], make: Callable[[list[Any]], Any], cls: Any = tuple) -> Plain:
    """``tuple[A, B]`` and NamedTuple classes: an array of that many elements."""
    words = describe(annotation)
    count = len(items)

    def convert_all(converts: list[Convert], elements: Any) -> list[Any]:
        converted: list[Any] = []
        try:
            for convert, element in zip(converts, elements, strict=True):
                converted.append(convert(element))
        except Mismatch as mismatch:
            raise mismatch.under(f"[{len(converted)}]") from mismatch.__cause__
        return converted

    def packer(converts: list[Convert]) -> Convert:
        def pack(value: Any) -> list[Any]:
            if not isinstance(value, cls):
                raise Mismatch(words, value)
            if len(value) != count:
                raise Mismatch(words, value, f"it has {len(value)} elements, not {count}")
            return convert_all(converts, value)

        return pack

    unpacks = [item.unpack for item in items]

    def unpack(plain: Any) -> Any:
        if type(plain) is not list or len(plain) != count:
            raise Mismatch(words, plain)
        return make(convert_all(unpacks, plain))

    def fits(plain: Any) -> bool:
        return type(plain) is list and len(plain) == count

    def schema(context: SchemaContext) -> dict[str, Any]:
        prefix = [item.schema(context) for item in items]
        return {"type": "array", "prefixItems": prefix, "minItems": count, "maxItems": count}

    return Plain(
        annotation,
        packer([item.pack for item in items]),
        unpack,
        canon=packer([item.canon for item in items]),
        kinds=(list,),
        owns=(cls,),
        schema=schema,
        fits=fits,
    )


def dict_plain(annotation: Any, key: Plain, value: Plain, dialect: Dialect) -> Plain:
    """``dict[K, V]``: a map; a marked array of pairs where the plain form of a key cannot be a key."""
    words = describe(annotation)
    text_keys = dialect == "json" and key.kinds == {int}
    key_classes = _STR if dialect == "json" else _KEY_CLASSES
    str_keys = key.through == {str} and key.kinds == {str}
    pack_key: Convert = (lambda k: str(key.pack(k))) if text_keys else key.pack
    passing = value.through

    def unpack_key(plain: Any) -> Any:
        if text_keys and type(plain) is str:
            try:
                return key.unpack(int(plain))
            except ValueError as error:
                raise Mismatch(f"{words} (its key)", plain) from error
        return key.unpack(plain)

    def pack_items(value_of: Convert, mapping: Any) -> list[tuple[Any, Any]]:
        if not isinstance(mapping, dict):
            raise Mismatch(words, mapping)
        items = []
        for k, v in mapping.items():
            try:
                items.append((pack_key(k), v if type(v) in passing else value_of(v)))
            except Mismatch as mismatch:
                raise mismatch.under(segment(k)) from mismatch.__cause__
        return items

    def passes(mapping: Any) -> bool:
        return (
            str_keys
            and type(mapping) is dict
            and _STR.issuperset(map(type, mapping))
            and passing.issuperset(map(type, mapping.values()))
        )

    def as_map(items: list[tuple[Any, Any]], canonical: bool) -> Any:
        if not key_classes.issuperset(type(k) for k, _ in items) or any(k == VARIANT for k, _ in items):
            return marked("dict", [list(item) for item in items])
        collected = dict(items)
        return {k: collected[k] for k in sorted_keys(collected)} if canonical else collected

    def pack(mapping: Any) -> Any:
        if passes(mapping) and VARIANT not in mapping:
            return mapping.copy()
        return as_map(pack_items(value.pack, mapping), canonical=False)

    def canon(mapping: Any) -> Any:
        if passes(mapping) and VARIANT not in mapping:
            return {k: mapping[k] for k in sorted(mapping)}
        return as_map(pack_items(value.canon, mapping), canonical=True)

    def unpack(plain: Any) -> Any:
        if type(plain) is not dict:
            raise Mismatch(words, plain)
        if VARIANT not in plain:
            if passes(plain):
                return plain.copy()
            pairs: Any = plain.items()
        elif mark_of(plain) == "dict" and type(plain[VALUE]) is list:
            pairs = plain[VALUE]
        else:
            pairs = plain.items()
        result = {}
        for pair in pairs:
            if type(pair) not in (tuple, list) or len(pair) != 2:
                raise Mismatch(words, plain)
            try:
                result[unpack_key(pair[0])] = value.unpack(pair[1])
            except Mismatch as mismatch:
                raise mismatch.under(segment(pair[0])) from mismatch.__cause__
            except TypeError as error:
                raise Mismatch(words, plain, "a key is not hashable") from error
        return result

    def schema(context: SchemaContext) -> dict[str, Any]:
        described: dict[str, Any] = {"type": "object"}
        if names := key.schema(context):
            described["propertyNames"] = names
        if values := value.schema(context):
            described["additionalProperties"] = values
        return described

    return Plain(annotation, pack, unpack, canon=canon, kinds=(dict,), owns=(dict,), schema=schema)


class _Variants:
    """The plain forms of a union's variants, and how one is chosen.

    Values and plain forms that only one variant can have take the short way. For the others each possible variant is
    tried, and the value travels marked unless reading it unmarked gives it back equal and of the same type.
    """

    def __init__(self, annotation: Any, variants: list[Plain]) -> None:
        self.words = describe(annotation)
        self.variants = variants
        self.names: dict[str, int] = {}
        for i, variant in enumerate(variants):
            name = variant.describe()
            self.names[name if name not in self.names else f"{name}#{i}"] = i
        # A float reads an int, but an int belongs to int where the union has both.
        ints = any(int in variant.through for variant in variants)
        self.kinds = [
            variant.kinds - {int} if ints and float in variant.through and int not in variant.through else variant.kinds
            for variant in variants
        ]
        self.by_kind = {
            kind: [i for i, kinds in enumerate(self.kinds) if kind in kinds]
            for kind in frozenset[type]().union(*self.kinds)
        }
        self.by_class: dict[type, list[int]] = {}
        alone = [all(len(self.by_kind[kind]) == 1 for kind in kinds) for kinds in self.kinds]
        self.marks = not all(alone)
        # Where some variants are marked, what is a map of its own accord has to be told from a mark.
        self.sure = [a and not (self.marks and dict in k) for a, k in zip(alone, self.kinds, strict=True)]

    def owners(self, cls: type) -> list[int]:
        """Variants that values of a class may belong to, best first."""
        found = self.by_class.get(cls)
        if found is None:
            found = [i for i, variant in enumerate(self.variants) if cls in variant.owns]
            found = self.by_class[cls] = found or list(range(len(self.variants)))
        return found

    def packer(self, canonical: bool) -> Convert:
        """The function that packs a value."""
        converts = [variant.canon if canonical else variant.pack for variant in self.variants]
        sure = self.sure

        def pack(value: Any) -> Any:
            owners = self.owners(type(value))
            if len(owners) == 1 and sure[owners[0]]:
                return converts[owners[0]](value)
            return self.pack_ambiguous(value, owners, converts)

        return pack

    def pack_ambiguous(self, value: Any, owners: list[int], converts: list[Convert]) -> Any:
        """Try the possible variants, and mark the value where its plain form does not say which it is."""
        nearest: Mismatch | None = None
        packed = []
        for position in owners:
            try:
                packed.append((position, converts[position](value)))
            except Mismatch as mismatch:
                if nearest is None or len(mismatch.path) > len(nearest.path):
                    nearest = mismatch
        for position, plain in packed:
            if self.gives_back(self.unpack, plain, value):
                return plain
            if self.gives_back(self.variants[position].unpack, plain, value):
                return marked(self.name(position), plain)
        if packed:
            return packed[0][1]
        if nearest is not None and nearest.path:
            raise nearest
        raise Mismatch(self.words, value)

    def gives_back(self, unpack: Convert, plain: Any, value: Any) -> bool:
        """Whether a plain form is read as the same value."""
        try:
            return same(unpack(plain), value)
        except Mismatch:
            return False

    def name(self, position: int) -> str:
        """The name that marks a variant."""
        return next(name for name, i in self.names.items() if i == position)

    def unpack(self, plain: Any) -> Any:
        """The value of a plain form."""
        positions = self.by_kind.get(type(plain))
        if positions is not None and len(positions) == 1 and (type(plain) is not dict or not self.marks):
            return self.variants[positions[0]].unpack(plain)
        name = mark_of(plain)
        if name is not None and name in self.names:
            return self.variants[self.names[name]].unpack(plain["value"])
        if not positions:
            raise Mismatch(self.words, plain)
        fitting = [i for i in positions if (fits := self.variants[i].fits) is None or fits(plain)]
        nearest: Mismatch | None = None
        for i in [*fitting, *(i for i in positions if i not in fitting)]:
            try:
                return self.variants[i].unpack(plain)
            except Mismatch as mismatch:
                nearest = mismatch
        if len(positions) == 1 and nearest is not None:
            raise nearest
        raise Mismatch(self.words, plain)


def union_plain(annotation: Any, variants: list[Plain]) -> Plain:
    """``Union`` and ``Optional``: the plain form of the variant, marked only where it would be read as another."""
    chosen = _Variants(annotation, variants)
    sure = [i for i, alone in enumerate(chosen.sure) if alone]
    passing = {
        cls for i in sure for cls in variants[i].through if chosen.owners(cls) == [i] and chosen.by_kind.get(cls) == [i]
    }
    marks = {dict} if chosen.marks else set()
    return Plain(
        annotation,
        chosen.packer(canonical=False),
        chosen.unpack,
        canon=chosen.packer(canonical=True),
        through=frozenset(passing),
        kinds=frozenset().union(*chosen.kinds, marks),
        owns=frozenset().union(*(variant.owns for variant in variants)),
        schema=lambda context: {"anyOf": [variant.schema(context) for variant in variants]},
    )


_DYNAMIC_LEAVES = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    complex,
    bytearray,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    type(pathlib.Path()),
)
_OWN_FORM: frozenset[type] = frozenset((str, int, float, bool, type(None), bytes))


class _Dynamic:
    """Values inside ``Any``: what msgpack holds as it is, the other built-in types marked with their name."""

    def __init__(self) -> None:
        self.leaves: dict[str, Plain] = {}
        self.names: dict[type, str] = {}
        for cls in _DYNAMIC_LEAVES:
            plain = leaf(cls, cls, "dataclass")
            assert plain is not None
            name = "Path" if cls is type(pathlib.Path()) else cls.__name__
            self.leaves[name] = plain
            self.names[cls] = name
        self.collections: dict[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset}

    def packer(self, canonical: bool) -> Convert:
        """The function that packs a value."""

        def pack(value: Any) -> Any:
            cls = type(value)
            if cls in _OWN_FORM:
                return value
            if cls is list:
                return [pack(element) for element in value]
            if cls is dict:
                if VARIANT in value or not _KEY_CLASSES.issuperset(map(type, value)):
                    return marked("dict", [[pack(k), pack(v)] for k, v in value.items()])
                keys = sorted_keys(value) if canonical else value
                return {key: pack(value[key]) for key in keys}
            if cls is tuple:
                return marked("tuple", [pack(element) for element in value])
            if cls is set or cls is frozenset:
                return marked(cls.__name__, sorted((canon(element) for element in value), key=packed))
            name = self.names.get(cls)
            if name is not None:
                return marked(name, self.leaves[name].pack(value))
            base = _base_of(value)
            if base is not None:
                return pack(str.__str__(value) if base is str else base(value))
            raise Mismatch(
                "a value of a built-in type inside Any",
                value,
                "only declared types keep other classes; annotate this part with its class",
            )

        canon = self.packer(True) if not canonical else pack
        return pack

    def unpack(self, plain: Any) -> Any:
        """The value of a plain form."""
        cls = type(plain)
        if cls in _OWN_FORM:
            return plain
        if cls is list:
            return [self.unpack(element) for element in plain]
        if cls is not dict:
            raise Mismatch("a plain value", plain)
        name = mark_of(plain)
        if name is None:
            return {key: self.unpack(value) for key, value in plain.items()}
        content = plain["value"]
        if name in self.leaves:
            return self.leaves[name].unpack(content)
        if type(content) is not list:
            raise Mismatch(f"the elements of a {name}", content)
        try:
            if name == "dict":
                return {self.unpack(k): self.unpack(v) for k, v in content}
            if name in self.collections:
                return self.collections[name](self.unpack(element) for element in content)
        except (TypeError, ValueError) as error:
            raise Mismatch(f"the elements of a {name}", content) from error
        raise Mismatch("a built-in type inside Any", got=f"the mark {name!r}")


def _base_of(value: Any) -> Any:
    """The class of msgpack's own that a value is a subclass of, such as float of numpy.float64; not for Enums."""
    if hasattr(type(value), "__members__"):
        return None
    return next((base for base in (str, int, float, bytes, list, dict) if isinstance(value, base)), None)


_dynamic: _Dynamic | None = None


def dynamic_plain(annotation: Any) -> Plain:
    """``Any`` inside a structure."""
    global _dynamic
    if _dynamic is None:
        _dynamic = _Dynamic()
    return Plain(
        annotation,
        _dynamic.packer(canonical=False),
        _dynamic.unpack,
        canon=_dynamic.packer(canonical=True),
        through=_OWN_FORM,
        schema=lambda _: {},
    )


def bare_dict_plain(annotation: Any) -> Plain:
    """``dict`` without parameters: any keys and values that ``Any`` takes."""
    inner = dynamic_plain(Any)

    def checked(convert: Convert) -> Convert:
        def pack(value: Any) -> Any:
            if not isinstance(value, dict):
                raise Mismatch("dict", value)
            return convert(value if type(value) is dict else dict(value))

        return pack

    def unpack(plain: Any) -> dict[Any, Any]:
        value = inner.unpack(plain) if type(plain) is dict else plain
        if type(value) is not dict:
            raise Mismatch("dict", plain)
        return value

    return Plain(
        annotation,
        checked(inner.pack),
        unpack,
        canon=checked(inner.canon),
        kinds=(dict,),
        owns=(dict,),
        schema=lambda _: {"type": "object"},
    )
