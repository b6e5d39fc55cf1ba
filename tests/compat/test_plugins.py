"""Plugins of the package index, written for the published package, on top of this one.

Each is tried in a process of its own, by the interpreter that FLYTE_PLUGINS_PYTHON names (FLYTE_TORCH_PYTHON for the
one that needs torch), else by this one: a plugin registers handlers for all that its environment runs, so the other
tests have none. Make one with

    python -m venv plugins
    plugins/bin/pip install -e '.[dataframe,storage]' fsspec flyteplugins-polars flyteplugins-pandera flyteplugins-ray
"""

import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("FLYTE_PLUGINS_PYTHON", sys.executable)
TORCH_PYTHON = os.environ.get("FLYTE_TORCH_PYTHON", PYTHON)

SPEC = """
import flyte, pathlib
from flyte._wire.task import task_spec
from flyte.models import CodeBundle, SerializationContext
def spec_of(task):
    bundle = CodeBundle(computed_version="1", tgz="s3://bucket/x")
    context = SerializationContext(version="v1", root_dir=pathlib.Path(__file__).parent, code_bundle=bundle)
    return task_spec(task, context, deploy=True).task_template
"""


def run(tmp_path: Path, program: str, python: str = PYTHON) -> list[str]:
    """The lines that a program prints."""
    (tmp_path / "program.py").write_text(SPEC + textwrap.dedent(program))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [python, "program.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def python_of(plugin: str) -> str:
    return TORCH_PYTHON if plugin == "pytorch" else PYTHON


@functools.cache
def why_not(plugin: str) -> str | None:
    """Why a plugin cannot be tried; None if it can."""
    code = f"from importlib.metadata import distribution as d; d('flyteplugins-{plugin}'); d('{NEEDS[plugin]}')"
    done = subprocess.run([python_of(plugin), "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


NEEDS = {"polars": "fsspec", "pandera": "great_tables", "dask": "distributed", "ray": "ray", "pytorch": "torch"}


@pytest.fixture
def needs():
    def check(name: str) -> None:
        if (why := why_not(name)) is not None:
            pytest.skip(f"flyteplugins-{name} cannot be tried by {python_of(name)}: {why}")

    return check


def test_polars_runs(tmp_path, needs):
    needs("polars")
    program = """
        import polars as pl
        from importlib.metadata import entry_points
        for entry in entry_points(group="flyte.plugins.types", name="polars"):
            entry.load()()
        env = flyte.TaskEnvironment(name="frames", image="x:1")

        @env.task
        async def make(n: int) -> pl.DataFrame:
            return pl.DataFrame({"a": list(range(n))})

        @env.task
        async def double(frame: pl.DataFrame) -> pl.LazyFrame:
            return frame.lazy().with_columns(pl.col("a") * 2)

        @env.task
        async def main(n: int) -> int:
            return int((await double(await make(n))).collect()["a"].sum())

        print(flyte.run(main, n=5).outputs()[0])
        print(spec_of(double).interface.inputs.variables[0].value.type.WhichOneof("type"))
    """
    assert run(tmp_path, program) == ["20", "structured_dataset_type"]


def test_pandera_runs_and_refuses(tmp_path, needs):
    needs("pandera")
    program = """
        import pandas as pd, pandera.pandas as pa, pandera.typing.pandas as pt
        class Schema(pa.DataFrameModel):
            a: int = pa.Field(ge=0)

        env = flyte.TaskEnvironment(name="frames", image="x:1")

        @env.task(report=True)
        async def make(n: int) -> pt.DataFrame[Schema]:
            return pd.DataFrame({"a": [n]})

        @env.task
        async def main(n: int) -> int:
            return int((await make(n))["a"].sum())

        print(flyte.run(main, n=5).outputs()[0])
        try:
            flyte.run(main, n=-5)
        except Exception as error:
            print("greater_than_or_equal_to(0)" in str(error))
        print(spec_of(make).interface.outputs.variables[0].value.type.WhichOneof("type"))
    """
    assert run(tmp_path, program) == ["5", "True", "structured_dataset_type"]


SERVICES = {
    "dask": (
        "from flyteplugins.dask import *\nconfig = Dask(Scheduler(), WorkerGroup(number_of_workers=2))",
        "dask", {"workers": {"numberOfWorkers": 2}},
    ),
    "ray": (
        "from flyteplugins.ray import *\nconfig = RayJobConfig([WorkerNodeConfig(group_name='g', replicas=2)])",
        "ray", {"rayCluster": {"workerGroupSpec": [{"groupName": "g", "replicas": 2}]}},
    ),
    "pytorch": (
        "from flyteplugins.pytorch import Elastic\nconfig = Elastic(nnodes=2, nproc_per_node=2)",
        "pytorch", {"workerReplicas": {"replicas": 2}, "elasticConfig": {"nprocPerNode": 2}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_plugins_of_services_register_and_serialise(tmp_path, needs, name):
    needs(name)
    made, task_type, expected = SERVICES[name]
    program = (
        f"{made}\nimport json\nfrom google.protobuf.json_format import MessageToDict\n"
        "env = flyte.TaskEnvironment(name='served', image='x:1', plugin_config=config)\n"
        "@env.task\ndef work(n: int) -> int:\n    return n\n"
        "made = spec_of(work)\nprint(made.type)\nprint(json.dumps(MessageToDict(made.custom)))\n"
    )
    lines = run(tmp_path, program, python_of(name))
    assert lines[0] == task_type
    assert holds(json.loads(lines[1]), expected), lines[1]


def holds(found, expected) -> bool:
    """Whether all of ``expected`` is in ``found``."""
    if isinstance(expected, dict):
        return all(key in found and holds(found[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(holds, found, expected))
    return found == expected
