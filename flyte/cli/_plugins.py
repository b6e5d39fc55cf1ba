"""Commands that installed packages add, by the entry-point group ``flyte.plugins.cli.commands``.

Called by `_tree` for a name that is none of ours, and for help. An entry's name is the command's; it leads to a
function with typer's annotations, a ``typer.Typer``, or a command of Click, as the published packages have.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import typer
import typer.main

if TYPE_CHECKING:
    from typer._click.core import Command, Context

GROUP = "flyte.plugins.cli.commands"


def plugin_names() -> list[str]:
    """Names of all commands that packages add, without importing any."""
    return sorted({entry.name for entry in entry_points(group=GROUP) if "." not in entry.name})


def plugin_command(ctx: "Context", name: str) -> "Command | None":
    """The command called ``name`` that a package adds, or None."""
    found: list[EntryPoint] = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        return None
    entry = found[0]
    package = entry.dist.name if entry.dist is not None else entry.value
    try:
        made = entry.load()
    except Exception as error:  # a package may fail in any way when it is imported
        ctx.fail(f"the command {name!r} of the package {package} cannot be loaded: {type(error).__name__}: {error}")
    if isinstance(made, typer.Typer):
        return typer.main.get_command(made)
    if callable(getattr(made, "main", None)):
        return _foreign(name, made)
    if not callable(made):
        ctx.fail(f"the command {name!r} of the package {package} is {made!r}; it must be a function or a command")
    app = _app()
    app.command(name)(made)
    return typer.main.get_command(app)


def _app() -> typer.Typer:
    return typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip


def _foreign(name: str, made: Any) -> "Command":
    """A command of Click itself, which typer no longer shares its classes with: it gets all words as they are."""
    app = _app()

    def call(ctx: typer.Context) -> None:
        made.main(args=ctx.args, prog_name=f"flyte {name}")

    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    app.command(name, add_help_option=False, context_settings=settings)(call)
    return typer.main.get_command(app)
