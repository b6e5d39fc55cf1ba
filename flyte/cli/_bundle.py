"""``flyte bundle``: what of a project travels with its tasks, why, and the archive of it.

What it needs of the SDK is imported when the command runs, so that other commands do not pay for it.
"""

from typing import TYPE_CHECKING, Any

import typer
import typer.main

from ._options import OUTPUTS, one_of, read_folder, read_words, wants_json
from ._ship import BuildCommand, _load

if TYPE_CHECKING:
    from typer._click.core import Command

    from flyte._package.files import LeftOut, Selection

STYLES = ("loaded_modules", "all", "none")
_SHOWN = 200  # lines of one list in text; JSON has all
_LARGEST = 10


def bundle(
    ctx: typer.Context,
    target: str = typer.Argument(..., metavar="FILE_OR_MODULE", help="A Python file, or a module's dotted name."),
    explain: bool = typer.Option(
        False, "--explain", help="Say what goes in and what is left out, and why; write no archive without --to."
    ),
    copy_style: str = typer.Option(
        "loaded_modules",
        metavar="|".join(STYLES),
        callback=one_of(STYLES),
        help="What travels: the modules that are loaded, all files of the project, or only what is included.",
    ),
    include: list[str] = typer.Option(
        None, "--include", metavar="PATH", help="A further file, folder or glob below the root; may be repeated."
    ),
    allow_secrets: bool = typer.Option(
        False, "--allow-secrets", help="Let files travel that look like secrets; they are refused otherwise."
    ),
    in_image: list[str] = typer.Option(
        None, "--in-image", metavar="MODULE", help="A local module that the image brings; may be repeated."
    ),
    root_dir: str = typer.Option(
        None,
        metavar="FOLDER",
        callback=read_folder,
        help="Folder that paths in the bundle are relative to; the current one, if the file is below it.",
    ),
    to: str = typer.Option(
        None, "--to", metavar="FOLDER", callback=read_words, help="Where the archive is written; below ~/.flyte if not."
    ),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print the result."),
    verbose: bool = typer.Option(False, "--verbose", hidden=True),
) -> None:
    """Pack a project's code as a run or a deployment would, or explain what it would pack.

    The exit code is 1 if the code could not travel: it holds secrets, or imports what would be left behind.
    """
    from flyte._core.home import home_dir
    from flyte._definition.environment import Environment
    from flyte._package.bundle import examine
    from flyte._package.files import explain_left_out
    from flyte._package.includes import includes_of, root_for, style_of
    from flyte.errors import CodeBundleError

    from ._launch import target as find

    module = _load(ctx)
    envs = [value for value in vars(module).values() if isinstance(value, Environment)]
    as_json = wants_json(ctx)
    style = style_of(copy_style)
    root = root_for(find(ctx).source() or getattr(module, "__file__", None), root_dir)
    selection: Selection | None = None
    left_out: tuple[LeftOut, ...] = ()
    document: dict[str, Any] = {"root": root, "copy_style": style}
    try:
        includes = includes_of(envs, root, include or ())
        if explain:
            from flyte._package.files import choose_files

            selection = choose_files(root, style, includes)
            left_out = explain_left_out(selection)
        selection, project = examine(
            root, style=style, include=includes, allow_secrets=allow_secrets, in_image=in_image or ()
        )
        if explain:
            left_out = explain_left_out(selection)
        if to is not None or not explain:
            archive, version = project.archive(selection, to or str(home_dir() / "local" / "bundles" / "made"))
            document |= {"version": version, "archive": archive}
    except CodeBundleError as error:
        from ._render import failure_document, print_json, write_error

        if as_json:
            print_json({**document, **_described(selection, left_out), "error": failure_document(error)})
        else:
            _print_explanation(selection, left_out)
            write_error(str(error))
        raise typer.Exit(1) from None
    if as_json:
        from ._render import print_json

        print_json({**document, **_described(selection, left_out if explain else None)})
        return
    if explain:
        _print_explanation(selection, left_out)
    if "archive" in document:
        import os

        from ._render import counted

        size = os.path.getsize(document["archive"])
        files = counted(len(selection.files), "file")
        print(f"{document['version']}  {files}, {selection.size_bytes:,} bytes; {size:,} packed")
        print(document["archive"])


def command() -> "Command":
    """``flyte bundle``."""
    app = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )  # fmt: skip
    app.command("bundle", cls=BuildCommand)(bundle)
    return typer.main.get_command(app)


def _described(selection: "Selection | None", left_out: "tuple[LeftOut, ...] | None") -> dict[str, Any]:
    if selection is None:
        return {}
    document: dict[str, Any] = {
        "count": len(selection.files),
        "size_bytes": selection.size_bytes,
        "files": [{"path": f.path, "size_bytes": f.size_bytes, "reason": f.reason} for f in selection.files],
    }
    if left_out is not None:
        document["largest"] = [f.path for f in selection.largest(_LARGEST)]
        document["left_out"] = [{"path": x.path, "reason": x.reason} for x in left_out]
        document["secrets"] = [f.path for f in selection.secrets]
    return document


def _print_explanation(selection: "Selection | None", left_out: "tuple[LeftOut, ...]") -> None:
    if selection is None:
        return
    from ._render import counted

    print(f"{counted(len(selection.files), 'file')}, {selection.size_bytes:,} bytes, from {selection.root}")
    _print_list([f"{f.path}  {f.size_bytes:,} bytes  ({f.reason})" for f in selection.files])
    if len(selection.files) > 1:
        print("largest:")
        _print_list([f"{f.size_bytes:,} bytes  {f.path}" for f in selection.largest(_LARGEST)])
    print("left out:" if left_out else "left out: nothing")
    _print_list([f"{x.path}  ({x.reason})" for x in left_out])


def _print_list(lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        print(f"  {line}")
    if len(lines) > _SHOWN:
        print(f"  ... and {len(lines) - _SHOWN:,} more; --output json has all")
