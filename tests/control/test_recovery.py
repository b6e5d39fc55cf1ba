"""Recovery: what had ended well in an earlier run is taken from it, and nothing else is."""

import asyncio
import linecache
import sys
import textwrap
import types
from pathlib import Path

import pytest

import flyte
import flyte.durable
from flyte._core.home import home_dir
from flyte.errors import RunRecoveryError


def program(source: str, name: str = "flow") -> types.ModuleType:
    """A module made of ``source``, as a file would define it, with a list ``ran`` that bodies add to."""
    module = types.ModuleType(name)
    path = program.folder / f"{name}.py"
    path.write_text(textwrap.dedent(source))
    module.__file__ = str(path)
    module.ran = program.ran
    module.fails = program.fails
    linecache.checkcache()
    sys.modules[name] = module
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def _program(tmp_path):
    program.folder = tmp_path
    program.ran = []
    program.fails = set()


def failing(call):
    with pytest.raises(ValueError, match="asked to fail"):
        call()


CHAIN = """
    import asyncio
    import flyte

    env = flyte.TaskEnvironment("e")

    def add(a, b):
        return a + b

    @env.task
    async def leaf(x: int) -> int:
        ran.append(("leaf", x))
        if ("leaf", x) in fails:
            raise ValueError("asked to fail")
        return add(x, 1)

    @env.task
    async def middle(x: int) -> int:
        ran.append(("middle", x))
        first = await leaf(x)
        second = await leaf(x + 100)
        if ("middle", x) in fails:
            raise ValueError("asked to fail")
        return first + second

    @env.task
    async def main(n: int) -> int:
        ran.append("main")
        return sum(await asyncio.gather(*[middle(i) for i in range(n)]))
"""


def test_what_ended_well_is_not_run_again():
    flow = program(CHAIN)
    flow.fails.add(("leaf", 101))
    failing(lambda: flyte.run(flow.main, 2))
    flow.ran.clear()
    flow.fails.clear()
    assert flyte.with_runcontext(recover_from="last").run(flow.main, 2).result == 1 + 101 + 2 + 102
    assert flow.ran == ["main", ("middle", 1), ("leaf", 101)]


def test_a_run_that_succeeded_is_taken_whole_but_not_with_other_inputs():
    flow = program(CHAIN)
    first = flyte.run(flow.main, 1)
    flow.ran.clear()
    again = flyte.with_runcontext(recover_from=first.name).run(flow.main, 1)
    assert again.result == first.result
    assert flow.ran == []
    flyte.with_runcontext(recover_from=first.name).run(flow.main, 2)
    assert flow.ran == ["main", ("middle", 1), ("leaf", 1), ("leaf", 101)]


def test_recovery_goes_back_through_all_earlier_runs():
    flow = program(CHAIN)
    flow.fails.add(("middle", 1))
    failing(lambda: flyte.run(flow.main, 3))
    flow.fails = vars(flow)["fails"]
    # The second run does not even get to what the first had done.
    flow.fails.add(("leaf", 0))
    edited = program(CHAIN.replace("return sum(", "raise ValueError('asked to fail')\n        return sum("))
    failing(lambda: flyte.with_runcontext(recover_from="last").run(edited.main, 3))
    flow.fails.clear()
    flow.ran.clear()
    flow = program(CHAIN)
    flyte.with_runcontext(recover_from="last").run(flow.main, 3)
    assert flow.ran == ["main", ("middle", 1)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("return add(x, 1)", "return add(x, 2)", ["leaf"]),  # the body itself
        ("return a + b", "return a + b + 0", ["leaf"]),  # a function that the body calls
        ("return first + second", "return second + first", []),  # what calls it
        ("# nothing", "# a comment", None),
    ],
)
def test_only_what_changed_and_what_depends_on_it_runs_again(old, new, expected):
    source = CHAIN + "    # nothing\n"
    flow = program(source)
    flyte.run(flow.main, 1)
    flow.ran.clear()
    flow = program(source.replace(old, new))
    flyte.with_runcontext(recover_from="last").run(flow.main, 1)
    if expected is None:
        assert flow.ran == []
        return
    assert flow.ran[:2] == ["main", ("middle", 0)]
    assert {what for what, _ in flow.ran[2:]} == set(expected)


def test_what_is_below_a_changed_task_is_kept_when_it_did_not_change():
    flow = program(CHAIN)
    flyte.run(flow.main, 1)
    flow.ran.clear()
    flow = program(CHAIN.replace("first = await leaf(x)", "first = await leaf(x) + await leaf(7)"))
    assert flyte.with_runcontext(recover_from="last").run(flow.main, 1).result == 1 + 8 + 101
    assert flow.ran == ["main", ("middle", 0), ("leaf", 7)]


def test_the_latest_result_of_several_runs_counts():
    flow = program(CHAIN)
    flow.fails.add(("middle", 0))
    failing(lambda: flyte.run(flow.main, 1))
    changed = program(CHAIN.replace("return add(x, 1)", "return add(x, 10)"))
    failing(lambda: flyte.with_runcontext(recover_from="last").run(changed.main, 1))
    changed.fails.clear()
    changed.ran.clear()
    assert flyte.with_runcontext(recover_from="last").run(changed.main, 1).result == 10 + 110
    assert changed.ran == ["main", ("middle", 0)]


def test_equal_calls_are_told_apart_by_their_number_and_group():
    flow = program(
        """
        import asyncio
        import flyte

        env = flyte.TaskEnvironment("e")

        @env.task
        async def draw() -> int:
            ran.append("draw")
            return len(ran)

        @env.task
        async def main() -> list[int]:
            drawn = await asyncio.gather(draw(), draw(), draw())
            with flyte.group("g"):
                drawn.append(await draw())
            if "main" in fails:
                raise ValueError("asked to fail")
            return drawn
        """
    )
    flow.fails.add("main")
    failing(lambda: flyte.run(flow.main))
    flow.fails.clear()
    assert flyte.with_runcontext(recover_from="last").run(flow.main).result == [1, 2, 3, 4]
    assert flow.ran == ["draw"] * 4


def test_a_repeated_attempt_finds_what_the_one_before_had_done():
    flow = program(
        """
        import flyte

        env = flyte.TaskEnvironment("e")

        @env.task
        async def leaf(x: int) -> int:
            ran.append(x)
            return x

        @env.task(retries=2)
        async def main() -> int:
            attempt = flyte.ctx().attempt_number
            total = await leaf(1) + await leaf(2)
            if attempt < 2:
                raise ValueError("asked to fail")
            return total
        """
    )
    assert flyte.run(flow.main).result == 3
    assert flow.ran == [1, 2]


def test_traces_of_all_kinds_are_taken_from_the_earlier_run():
    flow = program(
        """
        from typing import AsyncIterator
        import flyte

        env = flyte.TaskEnvironment("e")

        @flyte.trace
        async def a(x: int) -> int:
            ran.append("a")
            return x

        @flyte.trace
        def b(x: int):
            ran.append("b")
            return {"x": [x, None, 1.5], "t": (1, 2)}

        @flyte.trace
        async def c(n: int) -> AsyncIterator[int]:
            ran.append("c")
            for i in range(n):
                yield i

        @flyte.trace
        def d(n: int):
            ran.append("d")
            yield from range(n)

        @env.task
        async def main() -> str:
            got = [await a(1), b(2), [i async for i in c(3)], list(d(2))]
            if "main" in fails:
                raise ValueError("asked to fail")
            return repr(got)

        @env.task
        def blocking() -> str:
            got = [b(2), list(d(2))]
            if "main" in fails:
                raise ValueError("asked to fail")
            return repr(got)
        """
    )
    for task, steps in ((flow.main, ["a", "b", "c", "d"]), (flow.blocking, ["b", "d"])):
        flow.ran.clear()
        flow.fails.add("main")
        failing(lambda task=task: flyte.run(task))
        assert flow.ran == steps
        flow.fails.clear()
        result = flyte.with_runcontext(recover_from="last").run(task).result
        assert flow.ran == steps
        assert "{'x': [2, None, 1.5], 't': (1, 2)}" in result


def test_a_generator_that_was_left_early_runs_again():
    flow = program(
        """
        import flyte

        env = flyte.TaskEnvironment("e")

        @flyte.trace
        def numbers(n: int):
            for i in range(n):
                ran.append(i)
                yield i

        @env.task
        def main() -> int:
            for i in numbers(10):
                if i == 2:
                    break
            if "main" in fails:
                raise ValueError("asked to fail")
            return i
        """
    )
    flow.fails.add("main")
    failing(lambda: flyte.run(flow.main))
    flow.fails.clear()
    assert flyte.with_runcontext(recover_from="last").run(flow.main).result == 2
    assert flow.ran == [0, 1, 2, 0, 1, 2]


def test_durable_time_and_chance_are_the_same_again():
    flow = program(
        """
        import time
        import flyte, flyte.durable

        env = flyte.TaskEnvironment("e")

        @env.task
        async def main() -> list[str]:
            seen = [str(flyte.durable.time()), str(flyte.durable.now()), str(flyte.durable.random())]
            seen.append(str(await flyte.durable.random.aio()))
            ran.append(seen)
            began = time.monotonic()
            await flyte.durable.sleep.aio(0.3)
            ran.append(time.monotonic() - began)
            if "main" in fails:
                raise ValueError("asked to fail")
            return seen
        """
    )
    flow.fails.add("main")
    failing(lambda: flyte.run(flow.main))
    flow.fails.clear()
    result = flyte.with_runcontext(recover_from="last").run(flow.main).result
    first, slept, second, slept_again = flow.ran
    assert first == second == result
    assert len(set(first)) == 4
    assert slept >= 0.29
    assert slept_again < 0.1


def test_large_values_are_kept_once_and_found_again(tmp_path):
    flow = program(
        """
        import flyte

        env = flyte.TaskEnvironment("e")

        @env.task
        async def double(text: str) -> str:
            ran.append(len(text))
            return text + text

        @env.task
        async def main() -> int:
            text = await double("x" * 400_000)
            text = await double(text)
            if "main" in fails:
                raise ValueError("asked to fail")
            return len(text)
        """
    )
    flow.fails.add("main")
    failing(lambda: flyte.run(flow.main))
    kept = [path for path in (home_dir() / "local" / "values").rglob("*") if path.is_file()]
    assert len(kept) == 4  # inputs and outputs of two calls
    flow.fails.clear()
    assert flyte.with_runcontext(recover_from="last").run(flow.main).result == 1_600_000
    assert flow.ran == [400_000, 800_000]
    # A value that is damaged is as if it were not there.
    for path in kept:
        path.write_bytes(b"damaged")
    flow.ran.clear()
    flow = program(Path(flow.__file__).read_text().replace("return len(text)", "return len(text) + 0"))
    assert flyte.with_runcontext(recover_from="last").run(flow.main).result == 1_600_000
    assert flow.ran == [400_000, 800_000]


def test_a_checkpoint_of_the_earlier_run_is_found():
    flow = program(
        """
        import flyte

        env = flyte.TaskEnvironment("e")

        @env.task
        async def main() -> int:
            saved = flyte.ctx().checkpoint
            path = await saved.load()
            step = int(path.read_text()) if path else 0
            ran.append(step)
            if "main" in fails:
                if step == 0:
                    await saved.save(str(step + 1).encode())
                raise ValueError("asked to fail")
            return step
        """
    )
    flow.fails.add("main")
    failing(lambda: flyte.run(flow.main))
    failing(lambda: flyte.with_runcontext(recover_from="last").run(flow.main))
    flow.fails.clear()
    assert flyte.with_runcontext(recover_from="last").run(flow.main).result == 1
    assert flow.ran == [0, 1, 1]


def test_what_cannot_be_recovered_from_is_said():
    flow = program(CHAIN)
    for name in ("last", "nope"):
        with pytest.raises(RunRecoveryError, match=f"recover_from='{name}'"):
            flyte.with_runcontext(recover_from=name).run(flow.main, 1)
    made = flyte.run(flow.main, 1)
    with pytest.raises(RunRecoveryError, match=r"is of task 'e\.main'"):
        flyte.with_runcontext(recover_from=made.name).run(flow.leaf, 1)
    with pytest.raises(TypeError, match="recover_from takes the name of a run"):
        flyte.with_runcontext(recover_from=1)


async def test_a_run_that_still_runs_is_not_recovered_from():
    env = flyte.TaskEnvironment("alive")
    begun, go_on = asyncio.Event(), asyncio.Event()

    @env.task
    async def waits() -> int:
        begun.set()
        await go_on.wait()
        return 1

    running = asyncio.create_task(flyte.with_runcontext(name="running").run.aio(waits))
    await begun.wait()
    await asyncio.sleep(0.1)
    with pytest.raises(RunRecoveryError, match="still runs, in process"):
        await flyte.with_runcontext(recover_from="running").run.aio(waits)
    go_on.set()
    await running


def test_without_a_history_nothing_is_recovered(monkeypatch):
    flow = program(CHAIN)
    flyte.run(flow.main, 1)
    monkeypatch.setenv("FLYTE_JOURNAL", "off")
    with pytest.raises(RunRecoveryError, match="needs the history of runs"):
        flyte.with_runcontext(recover_from="last").run(flow.main, 1)
    flow.ran.clear()
    assert flyte.run(flow.main, 1).result == 102
    monkeypatch.setenv("FLYTE_JOURNAL", "perhaps")
    with pytest.raises(ValueError, match="FLYTE_JOURNAL='perhaps'"):
        flyte.run(flow.main, 1)


def test_rerun_takes_the_inputs_of_then_and_the_code_of_now():
    flow = program(CHAIN)
    first = flyte.run(flow.main, 2)
    flow.ran.clear()
    assert flyte.rerun(first.name).result == first.result
    assert len(flow.ran) == 1 + 2 + 4
    flow.ran.clear()
    assert flyte.rerun(first.name, recover=True).result == first.result
    assert flow.ran == []
    assert flyte.rerun(first.name, n=1).result == 102
    with pytest.raises(RunRecoveryError, match="no run 'nope'"):
        flyte.rerun("nope")
    with pytest.raises(RunRecoveryError, match="no task action 'a1'"):
        flyte.rerun(first.name, "a1")


async def test_rerun_from_async_code():
    flow = program(CHAIN)
    first = await flyte.run.aio(flow.main, 1)
    assert (await flyte.rerun.aio(first.name)).result == first.result
