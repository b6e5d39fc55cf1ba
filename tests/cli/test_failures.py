"""A failing task or module: the user's frames only, exit code 1."""

import json
import re

import pytest

RAISES = """
import asyncio

import flyte

env = flyte.TaskEnvironment(name="raises")


@env.task
async def grouped() -> int:
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


@env.task
async def chained() -> int:
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise LookupError("no quotient") from error


@env.task
def leaves() -> int:
    raise SystemExit(7)


@env.task(timeout=0.1)
async def slow() -> int:
    await asyncio.sleep(30)
    return 1


@env.task
async def wrong() -> int:
    return "text"
"""


def without_names(text: str, folder) -> str:
    text = re.sub(r"action [0-9a-z]{20,25}", "action NAME", text)
    return text.replace(str(folder), "FOLDER")


def test_the_users_traceback_and_a_note(run_flyte, folder):
    done = run_flyte("run", "--name", "r1", "shop.py", "failing")
    assert (done.returncode, done.stdout) == (1, "")
    lines = without_names(done.stderr, folder).splitlines()
    assert lines[0] == "run r1 of shop.failing started"
    assert lines[1] == "failed: shop.child (action NAME): ValueError: 3 is too many"
    assert re.fullmatch(r"run r1 of shop\.failing failed in \d+ ms: 0 done, 2 failed", lines[2])
    assert [line for line in lines[3:] if not set(line) <= set(" ^~")] == [
        "Traceback (most recent call last):",
        '  File "FOLDER/shop.py", line 63, in failing',
        "    return await child(x)",
        '  File "FOLDER/shop.py", line 58, in child',
        "    return helper(x)",
        '  File "FOLDER/shop.py", line 53, in helper',
        '    raise ValueError(f"{x} is too many")',
        "ValueError: 3 is too many",
        "in task 'shop.child', attempt 1 of 1, action NAME of run r1",
    ]


def test_verbose_keeps_our_frames(run_flyte):
    quiet = run_flyte("run", "shop.py", "failing")
    verbose = run_flyte("run", "-v", "shop.py", "failing")
    assert (quiet.returncode, verbose.returncode) == (1, 1)
    assert "/flyte/_verbs/" not in quiet.stderr
    assert "/flyte/_verbs/" in verbose.stderr


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("grouped", ["ValueError: one", "KeyError: 'two'"]),
        ("chained", ["ZeroDivisionError: division by zero", "LookupError: no quotient"]),
        ("leaves", ["SystemExit"]),
        ("wrong", ["raises.wrong", "int", "str"]),
    ],
)
def test_every_kind_of_failure_is_exit_code_1_without_our_frames(run_flyte, folder, task, expected):
    (folder / "raises.py").write_text(RAISES)
    done = run_flyte("run", "raises.py", task)
    assert (done.returncode, done.stdout) == (1, "")
    for text in expected:
        assert text in done.stderr
    assert "/flyte/_" not in done.stderr
    assert "/flyte/cli" not in done.stderr
    assert "base_events" not in done.stderr


def test_a_failure_as_json(run_flyte, folder):
    done = run_flyte("run", "--output", "json", "--name", "r2", "shop.py", "failing")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert document.pop("duration_s") > 0
    error = document.pop("error")
    assert document == {"run": "r2", "phase": "failed", "outputs": None}
    assert (error["type"], error["code"], error["kind"]) == ("ValueError", "ValueError", "user")
    assert error["message"] == "3 is too many"
    assert "in helper" in error["traceback"]
    assert "/flyte/_" not in error["traceback"]
    assert "Traceback" not in done.stderr


def test_running_out_of_time_is_a_phase_of_its_own(run_flyte, folder):
    (folder / "raises.py").write_text(RAISES)
    done = run_flyte("run", "--output", "json", "raises.py", "slow")
    document = json.loads(done.stdout)
    assert (done.returncode, document["phase"]) == (1, "timed_out")
    assert document["error"]["code"] == "MaxRuntimeExceededError"
    assert "timed out: raises.slow (action a0): MaxRuntimeExceededError" in done.stderr


def test_a_module_that_cannot_be_imported(run_flyte, folder):
    (folder / "broken.py").write_text("def deep():\n    return undefined_name\n\ndeep()\n")
    done = run_flyte("run", "broken.py", "main")
    assert (done.returncode, done.stdout) == (1, "")
    lines = without_names(done.stderr, folder).splitlines()
    assert [line for line in lines if not set(line) <= set(" ^~")] == [
        "Traceback (most recent call last):",
        '  File "FOLDER/broken.py", line 4, in <module>',
        "    deep()",
        '  File "FOLDER/broken.py", line 2, in deep',
        "    return undefined_name",
        "NameError: name 'undefined_name' is not defined",
        "Error: 'broken.py' could not be imported; see the traceback above",
    ]


@pytest.mark.parametrize("named", ["broken.py", "broken"])
def test_a_missing_import_of_the_users_is_theirs(run_flyte, folder, named):
    (folder / "broken.py").write_text("import no_such_package\n")
    done = run_flyte("run", named, "main")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'no_such_package'" in done.stderr
    assert "importlib" not in done.stderr
    assert "/flyte/" not in done.stderr


def test_a_syntax_error_shows_its_line(run_flyte, folder):
    (folder / "broken.py").write_text("def main(:\n    pass\n")
    done = run_flyte("run", "broken.py", "main")
    assert done.returncode == 1
    assert 'broken.py", line 1\n    def main(:' in done.stderr
    assert "/flyte/" not in done.stderr


def test_a_module_that_ends_the_process(run_flyte, folder):
    (folder / "script.py").write_text("import sys\nsys.exit(0)\n")
    done = run_flyte("run", "script.py", "main")
    assert done.returncode == 1  # no task ran
    assert "ended the process while it was imported" in done.stderr
    assert '__name__ == "__main__"' in done.stderr
