"""How long to wait before each retry."""

import math
from dataclasses import dataclass
from datetime import timedelta

from .quantities import count_of, seconds_of


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a retry: ``base * factor**n``, at most ``cap``, before retry number ``n`` from 0.

    :param base: the wait before the first retry.
    :param factor: what each wait is multiplied by to get the next, at least 1.
    :param cap: the longest wait; needed if ``factor`` is above 1.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: a negative time, a factor below 1, or one above 1 without a cap.
    """

    base: timedelta
    factor: float = 1.0
    cap: timedelta | None = None

    def __post_init__(self) -> None:
        for parameter, value in (("base", self.base), ("cap", self.cap)):
            if value is None and parameter == "cap":
                continue
            if not isinstance(value, timedelta):
                raise TypeError(f"Backoff: {parameter} takes a timedelta, got {value!r}; write timedelta(seconds=...)")
            seconds_of("Backoff", parameter, value)
        if isinstance(self.factor, bool) or not isinstance(self.factor, (int, float)):
            raise TypeError(f"Backoff: factor takes a number, got {self.factor!r}")
        if not math.isfinite(self.factor) or self.factor < 1:
            raise ValueError(
                f"Backoff: factor={self.factor!r} is not allowed; give 1 or more, so that waits do not shrink"
            )
        if self.factor > 1 and self.cap is None:
            raise ValueError(f"Backoff: factor={self.factor!r} makes waits grow without end; give the longest with cap")

    def delay_s(self, n: int) -> float:
        """The wait before retry number ``n``, counted from 0, in seconds.

        :raises ValueError: ``n`` is negative.
        """
        count_of("Backoff", "n", n, least=0)
        base_s = self.base.total_seconds()
        cap_s = math.inf if self.cap is None else self.cap.total_seconds()
        try:
            return min(base_s * self.factor**n, cap_s)
        except OverflowError:  # a power beyond a float is beyond any cap, unless there is nothing to multiply
            return min(cap_s, math.inf if base_s else 0.0)

    def compute_delay(self, n: int) -> timedelta:
        """:meth:`delay_s` as a timedelta."""
        return timedelta(seconds=self.delay_s(n))
