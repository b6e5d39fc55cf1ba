"""Testing a workflow: no waiting for retries, stand-ins for tasks, replay, and crashes at every possible moment.

$ python examples/testing_workflows.py
$ flyte run examples/testing_workflows.py main --item tea
"""

from datetime import timedelta

import flyte
from flyte.testing import ManualClock, mock, replay, simulate, with_testcontext

env = flyte.TaskEnvironment(name="testing_workflows")
daily = flyte.RetryStrategy(count=3, backoff=flyte.Backoff(base=timedelta(days=1)))
charged: list[str] = []  # stands for the bank: it survives a crash of ours


@env.task(retries=daily)
async def charge(item: str, price: int) -> str:
    charged.append(item)
    return f"{price} paid for {item}"


@env.task
async def price_of(item: str) -> int:
    return len(item)


@env.task
async def main(item: str = "tea") -> str:
    return await charge(item, await price_of(item))


def test_the_bank_is_closed_for_two_days() -> None:
    clock = ManualClock()
    with mock(charge, side_effect=[ConnectionError("closed"), ConnectionError("closed"), "paid"]) as bank:
        run = with_testcontext(clock).run(main, "tea")
    assert run.result == "paid"
    print(f"{bank.call_count} calls such as {bank.calls[0]}, and {timedelta(seconds=round(clock.elapsed_s))} went by")


def test_what_was_recorded_still_holds() -> None:
    recorded = flyte.run(main, "jam")
    charged.clear()
    replayed = replay(recorded.name)
    print(f"replayed {len(replayed.reused)} calls, charged {len(charged)} times: {recorded.result}")


def test_crashes() -> None:
    counts: list[int] = []

    def check(_run: object) -> None:
        counts.append(len(charged))
        charged.clear()

    charged.clear()
    simulate(main, "tea", seed=1, runs=50, check=check)
    print(f"50 runs with crashes end alike; a crash in the middle of a charge can charge {max(counts)} times")


if __name__ == "__main__":
    test_the_bank_is_closed_for_two_days()
    test_what_was_recorded_still_holds()
    test_crashes()
