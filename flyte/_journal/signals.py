"""Conditions as the journal knows them, and what people answer.

What was answered stands in the table ``signal``: first come, first kept, with who and when. A run that waits looks
there; a run that was recovered from another one looks at the other one's, too. Conditions that wait in this process are
known here as well, so that Python can answer them when there is no journal.
"""

import getpass
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flyte._core.face import nearest
from flyte._core.log import logger
from flyte.errors import ConditionNotFoundError, RuntimeSystemError, RuntimeUserError

from . import answers
from .alive import is_alive
from .history import DELETED, LAST
from .schema import NotAJournal, journal_path, open_file

_BUSY_S = 30.0
_OPEN = ("paused", "aborted")
"""Phases in which an answer is taken: the run waits, or was stopped while it waited and may be recovered."""
_RUNS_SEARCHED = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said.

    :param value: JSON, or bytes that only the process of the run can read.
    :param at: when, in seconds since the epoch.
    :param by: who.
    """

    value: str | bytes
    at: float
    by: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A condition that a run has reached.

    :param run: name of the run.
    :param name: name of the condition.
    :param action: name of its action.
    :param id: of the action in the journal.
    :param phase: of the action.
    :param since: when the condition was first reached, in seconds since the epoch.
    :param ended_at: when it was over, if it is.
    :param timeout_s: how long it waits from ``since``; None for ever.
    :param is_alive: whether the process of the run still runs.
    """

    run: str
    name: str
    action: str
    id: int
    phase: str
    prompt: str
    prompt_type: str
    description: str
    form: answers.Form
    since: float
    ended_at: float | None = None
    timeout_s: float | None = None
    parent: str = ""
    """Name of the action that asks."""
    is_alive: bool = True
    refusal: str | None = None
    """Why the run did not take the last answer."""
    answer: Answer | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be answered."""
        return self.phase in _OPEN and self.answer is None

    @property
    def key(self) -> str:
        """What the condition's answer is found by: the same name may be asked again later in a run."""
        return key_of(self.name, self.id)


def key_of(name: str, action: int) -> str:
    """Column ``name`` of the table ``signal``."""
    return f"{name}\t{action}"


def default_user() -> str:
    """Who says something, when nothing else is given: the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no entry
        return f"user {os.getuid()}"


# Conditions that wait in this process ---------------------------------------------------------------------------------


class Waiting(Protocol):
    """A condition that waits in this process."""

    asked: Asked
    journal: Path | None
    """The file that the run is remembered in."""

    async def encode(self, value: Any) -> str | bytes:
        """A Python value as an answer.

        :raises BadAnswer: it is not of the declared type.
        """
        ...

    def offer(self, answer: Answer) -> None:
        """Somebody has answered; callable from any thread."""
        ...


_here: dict[tuple[str, str], Waiting] = {}
_lock = threading.Lock()


def announce(waiting: Waiting) -> None:
    """``waiting`` waits from now on."""
    with _lock:
        _here[waiting.asked.run, waiting.asked.name] = waiting


def withdraw(waiting: Waiting) -> None:
    """``waiting`` waits no more."""
    key = (waiting.asked.run, waiting.asked.name)
    with _lock:
        if _here.get(key) is waiting:
            del _here[key]


def waiting_here(run: str, name: str) -> Waiting | None:
    """The condition of that name that the run waits for in this process."""
    with _lock:
        return _here.get((run, name))


def all_waiting_here(run: str) -> list[Waiting]:
    """The conditions that the run waits for in this process."""
    with _lock:
        return [waiting for (name, _), waiting in _here.items() if name == run]


def answer_here(waiting: Waiting, answer: Answer) -> None:
    """Answer a condition that waits in this process; blocks while the journal is busy.

    :raises flyte.errors.RuntimeUserError: it has another answer already.
    """
    # The journal first: it decides who was first, also among processes.
    asked = waiting.asked
    if waiting.journal is not None:
        try:
            with _opened(waiting.journal) as file:
                before = _put(file, asked, answer)
        except RuntimeSystemError as error:
            logger.warning("who answered condition %r of run %s is not remembered: %s", asked.name, asked.run, error)
        else:
            if before is not None:
                _compare(asked, before, answer)
                return
    waiting.offer(answer)


# Conditions in the journal ------------------------------------------------------------------------------------------

_SELECT = (
    "SELECT a.id, a.name, a.phase, a.queued_at, a.ended_at, a.waiting, p.name, t.name, t.detail"
    " FROM action a JOIN task t ON t.id = a.task LEFT JOIN action p ON p.id = a.parent"
    " WHERE a.id BETWEEN :run << 32 AND (:run + 1 << 32) - 1 AND t.kind = 'condition' ORDER BY a.id"
)


def conditions_of(run: str) -> list[Asked]:
    """The conditions that a run has reached, in that order; of several runs of that name, the last one's.

    ``last`` stands for the name of the run that was started last.

    Of a run of this process that is not remembered they are those that it waits for.

    :raises flyte.errors.ConditionNotFoundError: no such run is remembered.
    :raises flyte.errors.RuntimeSystemError: the journal cannot be read.
    """
    here = [waiting.asked for waiting in all_waiting_here(run) if waiting.journal is None]
    if here:
        return here
    with _opened(_existing(run)) as file:
        return _conditions(file, run)


def find_condition(run: str, name: str) -> Asked:
    """The condition called ``name``, or whose action is called so; if there are several, one that waits.

    :raises flyte.errors.ConditionNotFoundError: there is none.
    :raises flyte.errors.RuntimeSystemError: the journal cannot be read.
    """
    with _opened(_existing(run)) as file:
        return _find(file, run, name)


def answer_condition(asked: Asked, answer: Answer) -> Answer:
    """Answer a condition, and give what stands now: this answer, or an equal one that was given before.

    :raises flyte.errors.RuntimeUserError: it has another answer already, or waits no more.
    :raises flyte.errors.RuntimeSystemError: the journal cannot be written.
    """
    with _opened(_existing(asked.run)) as file:
        before = _put(file, asked, answer, check_phase=True)
    if before is None:
        return answer
    _compare(asked, before, answer)
    return before


def _existing(run: str) -> Path:
    path = journal_path()
    if not path.exists():
        raise ConditionNotFoundError(f"there is no run {run!r}: no run is remembered in {path.parent}")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        file = open_file(path, _BUSY_S)
        try:
            yield file
        finally:
            file.close()
    except (sqlite3.Error, NotAJournal) as error:
        raise RuntimeSystemError("JournalUnavailable", f"the history of runs cannot be used: {error}") from error


def _conditions(file: sqlite3.Connection, run: str) -> list[Asked]:
    if run == LAST:
        named = file.execute(f"SELECT name FROM run WHERE phase != '{DELETED}' ORDER BY id DESC LIMIT 1").fetchone()
        run = named[0] if named is not None else run
    row = file.execute("SELECT id, phase, writer FROM run WHERE name = ? ORDER BY id DESC LIMIT 1", (run,)).fetchone()
    if row is None:
        names = file.execute("SELECT name FROM run ORDER BY id DESC LIMIT ?", (_RUNS_SEARCHED,))
        raise ConditionNotFoundError(
            f"there is no run {run!r} in the history{nearest(run, [name for (name,) in names])}; see 'flyte get run'"
        )
    number, phase, writer = row
    alive = phase == "running" and is_alive(writer)
    said = {
        key: Answer(value, at, by)
        for key, value, at, by in file.execute("SELECT name, value, at, by FROM signal WHERE run = ?", (run,))
    }
    return [_asked(run, row, said, alive) for row in file.execute(_SELECT, {"run": number})]


def _asked(run: str, row: Any, said: dict[str, Answer], alive: bool) -> Asked:
    number, action, phase, since, ended_at, waiting, parent, name, detail = row
    told = json.loads(detail)
    return Asked(
        run=run,
        name=name,
        action=action,
        id=number,
        phase=phase,
        prompt=told["prompt"],
        prompt_type=told["prompt_type"],
        description=told["description"],
        form=answers.Form(told["type"], told["schema"]),
        since=since,
        ended_at=ended_at,
        timeout_s=told["timeout_s"],
        parent=parent or "",
        is_alive=alive,
        refusal=json.loads(waiting).get("refusal") if waiting else None,
        answer=said.get(key_of(name, number)),
    )


def _find(file: sqlite3.Connection, run: str, name: str) -> Asked:
    every = _conditions(file, run)
    named = [one for one in every if one.name == name] or [one for one in every if one.action == name]
    if not named:
        names = sorted({one.name for one in every})
        known = f"it has {', '.join(map(repr, names))}" if names else "it has reached none so far"
        raise ConditionNotFoundError(f"run {run!r} has no condition {name!r}{nearest(name, names)} ({known})")
    return next((one for one in reversed(named) if one.is_open), named[-1])


def _put(file: sqlite3.Connection, asked: Asked, answer: Answer, check_phase: bool = False) -> Answer | None:
    """Write an answer, unless there is one, which is given back then."""
    file.execute("BEGIN IMMEDIATE")
    try:
        row = file.execute("SELECT value, at, by FROM signal WHERE run = ? AND name = ?", (asked.run, asked.key))
        if (before := row.fetchone()) is not None:
            return Answer(*before)
        among_kin = answer_at(file, _kin_of(file, asked))
        if among_kin is not None and not answers.same(among_kin.value, answer.value):
            return among_kin
        if check_phase:
            (phase,) = file.execute("SELECT phase FROM action WHERE id = ?", (asked.id,)).fetchone()
            if phase not in _OPEN:
                raise RuntimeUserError(
                    "ConditionNotWaiting",
                    f"condition {asked.name!r} of run {asked.run} waits no more: it has {phase.replace('_', ' ')}",
                )
        values = (asked.run, asked.key, answer.value, answer.at, answer.by)
        file.execute("INSERT INTO signal VALUES (?, ?, ?, ?, ?)", values)
        file.execute("COMMIT")
        return None
    finally:
        if file.in_transaction:
            file.execute("ROLLBACK")


_KIN = (
    "WITH RECURSIVE"
    " before (id) AS (SELECT :run UNION SELECT r.recovered_from FROM run r JOIN before ON r.id = before.id"
    "  WHERE r.recovered_from IS NOT NULL),"
    " after (id) AS (SELECT :run UNION SELECT r.id FROM run r JOIN after ON r.recovered_from = after.id),"
    " kin (id, is_before) AS (SELECT id, 1 FROM before UNION ALL SELECT id, 0 FROM after)"
    " SELECT r.name, t.name, a.id FROM kin JOIN run r ON r.id = kin.id"
    " JOIN action a ON a.id BETWEEN kin.id << 32 AND (kin.id + 1 << 32) - 1"
    "  AND a.key = (SELECT key FROM action WHERE id = :action) JOIN task t ON t.id = a.task"
    " WHERE t.version = (SELECT u.version FROM action b JOIN task u ON u.id = b.task WHERE b.id = :action)"
    "  AND kin.id != :run AND (is_before = 0 OR a.phase IN ('paused', 'aborted'))"
)


def _kin_of(file: sqlite3.Connection, asked: Asked) -> list[tuple[str, str]]:
    """Where an answer to the same question of runs that this one was recovered from, or that recover it, may stand."""
    found = file.execute(_KIN, {"run": asked.id >> 32, "action": asked.id})
    return [(run, key_of(name, number)) for run, name, number in found]


def _compare(asked: Asked, before: Answer, answer: Answer) -> None:
    if not answers.same(before.value, answer.value):
        shown = before.value if isinstance(before.value, str) else "with another value"
        raise RuntimeUserError(
            "ConditionAlreadyAnswered",
            f"condition {asked.name!r} of run {asked.run} was answered {shown} by {before.by} at "
            f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(before.at))}; the first answer counts",
        )


# What a run that waits reads ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Earlier:
    """What is known of a condition from before it was reached now.

    :param since: when it was first reached; None if it was not.
    :param places: run and key under which an answer may stand.
    :param was_announced: whether its webhook was called.
    """

    since: float | None = None
    places: list[tuple[str, str]] = field(default_factory=list)
    was_announced: bool = False


_EARLIER = (
    "WITH RECURSIVE past (id, age) AS (SELECT ?, 0 UNION ALL"
    " SELECT r.recovered_from, past.age + 1 FROM run r JOIN past ON r.id = past.id"
    " WHERE r.recovered_from IS NOT NULL AND past.age < 10000)"
    " SELECT a.id, r.name, a.queued_at, a.phase, a.waiting, t.name FROM past"
    " JOIN run r ON r.id = past.id JOIN action a ON a.id BETWEEN r.id << 32 AND (r.id + 1 << 32) - 1 AND a.key = ?"
    " JOIN task t ON t.id = a.task"
    " WHERE t.version = ? ORDER BY past.age"
)


def earlier_of(file: sqlite3.Connection, run: int, key: bytes, version: str) -> Earlier:
    """What earlier attempts of the run, and the runs that it is recovered from, know of an equal condition.

    One that was over, such as by its timeout, begins anew.
    """
    found = Earlier()
    for number, name, since, phase, waiting, condition in file.execute(_EARLIER, (run, key, version)):
        if phase not in _OPEN:
            break
        found.since = since if found.since is None else min(found.since, since)
        found.places.append((name, key_of(condition, number)))
        found.was_announced = found.was_announced or bool(waiting and json.loads(waiting).get("announced"))
    return found


def answer_at(file: sqlite3.Connection, places: list[tuple[str, str]]) -> Answer | None:
    """The first answer that stands at one of ``places``."""
    for place in places:
        row = file.execute("SELECT value, at, by FROM signal WHERE run = ? AND name = ?", place).fetchone()
        if row is not None:
            return Answer(*row)
    return None


Put = Callable[[str, tuple[Any, ...]], None]


def copy_answer(put: Put, asked: Asked, answer: Answer) -> None:
    """Keep an answer that was given to an earlier run with this one, too.

    :param put: writes with the next commit.
    """
    values = (asked.run, asked.key, answer.value, answer.at, answer.by)
    put("INSERT OR IGNORE INTO signal VALUES (?, ?, ?, ?, ?)", values)


def copy_answer_of(put: Put, asked: Asked, source: int) -> None:
    """:func:`copy_answer` for a condition that was recovered from the action ``source``."""
    put(
        "INSERT OR IGNORE INTO signal SELECT ?, ?, value, at, by FROM signal"
        " WHERE run = (SELECT name FROM run WHERE id = ? >> 32) AND name = ?",
        (asked.run, asked.key, source, key_of(asked.name, source)),
    )


def drop_answer(put: Put, places: list[tuple[str, str]], answer: Answer) -> None:
    """Forget an answer that the run could not take, so that another one can be given."""
    for run, key in places:
        put("DELETE FROM signal WHERE run = ? AND name = ? AND at = ?", (run, key, answer.at))
