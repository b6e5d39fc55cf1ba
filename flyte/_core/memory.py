"""What is said of an attempt that needed more memory than it may have: one sentence, written and read here.

A control plane has no fields for the figures, so they travel in the message.
"""

import re

CODE = "OOMKilled"
MUCH = 0.8
"""A process that was killed with more than this share of its limit in use was killed because of it."""

_FIGURES = re.compile(r"\((\d+) of (\d+) bytes\)")


def over_limit(task: str, peak: int, limit: int) -> str:
    """The message about an attempt that was ended for it.

    :param peak: bytes that it had in use.
    :param limit: bytes that it might have.
    """
    return (
        f"task {task!r} used {_megabytes(peak)} of memory, but its limit is {_megabytes(limit)} "
        f"({peak} of {limit} bytes); give it more: task.override(resources=flyte.Resources(memory=...))"
    )


def killed_with(task: str, peak: int, limit: int, *, own: bool) -> str:
    """The message about an attempt that the machine has killed while it had ``peak`` bytes in use.

    :param own: ``limit`` is its own, not all that the machine has.
    """
    return (
        f"task {task!r} was killed by the machine with {_megabytes(peak)} of memory in use; "
        f"{'its limit' if own else 'all there is'} is {_megabytes(limit)} ({peak} of {limit} bytes)"
    )


def killed_container(task: str, limit: int) -> str:
    """The message about a container that was killed, of which no more is known than its limit."""
    return (
        f"task {task!r}: its container was killed, as it is when it needs more than its limit of {_megabytes(limit)}; "
        "give it more: task.override(resources=flyte.Resources(memory=...))"
    )


def figures_in(message: str) -> tuple[int | None, int | None]:
    """Peak and limit in bytes, from one of these messages; None if it is another one."""
    found = _FIGURES.search(message)
    return (int(found[1]), int(found[2])) if found is not None else (None, None)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
