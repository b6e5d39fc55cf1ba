"""``flyte deploy``: a file's environments, so that their tasks can be run by name; or what that would do."""

from typing import TYPE_CHECKING, Any

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
    project: str = typer.Option(None, "--project", "-p", metavar="NAME", help="Project to deploy to."),
    domain: str = typer.Option(None, "--domain", "-d", metavar="NAME", help="Domain to deploy to."),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print it."),
    verbose: bool = typer.Option(False, "--verbose", hidden=True),
) -> None:
    """Deploy the environments of a file, and those they depend on, so that their tasks can be run by name.

    With --dry-run: show what would be done, images to build, code to send, tasks, triggers and secrets.

    The control plane is the configured one, else the devbox of this machine. The exit code is 0 if the deployment was,
    or could be, done, 1 if there is a problem, and 2 if the command line is at fault.
    """
    import asyncio

    from flyte._package.includes import root_for, style_of
    from flyte._verbs.plan import plan_deployment

    from . import _launch
    from ._plan import print_plan

    module = _load(ctx)
    envs = _environments(ctx, module, environment)
    if not dry_run:
        _deploy(ctx, list(envs), version, copy_style, project, domain)
        return
    root = root_for(_launch.target(ctx).source() or getattr(module, "__file__", None), root_dir)
    made = asyncio.run(plan_deployment(envs, root=root, copy_style=style_of(copy_style), version=version))
    print_plan(made, wants_json(ctx))


def _deploy(
    ctx: typer.Context, envs: "list[Any]", version: str | None, copy_style: str, project: str | None, domain: str | None
) -> None:
    from flyte._core.loop import run_blocking
    from flyte._package.includes import style_of
    from flyte._verbs.deploy import deploy_away
    from flyte.remote._plane import find_plane

    from ._away import connect_away
    from ._connect import reached
    from ._render import json_text
    from ._sending import sending

    with reached(ctx):
        connect_away(ctx)
        with sending(not wants_json(ctx)) as told:
            made = run_blocking(
                lambda: deploy_away(
                    envs, version=version, copy_style=style_of(copy_style), project=project, domain=domain, told=told
                )
            )
    if wants_json(ctx):
        print(json_text({"deployed": [one.document() for one in made]}), flush=True)
        return
    with_pages = not find_plane().is_devbox
    for one in {task.name: task for deployment in made for task in deployment.tasks}.values():
        said = "deployed" if one.is_new else "was there already"
        print(f"{one.name}  {one.version}  {said}{f'  {one.url}' if with_pages else ''}")


def command() -> "Command":
    """``flyte deploy``."""
    app = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip
    app.command("deploy", cls=BuildCommand)(deploy)
    return typer.main.get_command(app)
