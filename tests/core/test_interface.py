"""NativeInterface: signatures to parameters and results (X1)."""

import inspect
import pickle
from typing import Annotated, Any, NamedTuple, Optional

import pytest

from flyte._core.interface import Docstring, NativeInterface, describe, extract_return_annotation


class Pair(NamedTuple):
    left: int
    right: "str"


def function(a: int, b: list[int], c: str = "x", *, d: float = 1.5) -> tuple[int, str]:
    """Do a thing.

    More of it.

    Args:
        a: the first
        b: the second

    Returns:
        both
    """
    return a, c


def test_inputs_outputs_and_defaults():
    interface = NativeInterface.from_callable(function)
    assert interface.inputs == {
        "a": (int, inspect.Parameter.empty),
        "b": (list[int], inspect.Parameter.empty),
        "c": (str, "x"),
        "d": (float, 1.5),
    }
    assert interface.outputs == {"o0": int, "o1": str}
    assert interface.required_inputs() == ["a", "b"] and interface.num_required_inputs() == 2
    assert interface.has_outputs() and interface.has_default("c") and not interface.has_default("a")
    assert interface.get_input_types() == {"a": int, "b": list[int], "c": str, "d": float}


def test_docstring():
    docstring = NativeInterface.from_callable(function).docstring
    assert docstring is not None
    assert docstring.short_description == "Do a thing." and docstring.input_descriptions == {
        "a": "the first",
        "b": "the second",
    }
    assert Docstring("One.\n\n:param x: an x\n").input_descriptions == {"x": "an x"}
    assert Docstring(None).short_description is None


@pytest.mark.parametrize(
    ("annotation", "outputs"),
    [
        (None, {}),
        (type(None), {}),
        (int, {"o0": int}),
        (Optional[int], {"o0": Optional[int]}),
        (tuple[int, str], {"o0": int, "o1": str}),
        (Annotated[tuple[int, str], "m"], {"o0": int, "o1": str}),
        (list[int], {"o0": list[int]}),
        (Pair, {"left": int, "right": str}),
    ],
)
def test_results(annotation: Any, outputs: dict[str, Any]):
    assert extract_return_annotation(annotation) == outputs


@pytest.mark.parametrize("annotation", [tuple[int], tuple[int, ...], tuple[()]])
def test_tuples_that_are_not_results(annotation: Any):
    with pytest.raises(TypeError, match="not supported"):
        extract_return_annotation(annotation, "f")


def test_binding():
    interface = NativeInterface.from_callable(function)
    assert interface.bind((1, [2]), {}) == [1, [2], "x", 1.5]
    assert interface.bind((1,), {"d": 2.0, "b": []}) == [1, [], "x", 2.0]
    assert interface.convert_to_kwargs(1, c="y") == {"a": 1, "c": "y"}
    with pytest.raises(ValueError, match="at most 4 positional"):
        interface.bind((1, 2, 3, 4, 5), {})
    with pytest.raises(TypeError, match=r"no parameter 'bb'"):
        interface.bind((1,), {"bb": 1})
    with pytest.raises(TypeError, match="more than one value for parameter 'a'"):
        interface.bind((1,), {"a": 2})
    with pytest.raises(ValueError, match=r"required arguments a: int, b: list\[int\]"):
        interface.bind((), {})


def test_missing_annotations_and_unknown_names():
    def untyped(x, y=3):  # type: ignore[no-untyped-def]
        return x

    interface = NativeInterface.from_callable(untyped)
    assert interface.inputs["x"][0] is Any and interface.outputs == {}

    def misspelt(x: "list[Nowhere]") -> int:  # type: ignore[name-defined] # noqa: F821
        return 1

    with pytest.raises(TypeError, match=r"misspelt.*'Nowhere'"):
        NativeInterface.from_callable(misspelt)


def test_annotations_that_name_local_classes():
    class Local:
        pass

    def takes(x: "Local", y: "list[Local]") -> "Local":
        return Local() if y else x

    assert NativeInterface.from_callable(takes).get_input_types() == {"x": Local, "y": list[Local]}


def test_from_types():
    interface = NativeInterface.from_types({"a": int, "b": (str, "d")}, {"out": float})
    assert interface.inputs == {"a": (int, inspect.Parameter.empty), "b": (str, "d")}
    assert interface.outputs == {"out": float}


def test_pickling_leaves_compiled_things_behind():
    interface = NativeInterface.from_callable(function)
    interface.memo["boundary"] = lambda: None  # cannot be pickled
    again = pickle.loads(pickle.dumps(interface))
    assert again == interface and again.memo == {}


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (list[int], "list[int]"),
        (Pair, "Pair"),
        (Optional[int], "Optional[int]"),
        (int | str, "int | str"),
    ],
)
def test_describe(annotation: Any, text: str):
    assert describe(annotation) == text
