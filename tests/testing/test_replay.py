"""Replay: the current code of a workflow against a recorded run, and what it says where the two part."""

import asyncio

import pytest

import flyte
from flyte.testing import ReplayDivergenceError, mock, replay, run, with_testcontext

env = flyte.TaskEnvironment(name="replayed")


class Code:
    """What an edit of the workflow would change."""

    amount = 3
    extra = False
    less = False
    group = ""
    rounds = 2
    total = 0
    ran: list[str]


@pytest.fixture(autouse=True)
def first_version():
    Code.amount, Code.extra, Code.less, Code.group, Code.rounds, Code.total = 3, False, False, "", 2, 0
    Code.ran = []


class OutOfStock(Exception):
    pass


@env.task
async def price(item: str) -> int:
    Code.ran.append("price")
    return len(item)


@env.task
def charge(card: str, amount: int) -> str:
    Code.ran.append("charge")
    if amount > 100:
        raise OutOfStock(f"{amount} is too much")
    return f"{amount} from {card}"


@env.task
async def notify(line: str) -> None:
    Code.ran.append("notify")


@flyte.trace
async def lookup(n: int) -> int:
    Code.ran.append("lookup")
    return n


@env.task
async def order(item: str) -> str:
    Code.ran.append("order")
    cost = await price(item) + await lookup(Code.rounds)
    with flyte.group(Code.group or "main"):
        paid = await charge.aio("1234", cost * Code.amount)
    if not Code.less:
        await notify(f"paid {paid}")
    if Code.extra:
        await notify("thanks")
    return f"{paid}{'!' * Code.total}"


@env.task
async def stock(amount: int) -> str:
    try:
        return await charge.aio("1", amount)
    except OutOfStock as error:
        return f"none: {error}"


@env.task
async def failing(amount: int) -> str:
    return await charge.aio("1", amount)


@env.task
async def several(n: int) -> int:
    prices = await asyncio.gather(*(price("x" * i) for i in range(n)), *(price("x") for _ in range(2)))
    return sum(prices)


def diverges(name: str, **options) -> str:
    with pytest.raises(ReplayDivergenceError) as caught:
        replay(name, **options)
    return str(caught.value)


@pytest.fixture
def recorded():
    name = run(order, "tea").name
    Code.ran.clear()
    return name


def test_nothing_runs_but_the_root(recorded):
    replayed = replay(recorded)
    assert Code.ran == ["order"]
    assert replayed.run is not None
    assert replayed.run.result == "15 from 1234"
    assert len(replayed.reused) == 4
    assert replayed.ran == ()
    assert replayed.recorded == recorded


def test_a_run_in_the_users_own_history():
    name = flyte.run(order, "tea").name
    Code.ran.clear()
    assert len(replay(name).reused) == 4
    assert len(replay("last", order, home=None).reused) >= 4


def test_calls_side_by_side_and_equal_ones():
    name = run(several, 5).name
    Code.ran.clear()
    assert len(replay(name).reused) == 7
    assert Code.ran == []


def test_another_argument(recorded):
    Code.amount = 4
    said = diverges(recorded)
    assert (
        f"replay of run {recorded!r}: 'replayed.order' (action a0) calls replayed.charge(card='1234', amount=20), "
        in (said)
    )
    assert said.endswith("which it did not then; the nearest call then had amount=15")
    assert "charge" not in Code.ran


def test_another_group(recorded):
    Code.group = "other"
    assert "the nearest call then had group 'main'" in diverges(recorded)


def test_one_call_more(recorded):
    Code.extra = True
    said = diverges(recorded)
    assert "calls replayed.notify(line='thanks')" in said
    assert "the nearest call then had line='paid 15 from 1234' (it made 1 such calls)" in said


def test_one_call_less(recorded):
    Code.less = True
    assert "also called 'replayed.notify' (action " in diverges(recorded)
    assert replay(recorded, compare=False).run is not None


def test_a_task_it_never_called(recorded):
    with mock(price, result=3):  # the stand-in has nothing to do here: the recorded result is given
        assert replay(recorded).run is not None
    name = run(failing, 5).name
    Code.ran.clear()

    @env.task(short_name="f")
    async def other(amount: int) -> str:
        return str(await price("x"))

    other.name = failing.name
    said = diverges(name, task=other)
    assert "calls replayed.price(item='x'), which it did not then; then it called replayed.charge" in said


def test_another_traced_call(recorded):
    Code.rounds = 3
    assert "traced function 'lookup' was not called with these arguments then" in diverges(recorded)


def test_another_result(recorded):
    Code.total = 1
    said = diverges(recorded)
    assert said == f"run {recorded!r} gave another result than now, '15 from 1234!'"
    assert replay(recorded, compare=False).run.result == "15 from 1234!"


def test_recorded_errors_are_raised_as_their_own_class():
    name = run(stock, 500).name
    Code.ran.clear()
    replayed = replay(name)
    assert replayed.run is not None
    assert replayed.run.result == "none: 500 is too much"
    assert Code.ran == []


def test_a_run_that_failed_fails_alike():
    with pytest.raises(OutOfStock):
        with_testcontext(name="it-failed").run(failing, 500)
    assert replay("it-failed").run is None


class TestChangedCode:
    @pytest.fixture
    def edited(self, recorded, monkeypatch):
        async def price_now(item: str) -> int:
            Code.ran.append("price now")
            return 3

        monkeypatch.setattr(price, "func", price_now)
        return recorded

    def test_its_result_is_reused(self, edited):
        assert replay(edited).run is not None
        assert Code.ran == ["order"]

    def test_it_runs(self, edited):
        assert replay(edited, changed="run").ran == ("replayed.price",)
        assert Code.ran == ["order", "price now"]

    def test_it_is_an_error(self, edited):
        assert "the code of task 'replayed.price' has changed since" in diverges(edited, changed="error")
        assert Code.ran == ["order"]


def test_nothing_is_there_to_replay(recorded):
    with pytest.raises(LookupError, match="no-such-run"):
        replay("no-such-run")
    with pytest.raises(TypeError, match=r"is of task 'replayed.order', not of 'replayed.price'"):
        replay(recorded, price)
    with pytest.raises(ValueError, match="use 'reuse', 'run' or 'error'"):
        replay(recorded, changed="no")  # type: ignore[arg-type]


async def test_in_async_code_it_says_what_to_write(recorded):
    with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(replay, \.\.\.\)"):
        replay(recorded)
