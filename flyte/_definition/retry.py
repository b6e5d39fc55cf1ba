"""How often a failed attempt is repeated: what ``retries`` takes. The controller waits and repeats by it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from .quantities import count_of, seconds_of

if TYPE_CHECKING:
    from .backoff import Backoff


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """How often a failed attempt is repeated, and how long to wait before each.

    :param count: how many retries, 0 or more; there is one attempt more than that.
    :param backoff: a :class:`Backoff`; or, as 2.0 wrote it, the first wait in seconds or as a timedelta.
    :param backoff_factor: with the older form only: what each wait is multiplied by, without a longest one.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: a negative count or wait; a factor without a wait, or beside a :class:`Backoff`.
    """

    count: int
    backoff: "Backoff | timedelta | float | None" = None
    backoff_factor: float | None = None

    def __post_init__(self) -> None:
        count_of("RetryStrategy", "count", self.count, least=0)
        if self.backoff is None:
            self._refuse_factor("leave it out")
            return
        from .backoff import Backoff

        if isinstance(self.backoff, Backoff):
            self._refuse_factor("Backoff has a factor of its own")
            return
        base = timedelta(seconds=seconds_of("RetryStrategy", "backoff", self.backoff))
        factor = 1.0 if self.backoff_factor is None else self.backoff_factor
        uncapped = Backoff(base, factor, cap=timedelta.max)
        # The older form has no longest wait; the last one is it.
        try:
            cap = timedelta(seconds=uncapped.delay_s(max(self.count - 1, 0)))
        except OverflowError:
            cap = timedelta.max
        object.__setattr__(self, "backoff", Backoff(base, factor, cap if factor > 1 else None))
        object.__setattr__(self, "backoff_factor", None)

    def _refuse_factor(self, remedy: str) -> None:
        if self.backoff_factor is not None:
            raise ValueError(f"RetryStrategy: backoff_factor={self.backoff_factor!r} needs a wait in backoff; {remedy}")

    def delay_s(self, attempt_index: int) -> float:
        """The wait after the failure of attempt ``attempt_index``, counted from 0, in seconds."""
        backoff = cast("Backoff | None", self.backoff)  # which __post_init__ has made of the older form
        return 0.0 if backoff is None else backoff.delay_s(attempt_index)


def retry_from(value: int | RetryStrategy) -> RetryStrategy:
    """The strategy that a ``retries=`` value asks for: a number of retries, or the strategy itself.

    :raises TypeError: neither of them.
    :raises ValueError: a negative number.
    """
    if isinstance(value, RetryStrategy):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"retries takes a number of retries or a flyte.RetryStrategy, got {value!r}")
    if value < 0:
        raise ValueError(f"retries={value} is negative; give 0 for a single attempt, or more")
    return RetryStrategy(count=value)
