"""The seam for third-party types: the transformer class, and the registry of those that were registered.

Loads no protobuf: a declaration only needs to know whether a type is registered.
"""

import datetime
import enum
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flyte._core.log import logger
from flyte.errors import TypeTransformerFailedError

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Binary, Literal
    from flyteidl2.core.types_pb2 import LiteralType

T = TypeVar("T")

ENTRY_POINTS = "flyte.plugins.types"
"""Entry-point group: each entry names a module that registers on import, or a callable that registers."""


class TypeTransformer(Generic[T]):
    """Converts one Python type to and from literals; subclass it to teach the engine a type of your own.

    :param name: the transformer's name; it travels as the tag of a union's variant, so keep it stable.
    :param t: the Python type.
    :param enable_type_assertions: whether :meth:`assert_type` is asked before a value is converted.
    """

    def __init__(self, name: str, t: type[T], enable_type_assertions: bool = True) -> None:
        self._name = name
        self._t = t
        self._type_assertions_enabled = enable_type_assertions

    @property
    def name(self) -> str:
        """The transformer's name."""
        return self._name

    @property
    def python_type(self) -> type[T]:
        """The Python type."""
        return self._t

    @property
    def type_assertions_enabled(self) -> bool:
        """Whether a value's type is checked before it is converted."""
        return self._type_assertions_enabled

    def get_literal_type(self, t: type[T]) -> "LiteralType":
        """The LiteralType of an annotation of this type."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define get_literal_type()")

    async def to_literal(self, python_val: T, python_type: type[T], expected: "LiteralType") -> "Literal":
        """The literal of a value.

        :param python_val: the value.
        :param python_type: its annotation.
        :param expected: what :meth:`get_literal_type` said of the annotation.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not define to_literal()")

    async def to_python_value(self, lv: "Literal", expected_python_type: type[T]) -> T | None:
        """The value of a literal."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define to_python_value()")

    def from_binary_idl(self, binary_idl_object: "Binary", expected_python_type: type[T]) -> T | None:
        """The value of a msgpack binary, for transformers that accept one."""
        raise NotImplementedError(f"{type(self).__qualname__} does not define from_binary_idl()")

    def guess_python_type(self, literal_type: "LiteralType") -> type[T]:
        """The Python type that a LiteralType stands for.

        :raises ValueError: the LiteralType is not one of this transformer's.
        """
        raise ValueError(f"transformer {self._name!r} does not know a Python type for this LiteralType")

    def assert_type(self, t: type[T], v: T) -> None:
        """Check a value before it is converted.

        :raises TypeTransformerFailedError: it is not an instance of ``t``.
        """
        if not self.isinstance_generic(v, t):
            raise TypeTransformerFailedError(f"expected {t}, got {type(v).__qualname__} {v!r:.80}")

    def isinstance_generic(self, obj: Any, generic_alias: Any) -> bool:
        """``isinstance`` that ignores the parameters of a generic alias."""
        origin = typing.get_origin(generic_alias) or generic_alias
        return not isinstance(origin, type) or isinstance(obj, origin)

    def to_html(self, python_val: T, expected_python_type: type[T]) -> str:
        """How a report shows a value."""
        from html import escape

        return escape(str(python_val))

    def schema_match(self, schema: dict[str, Any]) -> bool:
        """Whether a JSON schema found in a LiteralType's metadata describes this transformer's type."""
        return False

    def __repr__(self) -> str:
        return f"{self._name} transforms {self._t}"


_registered: dict[Any, TypeTransformer[Any]] = {}
_restricted: dict[Any, str] = {}
_listeners: list[Callable[[], None]] = []
BUILTIN: tuple[Any, ...] = (
    int,
    float,
    str,
    bool,
    type(None),
    datetime.datetime,
    datetime.date,
    datetime.timedelta,
    list,
    dict,
    tuple,
    typing.Union,
    types.UnionType,
    enum.Enum,
)
"""Types that flyte itself converts and that nobody may register."""
_entry_points_loaded = False


def register(transformer: TypeTransformer[Any], types: list[Any], override: bool = False) -> None:
    """Add a transformer for its types, and forget every conversion compiled so far.

    :raises ValueError: a type has a transformer already.
    """
    for t in types:
        present = _registered.get(t)
        if override or present is transformer:
            continue
        if present is not None or t in BUILTIN:
            by = f"transformer {present.name!r}" if present is not None else "flyte itself"
            raise ValueError(
                f"type {t!r} is already handled by {by}; {transformer.name!r} cannot replace it. To use another "
                "encoding in one place, put the transformer into the annotation: Annotated[T, transformer]"
            )
    for t in types:
        _registered[t] = transformer
    announce()


def announce() -> None:
    """Forget every conversion compiled so far, because what types mean has changed."""
    for listener in _listeners:
        listener()


def restrict(t: Any, name: str) -> None:
    """Refuse a type as input or output from now on."""
    _restricted[t] = name
    announce()


def restricted(t: Any) -> str | None:
    """The name under which a type is refused, or None."""
    try:
        return _restricted.get(t)
    except TypeError:  # unhashable
        return None


def registered() -> dict[Any, TypeTransformer[Any]]:
    """Every registered type and its transformer."""
    return dict(_registered)


def on_change(listener: Callable[[], None]) -> None:
    """Call ``listener`` whenever a transformer is registered."""
    _listeners.append(listener)


def find_exact(t: Any) -> TypeTransformer[Any] | None:
    """The transformer registered for this very type, or for the class of a generic alias."""
    if not _registered:
        return None
    for key in (t, typing.get_origin(t)):
        try:
            found = _registered.get(key) if key is not None else None
        except TypeError:  # unhashable
            found = None
        if found is not None:
            return found
    return None


def find_inherited(t: Any) -> TypeTransformer[Any] | None:
    """The transformer registered for the nearest base class."""
    origin = typing.get_origin(t) or t
    for cls in getattr(origin, "__mro__", ())[1:-1]:
        found = _registered.get(cls)
        if found is not None:
            return found
    return None


def load_entry_points() -> bool:
    """Let installed packages register their types; does so once per process.

    A package that fails is named in a warning and skipped, so that one broken plugin does not stop a program that
    does not use it.

    :returns: whether anything was loaded by this call.
    """
    # Imported here because it is slow, and only programs with types of their own come this far.
    import importlib.metadata

    global _entry_points_loaded
    if _entry_points_loaded:
        return False
    _entry_points_loaded = True
    found = list(importlib.metadata.entry_points(group=ENTRY_POINTS))
    for entry in found:
        try:
            loaded = entry.load()
            if callable(loaded):
                loaded()
        except Exception as error:
            package = entry.dist.name if entry.dist is not None else "unknown package"
            logger.warning(
                "type plugin %r (%s, from %s) failed to load and is skipped: %s: %s",
                entry.name,
                entry.value,
                package,
                type(error).__name__,
                error,
            )
    return bool(found)
