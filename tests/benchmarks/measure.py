"""Measures one scenario in this process: warm-up, the work itself with time and memory, and a check of its answer.

A driver (``work_*.py``) registers its scenarios with :func:`scenario` and ends with :func:`main`;
``compare.py`` starts it as ``python work_flyte.py S1 1000`` and reads the JSON on its last line.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """What a scenario does.

    :param run: does n items and returns the answer.
    :param expected: the right answer for n items.
    :param warm: how many items the warm-up does.
    :param items: how many items n stands for.
    """

    run: Callable[[int], Any]
    expected: Callable[[int], Any]
    warm: int = 10
    items: Callable[[int], int] = lambda n: n


SCENARIOS: dict[str, Callable[[int], Work]] = {}


def scenario(*names: str) -> Callable[[Callable[[int], Work]], Callable[[int], Work]]:
    """Register a function from n to its :class:`Work` under each name; what it does beforehand is not measured."""

    def register(make: Callable[[int], Work]) -> Callable[[int], Work]:
        for name in names:
            SCENARIOS[name] = make
        return make

    return register


def resident_kb(field: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process, in KB, from Linux's /proc (man 5 proc)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))


def measure(work: Work, n: int) -> dict[str, Any]:
    work.run(min(work.warm, n))
    gc.collect()
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")  # the peak starts again from here
    before_kb = resident_kb("VmRSS")
    started, cpu = time.perf_counter(), time.process_time()
    answer = work.run(n)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    growth_kb = resident_kb("VmHWM") - before_kb
    if answer != work.expected(n):
        raise SystemExit(f"wrong answer for n={n}: {answer!r:.200}")
    items = work.items(n)
    return {"seconds": seconds, "cpu_seconds": cpu, "items": items, "growth_kb": max(0, growth_kb)}


def main() -> None:
    name, n = sys.argv[1], int(sys.argv[2])
    if name not in SCENARIOS:
        raise SystemExit(f"no scenario {name!r}; there are {', '.join(sorted(SCENARIOS))}")
    print(json.dumps(measure(SCENARIOS[name](n), n)), flush=True)
