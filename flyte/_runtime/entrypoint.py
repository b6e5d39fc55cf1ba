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
    # Nothing that start-up makes becomes garbage, so looking for it, while modules load above all, is wasted.
    # `action` ends this. That is why the rest is imported here.
    gc.disable()
    import asyncio

    from flyte._core import log
    from flyte._core.command import parse_container_args

    try:
        command = parse_container_args(list(sys.argv if argv is None else argv), os.environ)
        attempt = _attempt_number(os.environ)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_UNREADABLE
    log.configure()
    try:
        from .action import run_action

        return asyncio.run(run_action(command, attempt))
    finally:
        gc.freeze()  # the collections at exit would search everything once more


def _attempt_number(environ: Mapping[str, str]) -> int:
    word = environ.get("FLYTE_ATTEMPT_NUMBER") or "0"
    if not word.isdigit():
        raise ValueError(f"FLYTE_ATTEMPT_NUMBER={word!r} is not the number of an attempt")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
