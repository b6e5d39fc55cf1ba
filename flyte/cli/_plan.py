"""``flyte plan``: what a run of a task would need, before anything is built, sent or run; and how plans are written.

The options of a task are those of ``flyte run``, none of them required: what is not given is not known to the plan.
"""

from typing import TYPE_CHECKING, Any

import typer
import typer.main

from ._bundle import STYLES
from ._options import OUTPUTS, one_of, read_folder, wants_json
from ._params import TextGroup, task_command
from ._run import RunGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from flyte._definition.task import TaskTemplate
    from flyte._verbs.plan import Plan


class _PlanContext(typer.Context):
    """Says ``flyte plan`` and the user's own file in usage lines."""

    @property
    def command_path(self) -> str:
        above = self.parent
        target = above.params.get("target") if above is not None else None
        return f"flyte plan {target} {self.info_name}" if target else super().command_path


class PlanGroup(RunGroup):
    """Finds the task that is named after the file or module."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Read the options."""
        return TextGroup.parse_args(self, ctx, args)

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """The command that plans a run of the task called ``cmd_name``."""
        from . import _launch
        from ._target import NotFound

        if ctx.resilient_parsing:
            return _launch.outlined_command(ctx, cmd_name)
        _launch.load(ctx)
        try:
            task = _launch.target(ctx).task(cmd_name)
        except NotFound as error:
            ctx.fail(str(error))
        made = task_command(cmd_name, task.interface, lambda given: _plan_task(ctx, task, given))
        made.context_class = _PlanContext
        for param in made.params:
            param.required = False
        return made


def plan(
    ctx: typer.Context,
    target: str = typer.Argument(..., metavar="FILE_OR_MODULE", help="A Python file, or a module's dotted name."),
    copy_style: str = typer.Option(
        "loaded_modules", metavar="|".join(STYLES), callback=one_of(STYLES), help="Which code travels."
    ),
    root_dir: str = typer.Option(
        None,
        metavar="FOLDER",
        callback=read_folder,
        help="Folder that the code travels from; the current one, if the file is below it.",
    ),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print the plan."),
    verbose: bool = typer.Option(False, "--verbose", hidden=True),
) -> None:
    """Show what a run of a task would need: images, code, secrets, and what the cache has.

    Nothing is built, sent or run. 'flyte plan FILE TASK --param ...' takes the task's parameters, as 'flyte run' does;
    those that are not given only leave open whether the cache has the result.

    The exit code is 0 if the run could start, 1 if there is a problem, which the plan names, and 2 if the command line
    is at fault.
    """
    if ctx.invoked_subcommand is None:
        from . import _launch

        _launch.list_tasks(ctx)
        raise typer.Exit


def command() -> "Command":
    """``flyte plan``."""
    app = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(cls=PlanGroup, invoke_without_command=True, no_args_is_help=True)(plan)
    return typer.main.get_command(app)


def _plan_task(ctx: "Context", task: "TaskTemplate[Any, Any, Any]", given: dict[str, Any]) -> None:
    import asyncio

    from flyte._package.includes import root_for, style_of
    from flyte._verbs.plan import plan_run

    from . import _launch

    root = root_for(_launch.target(ctx).source(), ctx.params.get("root_dir"))
    made = asyncio.run(plan_run(task, given, root=root, copy_style=style_of(ctx.params["copy_style"])))
    print_plan(made, wants_json(ctx))


def print_plan(made: "Plan", as_json: bool) -> None:
    """Write a plan, and end with exit code 1 if it has problems."""
    if as_json:
        from ._render import print_json

        print_json(made.document())
    else:
        _print_text(made)
    if made.problems:
        raise typer.Exit(1)


def _print_text(made: "Plan") -> None:
    from ._render import counted, write_error

    _print_part(
        "images",
        [
            f"{'build' if one.needs_build else 'keep '} {one.uri}  for {', '.join(one.environments)}: {one.why}"
            for one in made.images
        ],
    )
    if made.files is not None:
        f = made.files
        print(f"code: {counted(f.count, 'file')}, {f.size_bytes:,} bytes, version {f.version or 'none'}, from {f.root}")
    _print_part("tasks", [_task_line(one) for one in made.tasks])
    _print_part(
        "triggers",
        [f"{one.task} {one.name}: {one.automation}{'' if one.is_active else ' (not active)'}" for one in made.triggers],
    )
    _print_part(
        "secrets",
        [
            f"{one.group + '/' if one.group else ''}{one.key} as {one.variable}, for {', '.join(one.tasks)}: "
            + ("set here" if one.is_set_here else "not set on this machine")
            for one in made.secrets
        ],
    )
    if made.prediction is not None:
        print(f"cache: {made.prediction.outcome} of {made.prediction.task}: {made.prediction.why}")
    for problem in made.problems:
        write_error(problem)
    if not made.problems:
        print("no problems")


def _task_line(one: Any) -> str:
    inputs = ", ".join(f"{name}: {kind}" for name, kind in one.inputs.items())
    outputs = ", ".join(one.outputs.values()) or "nothing"
    facts = [
        *(f"{name}={value}" for name, value in one.resources.items()),
        *([f"retries={one.retries}"] if one.retries else ()),
        *([f"timeout={one.timeout_s:g} s"] if one.timeout_s is not None else ()),
        *([f"cached as {one.cache_version[:12]}"] if one.cache_version else ()),
    ]
    kind = "" if one.task_type == "python" else f" [{one.task_type}]"
    return f"{one.name}{kind}({inputs}) -> {outputs}{'  ' if facts else ''}{', '.join(facts)}"


def _print_part(title: str, lines: list[str]) -> None:
    if lines:
        print(f"{title}:")
        for line in lines:
            print(f"  {line}")
