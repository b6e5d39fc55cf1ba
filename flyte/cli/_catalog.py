"""``flyte get``, ``create``, ``update`` and ``delete`` of what a control plane keeps besides runs: projects, deployed
tasks, triggers and secrets.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ._away import connect_away
from ._connect import reached
from ._options import OUTPUTS, one_of, read_limit, read_pairs, read_words, wants_json
from ._tables import one_line, print_facts, print_table

if TYPE_CHECKING:
    from typer._click.core import Context

    from flyte.remote._projects import Project
    from flyte.remote._tasks import TaskDetails

OUTPUT = typer.Option("text", "--output", metavar="text|json", callback=one_of(OUTPUTS), help="How to print it.")
PROJECT = typer.Option(None, "--project", "-p", metavar="NAME", help="Project; the configured one if not given.")
DOMAIN = typer.Option(None, "--domain", "-d", metavar="NAME", help="Domain; the configured one if not given.")
LIMIT = typer.Option("100", metavar="N", callback=read_limit, help="How many at most; 0 for all.")
LABELS = typer.Option(
    None, "--label", "-l", metavar="KEY=VALUE", callback=read_pairs("KEY=VALUE"), help="Label; may be repeated."
)
REMOTE = typer.Option(False, "--remote", hidden=True, help="They are of a control plane anyway.")
TASK = typer.Argument(..., metavar="TASK", help="Name of the task, with that of its environment: env.task.")
_EVERY = 1_000_000_000


def _say(ctx: "Context", document: Any, text: str) -> None:
    """What was done: one line, or a document."""
    if wants_json(ctx):
        from ._render import json_text

        print(json_text(document), flush=True)
    else:
        print(text, flush=True)


def _table(
    ctx: "Context", found: Sequence[Any], head: Sequence[str], fields: Sequence[str], missing: str, limit: int = 0
) -> None:
    documents = [one.to_dict() for one in found]
    if wants_json(ctx):
        from ._render import json_text

        print(json_text(documents), flush=True)
        return
    if not documents:
        print(missing, file=sys.stderr)
        return
    print_table(head, [[_cell(field, document[field]) for field in fields] for document in documents])
    if limit and len(found) == limit:
        print(f"... the first {limit}; --limit 0 lists all", file=sys.stderr)


def _cell(field: str, value: Any) -> str:
    if value is None:
        return "-"
    if field.endswith("_at"):
        return _moment(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else one_line(str(value))


def _moment(text: str) -> str:
    from datetime import datetime

    from ._tables import moment

    return moment(datetime.fromisoformat(text).timestamp())


def _facts(ctx: "Context", document: dict[str, Any]) -> None:
    if wants_json(ctx):
        from ._render import json_text

        print(json_text(document), flush=True)
        return
    facts = [
        (name.removesuffix("_at").replace("_", " "), _fact(name, value))
        for name, value in document.items()
        if value not in (None, "", [], {}) and not (name == "url" and _is_devbox())
    ]
    print_facts(facts)


def _is_devbox() -> bool:
    """Whether it is the control plane of this machine, which has no pages that an address would lead to."""
    from flyte.remote._plane import find_plane

    return find_plane().is_devbox


def _fact(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items() if inner not in ("", [], {}, None))
    return _cell(name, value) if not isinstance(value, str) or name.endswith("_at") else value


# Projects -------------------------------------------------------------------------------------------------------------


def get_project(
    ctx: typer.Context,
    name: str = typer.Argument(None, metavar="[ID]", help="One project; all if not given."),
    archived: bool = typer.Option(False, "--archived", help="Those that were archived, instead of the others."),
    remote: bool = REMOTE,
    output: str = OUTPUT,
) -> None:
    """List projects, or show one."""
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._projects import Project

        if name is not None:
            _facts(ctx, Project.get(name).to_dict())
            return
        fields = ("id", "name", "domains", "description")
        found = list(Project.listall(archived=archived))
        _table(ctx, found, ("ID", "NAME", "DOMAINS", "DESCRIPTION"), fields, "there is no such project")


def create_project(
    ctx: typer.Context,
    id: str = typer.Option(..., "--id", metavar="ID", callback=read_words, help="What runs and tasks say; for good."),
    name: str = typer.Option(None, "--name", metavar="TEXT", help="What people read; the ID if not given."),
    description: str = typer.Option("", "--description", metavar="TEXT", help="What it is for."),
    label: list[str] = LABELS,
    output: str = OUTPUT,
) -> None:
    """Make a project."""
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._projects import Project

        made = Project.create(id, name or id, description, _pairs(label))
        _say(ctx, made.to_dict(), f"made project {made.id}")


def update_project(
    ctx: typer.Context,
    id: str = typer.Argument(..., metavar="ID", help="The project."),
    name: str = typer.Option(None, "--name", metavar="TEXT", help="What people read."),
    description: str = typer.Option(None, "--description", metavar="TEXT", help="What it is for."),
    label: list[str] = LABELS,
    archive: bool = typer.Option(None, "--archive/--unarchive", help="Hide it from lists, or show it again."),
    output: str = OUTPUT,
) -> None:
    """Change a project; what is not given stays as it is. Labels that are given replace all of before."""
    state: Any = None if archive is None else "archived" if archive else "active"
    if name is None and description is None and not label and state is None:
        ctx.fail("say what to change: --name, --description, --label, --archive or --unarchive")
    _update_project(ctx, id, name, description, label, state)


def _update_project(
    ctx: "Context", id: str, name: str | None, description: str | None, label: list[str] | None, state: Any
) -> "Project":
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._projects import Project

        changed = Project.update(id, name, description, _pairs(label) if label else None, state)
        done = {"archived": "archived", "active": "brought back"}.get(state, "changed")
        _say(ctx, changed.to_dict(), f"{done} project {changed.id}")
    return changed


def delete_project(
    ctx: typer.Context,
    id: str = typer.Argument(..., metavar="ID", help="The project."),
    output: str = OUTPUT,
) -> None:
    """Archive a project: a control plane hides it from lists, and deletes nothing of it."""
    _update_project(ctx, id, None, None, None, "archived")


def _pairs(given: list[str] | None) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in given or ())


# Tasks ----------------------------------------------------------------------------------------------------------------


def get_task(
    ctx: typer.Context,
    name: str = typer.Argument(None, metavar="[NAME]", help="One task, as env.task; all if not given."),
    version: str = typer.Argument(None, metavar="[VERSION]", help="The latest if not given."),
    entrypoint: bool = typer.Option(None, "--entrypoint", help="Only those that are entry points."),
    limit: str = LIMIT,
    project: str = PROJECT,
    domain: str = DOMAIN,
    remote: bool = REMOTE,
    output: str = OUTPUT,
) -> None:
    """List deployed tasks, the newest first, or show one."""
    most: Any = limit
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._tasks import Task

        if name is not None:
            _show_task(ctx, Task.get(name, version=version, auto_version=None if version else "latest").fetch())
            return
        found = list(Task.listall(sort_by=("created_at", "desc"), limit=most or _EVERY, entrypoint=entrypoint or None))
        if not found:
            _check_project(project)
        head, fields = ("NAME", "VERSION", "DEPLOYED", "DESCRIPTION"), ("name", "version", "deployed_at", "description")
        missing = "no task is deployed there; deploy some with: flyte deploy FILE"
        _table(ctx, found, head, fields, missing, most)


def _show_task(ctx: "Context", task: "TaskDetails") -> None:
    from flyte.remote._tasks import Task

    document = task.to_dict()
    if not wants_json(ctx):
        document["cache"] = "yes" if task.cache["enabled"] else "no"
        document["resources"] = {
            f"{which} {name}": value for which, said in task.resources.items() for name, value in said.items()
        }
        others = list(Task.listall(by_task_name=task.name, sort_by=("created_at", "desc"), limit=6))
        document["versions"] = [one.version for one in others[:5]] + ["..."] * (len(others) > 5)
    _facts(ctx, document)


def _check_project(given: str | None) -> None:
    """A project that was named and holds nothing may be none."""
    from flyte.remote._projects import Project

    if given is not None:
        Project.get(given)


# Triggers -------------------------------------------------------------------------------------------------------------


def get_trigger(
    ctx: typer.Context,
    task: str = typer.Argument(None, metavar="[TASK]", help="Only triggers of this task, env.task."),
    name: str = typer.Argument(None, metavar="[NAME]", help="One trigger; all if not given."),
    limit: str = LIMIT,
    project: str = PROJECT,
    domain: str = DOMAIN,
    remote: bool = REMOTE,
    output: str = OUTPUT,
) -> None:
    """List triggers, or show one."""
    most: Any = limit
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._triggers import Trigger

        if name is not None:
            _facts(ctx, Trigger.get(name=name, task_name=task).to_dict())
            return
        found = list(Trigger.listall(task, limit=most or _EVERY))
        if not found:
            _check_project(project)
        head = ("NAME", "TASK", "AUTOMATION", "ACTIVE", "FIRED")
        missing = f"{f'task {task}' if task else 'no task'} has {'no' if task else 'a'} trigger there"
        _table(ctx, found, head, ("name", "task", "automation", "active", "triggered_at"), missing, most)


def create_trigger(
    ctx: typer.Context,
    task: str = TASK,
    name: str = typer.Argument(..., metavar="NAME", help="Name of the trigger, unique in its task."),
    schedule: str = typer.Option(
        None, "--schedule", metavar="CRON", help="When it fires, such as '0 6 * * *'; by hand only if not given."
    ),
    timezone: str = typer.Option("UTC", "--timezone", metavar="NAME", help="That the schedule is in."),
    description: str = typer.Option("", "--description", metavar="TEXT", help="What it is for."),
    activate: bool = typer.Option(True, "--auto-activate/--no-auto-activate", help="Whether it fires from now on."),
    time_input: str = typer.Option(
        None, "--trigger-time-var", metavar="NAME", help="The task's parameter that gets the time it fires at."
    ),
    version: str = typer.Option(None, metavar="TEXT", callback=read_words, help="Of the task; the latest by default."),
    project: str = PROJECT,
    domain: str = DOMAIN,
    output: str = OUTPUT,
) -> None:
    """Give a deployed task a trigger; one of that name is replaced."""
    from flyte._definition.trigger import Cron, TriggerTime
    from flyte._definition.trigger import Trigger as Declared

    if time_input is not None and schedule is None:
        ctx.fail("--trigger-time-var is filled with the time of a --schedule: give that too")
    try:
        declared = Declared(
            name,
            automation=Cron(schedule, timezone) if schedule is not None else None,
            description=description,
            auto_activate=activate,
            inputs={time_input: TriggerTime} if time_input is not None else None,
        )
    except (TypeError, ValueError) as error:
        ctx.fail(str(error))
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._triggers import Trigger

        try:
            made = Trigger.create(declared, task, version)
        except TypeError as error:  # a parameter that the task does not have
            raise ValueError(str(error)) from None
        _say(ctx, made.to_dict(), f"trigger {made.name} of {made.task_name}: {made.automation}")


def update_trigger(
    ctx: typer.Context,
    name: str = typer.Argument(..., metavar="NAME", help="Name of the trigger."),
    task: str = TASK,
    activate: bool = typer.Option(None, "--activate/--deactivate", help="Whether it fires."),
    project: str = PROJECT,
    domain: str = DOMAIN,
    output: str = OUTPUT,
) -> None:
    """Switch a trigger on or off."""
    if activate is None:
        ctx.fail("say which: --activate or --deactivate")
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._triggers import Trigger

        Trigger.update(name, task, active=activate)
        done = "activated" if activate else "deactivated"
        _say(ctx, {"name": name, "task": task, "active": activate}, f"{done} trigger {name} of {task}")


def delete_trigger(
    ctx: typer.Context,
    name: str = typer.Argument(..., metavar="NAME", help="Name of the trigger."),
    task: str = TASK,
    project: str = PROJECT,
    domain: str = DOMAIN,
    output: str = OUTPUT,
) -> None:
    """Delete a trigger; the runs that it started stay."""
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._triggers import Trigger

        Trigger.delete(name, task)
        _say(ctx, {"deleted": name, "task": task}, f"deleted trigger {name} of {task}")


# Secrets --------------------------------------------------------------------------------------------------------------


def get_secret(
    ctx: typer.Context,
    name: str = typer.Argument(None, metavar="[NAME]", help="One secret; all if not given."),
    limit: str = LIMIT,
    project: str = PROJECT,
    domain: str = DOMAIN,
    remote: bool = REMOTE,
    output: str = OUTPUT,
) -> None:
    """List secrets, or show one: that it is there, never its value."""
    most: Any = limit
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._secrets import Secret

        if name is not None:
            _facts(ctx, Secret.get(name).to_dict())
            return
        found = list(Secret.listall(most or _EVERY))
        if not found:
            _check_project(project)
        head, fields = ("NAME", "TYPE", "PROJECT", "DOMAIN", "CREATED"), ("name", "type", "project", "domain")
        missing = "no secret is kept there; keep one with: flyte create secret NAME"
        _table(ctx, found, head, (*fields, "created_at"), missing, most)


def create_secret(
    ctx: typer.Context,
    name: str = typer.Argument(..., metavar="NAME", help="Letters, digits, '-' and '_'."),
    value: str = typer.Option(None, "--value", metavar="TEXT", help="Its value; better not where others read along."),
    from_file: str = typer.Option(None, "--from-file", metavar="FILE", help="Its bytes; '-' for stdin."),
    type: str = typer.Option(
        "regular", "--type", metavar="regular|image_pull", callback=one_of(("regular", "image_pull")), help="Its kind."
    ),
    project: str = PROJECT,
    domain: str = DOMAIN,
    output: str = OUTPUT,
) -> None:
    """Keep a secret for tasks; one of that name gets the new value. Without --value and --from-file it is asked for.

    It is of the project and domain that are given or configured, and of everybody where neither is.
    """
    if value is not None and from_file is not None:
        ctx.fail("--value and --from-file both say the value: give one of them")
    with reached(ctx):
        given = _secret_value(ctx, name, value, from_file)
        connect_away(ctx)
        from flyte.remote._secrets import Secret

        kind: Any = type
        Secret.create(name, given, kind)
        made = Secret.get(name)
        of = [f"{what} {of}" for what, of in (("project", made.project), ("domain", made.domain)) if of]
        _say(ctx, made.to_dict(), f"kept secret {name} of {', '.join(of) or 'everybody'}")


def _secret_value(ctx: "Context", name: str, value: str | None, from_file: str | None) -> str | bytes:
    from pathlib import Path

    if value is None and from_file is None:
        if not sys.stdin.isatty():
            ctx.fail("there is nobody to ask for the value: give --from-file FILE, or --from-file - to read it here")
        value = str(typer.prompt(f"Value of {name}", hide_input=True, err=True))
    given: str | bytes = value if value is not None else b""
    if from_file is not None:
        given = sys.stdin.buffer.read() if from_file == "-" else Path(from_file).read_bytes()
    if not given:
        raise ValueError(f"the value of secret {name!r} is empty")
    return given


def delete_secret(
    ctx: typer.Context,
    name: str = typer.Argument(..., metavar="NAME", help="Name of the secret."),
    project: str = PROJECT,
    domain: str = DOMAIN,
    output: str = OUTPUT,
) -> None:
    """Delete a secret."""
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._secrets import Secret

        Secret.delete(name)
        _say(ctx, {"deleted": name}, f"deleted secret {name}")
