"""Workers that are kept between calls: what ``reusable`` takes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from flyte._core.log import logger

from .quantities import count_of, seconds_of

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
        least, most = (count_of("ReusePolicy", "replicas", one, least=0) for one in replicas)
        if least > most:
            raise ValueError(
                f"ReusePolicy: replicas={self.replicas!r} asks for at least more than at most; swap the two"
            )
        if most == 0:
            raise ValueError(f"ReusePolicy: replicas={self.replicas!r} leaves no worker; give 1 or more")
        count_of("ReusePolicy", "concurrency", self.concurrency, least=1)
        if self.scope not in ("global", "run"):
            raise ValueError(f"ReusePolicy: scope={self.scope!r} is not known; use 'global' or 'run'")
        object.__setattr__(self, "replicas", (least, most))
        for parameter in ("idle_ttl", "scaledown_ttl"):
            given = getattr(self, parameter)
            ttl = timedelta(seconds=seconds_of("ReusePolicy", parameter, given))
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
        return seconds_of("ReusePolicy", "idle_ttl", self.idle_ttl)

    @property
    def scaledown_ttl_s(self) -> float:
        """``scaledown_ttl`` in seconds."""
        return seconds_of("ReusePolicy", "scaledown_ttl", self.scaledown_ttl)

    def get_scaledown_ttl(self) -> timedelta | None:
        """``scaledown_ttl`` as a timedelta."""
        return timedelta(seconds=self.scaledown_ttl_s)
