"""A task's parameters and results, read from a Python signature.

Used by definitions (what a task takes), the type engine (how values travel), the command line (options) and the
wire (TypedInterface). It knows nothing of how values are encoded.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Empty = inspect.Parameter.empty
"""Stands for "no default" in :attr:`NativeInterface.inputs`."""


class Docstring:
    """A function's docstring, parsed on first use.

    :param docstring: the text; or give ``callable_`` to take that object's.
    """

    def __init__(self, docstring: str | None = None, callable_: Callable[..., Any] | None = None) -> None:
        self._text = docstring if docstring is not None else (callable_.__doc__ if callable_ is not None else None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Docstring) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @cached_property
    def _parsed(self) -> Any:
        if not self._text:
            return None
        from docstring_parser import ParseError, parse

        try:
            return parse(self._text)
        except ParseError:  # prose that only looks like a field list
            return None

    @property
    def input_descriptions(self) -> dict[str, str]:
        """What the docstring says of each parameter."""
        return {p.arg_name: p.description or "" for p in self._parsed.params} if self._parsed else {}

    @property
    def output_descriptions(self) -> dict[str, str]:
        """What the docstring says of each result that it names."""
        if not self._parsed:
            return {}
        return {r.return_name: r.description or "" for r in self._parsed.many_returns if r.return_name}

    @property
    def short_description(self) -> str | None:
        """The first line."""
        if self._parsed is None:
            return self._text.strip().partition("\n")[0] if self._text else None
        return typing.cast("str | None", self._parsed.short_description)

    @property
    def long_description(self) -> str | None:
        """What follows the first line and is not a field."""
        return typing.cast("str | None", self._parsed.long_description) if self._parsed else None


@dataclass(frozen=True, repr=False)
class NativeInterface:
    """Parameters and results of a task, in Python's own types.

    :param inputs: parameter name -> (annotation, default or ``inspect.Parameter.empty``), in order.
    :param outputs: result name -> annotation: ``o0``, ``o1``, ... or the field names of a NamedTuple.
    :param docstring: where descriptions come from.
    """

    inputs: dict[str, tuple[Any, Any]]
    outputs: dict[str, Any]
    docstring: Docstring | None = None
    output_class: type | None = field(default=None, repr=False, compare=False)
    """The NamedTuple class that several results come back as; None for a plain tuple."""
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What upper rooms compile from this interface, under their own keys; never part of its value."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "memo": {}}

    def __repr__(self) -> str:
        """The signature, as a reader would write it: ``(a: int, b: str = 'x') -> o0: int``."""
        inputs = ", ".join(
            f"{name}: {describe(annotation)}" + ("" if default is Empty else f" = {default!r}")
            for name, (annotation, default) in self.inputs.items()
        )
        outputs = ", ".join(f"{name}: {describe(annotation)}" for name, annotation in self.outputs.items())
        return f"({inputs}) -> {outputs}" if outputs else f"({inputs})"

    @classmethod
    def from_callable(cls, func: Callable[..., Any]) -> "NativeInterface":
        """The interface of a function.

        A parameter without an annotation is taken as ``Any``.

        :raises ValueError: the function takes ``*args`` or ``**kwargs``, whose names and types a caller cannot know.
        :raises TypeError: an annotation names something that does not exist, or the result is a tuple of one or of
            any number of elements.
        """
        name = getattr(func, "__qualname__", repr(func))
        parameters = inspect.signature(func).parameters
        for p in parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                stars = "*" if p.kind is p.VAR_POSITIONAL else "**"
                raise ValueError(
                    f"task {name!r} takes {stars}{p.name}: a task's parameters must each have a name and a type; "
                    "use a list or dict parameter instead"
                )
        hints = _hints(func, name)
        inputs = {p.name: (hints.get(p.name, Any), p.default) for p in parameters.values()}
        outputs = extract_return_annotation(hints.get("return"), name)
        docstring = Docstring(callable_=func) if func.__doc__ else None
        return cls(inputs, outputs, docstring, _named_tuple(hints.get("return")))

    @classmethod
    def from_types(
        cls,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        default_inputs: Mapping[str, Any] | None = None,
    ) -> "NativeInterface":
        """The interface of something that is not a function, such as a container.

        :param inputs: name -> annotation, or name -> (annotation, default).
        :param outputs: name -> annotation.
        :param default_inputs: further defaults.
        """
        defaults = default_inputs or {}
        taken = {
            name: value if isinstance(value, tuple) and len(value) == 2 else (value, defaults.get(name, Empty))
            for name, value in inputs.items()
        }
        return cls(taken, dict(outputs))

    def has_outputs(self) -> bool:
        """Whether there is any result."""
        return bool(self.outputs)

    def has_default(self, name: str) -> bool:
        """Whether the parameter may be left out."""
        return self.inputs[name][1] is not Empty

    def required_inputs(self) -> list[str]:
        """Names of the parameters without a default."""
        return [name for name, (_, default) in self.inputs.items() if default is Empty]

    def num_required_inputs(self) -> int:
        """How many parameters have no default."""
        return len(self.required_inputs())

    def get_input_types(self) -> dict[str, Any]:
        """Parameter name -> annotation."""
        return {name: annotation for name, (annotation, _) in self.inputs.items()}

    def convert_to_kwargs(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Arguments by name, in the order given; defaults are not filled in.

        :raises ValueError: more positional arguments than parameters.
        :raises TypeError: an argument was given twice, or is not a parameter.
        """
        names = list(self.inputs)
        if len(args) > len(names):
            raise ValueError(
                f"takes at most {len(names)} positional arguments ({', '.join(names) or 'none'}), but got {len(args)}"
            )
        bound = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name in bound:
                raise TypeError(f"got more than one value for parameter {name!r}")
            if name not in self.inputs:
                raise TypeError(f"has no parameter {name!r}{self.nearest(name)}")
            bound[name] = value
        return bound

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """One value for every parameter, in order, defaults filled in.

        :raises ValueError: too many positional arguments, or a required one is missing.
        :raises TypeError: an argument was given twice, or is not a parameter.
        """
        given = self.convert_to_kwargs(*args, **kwargs)
        missing = [name for name in self.required_inputs() if name not in given]
        if missing:
            listed = ", ".join(f"{name}: {describe(self.inputs[name][0])}" for name in missing)
            raise ValueError(f"is missing the required argument{'s' * (len(missing) > 1)} {listed}")
        return [given.get(name, default) for name, (_, default) in self.inputs.items()]

    def nearest(self, name: str) -> str:
        """A hint naming the parameter that ``name`` was probably meant to be, or all of them."""
        from difflib import get_close_matches

        close = get_close_matches(name, self.inputs, n=1)
        if close:
            return f"; did you mean {close[0]!r}?"
        return f"; its parameters are {', '.join(self.inputs)}" if self.inputs else "; it takes no arguments"


def _hints(func: Callable[..., Any], name: str) -> dict[str, Any]:
    annotations = getattr(func, "__annotations__", {})
    if not any(isinstance(a, str) or hasattr(a, "__args__") for a in annotations.values()):
        # Plain classes: nothing to resolve, which is most of the cost of get_type_hints.
        return {key: type(None) if a is None else a for key, a in annotations.items()}
    target = inspect.unwrap(func)
    closure = getattr(target, "__closure__", None) or ()
    names = getattr(getattr(target, "__code__", None), "co_freevars", ())
    local: dict[str, Any] = {}
    for free, cell in zip(names, closure, strict=False):
        try:
            local[free] = cell.cell_contents
        except ValueError:  # a name of the enclosing function that has no value yet
            continue
    try:
        return typing.get_type_hints(func, localns=local or None, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"task {name!r} has an annotation that names {error.name!r}, which does not exist when the task is "
            "defined; import it outside 'if TYPE_CHECKING' and define it at module level"
        ) from error


def extract_return_annotation(annotation: Any, name: str = "") -> dict[str, Any]:
    """Result name -> annotation, from the annotation of a function's result.

    ``None`` or nothing: no results. ``tuple[A, B]``: ``o0`` and ``o1``. A NamedTuple class: its fields. Else ``o0``.

    :raises TypeError: a tuple of one element, of no elements, or of any number of them (wire-protocol section 4.5).
    """
    if annotation is None or annotation is type(None) or annotation is Empty:
        return {}
    bare = annotation
    if typing.get_origin(bare) is typing.Annotated and typing.get_origin(typing.get_args(bare)[0]) is tuple:
        bare = typing.get_args(bare)[0]
    if typing.get_origin(bare) is tuple:
        parts = typing.get_args(bare)
        if len(parts) < 2 or Ellipsis in parts:
            where = f"task {name!r}: " if name else ""
            raise TypeError(
                f"{where}a result annotated {describe(annotation)} is not supported, because each result needs a name "
                "and a type of its own; use list[...] or a NamedTuple"
            )
        return {f"o{i}": part for i, part in enumerate(parts)}
    if named := _named_tuple(bare):
        return dict(typing.get_type_hints(named, include_extras=True))
    return {"o0": annotation}


def _named_tuple(annotation: Any) -> type | None:
    is_named = isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields")
    return annotation if is_named else None


def describe(annotation: Any) -> str:
    """An annotation as a reader would write it: ``int``, ``list[int]``, ``Color``."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation.__name__ if annotation.__module__ == "builtins" else annotation.__qualname__
    return str(annotation).replace("typing.", "")
