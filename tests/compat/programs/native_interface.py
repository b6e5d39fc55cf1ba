"""NativeInterface: made from functions and types, and asked."""

import inspect
from typing import Dict, List, NamedTuple, Optional, Tuple

import flyte
from flyte.models import NativeInterface, extract_return_annotation
from transcript import attempt, show


class Named(NamedTuple):
    total: int
    label: str


def one(a: int, b: str = "x", *, c: Optional[List[int]] = None) -> Dict[str, int]:
    return {}


def two() -> Tuple[int, str]:
    return 1, "x"


def none(a: int) -> None: ...


def bare(a, b=3): ...


def named() -> Named: ...


def tup() -> tuple: ...


def endless() -> tuple[int, ...]: ...


async def asynchronous(x: "int") -> "str": ...


for function in (one, two, none, bare, named, tup, endless, asynchronous):
    try:
        interface = NativeInterface.from_callable(function)
    except Exception as raised:
        show(function.__name__, raised)
        continue
    show(function.__name__, {k: str(v[0]) for k, v in interface.inputs.items()})
    show("  defaults", {k: ("empty" if v[1] is inspect.Parameter.empty else v[1]) for k, v in interface.inputs.items()})
    show("  outputs", {k: str(v) for k, v in interface.outputs.items()})
    show("  has_outputs", interface.has_outputs())
    attempt("  required", lambda: sorted(interface.required_inputs()))
    attempt("  number", lambda: interface.num_required_inputs())
    attempt("  input types", lambda: {k: str(v) for k, v in interface.get_input_types().items()})
made = NativeInterface.from_types({"x": (int, inspect.Parameter.empty), "y": (str, "d")}, {"o0": int})
show("from_types", {k: str(v[0]) for k, v in made.inputs.items()})
show("required", list(made.required_inputs()))
attempt("convert", lambda: made.convert_to_kwargs(1, "z"))
attempt("convert keywords", lambda: made.convert_to_kwargs(1, y="z"))
attempt("convert defaults", lambda: made.convert_to_kwargs(1))
attempt("convert too many", lambda: made.convert_to_kwargs(1, 2, 3))
attempt("convert unknown", lambda: made.convert_to_kwargs(1, zz=3))
attempt("constructor", lambda: list(NativeInterface({"x": (int, 1)}, {"o0": int}).inputs))
attempt("constructor keywords", lambda: list(NativeInterface(inputs={}, outputs={"r": int}).outputs))
attempt("defaults only", lambda: list(NativeInterface({"x": (int, NativeInterface.has_default)}, {}).required_inputs()))
show("has_default", hasattr(NativeInterface, "has_default"))
attempt("removed", lambda: sorted(NativeInterface.from_callable(one).remove_inputs(["a"]).inputs))
attempt("repr", lambda: repr(NativeInterface.from_callable(one)))
attempt("repr async", lambda: repr(NativeInterface.from_callable(asynchronous)))
attempt("repr two", lambda: repr(NativeInterface.from_callable(two)))
for kind in (int, None, type(None), Tuple[int, str], Named, inspect.Signature.empty, List[int]):
    attempt(f"return {kind}", lambda: {k: str(v) for k, v in extract_return_annotation(kind).items()})
env = flyte.TaskEnvironment("ni")
task = env.task(one)
show("task", task.interface is task.native_interface)
show("json", hasattr(task.interface, "json_schema"))
attempt("json schema", lambda: task.interface.json_schema)
