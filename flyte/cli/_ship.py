"""``flyte build``: the images of a file's environments, what is done for each, and why.

What it needs of the SDK is imported when the command runs, so that other commands do not pay for it.
"""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer
import typer.main
from typer.core import TyperCommand

from ._options import OUTPUTS, one_of, read_folder, read_words
from ._params import _keep_text

if TYPE_CHECKING:
    from types import ModuleType

    from typer._click.core import Command, Context, Parameter

    from flyte._definition.environment import Environment
    from flyte._package.image_build import BuildEvent, ImageBuild

_COPY_STYLES = ("loaded_modules", "all", "none")
_WIDTH = 160  # of a line of the builder's log; some hold whole scripts


class BuildCommand(TyperCommand):
    """A command whose options stay text."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """The parameters, and ``--help``."""
        return _keep_text(super().get_params(ctx))


def build(
    ctx: typer.Context,
    target: str = typer.Argument(..., metavar="FILE_OR_MODULE", help="A Python file, or a module's dotted name."),
    environment: str = typer.Argument(
        None, metavar="ENV", show_default=False, help="Name of one environment; all of the file if not given."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Build nothing; print the Dockerfiles."),
    force: bool = typer.Option(False, "--force", help="Build images also where they are there already."),
    builder: str = typer.Option(
        None, metavar="NAME", callback=read_words, help="What builds: local, local-docker, local-podman, remote, ..."
    ),
    copy_style: str = typer.Option(
        "loaded_modules",
        metavar="|".join(_COPY_STYLES),
        callback=one_of(_COPY_STYLES),
        help="Of the deployment that the images are for.",
    ),
    root_dir: str = typer.Option(
        None, metavar="FOLDER", callback=read_folder, help="Folder that imports and the project's code are relative to."
    ),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print the result."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Print the whole log of each build."),
    everything: bool = typer.Option(False, "--all", hidden=True),
) -> None:
    """Build the images of a file's environments, where they are not there.

    Prints the URI of each environment's image; standard error says what is done, and why. The exit code is 1 if a build
    fails.
    """
    from ._options import wants_json

    module = _load(ctx)
    envs = _environments(ctx, module, environment)
    as_json = wants_json(ctx)
    began = time.perf_counter()
    view = _View(whole=verbose)
    builds: dict[str, ImageBuild] = {}
    try:
        builds = _build_all(envs, view, builder, copy_style, dry_run, force)
    except ValueError as error:  # a builder that is not there
        ctx.fail(str(error))
    except Exception as error:
        from flyte.errors import BaseRuntimeError

        if not isinstance(error, (BaseRuntimeError, NotImplementedError)):
            raise
        if as_json:
            from ._render import failure_document, print_json

            failure = failure_document(error)
            print_json({"images": [], "duration_s": round(time.perf_counter() - began, 6), "error": failure})
        else:
            from ._render import write_error

            write_error(str(error))
        raise typer.Exit(1) from None
    if as_json:
        from ._render import print_json

        images = [_document(name, made) for name, made in builds.items()]
        print_json({"images": images, "duration_s": round(time.perf_counter() - began, 6)})
    elif dry_run:
        for uri, dockerfile in view.dockerfiles.items():
            print(f"# {uri}\n{dockerfile}")
    else:
        width = max((len(name) for name in builds), default=0)
        for name, made in builds.items():
            print(f"{name:<{width}}  {made.uri}")


def command() -> "Command":
    """``flyte build``."""
    app = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip
    app.command("build", cls=BuildCommand)(build)
    return typer.main.get_command(app)


def _load(ctx: typer.Context) -> "ModuleType":
    from . import _launch
    from ._target import LoadFailed, NotFound

    found = _launch.target(ctx)
    options = _launch.options_of(ctx)
    _launch._configure(options)
    _launch._end_of_start_up()
    try:
        return found._import()
    except LoadFailed as error:
        _launch._report_load_failure(found, error.__cause__ or error, options)
    except NotFound as error:
        ctx.fail(str(error))
    raise typer.Exit(1)


def _environments(ctx: typer.Context, module: "ModuleType", name: str | None) -> "list[Environment]":
    from flyte._core.face import nearest
    from flyte._definition.environment import Environment

    given = ctx.params["target"]
    held = {variable: value for variable, value in vars(module).items() if isinstance(value, Environment)}
    if not held:
        ctx.fail(f"{given!r} has no environments; make one with flyte.TaskEnvironment(name=...)")
    if name is None:
        return list({id(env): env for env in held.values()}.values())
    found = next((env for env in held.values() if env.name == name), held.get(name))
    if found is None:
        names = [env.name for env in held.values()]
        hint = nearest(name, names) or f"; it has {', '.join(dict.fromkeys(names))}"
        ctx.fail(f"{given!r} has no environment {name!r}{hint}")
    assert found is not None
    return [found]


def _build_all(
    envs: "list[Environment]", view: "_View", builder: str | None, copy_style: Any, dry_run: bool, force: bool
) -> "dict[str, ImageBuild]":
    import asyncio

    from flyte._package.image_build import watch_builds
    from flyte._package.image_engine import find_builder
    from flyte._verbs.prepare import prepare_images

    if builder is not None:
        find_builder(builder)
    with watch_builds(view.take):
        return asyncio.run(prepare_images(envs, copy_style=copy_style, builder=builder, dry_run=dry_run, force=force))


class _View:
    """Writes what happens to builds to standard error, and keeps the Dockerfiles of a dry run.

    :param whole: all lines of the log, not only those that begin a step.
    """

    def __init__(self, whole: bool) -> None:
        self.dockerfiles: dict[str, str] = {}
        self._whole = whole
        self._running: set[str] = set()

    def take(self, event: "BuildEvent") -> None:
        """Write one event."""
        if event.kind == "shown":
            self.dockerfiles[event.uri] = event.text
        elif event.kind == "began":
            self._running.add(event.uri)
            self._write(f"building {event.uri}: {event.text}")
        elif event.kind == "kept":
            self._write(f"not building {event.uri}: {event.text} (decided in {event.duration_s * 1000:.1f} ms)")
        elif event.kind == "ended":
            self._running.discard(event.uri)
            self._write(f"built {event.uri} in {event.duration_s:.1f} s")
        elif self._whole or event.text.startswith(("STEP ", "#")) or "Using cache" in event.text:
            line = event.text if self._whole or len(event.text) <= _WIDTH else event.text[: _WIDTH - 3] + "..."
            # Lines of builds side by side say which they are of.
            label = f"[{event.uri.rpartition(':')[2][:8]}] " if len(self._running) > 1 else ""
            self._write(f"  {label}{line}")

    def _write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _document(name: str, made: "ImageBuild") -> dict[str, Any]:
    document: dict[str, Any] = {
        "environment": name,
        "uri": made.uri,
        "built": made.built,
        "why": made.why,
        "duration_s": round(made.duration_s, 6),
    }
    return document if made.dockerfile is None else {**document, "dockerfile": made.dockerfile}
