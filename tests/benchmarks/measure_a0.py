"""How long ``a0`` of a task that does nothing takes, as a whole process, beside what a process costs anyway.

    python tests/benchmarks/measure_a0.py [--times 20] [--peer PATH/TO/a0]

``--peer`` is the program of another installation that takes the same words, such as the published package's.

Every process finds its modules compiled, as after an installation, whatever the environment says of writing them: else
a checkout under ``PYTHONDONTWRITEBYTECODE`` would be compiled anew each time, and an installed peer would not. CPU time
is printed too: beside other work it says more than the time that passed.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.task.common_pb2 import Inputs

IMPORTED = 'python -c "import flyte"'
FLOW = """
import flyte

env = flyte.TaskEnvironment("noop")


@env.task
async def nothing() -> None:
    pass


@env.task
async def double(x: int) -> int:
    return 2 * x
"""


def command(folder: Path, out: str, task: str = "nothing") -> list[str]:
    """The words of ``a0`` for a task above."""
    return [
        *("--inputs", str(folder / f"{task}.pb"), "--outputs-path", str(folder / out), "--version", "v1"),
        *("--raw-data-path", str(folder / "raw"), "--run-name", "r", "--name", "a0", "--dest", "."),
        *("--resolver", "flyte._internal.resolvers.default.DefaultTaskResolver"),
        *("mod", "flow", "instance", task),
    ]


def measure(argv: list[str], folder: Path, times: int) -> tuple[list[float], list[float]]:
    """Seconds that passed, and of CPU, of each of ``times`` processes; the first, which fills caches, is left out."""
    environ = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "_U_RUN_BASE": str(folder / "base"),
        "_U_ORG_NAME": "local",
        "_U_EP_OVERRIDE": "localhost:1",  # never asked: the task calls nobody
        "_U_INSECURE": "true",
        "_U_USE_ACTIONS": "1",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
    }
    took, used = [], []
    for _ in range(times + 1):
        begun, before = time.perf_counter(), _cpu_s()
        subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, timeout=60)
        took.append(time.perf_counter() - begun)
        used.append(_cpu_s() - before)
    return took[1:], used[1:]


def _cpu_s() -> float:
    """CPU time of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Print the median and the fastest of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20, help="processes of each kind (default 20)")
    parser.add_argument("--peer", default="", help="another a0")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flow.py").write_text(FLOW)
        (folder / "nothing.pb").write_bytes(b"")
        given = Inputs()
        number = Literal()
        number.scalar.primitive.integer = 21
        given.literals.add(name="x").value.CopyFrom(number)
        (folder / "double.pb").write_bytes(given.SerializeToString())
        (folder / "theirs").mkdir()
        program = [sys.executable, "-m", "flyte._runtime.entrypoint"]
        kinds = {
            "python -c pass": [sys.executable, "-c", "pass"],
            'python -c "import asyncio"': [sys.executable, "-c", "import asyncio"],
            IMPORTED: [sys.executable, "-c", "import flyte"],
            "a0": [*program, *command(folder, "ours")],
            "a0, an int in and out": [
                sys.executable,
                "-m",
                "flyte._runtime.entrypoint",
                *command(folder, "o", "double"),
            ],
        }
        if said.peer:
            kinds["the other a0"] = [said.peer, *command(folder, "theirs")]
            kinds["the other a0, an int"] = [said.peer, *command(folder, "theirs", "double")]
        medians, cpu = {}, {}
        for kind, argv in kinds.items():
            took, used = measure(argv, folder, said.times)
            medians[kind], cpu[kind] = statistics.median(took), statistics.median(used)
            print(
                f"{kind:28} median {medians[kind] * 1000:7.1f} ms   fastest {min(took) * 1000:7.1f} ms   "
                f"CPU median {cpu[kind] * 1000:7.1f} ms   least {min(used) * 1000:7.1f} ms"
            )
            if kind == "a0" and not (folder / "ours" / "outputs.pb").exists():
                print("a0 left no outputs", file=sys.stderr)
                return 1
        for what, figures in (("time", medians), ("CPU", cpu)):
            print(f"{what}: a0 is {figures['a0'] / figures['python -c pass']:.1f} times a bare process")
            print(f'{what}: a0 is {figures["a0"] / figures[IMPORTED]:.1f} times "import flyte"')
            if said.peer:
                print(f"{what}: a0 is 1/{figures['the other a0'] / figures['a0']:.1f} of the other a0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
