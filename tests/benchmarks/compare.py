#!/usr/bin/env python3
"""The same work on this checkout, on the published flyte and on bare asyncio, side by side.

    python tests/benchmarks/compare.py --ours PYTHON --peer PYTHON [--scenario S1:1000] [--reps 5] [--no-gate]

Each run is a fresh process in its system's own environment, with an empty home and working directory; the systems take
turns (A B C A B C), so that a drift of the machine meets all of them alike, and the ratio is the median over
neighbouring runs. Every answer is checked. The exit code is 1 when a target under "at most" is missed or a run failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Target:
    """What is asked of ours: its seconds as a share of the published package's.

    :param at_most: a larger share fails the run.
    :param aim: what we would like; missing it is only marked.
    :param or_seconds: this few seconds satisfy ``at_most`` too, whatever the share.
    :param memory_at_most: the growth of memory as a share of the published package's; a larger share fails the run.
    """

    at_most: float
    aim: float | None = None
    or_seconds: float = 0.0
    memory_at_most: float | None = None


CHILD = Target(1 / 15, aim=1 / 20)
STRUCTURED_CHILD = Target(1 / 50)
STRUCTURED_CONVERSION = Target(1 / 10)

# scenario:n -> target. n is chosen so that the published package needs about a second, S1:10000 apart.
TARGETS = {
    "S1:100": CHILD,
    "S1:1000": CHILD,
    "S1:10000": CHILD,
    "S2:1000": CHILD,
    "S3:10": CHILD,
    "S4_dataclass:1000": STRUCTURED_CHILD,
    "S4_pydantic:1000": STRUCTURED_CHILD,
    # n MB through five tasks, one after another.
    "S5_bytes:100": Target(1 / 5, memory_at_most=1 / 2),
    "S5_numpy:80": Target(1 / 8, memory_at_most=1 / 2),
    "S5_pandas:80": Target(1 / 2, memory_at_most=1 / 2),
    "S5_flyteframe:80": Target(1 / 2, memory_at_most=1 / 2),
    "S5_file:100": Target(1.0),
    "S6:200": Target(1 / 20),
    "S6_aio:200": Target(1 / 20),
    "S7:1000": Target(1 / 10),
    "S7_fill:1000": Target(1 / 20),
    "S10:1000": Target(1 / 10),
    "S10_kept:1000": Target(1 / 10),
    "S12:1000": Target(1 / 25),
    "S12_fan:1000": Target(1 / 25),
    "S9:2000": Target(1 / 2),
    "S9_git:2000": Target(1 / 2),
    "S9_loaded:2000": Target(1 / 3),
    "S9_again:2000": Target(1 / 10),
    "S11_int:10000": Target(1 / 4),
    "S11_dataclass:1000": STRUCTURED_CONVERSION,
    "S11_pydantic:1000": STRUCTURED_CONVERSION,
    "S11_list:20": Target(1 / 20),
    "S8_import": Target(0.6, or_seconds=0.060),
    "S8_cmd_help": Target(1 / 6),
    "S8_cmd_run_help": Target(1 / 6),
    "S8_cmd_run_local": Target(1 / 3),
}

# Children gathered at once, and how much memory each may cost at the peak. The published package is left out: 100,000
# of its children take minutes and gigabytes.
MEMORY_SIZES = (1_000, 10_000, 100_000)
MOST_KB_PER_CHILD = 3.0
# Linear: a child among the most costs hardly more than one among fewer. The rest is what allocators round up.
MOST_BEND = 1.25

# How much longer the same may take when it is remembered.
KEPT = {"S1_kept:10000": ("S1:10000", 3.0)}

# At most so long until a process that recovers 10,000 finished actions runs the first unfinished one.
MOST_SECONDS_TO_UNFINISHED = 2.0
# How much faster two workers are than one; or nearly as much as bare processes, where the machine gives less.
LEAST_SPEEDUP, LEAST_OF_BARE = 1.8, 0.95

BUNDLES = "measure_bundle.py"
"""The driver of the scenarios S9: they are about files, not about runs."""

HELLO = """\
import asyncio
import flyte

env = flyte.TaskEnvironment(name="hello")


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def main(n: int) -> int:
    return sum(await asyncio.gather(*[square(i) for i in range(n)]))
"""

HELLO_ASYNCIO = """\
import asyncio


async def square(x):
    return x * x


async def main(n):
    return sum(await asyncio.gather(*[asyncio.create_task(square(i)) for i in range(n)]))


print(asyncio.run(main(10)))
"""

TIMED_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


@dataclass(frozen=True)
class Command:
    """A whole process.

    :param argv: what to start, in a directory that holds hello.py and hello_asyncio.py.
    :param says: must be in its output; or ``None`` where the output is the seconds it measured itself.
    """

    argv: list[str]
    says: str | None


class Failed(Exception):
    """A run that ended badly, was too slow, or gave a wrong answer."""


@dataclass
class System:
    """One of the systems that are compared.

    :param label: its column.
    :param python: the interpreter of its environment.
    :param driver: the file of this folder that does its work.
    """

    label: str
    python: Path
    driver: str
    commands: dict[str, Command] = field(default_factory=dict)

    def run(self, scenario: str, timeout_s: float) -> dict[str, Any]:
        """One run of ``NAME:N`` or of a command; :class:`Failed` with the reason when it is no good."""
        name, _, n = scenario.partition(":")
        command = self.commands.get(name)
        driver = BUNDLES if name.startswith("S9") else self.driver
        argv = command.argv if command else [str(self.python), str(HERE / driver), name, n]
        with empty_home() as (work, environment):
            environment["BENCHMARK_SYSTEM"] = self.label
            started = time.perf_counter()
            code, out, err = finish(argv, work, environment, timeout_s)
            seconds = time.perf_counter() - started
        if code:
            raise Failed(f"exit code {code}: {last_line(err or out)}")
        if command is None:
            result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
            return result
        if command.says is None:
            seconds = float(out)
        elif command.says not in out:
            raise Failed(f"{command.says!r} is not in its output, which ends: {last_line(out)}")
        return {"seconds": seconds, "items": 1, "growth_kb": None}


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["(nothing)"])[-1][:300]


@contextmanager
def empty_home() -> Iterator[tuple[Path, dict[str, str]]]:
    """A fresh working directory and the environment of a user who has nothing configured."""
    with tempfile.TemporaryDirectory(prefix="flyte-benchmark-") as root:
        work = Path(root, "work")
        for folder in (work, Path(root, "home"), Path(root, "tmp")):
            folder.mkdir()
        (work / "hello.py").write_text(HELLO)
        (work / "hello_asyncio.py").write_text(HELLO_ASYNCIO)
        kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "LC_ALL"}}
        yield work, {**kept, "HOME": f"{root}/home", "TMPDIR": f"{root}/tmp", "DO_NOT_TRACK": "1", "NO_COLOR": "1"}


def finish(argv: list[str], cwd: Path, env: dict[str, str], timeout_s: float) -> tuple[int, str, str]:
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Failed(f"not finished after {timeout_s:g} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with whatever it started
            process.communicate()
    return process.returncode, out, err


def flyte_commands(python: Path) -> dict[str, Command]:
    cli = str(python.with_name("flyte"))
    return {
        "S8_import": Command([str(python), "-c", TIMED_IMPORT.format("flyte")], None),
        "S8_cmd_help": Command([cli, "--help"], "run"),
        "S8_cmd_run_help": Command([cli, "run", "--help"], "run"),
        "S8_cmd_run_local": Command([cli, "run", "--local", "hello.py", "main", "--n", "10"], "285"),
    }


def asyncio_commands(python: Path) -> dict[str, Command]:
    return {
        "S8_import": Command([str(python), "-c", TIMED_IMPORT.format("asyncio")], None),
        "S8_cmd_run_local": Command([str(python), "hello_asyncio.py"], "285"),
    }


# What bare asyncio has no equal of.
NOT_IN_ASYNCIO = {
    "S5_bytes",
    "S5_numpy",
    "S5_pandas",
    "S5_flyteframe",
    "S5_file",
    "S7",
    "S7_fill",
    "S9",
    "S9_git",
    "S9_loaded",
    "S9_again",
    "S10_kept",
    "S12",
    "S12_fan",
    "S11_int",
    "S11_dataclass",
    "S11_pydantic",
    "S11_list",
    "S8_cmd_help",
    "S8_cmd_run_help",
}


@dataclass
class Cell:
    """The runs of one scenario on one system."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    @property
    def seconds(self) -> float:
        return median(r["seconds"] for r in self.runs)

    @property
    def kb_per_item(self) -> float | None:
        if self.runs[0]["growth_kb"] is None:
            return None
        return median(r["growth_kb"] / r["items"] for r in self.runs)


def take_turns(systems: list[System], scenario: str, reps: int, timeout_s: float, log: Any) -> dict[str, Cell]:
    """``reps`` rounds, each system once a round; one that failed sits out what is left."""
    name = scenario.partition(":")[0]
    able = [s for s in systems if not (s.label == "asyncio" and name in NOT_IN_ASYNCIO)]
    cells = {s.label: Cell() for s in able}
    for round_ in range(-1 if name.startswith("S8") else 0, reps):  # round -1 fills the file cache and is not counted
        for system in able:
            cell = cells[system.label]
            if cell.failure:
                continue
            try:
                result = system.run(scenario, timeout_s)
            except Failed as e:
                cell.failure = str(e)
                print(f"{scenario} on {system.label}: {e}", file=sys.stderr)
                continue
            if round_ >= 0:
                cell.runs.append(result)
                if log:
                    log.write(
                        json.dumps({"scenario": scenario, "system": system.label, "run": round_, **result}) + "\n"
                    )
    return cells


def ratio(ours: Cell, peer: Cell) -> float:
    """The median over neighbouring runs, not the ratio of medians: a slow minute then touches both sides of a pair."""
    return median(a["seconds"] / b["seconds"] for a, b in zip(ours.runs, peer.runs, strict=True))


def share(value: float) -> str:
    return f"{value:.2f}" if value >= 0.5 else f"1/{1 / value:.3g}"


def duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def kilobytes(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def judge(target: Target | None, value: float, seconds: float) -> tuple[str, bool]:
    """The words of the last column, and whether the target under "at most" is met."""
    if target is None:
        return "no target", True
    if value > target.at_most and seconds > target.or_seconds:
        return "MISSED", False
    if target.aim is not None and value > target.aim:
        return "met, not yet the aim", True
    return "met", True


def row(scenario: str, cells: dict[str, Cell]) -> tuple[list[str], bool]:
    ours, peer = cells["ours"], cells["peer"]
    target = TARGETS.get(scenario)
    asked = (
        f"{share(target.at_most)}" + (f" (aim {share(target.aim)})" if target and target.aim else "") if target else ""
    )
    if target and target.or_seconds:
        asked += f" or {duration(target.or_seconds)}"
    if target and target.memory_at_most:
        asked += f", memory {share(target.memory_at_most)}"
    times = [duration(c.seconds) if c and not c.failure else ("failed" if c else "") for c in map(cells.get, LABELS)]
    growth = [kilobytes(c.kb_per_item) if c and not c.failure else "" for c in map(cells.get, LABELS)]
    if ours.failure or peer.failure:
        return [scenario, *times, "", *growth, asked, "FAILED"], False
    value = ratio(ours, peer)
    verdict, met = judge(target, value, ours.seconds)
    if target and target.memory_at_most and met:
        grown, peers = ours.kb_per_item, peer.kb_per_item
        if grown is not None and peers and grown > peers * target.memory_at_most:
            verdict, met = f"MISSED: memory {share(grown / peers)}", False
    return [scenario, *times, share(value), *growth, asked, verdict], met


LABELS = ("ours", "peer", "asyncio")
HEAD = ["scenario", "ours", "peer", "asyncio", "ours/peer", "KB/item", "peer", "asyncio", "at most", ""]
PROCESSES_HEAD = ["whole processes of ours", "", "asked", ""]
JOURNAL_HEAD = ["remembered", "with", "without", "with/without", "at most", ""]
MEMORY_HEAD = ["gathered children", "ours KB each", "asyncio KB each", "at most", ""]


def print_table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for cells in [head, ["-" * w for w in widths], *rows]:
        print("| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |")


def memory(systems: list[System], reps: int, timeout_s: float, log: Any) -> tuple[list[list[str]], bool]:
    """Peak memory for each gathered child, at sizes far apart: the same at each when growth is linear."""
    rows, met, smaller = [], True, None
    for n in MEMORY_SIZES:
        cells = take_turns([s for s in systems if s.label != "peer"], f"S1:{n}", reps, timeout_s, log)
        if any(c.failure for c in cells.values()):
            rows.append([f"{n:,}", "", "", f"{MOST_KB_PER_CHILD:g}", "FAILED"])
            met = False
            continue
        each = cells["ours"].kb_per_item or 0.0
        # Between 1,000 and 10,000 the pages of the warm-up still weigh in; the bend that matters comes after.
        bent = smaller is not None and n == MEMORY_SIZES[-1] and each > smaller * MOST_BEND
        ok = each <= MOST_KB_PER_CHILD and not bent
        met, smaller = met and ok, each
        verdict = "met" if ok else "MISSED: not linear" if bent else "MISSED"
        rows.append(
            [f"{n:,}", kilobytes(each), kilobytes(cells["asyncio"].kb_per_item), f"{MOST_KB_PER_CHILD:g}", verdict]
        )
    return rows, met


def journal(systems: list[System], reps: int, timeout_s: float, log: Any) -> tuple[list[list[str]], bool]:
    """What it costs to remember: the same work of ours with and without."""
    ours = [s for s in systems if s.label == "ours"]
    rows, met = [], True
    for scenario, (plain, at_most) in KEPT.items():
        pairs = [[take_turns(ours, one, 1, timeout_s, log)["ours"] for one in (scenario, plain)] for _ in range(reps)]
        if any(cell.failure for pair in pairs for cell in pair):
            rows.append([scenario, "", "", "", f"{at_most:g}", "FAILED"])
            met = False
            continue
        value = median(kept.seconds / off.seconds for kept, off in pairs)
        ok = value <= at_most
        met = met and ok
        times = [duration(median(cells)) for cells in zip(*[(a.seconds, b.seconds) for a, b in pairs], strict=True)]
        rows.append([scenario, *times, f"{value:.2f}", f"{at_most:g}", "met" if ok else "MISSED"])
    return rows, met


def processes(ours: System, reps: int, timeout_s: float) -> tuple[list[list[str]], bool]:
    """Recovery of 10,000 finished actions, and CPU-bound tasks on two workers beside two bare processes."""
    rows, met = [], True
    asked = f"at most {MOST_SECONDS_TO_UNFINISHED:g} s"
    try:
        for shape, seconds in script(ours, "measure_recovery.py", reps, timeout_s).items():
            ok = median(seconds) <= MOST_SECONDS_TO_UNFINISHED
            met = met and ok
            name = f"recovering 10,000 {shape} actions, to the first unfinished one"
            rows.append([name, duration(median(seconds)), asked, "met" if ok else "MISSED"])
        sped = script(ours, "workers.py", reps, timeout_s)
    except Failed as e:
        return [*rows, ["recovery and workers", "", "", f"FAILED: {e}"]], False
    ok = sped["speedup"] >= min(LEAST_SPEEDUP, LEAST_OF_BARE * sped["bare"])
    asked = f"{LEAST_SPEEDUP:g} times, or {LEAST_OF_BARE:g} of bare processes, which are {sped['bare']:.2f} times"
    name = "8 CPU-bound tasks on 2 workers, as fast as on 1"
    rows.append([name, f"{sped['speedup']:.2f} times", asked, "met" if ok else "MISSED"])
    return rows, met and ok


def script(ours: System, name: str, reps: int, timeout_s: float) -> dict[str, Any]:
    """What a program of this folder prints as JSON."""
    with empty_home() as (work, environment):
        argv = [str(ours.python), str(HERE / name), "--json", "--reps", str(reps)]
        # Also when its own target is missed it has measured, and says so by its exit code.
        code, out, err = finish(argv, work, environment, timeout_s * reps)
    if not out.strip():
        raise Failed(f"{name}: exit code {code}: {last_line(err)}")
    measured: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return measured


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, required=True, help="interpreter of an environment with this checkout")
    parser.add_argument("--peer", type=Path, required=True, help="interpreter of one with the published package")
    parser.add_argument("--scenario", action="append", metavar="NAME[:N]", help="only this one; may be repeated")
    parser.add_argument("--reps", type=int, default=5, help="runs of each scenario on each system (default 5)")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="of one run (default 300)")
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out the growth of memory up to 100,000 children"
    )
    parser.add_argument("--no-processes", action="store_true", help="leave out recovery and workers")
    parser.add_argument("--no-journal", action="store_true", help="leave out what remembering runs costs")
    parser.add_argument("--no-gate", action="store_true", help="only print: exit code 0 also when a target is missed")
    parser.add_argument("--out", type=Path, help="append every run as a line of JSON to this file")
    a = parser.parse_args()
    for python in (a.ours, a.peer):
        if not python.exists():
            parser.error(f"no such interpreter: {python}")
    if a.reps < 1:
        parser.error(f"--reps is {a.reps}; it must be 1 or more")
    names = {t.partition(":")[0]: t for t in reversed(TARGETS)}
    for wanted in a.scenario or ():
        if wanted.partition(":")[0] not in names:
            parser.error(f"no scenario {wanted!r}; there are {', '.join(TARGETS)}")
    a.scenario = [names[s] if ":" not in s else s for s in a.scenario] if a.scenario else list(TARGETS)
    return a


def main() -> int:
    a = arguments()
    # Not resolved: an environment's interpreter is a link, and following it leaves the environment.
    ours, peer = a.ours.absolute(), a.peer.absolute()
    systems = [
        System("ours", ours, "work_flyte.py", flyte_commands(ours)),
        System("peer", peer, "work_flyte.py", flyte_commands(peer)),
        System("asyncio", ours, "work_asyncio.py", asyncio_commands(ours)),
    ]
    met, rows = True, []
    log = a.out.open("a") if a.out else None
    try:
        for scenario in a.scenario:
            cells = take_turns(systems, scenario, a.reps, a.timeout, log)
            cells_row, ok = row(scenario, cells)
            rows.append(cells_row)
            met = met and ok
            print(f"{cells_row[0]}: {cells_row[4] or '-'} {cells_row[-1]}", file=sys.stderr)
        print_table(HEAD, rows)
        if not a.no_journal:
            journal_rows, ok = journal(systems, a.reps, a.timeout, log)
            met = met and ok
            print()
            print_table(JOURNAL_HEAD, journal_rows)
        if not a.no_processes:
            process_rows, ok = processes(systems[0], a.reps, a.timeout)
            met = met and ok
            print()
            print_table(PROCESSES_HEAD, process_rows)
        if not a.no_memory:
            memory_rows, ok = memory(systems, min(a.reps, 3), a.timeout, log)
            met = met and ok
            print()
            print_table(MEMORY_HEAD, memory_rows)
    finally:
        if log:
            log.close()
    print(f"\nmedians of {a.reps} runs each; KB/item is the peak of the measured part less what was resident before it")
    print("every target is met" if met else "not every target is met")
    return 0 if met or a.no_gate else 1


if __name__ == "__main__":
    sys.exit(main())
