"""Recovery: a run that was killed is taken up where it was; what had ended is not done again.

$ python examples/recovery.py
$ flyte run examples/recovery.py main --folds 2
"""

import asyncio
import os
import signal
import subprocess
import sys

import flyte
import flyte.durable

env = flyte.TaskEnvironment(name="recovery")


@flyte.trace
async def ask_model(question: str) -> str:
    print(f"  asked {question!r}")
    return f"{question} at {await flyte.durable.now.aio():%H:%M}, dice says {1 + int(6 * flyte.durable.random())}"


@env.task
async def train(fold: int) -> float:
    print(f"  trained fold {fold}")
    await asyncio.sleep(0.05)
    return fold / 10


@env.task
async def main(folds: int = 4) -> str:
    answer = await ask_model("rain?")
    total = 0.0
    for fold in range(folds):
        if fold == 2 and os.environ.get("POWER_CUT"):
            os.kill(os.getpid(), signal.SIGKILL)  # nothing can be cleaned up after this
        total += await train(fold)
    return f"{answer}: {total:.1f}"


if __name__ == "__main__":
    if os.environ.get("POWER_CUT"):
        flyte.run(main)
    print("a first run, which is killed:", flush=True)
    killed = subprocess.run([sys.executable, __file__], env={**os.environ, "POWER_CUT": "1"})
    print(f"it ended by signal {-killed.returncode}; a second run goes on:", flush=True)
    # The same from the shell: flyte run --recover-from last FILE TASK, or flyte rerun last --recover.
    print(flyte.with_runcontext(recover_from="last").run(main).result)
