"""``flyte get config``: what is configured, and with ``--explain`` where each value came from. Called by `_objects`."""

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from ._options import OUTPUTS, one_of, wants_json
from ._tables import TextCommand, new_app, print_facts, print_table, single, told

if TYPE_CHECKING:
    from typer._click.core import Command

    from flyte.config import Config


def get_config(
    ctx: typer.Context,
    file: str = typer.Option(None, "--file", metavar="FILE", help="This file, not the first that is found."),
    explain: bool = typer.Option(False, "--explain", help="Also where each value came from, and what has its default."),
    output: str = typer.Option("text", "--output", "-o", metavar="text|json", callback=one_of(OUTPUTS), help="How."),
) -> None:
    """Show what files and the environment configure; secrets are never shown."""
    from flyte.config import DEFAULT, auto
    from flyte.errors import InitializationError

    with told(ctx):
        try:
            config = auto(file)
        except InitializationError as error:
            raise ValueError(str(error)) from None
        if wants_json(ctx):
            _print_json(config, explain)
            return
        rows = [row for row in config.explain() if explain or row[2] is not DEFAULT]
        if explain:
            _print_places(config, file)
            print_table(("KEY", "VALUE", "FROM"), [(key, value, str(origin)) for key, value, origin in rows])
        elif rows:
            print_facts([(key, value) for key, value, _ in rows])
        else:
            print("nothing is configured; flyte get config --explain says where files are looked for", file=sys.stderr)
        for said in _unknown(config):
            print(said, file=sys.stderr)


def _print_places(config: "Config", given: str | None) -> None:
    from flyte._core.config_files import searched_places

    if given is not None:
        sys.stdout.write(f"file: {config.source}\n\n")
        return
    for place, path in searched_places():
        if path is None:
            found = "not set" if place.isupper() else "none"
        elif path == config.source:
            found = "read"
        else:
            found = "there, but not the first" if path.is_file() else "not there"
        sys.stdout.write(f"{found:<25} {path if path is not None else '-'} ({place})\n")
    if os.environ.get("FLYTE_API_KEY"):
        sys.stdout.write("FLYTE_API_KEY is set; flyte.init_from_api_key() takes it\n")
    sys.stdout.write("\n")


def _unknown(config: "Config") -> list[str]:
    from flyte._core.face import nearest
    from flyte.config import SETTINGS

    known = [setting.key for setting in SETTINGS]
    return [f"{config.source}: {key} is not known{nearest(key, known)}" for key in config.unknown]


def _print_json(config: "Config", explain: bool) -> None:
    from ._render import json_text

    rows = config.explain()
    values: Any = {key: {"value": value, "from": str(origin)} if explain else value for key, value, origin in rows}
    source = str(config.source) if config.source is not None else None
    print(json_text({"source": source, "values": values, "unknown": list(config.unknown)}), flush=True)


def command() -> "Command":
    """``flyte get config``."""
    app = new_app()
    app.command(name="config", cls=TextCommand)(get_config)
    return single(app)
