"""Memory that a devbox keeps for each action that has ended: through gRPC and SQLite, with an executor that writes
outputs and starts nothing.

Run with ``python tests/devbox/benchmarks/memory.py [ACTIONS]``. The client is a process of its own.
"""

import asyncio
import gc
import os
import sys
import tempfile
from pathlib import Path

import enqueue
from flyteidl2.common.phase_pb2 import ActionPhase
from flyteidl2.core.tasks_pb2 import Container, TaskTemplate
from flyteidl2.task.common_pb2 import Outputs
from flyteidl2.task.task_definition_pb2 import TaskSpec

from flyte.devbox._plane import Devbox
from flyte.devbox.executors.executor import Exit

AT_MOST_KB = 5.0
enqueue.SPEC = TaskSpec(
    task_template=TaskTemplate(type="python", container=Container(image="none", args=["a0", "-o", "{{.outputPrefix}}"]))
)


class AtOnce(enqueue.NoExecutor):
    """The first action of a run goes on, its children end at once."""

    def start(self, order):
        prefix = Path(order.argv[2])
        prefix.mkdir(parents=True)
        if prefix.parent.name != "a0":
            (prefix / "outputs.pb").write_bytes(Outputs().SerializeToString())
        return f"1:{prefix.parent.name}"

    async def wait(self, ticket, memory_bytes=0):
        if ticket == "1:a0":
            await asyncio.Event().wait()
        return Exit(0)


def resident_kb() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        devbox = Devbox(Path(home) / "devbox", executor=AtOnce(), places=64)
        await devbox.start()
        run = await enqueue.new_run(devbox, base=home)
        # The first ones fill what is filled once: caches, pools, the database's pages.
        await enqueue.client(devbox, run, 0, 1000, ActionPhase.ACTION_PHASE_SUCCEEDED, home)
        before = resident_kb()
        await enqueue.client(devbox, run, 1, count, ActionPhase.ACTION_PHASE_SUCCEEDED, home)
        each = (resident_kb() - before) / count
        print(f"{each:.2f} KB for each of {count:,} finished actions (at most {AT_MOST_KB:g})")
        await devbox.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        enqueue.as_client(sys.argv)
    else:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
