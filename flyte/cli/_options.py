"""What the options of ``flyte`` and of ``flyte run`` may hold: their forms, checked as soon as they are read.

Called by `main`, `_run` and `_launch`. It knows nothing of the user's module. What an option does is decided where it
is used; an option that only a control plane can act on is checked here and goes no further.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from flyte._core.face import nearest

if TYPE_CHECKING:
    from typer._click.core import Context

OUTPUTS = ("text", "json")
OUTPUT_FORMATS = ("table", "json", "table-simple", "json-raw")
"""Names of the published command; the two of JSON mean ``--output json``, the others ``--output text``."""
COPY_STYLES = ("loaded_modules", "all", "none", "custom")
IMAGE_BUILDERS = ("local", "local-podman", "remote")
AUTH_TYPES = ("pkce", "client-secret", "device-flow", "external-command", "headless", "app-credential", "custom")
LOG_FORMATS = ("console", "json")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
HERE = "this version of flyte, which runs tasks in this process"


def one_of(choices: tuple[str, ...]) -> Callable[[str | None], str | None]:
    """A check that a text is one of ``choices``."""

    def read(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}{nearest(value, list(choices))}")
        return value

    return read


def read_auth_type(value: str | None) -> str | None:
    """One of the ways to authenticate, whichever way its words are joined."""
    plain = {choice.replace("-", ""): choice for choice in (*AUTH_TYPES, "command")}
    known = plain.get(value.lower().replace("-", "").replace("_", "")) if value is not None else None
    return known or one_of(AUTH_TYPES)(value)


def read_run_name(value: str | None) -> str | None:
    """A name that a run may have."""
    from flyte._core.identity import check_run_name

    try:
        return check_run_name(value) if value is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def read_pairs(form: str) -> Callable[[list[str] | None], list[str] | None]:
    """A check that each text is a key, ``=`` and a value.

    :param form: what an error calls that form, such as ``NAME=VALUE``.
    """

    def read(value: list[str] | None) -> list[str] | None:
        for pair in value or ():
            name, equals, _ = pair.partition("=")
            if not equals or not name:
                raise typer.BadParameter(f"{pair!r} is not of the form {form}")
        return value

    return read


def read_images(value: list[str] | None) -> list[str] | None:
    """Images: a URI, or the name that ``Image.from_ref_name`` was given, ``=`` and a URI."""
    for image in value or ():
        name, equals, uri = image.partition("=")
        if not name or (equals and not uri) or any(char.isspace() for char in image):
            raise typer.BadParameter(f"{image!r} is not of the form URI or NAME=URI")
    return value


def read_words(value: str | None) -> str | None:
    """A text that is not empty."""
    if value is not None and not value.strip():
        raise typer.BadParameter("it is empty")
    return value


def read_folder(value: str | None) -> str | None:
    """A folder that exists; its absolute path."""
    if value is None:
        return None
    if not os.path.isdir(value):
        raise typer.BadParameter(f"{value!r} is {'not a folder' if os.path.exists(value) else 'no folder that exists'}")
    return os.path.abspath(value)


def read_file(value: str | None) -> str | None:
    """A file that exists; its absolute path."""
    if value is None:
        return None
    if not os.path.isfile(value):
        raise typer.BadParameter(f"{value!r} is {'not a file' if os.path.exists(value) else 'no file that exists'}")
    return os.path.abspath(value)


def read_limit(value: str | None) -> int | None:
    """A whole number from 0 on."""
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is not a whole number") from None
    if number < 0:
        raise typer.BadParameter(f"{number} is negative")
    return number


def read_workers(value: str | None) -> int | None:
    """A number of processes, at least one."""
    number = read_limit(value)
    if number == 0:
        raise typer.BadParameter("0 processes run nothing; give 1 or more, or leave it out to run in this process")
    return number


def refuse(why: str = "") -> Callable[..., None]:
    """A check that refuses an option of the published command that this version does not have.

    :param why: what there is instead, if anything.
    """

    def read(ctx: typer.Context, param: typer.CallbackParam, value: object) -> None:
        if value:
            ctx.fail(f"{param.opts[0]} is not available in {HERE}{f'; {why}' if why else ''}")

    return read


def check_together(ctx: "Context") -> None:
    """Refuse options of ``flyte run`` that contradict each other."""
    if ctx.params.get("copy_style") == "none" and not ctx.params.get("version"):
        ctx.fail("--copy-style none copies no code that a version could be made of: give --version too")


def was_given(ctx: "Context", name: str | None) -> bool:
    """Whether the option stands on the command line."""
    source = ctx.get_parameter_source(name) if name is not None else None
    return source is not None and source.name == "COMMANDLINE"


def wants_json(ctx: "Context") -> bool:
    """Whether the result is to be written as JSON.

    :param ctx: of ``flyte run``; its own ``--output`` wins over ``--output-format`` before ``run``.
    """
    if was_given(ctx, "output"):
        return bool(ctx.params.get("output") == "json")
    return str(ctx.find_root().params.get("output_format") or "").startswith("json")
