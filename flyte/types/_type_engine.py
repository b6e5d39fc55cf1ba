"""``TypeEngine``: what users and third parties see of conversion. A thin face over the codecs."""

import typing
from collections.abc import KeysView, Sequence
from typing import Any

from flyteidl2.core.interface_pb2 import Variable, VariableEntry, VariableMap
from flyteidl2.core.literals_pb2 import Literal, LiteralMap
from flyteidl2.core.types_pb2 import LiteralType

from flyte.errors import TypeTransformerFailedError
from flyte.types import _transformer
from flyte.types._annotations import classify
from flyte.types._codec import Codec, read_offloaded
from flyte.types._engine import codec_for
from flyte.types._guessing import guess_type
from flyte.types._mismatch import Mismatch
from flyte.types._transformer import TypeTransformer

T = typing.TypeVar("T")


class BuiltinTransformer(TypeTransformer[Any]):
    """A type that flyte itself converts, seen as a transformer."""

    def __init__(self, codec: Codec[Any], target: Any) -> None:
        super().__init__(codec.name, target)
        self._codec = codec

    def get_literal_type(self, t: Any) -> LiteralType:
        return codec_for(t).literal_type

    async def to_literal(self, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        return await codec_for(python_type).encode_async(python_val)

    async def to_python_value(self, lv: Literal, expected_python_type: Any) -> Any:
        return await codec_for(expected_python_type).decode_async(lv)

    def from_binary_idl(self, binary_idl_object: Any, expected_python_type: Any) -> Any:
        literal = Literal()
        literal.scalar.binary.CopyFrom(binary_idl_object)
        return codec_for(expected_python_type).decode(literal)

    def assert_type(self, t: Any, v: Any) -> None:
        codec_for(t).encode(v)

    def guess_python_type(self, literal_type: LiteralType) -> Any:
        return guess_type(literal_type)

    def to_html(self, python_val: Any, expected_python_type: Any) -> str:
        return self._codec.show(python_val) or super().to_html(python_val, expected_python_type)


class TypeEngine(typing.Generic[T]):
    """Converts between Python values and literals.

    Everything is a class method; there is nothing to create. Types that flyte does not know are added with
    :meth:`register`, or by an installed package through the entry-point group ``flyte.plugins.types``.
    """

    @classmethod
    def register(cls, transformer: TypeTransformer[Any], additional_types: list[type] | None = None) -> None:
        """Teach the engine a type.

        :param transformer: converts the type that it names as its ``python_type``.
        :param additional_types: further types that it converts.
        :raises ValueError: one of the types has a transformer already.
        """
        _transformer.register(transformer, [transformer.python_type, *(additional_types or ())])

    @classmethod
    def register_additional_type(
        cls, transformer: TypeTransformer[Any], additional_type: type, override: bool = False
    ) -> None:
        """Let a transformer convert one more type.

        :param override: replace the transformer that the type has; otherwise a type that has one keeps it.
        """
        if override or additional_type not in _transformer.registered():
            _transformer.register(transformer, [additional_type], override=override)

    @classmethod
    def register_restricted_type(cls, name: str, type: type) -> None:
        """Refuse a type as input or output, with :class:`flyte.errors.RestrictedTypeError`.

        :param name: how the error calls it.
        :param type: the type.
        """
        _transformer.restrict(type, name)

    @classmethod
    def get_transformer(cls, python_type: Any) -> TypeTransformer[Any]:
        """What converts a type.

        :raises TypeError: nothing does.
        """
        shape = classify(python_type)
        if shape.transformer is not None:
            return shape.transformer
        return BuiltinTransformer(codec_for(python_type), shape.target)

    @classmethod
    def get_available_transformers(cls) -> KeysView[Any]:
        """The types that have a transformer."""
        return dict.fromkeys([*_transformer.BUILTIN, *_transformer.registered()]).keys()

    @classmethod
    def to_literal_type(cls, python_type: Any) -> LiteralType:
        """The LiteralType of an annotation.

        :raises TypeError: it cannot be a task's input or output.
        """
        copy = LiteralType()
        copy.CopyFrom(codec_for(python_type).literal_type)
        return copy

    @classmethod
    async def to_literal(cls, python_val: Any, python_type: Any, expected: LiteralType) -> Literal:
        """The literal of a value.

        :param python_val: the value.
        :param python_type: its annotation, which decides how it is written.
        :param expected: the LiteralType of the annotation.
        :raises TypeTransformerFailedError: the value does not fit.
        """
        codec = codec_for(python_type)
        if codec.awaits:
            return await codec.encode_async(python_val)
        return codec.encode(python_val)

    @classmethod
    async def to_python_value(cls, lv: Literal, expected_python_type: Any) -> Any:
        """The value of a literal.

        :param lv: the literal.
        :param expected_python_type: the annotation, which decides how it is read.
        :raises TypeTransformerFailedError: the literal is not one of this type.
        """
        codec = codec_for(expected_python_type)
        if codec.awaits:
            return await codec.decode_async(lv)
        return codec.decode(lv)

    @classmethod
    def to_literal_checks(cls, python_val: Any, python_type: Any, expected: LiteralType) -> None:
        """Check a value without keeping its literal.

        :raises TypeTransformerFailedError: it does not fit.
        """
        codec = codec_for(python_type)
        if codec.awaits:
            transformer = cls.get_transformer(python_type)
            if transformer.type_assertions_enabled:
                transformer.assert_type(python_type, python_val)
        else:
            codec.transfer(python_val)

    @classmethod
    def guess_python_type(cls, flyte_type: LiteralType) -> Any:
        """An annotation whose values a LiteralType describes.

        :raises ValueError: none is known.
        """
        for transformer in dict.fromkeys(_transformer.registered().values()):
            try:
                return transformer.guess_python_type(flyte_type)
            except ValueError:
                continue
        return guess_type(flyte_type)

    @classmethod
    def guess_python_types(cls, flyte_variable_list: Sequence[VariableEntry]) -> dict[str, Any]:
        """Name -> annotation, of the variables of an interface."""
        return {entry.key: cls.guess_python_type(entry.value.type) for entry in flyte_variable_list}

    @classmethod
    async def dict_to_literal_map(cls, d: dict[str, Any], type_hints: dict[str, Any] | None = None) -> LiteralMap:
        """The literals of named values.

        :param d: name -> value.
        :param type_hints: name -> annotation; a value without one is written as its class.
        """
        hints = type_hints or {}
        literals = {}
        for name, value in d.items():
            try:
                literals[name] = await codec_for(hints.get(name, type(value))).encode_async(value)
            except TypeTransformerFailedError as error:
                raise TypeTransformerFailedError(f"{name!r}: {error}") from error
        return LiteralMap(literals=literals)

    @classmethod
    async def literal_map_to_kwargs(
        cls,
        lm: LiteralMap,
        python_types: dict[str, Any] | None = None,
        literal_types: dict[str, Variable] | None = None,
    ) -> dict[str, Any]:
        """The values of named literals.

        :param lm: the literals.
        :param python_types: name -> annotation.
        :param literal_types: name -> variable, to guess annotations from when there are none.
        :raises ValueError: there are more literals than annotations, or neither kind of types is given.
        """
        if python_types is None:
            if literal_types is None:
                raise ValueError("literal_map_to_kwargs needs python_types or literal_types")
            python_types = {name: cls.guess_python_type(variable.type) for name, variable in literal_types.items()}
        unknown = sorted(set(lm.literals) - set(python_types))
        if unknown:
            raise ValueError(f"literals without a type: {', '.join(unknown)}; known are {', '.join(python_types)}")
        values = {}
        for name, annotation in python_types.items():
            if name in lm.literals:
                try:
                    values[name] = await codec_for(annotation).decode_async(lm.literals[name])
                except TypeTransformerFailedError as error:
                    raise TypeTransformerFailedError(f"{name!r}: {error}") from error
        return values

    @classmethod
    def to_html(cls, python_val: Any, expected_python_type: Any) -> str:
        """How a report shows a value.

        A :class:`Renderable` in the annotation decides, else the type's transformer.
        """
        for item in getattr(expected_python_type, "__metadata__", ()):
            if callable(getattr(item, "to_html", None)):
                return str(item.to_html(python_val))
        return cls.get_transformer(expected_python_type).to_html(python_val, expected_python_type)

    @classmethod
    async def unwrap_offloaded_literal(cls, lv: Literal) -> Literal:
        """The literal that an offloaded one points to; any other as it is.

        :raises TypeTransformerFailedError: its file cannot be read; only files of this machine can be in this version.
        """
        if not lv.HasField("offloaded_metadata"):
            return lv
        try:
            return read_offloaded(lv)
        except Mismatch as mismatch:
            raise mismatch.failure() from mismatch.__cause__

    @classmethod
    def named_tuple_to_variable_map(cls, t: Any) -> VariableMap:
        """The variables of a NamedTuple class: one per field."""
        entries = [
            VariableEntry(key=name, value=Variable(type=cls.to_literal_type(hint), description=str(index)))
            for index, (name, hint) in enumerate(typing.get_type_hints(t, include_extras=True).items())
        ]
        return VariableMap(variables=entries)
