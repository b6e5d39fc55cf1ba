"""What a child that is waited for costs the process of its parent, in memory.

    python tests/benchmarks/measure_waiting.py [--children 10000] [--at-once 1000]

The control plane is a process of its own, on loopback: it takes every child, says that it runs, and never ends one
before it is told to. What is measured is the growth of this process alone.
"""

import argparse
import asyncio
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import flyte

env = flyte.TaskEnvironment("waiting")


@env.task
async def child(x: int) -> int:
    """Never run here."""
    return x


async def serve(outputs: str) -> None:
    """The control plane: prints its port, and ends all children when a line comes in."""
    import grpc
    from flyteidl2.actions import actions_service_pb2 as pb
    from flyteidl2.actions.actions_service_pb2_grpc import ActionsServiceServicer, add_ActionsServiceServicer_to_server
    from flyteidl2.common.phase_pb2 import ActionPhase
    from flyteidl2.workflow.state_service_pb2 import ActionUpdate, ControlMessage

    class Plane(ActionsServiceServicer):
        def __init__(self) -> None:
            self.news: asyncio.Queue[Any] = asyncio.Queue()
            self.taken: list[Any] = []
            self.ending = False

        def tell(self, action_id: Any) -> None:
            phase = ActionPhase.ACTION_PHASE_SUCCEEDED if self.ending else ActionPhase.ACTION_PHASE_RUNNING
            self.news.put_nowait(ActionUpdate(action_id=action_id, phase=phase, output_uri=outputs))

        async def Enqueue(self, request: Any, context: Any) -> Any:
            self.taken.append(request.action.action_id)
            self.tell(request.action.action_id)
            return pb.EnqueueResponse()

        async def WatchForUpdates(self, request: Any, context: Any) -> AsyncIterator[Any]:
            yield pb.WatchForUpdatesResponse(control_message=ControlMessage(sentinel=True))
            while True:
                yield pb.WatchForUpdatesResponse(action_update=await self.news.get())

    plane = Plane()
    server = grpc.aio.server()
    add_ActionsServiceServicer_to_server(plane, server)  # type: ignore[no-untyped-call]
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.readline)
    plane.ending = True
    for action_id in list(plane.taken):
        plane.tell(action_id)
    await asyncio.to_thread(sys.stdin.readline)
    await server.stop(0)


def resident_bytes() -> int:
    """Memory of this process."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def measure(port: int, children: int, at_once: int, folder: str, server: Any) -> None:
    """Wait for the children, and print what that costs.

    :param at_once: how many of them the control plane has at a time; the product's own limit if 0.
    """
    from flyte._control import remote_children
    from flyte._control.remote import RemoteController
    from flyte._core.code_bundle import CodeBundle, SerializationContext
    from flyte._core.context import Execution, TaskContext, current
    from flyte.remote._channel import NoCredentials
    from flyte.remote._client import Client
    from flyte.remote._connection import Connection
    from flyte.remote._endpoint import parse_endpoint
    from flyte.remote._enqueue import ActionsClient

    remote_children.CHILDREN = at_once or remote_children.CHILDREN
    there = Connection(endpoint=parse_endpoint(f"127.0.0.1:{port}"), insecure=True)
    client = ActionsClient(Client(there, NoCredentials(), retried=False))
    bundle = CodeBundle(computed_version="v1", pkl="unused.pkl.gz")
    sctx = SerializationContext(version="v1", project="p", domain="d", org="o", code_bundle=bundle)
    controller = RemoteController(client, sctx)
    loop = asyncio.get_running_loop()
    execution = Execution(
        run_name="run1",
        controller=controller,
        loop=loop,
        mode="remote",
        project="p",
        domain="d",
        org="o",
        version="v1",
        run_base_dir=folder,
    )
    scope = TaskContext(execution, None, "", None)
    current.set(TaskContext(execution, scope, "waiting.main", "a0"))
    warm = [asyncio.create_task(child(-x - 1)) for x in range(100)]
    await asyncio.sleep(1)
    gc.collect()
    before = resident_bytes()
    begun = time.perf_counter()
    calls = [asyncio.create_task(child(x)) for x in range(children)]
    family = next(iter(controller._families.values()))
    settled = min(children + 100, remote_children.CHILDREN)
    while sum(known.is_known for known in family.ledger) < settled:
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    started_s = time.perf_counter() - begun
    gc.collect()
    grown = resident_bytes() - before
    print(f"{children} children wait after {started_s:.1f} s: {grown / children / 1024:.2f} KB each, {grown >> 20} MB")
    server.stdin.write(b"end\n")
    server.stdin.flush()
    begun = time.perf_counter()
    results = await asyncio.gather(*warm, *calls)
    took_s = time.perf_counter() - begun
    print(f"all ended {took_s:.1f} s later: {len(results) / took_s:.0f} children a second, {len(family.ledger)} kept")
    await controller.stop()
    await client.close()


def main() -> int:
    """Start the control plane and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--children", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=0, help="how many are started; the product's limit if not given")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.serve:
        asyncio.run(serve(said.serve))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        from flyteidl2.task.common_pb2 import Outputs

        outputs = Outputs()
        outputs.literals.add(name="o0").value.scalar.primitive.integer = 1
        (Path(folder) / "outputs.pb").write_bytes(outputs.SerializeToString())
        argv = [sys.executable, __file__, "--serve", folder]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None and server.stdin is not None
            try:
                asyncio.run(
                    measure(int(server.stdout.readline()), said.children, said.at_once, f"{folder}/base", server)
                )
            finally:
                server.stdin.write(b"end\nstop\n")
                server.stdin.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
