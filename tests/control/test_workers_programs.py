"""Whole programs with workers: how their module is found again, and that nothing outlives them, however they end."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import flyte

ROOT = str(Path(flyte.__file__).parents[1])
WITHIN_S = 2.0

PROGRAM = """
import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import flyte

print("imported as", __name__, flush=True)
env = flyte.TaskEnvironment(name="program")
STATE = []


class Refused(Exception):
    pass


class Unknown:
    def __init__(self, value):
        self.value = value


@dataclass
class Point:
    x: int


@env.task
def double(point: Point) -> Point:
    return Point(2 * point.x)


@env.task
def refuses() -> None:
    raise Refused("not today")


@env.task
def wrap(value: int) -> Unknown:
    STATE.append(value)
    return Unknown(value + len(STATE))


@env.task
async def main() -> int:
    try:
        await refuses.aio()
    except Refused as error:
        print("caught", error, flush=True)
    wrapped = await wrap.aio(40)
    print("is the same class:", type(wrapped) is Unknown, flush=True)
    return (await double.aio(Point(1))).x + wrapped.value


@env.task
def spins(folder: str, x: int) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], start_new_session=x % 2 == 0)
    (Path(folder) / f"{os.getpid()}-{child.pid}").touch()
    while True:
        pass


@env.task
async def sleeps(folder: str, x: int) -> None:
    (Path(folder) / f"{os.getpid()}-{os.getpid()}").touch()
    try:
        await asyncio.sleep(100)
    finally:
        (Path(folder) / f"clean-{x}").touch()


@env.task
async def long(folder: str) -> None:
    (Path(folder) / f"{os.getpid()}-{os.getpid()}").touch()
    await asyncio.gather(*[spins.aio(folder, x) for x in range(2)], sleeps(folder, 1))
"""

MAIN = """
if __name__ == "__main__":
    print("result", flyte.with_runcontext(workers=2).run(main).result)
"""

LONG = """
if __name__ == "__main__":
    flyte.with_runcontext(workers=3).run(long, sys.argv[1])
"""


@pytest.fixture
def environment(tmp_path):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FLYTE")}
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH", "")]))
    return {**kept, "FLYTE_HOME": str(tmp_path / "home"), "FLYTE_PICKLE": "allow", "PYTHONPATH": path}


def done(argv, cwd, environment):
    ended = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def check_main(output):
    assert "caught not today" in output
    assert "is the same class: True" in output
    assert "result 43" in output or output.rstrip().endswith("43")


def test_a_script_is_imported_again_under_another_name(tmp_path, environment):
    (tmp_path / "script.py").write_text(PROGRAM + MAIN)
    output = done([sys.executable, "script.py"], tmp_path, environment)
    check_main(output)
    assert output.count("imported as __main__") == 1
    assert output.count("imported as __mp_main__") >= 1


def test_a_module_started_with_m(tmp_path, environment):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "flow.py").write_text(PROGRAM + "\nfrom . import other\n" + MAIN)
    (package / "other.py").touch()
    check_main(done([sys.executable, "-m", "package.flow"], tmp_path, environment))


def test_the_command(tmp_path, environment):
    (tmp_path / "flow.py").write_text(PROGRAM)
    command = [sys.executable, "-P", "-m", "flyte.cli.main", "run", "--local", "--workers", "2", "flow.py", "main"]
    check_main(done(command, tmp_path, environment))


def test_the_command_refuses_no_workers(tmp_path, environment):
    (tmp_path / "flow.py").write_text(PROGRAM)
    command = [sys.executable, "-P", "-m", "flyte.cli.main", "run", "--workers", "0", "flow.py", "main"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "0 processes run nothing" in ended.stderr


def test_typed_programs_travel_pickled(tmp_path, environment):
    program = PROGRAM + 'print("result", flyte.with_runcontext(workers=2).run(main).result)\n'
    ended = subprocess.run(
        [sys.executable, "-"], input=program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    check_main(ended.stdout)


def test_a_module_that_fails_in_the_worker_says_so(tmp_path, environment):
    guard = 'if __name__ != "__main__":\n    raise RuntimeError("only once")\n'
    (tmp_path / "script.py").write_text(guard + PROGRAM + MAIN)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert re.search(r"ModuleLoadError: module '__mp_main__' could not be imported.*only once", ended.stderr)


def test_what_is_printed_keeps_its_order(tmp_path, environment):
    program = """
import flyte
env = flyte.TaskEnvironment(name="prints")
@env.task
def says(x: int) -> None:
    print("task", x)
@env.task
async def main() -> None:
    for x in range(3):
        await says.aio(x)
if __name__ == "__main__":
    print("before")
    flyte.with_runcontext(workers=2).run(main)
    print("after")
"""
    (tmp_path / "script.py").write_text(program)
    output = done([sys.executable, "script.py"], tmp_path, environment)
    assert output.split("\n")[:-1] == ["before", "task 0", "task 1", "task 2", "after"]


# The end --------------------------------------------------------------------------------------------------------------


def start(tmp_path, environment, folder):
    (tmp_path / "script.py").write_text(PROGRAM + LONG)
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "script.py", str(folder)],
        cwd=tmp_path,
        env={**environment, "MARK": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def of_program(folder):
    """Every process that the program has started, as its environment tells."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if f"MARK={folder}".encode() in file.read().split(b"\0") and alive(name):
                    found.append(int(name))
        except (OSError, ValueError):
            continue
    return found


def wait_until(condition, limit_s):
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_ctrl_c_ends_everything(tmp_path, environment):
    folder = tmp_path / "pids"
    program = start(tmp_path, environment, folder)
    assert wait_until(lambda: len(list(folder.iterdir())) == 4, 20)
    began = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=10)
    assert time.monotonic() - began < WITHIN_S + 0.5
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert (folder / "clean-1").exists()
    assert of_program(folder) == []


def test_nothing_outlives_a_program_that_is_killed(tmp_path, environment):
    """At any moment: while workers start, while bodies spin, with children in sessions of their own."""
    chance = random.Random(20261121)
    for number in range(8):
        folder = tmp_path / f"pids-{number}"
        program = start(tmp_path, environment, folder)
        if number % 2:
            assert wait_until(lambda: len(list(folder.iterdir())) == 4, 20)  # noqa: B023
        else:
            time.sleep(chance.uniform(0.1, 1.2))
        program.kill()
        program.communicate(timeout=10)
        assert wait_until(lambda: of_program(folder) == [], WITHIN_S), of_program(folder)  # noqa: B023


def test_the_workers_see_the_end_by_themselves_without_the_warden(tmp_path, environment):
    folder = tmp_path / "pids"
    program = start(tmp_path, environment, folder)
    assert wait_until(lambda: len(list(folder.iterdir())) == 4, 20)
    wardens = [pid for pid in of_program(folder) if "warden" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(wardens) == 1
    os.kill(wardens[0], signal.SIGKILL)
    program.kill()
    program.communicate(timeout=10)
    assert wait_until(lambda: of_program(folder) == [], WITHIN_S), of_program(folder)


def test_nothing_is_left_of_a_run_that_ended_well(tmp_path, environment):
    (tmp_path / "script.py").write_text(PROGRAM + MAIN + "    time.sleep(1)\n")
    program = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**environment, "MARK": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    for line in program.stdout:
        if line.startswith("result"):
            break
    assert of_program(tmp_path) == [program.pid]
    program.communicate(timeout=10)
