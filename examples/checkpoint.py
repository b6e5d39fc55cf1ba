"""Checkpoints: a task that fails half way continues from what it saved when it is tried again.

$ python examples/checkpoint.py
$ flyte run examples/checkpoint.py main --epochs 4
"""

import json
import tempfile
from datetime import timedelta
from pathlib import Path

import flyte

env = flyte.TaskEnvironment(name="checkpoint")
at_once = flyte.Backoff(base=timedelta(milliseconds=10))


@env.task(retries=flyte.RetryStrategy(count=2, backoff=at_once))
async def train(epochs: int) -> list[str]:
    checkpoint = flyte.ctx().checkpoint
    log: list[str] = []
    if loaded := await checkpoint.load():  # None in the first attempt
        log = json.loads(loaded.read_text())
    while len(log) < epochs:
        log.append(f"epoch {len(log)} in attempt {flyte.ctx().attempt_number}")
        # Takes the place of the one before whole or not at all, whenever the process dies.
        await checkpoint.save(json.dumps(log).encode())
        if len(log) == 2:
            raise ConnectionError("the machine is gone")
    return log


@env.task(retries=flyte.RetryStrategy(count=2, backoff=at_once))
def convert(steps: int) -> str:
    """Sync code, and a folder in place of a few bytes."""
    checkpoint = flyte.ctx().checkpoint
    if restored := checkpoint.load_sync():
        last = flyte.latest_checkpoint(restored, "*.ckpt")
        return f"continued from {last.name}" if last else "nothing was kept"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"step-{steps}.ckpt").write_text("state of a model")
        checkpoint.save_sync(folder)
    raise ConnectionError("the machine is gone again")


@env.task
async def main(epochs: int = 4) -> list[str]:
    return [*await train(epochs), await convert.aio(3)]


if __name__ == "__main__":
    print(*flyte.run(main).result, sep="\n")
