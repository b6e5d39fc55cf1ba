"""Ctrl-C on a real process: exit code 130 in under two seconds, clean-up included, and no traceback."""

import json
import signal
import subprocess
import time

import pytest
from cli_process import command, environment

PROGRAM = """
import asyncio
import atexit
import time

import flyte

env = flyte.TaskEnvironment(name="waits")


@env.task
async def cleans() -> int:
    try:
        print("waiting", flush=True)
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.2)
        print("cleaned", flush=True)


@env.task
async def parent() -> int:
    try:
        return await cleans()
    finally:
        print("parent cleaned", flush=True)


@env.task
def blocks() -> int:
    print("waiting", flush=True)
    time.sleep(60)


@env.task
async def blocks_the_loop() -> int:
    print("waiting", flush=True)
    time.sleep(60)


@env.task
async def leaves_a_thread() -> int:
    atexit.register(print, "at exit", flush=True)
    print("waiting", flush=True)
    await asyncio.to_thread(time.sleep, 60)
"""

LIMIT_S = 2.0


IMPORTED = "import time\nprint('waiting', flush=True)\ntime.sleep(60)\n"


def interrupt(folder, *args: str) -> tuple[int, str, str]:
    """Start a run, interrupt it once its body waits, and give its exit code and what it wrote."""
    (folder / "waits.py").write_text(PROGRAM)
    process = subprocess.Popen(
        command("run", *args), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        took_s = time.monotonic() - began
    finally:
        process.kill()
        process.wait(timeout=10)
    assert took_s < LIMIT_S
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("task", "written"),
    [
        ("cleans", "cleaned\n"),
        ("parent", "cleaned\nparent cleaned\n"),
        ("blocks", ""),
        ("blocks_the_loop", ""),
        ("leaves_a_thread", "at exit\n"),
    ],
)
def test_ctrl_c_ends_the_run(folder, task, written):
    code, out, err = interrupt(folder, "waits.py", task)
    assert (code, out) == (130, written)
    assert f"of waits.{task} interrupted in" in err.splitlines()[-1]


def test_ctrl_c_as_json(folder):
    code, out, _ = interrupt(folder, "--output", "json", "--name", "r3", "waits.py", "cleans")
    assert code == 130
    cleaned, line = out.splitlines()
    assert cleaned == "cleaned"
    document = json.loads(line)
    assert document.pop("duration_s") > 0
    assert document == {"run": "r3", "phase": "aborted", "outputs": None}


def test_ctrl_c_while_the_module_is_imported(folder):
    (folder / "slow.py").write_text(IMPORTED)
    assert interrupt(folder, "slow.py", "main") == (130, "", "")
