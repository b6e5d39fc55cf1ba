"""A real devbox: its process, a client of plain stubs, and tasks in a code bundle."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc.aio
import pytest
from flyteidl2.actions.actions_service_pb2_grpc import ActionsServiceStub
from flyteidl2.auth.identity_pb2_grpc import IdentityServiceStub
from flyteidl2.cluster.service_pb2_grpc import ClusterServiceStub
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.phase_pb2 import ActionPhase
from flyteidl2.core.identifier_pb2 import TASK
from flyteidl2.core.identifier_pb2 import Identifier as CoreIdentifier
from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.core.tasks_pb2 import Container, TaskTemplate
from flyteidl2.dataproxy.dataproxy_service_pb2_grpc import DataProxyServiceStub
from flyteidl2.project.project_service_pb2_grpc import ProjectServiceStub
from flyteidl2.secret.secret_pb2_grpc import SecretServiceStub
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.task.task_service_pb2_grpc import TaskServiceStub
from flyteidl2.trigger.trigger_service_pb2_grpc import TriggerServiceStub
from flyteidl2.workflow import run_service_pb2 as service
from flyteidl2.workflow.run_service_pb2_grpc import RunServiceStub

from flyte._core.code_bundle import CodeBundle
from flyte._core.command import container_args
from flyte._package.bundle import build_bundle
from flyte.devbox._lifecycle import read_endpoint

FLOW = """
    import asyncio, os, time
    from pathlib import Path
    import flyte

    env = flyte.TaskEnvironment("shop")

    @env.task
    async def double(x: int) -> int:
        print("doubling", x)
        return 2 * x

    @env.task
    async def fails(x: int) -> int:
        raise ValueError(f"bad {x}")

    @env.task
    async def final(x: int) -> int:
        raise flyte.errors.NonRecoverableError("never again")

    @env.task
    async def third_time(x: int) -> int:
        if flyte.ctx().attempt_number < 2:
            raise RuntimeError("not yet")
        return flyte.ctx().attempt_number

    @env.task
    async def sleeps(x: int) -> int:
        print("sleeping", flush=True)
        mark = os.environ.get("MARK")
        if mark:
            Path(mark).write_text(str(os.getpid()))
        if marks := os.environ.get("MARKS"):
            with open(marks, "a") as lines:
                lines.write(f"{os.getpid()}\\n")
        await asyncio.sleep(x)
        return x

    @env.task
    async def stays(x: int) -> int:
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(os.environ["MARK"]).write_text(str(os.getpid()))
        time.sleep(x)
        return x

    @env.task
    async def starts_another(x: int) -> int:
        import subprocess
        other = subprocess.Popen(["sleep", "60"])
        Path(os.environ["MARK"]).write_text(f"{os.getpid()} {other.pid}")
        await asyncio.sleep(x)
        return x

    @env.task
    def dies(x: int) -> int:
        os.kill(os.getpid(), x)
        time.sleep(10)
        return x

    @env.task
    async def secret(x: int) -> str:
        return os.environ["API_KEY"] + os.environ.get("COLOUR", "")

    @env.task(report=True)
    async def reports(x: int) -> None:
        import flyte.report
        flyte.report.log("<p>said</p>")
        flyte.report.flush()
"""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("project")
    (folder / "flow.py").write_text(textwrap.dedent(FLOW))
    return str(build_bundle(folder, tmp_path_factory.mktemp("bundles"), style="all").tgz)


@pytest.fixture
def spec_of(bundle):
    """The spec of a task of the flow above."""

    def make(task: str, env: dict[str, str] | None = None, version: str = "v1") -> TaskSpec:
        args = container_args(
            version=version,
            code_bundle=CodeBundle(computed_version=version, tgz=bundle),
            loader_args=("mod", "flow", "instance", task),
        )
        template = TaskTemplate(
            id=CoreIdentifier(
                resource_type=TASK, org="me", project="p", domain="d", name=f"shop.{task}", version=version
            ),
            type="python",
            container=Container(
                image="none", args=args, env=[KeyValuePair(key=k, value=v) for k, v in (env or {}).items()]
            ),
        )
        template.metadata.discovery_version = version
        spec = TaskSpec(task_template=template, short_name=task)
        spec.environment.name = "shop"
        return spec

    return make


def number(x: int) -> Inputs:
    inputs = Inputs()
    inputs.literals.add(name="x").value.scalar.primitive.integer = x
    return inputs


class Client:
    """All stubs of one channel, with the token."""

    def __init__(self, folder: Path, token: str | None = None) -> None:
        said = read_endpoint(folder)
        assert said is not None
        shown = (folder / "token").read_text() if token is None else token
        self.metadata = (("authorization", f"Bearer {shown}"),)
        self.channel = grpc.aio.insecure_channel(said["endpoint"].removeprefix("dns:///"))
        for name, stub in {
            "runs": RunServiceStub,
            "actions": ActionsServiceStub,
            "data": DataProxyServiceStub,
            "tasks": TaskServiceStub,
            "triggers": TriggerServiceStub,
            "secrets": SecretServiceStub,
            "projects": ProjectServiceStub,
            "clusters": ClusterServiceStub,
            "identity": IdentityServiceStub,
        }.items():
            setattr(self, name, self._bound(stub(self.channel)))

    def _bound(self, stub):
        def with_token(call):
            return lambda request, **more: call(request, metadata=self.metadata, **{"timeout": 30, **more})

        return SimpleNamespace(**{name: with_token(call) for name, call in vars(stub).items()})

    async def run(self, spec: TaskSpec, inputs: Inputs | None = None, name: str = "", **run_spec) -> RunIdentifier:
        request = service.CreateRunRequest(task_spec=spec, inputs=inputs or number(21), run_spec=run_spec)
        if name:
            request.run_id.CopyFrom(RunIdentifier(org="me", project="p", domain="d", name=name))
        else:
            request.project_id.organization, request.project_id.name, request.project_id.domain = "me", "p", "d"
        return (await self.runs.CreateRun(request)).run.action.id.run

    async def wait(self, run: RunIdentifier, name: str = "a0", phase: int | None = None):
        """The details of an action when it has ended, or has come to ``phase``."""
        request = service.WatchActionDetailsRequest(action_id=ActionIdentifier(run=run, name=name))
        details = None
        async for one in self.runs.WatchActionDetails(request):
            details = one.details
            if phase is not None and details.status.phase == phase:
                break
        return details

    async def close(self) -> None:
        await self.channel.close()


@asynccontextmanager
async def connected(folder: Path, token: str | None = None) -> AsyncIterator[Client]:
    client = Client(folder, token)
    try:
        yield client
    finally:
        await client.close()


class DevboxProcess:
    """``python -m flyte.devbox`` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "devbox"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {}

    def start(self, *words: str) -> float:
        """Start it; how long it took to be ready, in seconds."""
        begun = time.monotonic()
        with (self.home / "devbox.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flyte.devbox", *words],
                env={**os.environ, "FLYTE_HOME": str(self.home), **self.environ},
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        while (read_endpoint(self.folder) or {}).get("pid") != self.process.pid:
            assert self.process.poll() is None, (self.home / "devbox.log").read_text()
            assert time.monotonic() - begun < 20
            time.sleep(0.01)
        return time.monotonic() - begun

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def devbox(tmp_path):
    box = DevboxProcess(tmp_path)
    yield box
    box.stop()


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    box = DevboxProcess(tmp_path_factory.mktemp("shared"))
    box.environ["FROM_OUTSIDE"] = "1"
    box.start()
    yield box
    box.stop()


@pytest.fixture
async def client(shared_home) -> AsyncIterator[Client]:
    """A client of a devbox that several tests share."""
    async with connected(shared_home.folder) as one:
        yield one


PHASE = ActionPhase
__all__ = ["PHASE", "Client", "DevboxProcess", "asyncio", "connected", "number"]
