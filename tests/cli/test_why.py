"""``flyte why``: real runs, of programs that change, fail, wait, are killed and recovered."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_process import command, environment, typed_here

HEAD = """
import asyncio, sys, pathlib
import flyte

env = flyte.TaskEnvironment(name="shop")
"""
CACHED = """
@env.task(cache={cache})
async def price({signature}) -> {result}:
    return {body}

@env.task
async def main(x: int = 3, day: str = "Monday") -> str:
    return str(await price({call}))
"""


class Shop:
    """A folder with a program, and the commands that run it.

    :param folder: where the program is.
    :param home: the state folder.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.begun: list[subprocess.Popen[str]] = []
        self._runs = 0

    def write(self, text: str) -> None:
        """Make ``text`` the program."""
        (self.folder / "shop.py").write_text(HEAD + text)

    def cached(self, **parts: str) -> None:
        """Make a program whose task ``price`` is cached the program."""
        default = {"cache": '"auto"', "signature": "x: int, day: str", "result": "int", "body": "x * 2",
                   "call": "x=x, day=day"}  # fmt: skip
        self.write(CACHED.format(**{**default, **parts}))

    def flyte(self, *args: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Type ``flyte ARGS``; what only looks is done in this process, which takes a tenth of the time."""
        if args[0] in ("why", "get", "delete"):
            return typed_here(*args)
        return subprocess.run(command(*args), cwd=self.folder, env=environment(FLYTE_HOME=str(self.home), **more),
                              capture_output=True, text=True, timeout=60)  # fmt: skip

    def run(self, *args: str, **more: str) -> str:
        """Run the program's main task to its end; the run's name."""
        self._runs += 1
        name = f"run-{self._runs}"
        self.flyte("run", "--name", name, "shop.py", "main", *args, **more)
        return name

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Begin to run the program's main task as the run ``live``."""
        process = subprocess.Popen(command("run", "--name", "live", *options, "shop.py", "main"), cwd=self.folder,
                                   env=environment(FLYTE_HOME=str(self.home)), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        self.begun.append(process)
        return process

    def why(self, *args: str) -> str:
        """What ``flyte why ARGS`` says."""
        done = self.flyte("why", *args)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def document(self, *args: str) -> dict:
        """What ``flyte why ARGS --output json`` says."""
        return json.loads(self.why(*args, "--output", "json"))

    def until(self, pattern: str, *args: str) -> str:
        """What ``flyte why ARGS`` says once it says ``pattern``."""
        end = time.monotonic() + 20
        while True:
            done = self.flyte("why", *args)
            if done.returncode == 0 and re.search(pattern, done.stdout, re.MULTILINE):
                return done.stdout
            assert time.monotonic() < end, done.stdout + done.stderr
            time.sleep(0.05)


@pytest.fixture
def shop(tmp_path, state_folder):
    made = Shop(tmp_path, state_folder)
    yield made
    for process in made.begun:
        process.kill()
        process.communicate()


# The cache ---------------------------------------------------------------------------------------------------


def test_a_hit_names_the_call_that_left_the_result(shop):
    shop.cached()
    first, second = shop.run(), shop.run()
    left = json.loads(shop.flyte("get", "action", first, "price", "--output", "json").stdout)["name"]
    text = shop.why(second, "price")
    assert re.search(
        rf"it was not run: the cache had its result, of an equal call, action {left} of run {first}, "
        r"which ended at \d{4}-",
        text,
    )
    (reason,) = shop.document(second, "price")["reasons"]
    assert (reason["kind"], reason["cache"], reason["run"], reason["action"]) == ("cache", "hit", first, left)


def test_the_first_call_of_all_has_nothing_to_be_compared_with(shop):
    shop.cached()
    assert "the cache had no result: no earlier call of shop.price is remembered" in shop.why(shop.run(), "price")


# What changes -> the first difference that is told, and a piece of the text.
CHANGES = {
    "an input": ({}, ["--x", "4"], "input 'x'", "first difference: input 'x': 4 now, 3 then"),
    "two inputs": ({}, ["--x", "4", "--day", "Friday"], "input 'day'",
                   "input 'day': 'Friday' now, 'Monday' then\n    also different: input 'x'"),
    "the body": ({"body": "x * 3"}, [], "function body", "first difference: function body\n"),
    "body and input": ({"body": "x * 3"}, ["--x", "4"], "function body", "also different: input 'x'"),
    "the result's type": ({"result": "float", "body": "x * 2.0"}, [], "function body", "also different: interface"),
    "the version": ({"cache": 'flyte.Cache("override", version_override="2")'}, [], "version_override",
                    "first difference: version_override: '2' now, '' then"),
    "the salt": ({"cache": 'flyte.Cache("auto", salt="s")'}, [], "salt", "first difference: salt: 's' now, '' then"),
    "ignored inputs": ({"cache": 'flyte.Cache("auto", ignored_inputs="day")'}, [], None, "ignored inputs"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "args", "differs", "piece"), CHANGES.values(), ids=CHANGES)
def test_a_miss_names_the_first_difference(shop, parts, args, differs, piece):
    shop.cached()
    first = shop.run()
    shop.cached(**parts)
    second = shop.run(*args)
    text = shop.why(second, "price")
    assert "it ran because the cache had no result of an equal call" in text
    assert piece in text
    assert re.search(rf"the most similar earlier call is action \w+ of run {first}, of \d{{4}}-", text)
    (reason,) = shop.document(second, "price")["reasons"]
    assert reason["cache"] == "miss" and reason["run"] == first
    if differs is not None:
        assert reason["differs"] == differs


def test_the_most_similar_call_is_compared_not_the_last_one(shop):
    shop.cached()
    similar = shop.run("--x", "5", "--day", "Friday")
    shop.run("--x", "6", "--day", "Sunday")
    text = shop.why(shop.run("--x", "5", "--day", "Monday"), "price")
    assert f"of run {similar}," in text and "first difference: input 'day': 'Monday' now, 'Friday' then" in text


def test_inputs_that_make_no_difference_are_not_blamed(shop):
    shop.cached(cache='flyte.Cache("auto", ignored_inputs="day")')
    first = shop.run("--x", "3", "--day", "Monday")
    text = shop.why(shop.run("--x", "4", "--day", "Friday"), "price")
    assert "input 'x': 4 now, 3 then" in text and "day" not in text.partition("first difference")[2]
    assert f"of run {first}, which ended" in shop.why(shop.run("--x", "3", "--day", "Sunday"), "price")


def test_a_result_that_is_gone_is_said_to_differ_in_nothing(shop):
    shop.cached()
    shop.run()
    (shop.home / "local" / "cache.db").unlink()
    assert "nothing that is remembered differs: its result was not kept" in shop.why(shop.run(), "price")


def test_runs_that_leave_or_refresh_the_cache_say_so(shop):
    shop.cached()
    shop.run()
    assert "the run was told to make results anew" in shop.why(shop.run(FLYTE_CACHE="refresh"), "price")
    assert "the run was told to leave it (FLYTE_CACHE=off" in shop.why(shop.run(FLYTE_CACHE="off"), "price")


def test_what_is_not_cached_says_so(shop):
    shop.cached(cache='"disable"')
    name = shop.run()
    assert "it ran because it was called: its task has no cache" in shop.why(name, "price")
    assert "it ran because the run was started; its task has no cache" in shop.why(name, "main")


def test_long_values_are_shortened(shop):
    shop.cached()
    shop.run("--day", "M" * 5000)
    text = shop.why(shop.run("--day", "F" * 5000), "price")
    assert "...' now" in text or "... now" in text
    assert max(map(len, text.splitlines())) < 250


# Recovery, attempts and failures -------------------------------------------------------------------------------

STEPS = """
@env.task
async def early(x: int) -> int:
    return x + 1

@env.task
async def late(x: int) -> int:
    marker = pathlib.Path("marker")
    if not marker.exists():
        marker.write_text("")
        await asyncio.sleep(60)
    return x + 2

@env.task
async def main(x: int = 3) -> int:
    return await late(await early(x))
"""


def test_a_recovered_action_names_the_run_it_was_taken_from(shop):
    shop.write(STEPS)
    process = shop.start()
    shop.until(r"early +1 .*1 succeeded", "live")
    shop.until(r"late +1 .*1 running", "live")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    text = shop.why("live")
    assert "run live of shop.main: aborted" in text
    assert "its process ended before it did; 'flyte rerun live --recover' continues it" in text
    assert "it was aborted: its process ended before it did" in shop.why("live", "late")
    taken = json.loads(shop.flyte("get", "action", "live", "early", "--output", "json").stdout)["name"]
    shop.flyte("run", "--name", "again", "--recover-from", "live", "shop.py", "main")
    said = shop.why("again", "early")
    assert re.search(rf"it was not run: its result was taken from action {taken} of run live, where it ended at", said)
    assert "it ran because it was called" in shop.why("again", "late")
    text = shop.why("again")
    assert "recovered from run live" in text and re.search(r"early +1 .*1 recovered", text)
    shop.flyte("delete", "run", "live", "--force")
    assert "its result was taken from a run that was deleted since" in shop.why("again", "early")


FAILS = """
tried = []

@env.task(retries=2)
async def shaky(x: int) -> int:
    tried.append(x)
    if len(tried) < 3:
        raise ConnectionError(f"no answer {len(tried)}\\nsecond line")
    return x

@env.task
async def weigh(x: int) -> int:
    await asyncio.sleep(0.05)
    raise ValueError(f"{x} is too heavy")

@env.task
async def carry(x: int) -> int:
    return await weigh(x)

@env.task
async def main(x: int = 3) -> int:
    await shaky(x)
    return await carry(x)
"""


def test_each_failed_attempt_is_told_in_one_line(shop):
    shop.write(FAILS)
    text = shop.why(shop.run(), "shaky")
    assert (
        "it was tried again 2 times, after\n    attempt 1: ConnectionError: no answer 1\n    attempt 2: Conne" in text
    )
    assert "second line" not in text


def test_a_failure_is_followed_to_the_child_that_it_came_from(shop):
    shop.write(FAILS)
    name = shop.run()
    text = shop.why(name, "main")
    assert re.search(
        r"it failed: ValueError: 3 is too heavy\n"
        r"    the error came from carry \(\w+\), which it called\n"
        r"      the error came from weigh \(\w+\), which it called$",
        text,
        re.MULTILINE,
    )
    reason = shop.document(name, "main")["reasons"][-1]
    assert reason["kind"] == "failed" and len(reason["came_from"]) == 2
    assert "came from" not in shop.why(name, "weigh")


def test_a_run_is_summed_up(shop):
    shop.write(FAILS)
    name = shop.run()
    text = shop.why(name)
    assert text.startswith(f"run {name} of shop.main: failed, ") and "4 actions\nValueError: 3 is too heavy\n" in text
    assert re.search(r"^  shaky +1 .*1 succeeded, 1 retried$", text, re.MULTILINE)
    assert re.search(r"^    weigh +1 .*1 failed$", text, re.MULTILINE)
    assert re.search(r"^first failure: weigh \(\w+\), .*\n  it ran.*\n  it failed: ValueError: 3", text, re.MULTILINE)
    document = shop.document(name)
    assert [(one["task"], one["depth"], one["calls"]) for one in document["calls"]] == [
        ("shop.main", 0, 1), ("shop.shaky", 1, 1), ("shop.carry", 1, 1), ("shop.weigh", 2, 1),
    ]  # fmt: skip
    assert document["first_failure"]["task"] == "shop.weigh"
    assert document["slowest"]["task"] == "shop.weigh" or document["slowest"]["task"] == "shop.shaky"


# Waiting -------------------------------------------------------------------------------------------------------

WAITS = """
@env.task
async def deepest(x: int) -> int:
    await asyncio.sleep(60)
    return x

@env.task
async def middle(x: int) -> int:
    return await deepest(x)

@env.task
async def main(x: int = 3) -> int:
    return sum(await asyncio.gather(*[middle(i) for i in range({n})]))
"""


def test_a_parent_waits_for_its_running_children(shop):
    shop.write(WAITS.format(n=1))
    shop.start()
    text = shop.until(r"deepest \(\w+\) runs", "live", "main")
    assert re.search(
        r"^  it waits for a call that runs; began \d{4}-.* \(.*s\)\n"
        r"      middle \(\w+\) waits for a call that runs; began \d{4}-.*\n"
        r"        deepest \(\w+\) runs, since \d{4}-.* \(.*s\)$",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^now: main \(a0\), ", shop.why("live"), re.MULTILINE)
    assert shop.document("live")["waiting"]["task"] == "shop.main"


def test_many_children_are_counted(shop):
    shop.write(WAITS.format(n=9))
    shop.start()
    text = shop.until(r"it waits for 9 calls that run", "live", "main")
    assert "... and 4 more" in text


def test_an_action_that_waits_for_a_worker_says_so_and_since_when(shop):
    shop.write(WAITS.format(n=1).replace("await asyncio.sleep(60)", "import time; time.sleep(60)").replace(
        "sum(await asyncio.gather(*[middle(i) for i in range(1)]))",
        "sum(await asyncio.gather(*[deepest(i) for i in range(3)]))"))  # fmt: skip
    shop.start("--workers", "1")
    text = shop.until(r"waits for .*worker.*, since \d{4}-", "live", "main")
    assert re.search(r"deepest \(\w+\) waits for ", text)


PAUSED = """
@env.task
async def main(x: int = 3) -> bool:
    condition = await flyte.new_condition.aio("go-on", prompt="Shall we?", data_type=bool)
    return await condition.wait.aio()
"""


def test_a_run_that_waits_for_people_says_how_to_answer(shop):
    shop.write(PAUSED)
    process = shop.start()
    shop.until(r"to answer: flyte signal live go-on VALUE$", "live", "main")
    assert "live" in shop.flyte("get", "run", "--paused-only").stdout
    shop.flyte("signal", "live", "go-on", "yes")
    process.wait(timeout=20)
    assert shop.why("live").startswith("run live of shop.main: succeeded")
    assert shop.flyte("get", "run", "--paused-only").stdout == ""


def test_unknown_names_are_refused_with_a_hint(shop):
    shop.cached()
    name = shop.run()
    done = shop.flyte("why", name, "pryce")
    assert done.returncode == 1 and "did you mean 'price'" in done.stderr
    assert shop.flyte("why", "nope").returncode == 1
