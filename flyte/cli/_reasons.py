"""Why an action ran, was not run, waits or failed: conclusions from the history, in words.

Called by `_why`. It reads, and knows nothing of typer.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from flyte._core.identity import ActionPhase
from flyte._journal.history import History
from flyte._journal.history_entries import FAILED, ActionEntry, RunEntry, TaskEntry
from flyte.remote._literals import compare_inputs, decode_inputs
from flyte.remote._source import fetch_inputs

from ._tables import duration, moment, short, value_text

_SUCCEEDED, _RECOVERED = ActionPhase.SUCCEEDED.value, ActionPhase.RECOVERED.value
_COMPARED = 200
"""Earlier calls that one is compared with."""
_WIDE, _DEEP = 5, 12
"""Children and levels of what is waited for that are told."""

# The parts of a task's version, in the order in which they are told. What an override or a salt is made of decides the
# recorded hash of the body, so they come before it where they differ.
_PARTS = {
    "body": "function body",
    "interface": "interface",
    "version_override": "version_override",
    "salt": "salt",
    "ignored_inputs": "ignored inputs",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One conclusion.

    :param kind: ``ran``, ``cache``, ``recovered``, ``retried``, ``waiting``, ``failed``.
    :param text: for readers; further lines are indented below the first.
    :param facts: the same for programs.
    """

    kind: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, "text": self.text, **self.facts}


class Explainer:
    """Explains the actions of one run.

    :param history: where everything is looked up.
    """

    def __init__(self, history: History, run: RunEntry) -> None:
        self.history = history
        self.run = run
        self._tasks: dict[int, TaskEntry] = {}

    def task(self, action: ActionEntry) -> TaskEntry:
        """The task of an action."""
        found = self._tasks.get(action.task)
        if found is None:
            found = self._tasks[action.task] = self.history.task(action.task)
        return found

    def reasons(self, action: ActionEntry) -> list[Reason]:
        """All that can be said of one action."""
        found = [self._origin(action), *self._retries(action)]
        if action.phase in FAILED:
            found.append(self._failure(action))
        elif not action.has_ended:
            found.append(self._waiting(action))
        return found

    def title(self, action: ActionEntry) -> str:
        """An action for readers: its task and its name."""
        return f"{short(self.task(action).name)} ({action.name})"

    # Where its result is from -------------------------------------------------------------------------------------

    def _origin(self, action: ActionEntry) -> Reason:
        if action.phase == _RECOVERED:
            return self._recovered(action)
        if action.cache == "hit":
            return self._hit(action)
        if action.cache == "miss":
            return self._miss(action)
        if action.cache == "refresh":
            said = (
                "it ran although the cache may have had its result: the run was told to make results anew "
                "(overwrite_cache=True or FLYTE_CACHE=refresh)"
            )
            return Reason("cache", said, {"cache": "refresh"})
        parts = self.task(action).parts
        if "behavior" in parts:
            said = (
                "it ran without the cache: the run was told to leave it (FLYTE_CACHE=off or disable_run_cache=True), "
                "or the key could not be made, which was said then"
            )
            return Reason("cache", said, {"cache": "off"})
        kind = self.task(action).kind
        if kind not in ("task", "trace"):
            return Reason("ran", f"it is a {kind} that the run reached")
        if action.parent is None:
            return Reason("ran", "it ran because the run was started; its task has no cache")
        what = "a traced function runs unless the run is recovered" if kind == "trace" else "its task has no cache"
        return Reason("ran", f"it ran because it was called: {what}")

    def _recovered(self, action: ActionEntry) -> Reason:
        origin = self.history.action_by_id(action.source) if action.source is not None else None
        of = self.history.run_by_id(origin.run) if origin is not None else None
        if origin is None or of is None:
            return Reason("recovered", "it was not run: its result was taken from a run that was deleted since")
        said = f"it was not run: its result was taken from action {origin.name} of run {of.name}"
        facts = {"run": of.name, "action": origin.name}
        return Reason("recovered", f"{said}, where it ended at {moment(origin.ended_at)}", facts)

    # The cache ----------------------------------------------------------------------------------------------------

    def _hit(self, action: ActionEntry) -> Reason:
        for other, parts, differing in self._compared(action):
            if not parts and not differing and other.cache in ("miss", "refresh"):
                of = self.history.run_by_id(other.run)
                name = of.name if of is not None else "?"
                said = (
                    f"it was not run: the cache had its result, of an equal call, action {other.name} of run {name}, "
                    f"which ended at {moment(other.ended_at)}"
                )
                return Reason("cache", said, {"cache": "hit", "run": name, "action": other.name})
        said = "it was not run: the cache had the result of an equal call, which the history no longer has"
        return Reason("cache", said, {"cache": "hit"})

    def _miss(self, action: ActionEntry) -> Reason:
        task = self.task(action)
        best: tuple[tuple[int, int], ActionEntry, list[str], list[str]] | None = None
        total = 0
        for other, parts, differing in self._compared(action):
            total += 1
            alike = (-len(parts), -len(differing))
            if best is None or alike > best[0]:
                best = (alike, other, parts, differing)
        if best is None:
            said = f"it ran because the cache had no result: no earlier call of {task.name} is remembered"
            return Reason("cache", said, {"cache": "miss", "compared": 0})
        _, other, parts, differing = best
        of = self.history.run_by_id(other.run)
        name = of.name if of is not None else "?"
        facts: dict[str, Any] = {"cache": "miss", "compared": total, "run": name, "action": other.name}
        said = "it ran because the cache had no result of an equal call\n"
        said += f"the most similar earlier call is action {other.name} of run {name}, of {moment(other.ended_at)}\n"
        if parts:
            facts |= {"differs": _PARTS[parts[0]], "also": [_PARTS[part] for part in parts[1:]]}
            said += f"first difference: {_PARTS[parts[0]]}{self._part_values(action, other, parts[0])}"
            rest = [_PARTS[part] for part in parts[1:]] + [f"input {name!r}" for name in differing]
            return Reason("cache", said + (f"\nalso different: {', '.join(rest)}" if rest else ""), facts)
        if differing:
            ours, theirs = self._input(action, differing[0]), self._input(other, differing[0])
            facts |= {"differs": f"input {differing[0]!r}", "now": ours, "then": theirs, "also": differing[1:]}
            said += f"first difference: input {differing[0]!r}: {ours} now, {theirs} then"
            rest = [f"input {name!r}" for name in differing[1:]]
            return Reason("cache", said + (f"\nalso different: {', '.join(rest)}" if rest else ""), facts)
        facts["differs"] = None
        if other.ended_at is not None and other.ended_at > (action.started_at or action.queued_at):
            why = "it had not ended then; with Cache(serialize=True) equal calls wait for one another"
        else:
            why = (
                "nothing that is remembered differs: its result was not kept, is older than max_age, or was removed; "
                "or the cache's version comes from a policy of your own, or an image"
            )
        return Reason("cache", said + why, facts)

    def _compared(self, action: ActionEntry) -> Iterator[tuple[ActionEntry, list[str], list[str]]]:
        """Earlier calls of the same task, and how each differs: parts of the version, and inputs."""
        task = self.task(action)
        ignored = _ignored(task)
        mine = self._inputs_of(action)
        for other in self.history.cached_like(action, task.name, _COMPARED):
            parts = _differing_parts(task, self.task(other))
            theirs = self._inputs_of(other)
            if mine is None or theirs is None:
                continue
            try:
                _, differing = compare_inputs(mine, theirs, ignored)
            except ValueError:
                continue
            yield other, parts, differing

    def _inputs_of(self, action: ActionEntry) -> bytes | None:
        try:
            return fetch_inputs(self.history, action.id) or b""
        except (OSError, ValueError):
            return None

    def _input(self, action: ActionEntry, name: str) -> str:
        decoded = decode_inputs(self._inputs_of(action), self.task(action).interface)
        return value_text(decoded[name]) if name in decoded else "not given"

    def _part_values(self, action: ActionEntry, other: ActionEntry, part: str) -> str:
        if part not in ("version_override", "salt", "ignored_inputs"):
            return ""
        now, then = (value_text(self.task(one).parts.get(part) or "") for one in (action, other))
        return f": {now} now, {then} then"

    # Attempts, waiting and failures --------------------------------------------------------------------------------

    def _retries(self, action: ActionEntry) -> list[Reason]:
        failed = [one for one in self.history.attempts(action)[:-1] if one.fault is not None]
        if not failed:
            return []
        lines = [f"attempt {one.number + 1}: {one.fault.line}" for one in failed if one.fault is not None]
        times = "once" if len(failed) == 1 else f"{len(failed)} times"
        facts = {
            "attempts": [{"number": one.number, "error": one.fault.line} for one in failed if one.fault is not None]
        }
        return [Reason("retried", "\n".join([f"it was tried again {times}, after", *lines]), facts)]

    def _waiting(self, action: ActionEntry) -> Reason:
        lines = list(self._waits(action, 0, {action.id}))
        facts: dict[str, Any] = {"since": action.waits.since if action.waits is not None else action.started_at}
        if action.waits is not None:
            facts["for"] = action.waits.what
        return Reason("waiting", "\n".join(lines), facts)

    def _waits(self, action: ActionEntry, depth: int, seen: set[int]) -> Iterator[str]:
        before = "  " * depth + (f"{self.title(action)} " if depth else "it ")
        began = action.started_at or action.queued_at
        answer = ""
        if action.phase == ActionPhase.PAUSED.value:
            answer = (
                f"\n{'  ' * (depth + 1)}to answer: flyte signal {self.run.name} {quote(self.task(action).name)} VALUE"
            )
        if action.waits is not None:
            lasts = duration(action.waits.since, None, time.time())
            yield f"{before}waits for {action.waits.what}, since {moment(action.waits.since)} ({lasts}){answer}"
            return
        if answer:
            yield f"{before}waits for an answer, since {moment(began)}{answer}"
            return
        children = [one for one in self.history.children(action) if not one.has_ended and one.id not in seen]
        lasts = duration(began, None, time.time())
        if not children or depth >= _DEEP:
            yield f"{before}runs, since {moment(began)} ({lasts})"
            return
        many = "a call that runs" if len(children) == 1 else f"{len(children)} calls that run"
        yield f"{before}waits for {many}; began {moment(began)} ({lasts})"
        for child in children[:_WIDE]:
            yield from self._waits(child, depth + 1, seen | {one.id for one in children})
        if len(children) > _WIDE:
            yield f"{'  ' * (depth + 1)}... and {len(children) - _WIDE} more"

    def _failure(self, action: ActionEntry) -> Reason:
        fault = action.fault
        line = fault.line if fault is not None else "nothing is remembered of why"
        how = {"timed_out": "it ran out of time", "aborted": "it was aborted"}.get(action.phase, "it failed")
        if fault is not None and fault.code in ("ProcessEnded", "RunEnded"):
            line = fault.message
        said = f"{how}: {line}"
        chain = list(self._blamed(action))
        for depth, child in enumerate(chain):
            said += f"\n{'  ' * depth}the error came from {self.title(child)}, which it called"
        facts: dict[str, Any] = {"error": fault.document() if fault is not None else None}
        facts["came_from"] = [child.name for child in chain]
        return Reason("failed", said, facts)

    def _blamed(self, action: ActionEntry) -> Iterator[ActionEntry]:
        """The child whose error an action failed with, that child's child, ..."""
        seen = {action.id}
        while action.fault is not None:
            fault = action.fault
            same = [
                one
                for one in self.history.children(action)
                if one.fault is not None
                and one.id not in seen
                and (one.fault.type, one.fault.message) == (fault.type, fault.message)
            ]
            if not same or fault.code in ("ProcessEnded", "RunEnded"):
                return
            action = same[-1]
            seen.add(action.id)
            yield action


def _ignored(task: TaskEntry) -> list[str]:
    return [name for name in str(task.parts.get("ignored_inputs") or "").split(", ") if name]


def _differing_parts(task: TaskEntry, other: TaskEntry) -> list[str]:
    ours, theirs = task.parts, other.parts
    found = [part for part in _PARTS if (ours.get(part) or "") != (theirs.get(part) or "")]
    if "body" in found and ("version_override" in found or "salt" in found):
        found.remove("body")
    return found


# A run as a whole -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Place:
    """All calls of one task that are made in the same place of the tree.

    :param longest: the one that took the longest.
    """

    task: str
    depth: int
    phases: dict[str, int] = field(default_factory=dict)
    caches: dict[str, int] = field(default_factory=dict)
    total_s: float = 0.0
    retried: int = 0
    longest: ActionEntry | None = None
    longest_s: float = -1.0
    below: dict[int, "Place"] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many calls."""
        return sum(self.phases.values())

    def add(self, action: ActionEntry, now: float) -> None:
        """Count a call."""
        self.phases[action.phase] = self.phases.get(action.phase, 0) + 1
        if action.cache is not None:
            self.caches[action.cache] = self.caches.get(action.cache, 0) + 1
        self.retried += action.attempts > 1
        took_s = (action.ended_at or now) - (action.started_at or action.queued_at)
        self.total_s += took_s
        if took_s > self.longest_s:
            self.longest, self.longest_s = action, took_s

    def walk(self) -> Iterator["Place"]:
        """This place and those below it, from the top down."""
        waiting: list[Place] = [self]
        while waiting:
            place = waiting.pop()
            yield place
            waiting.extend(reversed(place.below.values()))


def places_of(actions: list[ActionEntry], tasks: dict[int, TaskEntry]) -> list[Place]:
    """The tree of a run, with equal calls in the same place as one."""
    top: dict[int, Place] = {}
    by_action: dict[int, Place] = {}
    now = time.time()
    for action in actions:
        above = by_action.get(action.parent) if action.parent is not None else None
        siblings = above.below if above is not None else top
        place = siblings.get(action.task)
        if place is None:
            place = Place(tasks[action.task].name, above.depth + 1 if above is not None else 0)
            siblings[action.task] = place
        place.add(action, now)
        by_action[action.id] = place
    return list(top.values())
