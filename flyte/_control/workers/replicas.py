"""Where attempts run: one set of warm processes for everybody, and sets of their own for reusable environments; pure.

A set knows which of its processes takes the next attempt, and which are to go, by the time that it is told.
"""

import math
from dataclasses import dataclass, field

from flyte._definition.reuse import ReusePolicy

from .process import WorkerProcess

SURPLUS_S = 5.0
"""How long a process of the common set is kept with nothing to do, when there are as many as bodies may run."""


@dataclass(eq=False, slots=True)
class ReplicaSet:
    """Processes that are alike.

    :param least: how many are kept at least.
    :param most: how many there are at most, those apart whose attempts wait for calls.
    :param concurrency: how many attempts share one.
    :param idle_ttl_s: after how long without any attempt all of them go.
    :param scaledown_ttl_s: after how long without an attempt one beyond the least goes.
    """

    least: int
    most: float
    concurrency: int = 1
    idle_ttl_s: float = math.inf
    scaledown_ttl_s: float = SURPLUS_S
    processes: list[WorkerProcess] = field(default_factory=list)

    @classmethod
    def of(cls, policy: ReusePolicy) -> "ReplicaSet":
        """The set of a reusable environment."""
        return cls(
            policy.min_replicas, policy.max_replicas, policy.concurrency, policy.idle_ttl_s, policy.scaledown_ttl_s
        )

    @property
    def capacity(self) -> int:
        """How many attempts run at once; 0 for any number."""
        return 0 if math.isinf(self.most) else int(self.most) * self.concurrency

    def choose(self) -> WorkerProcess | None:
        """The process that takes the next attempt; None for a new one."""
        there = [process for process in self.processes if not process.closing]
        idle = [process for process in there if not process.attempts]
        if idle:
            # The one that ended last is the warmest; consecutive calls meet the same one.
            return max(idle, key=lambda process: (process.ready.is_set(), process.idle_since or 0.0))
        if len(there) < self.most:
            return None
        free = [process for process in there if len(process.attempts) < self.concurrency]
        return min(free, key=lambda process: len(process.attempts)) if free else None

    def expired(self, now: float) -> list[WorkerProcess]:
        """The processes that go now."""
        idle = sorted(self._idle(), key=lambda process: process.idle_since or 0.0)
        there = [process for process in self.processes if not process.closing]
        if len(idle) == len(there) and all(now - (p.idle_since or 0.0) >= self.idle_ttl_s for p in idle):
            return idle
        surplus = max(0, len(there) - self.least)
        return [p for p in idle if now - (p.idle_since or 0.0) >= self.scaledown_ttl_s][:surplus]

    def next_look(self) -> float | None:
        """When a process may have to go, on the clock of :meth:`expired`; None if never as things stand."""
        since = [process.idle_since or 0.0 for process in self._idle()]
        there = [process for process in self.processes if not process.closing]
        looks = []
        if since and len(there) > self.least:
            looks.append(min(since) + self.scaledown_ttl_s)
        if since and len(since) == len(there):
            looks.append(max(since) + self.idle_ttl_s)
        looks = [look for look in looks if not math.isinf(look)]
        return min(looks) if looks else None

    def _idle(self) -> list[WorkerProcess]:
        return [p for p in self.processes if not p.closing and not p.attempts and p.idle_since is not None]
