"""How long it takes to open a large run of the history: as Python and as commands.

$ python tests/benchmarks/measure_history.py --actions 100000

Makes a real run of that many actions in a state folder of its own, then opens it, each way three times in a new
process, and prints the shortest time in seconds. The target is below 1 s for 100,000 actions.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import flyte

env = flyte.TaskEnvironment(name="history_benchmark")


@env.task
async def step(x: int) -> int:
    return x


@env.task
async def main(n: int) -> int:
    total = 0
    for start in range(0, n, 1000):
        total += sum(await asyncio.gather(*[step(i) for i in range(start, min(start + 1000, n))]))
    return total


OPEN = """
import time
began = time.perf_counter()
from flyte._journal.history import History
with History() as history:
    actions = history.actions(history.run("large").id)
    tasks = history.tasks({one.task for one in actions})
print(time.perf_counter() - began, len(actions))
"""
LIST = """
import time
began = time.perf_counter()
from flyte.remote import Action
actions = list(Action.listall("large"))
print(time.perf_counter() - began, len(actions))
"""
COMMANDS = {
    "flyte get run large": ["get", "run", "large"],
    "flyte get action large": ["get", "action", "large"],
    "flyte get action large ACTION": ["get", "action", "large", "a0"],
    "flyte get io large": ["get", "io", "large"],
    "flyte why large": ["why", "large"],
}


def shortest(call, times: int = 3) -> float:
    return min(call() for _ in range(times))


def python(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[0])


def command(args: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "flyte.cli.main", *args], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def measure(actions: int) -> dict[str, float]:
    began = time.perf_counter()
    flyte.with_runcontext("local", name="large").run(main, actions)
    figures = {"the run itself": time.perf_counter() - began}
    figures["History.actions, a new process"] = shortest(lambda: python(OPEN))
    figures["remote.Action.listall, a new process"] = shortest(lambda: python(LIST))
    for name, args in COMMANDS.items():
        figures[f"$ {name}"] = shortest(lambda args=args: command(args))
    began = time.perf_counter()
    command(["delete", "run", "large"])
    figures["$ flyte delete run large"] = time.perf_counter() - began
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--actions", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLYTE_HOME"] = str(Path(folder, "home"))
        for what, seconds in measure(given.actions).items():
            print(f"{what:<40} {seconds:8.3f} s")
