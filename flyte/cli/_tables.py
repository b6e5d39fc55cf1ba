"""Tables, facts and moments, as the commands that look at runs write them: for a terminal, a pipe, or as JSON.

Called by `_objects`, `_deletion` and `_why`.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from ._options import wants_json
from ._params import _keep_text

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter

PHASE_STYLES = {
    "succeeded": "green",
    "recovered": "green",
    "failed": "red",
    "timed_out": "red",
    "aborted": "yellow",
    "running": "cyan",
    "paused": "cyan",
}
_WIDEST = 60


class TextCommand(TyperCommand):
    """A command whose options stay text."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """The parameters, and ``--help``."""
        return _keep_text(super().get_params(ctx))


@contextmanager
def told(ctx: "Context") -> Iterator[None]:
    """What cannot be done is said in one line, or as JSON, and the command ends with exit code 1."""
    from flyte._journal.history import NotRemembered
    from flyte._journal.history_deletion import RefusedDeletion
    from flyte._journal.schema import NotAJournal

    try:
        yield
        sys.stdout.flush()
    except (NotRemembered, NotAJournal, RefusedDeletion, OSError, ValueError) as error:
        from ._render import json_text, write_error

        if isinstance(error, BrokenPipeError):
            raise without_reader() from None
        if wants_json(ctx):
            kind = type(error).__name__
            print(json_text({"error": {"type": kind, "code": kind, "kind": "user", "message": str(error)}}), flush=True)
        else:
            more = devbox_hint() if isinstance(error, NotRemembered) and "local" in ctx.params else ""
            write_error(f"{error}{more}")
        raise typer.Exit(1) from None


def devbox_hint() -> str:
    """What to add where nothing was found on this machine: that its devbox may have it, if it runs."""
    from flyte.devbox._lifecycle import standing

    return "; the devbox is another place to look: add --remote" if standing().running else ""


def without_reader() -> typer.Exit:
    """What to raise when nobody reads what is written any more, as in ``flyte get run | head``."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return typer.Exit(1)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], phase_column: int | None = None) -> None:
    """Write a table: with rich on a terminal, in columns of plain text elsewhere.

    :param phase_column: the column that holds phases, which get colours on a terminal.
    """
    shown = [row if "".join(row).isprintable() else [one_line(text, None) for text in row] for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in head:
            table.add_column(name, no_wrap=name in ("NAME", "PHASE", "ACTION"), overflow="ellipsis")
        for row in shown:
            style = PHASE_STYLES.get(row[phase_column], "") if phase_column is not None else ""
            table.add_row(*(Text(text, style if n == phase_column else "") for n, text in enumerate(row)))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(head, *shown, strict=True)]
    line = "  ".join(f"{{:<{width}}}" for width in widths).format
    sys.stdout.write("\n".join([line(*row).rstrip() for row in (head, *shown)]) + "\n")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Write names and values, one a line."""
    width = max(len(name) for name, _ in facts) + 1
    for name, value in facts:
        lines = [one_line(line, None) for line in value.splitlines()] or [""]
        sys.stdout.write(f"{name + ':':<{width}} {lines[0]}\n")
        sys.stdout.writelines(f"{'':<{width}} {line}\n" for line in lines[1:])


def one_line(text: str, limit: int | None = _WIDEST) -> str:
    """``text`` without what would move the cursor, cut to ``limit`` characters."""
    plain = text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if limit is None or len(plain) <= limit else f"{plain[: limit - 3]}..."


def moment(at: float | None) -> str:
    """A time for readers, in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at is not None else "-"


def duration(start: float | None, end: float | None, now: float | None = None) -> str:
    """From one time to another for readers.

    :param now: the end of what has not ended yet.
    """
    from ._tally import seconds_text

    end = end if end is not None else now
    return seconds_text(max(0.0, end - start)) if start is not None and end is not None else "-"


def short(task: str) -> str:
    """A task's name without its environment's."""
    return task.rpartition(".")[2]


def value_text(value: Any, limit: int = _WIDEST) -> str:
    """A value in one line of at most ``limit`` characters."""
    return one_line(repr(value), limit)


def single(app: "typer.Typer") -> "Command":
    """The command of an app."""
    return typer.main.get_command(app)


def new_app(**more: Any) -> "typer.Typer":
    """An app whose help looks as everywhere else in ``flyte``."""
    settings = {"help_option_names": ["--help", "-h"]}
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=settings,
        **more,
    )


def complete_runs(incomplete: str) -> list[str]:
    """Names of runs that begin so; for the shell."""
    return _complete(lambda history: [run.name for run in history.runs(limit=200)] + ["last"], incomplete)


def _complete(names: Callable[[Any], list[str]], incomplete: str) -> list[str]:
    from flyte._journal.history import History
    from flyte._journal.schema import NotAJournal

    try:
        with History() as history:
            return [name for name in names(history) if name.startswith(incomplete)]
    except (NotAJournal, OSError):
        return []
