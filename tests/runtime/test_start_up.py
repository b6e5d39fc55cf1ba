"""What ``a0`` loads. Counted in modules by real processes, because times differ between machines.

Each module here costs between half a millisecond and fifteen; bare ``import asyncio`` is about forty.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.task.common_pb2 import Inputs

from flyte._core.code_bundle import CodeBundle
from flyte._core.command import container_args
from flyte._package.bundle import build_bundle
from flyte._runtime.preload import MODULES

FLOW = """
    import flyte

    env = flyte.TaskEnvironment("shop")

    @env.task
    async def nothing() -> None:
        pass

    @env.task
    async def double(x: int) -> int:
        return 2 * x
"""

# A plain task declares none of these, and calls nothing.
OTHERS = [
    "flyte._definition.trigger", "flyte._definition.cron", "flyte._definition.image", "flyte._definition.layers",
    "flyte._definition.resources", "flyte._definition.devices", "flyte._definition.secret", "flyte._definition.pod",
    "flyte._definition.reuse", "flyte._definition.timeout", "flyte._definition.backoff", "flyte._definition.discovery",
    "flyte.report._report", "flyte.io._checkpoint", "flyte.io._file", "flyte.io._dir", "flyte.types._pickle",
    "flyte.types._compile", "flyte.types._containers", "flyte.storage._transfer", "flyte.storage._clouds",
    "flyte._control.local", "flyte._control.remote", "flyte._control.journal", "flyte._control.naming",
    "flyte._verbs", "flyte.remote", "flyte.config", "flyte._journal", "flyte._wire.faults",
    "grpc", "httpx", "pydantic", "pydantic_core", "typer", "rich", "yaml", "kubernetes", "cloudpickle", "msgpack",
    "obstore", "numpy", "docstring_parser", "shutil", "tempfile", "pathlib", "urllib", "json", "uuid", "platform",
    "decimal", "fractions", "difflib", "random", "secrets", "sqlite3", "sysconfig", "importlib.metadata",
]  # fmt: skip
# A task without values needs no message; one whose code is in the image needs nothing that unpacks it.
MESSAGES = ["google.protobuf", "flyteidl2", "buf", "flyte._wire", "flyte.types._codec", "hashlib", "pickle"]
BUNDLES = ["flyte._package", "tarfile", "gzip"]

# As the `a0` script does, and what has been loaded at the end.
PROGRAM = """
import atexit, sys
atexit.register(lambda: open("loaded.txt", "w").write("\\n".join(sys.modules)))
from flyte._runtime.entrypoint import main
sys.exit(main())
"""

MOST_MODULES = 215
"""All that a process of a task without values may load, Python's own start included; it is about 190."""


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "flow.py").write_text(textwrap.dedent(FLOW))
    return folder


def loaded_by_a0(folder: Path, variable: str, inputs: Inputs | None = None, bundle: bool = False) -> list[str]:
    """The modules that ``a0`` of a task has loaded when its process has ended, Python's own start included."""
    (folder / "inputs.pb").write_bytes((inputs or Inputs()).SerializeToString())
    code = None
    if bundle:
        tgz = build_bundle(folder, folder.parent / "bundles", style="all").tgz
        code = CodeBundle(computed_version="v1", tgz=str(tgz), destination=str(folder.parent / "code"))
    filled = {"{{.input}}": str(folder / "inputs.pb"), "{{.outputPrefix}}": str(folder / "out")}
    argv = container_args(version="v1", code_bundle=code, loader_args=("mod", "flow", "instance", variable))
    environ = {"RUN_NAME": "r", "ACTION_NAME": "a0", "_U_RUN_BASE": str(folder / "base"), "_U_ORG_NAME": "local"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(filled.get(word, word) for word in argv[1:])],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and (folder / "out" / "outputs.pb").exists(), done.stderr
    return (folder / "loaded.txt").read_text().splitlines()


def found(names: list[str], loaded: list[str]) -> list[str]:
    return [n for n in names if any(m == n or m.startswith(n + ".") for m in loaded)]


def ints(**values: int) -> Inputs:
    inputs = Inputs()
    for name, value in values.items():
        literal = Literal()
        literal.scalar.primitive.integer = value
        inputs.literals.add(name=name).value.CopyFrom(literal)
    return inputs


def test_a_task_that_does_nothing_loads_what_it_needs(project):
    loaded = loaded_by_a0(project, "nothing")
    assert found([*OTHERS, *MESSAGES, *BUNDLES], loaded) == []
    assert len(loaded) <= MOST_MODULES
    assert found(["asyncio", "flyte._control.attempt", "flow"], loaded) == ["asyncio", "flyte._control.attempt", "flow"]


def test_a_task_of_numbers_loads_messages_and_nothing_else(project):
    loaded = loaded_by_a0(project, "double", ints(x=21))
    assert found([*OTHERS, "hashlib", *BUNDLES], loaded) == []
    assert found(["google.protobuf"], loaded) == ["google.protobuf"]


def test_a_bundle_of_code_loads_what_unpacks_it(project):
    loaded = loaded_by_a0(project, "nothing", bundle=True)
    assert found([*MESSAGES[:4], "cloudpickle", "flyte._package.bundle", "flyte.config"], loaded) == []
    assert found(["tarfile"], loaded) == ["tarfile"]


def test_what_is_preloaded_is_all_of_this_package_that_such_tasks_load(project):
    code = (
        "import sys\n"
        "from flyte._runtime.preload import preload\n"
        "preload()\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('flyte', 'flyteidl2')])\n"
        "print([name for name in ('grpc', 'httpx', 'pydantic') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    first, heavy = done.stdout.splitlines()
    loaded = {*loaded_by_a0(project, "double", ints(x=1)), *loaded_by_a0(project, "nothing", bundle=True)}
    left = {name for name in loaded if name.partition(".")[0] in ("flyte", "flyteidl2") and f"'{name}'" not in first}
    assert left == {"flyte._runtime.entrypoint"}  # the program itself
    assert heavy == "[]"


def test_what_is_preloaded_can_be_forked():
    """Nothing that is preloaded starts a thread or opens a file."""
    code = (
        "import os, sys, threading\n"
        "from flyte._runtime.preload import preload\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "preload()\n"
        "print(threading.active_count(), set(os.listdir('/proc/self/fd')) - before)\n"
        f"print([name for name in {MODULES!r} if name not in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["1 set()", "[]"], done.stderr
