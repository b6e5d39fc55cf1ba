"""Kills processes that run workflows, recovers the runs, and counts what ran again although its result had been seen.

``python tests/chaos/kill.py --kills 1000 --seed 1`` prints JSON: seed, kills, runs, violations. Every process is a fork
of this one, which has loaded the package but started nothing, so it is as fresh as one that was just started. Half of
the kills come at a random time, half at an instrumented point that the process under test finds in its environment.
"""

import argparse
import atexit
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIMIT_S = 30.0
"""A process that has not ended by then hangs."""
MOST_KILLS = 12
"""After so many kills a chain is left to end."""
NOTHING_TO_RECOVER = 3

# A copy, because recovery compares the source: somebody who edits it while a campaign goes on does not disturb it.
_FOLDER = Path(tempfile.mkdtemp(prefix="flyte-chaos-program-"))
atexit.register(shutil.rmtree, _FOLDER, True)
_spec = importlib.util.spec_from_file_location(
    "chaos_workflows", shutil.copy(HERE / "workflows.py", _FOLDER / "chaos_workflows.py")
)
assert _spec is not None and _spec.loader is not None
workflows = importlib.util.module_from_spec(_spec)
sys.modules["chaos_workflows"] = workflows
_spec.loader.exec_module(workflows)


def load() -> None:
    """Import what a run needs, so that a fork starts at once; opens no file and starts no thread."""
    import sqlite3  # noqa: F401

    import flyte
    from flyte._control.attempt import plan_of

    assert flyte.run
    for task in list(workflows.env.tasks.values()):
        assert plan_of(task).identity
        assert plan_of(task).work_version


@dataclass
class Tally:
    """What a campaign did and found."""

    seed: int
    kills: int = 0
    timed: int = 0
    """Kills at a random time; the others were at an instrumented point."""
    chains: int = 0
    processes: int = 0
    recovered: int = 0
    """Actions that a recovering process did not run, because they had been seen."""
    by_shape: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Manner:
    """How processes of a campaign run.

    :param crowd: how many chains go on at once, all with one journal.
    :param workers: run bodies in so many worker processes, which outlive a killed one for a moment.
    :param forgetful: recover nothing, which must be found out.
    """

    crowd: int = 1
    workers: int | None = None
    forgetful: bool = False


def child(shape: str, home: Path, log: Path, name: str, recover_from: str | None, kill_at: int, manner: Manner) -> None:
    """One process: a run of the shape. Does not return."""
    code = 1
    try:
        os.environ.update(
            FLYTE_HOME=str(home), CHAOS_KILL_AT=str(kill_at), CHAOS_LOG=str(log), CHAOS_VICTIM=str(os.getpid())
        )
        errors = os.open(log.with_suffix(".err"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        workflows.Log.open(str(log))
        import flyte
        from flyte.errors import RunRecoveryError

        try:
            context = flyte.with_runcontext(name=name, recover_from=recover_from, workers=manner.workers)
            run = context.run(workflows.SHAPES[shape])
        except RunRecoveryError as error:
            print(error, flush=True)
            code = NOTHING_TO_RECOVER
        else:
            os.write(workflows.Log.descriptor, f"result {run.outputs()[0]!r}\n".encode())
            code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def execute(
    shape: str,
    home: Path,
    log: Path,
    name: str,
    recover_from: str | None,
    manner: Manner,
    kill_at: int = 0,
    after_s: float | None = None,
) -> tuple[int | None, float]:
    """Run one process; its exit code, None if it was killed, and how long it took. ``after_s``: killed then."""
    started = time.monotonic()
    with log.open("a") as lines:
        lines.write(f"process {name} from {recover_from} kill_at={kill_at} after_s={after_s}\n")
    pid = os.fork()
    if pid == 0:
        child(shape, home, log, name, recover_from, kill_at, manner)
    until = started + (LIMIT_S if after_s is None else after_s)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        if ended:
            break
        if now >= until:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if after_s is None:
                return -1, now - started
            break
        time.sleep(min(0.001, until - now))
    took_s = time.monotonic() - started
    return (None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), took_s


def check(shape: str, lines: list[str], expected: str | None) -> tuple[list[str], int]:
    """What the lines of a chain show: violations, and how many seen works a later process did not run again."""
    violations: list[str] = []
    seen: set[str] = set()
    before: set[str] = set()
    equal_left = 0
    reused = 0
    ran_here: set[str] = set()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "process":
            before, ran_here = set(seen), set()
            equal_left = workflows.EQUAL_CALLS.get(shape, 0) - len(before)
        elif word == "ran":
            if rest in seen:
                violations.append(f"{rest!r} ran again after it was seen")
            if rest == "same" and shape in workflows.EQUAL_CALLS:
                equal_left -= 1
                if equal_left < 0:
                    violations.append("an equal call ran again after it was seen")
            ran_here.add(rest)
        elif word == "seen":
            if rest in before and rest not in ran_here:
                reused += 1
            seen.add(rest)
        elif word == "result" and expected is not None and line != expected:
            violations.append(f"{line!r} is not {expected!r}")
    return violations, reused


@dataclass(frozen=True)
class Undisturbed:
    """What a shape does when nobody kills it: its last line, how long it takes, and how many points it has."""

    result: str
    took_s: float
    points: int


def chain(
    shape: str, seed: int, folder: Path, tally: Tally, normal: Undisturbed, crowd_home: Path | None, manner: Manner
) -> None:
    """Kill and recover one run until it ends."""
    chance = random.Random(seed)
    home, log = crowd_home or folder / "home", folder / "log"
    folder.mkdir()
    names: list[str] = []
    kills = 0
    tally.chains += 1
    while True:
        name = f"k{seed}-{len(names)}"
        kill_at, after_s = 0, None
        if kills < MOST_KILLS:
            if chance.random() < 0.5:
                after_s = chance.uniform(0.0, normal.took_s)
            else:
                kill_at = chance.randint(1, normal.points)
        # In a crowd the last run is somebody else's.
        by_name = chance.random() < 0.5 or crowd_home is not None
        known = [] if manner.forgetful else list(names)
        while True:
            recover_from = None if not known else known[-1] if by_name else "last"
            code, _ = execute(shape, home, log, name, recover_from, manner, kill_at, after_s)
            tally.processes += 1
            if code != NOTHING_TO_RECOVER:
                break
            # The process before was killed before its run was remembered: nothing of it can have been seen.
            known = known[:-1] if by_name else []
        names.append(name)
        if code is None:
            kills += 1
            tally.kills += 1
            tally.timed += after_s is not None
            tally.by_shape[shape] += 1
            continue
        lines = log.read_text().splitlines()
        found, reused = check(shape, lines, normal.result)
        tally.recovered += reused
        if code != 0:
            said = log.with_suffix(".err").read_text()[-1500:]
            found.append("did not end" if code == -1 else f"ended with {code}: {said}")
        for violation in found:
            tally.violations.append(f"shape {shape}, seed {seed}, kills {kills}: {violation}")
        return


def measure(shape: str, folder: Path, tally: Tally, manner: Manner) -> Undisturbed:
    """Run a shape twice without killing it."""
    home, log = folder / f"home-{shape}", folder / f"log-{shape}"
    longest_s = 0.0
    for i in range(2):
        log.unlink(missing_ok=True)
        code, took_s = execute(shape, home, log, f"undisturbed-{i}", None, manner)
        if code != 0:
            raise RuntimeError(f"{shape} does not end undisturbed: {log.with_suffix('.err').read_text()}")
        longest_s = max(longest_s, took_s)
    lines = log.read_text().splitlines()
    found, _ = check(shape, lines, None)
    tally.violations += [f"shape {shape}, undisturbed: {violation}" for violation in found]
    return Undisturbed(lines[-1], longest_s, 2 * sum(line.startswith(("ran", "seen")) for line in lines))


def campaign(kills: int, seed: int, shapes: list[str], keep: Path | None, manner: Manner) -> Tally:
    """At least ``kills`` kills over the shapes in turn; chain ``i`` has seed ``seed + i``."""
    crowd = manner.crowd
    load()
    tally = Tally(seed)
    began = time.monotonic()
    # What a killed process has written stays with the system, on a disk or in memory, and memory is faster.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="flyte-chaos-", dir=memory))
    try:
        normal = {shape: measure(shape, folder, tally, manner) for shape in shapes}
        members = []
        for member in range(crowd):
            pid = os.fork() if crowd > 1 else 0
            if pid:
                members.append(pid)
                continue
            i = member
            while tally.kills * crowd < kills:
                shape = shapes[i % len(shapes)]
                place = folder / str(seed + i)
                already = len(tally.violations)
                shared = folder / "shared" if crowd > 1 else None
                chain(shape, seed + i, place, tally, normal[shape], shared, manner)
                if keep is not None and len(tally.violations) > already:
                    shutil.copytree(place, keep / place.name, dirs_exist_ok=True)
                shutil.rmtree(place)
                i += crowd
            if crowd > 1:
                (folder / f"tally-{member}").write_text(json.dumps(vars(tally)))
                os._exit(0)
        for member, pid in enumerate(members):
            os.waitpid(pid, 0)
            add(tally, json.loads((folder / f"tally-{member}").read_text()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def add(tally: Tally, part: dict[str, Any]) -> None:
    """Add what one of a crowd did."""
    for name in ("kills", "timed", "chains", "processes", "recovered"):
        setattr(tally, name, getattr(tally, name) + part[name])
    tally.by_shape.update(part["by_shape"])
    tally.violations += part["violations"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--shape", action="append", choices=sorted(workflows.SHAPES), help="only these; all if not given"
    )
    parser.add_argument("--keep", type=Path, help="a folder that gets the files of chains with violations")
    parser.add_argument("--crowd", type=int, default=1, help="how many chains go on at once, all with one journal")
    parser.add_argument("--workers", type=int, help="run bodies in so many worker processes")
    parser.add_argument("--forgetful", action="store_true", help="recover nothing, to see that this is found out")
    given = parser.parse_args(arguments)
    manner = Manner(given.crowd, given.workers, given.forgetful)
    tally = campaign(given.kills, given.seed, given.shape or list(workflows.SHAPES), given.keep, manner)
    document: dict[str, Any] = dict(vars(tally))
    print(json.dumps(document, indent=2))
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
