"""Arguments and results at a task's boundary: what is refused, before anything runs, and how it is said."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

import flyte
import flyte.errors
from flyte.io import File

env = flyte.TaskEnvironment(name="arguments")
ran: list[object] = []


@env.task
async def scale(x: int, factor: float = 2.0) -> float:
    ran.append(x)
    return x * factor


@env.task
async def calls_scale(how: str) -> str:
    try:
        await {"type": lambda: scale("three"), "unknown": lambda: scale(1, facto=1.0), "missing": lambda: scale()}[
            how
        ]()  # type: ignore[call-arg,arg-type]
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    ran.clear()


def test_a_wrong_type_is_refused_before_anything_runs():
    with pytest.raises(TypeError) as caught:
        flyte.run(scale, x="three")  # type: ignore[arg-type]
    text = str(caught.value)
    for part in ("'arguments.scale'", "'x'", "int", "str", "three"):
        assert part in text
    assert not ran


def test_a_missing_argument_is_named_with_its_type():
    with pytest.raises(ValueError, match=r"'arguments\.scale' is missing the required argument x: int"):
        flyte.run(scale)  # type: ignore[call-arg]


def test_an_unknown_argument_is_refused_with_the_nearest_name():
    with pytest.raises(TypeError, match=r"no parameter 'facto'; did you mean 'factor'\?"):
        flyte.run(scale, x=1, facto=3.0)  # type: ignore[call-arg]
    assert not ran


def test_too_many_and_doubled_arguments():
    with pytest.raises(ValueError, match="at most 2 positional arguments"):
        flyte.run(scale, 1, 2.0, 3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="more than one value for parameter 'x'"):
        flyte.run(scale, 1, x=2)  # type: ignore[misc]


@pytest.mark.parametrize("how", ["type", "unknown", "missing"])
def test_the_same_inside_a_run(how: str):
    text = flyte.run(calls_scale, how=how).result
    assert "arguments.scale" in text and not ran


def test_defaults_are_filled_in():
    assert flyte.run(scale, x=3).result == 6.0
    assert flyte.run(scale, 3, 0.5).result == 1.5


def test_a_result_of_the_wrong_type_is_the_tasks_failure():
    @env.task
    async def lies() -> int:
        return "x"  # type: ignore[return-value]

    @env.task
    async def undeclared(x: int):  # type: ignore[no-untyped-def]
        return x

    @env.task
    async def too_few() -> tuple[int, str]:
        return (1,)  # type: ignore[return-value]

    for task, words in ((lies, "int"), (undeclared, "declares no result"), (too_few, "must be 2 values")):
        with pytest.raises(flyte.errors.RuntimeDataValidationError, match=words):
            flyte.run(task) if task is not undeclared else flyte.run(task, x=1)  # type: ignore[call-overload]


class Point(NamedTuple):
    x: int
    label: str


def test_several_results():
    @env.task
    async def pair() -> tuple[int, str]:
        return 1, "a"

    @env.task
    async def point() -> Point:
        return Point(3, "p")

    @env.task
    async def nothing() -> None:
        pass

    run = flyte.run(pair)
    assert run.result == (1, "a")
    assert run.outputs() == (1, "a") and run.outputs().o1 == "a"
    assert run.outputs().named_outputs == {"o0": 1, "o1": "a"}
    run2 = flyte.run(point)
    assert run2.result == Point(3, "p") and type(run2.result) is Point
    assert run2.outputs().label == "p"
    assert flyte.run(nothing).result is None and flyte.run(nothing).outputs() == (None,)
    with pytest.raises(ValueError, match="2 results"):
        _ = run.outputs().value
    with pytest.raises(AttributeError, match="o9"):
        _ = run.outputs().o9


def test_inline_limit_names_both_sizes():
    """B6, F22: enforced on inputs and on outputs."""

    @env.task(max_inline_io_bytes=50)
    async def echo(text: str) -> str:
        return text

    with pytest.raises(flyte.errors.InlineIOMaxBytesBreached, match=r"max_inline_io_bytes is 50"):
        flyte.run(echo, text="x" * 100)
    with pytest.raises(flyte.errors.InlineIOMaxBytesBreached, match=r"inputs of \d+ bytes and outputs of \d+ bytes"):
        flyte.run(echo, text="x" * 30)
    assert flyte.run(echo.override(max_inline_io_bytes=1000), text="x" * 100).result == "x" * 100


def test_keyword_only_parameters():
    @env.task
    async def named(*, a: int, b: int = 2) -> int:
        return a - b

    @env.task
    def named_sync(*, a: int, b: int = 2) -> int:
        return a - b

    assert flyte.run(named, a=5).result == 3
    assert flyte.run(named_sync, a=5, b=1).result == 4


def test_positional_only_parameters():
    @env.task
    async def mixed(a: int, /, b: int = 2, *, c: int = 3) -> list[int]:
        return [a, b, c]

    @env.task
    def mixed_sync(a: int, /, b: int = 2, *, c: int = 3) -> list[int]:
        return [a, b, c]

    for task in (mixed, mixed_sync):
        assert flyte.run(task, 1).result == [1, 2, 3]
        assert flyte.run(task, a=1, c=5).result == [1, 2, 5]  # type: ignore[call-arg]


def test_not_a_task():
    async def plain(x: int) -> int:
        return x

    with pytest.raises(TypeError, match=r"@env\.task"):
        flyte.run(plain, x=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a task"):
        asyncio.run(flyte.run.aio(3))  # type: ignore[arg-type]


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


def test_a_type_registered_between_two_runs_is_used_by_the_second(monkeypatch: pytest.MonkeyPatch):
    from flyteidl2.core.literals_pb2 import Literal
    from flyteidl2.core.types_pb2 import LiteralType, SimpleType

    from flyte.types import TypeEngine, TypeTransformer

    monkeypatch.setenv("FLYTE_PICKLE", "allow")

    @env.task
    async def warm(t: Celsius) -> Celsius:
        return Celsius(t.degrees + 1)

    assert flyte.run(warm, Celsius(1.0)).result.degrees == 2.0
    carried: list[float] = []

    class CelsiusTransformer(TypeTransformer[Celsius]):
        def __init__(self) -> None:
            super().__init__("Celsius", Celsius)

        def get_literal_type(self, t: type[Celsius]) -> LiteralType:
            return LiteralType(simple=SimpleType.FLOAT)

        async def to_literal(self, python_val: Celsius, python_type: type[Celsius], expected: LiteralType) -> Literal:
            carried.append(python_val.degrees)
            made = Literal()
            made.scalar.primitive.float_value = python_val.degrees
            return made

        async def to_python_value(self, lv: Literal, expected_python_type: type[Celsius]) -> Celsius:
            return Celsius(lv.scalar.primitive.float_value)

    TypeEngine.register(CelsiusTransformer())
    assert flyte.run(warm, Celsius(1.0)).result.degrees == 2.0
    assert set(carried) == {1.0, 2.0}  # on their way, and for the journal


def test_files_do_not_count_as_passed_inline(tmp_path: Path):
    """B6: a limit of ten bytes lets a file of any size through."""
    (tmp_path / "large.bin").write_bytes(b"x" * 5_000_000)

    @env.task(max_inline_io_bytes=10)
    async def passes(f: File) -> File:
        return f

    @env.task(max_inline_io_bytes=10)
    async def passes_text(f: File, text: str) -> File:
        return f

    file = File.from_existing_remote(str(tmp_path / "large.bin"))
    assert flyte.run(passes, file).result == file
    with pytest.raises(flyte.errors.InlineIOMaxBytesBreached):
        flyte.run(passes_text, file, "x" * 100)
