"""What ``--follow`` counts of the actions of a run, in whatever order and however often it is told of them."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from flyte._journal.history_entries import ActionEntry
from flyte.cli._follow import Watch
from flyte.cli._progress import Progress


def entry(number: int, parent: int | None, phase: str, attempts: int = 1, group: str | None = None) -> ActionEntry:
    ended = 2.0 if phase in ("succeeded", "failed") else None
    name = "a0" if parent is None else f"n{number}"
    return ActionEntry(
        number, 0, name, parent, min(number, 1), group, phase, attempts, 0.0, 1.0, ended, None, None, None, None
    )


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("r", "t")
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


NEWS = [
    [entry(0, None, "queued", 0)],
    [entry(0, None, "running")],
    [entry(1, 0, "running", group="all"), entry(2, 0, "queued", 0, "all")],
    [entry(2, 0, "running", group="all"), entry(3, 1, "running")],
    [entry(3, 1, "running", 2), entry(4, 0, "succeeded", 0)],
    [entry(3, 1, "failed", 3), entry(1, 0, "succeeded", group="all"), entry(5, 0, "paused", 0)],
    [entry(2, 0, "succeeded", group="all"), entry(0, None, "succeeded")],
]


@pytest.mark.parametrize("seed", range(20))
def test_the_counts_are_those_of_the_last_news(seed: int) -> None:
    chance = random.Random(seed)
    history: Any = SimpleNamespace(task_name=lambda one: "root" if one.parent is None else "leaf")
    view = Told()
    watch = Watch(history, "r", view)
    for news in NEWS:
        some = list(news)
        chance.shuffle(some)
        cut = chance.randrange(len(some) + 1)
        for part in (some[:cut], some[cut:], some):  # in pieces, and once more
            watch.take(part)
    counts = view.tally.counts()
    # One was in the cache, one is paused and has not begun; of the one that failed two attempts were made again.
    assert str(counts) == "3 done, 1 failed, 1 cached, 2 retries"
    phases = [line for line in view.lines if line.startswith("a0: ")]
    assert phases == ["a0: queued", "a0: running", "a0: succeeded"]
    assert [line for line in view.lines if "waits" in line] == ["leaf waits for an answer: flyte signal r leaf VALUE"]
    tree = {(node.task, node.group): node.total for node in view.tally.top.below()}
    assert tree == {("root", None): 1}
    root = next(view.tally.top.below())
    assert {(node.task, node.group): node.total for node in root.below()} == {("leaf", None): 1, ("leaf", "all"): 2}
    assert watch.failures.qsize() == 1


def test_a_child_that_is_told_of_before_its_parent_waits_for_it() -> None:
    history: Any = SimpleNamespace(task_name=lambda one: "root" if one.parent is None else "leaf")
    view = Told()
    watch = Watch(history, "r", view)
    watch.take([entry(2, 1, "succeeded")])
    assert str(view.tally.counts()) == "0 done"
    watch.take([entry(1, 0, "succeeded")])
    watch.take([entry(0, None, "running")])
    assert str(view.tally.counts()) == "1 running, 2 done"
