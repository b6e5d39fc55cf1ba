"""``flyte deploy``: what a deployment of a file's environments would do; doing it is not built yet."""

from typing import TYPE_CHECKING

import typer
import typer.main

from ._bundle import STYLES
from ._options import OUTPUTS, one_of, read_folder, read_words, wants_json
from ._ship import BuildCommand, _environments, _load

if TYPE_CHECKING:
    from typer._click.core import Command


def deploy(
    ctx: typer.Context,
    target: str = typer.Argument(..., metavar="FILE_OR_MODULE", help="A Python file, or a module's dotted name."),
    environment: str = typer.Argument(
        None, metavar="ENV", show_default=False, help="Name of one environment; all of the file if not given."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be done; build, send and deploy nothing."),
    version: str = typer.Option(
        None, metavar="TEXT", callback=read_words, help="Version of the tasks; that of their code if not given."
    ),
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
    """Show what a deployment would do: images to build, code to send, tasks, triggers and secrets.

    This version cannot deploy yet, so --dry-run is needed. The exit code is 0 if the deployment could be done, 1 if
    there is a problem, which the plan names, and 2 if the command line is at fault.
    """
    import asyncio

    from flyte._package.includes import root_for, style_of
    from flyte._verbs.deploy import NOT_BUILT
    from flyte._verbs.plan import plan_deployment

    from . import _launch
    from ._plan import print_plan

    if not dry_run:
        from ._render import write_error

        write_error(NOT_BUILT)
        raise typer.Exit(1)
    module = _load(ctx)
    envs = _environments(ctx, module, environment)
    root = root_for(_launch.target(ctx).source() or getattr(module, "__file__", None), root_dir)
    made = asyncio.run(plan_deployment(envs, root=root, copy_style=style_of(copy_style), version=version))
    print_plan(made, wants_json(ctx))


def command() -> "Command":
    """``flyte deploy``."""
    app = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip
    app.command("deploy", cls=BuildCommand)(deploy)
    return typer.main.get_command(app)
