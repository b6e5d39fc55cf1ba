"""How a command that talks to a control plane finds it, and what it says when that fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from ._options import wants_json

if TYPE_CHECKING:
    from typer._click.core import Context


def connect(ctx: "Context") -> None:
    """Configure this process with the options before the command, else with files and the environment.

    The credentials of a file are for the endpoint of the file: another one, given as an option, does not get them.
    Without any endpoint, :func:`flyte.remote._plane.find_plane` finds the devbox of this machine, or says what is
    missing.

    :raises InitializationError: what is configured is wrong.
    :raises ValueError: an endpoint or a way to authenticate that does not exist.
    """
    import os
    from dataclasses import replace

    from flyte._verbs.connect import init_from_api_key, init_from_config
    from flyte.config import PlatformConfig, auto, read_auth_type
    from flyte.remote._endpoint import parse_endpoint

    given = ctx.find_root().params
    config = auto(given.get("config"))
    endpoint, known = given.get("endpoint"), config.platform.endpoint
    if not endpoint and not known and os.environ.get("FLYTE_API_KEY"):
        init_from_api_key(project=config.task.project, domain=config.task.domain)
        return
    platform = config.platform
    if endpoint and not (known and parse_endpoint(endpoint) == parse_endpoint(known)):
        platform = PlatformConfig(endpoint=endpoint)
    if given.get("insecure"):
        platform = replace(platform, insecure=True)
    if given.get("auth_type"):
        platform = replace(platform, auth_mode=read_auth_type(given["auth_type"]))
    init_from_config(replace(config, platform=platform), org=given.get("org"))


@contextmanager
def reached(ctx: "Context") -> Iterator[None]:
    """What fails on the way to a control plane is said in one line, or as JSON; the exit code is then 1."""
    from flyte.errors import ActionNotFoundError, BaseRuntimeError

    from ._render import json_text, write_error
    from ._tables import without_reader

    try:
        yield
        sys.stdout.flush()
    except (BaseRuntimeError, ActionNotFoundError, ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise without_reader() from None
        code = getattr(error, "code", type(error).__name__)
        kind = getattr(error, "kind", "user")
        if wants_json(ctx):
            failure = {"type": type(error).__name__, "code": code, "kind": kind, "message": str(error)}
            print(json_text({"error": failure}), flush=True)
        else:
            write_error(str(error))
        raise typer.Exit(1) from None
