"""Run the programs on an implementation; keep or compare their transcripts.

    python tests/compat/record.py --python PEER            # keep the published package's transcripts: golden/*.txt
    python tests/compat/record.py --python OURS --ours     # show where this checkout prints something else
    python tests/compat/record.py --python OURS --expect --reason "why" --lines 3,7-9 NAME   # keep it as meant

A difference that is meant is kept in differences/NAME.txt, hunk by hunk: a line with the reason, a line with the range
of golden lines that it replaces, our lines. Everything else of a transcript must be the published package's.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
GOLDEN = HERE / "golden"
DIFFERENCES = HERE / "differences"
TIME_LIMIT_S = 240
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d+ +(DEBUG|INFO|WARNING|ERROR) | {20}")
"""The published package logs warnings to standard output, in several lines."""
SUPPORT = {"transcript"}


@dataclass(frozen=True, slots=True)
class Difference:
    """Golden lines [start, stop) replaced by ours, and why."""

    reason: str
    start: int
    stop: int
    lines: tuple[str, ...]


def program_names() -> list[str]:
    """All programs, by file name without suffix."""
    return sorted(path.stem for path in PROGRAMS.glob("*.py") if path.stem not in SUPPORT)


def transcript(name: str, python: str, package_root: Path | None = None) -> list[str]:
    """What the program prints in a process of its own, in an empty directory and home; then its exit code.

    Only standard output counts: log lines go to standard error. `package_root`: where to import from before the
    interpreter's site-packages.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
            "HOME": home,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "200",
            "PYTHONHASHSEED": "0",
        }
        if package_root is not None:
            environment["PYTHONPATH"] = str(package_root)
        try:
            done = subprocess.run(
                [python, str(PROGRAMS / f"{name}.py")],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIME_LIMIT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return [f"no end within {TIME_LIMIT_S} s"]
    # Not splitlines(): a value may hold other line separators.
    lines = [line for line in done.stdout.rstrip("\n").split("\n") if not LOG_LINE.match(line)]
    return [*lines, f"exit {done.returncode}"]


def golden(name: str) -> list[str]:
    """The published package's transcript."""
    return (GOLDEN / f"{name}.txt").read_text().rstrip("\n").split("\n")


def differences(name: str) -> list[Difference]:
    """Where ours is meant to differ."""
    path = DIFFERENCES / f"{name}.txt"
    if not path.exists():
        return []
    found: list[Difference] = []
    for hunk in re.split(r"^# ", path.read_text(), flags=re.MULTILINE)[1:]:
        reason, place, *lines = hunk.rstrip("\n").split("\n")
        start, stop = (int(number) for number in place.removeprefix("@ ").split(":"))
        found.append(Difference(reason, start, stop, tuple(line.removeprefix("+") for line in lines)))
    return found


def expected(name: str) -> list[str]:
    """The transcript that ours must print."""
    lines = golden(name)
    for difference in sorted(differences(name), key=lambda d: d.start, reverse=True):
        lines[difference.start : difference.stop] = difference.lines
    return lines


def keep(name: str, kept: list[Difference]) -> None:
    """Write the differences of one program."""
    DIFFERENCES.mkdir(exist_ok=True)
    path = DIFFERENCES / f"{name}.txt"
    if not kept:
        path.unlink(missing_ok=True)
        return
    hunks = (
        f"# {d.reason}\n@ {d.start}:{d.stop}\n" + "".join(f"+{line}\n" for line in d.lines)
        for d in sorted(kept, key=lambda d: d.start)
    )
    path.write_text("".join(hunks))


def found_differences(name: str, lines: list[str], reason: str) -> list[Difference]:
    """Every difference of a transcript from the published package's, line for line where their number is the same."""
    wanted, found = golden(name), []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, wanted, lines, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if b - a == d - c:
            found += [Difference(reason, a + i, a + i + 1, (lines[c + i],)) for i in range(b - a)]
        else:
            found.append(Difference(reason, a, b, tuple(lines[c:d])))
    return found


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter of the implementation to run")
    parser.add_argument("--path", type=Path, help="packages for it that it lacks, such as kubernetes")
    parser.add_argument("--ours", action="store_true", help="compare this checkout with what is kept")
    parser.add_argument("--expect", action="store_true", help="keep this checkout's differences as meant")
    parser.add_argument("--reason", help="one line, with --expect")
    parser.add_argument("--lines", help="with --expect: which lines of the golden transcript, from 0 (default: all)")
    parser.add_argument("names", nargs="*", help="programs (default: all)")
    given = parser.parse_args()
    names = given.names or program_names()
    root = HERE.parent.parent if given.ours or given.expect else given.path
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(names, pool.map(lambda name: transcript(name, given.python, root), names), strict=True))
    if given.expect:
        if not given.reason or len(names) != 1:
            parser.error("--expect needs --reason and the name of one program")
        chosen = None
        if given.lines:
            chosen = set()
            for part in given.lines.split(","):
                first, _, last = part.partition("-")
                chosen |= set(range(int(first), int(last or first) + 1))
        name = names[0]
        old = {d.start: d for d in differences(name)}
        for difference in found_differences(name, found[name], given.reason):
            if (chosen is None and difference.start not in old) or (chosen is not None and difference.start in chosen):
                old[difference.start] = difference
        keep(name, list(old.values()))
        return 0
    if not given.ours:
        GOLDEN.mkdir(exist_ok=True)
        for name, lines in found.items():
            (GOLDEN / f"{name}.txt").write_text("\n".join(lines) + "\n")
        return 0
    failures = 0
    for name, lines in found.items():
        wanted = expected(name)
        if lines != wanted:
            failures += 1
            shown = difflib.unified_diff(wanted, lines, "expected", "ours", lineterm="", n=0)
            sys.stdout.write(f"== {name}\n" + "\n".join(shown) + "\n")
    sys.stdout.write(f"{len(found) - failures} of {len(found)} as expected\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
