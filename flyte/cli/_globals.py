"""The options before the command, which all commands share. Called by `main`; their values are read by `_launch`."""

import typer

from flyte._core.version import VERSION

from ._options import (
    IMAGE_BUILDERS,
    LOG_FORMATS,
    LOG_LEVELS,
    OUTPUT_FORMATS,
    one_of,
    read_auth_type,
    read_file,
    read_words,
)


def flyte(
    version: bool = typer.Option(False, "--version", help="Show the version and exit.", is_eager=True),
    verbose: int = typer.Option(
        0,
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Keep the SDK's own frames in tracebacks; -vv also logs what it does, -vvv all details.",
    ),
    output_format: str = typer.Option(
        "table",
        "--output-format",
        "-of",
        metavar="|".join(OUTPUT_FORMATS),
        callback=one_of(OUTPUT_FORMATS),
        help="How to print results: json and json-raw as one JSON document, the others as text.",
    ),
    no_progress: bool = typer.Option(False, "--no-progress", help="Plain lines of progress, also on a terminal."),
    log_format: str = typer.Option(
        None, metavar="|".join(LOG_FORMATS), callback=one_of(LOG_FORMATS), help="How log lines are written."
    ),
    user_log_level: str = typer.Option(
        None, metavar="|".join(LOG_LEVELS), callback=one_of(LOG_LEVELS), help="Level of the user's own logger."
    ),
    reset_root_logger: bool = typer.Option(
        False, "--reset-root-logger", help="Remove the handlers of Python's root logger."
    ),
    org: str = typer.Option(None, metavar="NAME", callback=read_words, help="Organization that runs say they are in."),
    endpoint: str = typer.Option(None, metavar="URL", callback=read_words, help="A control plane: host or host:port."),
    insecure: bool = typer.Option(False, "--insecure", help="On a control plane: connect without TLS."),
    auth_type: str = typer.Option(
        None, metavar="NAME", callback=read_auth_type, help="On a control plane: how to authenticate."
    ),
    image_builder: str = typer.Option(
        None,
        "--image-builder",
        "--builder",
        metavar="|".join(IMAGE_BUILDERS),
        callback=one_of(IMAGE_BUILDERS),
        help="What builds images; a run in this process needs none.",
    ),
    config: str = typer.Option(
        None, "--config", "-c", metavar="FILE", callback=read_file, help="The configuration, in place of those found."
    ),
) -> None:
    """Run workflows written in plain Python."""
    if version:
        print(f"flyte {VERSION}")
        raise typer.Exit
