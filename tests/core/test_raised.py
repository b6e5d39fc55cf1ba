"""Exceptions as a line of text and back: what comes along, and that nothing in the text runs anything."""

import json
import pickle
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte import errors
from flyte._core.raised import error_made_from, line_of, read_line

ran: list[str] = []


class OutOfStock(Exception):
    """With a constructor of its own, and a text that needs what it sets."""

    def __new__(cls, *args):
        ran.append("__new__")
        return super().__new__(cls, *args)

    def __init__(self, item, left):
        ran.append("__init__")
        super().__init__(item)
        self.left, self.shop = left, object()

    def __str__(self):
        ran.append("__str__")
        return f"{self.left} of {self.args[0]}"


class Final(errors.NonRecoverableError):
    def __init__(self, step):
        super().__init__(f"never, in step {step}")
        self.step = step


class HttpError(Exception):
    code = 404


def carried(error, message=None, known=()):
    seen = errors.user_error_from(error)
    made = error_made_from(
        read_line(line_of(seen)), str(seen) if message is None else message, code="Code", kind="user", known=known
    )
    assert made is not None
    return made


def test_the_users_class_and_its_plain_values():
    error = OutOfStock("tea", 3)
    line, message = line_of(errors.user_error_from(error)), str(error)
    ran.clear()
    back = error_made_from(read_line(line), message, code="OutOfStock", kind="user")
    assert isinstance(back, OutOfStock) and isinstance(back, errors.RuntimeUserError)
    assert (str(back), back.args, back.left, back.code, back.kind) == ("3 of tea", ("tea",), 3, "OutOfStock", "user")
    assert back.__notes__ == ["attributes that are no plain values did not come along: shop"]
    assert type(back).__name__ == "OutOfStock" and "OutOfStock('tea')" in repr(back)
    assert ran == []  # nothing of the class


def test_it_goes_on_from_there():
    back = carried(OutOfStock("tea", 3))
    again = pickle.loads(pickle.dumps(back))
    assert isinstance(again, OutOfStock) and str(again) == "3 of tea" and again.left == 3
    assert carried(back).left == 3


def raised(function):
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (ValueError(), {"args": ()}),
        (KeyError("b"), {"args": ("b",)}),
        (raised(lambda: b"\xff".decode()), {"object": b"\xff", "start": 0, "end": 1, "encoding": "utf-8"}),
        (raised(lambda: Path("/not/there").read_text()), {"errno": 2, "filename": "/not/there"}),
        (raised(lambda: json.loads("{")), {"pos": 1, "doc": "{"}),
        (raised(lambda: compile("(", "f", "exec")), {"filename": "f", "lineno": 1}),
        (ImportError("no", name="n"), {"name": "n"}),
        (StopIteration(3), {"value": 3}),
        (HttpError("gone"), {"code": 404}),
        (Final(2), {"step": 2}),
        (errors.OOMError("OOM", "m", limit=5, peak=4), {"limit": 5, "peak": 4}),
        (errors.RpcNotFoundError("NOT_FOUND", "m"), {"kind": "user"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_keeps_its_fields(error, fields):
    back = carried(error)
    assert isinstance(back, type(error)) and isinstance(back, errors.BaseRuntimeError)
    assert str(back) == str(error) and {name: getattr(back, name) for name in fields} == fields


def test_groups_causes_and_notes():
    error = ExceptionGroup("several", [ValueError("one"), ExceptionGroup("more", [OutOfStock("tea", 0)])])
    error.__cause__ = KeyError("k")
    error.add_note("tip: wait")
    back = carried(error)
    assert isinstance(back, ExceptionGroup) and str(back) == str(error)
    assert isinstance(back.exceptions[0], ValueError) and back.exceptions[1].exceptions[0].left == 0
    assert isinstance(back.__cause__, KeyError) and "tip: wait" in back.__notes__
    matched, rest = back.split(OutOfStock)
    assert matched is not None and rest is not None
    error.__cause__ = error  # without an end
    assert isinstance(carried(error).__cause__, ExceptionGroup)


def test_what_is_no_plain_value_stays():
    error = ValueError("x", object())
    error.nan, error.big, error.small = float("nan"), "y" * 5000, [1, (2.5, {"k": None})]
    back = carried(error, "shown")
    assert back.args == ("shown",) and str(back) == "shown" and back.small == [1, (2.5, {"k": None})]
    assert not hasattr(back, "nan") and not hasattr(back, "big") and "nan, big" in back.__notes__[0]


def test_a_class_among_the_names_of_a_pickled_function():
    cls = type("Typed", (Exception,), {"__module__": "__elsewhere__", "__qualname__": "Typed"})
    assert isinstance(carried(cls("m"), known=[{"Typed": cls}]), cls)
    line = read_line(line_of(cls("m")))
    assert error_made_from(line, "m", code="c", kind="user", known=[{"Typed": ValueError}]) is None


def made(line):
    read = read_line(line)
    return None if read is None else error_made_from(read, "m", code="c", kind="user")


def test_nothing_is_imported_or_called():
    assert "antigravity" not in sys.modules
    for line in (
        "antigravity:Error",
        "builtins:SystemExit",
        "builtins:KeyboardInterrupt",
        "builtins:print",
        "builtins:int",
        "os:system {'args': ('true',)}",
        "asyncio:CancelledError",
        "flyte.errors:RuntimeUserError.__init__",
        "builtins:ExceptionGroup {'args': ('m',)}",
    ):
        assert made(line) is None, line
    assert "antigravity" not in sys.modules
    for values in ("{'args': (__import__('os'),)}", "{'args': ('a',)}, open('x')}", "{0}"):  # the class alone
        kept = made(f"builtins:ValueError {values}")
        assert isinstance(kept, ValueError) and kept.args == ("m",)


def test_classes_that_would_run_by_themselves_are_left_alone():
    module = types.ModuleType("with_hooks")
    sys.modules["with_hooks"] = module
    try:
        for hook in ("__del__", "__setattr__", "__getattribute__", "__getattr__", "__init_subclass__"):
            body = {hook: lambda *words, **more: ran.append("hook"), "__module__": "with_hooks"}
            module.Hooked = type("Hooked", (Exception,), {**body, "__qualname__": "Hooked"})
            assert made("with_hooks:Hooked") is None
        meta = type("Meta", (type,), {})
        module.Hooked = meta("Hooked", (Exception,), {"__module__": "with_hooks", "__qualname__": "Hooked"})
        assert made("with_hooks:Hooked") is None
    finally:
        del sys.modules["with_hooks"]


def test_the_text_sets_nothing_of_the_error_itself():
    words = {"add_note": 1, "args": 2, "__class__": 3, "_original": 4, "_flyte_action": 5, "with_traceback": 6, "x": 7}
    back = made(f"builtins:ValueError {{'state': {words!r}}}")
    assert isinstance(back, ValueError) and back.x == 7
    back.add_note("works")
    assert (
        back.args == ("m",)
        and not hasattr(back, "_flyte_action")
        and isinstance(pickle.loads(pickle.dumps(back)), ValueError)
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.lists(values, max_size=3), st.dictionaries(st.text(min_size=1), values, max_size=3))
def test_any_values(args, state):
    error = ValueError(*args)
    vars(error).update({f"x{name}": value for name, value in state.items()})
    line = line_of(error)
    assert "\n" not in line and len(line) < 20_000
    back = made(line)
    assert isinstance(back, ValueError)
    if read_line(line).args is not None:
        assert back.args == error.args


@given(st.text(), st.sampled_from(["ValueError", "OSError", "ExceptionGroup", "UnicodeDecodeError", "SyntaxError"]))
def test_any_text(text, name):
    for line in (text, f"builtins:{name} {{{text}}}", f"builtins:{name} {{'args': {text}, 'state': {{}}}}"):
        error = made(line)
        assert error is None or isinstance(error, Exception)
