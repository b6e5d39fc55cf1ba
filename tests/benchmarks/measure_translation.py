"""How many tasks a second are translated for a control plane: one with a 20-parameter interface, all of it each time.

    python tests/benchmarks/measure_translation.py [--count 2000]

Prints one line of JSON: tasks a second by process time, as a run needs them and, with defaults and documentation, as a
deployment does.
"""

import argparse
import json
import time
from pathlib import Path

import flyte
from flyte._wire.task import task_spec
from flyte.models import CodeBundle, SerializationContext

env = flyte.TaskEnvironment(name="wide", image="example.com/app:1", resources=flyte.Resources(cpu=1, memory="1Gi"))


@env.task(retries=2, timeout=60, cache="auto")
async def wide(
    a0: int, b0: float, c0: str, d0: list[int] | None, e0: dict[str, float],
    a1: int = 1, b1: float = 1.0, c1: str = "x", d1: list[int] | None = None, e1: bool = True,
    a2: int = 2, b2: float = 2.0, c2: str = "y", d2: list[int] | None = None, e2: bool = True,
    a3: int = 3, b3: float = 3.0, c3: str = "z", d3: list[int] | None = None, e3: bool = True,
) -> tuple[int, str]:  # fmt: skip
    """A task with twenty parameters."""
    return a0, c0


def measure(count: int, deploy: bool) -> float:
    """Translations a second."""
    bundle = CodeBundle(computed_version="1", tgz="s3://bucket/code.tar.gz")
    context = SerializationContext(
        version="v1", project="p", domain="d", root_dir=Path(__file__).parent, code_bundle=bundle
    )
    assert len(task_spec(wide, context, deploy=deploy).task_template.interface.inputs.variables) == 20
    began = time.process_time()
    for _ in range(count):
        task_spec(wide, context, deploy=deploy)
    return count / (time.process_time() - began)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    count = parser.parse_args().count
    print(json.dumps({"run": round(measure(count, False)), "deploy": round(measure(count, True))}))


if __name__ == "__main__":
    main()
