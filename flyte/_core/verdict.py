"""When an action is given up, and in which words: the same on this machine and on the devbox."""

from flyte.errors import InlineIOMaxBytesBreached, NonRecoverableError, RuntimeDataValidationError

MAX_SYSTEM_FAILURES = 3
"""How often in a row an attempt may be lost without the user's code being at fault (wire-protocol section 11.4)."""

CALLER_CANCELLED = "its caller was cancelled"


def is_lost(error: BaseException, action: str) -> bool:
    """Whether an attempt of ``action`` failed without the user's code being at fault, and not because a child did."""
    return getattr(error, "kind", None) == "system" and vars(error).get("_flyte_action", action) == action


def is_final(error: BaseException, action: str) -> bool:
    """Whether another attempt of ``action`` could not end differently.

    So it is with what the user declared final, with what depends on the values alone, and with a child that was lost:
    it has been attempted again already.
    """
    if isinstance(error, (NonRecoverableError, InlineIOMaxBytesBreached, RuntimeDataValidationError)):
        return True
    return getattr(error, "kind", None) == "system" and not is_lost(error, action)


def system_failures_text(message: str) -> str:
    """For an action whose attempts were lost more often than that.

    :param message: of the last of these failures.
    """
    return f"{MAX_SYSTEM_FAILURES + 1} attempts in a row were lost without a fault of the task: {message}"


def max_runtime_text(task: str, limit_s: float) -> str:
    """For an attempt that ran too long."""
    return (
        f"task {task!r} ran longer than its max_runtime of {limit_s:g} s; raise it with override(timeout=...), or find "
        "out what takes so long"
    )


def deadline_text(task: str, limit_s: float) -> str:
    """For an action that did not succeed in time."""
    return (
        f"task {task!r} did not succeed within its deadline of {limit_s:g} s, all attempts and the pauses between them "
        "included; raise it with override(timeout=...)"
    )


def queued_text(task: str, limit_s: float) -> str:
    """For an action that waited too long for its first attempt."""
    return (
        f"task {task!r} waited longer than its max_queued_time of {limit_s:g} s to be started; raise it with "
        "override(timeout=...)"
    )


def condition_text(condition: str, run: str, limit_s: float, prompt: str) -> str:
    """For a condition that nobody answered."""
    return f"nobody answered condition {condition!r} of run {run} within its timeout of {limit_s:g} s: {prompt}"


def parent_ended_text(parent: str) -> str:
    """For an action that ends because the one that called it has."""
    return f"action {parent}, which it belongs to, has ended"
