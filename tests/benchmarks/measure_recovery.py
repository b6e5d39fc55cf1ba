#!/usr/bin/env python3
"""How soon a recovered run gets to its first unfinished action.

    python tests/benchmarks/measure_recovery.py [--actions 10000] [--shape gathered|chained] [--reps 5] [--json]

A process makes a run of that many finished actions and is killed in the next one. Another one recovers it; what is
measured goes from the start of that process to the first line of the body of the unfinished action. Every finished
action must be taken from the earlier run: a body that runs again fails the measurement. The exit code is 1 when a
median is above the target.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import flyte

MOST_SECONDS = 2.0
SHAPES = ("gathered", "chained")
RECOVERS = "BENCHMARK_RECOVERS"

env = flyte.TaskEnvironment(name="recovered")


@env.task
async def work(x: int) -> int:
    assert RECOVERS not in os.environ, f"work({x}) was finished and runs again"
    return x + 1


@env.task
async def unfinished(x: int) -> int:
    if RECOVERS not in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    print(f"reached {time.time()}", flush=True)
    return x


@env.task
async def gathered(n: int) -> int:
    return await unfinished(sum(await asyncio.gather(*[work(i) for i in range(n)])))


@env.task
async def chained(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await work(x)
    return await unfinished(x)


def measured(shape: str, actions: int) -> float:
    """Seconds from the start of a process that recovers until the unfinished action runs."""
    with tempfile.TemporaryDirectory(prefix="flyte-benchmark-") as home:
        environment = {**os.environ, "FLYTE_HOME": home, "FLYTE_JOURNAL": "on"}
        argv = [sys.executable, str(Path(__file__).resolve()), "--run", shape, "--actions", str(actions)]
        killed = subprocess.run(
            argv, env=environment, cwd=home, capture_output=True, text=True, timeout=300, check=False
        )
        if killed.returncode != -signal.SIGKILL:
            sys.exit(f"the first run was not killed, but ended with {killed.returncode}: {killed.stderr[-500:]}")
        began = time.time()
        ended = subprocess.run(
            argv,
            env={**environment, RECOVERS: "1"},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        reached = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("reached ")]
        expected = actions if shape == "chained" else actions * (actions + 1) // 2
        if ended.returncode or len(reached) != 1 or f"answer {expected}" not in ended.stdout:
            sys.exit(f"the recovered run ended with {ended.returncode}: {ended.stdout[-200:]}{ended.stderr[-500:]}")
        return float(reached[0]) - began


def process(argv: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv, env=environment, cwd=environment["FLYTE_HOME"], capture_output=True, text=True, timeout=300, check=False
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--shape", choices=SHAPES, help="only this one")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the seconds of every run as JSON")
    parser.add_argument("--run", choices=SHAPES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        context = flyte.with_runcontext(name="r", recover_from="killed") if RECOVERS in os.environ else None
        context = context or flyte.with_runcontext(name="killed")
        print("answer", context.run(globals()[options.run], n=options.actions).result)
        return 0
    missed = False
    seconds = {}
    for shape in [options.shape] if options.shape else SHAPES:
        taken = seconds[shape] = [measured(shape, options.actions) for _ in range(options.reps)]
        missed = missed or median(taken) > MOST_SECONDS
        if not options.json:
            print(f"{options.actions:,} {shape}: {median(taken):.2f} s to the unfinished one (at most {MOST_SECONDS})")
    if options.json:
        print(json.dumps(seconds))
        return 0
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
