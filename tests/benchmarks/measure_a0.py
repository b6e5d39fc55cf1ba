"""How long ``a0`` of a task that does nothing takes, as a whole process, beside what a process costs anyway.

    python tests/benchmarks/measure_a0.py [--times 20] [--peer PATH/TO/a0]

``--peer`` is the program of another installation that takes the same words, such as the published package's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTED = 'python -c "import flyte"'
FLOW = """
import flyte

env = flyte.TaskEnvironment("noop")


@env.task
async def nothing() -> None:
    pass
"""


def command(folder: Path, out: str) -> list[str]:
    """The words of ``a0`` for the task above."""
    return [
        *("--inputs", str(folder / "inputs.pb"), "--outputs-path", str(folder / out), "--version", "v1"),
        *("--raw-data-path", str(folder / "raw"), "--run-name", "r", "--name", "a0", "--dest", "."),
        *("--resolver", "flyte._internal.resolvers.default.DefaultTaskResolver"),
        *("mod", "flow", "instance", "nothing"),
    ]


def measure(argv: list[str], folder: Path, times: int) -> list[float]:
    """Seconds of each of ``times`` processes, the first, which fills caches, left out."""
    environ = {
        **os.environ,
        "_U_RUN_BASE": str(folder / "base"),
        "_U_ORG_NAME": "local",
        "_U_EP_OVERRIDE": "localhost:1",  # never asked: the task calls nobody
        "_U_INSECURE": "true",
        "_U_USE_ACTIONS": "1",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
    }
    took = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, timeout=60)
        took.append(time.perf_counter() - begun)
    return took[1:]


def main() -> int:
    """Print the median and the fastest of each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20, help="processes of each kind (default 20)")
    parser.add_argument("--peer", default="", help="another a0")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flow.py").write_text(FLOW)
        (folder / "inputs.pb").write_bytes(b"")
        (folder / "theirs").mkdir()
        kinds = {
            "python -c pass": [sys.executable, "-c", "pass"],
            'python -c "import asyncio"': [sys.executable, "-c", "import asyncio"],
            IMPORTED: [sys.executable, "-c", "import flyte"],
            "a0": [sys.executable, "-m", "flyte._runtime.entrypoint", *command(folder, "ours")],
        }
        if said.peer:
            kinds["the other a0"] = [said.peer, *command(folder, "theirs")]
        medians = {}
        for kind, argv in kinds.items():
            took = measure(argv, folder, said.times)
            medians[kind] = statistics.median(took)
            print(f"{kind:28} median {medians[kind] * 1000:7.1f} ms   fastest {min(took) * 1000:7.1f} ms")
            if kind == "a0" and not (folder / "ours" / "outputs.pb").exists():
                print("a0 left no outputs", file=sys.stderr)
                return 1
        print(f"a0 is {medians['a0'] / medians['python -c pass']:.1f} times a bare process")
        print(f'a0 is {medians["a0"] / medians[IMPORTED]:.1f} times "import flyte"')
        if said.peer:
            print(f"a0 is 1/{medians['the other a0'] / medians['a0']:.1f} of the other a0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
