"""``a0``: the program of a task's container. It runs one attempt of one action, and leaves its outputs or its error.

Exit codes (wire-protocol section 5.4): 0 when outputs or an error were left for the control plane to read, also when
the user's code has failed; 1 when the task's code could not be loaded, which is left as an error too; 2 for a command
that cannot be read; 3 when nothing could be left; 143 after SIGTERM.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence

EXIT_UNREADABLE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the action that the command names.

    :param argv: program and arguments; the process's own if not given.
    """
    wrapper = os.environ.get("_F_EXEC_WRAPPER")
    if wrapper and not os.environ.get("_F_EXEC_WRAPPED"):
        return _wrapped(wrapper, list(sys.argv if argv is None else argv))
    # Nothing that start-up makes becomes garbage, so looking for it, while modules load above all, is wasted.
    # `action` ends this. That is why the rest is imported here.
    gc.disable()
    import asyncio

    from flyte._core import log
    from flyte._core.command import PROGRAM, parse_container_args

    try:
        command = parse_container_args(list(sys.argv if argv is None else argv), os.environ)
        attempt = _attempt_number(os.environ)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_UNREADABLE
    log.configure()
    if command.debug:
        log.logger.warning("%s: there is no debug server in this version; --debug (_F_E_VS) does nothing", PROGRAM)
    try:
        from .action import run_action

        return asyncio.run(run_action(command, attempt))
    finally:
        gc.freeze()  # the collections at exit would search everything once more


def _wrapped(wrapper: str, argv: list[str]) -> int:
    """Go on as the command that a plugin puts before this one, and which runs it in turn (wire-protocol section 5.2).

    :returns: if it cannot be run, the exit code that says so.
    """
    import shlex

    words = shlex.split(wrapper)
    # A devbox runs this module; a container the script that is made of it.
    own = [sys.executable, "-m", "flyte._runtime.entrypoint"] if argv[0].endswith(".py") else argv[:1]
    os.environ["_F_EXEC_WRAPPED"] = "1"
    try:
        os.execvp(words[0], [*words, *own, *argv[1:]])
    except (OSError, IndexError) as error:
        sys.stderr.write(f"_F_EXEC_WRAPPER={wrapper!r} cannot be run: {error}\n")
        return EXIT_UNREADABLE


def _attempt_number(environ: Mapping[str, str]) -> int:
    word = environ.get("FLYTE_ATTEMPT_NUMBER") or "0"
    if not word.isdigit():
        raise ValueError(f"FLYTE_ATTEMPT_NUMBER={word!r} is not the number of an attempt")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
