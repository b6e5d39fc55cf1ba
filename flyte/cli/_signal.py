"""``flyte signal``: answer what a run waits for, or see what that is."""

import sys
import time
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand

from ._options import OUTPUTS, one_of, wants_json

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from flyte._journal.signals import Asked

NOUN = "condition"
"""What the published command has between ``flyte signal`` and the run."""
CONFIRMED_WITHIN_S = 2.0
"""How long to see whether a run that waits takes the answer; it looks twice a second."""


class SignalCommand(TyperCommand):
    """Says how its arguments go together."""

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """What the usage line says after ``flyte signal``."""
        return ["[OPTIONS]", "RUN [NAME [VALUE]]"]


def signal(
    ctx: typer.Context,
    run: str = typer.Argument(..., metavar="RUN", help="Name of the run, or 'last' for the latest."),
    name: str = typer.Argument(None, metavar="NAME", help="Name of the condition; without it they are listed."),
    value: str = typer.Argument(None, metavar="VALUE", help="The answer; without it the terminal asks for it."),
    more: str = typer.Argument(None, hidden=True),  # with the published command's noun there is one word more
    by: str = typer.Option(None, "--by", metavar="WHO", help="Who says so; your user name if not given."),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print the list."),
) -> None:
    """Answer a condition that a run waits for, on this machine or on the control plane.

    'flyte signal RUN' lists the conditions of a run, 'flyte signal RUN NAME' asks for the value on the terminal.

    VALUE is yes or no for a bool, plain text for a text, and JSON for anything else. The first answer counts.
    """
    from flyte._core.loop import run_blocking
    from flyte._journal.answers import BadAnswer
    from flyte._journal.signals import Answer, default_user
    from flyte.errors import BaseRuntimeError
    from flyte.remote._conditions import AwayAsked, answer_json, conditions_of, find_condition

    from ._render import write_error

    if run == NOUN and name is not None:
        run, name, value, more = name, value, more, ""
    for word in (run, name, value, more):
        if word and word.startswith("--"):
            ctx.fail(f"No such option: {word}")
    if more:
        ctx.fail(f"Got unexpected extra argument ({more}); put a VALUE with spaces in quotes")
    try:
        if name is None:
            _list(run_blocking(lambda: conditions_of(run)), run, wants_json(ctx))
            return
        asked = run_blocking(lambda: find_condition(run, name))
        if value is None:
            value = _ask(ctx, asked)
        said = asked.form.read(value)
        given = Answer(said, time.time(), by or default_user())
        run_blocking(lambda: answer_json(asked, given))
    except BadAnswer as error:
        write_error(f"condition {name!r} of run {run}: {error}")
        raise typer.Exit(1) from None
    except BaseRuntimeError as error:
        write_error(str(error))
        raise typer.Exit(1) from None
    if isinstance(asked, AwayAsked):
        print(f"condition {asked.name!r} of run {asked.run} is answered, and the run goes on")
    else:
        _confirm(asked)


def _ask(ctx: typer.Context, asked: "Asked") -> str:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        ctx.fail(f"a VALUE is missing: flyte signal {asked.run} {asked.name} VALUE ({asked.form.type}: {asked.prompt})")
    print(_one_line(asked.prompt), file=sys.stderr)
    if asked.description:
        print(_one_line(asked.description), file=sys.stderr)
    print("y or n: " if asked.form.is_yes_or_no else f"{asked.form.type}: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise typer.Abort
    return line.rstrip("\r\n")


def _confirm(asked: "Asked") -> None:
    """Say what becomes of the answer."""
    from flyte._journal.signals import conditions_of

    from ._render import write_error

    until = time.monotonic() + CONFIRMED_WITHIN_S
    while True:
        now = next((one for one in conditions_of(asked.run) if one.id == asked.id), asked)
        if now.phase not in ("paused", "aborted"):
            print(f"condition {asked.name!r} of run {asked.run} is answered, and the run goes on")
            return
        if now.answer is None and now.refusal is not None:
            write_error(f"run {asked.run} did not take the value for condition {asked.name!r}: {now.refusal}")
            raise typer.Exit(1)
        if not now.is_alive:
            print(
                f"condition {asked.name!r} of run {asked.run} is answered; the run's process has ended, so the value "
                f"is taken when it is started again: flyte rerun {asked.run} --recover"
            )
            return
        if time.monotonic() > until:
            print(f"condition {asked.name!r} of run {asked.run} is answered; the run has not taken the value so far")
            return
        time.sleep(0.05)


def _list(every: "list[Asked]", run: str, as_json: bool) -> None:
    from flyte._journal.condition import document

    from ._render import json_text

    if as_json:
        print(json_text([document(one) for one in every]))
        return
    if not every:
        print(f"run {run} has reached no condition", file=sys.stderr)
        return
    rows = [("NAME", "TYPE", "PHASE", "SINCE", "PROMPT", "ANSWER")]
    rows += [
        (_one_line(one.name), one.form.type, one.phase, _moment(one.since), _one_line(one.prompt), _answer_text(one))
        for one in every
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    waiting = [one for one in every if one.is_open]
    if waiting:
        from shlex import quote

        for one in waiting:
            print(f"to answer: flyte signal {run} {quote(one.name)} VALUE", file=sys.stderr)


def _answer_text(one: "Asked") -> str:
    if one.answer is None:
        return f"refused: {_one_line(one.refusal)}" if one.refusal else ""
    value = _one_line(one.answer.value) if isinstance(one.answer.value, str) else "(no JSON)"
    return f"{value} by {_one_line(one.answer.by)} at {_moment(one.answer.at)}"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _one_line(text: str) -> str:
    """``text`` without what would move the cursor, and cut to a length that a table can carry."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= 60 else f"{plain[:57]}..."


def command() -> "Command":
    """``flyte signal``."""
    app = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        # A VALUE may be a negative number.
        context_settings={"help_option_names": ["--help", "-h"], "ignore_unknown_options": True},
    )
    app.command(cls=SignalCommand)(signal)
    return typer.main.get_command(app)
