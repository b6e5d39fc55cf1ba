"""People in the loop: a run waits, for seconds or weeks, until somebody has decided; here a clerk who is a program.

$ python examples/approval.py
$ flyte run examples/approval.py main --amount 250.0

On a terminal you are asked as well, and elsewhere ``flyte signal RUN "refund Ada" '{"approved": true}'`` answers. Kill
the run while it waits, and ``flyte run --recover-from last examples/approval.py main`` finds what was said meanwhile.
"""

import asyncio
from dataclasses import dataclass

import flyte
from flyte.errors import ConditionTimedoutError, RuntimeUserError

env = flyte.TaskEnvironment(name="approval")


@dataclass
class Decision:
    approved: bool
    note: str = "no note"


@env.task
async def refund(customer: str, amount: float, patience_s: float) -> str:
    condition = await flyte.new_condition.aio(
        f"refund {customer}",
        prompt=f"Refund {amount:.2f} to {customer}?",
        data_type=Decision,
        timeout=patience_s,
    )
    # It can be answered from here on; until wait() there is time for other work.
    try:
        decision = await condition.wait.aio()
    except ConditionTimedoutError:
        return f"{customer}: nobody has decided, so nothing is paid"
    return f"{customer}: {f'{amount:.2f} paid' if decision.approved else 'refused'} ({decision.note})"


async def clerk(run: str) -> None:
    await asyncio.sleep(0.5)
    for customer, decision in {"Ada": Decision(True, "a good customer"), "Bob": Decision(False)}.items():
        try:
            await flyte.signal.aio(run, f"refund {customer}", decision, by="the clerk")
        except RuntimeUserError as error:  # you were quicker; the first answer counts
            print(error)


@env.task
async def main(amount: float = 250.0) -> list[str]:
    work = [refund("Ada", amount, 60.0), refund("Bob", amount, 60.0), refund("Cleo", amount, 0.2)]
    *refunds, _ = await asyncio.gather(*work, clerk(flyte.ctx().action.run_name))
    return refunds


if __name__ == "__main__":
    print(*flyte.run(main).result, sep="\n")
