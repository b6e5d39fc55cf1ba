"""What `import flyte` and its neighbours load. Each case is a fresh interpreter and counts modules, not time."""

import subprocess
import sys
import textwrap

import pytest

HEAVY = [
    "grpc", "flyteidl2", "google.protobuf", "httpx", "pydantic", "typer", "kubernetes", "obstore", "numpy", "pandas",
    "rich", "msgpack", "cloudpickle", "yaml",
]  # fmt: skip

# Everything `import flyte` may add to what the interpreter has loaded by itself, the standard library included.
# They are about 35.
MOST_MODULES = 60

BLOCK = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in {blocked!r}):
            raise ImportError(f"{{name}} is blocked in this test")

sys.meta_path.insert(0, Refuse())
"""


def run_python(code: str, blocked: list[str] | None = None) -> str:
    """Run ``code`` in a fresh interpreter that cannot import what is ``blocked``; its standard output."""
    text = (BLOCK.format(blocked=blocked) if blocked else "") + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["flyte", "flyte.extend", "flyte.types", "flyte.errors", "flyte.models", "flyte.report", "flyte.syncify"]
)
def test_nothing_heavy_is_loaded(module):
    loaded = run_python(f"""
        import sys
        import {module}
        print([m for m in {HEAVY!r} if m in sys.modules])
    """)
    assert loaded == "[]"


@pytest.mark.parametrize("module", ["flyte", "flyte.extend", "flyte.types", "flyte.errors"])
def test_import_works_where_heavy_packages_are_missing(module):
    assert run_python(f"import {module}; print('loaded')", blocked=HEAVY) == "loaded"


def test_the_extension_surface_resolves_without_kubernetes():
    names = run_python(
        """
        import flyte.extend
        print(len([getattr(flyte.extend, name) for name in flyte.extend.__all__]))
        """,
        blocked=["kubernetes"],
    )
    assert int(names) > 10


def test_declaring_a_task_loads_nothing_heavy():
    loaded = run_python(f"""
        import sys
        import flyte
        env = flyte.TaskEnvironment(name="light", resources=flyte.Resources(cpu=1, memory="1Gi"))

        @env.task
        async def double(x: int) -> int:
            return 2 * x

        print([m for m in {HEAVY!r} if m in sys.modules])
    """)
    assert loaded == "[]"


def test_the_number_of_modules_is_bounded():
    added = run_python("""
        import sys
        before = len(sys.modules)
        import flyte
        print(len(sys.modules) - before)
    """)
    assert 0 < int(added) <= MOST_MODULES


def test_version_is_said_once():
    out = run_python("""
        import importlib.metadata
        import flyte
        from flyte._core.version import VERSION
        print(flyte.__version__, flyte.version(), VERSION, importlib.metadata.version("flyte"))
    """)
    assert len(set(out.split())) == 1
    assert len(out.split()) == 4


def test_the_blocker_blocks():
    """Without this, a blocker that lets everything through would leave the tests above green."""
    with pytest.raises(AssertionError, match="yaml is blocked in this test"):
        run_python("import yaml", blocked=HEAVY)
