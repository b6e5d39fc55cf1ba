"""``flyte get``: runs, their actions, and what those took, gave and said, from the history on this machine."""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from ._away import goes_away
from ._options import OUTPUTS, one_of, read_limit, wants_json, was_given
from ._params import TextGroup
from ._shown import open_page, print_action, print_actions, print_runs, print_values, visible
from ._tables import (
    TextCommand,
    complete_runs,
    devbox_hint,
    duration,
    moment,
    new_app,
    print_facts,
    short,
    single,
    told,
)

if TYPE_CHECKING:
    from typer._click.core import Command

    from flyte._journal.history import History
    from flyte._journal.history_entries import ActionEntry, LogEntry, RunEntry

FOLLOWED_EVERY_S = 0.1
"""How often a live run is looked at; its end is seen within this time."""
_RUNS = 50

RUN = typer.Argument(
    ..., metavar="RUN", help="Name of the run, or 'last' for the latest.", autocompletion=complete_runs
)
ACTION = typer.Argument(
    None, metavar="ACTION", help="Name of the action, or of its task if the run calls it once; the first if not given."
)
OUTPUT = typer.Option("text", "--output", metavar="text|json", callback=one_of(OUTPUTS), help="How to print it.")


def _phases(value: list[str] | None) -> list[str] | None:
    from flyte._core.identity import ActionPhase

    choices = tuple(phase.value for phase in ActionPhase)
    words = [word.strip() for one in value or () for word in one.split(",")]
    return [one_of(choices)(word) or "" for word in words] or None


IN_PHASE = typer.Option(
    None,
    "--in-phase",
    "--phase",
    metavar="PHASE",
    callback=_phases,
    help="Only those in this phase; several with commas, or more than once.",
)


LOCAL: Any = typer.Option(
    True,
    "--local/--remote",
    show_default=False,
    help="Runs of this machine, or of a control plane: the configured one, else the devbox. Default: remote if one is "
    "configured.",
)


def _where(option: str, what: str) -> Any:
    return typer.Option(None, f"--{option}", f"-{option[0]}", metavar="NAME", help=f"On a control plane: {what}")


PROJECT, DOMAIN = _where("project", "project of the run."), _where("domain", "domain of the run.")


def _away(ctx: typer.Context) -> bool:
    """Whether the command is about a control plane; what only that has is refused otherwise."""
    if goes_away(ctx):
        return True
    for option in ("project", "domain"):
        if was_given(ctx, option):
            ctx.fail(f"--{option} says where on a control plane the run is: add --remote")
    return False


def get_run(
    ctx: typer.Context,
    name: str = typer.Argument(
        None, metavar="[NAME]", help="One run, or 'last'; all if not given.", autocompletion=complete_runs
    ),
    task: str = typer.Option(None, "--task-name", "--task", metavar="TASK", help="Only runs of this task."),
    phase: list[str] = IN_PHASE,
    paused_only: bool = typer.Option(False, "--paused-only", help="Only runs in which somebody is waited for."),
    project: str = typer.Option(None, "--project", "-p", metavar="NAME", help="Only runs of this project."),
    domain: str = typer.Option(None, "--domain", "-d", metavar="NAME", help="Only runs of this domain."),
    limit: str = typer.Option(str(_RUNS), metavar="N", callback=read_limit, help="How many at most; 0 for all."),
    local: bool = LOCAL,
    output: str = OUTPUT,
) -> None:
    """List runs, the newest first, or show one: of this machine, or of the control plane if one is configured."""
    from flyte._journal.history import History
    from flyte.remote._documents import run_document

    given: Any = limit
    choosing = ("task", "phase", "paused_only", "project", "domain", "limit")
    away = goes_away(ctx)
    for option in choosing:
        # On a control plane a name is one of a project and domain.
        if name is not None and was_given(ctx, option) and not (away and option in ("project", "domain")):
            ctx.fail("an option that chooses among runs does not go with the NAME of one")
    if away:
        from ._objects_away import get_run_away

        filters = {"task": task, "phases": phase, "paused_only": paused_only, "project": project, "domain": domain}
        get_run_away(ctx, name, {**filters, "limit": given or None})
        return
    with told(ctx), History() as history:
        if name is not None:
            run = history.run(name)
            counts = history.counts(run.id)
            if wants_json(ctx):
                _print_json({**run_document(run), "actions": counts})
            else:
                _show_run(run, counts)
            return
        runs = history.runs(
            task=task, phases=phase, paused_only=paused_only, project=project, domain=domain, limit=given or None
        )
        if wants_json(ctx):
            _print_json([run_document(run) for run in runs])
            return
        if not runs:
            chosen = any(was_given(ctx, option) for option in choosing)
            print(f"no run is remembered {'that fits' if chosen else 'yet'}{devbox_hint()}", file=sys.stderr)
            return
        print_runs(runs)
        if given and len(runs) == given:
            print(f"... the newest {given}; --limit 0 lists all", file=sys.stderr)


def _show_run(run: "RunEntry", counts: dict[str, int]) -> None:
    facts = [
        ("run", run.name),
        ("task", run.task),
        ("phase", run.phase),
        ("started", moment(run.started_at)),
        ("duration", duration(run.started_at, run.ended_at, time.time())),
        ("actions", ", ".join(f"{count} {phase}" for phase, count in sorted(counts.items())) or "none"),
        ("process", f"{run.pid} on {run.host}"),
        ("folder", run.base_dir),
    ]
    if run.recovered_from is not None:
        facts.append(("recovered from", run.recovered_name or "a run that was deleted"))
    if run.fault is not None:
        facts.append(("error", f"{run.fault.type}: {run.fault.message.strip()}"))
    print_facts(facts)


def get_action(
    ctx: typer.Context,
    run: str = RUN,
    action: str = typer.Argument(
        None, metavar="[ACTION]", help="One action, by its name or its task's; all, as a tree, if not given."
    ),
    phase: list[str] = IN_PHASE,
    every: bool = typer.Option(False, "--all", help="On a terminal: also those that would only be counted."),
    project: str = PROJECT,
    domain: str = DOMAIN,
    local: bool = LOCAL,
    output: str = OUTPUT,
) -> None:
    """Show the actions of a run as a tree, or one of them."""
    from flyte._journal.history import History
    from flyte.remote._documents import action_document

    if _away(ctx):
        from ._objects_away import get_action_away

        get_action_away(ctx, run, action, phase, every)
        return
    with told(ctx), History() as history:
        of = history.run(run)
        if action is not None:
            _show_action(ctx, history, of, history.action(of, action))
            return
        actions = history.actions(of.id)
        tasks = history.tasks({one.task for one in actions})
        names = {one.id: one.name for one in actions}
        if wants_json(ctx):
            _print_json(
                [
                    action_document(one, tasks[one.task], of.name, names.get(one.parent or -1))
                    for one in actions
                    if phase is None or one.phase in phase
                ]
            )
            return
        print_actions(of.name, actions, tasks, phase, every)


def _show_action(ctx: typer.Context, history: "History", run: "RunEntry", action: "ActionEntry") -> None:
    from flyte.remote._details import ActionDetails

    task = history.task(action.task)
    attempts = history.attempts(action)
    parent = history.action_by_id(action.parent) if action.parent is not None else None
    origin = history.action_by_id(action.source) if action.source is not None else None
    of = history.run_by_id(origin.run) if origin is not None else None
    came = (of.name, origin.name) if of is not None and origin is not None else None
    if wants_json(ctx):
        details = ActionDetails(action, run, task, parent, None, attempts, came)  # type: ignore[arg-type]
        _print_json(details.to_dict())
        return
    caller = (history.task(parent.task).name, parent.name) if parent is not None else None
    print_action(run.name, action, task, attempts, caller, came)


def get_io(
    ctx: typer.Context,
    run: str = RUN,
    action: str = ACTION,
    inputs_only: bool = typer.Option(False, "--inputs-only", "-i", help="Only what it was called with."),
    outputs_only: bool = typer.Option(False, "--outputs-only", "-o", help="Only what it returned."),
    project: str = PROJECT,
    domain: str = DOMAIN,
    local: bool = LOCAL,
    output: str = OUTPUT,
) -> None:
    """Show what an action was called with, and what it returned.

    Values are read without the program's code: structures are shown by their fields, and what only pickle could carry
    is not read.
    """
    from flyte._journal.history import History
    from flyte.remote._literals import decode_inputs, decode_outputs
    from flyte.remote._source import fetch_inputs, fetch_outputs

    if inputs_only and outputs_only:
        ctx.fail("--inputs-only and --outputs-only leave nothing to show; give one of them")
    if _away(ctx):
        from ._objects_away import get_io_away

        get_io_away(ctx, run, action, not outputs_only, not inputs_only)
        return
    with told(ctx), History() as history:
        of = history.run(run)
        one = history.action(of, action)
        interface = history.task(one.task).interface
        shown: dict[str, dict[str, Any]] = {}
        if not outputs_only:
            shown["inputs"] = decode_inputs(fetch_inputs(history, one.id), interface)
        if not inputs_only:
            shown["outputs"] = decode_outputs(fetch_outputs(history, one.id), interface)
        if wants_json(ctx):
            _print_json({"run": of.name, "action": one.name, "phase": one.phase, **shown})
            return
        for title, values in shown.items():
            print_values(title, values, one)


def get_logs(
    ctx: typer.Context,
    run: str = RUN,
    action: str = typer.Argument(None, metavar="[ACTION]", help="Only what this action wrote."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until the run has ended."),
    timestamps: bool = typer.Option(False, "--show-ts", "--timestamps", help="Put the time before each line."),
    attempt: str = typer.Option(
        None, "--attempt", "-a", metavar="N", callback=read_limit, help="Only this attempt of the ACTION, from 0 on."
    ),
    lines: str = typer.Option(
        None, "--lines", "-l", metavar="N", callback=read_limit, help="Begin with the last N lines."
    ),
    project: str = PROJECT,
    domain: str = DOMAIN,
    local: bool = LOCAL,
    output: str = OUTPUT,
) -> None:
    """Show what a run, or one of its actions, printed and logged.

    With --output json each line is a JSON document of its own.
    """
    from flyte._journal.history import History

    last: Any = lines
    number: Any = attempt
    if number is not None and action is None:
        ctx.fail("--attempt is one of an ACTION: name that too")
    if _away(ctx):
        from ._logs_away import get_logs_away

        get_logs_away(ctx, run, action, number, last, timestamps, follow)
        return
    with told(ctx), History() as history:
        of = history.run(run)
        one = history.action(of, action) if action is not None else None
        seen, known = 0, dict[int, str]()
        while True:
            # The run first: what is read after its end is all there is.
            of = history.run_by_id(of.id) or of
            entries = history.logs(of.id, one.id if one is not None else None, seen)
            seen = entries[-1].id if entries else seen
            if number is not None and one is not None:
                entries = _of_attempt(history, history.action_by_id(one.id) or one, number, entries)
            if last is not None:
                entries, last = entries[max(0, len(entries) - last) :], None
            _print_lines(ctx, history, of, entries, known, timestamps, one is None)
            if of.has_ended or not follow:
                break
            time.sleep(FOLLOWED_EVERY_S)
        if not seen and not wants_json(ctx):
            print(f"nothing that {'it' if one is not None else f'run {of.name}'} wrote was kept", file=sys.stderr)


def _of_attempt(history: "History", action: "ActionEntry", number: int, entries: "list[LogEntry]") -> "list[LogEntry]":
    attempts = history.attempts(action)
    if number >= len(attempts):
        raise ValueError(f"action {action.name} has {len(attempts)} attempts, the first is 0: there is no {number}")
    end = attempts[number + 1].started_at if number + 1 < len(attempts) else float("inf")
    return [entry for entry in entries if attempts[number].started_at <= entry.at < end]


def _print_lines(
    ctx: typer.Context,
    history: "History",
    run: "RunEntry",
    entries: "list[LogEntry]",
    known: dict[int, str],
    timestamps: bool,
    by_task: bool,
) -> None:
    if not entries:
        return
    as_json = wants_json(ctx)
    if (by_task or as_json) and any(entry.action not in known for entry in entries):
        actions = history.actions(run.id)
        tasks = history.tasks({one.task for one in actions})
        known |= {one.id: f"{one.name} {tasks[one.task].name}" for one in actions}
    for entry in entries:
        name, _, task = known.get(entry.action, "").partition(" ")
        if as_json:
            from flyte.remote._documents import time_text

            at = time_text(entry.at)
            _print_json({"at": at, "action": name, "task": task, "source": entry.source, "line": entry.line})
            continue
        stamp = f"{moment(entry.at)} " if timestamps else ""
        whose = f"{short(task)}: " if by_task and task else ""
        sys.stdout.write(f"{stamp}{whose}{visible(entry.line)}\n")
    sys.stdout.flush()


def get_report(
    ctx: typer.Context,
    run: str = RUN,
    action: str = ACTION,
    open_it: bool = typer.Option(False, "--open", help="Show it in the browser."),
    attempt: str = typer.Option(
        None,
        "--attempt",
        "-a",
        metavar="N",
        callback=read_limit,
        help="On a control plane: this attempt, from 0 on.",
    ),
    project: str = PROJECT,
    domain: str = DOMAIN,
    local: bool = LOCAL,
    output: str = OUTPUT,
) -> None:
    """Print the path of an action's report; one of a control plane is fetched into a file first."""
    from flyte._journal.history import History
    from flyte.remote._documents import report_path

    number: Any = attempt
    if _away(ctx):
        from ._objects_away import get_report_away

        get_report_away(ctx, run, action, number, open_it)
        return
    if number is not None:
        ctx.fail("--attempt chooses among reports on a control plane: add --remote; here the last one is kept")
    with told(ctx), History() as history:
        of = history.run(run)
        one = history.action(of, action)
        path = report_path(of, one.name)
        if path is None:
            having = [each for each in history.actions(of.id)[:10_000] if report_path(of, each.name) is not None]
            tasks = history.tasks({each.task for each in having})
            some = ", ".join(f"{each.name} ({short(tasks[each.task].name)})" for each in having[:5])
            hint = f"these actions have one: {some}" if some else "declare the task with report=True"
            raise FileNotFoundError(f"action {one.name} of run {of.name} has no report; {hint}")
        if wants_json(ctx):
            _print_json({"run": of.name, "action": one.name, "path": str(path)})
        else:
            print(path, flush=True)
        if open_it:
            open_page(path)


def _print_json(document: Any) -> None:
    from ._render import json_text

    print(json_text(document), flush=True)


def command() -> "Command":
    """``flyte get``."""
    from ._catalog import get_project, get_secret, get_task, get_trigger
    from ._config import get_config
    from ._plane import get_devbox

    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def get() -> None:
        """Show runs with all that is known of them, of this machine or a control plane, and what that keeps besides."""

    app.command("run", cls=TextCommand)(get_run)
    app.command("action", cls=TextCommand)(get_action)
    app.command("io", cls=TextCommand)(get_io)
    app.command("logs", cls=TextCommand)(get_logs)
    app.command("report", cls=TextCommand)(get_report)
    app.command("task", cls=TextCommand)(get_task)
    app.command("trigger", cls=TextCommand)(get_trigger)
    app.command("project", cls=TextCommand)(get_project)
    app.command("secret", cls=TextCommand)(get_secret)
    app.command("config", cls=TextCommand)(get_config)
    app.command("devbox", cls=TextCommand)(get_devbox)
    return single(app)
