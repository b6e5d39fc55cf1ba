"""Runs on a real devbox, disturbed: processes are killed, and connections break at every message.

``python -m tests.chaos.plane kills --rounds 10 --seed 1`` kills workers, devbox and clients of runs at random moments.
``python -m tests.chaos.plane wire --side container`` runs a workflow once for each message that its container exchanges
with the devbox, and each way in which a connection can break there; ``--side client`` does so with a client's calls.
Both print JSON: what was done, and violations, each with the seed or the message that repeats it.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyte.devbox._dispatch import GRACE_S
from flyte.devbox._lifecycle import read_endpoint
from flyte.devbox._machine import MAX_SYSTEM_FAILURES
from flyte.devbox.executors.process import is_alive
from tests.chaos import plane_client
from tests.chaos.plane_client import ANSWER, LIMITS, PROGRAMS
from tests.chaos.wire_proxy import FAULTS, WireFault, WireProxy

LIMIT_S = 60.0
"""What has not ended by then hangs."""
PLACES = 4
SUCCEEDED, FAILED, ABORTED, PAUSED = 5, 6, 7, 9  # flyteidl2.common.ActionPhase
CONDITION = 3


class Box:
    """A devbox in a home of its own, which can be killed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "devbox"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.home.mkdir(exist_ok=True)
        with (self.home / "devbox.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flyte.devbox", "--places", str(PLACES)],
                env={**os.environ, "FLYTE_HOME": str(self.home)},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + LIMIT_S
        while (read_endpoint(self.folder) or {}).get("pid") != self.process.pid:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the devbox did not start: {(self.home / 'devbox.log').read_text()[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    @property
    def address(self) -> str:
        return str((read_endpoint(self.folder) or {})["endpoint"]).removeprefix("dns:///")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        connection = sqlite3.connect(f"file:{self.folder / 'devbox.db'}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def running(self) -> list[tuple[str, str]]:
        """Run and action, and ticket, of each attempt that runs."""
        rows = self.rows(
            "SELECT run.name AS run, action.name AS name, process FROM attempt "
            "JOIN action ON action.id = attempt.action JOIN run ON run.id = action.run "
            "WHERE attempt.ended_at IS NULL AND process != '' ORDER BY action.id"
        )
        return [(f"{row['run']}/{row['name']}", row["process"]) for row in rows if is_alive(row["process"])]


@dataclass
class Tally:
    """What a campaign did and found."""

    seed: int
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    actions: int = 0
    lost_attempts: int = 0
    longest: list[tuple[float, str]] = field(default_factory=list)
    """The runs that took longest, in seconds, and what was done to them."""
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def took(self, seconds: float, what: str) -> None:
        self.longest = sorted([*self.longest, (round(seconds, 1), what)], reverse=True)[:5]


@dataclass(frozen=True)
class Normal:
    """What a shape does undisturbed."""

    outputs: str
    actions: Counter[str]


def actions_of(box: Box, run: str) -> Counter[str]:
    rows = box.rows(
        "SELECT action.short_name AS task FROM action JOIN run ON run.id = action.run WHERE run.name = ?", run
    )
    return Counter(row["task"] for row in rows)


async def ended(box: Box, run: str) -> list[str]:
    """The actions of a run of which a process goes on, when each was given its time to clean up."""
    until = time.monotonic() + GRACE_S + 3.0
    sql = (
        "SELECT action.name, process FROM attempt JOIN action ON action.id = attempt.action JOIN run ON "
        "run.id = action.run WHERE run.name = ? AND process != ''"
    )
    while left := [row["name"] for row in box.rows(sql, run) if is_alive(row["process"])]:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
    return left


async def check(
    box: Box, run: str, folder: Path, said: str, normal: Normal, killed: Counter[str], tally: Tally
) -> None:
    """What is wrong with a run that has ended."""

    def wrong(what: str) -> None:
        tally.violations.append(f"run {run}: {what}")

    if said != normal.outputs:
        wrong(f"it gave {said}, not {normal.outputs}")
    found = actions_of(box, run)
    if killed:
        # What has ended otherwise than well is a new action for a caller that is started again.
        found["slow"] = min(found["slow"], normal.actions["slow"])
    if found != normal.actions:
        wrong(f"its actions are {dict(found)}, not {dict(normal.actions)}")
    lines = (folder / "marks").read_text().splitlines() if (folder / "marks").exists() else []
    arrived: set[str] = set()
    for word, _, label in (line.partition(" ") for line in lines):
        if word == "seen":
            arrived.add(label)
        elif word == "ran" and label in arrived:
            wrong(f"{label!r} ran again after its caller had seen its result")
    marks = Counter(line for line in lines if not line.startswith("seen"))
    for action in box.rows(
        "SELECT action.* FROM action JOIN run ON run.id = action.run WHERE run.name = ? ORDER BY action.id", run
    ):
        tally.actions += 1
        name = f"{run}/{action['name']}"
        attempts = box.rows("SELECT * FROM attempt WHERE action = ? ORDER BY number", action["id"])
        phases = [row["phase"] for row in attempts]
        if action["ended_at"] is None or action["phase"] not in (SUCCEEDED, FAILED, ABORTED):
            wrong(f"action {name} ({action['short_name']}) has not ended: phase {action['phase']}")
        if phases.count(SUCCEEDED) > 1 or SUCCEEDED in phases[:-1]:
            wrong(f"action {name} went on after it had succeeded: {phases}")
        if action["short_name"] == "slow" and action["parent"] and action["reason"] != "its caller was cancelled":
            wrong(f"action {name} was not ended by its caller: {action['reason']!r}")
        lost = sum(b"Interrupted" in (row["error"] or b"") for row in attempts)
        tally.lost_attempts += lost
        if lost > killed[name]:
            errors = [bytes(row["error"] or b"") for row in attempts]
            wrong(f"action {name} lost {lost} attempts, but {killed[name]} were killed: {errors}")
    if left := await ended(box, run):
        wrong(f"processes of actions {left} go on")
    for line, times in marks.items():
        # What ran was an attempt; one that was not killed ran once.
        if times > 1 + sum(count for name, count in killed.items() if name.startswith(f"{run}/")):
            wrong(f"{line!r} {times} times")
    if not killed and any(times > 1 for times in marks.values()):
        wrong(f"it ran twice: {marks}")
    if marks["ended gave up"]:
        wrong("what was cancelled went on")


# Kills ----------------------------------------------------------------------------------------------------------------


class Round:
    """Runs at the same time, while processes are killed."""

    def __init__(
        self, box: Box, place: Path, seed: int, tally: Tally, normal: dict[str, Normal], *, shipped: bool
    ) -> None:
        self.box, self.place, self.seed, self.tally, self.normal = box, place, seed, tally, normal
        self.shipped = shipped
        self.chance = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.clients: dict[str, asyncio.subprocess.Process] = {}
        self.done = asyncio.Event()

    async def play(self, shapes: list[str], kills: int) -> None:
        names = {f"k{self.seed}-{number}": shape for number, shape in enumerate(shapes)}
        trouble = asyncio.create_task(self.disturb(kills))
        answering = asyncio.create_task(answer_all(self.box))
        try:
            async with asyncio.timeout(2 * LIMIT_S):
                said = dict(zip(names, await asyncio.gather(*map(self.run, names, names.values())), strict=True))
                self.done.set()
                await trouble
        except TimeoutError:
            self.tally.violations.append(f"seed {self.seed}: hangs: {self.left()}")
            return
        finally:
            trouble.cancel()
            answering.cancel()
            await asyncio.gather(trouble, answering, return_exceptions=True)
        await asyncio.sleep(0.2)
        already = len(self.tally.violations)
        for name, shape in names.items():
            await check(self.box, name, self.place / name, said[name], self.normal[shape], self.killed, self.tally)
        if left := self.box.running():
            self.tally.violations.append(f"all runs have ended, but these go on: {left}")
        self.tally.violations[already:] = [f"seed {self.seed}: {one}" for one in self.tally.violations[already:]]

    def left(self) -> list[tuple[Any, ...]]:
        rows = self.box.rows(
            "SELECT run.name, action.name, short_name, phase FROM action JOIN run ON run.id = action.run "
            "WHERE action.ended_at IS NULL"
        )
        return [tuple(row) for row in rows]

    async def run(self, name: str, shape: str) -> str:
        """Start a run as a user does; whoever kills the client finds the run again. Gives its outputs."""
        folder = self.place / name
        folder.mkdir(parents=True)
        await asyncio.sleep(self.chance.uniform(0, 1.5))
        command = [sys.executable, "-m", "flyte.cli.main", "run", "--remote", "--follow", "--name", name]
        command += ["--root-dir", str(PROGRAMS), "-e", f"CHAOS_FOLDER={folder}"]
        command += [] if self.shipped else ["-e", f"CHAOS_LIMITS={json.dumps(LIMITS)}"]
        command += [str(PROGRAMS / "shapes.py"), shape]
        while True:
            with (folder / "client.log").open("ab") as log:
                client = await asyncio.create_subprocess_exec(
                    *command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=plane_client.environ(self.box.home)
                )
                self.clients[name] = client
                code = await client.wait()
            self.clients.pop(name, None)
            if self.box.rows("SELECT 1 FROM run WHERE name = ?", name):
                break
            if code >= 0:
                # The devbox was dead for longer than a client waits.
                await asyncio.sleep(0.2)
        self.tally.runs += 1
        return await outcome(name)

    async def disturb(self, kills: int) -> None:
        left = kills
        while left:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.done.wait(), self.chance.uniform(0.02, 0.3))
                return
            running = self.box.running()
            # Mostly while something runs: what is killed before it has begun shows little.
            if not running and self.chance.random() < 0.9:
                continue
            # One loss more, and an action has to fail.
            workers = [one for one in running if self.killed[one[0]] < MAX_SYSTEM_FAILURES]
            what = self.chance.choices(["worker", "client", "devbox"], [6, 2, 1])[0]
            if what == "devbox":
                self.box.kill()
                await asyncio.sleep(self.chance.uniform(0, 0.3))
                await asyncio.to_thread(self.box.start)
            elif what == "client" and self.clients:
                client = self.clients[self.chance.choice(sorted(self.clients))]
                with contextlib.suppress(ProcessLookupError):
                    client.kill()
            elif what == "worker" and workers:
                name, ticket = self.chance.choice(workers)
                self.killed[name] += 1
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(ticket.partition(":")[0]), signal.SIGKILL)
            else:
                continue
            self.tally.kills[what] += 1
            left -= 1


async def outcome(name: str) -> str:
    """The outputs of a run when it has ended, read by whoever comes; a client that fails is followed by another."""
    import flyte.remote
    from flyte.errors import BaseRuntimeError

    while True:
        try:
            run = await flyte.remote.Run.get.aio(name)
            await run.wait.aio(quiet=True)
            return (
                repr((await run.outputs.aio())[0])
                if run.raw_phase == SUCCEEDED
                else f"{run.phase}: {run.error_message}"
            )
        except BaseRuntimeError as error:
            if error.kind == "user" and "connect" not in str(error).lower() and "devbox" not in str(error):
                return f"{type(error).__name__}: {error}"
            await asyncio.sleep(0.1)


async def answer_all(box: Box) -> None:
    """A person who answers every question."""
    import flyte
    from flyte.errors import BaseRuntimeError

    while True:
        await asyncio.sleep(0.1)
        with contextlib.suppress(sqlite3.Error):
            for row in box.rows(
                "SELECT run.name FROM action JOIN run ON run.id = action.run WHERE kind = ? AND phase = ?",
                CONDITION,
                PAUSED,
            ):
                with contextlib.suppress(BaseRuntimeError):
                    await flyte.signal.aio(row["name"], "go", ANSWER)


async def undisturbed(box: Box, place: Path) -> dict[str, Normal]:
    """Every shape, once, in peace."""
    import shapes

    answering = asyncio.create_task(answer_all(box))

    async def one(shape: str) -> Normal:
        folder = place / f"quiet-{shape}"
        folder.mkdir()
        run = await plane_client.start(shape, f"quiet-{shape}", folder)
        said = await outcome(run.name)
        return Normal(said, actions_of(box, run.name))

    try:
        async with asyncio.timeout(LIMIT_S):
            found = await asyncio.gather(*map(one, shapes.SHAPES))
    finally:
        answering.cancel()
    return dict(zip(shapes.SHAPES, found, strict=True))


async def places_are_free(box: Box, place: Path, tally: Tally) -> None:
    """As many tasks as there are places meet each other, which they do only if all work at the same time."""
    folder = place / "meeting"
    folder.mkdir()
    runs = [await plane_client.start("meets", f"meeting-{number}", folder, PLACES) for number in range(PLACES)]
    said = await asyncio.gather(*(outcome(run.name) for run in runs))
    if said != [str(PLACES)] * PLACES:
        tally.violations.append(f"a place is held by nobody who runs: {said}")


async def kills(rounds: int, runs: int, per_round: int, seed: int, tally: Tally, place: Path, *, shipped: bool) -> None:
    """Rounds of runs with kills; round ``i`` has seed ``seed + i``."""
    import shapes

    box = Box(place / "home")
    box.start()
    with plane_client.devbox_home(box.home):
        try:
            normal = await undisturbed(box, place)
            for number in range(rounds):
                chosen = random.Random(seed + number).choices(list(shapes.SHAPES), k=runs)
                await Round(box, place, seed + number, tally, normal, shipped=shipped).play(chosen, per_round)
            await places_are_free(box, place, tally)
        finally:
            box.stop()


# Connections ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def through(box: Box, place: Path, planned: dict[int, WireFault]) -> Iterator[tuple[WireProxy, Path]]:
    """A proxy, and a home in which clients find it in place of the devbox."""
    home = place / "home"
    (home / "devbox").mkdir(parents=True)
    with WireProxy(box.address) as proxy:
        proxy.planned.update(planned)
        said = read_endpoint(box.folder) or {}
        said["endpoint"] = "dns:///" + proxy.endpoint.removeprefix("http://")
        shutil.copy(box.folder / "token", home / "devbox" / "token")
        (home / "devbox" / "endpoint.json").write_text(json.dumps(said))
        yield proxy, home


class Wire:
    """Runs through proxies, each with its own fault."""

    def __init__(self, box: Box, place: Path, tally: Tally, side: str) -> None:
        self.box, self.place, self.tally, self.side = box, place, tally, side
        self.pool: ProcessPoolExecutor | None = None
        self.normal = Normal("", Counter())

    async def once(self, name: str, planned: dict[int, WireFault]) -> int:
        """One run with these faults; gives how many frames there were."""
        place = self.place / name
        place.mkdir()
        began = time.monotonic()
        with through(self.box, place, planned) as (proxy, home):
            try:
                async with asyncio.timeout(LIMIT_S):
                    if self.side == "client":
                        # One fault is nothing that a user is told of; of many, some may be more than is retried.
                        said = await self.client(name, place, home, 1 if len(planned) <= 1 else 20)
                    else:
                        said = await self.container(name, place, home)
            except TimeoutError:
                self.tally.violations.append(f"{self.side} {planned}: hangs; frames {proxy.frames}, done {proxy.done}")
                return proxy.frames
            self.tally.runs += 1
            self.tally.frames += proxy.frames
            self.tally.faults.update(kind for _, kind in proxy.done)
        took_s = time.monotonic() - began
        self.tally.took(took_s, f"{planned}")
        if not self.normal.outputs:
            self.normal = Normal(said, actions_of(self.box, name))
        already = len(self.tally.violations)
        await check(self.box, name, place, said, self.normal, Counter(), self.tally)
        self.tally.violations[already:] = [
            f"{self.side} {planned} ({took_s:.1f} s): {one}" for one in self.tally.violations[already:]
        ]
        return proxy.frames

    async def container(self, name: str, place: Path, home: Path) -> str:
        await plane_client.start("mixed", name, place, None, CHAOS_HOME=str(home), CHAOS_LIMITS=json.dumps(LIMITS))
        return await outcome(name)

    async def client(self, name: str, place: Path, home: Path, tries: int) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, plane_client.session, name, str(place), str(home), tries)


async def wire(
    side: str,
    every: int,
    kinds: tuple[WireFault, ...],
    seed: int,
    tally: Tally,
    place: Path,
    only: list[int] | None = None,
) -> None:
    """Break connections at each message; with ``every`` above 1, at one of so many, in a way chosen by ``seed``."""
    box = Box(place / "home")
    box.start()
    with plane_client.devbox_home(box.home):
        work = Wire(box, place, tally, side)
        chance = random.Random(seed)
        try:
            with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
                work.pool = pool
                count = await work.once("quiet", {})
                if only:
                    plans = [{n: kind} for n in only for kind in kinds]
                elif every > 1:
                    plans = [{n: chance.choice(kinds)} for n in range(1 + seed % every, count + 1, every)]
                else:
                    plans = [{n: kind} for n in range(1, count + 1) for kind in kinds]
                # And many on one way, of which no call may end without an answer.
                plans += [
                    {n: chance.choice(kinds) for n in range(1, 3 * count) if chance.random() < 0.06}
                    for _ in range(max(1, len(plans) // 10))
                ]
                places = asyncio.Semaphore(4)

                async def limited(number: int, plan: dict[int, WireFault]) -> None:
                    async with places:
                        await work.once(f"w{number}", plan)

                await asyncio.gather(*(limited(number, plan) for number, plan in enumerate(plans)))
            await asyncio.sleep(0.2)
            if left := box.running():
                tally.violations.append(f"all runs have ended, but these go on: {left}")
            await places_are_free(box, place, tally)
        finally:
            box.stop()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the files, to look at them")
    ways = parser.add_subparsers(dest="way", required=True)
    by_kills = ways.add_parser("kills")
    by_kills.add_argument("--rounds", type=int, default=10)
    by_kills.add_argument("--runs", type=int, default=6, help="runs at the same time")
    by_kills.add_argument("--kills", type=int, default=12, help="kills in a round, at most")
    by_kills.add_argument("--shipped", action="store_true", help="containers wait as long as they do for users")
    by_wire = ways.add_parser("wire")
    by_wire.add_argument("--side", choices=["client", "container"], default="container")
    by_wire.add_argument("--every", type=int, default=1, help="only one message of so many, in one way each")
    by_wire.add_argument("--only", type=int, action="append", help="only these messages")
    by_wire.add_argument("--fault", action="append", choices=FAULTS, help="only these; all if not given")
    given = parser.parse_args(arguments)
    tally = Tally(given.seed)
    began = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="flyte-chaos-"))
    try:
        if given.way == "kills":
            asyncio.run(kills(given.rounds, given.runs, given.kills, given.seed, tally, place, shipped=given.shipped))
        else:
            kinds = tuple(given.fault or FAULTS)
            asyncio.run(wire(given.side, given.every, kinds, given.seed, tally, place, given.only))
    finally:
        if given.keep:
            print(f"files: {place}", file=sys.stderr)
        else:
            shutil.rmtree(place, ignore_errors=True)
    tally.seconds = round(time.monotonic() - began, 1)
    print(json.dumps(vars(tally), indent=2))
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
