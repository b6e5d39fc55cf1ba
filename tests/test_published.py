"""Private paths of the published package that plugins reach into: all of the table is there, and nothing beside it."""

import importlib
import pickle
import subprocess
import sys

import pytest

import flyte
import flyte.extend
from flyte._published import TABLE


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in TABLE.items() for n in names if n != "()"])
def test_every_name_of_the_table_leads_somewhere(module, name):
    target, _, attribute = TABLE[module][name].partition(":")
    expected = getattr(importlib.import_module(target), attribute)
    assert getattr(importlib.import_module(module), name) is expected


def test_what_is_not_in_the_table_is_not_there():
    with pytest.raises(ImportError, match="something_else"):
        from flyte._context import something_else  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(AttributeError, match="internal_ctx are served here"):
        _ = importlib.import_module("flyte._context").something_else
    for name in ("flyte._internal", "flyte._utils.asyncify", "flyte._nothing"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_a_module_and_its_function_of_one_name():
    code = """
        from flyte._utils import lazy_module as first
        from flyte._utils.lazy_module import lazy_module as second
        from flyte._utils import lazy_module as third
        assert first is second
        print(first("json").dumps(1), second("json").dumps(2), third("json").dumps(3))
        import flyte._utils.lazy_module as whole
        print(whole.lazy_module is second)
        from flyte.io._dataframe.dataframe import DataFrame
        import flyte.io
        print(DataFrame is flyte.io.DataFrame)
    """
    program = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "2", "3", "True", "True"], done.stderr


def test_lazy_modules():
    code = """
        import sys
        from flyte.extend import lazy_module
        module = lazy_module("colorsys")
        print(type(module).__name__)
        print(module.rgb_to_hsv(0, 0, 1), lazy_module("colorsys") is module)
        absent = lazy_module("not_there.at_all")
        print(hasattr(absent, "__wrapped__"))
        try:
            absent.DataFrame
        except ImportError as error:
            print(error)
    """
    program = "\n".join(line.removeprefix("        ") for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert lines == [
        "_LazyModule", "(0.0, 0.0, 1) True" if lines[1].startswith("(0.0") else "(0.6666666666666666, 1.0, 1) True",
        "False", "module 'not_there.at_all' is needed here and is not installed",
    ], done.stderr  # fmt: skip


def test_the_context_of_what_runs(tmp_path):
    from flyte._context import internal_ctx  # type: ignore[import-not-found]

    assert internal_ctx().data.task_context is None and not internal_ctx().is_task_context()
    assert not internal_ctx().has_raw_data
    with pytest.raises(ValueError, match="outside of a run"):
        _ = internal_ctx().raw_data
    env = flyte.TaskEnvironment(name="seen", image="x:1")

    @env.task
    async def look() -> list[str]:
        seen = internal_ctx()
        context = seen.data.task_context
        assert seen.is_task_context() and context is flyte.ctx() and not context.in_driver_literal_conversion
        return [context.action.name, context.mode, str(seen.raw_data.path)]

    found = flyte.with_runcontext(raw_data_path=str(tmp_path)).run(look).outputs()[0]
    assert found == ["a0", "local", str(tmp_path)]


def test_storage_is_that_of_the_session():
    from flyte._initialize import get_storage  # type: ignore[import-not-found]
    from flyte.storage import S3
    from flyte.storage._config import configured

    with configured.override(S3(endpoint="http://127.0.0.1:1", access_key_id="a", secret_access_key="b")) as settings:
        assert get_storage() is settings


def test_tasks_are_pickled_by_their_public_path():
    assert b"_published" not in pickle.dumps(flyte.extend.lazy_module)
