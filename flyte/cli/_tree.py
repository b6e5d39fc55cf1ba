"""The commands of ``flyte``, by name: each is imported when it is called for, and only then.

A command is a module of this package with a function ``command()``, which makes it; one line here adds it. Installed
packages add others, see `_plugins`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._params import TextGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter

# Name -> the module, and what `flyte --help` says of it.
COMMANDS = {
    "run": ("_run", "Run a task of a file or module, and print what it returns."),
    "build": ("_ship", "Build the images of a file's environments, where they are not there."),
    "bundle": ("_bundle", "Pack a file's code as it would travel, or explain what would."),
    "plan": ("_plan", "Show what a run of a task would need, before anything is done."),
    "deploy": ("_deploy", "Deploy a file's environments, or plan it (--dry-run)."),
    "abort": ("_abort", "End runs or actions of a control plane."),
    "rerun": ("_rerun", "Run a run again, or what is left of it."),
    "get": ("_objects", "Show runs and what they did; tasks, triggers, secrets, projects."),
    "create": ("_create", "Make projects, secrets and triggers of a control plane."),
    "update": ("_update", "Change projects, secrets and triggers of a control plane."),
    "why": ("_why", "Say why something ran, was not run, waits or failed."),
    "delete": ("_deletion", "Delete runs here, triggers and secrets of a control plane."),
    "whoami": ("_whoami", "Show who you are to the control plane."),
    "signal": ("_signal", "Answer a condition that a run waits for."),
    "start": ("_plane", "Start the devbox, a control plane of this machine."),
    "stop": ("_stop", "Stop the devbox."),
}


class Tree(TextGroup):
    """Finds the command that is called for."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # names alone, for "did you mean"

    def list_commands(self, ctx: "Context") -> list[str]:
        """Names of all commands, in the order of the table; then those of installed packages."""
        from ._plugins import plugin_names

        return list(dict.fromkeys([*COMMANDS, *plugin_names()]))

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """The command called ``cmd_name``."""
        if cmd_name not in COMMANDS:
            from ._plugins import plugin_command

            return plugin_command(ctx, cmd_name)
        made: Command = import_module(f".{COMMANDS[cmd_name][0]}", __package__).command()
        made.name = cmd_name
        return made

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])
        if more := [name for name in self.list_commands(ctx) if name not in COMMANDS]:
            with formatter.section("Commands of installed packages"):
                formatter.write_dl([(name, "") for name in more])
