"""`flyte run` as a process: what it runs, and what it writes where."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import environment

import flyte


def test_a_task_runs_and_its_result_is_all_of_standard_output(run_flyte):
    done = run_flyte("run", "shop.py", "main", "--n", "10")
    assert (done.returncode, done.stdout) == (0, "285.0\n")


def test_options_of_every_kind_reach_the_body(run_flyte):
    done = run_flyte("run", "shop.py", "main", "--n=3", "--color", "GREEN", "--my_scale", "2", "--loud")
    assert done.stdout == "color GREEN\n10.0\n"


@pytest.mark.parametrize("spelling", ["--my_scale", "--my-scale"])
def test_underscores_and_dashes_name_the_same_option(run_flyte, spelling):
    assert run_flyte("run", "shop.py", "main", "--n", "2", spelling, "-3").stdout == "-3.0\n"


def test_a_flag_has_a_negative(run_flyte):
    assert run_flyte("run", "shop.py", "main", "--n", "1", "--loud", "--no-loud").stdout == "0.0\n"


@pytest.mark.parametrize("local", [(), ("--local",)])
def test_local_is_the_default(run_flyte, local):
    assert run_flyte("run", *local, "shop.py", "square", "--x", "4").stdout == "16\n"


def test_remote_without_a_control_plane_says_what_to_do(run_flyte):
    done = run_flyte("run", "--remote", "shop.py", "square", "--x", "4")
    assert done.returncode == 1
    assert "no control plane is configured, and no devbox runs on this machine; start one with" in done.stderr
    assert done.stdout == ""


def test_a_module_by_name(run_flyte):
    assert run_flyte("run", "shop", "square", "--x", "4").stdout == "16\n"


def test_a_path_from_elsewhere_imports_its_neighbours(run_flyte, folder, tmp_path_factory):
    (folder / "neighbour.py").write_text("OFFSET = 5\n")
    (folder / "uses.py").write_text(
        "import flyte\nimport neighbour\nenv = flyte.TaskEnvironment(name='uses')\n"
        "@env.task\nasync def add(x: int) -> int:\n    return x + neighbour.OFFSET\n"
    )
    done = run_flyte("run", str(folder / "uses.py"), "add", "--x", "1", cwd=tmp_path_factory.mktemp("elsewhere"))
    assert done.stdout == "6\n", done.stderr


@pytest.mark.parametrize("named", ["pkg/inner/flow.py", "pkg.inner.flow"])
def test_a_module_of_a_package_keeps_its_package(run_flyte, folder, named):
    inner = folder / "pkg" / "inner"
    inner.mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("FACTOR = 10\n")
    (inner / "__init__.py").write_text("")
    (inner / "flow.py").write_text(
        "import flyte\nfrom .. import FACTOR\nenv = flyte.TaskEnvironment(name='flow')\n"
        "@env.task\nasync def scaled(x: int) -> str:\n    return f'{__name__} {x * FACTOR}'\n"
    )
    done = run_flyte("run", named, "scaled", "--x", "4")
    assert done.stdout == "pkg.inner.flow 40\n", done.stderr


@pytest.mark.parametrize("name", ["types.py", "typer.py", "my-flow.py"])
def test_a_file_may_be_called_like_a_module_of_python(run_flyte, folder, name):
    shutil.copy(folder / "shop.py", folder / name)
    # Its folder is on the path, as with `python FILE`, but what is loaded already is not replaced.
    assert run_flyte("run", name, "square", "--x", "3").stdout == "9\n"


def test_a_task_is_also_found_by_its_full_name(run_flyte):
    assert run_flyte("run", "shop.py", "shop.square", "--x", "3").stdout == "9\n"


def test_a_task_of_an_imported_module_runs(run_flyte, folder):
    (folder / "imports.py").write_text("from shop import square as power\n")
    assert run_flyte("run", "imports.py", "power", "--x", "3").stdout == "9\n"


def test_environment_variables_and_the_run_name(run_flyte):
    done = run_flyte("run", "--env", "A=1", "--env", "B=x=y", "--name", "my-run", "shop.py", "variable", "--name", "B")
    assert done.stdout == "x=y\n"
    assert "run my-run of shop.variable started" in done.stderr


def test_several_results_have_names_and_none_prints_nothing(run_flyte):
    assert run_flyte("run", "shop.py", "pair").stdout == "o0: 7\no1: seven\n"
    assert run_flyte("run", "shop.py", "nothing").stdout == ""


def test_json_is_one_document(run_flyte):
    done = run_flyte("run", "--output", "json", "--name", "r1", "shop.py", "pair")
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert 0 < document.pop("duration_s") < 60
    assert document == {"run": "r1", "phase": "succeeded", "outputs": {"o0": 7, "o1": "seven"}}


def test_json_of_results_that_are_not_plain(run_flyte, folder):
    (folder / "rich.py").write_text(
        "import dataclasses, datetime, enum, math\nimport flyte\nenv = flyte.TaskEnvironment(name='rich')\n"
        "class Kind(enum.Enum):\n    A = 'a'\n"
        "@dataclasses.dataclass\nclass Item:\n    kind: Kind\n    day: datetime.date\n    parts: list[int]\n"
        "@env.task\nasync def item() -> tuple[Item, float, dict[str, Item]]:\n"
        "    one = Item(Kind.A, datetime.date(2024, 5, 6), [1, 2])\n    return one, math.inf, {'x': one}\n"
    )
    done = run_flyte("run", "--output", "json", "rich.py", "item")
    item = {"kind": "a", "day": "2024-05-06", "parts": [1, 2]}
    outputs = json.loads(done.stdout, parse_constant=pytest.fail)["outputs"]
    assert outputs == {"o0": item, "o1": "Infinity", "o2": {"x": item}}


def test_a_file_without_a_task_lists_its_tasks(run_flyte):
    done = run_flyte("run", "shop.py")
    assert done.returncode == 0  # as with the published command
    assert done.stdout.splitlines()[:3] == [
        "square    The square of a number.",
        "main      Add up squares.",
        "variable",
    ]
    assert done.stderr == "To run a task, give the name of one of them: flyte run shop.py square --x ...\n"
    assert run_flyte("run", "shop.py", "--help").returncode == 0


def test_a_file_with_one_task_still_wants_its_name(run_flyte, folder):
    (folder / "one.py").write_text(
        "import flyte\nenv = flyte.TaskEnvironment(name='one')\n@env.task\nasync def only() -> int:\n    return 1\n"
    )
    done = run_flyte("run", "one.py")
    assert (done.returncode, done.stdout) == (0, "only\n")
    assert done.stderr == "To run a task, give its name: flyte run one.py only\n"


def test_hello_runs_and_says_where_it_is(run_flyte, folder):
    done = run_flyte("run", "hello")
    assert (done.returncode, done.stdout) == (0, "285\n")
    source = re.search(r"That was (.*)\n", done.stderr)
    assert source is not None
    assert Path(source[1]).is_file()
    copying = re.search(r"cp (\S+) (\S+)\n", done.stderr)
    assert copying is not None
    shutil.copy(copying[1], folder / copying[2])
    assert run_flyte("run", copying[2], "main", "--n", "20").stdout == "2470\n"


def test_hello_takes_its_parameters(run_flyte):
    assert run_flyte("run", "hello", "--n", "3").stdout == "5\n"
    assert run_flyte("run", "hello", "square", "--x", "3").stdout == "9\n"


def test_a_hello_of_the_users_own_comes_first(run_flyte, folder):
    shutil.copy(folder / "shop.py", folder / "hello.py")
    assert run_flyte("run", "hello", "pair").stdout == "o0: 7\no1: seven\n"


def test_progress_and_result_are_kept_apart(run_flyte):
    done = run_flyte("run", "--name", "apart", "shop.py", "main", "--n", "4")
    assert done.stdout == "14.0\n"
    started, ended = done.stderr.splitlines()
    assert started == "run apart of shop.main started"
    assert re.fullmatch(r"run apart of shop\.main succeeded in \d+ ms: 5 done", ended)


def test_a_reader_that_goes_away_is_no_traceback(folder):
    command = f"{sys.executable} -m flyte.cli.main run shop.py | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [("--version",), ("--version", "run")])
def test_version(run_flyte, args):
    done = run_flyte(*args)
    assert (done.returncode, done.stdout) == (0, f"flyte {flyte.__version__}\n")


def test_the_console_script_is_this_command(folder):
    script = Path(sys.executable).parent / "flyte"
    assert script.is_file(), "install the package into this environment first"
    done = subprocess.run(
        [str(script), "run", "shop.py", "square", "--x", "5"],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "25\n"
