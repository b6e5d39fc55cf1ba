"""How a task is repeated, limited, cached and kept warm: what `cache`, `retries`, `timeout` and `reusable` take.

Values only: the controller waits, repeats and cancels by them. The cache's are in `cache` and handed on from here.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from flyte._core.log import logger

from .cache import (
    Cache,
    CacheBehavior,
    CachePolicy,
    CacheRequest,
    FunctionBodyPolicy,
    VersionParameters,
    cache_from_request,
)

__all__ = [
    "Backoff",
    "Cache",
    "CacheBehavior",
    "CachePolicy",
    "CacheRequest",
    "FunctionBodyPolicy",
    "RetryStrategy",
    "ReusePolicy",
    "Timeout",
    "TimeoutType",
    "VersionParameters",
    "cache_from_request",
    "retry_from",
    "timeout_from_request",
]


def _seconds(owner: str, parameter: str, value: object) -> float:
    """``value``, seconds or a timedelta, in seconds; checked not to be negative."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{owner}: {parameter} takes seconds or a timedelta, got {value!r}")
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{owner}: {parameter}={value!r} is not a length of time; give 0 or more seconds")
    return seconds


def _count(owner: str, parameter: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}: {parameter} takes a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{owner}: {parameter}={value} is not allowed; give {least} or more")
    return value


# Retries --------------------------------------------------------------------------------------------------------------


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
            _seconds("Backoff", parameter, value)
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
        _count("Backoff", "n", n, least=0)
        base_s = self.base.total_seconds()
        cap_s = math.inf if self.cap is None else self.cap.total_seconds()
        try:
            return min(base_s * self.factor**n, cap_s)
        except OverflowError:  # a power beyond a float is beyond any cap, unless there is nothing to multiply
            return min(cap_s, math.inf if base_s else 0.0)

    def compute_delay(self, n: int) -> timedelta:
        """:meth:`delay_s` as a timedelta."""
        return timedelta(seconds=self.delay_s(n))


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
    backoff: Backoff | timedelta | float | None = None
    backoff_factor: float | None = None

    def __post_init__(self) -> None:
        _count("RetryStrategy", "count", self.count, least=0)
        if self.backoff is None or isinstance(self.backoff, Backoff):
            if self.backoff_factor is not None:
                remedy = "leave it out" if self.backoff is None else "Backoff has a factor of its own"
                raise ValueError(
                    f"RetryStrategy: backoff_factor={self.backoff_factor!r} needs a wait in backoff; {remedy}"
                )
            return
        base = timedelta(seconds=_seconds("RetryStrategy", "backoff", self.backoff))
        factor = 1.0 if self.backoff_factor is None else self.backoff_factor
        uncapped = Backoff(base, factor, cap=timedelta.max)
        # The older form has no longest wait; the last one is it.
        try:
            cap = timedelta(seconds=uncapped.delay_s(max(self.count - 1, 0)))
        except OverflowError:
            cap = timedelta.max
        object.__setattr__(self, "backoff", Backoff(base, factor, cap if factor > 1 else None))
        object.__setattr__(self, "backoff_factor", None)

    def delay_s(self, attempt_index: int) -> float:
        """The wait after the failure of attempt ``attempt_index``, counted from 0, in seconds."""
        return self.backoff.delay_s(attempt_index) if isinstance(self.backoff, Backoff) else 0.0


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


# Limits of time -------------------------------------------------------------------------------------------------------


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
                _seconds("Timeout", parameter, value)

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
        if _seconds("task", "timeout", value) == 0:
            return None
        return Timeout(max_runtime=value)
    return value if value.max_runtime or value.max_queued_time or value.deadline else None


# Workers that are kept ------------------------------------------------------------------------------------------------

_LEAST_TTL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """Keep the environment's workers and share them between calls.

    :param replicas: how many workers, or ``(least, most)`` of them.
    :param idle_ttl: how long the environment is kept with nothing to do: seconds or a timedelta, at least 30 s.
    :param concurrency: how many calls of async tasks one worker takes at a time.
    :param scaledown_ttl: how long one worker above the least is kept with nothing to do, at least 30 s.
    :param scope: for a cluster: ``"global"`` for workers that all runs share, ``"run"`` for a set of workers for each
        run. On this machine every run has workers of its own, which end with it, whatever the scope: what a module
        holds is kept between the calls of a run and not from one run to the next.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: negative, ``most`` below ``least`` or below 1, no concurrency, a time below 30 s.
    """

    replicas: int | tuple[int, int] = 2
    idle_ttl: int | timedelta = 30
    concurrency: int = 1
    scaledown_ttl: int | timedelta = 30
    scope: Literal["global", "run"] = "global"

    def __post_init__(self) -> None:
        replicas = self.replicas
        if isinstance(replicas, tuple):
            if len(replicas) != 2:
                raise ValueError(f"ReusePolicy: replicas={replicas!r} has {len(replicas)} parts; write (least, most)")
        else:
            replicas = (replicas, replicas)
        least, most = (_count("ReusePolicy", "replicas", one, least=0) for one in replicas)
        if least > most:
            raise ValueError(
                f"ReusePolicy: replicas={self.replicas!r} asks for at least more than at most; swap the two"
            )
        if most == 0:
            raise ValueError(f"ReusePolicy: replicas={self.replicas!r} leaves no worker; give 1 or more")
        _count("ReusePolicy", "concurrency", self.concurrency, least=1)
        if self.scope not in ("global", "run"):
            raise ValueError(f"ReusePolicy: scope={self.scope!r} is not known; use 'global' or 'run'")
        object.__setattr__(self, "replicas", (least, most))
        for parameter in ("idle_ttl", "scaledown_ttl"):
            given = getattr(self, parameter)
            ttl = timedelta(seconds=_seconds("ReusePolicy", parameter, given))
            if ttl < _LEAST_TTL:
                raise ValueError(f"ReusePolicy: {parameter}={given!r} is too short; give 30 seconds or more")
            object.__setattr__(self, parameter, ttl)
        if most * self.concurrency == 1:
            logger.warning(
                "ReusePolicy with a single replica that takes one call at a time risks starvation: a task that waits "
                "for another of the same environment occupies the only worker; use 2 or more replicas, more "
                "concurrency, or leave reuse off for the parent"
            )

    @property
    def min_replicas(self) -> int:
        """How many workers are kept at least."""
        return self.replicas[0] if isinstance(self.replicas, tuple) else self.replicas

    @property
    def max_replicas(self) -> int:
        """How many workers there are at most."""
        return self.replicas[1] if isinstance(self.replicas, tuple) else self.replicas

    @property
    def idle_ttl_s(self) -> float:
        """``idle_ttl`` in seconds."""
        return _seconds("ReusePolicy", "idle_ttl", self.idle_ttl)

    @property
    def scaledown_ttl_s(self) -> float:
        """``scaledown_ttl`` in seconds."""
        return _seconds("ReusePolicy", "scaledown_ttl", self.scaledown_ttl)

    def get_scaledown_ttl(self) -> timedelta | None:
        """``scaledown_ttl`` as a timedelta."""
        return timedelta(seconds=self.scaledown_ttl_s)
