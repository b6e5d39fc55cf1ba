"""How long a task may take: what ``timeout`` takes. The controller cancels by it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from .quantities import seconds_of


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long a task may take; seconds or a timedelta each, None or 0 for no limit.

    :param max_runtime: for one attempt, from its start.
    :param max_queued_time: for waiting, before an attempt starts.
    :param deadline: for everything from the call on: waiting, all attempts, and the waits between them.
    :raises TypeError: neither seconds nor a timedelta.
    :raises ValueError: a negative time.
    """

    max_runtime: timedelta | int | None = None
    max_queued_time: timedelta | int | None = None
    deadline: timedelta | int | None = None

    def __post_init__(self) -> None:
        for parameter in ("max_runtime", "max_queued_time", "deadline"):
            value = getattr(self, parameter)
            if value is not None:
                seconds_of("Timeout", parameter, value)

    @property
    def max_runtime_s(self) -> float | None:
        """``max_runtime`` in seconds; None for no limit."""
        return _limit_s(self.max_runtime)

    @property
    def max_queued_time_s(self) -> float | None:
        """``max_queued_time`` in seconds; None for no limit."""
        return _limit_s(self.max_queued_time)

    @property
    def deadline_s(self) -> float | None:
        """``deadline`` in seconds; None for no limit."""
        return _limit_s(self.deadline)


def _limit_s(value: timedelta | int | None) -> float | None:
    if not value:
        return None
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


TimeoutType: TypeAlias = Timeout | int | timedelta
"""What a task's ``timeout`` takes; a number or a timedelta is the ``max_runtime``."""


def timeout_from_request(value: TimeoutType | None) -> Timeout | None:
    """The limits that a ``timeout=`` value asks for; None if there are none.

    :raises TypeError: neither a :class:`Timeout` nor seconds nor a timedelta.
    :raises ValueError: a negative time.
    """
    if value is None:
        return None
    if not isinstance(value, Timeout):
        if not isinstance(value, timedelta) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise TypeError(f"timeout takes seconds, a timedelta or a flyte.Timeout, got {value!r}")
        if seconds_of("task", "timeout", value) == 0:
            return None
        return Timeout(max_runtime=value)
    return value if value.max_runtime or value.max_queued_time or value.deadline else None
