"""How a command that talks to a control plane finds it, and what it says when that fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from ._options import wants_json

if TYPE_CHECKING:
    from typer._click.core import Context

_HOW = (
    "no control plane is configured; give 'flyte --endpoint HOST ...', set FLYTE_ADMIN_ENDPOINT, or write "
    "admin.endpoint into a file ('flyte get config --explain' says where)"
)


def connect(ctx: "Context") -> None:
    """Configure this process with the options before the command, else with files and the environment.

    An endpoint given as an option is for itself: the credentials of a file are for the endpoint of the file.

    :raises InitializationError: no endpoint is configured, or what is configured is wrong.
    :raises ValueError: an endpoint or a way to authenticate that does not exist.
    """
    import os

    from flyte._verbs.connect import init_from_api_key, init_from_config
    from flyte.config import Config, PlatformConfig, auto, read_auth_type
    from flyte.errors import InitializationError

    given = ctx.find_root().params
    config = auto()
    way = given.get("auth_type")
    if given.get("endpoint"):
        platform = PlatformConfig(
            endpoint=given["endpoint"],
            insecure=bool(given.get("insecure")),
            auth_mode=read_auth_type(way) if way else "Pkce",
        )
        config = Config(platform=platform, task=config.task, image=config.image, local=config.local)
    elif not config.platform.endpoint:
        if not os.environ.get("FLYTE_API_KEY"):
            raise InitializationError("ClientNotInitializedError", "user", _HOW)
        init_from_api_key(project=config.task.project, domain=config.task.domain)
        return
    init_from_config(config, org=given.get("org"))


@contextmanager
def reached(ctx: "Context") -> Iterator[None]:
    """What fails on the way to a control plane is said in one line, or as JSON; the exit code is then 1."""
    from flyte.errors import BaseRuntimeError

    from ._render import json_text, write_error

    try:
        yield
        sys.stdout.flush()
    except (BaseRuntimeError, ValueError) as error:
        code = getattr(error, "code", type(error).__name__)
        kind = getattr(error, "kind", "user")
        if wants_json(ctx):
            failure = {"type": type(error).__name__, "code": code, "kind": kind, "message": str(error)}
            print(json_text({"error": failure}), flush=True)
        else:
            write_error(str(error))
        raise typer.Exit(1) from None
