"""One recorded run or action, as what starts it again needs to know it."""

import json
from dataclasses import dataclass
from typing import Any

from flyte._core.face import nearest
from flyte.errors import RunRecoveryError

from .schema import actions_of, journal_path, open_file
from .values import fetch

_BUSY_S = 30.0
_NAMES = "SELECT name FROM action WHERE id BETWEEN ? AND ? LIMIT 200"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded action.

    :param run: name of its run.
    :param action: its own name.
    :param task: full name of its task.
    :param program: where the run's root task is found: ``module``, ``file``, ``task``, ``cwd``, ``root``.
    :param inputs: the bytes of a LiteralMap; empty without parameters.
    """

    run: str
    action: str
    task: str
    program: dict[str, Any]
    inputs: bytes


def recorded(run: str, action: str = "a0") -> Recorded:
    """What the journal knows of an action; ``last`` is the latest run.

    :raises RunRecoveryError: there is no such run or action, or its inputs are gone.
    :raises NotAJournal: the journal cannot be read.
    """
    path = journal_path()
    if not path.exists():
        raise RunRecoveryError(f"there is no run {run!r}: no run has been remembered on this machine yet")
    file = open_file(path, _BUSY_S)
    try:
        where = ("1 ORDER BY id DESC LIMIT 1", ()) if run == "last" else ("name = ? ORDER BY id DESC LIMIT 1", (run,))
        found = file.execute(f"SELECT id, name, program FROM run WHERE {where[0]}", where[1]).fetchone()
        if found is None:
            names = [name for (name,) in file.execute("SELECT name FROM run ORDER BY id DESC LIMIT 200")]
            raise RunRecoveryError(f"there is no run {run!r}{nearest(run, names)}; see 'flyte get run'")
        row = file.execute(
            "SELECT t.name, a.inputs FROM action a JOIN task t ON t.id = a.task"
            " WHERE a.id BETWEEN ? AND ? AND a.name = ? AND t.kind = 'task'",
            (*actions_of(found[0]), action),
        ).fetchone()
        if row is None:
            names = [name for (name,) in file.execute(_NAMES, actions_of(found[0]))]
            raise RunRecoveryError(f"run {found[1]!r} has no task action {action!r}{nearest(action, names)}")
        try:
            inputs = fetch(row[1]) if row[1] else b""
        except (OSError, ValueError) as error:
            raise RunRecoveryError(
                f"the inputs of action {action!r} of run {found[1]!r} cannot be read: {error}"
            ) from error
        return Recorded(found[1], action, row[0], json.loads(found[2]), inputs)
    finally:
        file.close()
