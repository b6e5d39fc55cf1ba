"""The published command's options, before the command and before the file: in force here, checked, or refused."""

import json

import pytest

ASKS = """
import logging
import os
import sys

import flyte

env = flyte.TaskEnvironment(name="asks")
try:
    AT_IMPORT = flyte.current_project(), flyte.current_domain()
except flyte.errors.InitializationError as error:
    AT_IMPORT = None


@env.task
async def context() -> dict[str, str | None]:
    ctx = flyte.ctx()
    action = ctx.action
    return {
        "name": action.run_name, "project": action.project, "domain": action.domain, "org": action.org,
        "version": ctx.version, "raw": ctx.raw_data_path.path, "A": os.environ.get("A"), "B": os.environ.get("B"),
    }


@env.task
async def at_import() -> str:
    return repr(AT_IMPORT)


@env.task
async def levels() -> tuple[int, int]:
    return logging.getLogger("flyte").level, logging.getLogger("flyte.user").level


@env.task
async def says() -> None:
    flyte.logger.info("info of the program")


@env.task
async def handlers() -> int:
    return len(logging.getLogger().handlers)


@env.task
async def fails() -> None:
    raise ValueError("from the body")
"""


@pytest.fixture
def asks(folder):
    """A folder with a program that reports what it was given."""
    (folder / "asks.py").write_text(ASKS)
    return folder


def outputs(run_flyte, *args: str):
    """The results of a run, given its options with the task and what stands before."""
    done = run_flyte(*args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["outputs"]


def context(run_flyte, *options: str) -> dict[str, str | None]:
    return outputs(run_flyte, "-of", "json", "run", *options, "asks.py", "context")["o0"]


# In force in this process ---------------------------------------------------------------------------------------------


def test_the_body_sees_what_the_options_say(run_flyte, asks):
    seen = context(
        run_flyte, "-p", "proj", "-d", "dev", "--version", "v7", "--raw-data-path", "/tmp/raw", "--name", "mine",
        "-e", "A=1", "--env", "B=x=y",
    )  # fmt: skip
    assert seen == {
        "name": "mine", "project": "proj", "domain": "dev", "org": None, "version": "v7", "raw": "/tmp/raw",
        "A": "1", "B": "x=y",
    }  # fmt: skip


def test_without_them_there_is_no_project(run_flyte, asks):
    seen = context(run_flyte)
    assert {key: seen[key] for key in ("project", "domain", "org", "version", "A")} == {
        "project": None, "domain": None, "org": None, "version": "", "A": None,
    }  # fmt: skip


def test_the_module_sees_the_project_while_it_is_imported(run_flyte, asks):
    assert run_flyte("run", "--project", "p1", "--domain", "d1", "asks.py", "at_import").stdout == "('p1', 'd1')\n"
    assert run_flyte("run", "asks.py", "at_import").stdout == "None\n"


def test_the_organization_stands_before_the_command(run_flyte, asks):
    seen = outputs(run_flyte, "--org", "acme", "run", "--output", "json", "asks.py", "context")["o0"]
    assert seen["org"] == "acme"


@pytest.mark.parametrize("between", [("-p", "p2", "-d", "d2"), ("--project=p2", "--domain", "d2")])
def test_project_and_domain_may_stand_before_the_task(run_flyte, asks, between):
    done = run_flyte("run", "-p", "p1", "asks.py", *between, "at_import")
    assert done.stdout == "('p2', 'd2')\n"
    assert run_flyte("run", "asks.py", *between).stdout.splitlines()[:2] == ["context", "at_import"]


def test_what_stands_before_the_task_needs_a_value(run_flyte, asks):
    done = run_flyte("run", "asks.py", "--domain")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "Error: Option '--domain' requires an argument.")


LIBRARY = "WHERE = {!r}\n"
IMPORTS = """
import colorsys
import flyte
import library
env = flyte.TaskEnvironment(name="imports")
@env.task
async def where() -> str:
    return f"{library.WHERE} {hasattr(colorsys, 'rgb_to_hls')}"
"""


@pytest.fixture
def project(folder):
    """``flows/inner.py`` imports ``library``, which stands at the top of the project."""
    (folder / "top" / "flows").mkdir(parents=True)
    (folder / "top" / "library.py").write_text(LIBRARY.format("top"))
    (folder / "top" / "colorsys.py").write_text("")  # in the way of one of Python's own modules
    (folder / "top" / "flows" / "inner.py").write_text(IMPORTS)
    return folder


def test_a_project_runs_from_its_top(run_flyte, project):
    done = run_flyte("run", "flows/inner.py", "where", cwd=project / "top")
    assert done.stdout == "top True\n", done.stderr


def test_the_folder_of_the_file_comes_before_the_current_one(run_flyte, project):
    (project / "top" / "flows" / "library.py").write_text(LIBRARY.format("flows"))
    assert run_flyte("run", "flows/inner.py", "where", cwd=project / "top").stdout == "flows True\n"


def test_the_root_folder_comes_first(run_flyte, project):
    assert run_flyte("run", "top/flows/inner.py", "where").returncode == 1
    (project / "top" / "flows" / "library.py").write_text(LIBRARY.format("flows"))
    (project / "top" / "colorsys.py").unlink()
    done = run_flyte("run", "--root-dir", "top", "top/flows/inner.py", "where")
    assert done.stdout == "top True\n", done.stderr


def test_a_modules_name_is_relative_to_the_root_folder(run_flyte, project):
    (project / "top" / "colorsys.py").unlink()
    assert run_flyte("run", "--root-dir", "top", "flows.inner", "where").stdout == "top True\n"
    assert run_flyte("run", "flows.inner", "where").returncode == 2


# What is logged -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "levels"),
    [
        ([], [], [30, 20]),
        (["-v"], [], [30, 20]),
        (["-vv"], [], [20, 20]),
        (["-v", "-v"], [], [20, 20]),
        (["-vvv"], [], [10, 20]),
        (["--verbose", "-vvv"], [], [10, 20]),
        ([], ["-v"], [10, 20]),
        (["--user-log-level", "debug"], [], [30, 10]),
        (["--user-log-level", "critical", "-vv"], ["-p", "p"], [20, 50]),  # also where flyte.init is called
    ],
)
def test_levels(run_flyte, asks, before, after, levels):
    seen = outputs(run_flyte, *before, "run", "--output", "json", *after, "asks.py", "levels")
    assert list(seen.values()) == levels


def test_one_v_keeps_our_frames(run_flyte, asks):
    assert "/flyte/_verbs/" not in run_flyte("run", "asks.py", "fails").stderr
    done = run_flyte("-v", "run", "asks.py", "fails")
    assert done.returncode == 1
    assert "/flyte/_verbs/" in done.stderr
    assert done.stderr.endswith("\n")


def test_log_lines_as_json(run_flyte, asks):
    plain = run_flyte("run", "asks.py", "says").stderr
    assert "info of the program" in plain
    assert '"message"' not in plain
    done = run_flyte("--log-format", "json", "run", "asks.py", "says")
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [(line["level"], line["message"]) for line in lines] == [("INFO", "info of the program")]


def test_the_root_loggers_handlers_can_be_removed(run_flyte, asks):
    (asks / "sitecustomize.py").write_text("import logging\nlogging.basicConfig()\n")
    path = {"PYTHONPATH": f"{asks}:{_root()}"}
    assert run_flyte("run", "asks.py", "handlers", **path).stdout == "1\n"
    assert run_flyte("--reset-root-logger", "run", "asks.py", "handlers", **path).stdout == "0\n"


def _root() -> str:
    from cli_process import ROOT

    return ROOT


# How results are printed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [("-of", "json"), ("--output-format=json",), ("--output-format", "json-raw")])
def test_formats_of_json_give_the_document(run_flyte, asks, option):
    done = run_flyte(*option, "run", "shop.py", "pair")
    assert json.loads(done.stdout)["outputs"] == {"o0": 7, "o1": "seven"}


@pytest.mark.parametrize("option", [("-of", "table"), ("-of", "table-simple")])
def test_formats_of_text_give_text(run_flyte, option):
    assert run_flyte(*option, "run", "shop.py", "pair").stdout == "o0: 7\no1: seven\n"


def test_the_runs_own_output_option_wins(run_flyte):
    assert run_flyte("-of", "json", "run", "--output", "text", "shop.py", "square", "--x", "2").stdout == "4\n"


@pytest.mark.parametrize("args", [("shop.py", "mian"), ("--nam", "x", "shop.py"), ("shop.py", "main", "--n", "x")])
def test_usage_errors_follow_the_format(run_flyte, args):
    done = run_flyte("-of", "json", "run", *args)
    assert (done.returncode, json.loads(done.stdout)["error"]["type"]) == (2, "UsageError")
    assert run_flyte("-of", "table", "run", *args).stdout == ""


# On a control plane ---------------------------------------------------------------------------------------------------

ELSEWHERE = [
    "--image x/y:1", "--image gpu=x/y:1 --image x/z:2", "--copy-style all", "--copy-style none --version v1",
    "--service-account sa", "--label a=b --label c=", "--queue q", "--max-action-concurrency 0",
    "--no-sync-local-sys-paths", "--run-project p --run-domain d", "--follow", "-f",
]  # fmt: skip


@pytest.mark.parametrize("options", ELSEWHERE)
def test_what_only_a_control_plane_can_do_is_accepted(run_flyte, options):
    done = run_flyte("run", "--local", *options.split(), "shop.py", "square", "--x", "3")
    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr


def test_help_says_what_has_no_effect_here(run_flyte):
    text = " ".join(run_flyte("run", "--help").stdout.split())
    for option in (
        "--image [NAME=]URI", "--copy-style loaded_modules|all|none|custom", "--service-account NAME",
        "--label KEY=VALUE", "--queue NAME", "--max-action-concurrency N", "--no-sync-local-sys-paths",
        "--run-project NAME", "--run-domain NAME",
    ):  # fmt: skip
        assert f"{option} On a control plane: " in text
    text = " ".join(run_flyte("--help").stdout.split())
    for option in ("--insecure", "--auth-type NAME"):
        assert f"{option} On a control plane: " in text


GENERAL = [
    "--endpoint localhost:1 --insecure", "--auth-type Pkce", "--auth-type client_secret",
    "--builder local-podman", "--image-builder remote",
]  # fmt: skip


@pytest.mark.parametrize("options", GENERAL)
def test_options_of_a_connection_are_accepted_for_a_local_run(run_flyte, options):
    done = run_flyte(*options.split(), "run", "--local", "shop.py", "square", "--x", "3")
    assert (done.returncode, done.stdout) == (0, "9\n"), done.stderr


# Refused --------------------------------------------------------------------------------------------------------------

NOT_HERE = "is not available in this version of flyte, which runs tasks in this process"
REFUSED = [
    ("run --debug shop.py pair", f"--debug {NOT_HERE}"),
    ("run --dry-run shop.py pair", f"--dry-run {NOT_HERE}"),
    ("run --tracked shop.py pair", f"--tracked {NOT_HERE}"),
    ("run --tracked-strict shop.py pair", f"--tracked-strict {NOT_HERE}"),
    ("run --tui shop.py pair", f"--tui {NOT_HERE}; on a terminal, progress is shown live"),
    (
        "run --local deployed-task env.task",
        "a deployed task runs on its control plane, not in this process: leave out --local",
    ),
    ("run --follow python-script shop.py", f"'flyte run python-script' {NOT_HERE}"),
    ("-c config.yaml run shop.py pair", "Invalid value for '--config' / '-c': 'config.yaml' is no file that exists"),
    (
        "run --copy-style none shop.py pair",
        "--copy-style none copies no code that a version could be made of: give --version too",
    ),
    (
        "run --copy-style al shop.py pair",
        ("Invalid value for '--copy-style': 'al' is not one of loaded_modules, all, none, custom; did you mean 'all'?"),
    ),
    ("run --image a= shop.py pair", "Invalid value for '--image': 'a=' is not of the form URI or NAME=URI"),
    ("run --image =a shop.py pair", "Invalid value for '--image': '=a' is not of the form URI or NAME=URI"),
    ("run --label a shop.py pair", "Invalid value for '--label': 'a' is not of the form KEY=VALUE"),
    ("run -e =1 shop.py pair", "Invalid value for '--env' / '-e': '=1' is not of the form NAME=VALUE"),
    (
        "run --max-action-concurrency many shop.py pair",
        "Invalid value for '--max-action-concurrency': 'many' is not a whole number",
    ),
    ("run --max-action-concurrency -1 shop.py pair", "Invalid value for '--max-action-concurrency': -1 is negative"),
    ("run --root-dir none shop.py pair", "Invalid value for '--root-dir': 'none' is no folder that exists"),
    ("run --root-dir shop.py shop.py pair", "Invalid value for '--root-dir': 'shop.py' is not a folder"),
    ("run --queue= shop.py pair", "Invalid value for '--queue': it is empty"),
    (
        "-of jsn run shop.py pair",
        (
            "Invalid value for '--output-format' / '-of': 'jsn' is not one of table, json, table-simple, json-raw; "
            "did you mean 'json'?"
        ),
    ),
    (
        "--user-log-level loud run shop.py pair",
        "Invalid value for '--user-log-level': 'loud' is not one of debug, info, warning, error, critical",
    ),
    ("--log-format xml run shop.py pair", "Invalid value for '--log-format': 'xml' is not one of console, json"),
]


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_refused(run_flyte, line, message):
    done = run_flyte(*line.split())
    assert done.stderr.splitlines()[-1] == f"Error: {message}"
    assert (done.returncode, done.stdout) == (2, "")
