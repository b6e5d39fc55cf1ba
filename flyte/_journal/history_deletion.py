"""Deleting runs from the history, with what nothing else refers to."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from flyte._core.home import home_dir

from . import values
from .history import DELETED, History, span
from .history_entries import RunEntry

_EMPTIED = (
    f"UPDATE run SET name = '', task = '', phase = '{DELETED}', project = NULL, domain = NULL, base_dir = '',"
    " recovered_from = NULL, writer = '', host = '', program = '{}', inputs_hash = NULL, error = NULL WHERE id = ?"
)


class RefusedDeletion(Exception):
    """A run cannot be deleted as things stand; the message says why and what to do."""


@dataclass(slots=True)
class Deletion:
    """What was deleted.

    :param runs: names of the runs.
    :param left: folders and objects that stay, and why.
    """

    runs: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def delete_runs(history: History, runs: Iterable[RunEntry], *, force: bool = False) -> Deletion:
    """Delete runs: their rows, their folders, and large values that no other run refers to.

    All of them, or none where one is refused. A folder that is not below the state folder is left alone.

    :param force: also delete runs that still run, or that others were recovered from.
    :raises RefusedDeletion: one of them may not be deleted without ``force``.
    :raises NotAJournal: the file cannot be written.
    """
    chosen = {run.id: run for run in runs}
    if not force:
        for run in chosen.values():
            _check(history, run, set(chosen))
    digests: set[str] = set()
    with history.writing() as file:
        if file is None:
            return Deletion()
        for number, run in chosen.items():
            for (heir,) in file.execute(
                "WITH RECURSIVE heir (id) AS (SELECT id FROM run WHERE recovered_from = ? UNION"
                " SELECT run.id FROM run JOIN heir ON run.recovered_from = heir.id) SELECT id FROM heir",
                (number,),
            ).fetchall():
                # What an heir took over it refers to from now on by itself.
                file.execute(
                    "INSERT OR IGNORE INTO big SELECT substr(outputs, 8), id FROM action"
                    " WHERE id >= ? AND id < ? AND typeof(outputs) = 'text'",
                    span(heir),
                )
                file.execute(
                    "UPDATE action SET source = NULL WHERE id >= ? AND id < ? AND source >= ? AND source < ?",
                    (*span(heir), *span(number)),
                )
            file.execute("UPDATE run SET recovered_from = NULL WHERE recovered_from = ?", (number,))
            digests |= {row[0] for row in file.execute(
                "SELECT DISTINCT hash FROM big WHERE action >= ? AND action < ?", span(number))}  # fmt: skip
            for table, column in (("big", "action"), ("attempt", "action"), ("action", "id")):
                file.execute(f"DELETE FROM {table} WHERE {column} >= ? AND {column} < ?", span(number))
            file.execute("DELETE FROM log WHERE run = ?", (number,))
            # The id of a run that still writes must not be given to another one.
            file.execute("DELETE FROM run WHERE id = ?" if run.has_ended else _EMPTIED, (number,))
            file.execute(
                "DELETE FROM signal WHERE run = ? AND NOT EXISTS (SELECT 1 FROM run WHERE name = ?)",
                (run.name, run.name),
            )
        # Ids are given out in order, so only the row with the last one has to stay.
        file.execute(f"DELETE FROM run WHERE phase = '{DELETED}' AND id < (SELECT max(id) FROM run)")
        kept = {row[0] for row in file.execute("SELECT DISTINCT base_dir FROM run")}
        for digest in digests:
            if file.execute("SELECT 1 FROM big WHERE hash = ? LIMIT 1", (digest,)).fetchone() is None:
                values.remove(digest)
    done = Deletion([run.name for run in chosen.values()])
    for folder in dict.fromkeys(run.base_dir for run in chosen.values()):
        if folder and folder not in kept and (why := _remove_folder(folder)) is not None:
            done.left.append(f"{folder} ({why})")
    return done


def refusals(history: History, runs: Iterable[RunEntry]) -> dict[int, str]:
    """Which of the runs :func:`delete_runs` would refuse to delete together, by id, and why."""
    left, refused = {run.id: run for run in runs}, dict[int, str]()
    while True:
        found: dict[int, str] = {}
        for run in left.values():
            try:
                _check(history, run, set(left))
            except RefusedDeletion as error:
                found[run.id] = str(error)
        if not found:
            return refused
        refused |= found
        left = {number: run for number, run in left.items() if number not in found}


def _check(history: History, run: RunEntry, chosen: set[int]) -> None:
    if not run.has_ended:
        raise RefusedDeletion(
            f"run {run.name!r} still runs, in process {run.pid}; wait for its end, or stop it, before deleting it"
        )
    heirs = [heir.name for heir in history.recovered_by(run.id) if heir.id not in chosen]
    if heirs:
        shown = ", ".join(heirs[:3]) + (", ..." if len(heirs) > 3 else "")
        raise RefusedDeletion(
            f"run {run.name!r} has results that {shown} took over by recovery; delete that first, or both with --force"
        )


def _remove_folder(folder: str) -> str | None:
    """Remove a run's folder; why not, if it stays."""
    if "://" in folder:
        return "objects in storage are not deleted with the history"
    path, runs = Path(folder), home_dir() / "local" / "runs"
    # A folder that a user chose may hold anything; only what flyte made itself is flyte's to delete.
    if path.name in ("", "..") or path.parent.resolve() != runs.resolve():
        return f"it is not in {runs}, so it may hold more than the run"
    if path.is_symlink():
        return "it is a link"
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error)
    return None
