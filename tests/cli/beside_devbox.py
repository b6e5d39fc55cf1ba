"""A program, a devbox that holds every request to its rules, and the ``flyte`` command beside it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import command, environment

CHECKED = Path(__file__).parents[1] / "checked_devbox.py"

PROGRAM = '''
import asyncio
import os
import time
from datetime import datetime

import flyte
import flyte.report

env = flyte.TaskEnvironment(name="tea")


@env.task
async def brew(cups: int, kind: str = "green") -> str:
    print("brewing", cups)
    return f"{cups} {kind}"


@env.task
async def spill(cups: int) -> str:
    raise ValueError(f"{cups} cups on the floor")


@env.task
def wait(seconds: float) -> None:
    print("waiting", flush=True)
    time.sleep(seconds)


@env.task(report=True)
async def party(cups: int) -> list[str]:
    """Brew for everybody."""
    print("here they come")
    with flyte.group("guests"):
        brewed = await asyncio.gather(*[brew(cup) for cup in range(cups)])
    try:
        await spill(cups)
    except ValueError as error:
        print("caught", error)
    await flyte.report.log.aio("<p>a party</p>")
    await flyte.report.flush.aio()
    return brewed


@env.task
async def stirred(cups: int) -> str:
    condition = await flyte.new_condition.aio("sugar", data_type=bool, prompt="Sugar?")
    await condition.wait.aio()
    return "stirred"


@env.task(triggers=flyte.Trigger("morning", flyte.Cron("0 6 * * *"), inputs={"at": flyte.TriggerTime}))
async def daily(at: datetime, cups: int = 3) -> str:
    return at.isoformat()


guarded = flyte.TaskEnvironment(name="door", secrets=flyte.Secret("PASSWORD"))


@guarded.task
async def lock(door: str) -> str:
    return door + os.environ["PASSWORD"][::-1]
'''


class Shell:
    """Runs ``flyte ARGS`` beside a devbox."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home

    def __call__(self, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
        variables = {**environment(**env), "FLYTE_HOME": str(self.home)}
        return subprocess.run(
            command(*args), cwd=self.folder, env=variables, capture_output=True, text=True, timeout=60, input=""
        )


@pytest.fixture(scope="module")
def flyte_away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    (folder / "tea.py").write_text(PROGRAM)
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(CHECKED)],
            env={**os.environ, "FLYTE_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    until = time.monotonic() + 20
    while not (home / "devbox" / "endpoint.json").exists():
        assert time.monotonic() < until and process.poll() is None, (home / "log").read_text()
        time.sleep(0.05)
    yield Shell(folder, home)
    process.terminate()
    process.wait(timeout=20)
