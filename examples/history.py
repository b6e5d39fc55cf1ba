"""History: every run is remembered, and what it did, took and gave can be looked up when it is long over.

$ python examples/history.py
$ flyte run examples/history.py main --rows 3

The same in a shell: flyte get run, flyte get action last, flyte get io last clean, flyte get logs last, flyte why last.
"""

import asyncio

import flyte
from flyte.remote import Action, Run

env = flyte.TaskEnvironment(name="history")


@env.task
async def clean(row: int) -> dict[str, int]:
    if row == 4:
        raise ValueError(f"row {row} is empty")
    print(f"cleaned row {row}")
    return {"row": row, "value": row * 10}


@env.task
async def main(rows: int = 3) -> int:
    return sum(cleaned["value"] for cleaned in await asyncio.gather(*[clean(row) for row in range(rows)]))


if __name__ == "__main__":
    flyte.with_runcontext(name="good-rows").run(main, rows=3)
    try:
        flyte.with_runcontext(name="bad-rows").run(main, rows=5)
    except ValueError:
        pass  # what went wrong is remembered too

    for run in Run.listall(task_name="history.main", limit=2):  # the newest first; also in another process, days later
        print(f"{run.name}: {run.phase.value}, inputs {run.inputs()}, outputs {run.outputs().named_outputs}")

    for action in Action.listall("good-rows", parent_name="a0"):
        details = action.details()
        print(f"  {details.task_name}({details.inputs()['row']}) gave {details.outputs().o0}")

    failure = Run.get("bad-rows").first_failure()
    assert failure is not None
    print(f"first failure: {failure.task_name}: {failure.error_message.splitlines()[0]}")
    print("log:", *list(Run.get("good-rows").get_logs()), sep="\n  ")
