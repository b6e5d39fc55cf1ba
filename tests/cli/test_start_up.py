"""What the short commands load. Counted in modules by a fresh interpreter, because times differ between machines."""

import json
import subprocess
import sys

import pytest
from cli_process import environment

# Each costs tens of milliseconds, against about fifty for all that typer itself needs.
NEVER = [
    "rich", "asyncio", "google.protobuf", "pydantic", "pydantic_core", "flyteidl2", "grpc", "httpx", "kubernetes",
    "docstring_parser", "flyte._definition", "flyte._control", "flyte._verbs", "flyte.types._engine",
]  # fmt: skip

REPORT = """
import atexit, json, sys
def report():
    loaded = [m for m in {never!r} if any(n == m or n.startswith(m + ".") for n in sys.modules)]
    print("\\n" + json.dumps([loaded, len(sys.modules)]), file=sys.stderr)
atexit.register(report)
from flyte.cli.main import main
sys.exit(main({args!r}))
"""


def loaded(folder, args: list[str], never: list[str], **env: str) -> tuple[list[str], int]:
    """What of ``never`` the command has loaded, and how many modules in all."""
    code = REPORT.format(never=never, args=args)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=60
    )
    modules, count = json.loads(done.stderr.splitlines()[-1])
    return modules, count


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["run", "--help"],
        ["run", "nothing.py", "main"],
        ["rum"],
        ["-v", "--org", "o", "run", "-p", "x", "--image", "y", "nothing.py"],
    ],
    ids=" ".join,
)
def test_short_commands_load_nothing_heavy(folder, args):
    assert loaded(folder, args, NEVER)[0] == []


def test_version_does_not_even_load_typer(folder):
    assert loaded(folder, ["--version"], [*NEVER, "typer", "inspect"])[0] == []


def test_completion_does_not_run_the_users_module(folder):
    (folder / "shop.py").write_text("raise SystemExit('imported')\n" + (folder / "shop.py").read_text())
    env = {"_FLYTE_COMPLETE": "complete_bash", "COMP_WORDS": "flyte run shop.py ", "COMP_CWORD": "3"}
    assert loaded(folder, [], NEVER, **env)[0] == []


def test_a_run_of_plain_values_loads_only_what_it_needs(folder):
    never = ["rich", "pydantic", "pydantic_core", "grpc", "httpx", "kubernetes", "yaml", "numpy"]
    assert loaded(folder, ["run", "shop.py", "main", "--n", "3", "--color", "RED"], never)[0] == []


def test_the_probe_sees_what_is_loaded(folder):
    assert loaded(folder, ["run", "shop.py", "square", "--x", "1"], ["asyncio", "rich"])[0] == ["asyncio"]
