"""What has happened to the actions of a run, counted: the recorder behind the progress view and the summary.

Its two methods are called for every action of the run, so they only count; `_progress` reads the counts from another
thread and draws them.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flyte._core.controller import RecordedAction
from flyte._core.identity import ActionPhase

_KEPT_FAMILIES = 4096
"""How many parents are remembered with the place of their children; more than ever call at the same time, and few
enough that a run of a million actions keeps none of them alive."""

_SUCCEEDED = ActionPhase.SUCCEEDED


class Node:
    """All calls of one task from the same place: same caller, same group.

    :param task: the task's full name.
    :param group: the group they were made in, if any.
    """

    __slots__ = (
        "cached",
        "children",
        "done",
        "ended",
        "failed",
        "group",
        "recovered",
        "retried",
        "started",
        "stopped",
        "task",
    )

    def __init__(self, task: str, group: str | None) -> None:
        self.task = task
        self.group = group
        self.started = 0
        """Actions whose first attempt began."""
        self.ended = 0
        """Those of them that ended."""
        self.done = 0
        """Actions that succeeded, by running."""
        self.cached = 0
        """Actions whose result was in the cache."""
        self.recovered = 0
        """Actions that an earlier run, or attempt of their caller, had done."""
        self.failed = 0
        """Actions that failed or ran out of time."""
        self.stopped = 0
        """Actions that were cancelled."""
        self.retried = 0
        """Attempts after an action's first."""
        self.children: dict[str | None, dict[str, Node]] = {}

    @property
    def running(self) -> int:
        """Actions that have begun and not ended."""
        return self.started - self.ended

    @property
    def total(self) -> int:
        """All actions."""
        return self.running + self.done + self.cached + self.recovered + self.failed + self.stopped

    def below(self) -> "Iterator[Node]":
        """The nodes under this one, in the order in which they first appeared."""
        for family in list(self.children.values()):
            yield from list(family.values())


@dataclass(frozen=True, slots=True)
class Counts:
    """Actions of a whole run by what became of them."""

    running: int
    done: int
    failed: int
    cached: int
    recovered: int
    stopped: int
    retried: int

    def __str__(self) -> str:
        parts = [f"{self.running:,} running"] if self.running else []
        parts.append(f"{self.done:,} done")
        for number, word in (
            (self.failed, "failed"),
            (self.cached, "cached"),
            (self.recovered, "recovered"),
            (self.stopped, "stopped"),
        ):
            if number:
                parts.append(f"{number:,} {word}")
        if self.retried:
            parts.append(f"{self.retried:,} {'retry' if self.retried == 1 else 'retries'}")
        return ", ".join(parts)


class Tally:
    """A :class:`flyte.extend.Recorder` that counts.

    Counters are plain attributes: an addition is one step under the interpreter lock, and a lock of our own would cost
    more than all the rest.

    :param on_failure: called for each action that failed by itself, not because a child of it did.
    """

    def __init__(self, on_failure: Callable[[RecordedAction, ActionPhase, BaseException], None] | None = None) -> None:
        self.top = Node("", None)
        self.begun_at = time.monotonic()
        self.ended_at: float | None = None
        self._on_failure = on_failure
        self._families: dict[RecordedAction | None, dict[str, Node]] = {}
        self._running: set[RecordedAction] = set()

    # Called for every action ------------------------------------------------------------------------------------------

    def action_started(self, action: RecordedAction) -> None:
        """An attempt of an action begins."""
        parent = action.parent
        family = self._families.get(parent)
        if family is None:
            family = self._family_of(parent)
        node = family.get(action.task_name)
        if node is None:
            node = family.setdefault(action.task_name, Node(action.task_name, parent.group if parent else None))
        if action.attempt_number:
            node.retried += 1
        else:
            node.started += 1
            self._running.add(action)

    def action_finished(self, action: RecordedAction, phase: ActionPhase, error: BaseException | None) -> None:
        """An action has ended for good."""
        parent = action.parent
        family = self._families.get(parent)
        if family is None:
            family = self._family_of(parent)
        node = family.get(action.task_name)
        if node is None:
            node = family.setdefault(action.task_name, Node(action.task_name, parent.group if parent else None))
        began = action in self._running
        if began:
            self._running.discard(action)
            node.ended += 1
        if phase is _SUCCEEDED and began:
            node.done += 1
        elif phase is _SUCCEEDED:
            node.cached += 1
        elif phase is ActionPhase.RECOVERED:
            node.recovered += 1
        elif phase is ActionPhase.ABORTED:
            node.stopped += 1
        else:
            node.failed += 1
            if self._on_failure is not None and error is not None and _began_here(action, error):
                self._on_failure(action, phase, error)

    def _family_of(self, parent: RecordedAction | None) -> dict[str, Node]:
        """The nodes of the calls that ``parent`` makes, by task."""
        above: list[RecordedAction] = []
        ancestor = parent
        # The run itself is a context without a task, above its root.
        while ancestor is not None and ancestor.task_name:
            above.append(ancestor)
            ancestor = ancestor.parent
        node, group = self.top, None
        for one in reversed(above):
            family = node.children.setdefault(group, {})
            node = family.get(one.task_name) or family.setdefault(one.task_name, Node(one.task_name, group))
            group = one.group
        family = node.children.setdefault(group, {})
        if len(self._families) >= _KEPT_FAMILIES:
            self._families.clear()
        self._families[parent] = family
        return family

    # Asked by whoever draws -------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The run has ended; the clock stops."""
        self.ended_at = time.monotonic()
        self._families.clear()
        self._running.clear()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, or that it took."""
        return (self.ended_at or time.monotonic()) - self.begun_at

    def counts(self) -> Counts:
        """The counts of the whole run."""
        running = done = failed = cached = recovered = stopped = retried = 0
        waiting = [self.top]
        while waiting:
            node = waiting.pop()
            running += node.running
            done += node.done
            failed += node.failed
            cached += node.cached
            recovered += node.recovered
            stopped += node.stopped
            retried += node.retried
            waiting.extend(node.below())
        return Counts(running, done, failed, cached, recovered, stopped, retried)


def _began_here(action: RecordedAction, error: BaseException) -> bool:
    """Whether ``action`` is where ``error`` first came up; its callers then fail with the same error."""
    origin = getattr(error, "_flyte_action", None)
    return origin is None or origin == action.name


def seconds_text(seconds: float) -> str:
    """A duration for readers: ``20 ms``, ``1.25 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 03 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
