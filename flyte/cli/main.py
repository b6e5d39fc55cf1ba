"""The ``flyte`` command: its entry point and its tree.

Start-up is most of what a short command takes, so what a path does not need is imported where it is used.
"""

import gc
import sys
from typing import Any

from flyte._core.version import VERSION

EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count."""


def main(args: list[str] | None = None) -> int:
    """Run the command and give its exit code.

    :param args: what stands after ``flyte``; from the process if not given.
    """
    given = sys.argv[1:] if args is None else args
    if given == ["--version"]:
        print(f"flyte {VERSION}")
        return 0
    # Nothing that start-up makes becomes garbage, so looking for it is a tenth of start-up wasted. `_run` ends this.
    gc.disable()
    try:
        code = _dispatch(given)
        if code == EXIT_INTERRUPTED:
            _leave_at_once()
        return code
    finally:
        gc.freeze()  # the collections at exit would search all of this once more
        gc.enable()


def _dispatch(given: list[str]) -> int:
    try:
        import typer
        import typer.main
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    try:
        result = command().main(given, prog_name="flyte", standalone_mode=False)
    except typer.TyperException as error:
        return _report_usage(error, given)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    return result if isinstance(result, int) else 0


def command() -> Any:
    """The tree of commands, as typer builds it."""
    import typer
    import typer.main

    from ._globals import flyte
    from ._tree import Tree

    app = typer.Typer(
        cls=Tree,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        # -h stays when a task has a parameter called "help".
        context_settings={"help_option_names": ["--help", "-h"]},
    )

    app.callback(invoke_without_command=False)(flyte)
    return typer.main.get_command(app)


def _report_usage(error: Any, given: list[str]) -> int:
    option = getattr(error, "option_name", None)
    possible = getattr(error, "possibilities", None)
    if option is not None and possible:
        error.message = f"No such option: {option}; did you mean {possible[0]!r}?"
        error.possibilities = None
    if _wants_json(error, given):
        from ._render import print_json, run_document

        failure = {"type": "UsageError", "code": "UsageError", "kind": "user", "message": error.format_message()}
        print_json(run_document(None, None, None, 0.0, failure))
    else:
        error.show()
    return int(error.exit_code)


def _wants_json(error: Any, given: list[str]) -> bool:
    context = getattr(error, "ctx", None)
    while context is not None:
        if "output" in context.params and context.info_name == "run":
            from ._options import wants_json

            return wants_json(context)
        context = context.parent
    # The options of `flyte run` were not read to their end; what stands before the target is all that can be ours.
    said = (("--output", "json"), ("--output-format", "json"), ("--output-format", "json-raw"))
    pairs = {*said, ("-of", "json"), ("-of", "json-raw")}
    joined = {"=".join(pair) for pair in said}
    return any(one in joined or tuple(given[i : i + 2]) in pairs for i, one in enumerate(given))


def _leave_at_once() -> None:
    """After Ctrl-C, do not wait for threads that the user's code left behind; exit functions still run."""
    import threading

    main_thread = threading.main_thread()
    left = [t for t in threading.enumerate() if t is not main_thread and not t.daemon]
    if not left:
        return
    import atexit
    import os

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
