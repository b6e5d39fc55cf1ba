"""Stand-ins for tasks: in runs and plain calls, checked against the interface, and gone afterwards."""

import asyncio

import pytest

import flyte
from flyte.errors import RuntimeDataValidationError
from flyte.testing import UnmockedTaskError, mock, run, with_testcontext

env = flyte.TaskEnvironment(name="mocks")


@env.task(retries=2)
async def charge(card: str, amount: int = 1) -> str:
    raise AssertionError("the real body ran")


@env.task
def ship(item: str, /, *, fast: bool = False) -> bool:
    raise AssertionError("the real body ran")


@env.task(cache="auto")
async def price(item: str) -> int:
    return len(item)


@env.task
async def log(line: str) -> None:
    raise AssertionError("the real body ran")


urgent = charge.override(retries=0)


@env.task
async def order(item: str) -> str:
    paid = await charge("1234", amount=await price(item))
    sent = await ship.aio(item, fast=True)
    return f"{paid}, {'sent' if sent else 'kept'}"


@env.task
def order_sync(item: str) -> bool:
    return ship(item)


@env.task
async def order_urgent() -> str:
    return await urgent("1") + await charge.override(short_name="x")("2")


def test_results_and_calls():
    with mock(charge, result="paid") as charged, mock(ship, result=True) as shipped:
        assert run(order, "tea").result == "paid, sent"
        assert run(order_sync, "jam").result is True
    assert charged.calls == [{"card": "1234", "amount": 3}]
    assert shipped.calls == [{"item": "tea", "fast": True}, {"item": "jam", "fast": False}]
    assert (charged.call_count, shipped.call_count) == (1, 2)
    with pytest.raises(AssertionError, match="the real body ran"):
        run(order_sync, "tea")


def test_in_a_plain_run_and_in_a_plain_call():
    with mock(charge, result="paid"), mock(ship, result=False) as shipped:
        assert flyte.run(order, "tea").result == "paid, kept"
        assert asyncio.run(charge("1")) == "paid"
        assert ship("x") is False
    assert shipped.call_count == 2


def test_copies_with_other_settings_get_it_too():
    with mock(charge, result="paid ") as charged:
        assert run(order_urgent).result == "paid paid "
    assert [call["card"] for call in charged.calls] == ["1", "2"]


def test_a_function_in_place_of_the_body():
    async def fake(card: str, amount: int) -> str:
        await asyncio.sleep(3600)
        return f"{amount} from {card}"

    with mock(charge, fake), mock(ship, lambda item, fast: fast):
        assert run(order, "tea").result == "3 from 1234, sent"


def test_side_effects_in_turn_with_the_tasks_own_retries():
    with mock(charge, side_effect=[ConnectionError("a"), TimeoutError, "paid"]) as charged, mock(ship, result=True):
        assert run(order, "tea").result == "paid, sent"
    assert charged.call_count == 3


def test_an_error_reaches_the_caller_as_its_own_class():
    with mock(charge, side_effect=LookupError("no card")) as charged, pytest.raises(LookupError, match="no card"):
        run(order, "tea")
    assert charged.call_count == 3  # with the retries of the task


def test_too_many_calls_for_the_side_effects():
    with mock(ship, side_effect=[True]):
        ship("x")
        with pytest.raises(AssertionError, match=r"called 2 times, but .* gives 1 results"):
            ship("y")


def test_a_task_without_a_result():
    with mock(log) as logged:
        assert asyncio.run(log("x")) is None
    assert logged.calls == [{"line": "x"}]


def test_results_of_a_mock_are_never_cached():
    with mock(price, result=100):
        assert run(price, "tea").result == 100
    with mock(price, result=200):
        assert run(price, "tea").result == 200
    assert run(price, "tea").result == 3


@mock(ship, result=True)
def test_as_a_decorator():
    assert ship("tea")


charged = mock(charge, result="paid")


@charged
async def test_as_a_decorator_of_an_async_test():
    assert await charge("1") == "paid"
    assert charged.calls == [{"card": "1", "amount": 1}]


def test_mocks_of_a_context_are_in_force_during_its_runs_only():
    context = with_testcontext(mocks=[mock(charge, result="paid"), mock(ship, result=True)])
    assert context.run(order, "tea").result == "paid, sent"
    assert context.run(order, "tea").result == "paid, sent"
    with pytest.raises(AssertionError, match="the real body ran"):
        ship("x")


def test_one_mock_over_another():
    with mock(ship, result=True):
        with mock(ship, result=False):
            assert ship("x") is False
        assert ship("x") is True


def test_tasks_that_are_not_mocked_can_be_refused():
    with mock(charge, result="paid"), mock(price, result=1):
        with pytest.raises(UnmockedTaskError, match=r"task 'mocks.ship' was called by 'mocks.order', but it is not mo"):
            with_testcontext(unmocked="error").run(order, "tea")
        with mock(ship, result=True):
            assert with_testcontext(unmocked="error").run(order, "tea").result == "paid, sent"


def test_values_are_checked_as_real_ones():
    with pytest.raises(RuntimeDataValidationError):
        mock(charge, result=3)
    with mock(ship, lambda item, fast: "yes"), pytest.raises(RuntimeDataValidationError, match=r"mocks\.ship"):
        run(order_sync, "tea")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: mock(len, result=1), "mock takes a task"),
        (lambda: mock(charge), "needs what its calls give"),
        (lambda: mock(charge, lambda card, amount: "", result=""), "not several"),
        (lambda: mock(charge, lambda card: ""), r"cannot take its parameters \(card, amount\)"),
        (lambda: mock(charge, "paid"), "takes a function"),
        (lambda: mock(charge, ship), "use its .func"),
        (lambda: mock(ship, charge.func), "must be one, too"),
        (lambda: mock(charge, side_effect=5), "takes an exception or an iterable"),
    ],
)
def test_wrong_mocks_are_refused(make, match):
    with pytest.raises(TypeError, match=match):
        make()
