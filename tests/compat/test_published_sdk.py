"""The published SDK and this one against the same control plane, each with the runtime of either.

It is the nearest that this machine has to a Flyte 2 cluster: what the published client sends is served by our devbox,
what ours sends is run by the published runtime, and all say the same of it. The published package is in an environment
of its own, whose Python FLYTE_PEER_PYTHON names:

    python -m venv peer && peer/bin/pip install flyte==2.12.1
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from flyte.devbox._lifecycle import read_endpoint

INTEROP = Path(__file__).parent / "interop"
PEER = os.environ.get("FLYTE_PEER_PYTHON")
PATIENCE_S = 100.0
pytestmark = pytest.mark.skipif(PEER is None, reason="FLYTE_PEER_PYTHON names no Python with the published package")

GAVE = [
    "(3, 1.5, 'é', True, '2026-01-02T00:00:00+00:00', datetime.timedelta(seconds=90))",
    "([1, 2], [('a', 0.5)], <Size.LARGE: 'large'>, None)",
    "([], [], <Size.SMALL: 'small'>, 3)",
    "Item(name='penpen', count=4, weight=0.25)",
    "b'cba\\x00'",
    "6",
    "4",
    "16",
    "9",
    "[4, 5]",
    "ValueError: no 3",
]
SAW = {
    "task": ["verbs.parent", "v1"],
    "latest": "v1",
    "tasks": ["verbs.breaks", "verbs.child", "verbs.parent", "verbs.sleeps"],
    "run": ["ActionPhase.SUCCEEDED", 3, True],
    "inputs": {"x": 1},
    "actions": ["verbs.child", "verbs.child", "verbs.parent"],
    "listed": True,
    "default": 6,
    "failed": ["ActionPhase.FAILED", "LookupError", True],
    "aborted": "ActionPhase.ABORTED",
    "secrets": True,
    "secrets after": False,
}


class Plane:
    """A devbox that asks for no token, since the published client shows none to a server without TLS."""

    def __init__(self, home: Path, words: list[str], environ: dict[str, str]) -> None:
        self.folder, self.environ = home / "devbox", {**os.environ, **environ, "FLYTE_HOME": str(home)}
        self.log = home / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=home, env=self.environ, stdout=log, stderr=log
            )
        until = time.monotonic() + 30
        while (read_endpoint(self.folder) or {}).get("pid") != self.process.pid:
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)
        said = read_endpoint(self.folder) or {}
        self.ports = {"ours": said["port"], "published": said["http_port"]}

    def run(self, client: str, program: str, *words: str) -> Any:
        """What a program of ``interop`` prints last, run by one of the two SDKs."""
        python = {"ours": sys.executable, "published": str(PEER)}[client]
        project = self.folder.parent / "project"  # nothing else is in it, and all of it is bundled
        project.mkdir(exist_ok=True)
        shutil.copy(INTEROP / program, project)
        done = subprocess.run(
            [python, program, f"localhost:{self.ports[client]}", *words],
            env=self.environ, cwd=project, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:] + self.log.read_text()[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Plane]]:
    """A devbox with the runtime of either; the published one keeps its data in an object store, as on a cluster."""
    made: dict[str, Plane] = {}
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = {
        "FLYTE_AWS_ENDPOINT": f"http://{host}:{port}",
        "FLYTE_AWS_ACCESS_KEY_ID": "test",
        "FLYTE_AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }

    def plane(runtime: str) -> Plane:
        if runtime not in made:
            home = tmp_path_factory.mktemp(runtime)
            if runtime == "ours":
                made[runtime] = Plane(home, ["-m", "flyte.devbox", "--no-token"], store)
            else:
                program = Path(str(PEER)).with_name("a0")
                made[runtime] = Plane(home, [str(INTEROP / "box.py"), str(program)], store)
        return made[runtime]

    import httpx

    httpx.put(f"http://{host}:{port}/runs").raise_for_status()
    yield plane
    for one in made.values():
        one.end()
    server.stop()


@pytest.mark.parametrize(
    ("client", "runtime", "base"),
    [
        ("ours", "ours", ""),
        ("ours", "ours", "s3://runs/ours"),
        ("published", "ours", ""),
        ("ours", "published", "s3://runs/mixed"),
        ("published", "published", "s3://runs/published"),
    ],
)
def test_a_workflow_gives_the_same(planes: Callable[[str], Plane], client: str, runtime: str, base: str) -> None:
    _, _, phase, gave = planes(runtime).run(client, "shop.py", base)
    assert phase.endswith("SUCCEEDED") and gave == GAVE


@pytest.mark.parametrize("client", ["ours", "published"])
def test_a_client_sees_the_same(planes: Callable[[str], Plane], client: str) -> None:
    assert planes("ours").run(client, "verbs.py") == SAW
