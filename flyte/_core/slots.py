"""Who may run now: so many bodies at once, within the machine's processors and memory; pure.

Events in, grants out: it does no I/O and reads no clock. What is granted was asked for by :meth:`Slots.submit` and
lasts until :meth:`Slots.release`.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WHOLE = 1000
"""A body, and a processor, in the units that are counted here."""
OVERTAKEN_AT_MOST = 32
"""After so many grants out of order, the next one is of whoever has waited longest."""
LOOKED_AT = 64
"""How many that do not fit are passed over in search of one that does."""


@dataclass(eq=False, slots=True)
class Request:
    """What an attempt asks for.

    :param granted: called when it may run; called again after each :meth:`Slots.resume`.
    :param depth: how many actions are above it. The deeper goes first, so that those above it can end.
    :param body: share of a body in units of 1 / :data:`WHOLE`; less than one in a process that several share.
    :param cpu: processors, in the same units.
    :param memory: bytes.
    :param key: what shares a capacity, such as a reusable environment; None for nothing.
    :param capacity: how many of the same key run at once.
    """

    granted: Callable[[], None]
    depth: int = 0
    body: int = WHOLE
    cpu: int = WHOLE
    memory: int = 0
    key: object = None
    capacity: int = 0
    sequence: int = 0
    state: str = "new"


class Slots:
    """Grants requests while they fit.

    What asks for more than there is at all runs alone. Whoever waited for a child and goes on comes before everybody
    new. No one waits for ever: see :data:`OVERTAKEN_AT_MOST`.

    :param bodies: how many bodies run at once.
    :param memory: bytes that they may ask for together.
    :param cpus: how many processors they may ask for together; as many as bodies if not given.
    """

    def __init__(self, bodies: int, memory: int, cpus: float | None = None) -> None:
        self.bodies = bodies * WHOLE
        self.cpus = self.bodies if cpus is None else int(cpus * WHOLE)
        self.memory = memory
        self.running = 0
        self._body = self._cpu = self._memory = 0
        self._of_key: dict[object, int] = {}
        self._resuming: deque[Request] = deque()
        self._soft: list[Request] = []
        self._by_depth: list[tuple[int, int, Request]] = []
        self._by_age: deque[Request] = deque()
        self._waiting = 0
        self._sequence = 0
        self._overtaken = 0
        self._granting = False

    @property
    def waiting(self) -> int:
        """How many wait, those that go on included."""
        return self._waiting + len(self._resuming)

    def submit(self, request: Request) -> None:
        """Ask for a slot."""
        self._sequence += 1
        request.sequence = self._sequence
        request.state = "waiting"
        self._waiting += 1
        heapq.heappush(self._by_depth, (-request.depth, request.sequence, request))
        self._by_age.append(request)
        self._grant()

    def occupy(self, request: Request) -> None:
        """Count a body that runs already, whether there is a slot for it or not."""
        request.state = "running"
        self._count(request, 1)

    def pause(self, request: Request) -> None:
        """The body waits for something else and gives its slot to others."""
        if request.state in ("running", "soft"):
            self._give_up(request)
            self._grant()

    def soften(self, request: Request) -> None:
        """The body waits for something that may take any time; it keeps its slot while nobody needs it more."""
        if request.state == "running":
            request.state = "soft"
            self._soft.append(request)
            self._grant()

    def harden(self, request: Request) -> bool:
        """A softened body goes on; whether it still has its slot, else :meth:`resume` it."""
        if request.state == "soft":
            request.state = "running"
            self._soft.remove(request)
        return request.state == "running"

    @property
    def is_stuck(self) -> bool:
        """Whether some wait for a slot, and all who have one wait for something else."""
        return self._waiting > 0 and self.running > 0 and self.running == len(self._soft)

    def yield_one(self) -> None:
        """Let one start in place of one that waits for something else."""
        if self._soft:
            self._give_up(self._soft[-1])
            self._grant()

    def resume(self, request: Request) -> None:
        """A paused body wants to go on."""
        if request.state == "paused":
            request.state = "resuming"
            self._resuming.append(request)
            self._grant()

    def insist(self, request: Request) -> None:
        """One that wants to go on has waited long enough, and goes on beside those who have the slots.

        It is no new body, and it may be the one that ends them: a caller, say, whose time for them is over.
        """
        if request.state == "resuming":
            self._resuming.remove(request)
            self.occupy(request)
            request.granted()

    def retreat(self, request: Request) -> None:
        """A body that went on without the slot that it was to have again waits once more."""
        if request.state == "resuming":
            self._resuming.remove(request)
            request.state = "paused"
            self._grant()

    def release(self, request: Request) -> None:
        """It runs no more, or is not to run any more."""
        state, request.state = request.state, "done"
        if state in ("running", "soft"):
            self._count(request, -1)
            if state == "soft":
                self._soft.remove(request)
        elif state == "resuming":
            self._resuming.remove(request)
        elif state == "waiting":
            self._waiting -= 1
        self._grant()

    def _give_up(self, request: Request) -> None:
        self._count(request, -1)
        if request.state == "soft":
            self._soft.remove(request)
        request.state = "paused"

    def _count(self, request: Request, sign: int) -> None:
        self.running += sign
        self._body += sign * request.body
        self._cpu += sign * request.cpu
        self._memory += sign * request.memory
        if request.key is not None:
            left = self._of_key.get(request.key, 0) + sign
            if left:
                self._of_key[request.key] = left
            else:
                del self._of_key[request.key]

    def _fits(self, request: Request) -> bool:
        if request.key is not None and self._of_key.get(request.key, 0) >= request.capacity:
            return False
        if not self.running:
            return True
        return (
            self._body + request.body <= self.bodies
            and self._cpu + request.cpu <= self.cpus
            and self._memory + request.memory <= self.memory
        )

    def _grant(self) -> None:
        if self._granting:  # a grant that releases or submits at once: the loop below goes on
            return
        self._granting = True
        try:
            while (chosen := self._next()) is not None:
                if chosen.state == "waiting":
                    self._waiting -= 1
                chosen.state = "running"
                self._count(chosen, 1)
                chosen.granted()
        finally:
            self._granting = False

    def _next(self) -> Request | None:
        if self._resuming:
            # Who goes on may hold what the softened ones are waiting for.
            while self._soft and not self._fits(self._resuming[0]):
                self._give_up(self._soft[-1])
            return self._resuming.popleft() if self._fits(self._resuming[0]) else self._resuming_elsewhere()
        while self._by_age and self._by_age[0].state != "waiting":
            self._by_age.popleft()
        if not self._by_age:
            self._by_depth.clear()
            return None
        self._lend()
        oldest = self._by_age[0]
        if self._overtaken >= OVERTAKEN_AT_MOST and self._room():
            if not self._fits(oldest) and not self._of_full_key(oldest):
                return None  # it has waited long enough: nobody else starts before it does
            if self._fits(oldest):
                self._overtaken = 0
                return oldest
        if not self._room():
            return None
        chosen = self._deepest()
        if chosen is not None and chosen is not oldest:
            self._overtaken += 1
        return chosen

    def _lend(self) -> None:
        """Let calls of those who wait, for which the softened ones may be waiting, run in place of these."""
        while self._by_depth and self._by_depth[0][2].state != "waiting":
            heapq.heappop(self._by_depth)
        if self._soft and not self._fits(self._by_depth[0][2]):
            shallow = min(self._soft, key=lambda request: request.depth)
            if shallow.depth < self._by_depth[0][2].depth:
                self._give_up(shallow)

    def _room(self) -> bool:
        return not self.running or self._body < self.bodies

    def _of_full_key(self, request: Request) -> bool:
        return request.key is not None and self._of_key.get(request.key, 0) >= request.capacity

    def _resuming_elsewhere(self) -> Request | None:
        # Only a full capacity of their own is no reason for others to wait behind it.
        if not self._of_full_key(self._resuming[0]):
            return None
        for request in self._resuming:
            if self._fits(request):
                self._resuming.remove(request)
                return request
        return None

    def _deepest(self) -> Request | None:
        passed: list[tuple[int, int, Request]] = []
        chosen = None
        while self._by_depth and len(passed) < LOOKED_AT:
            entry = heapq.heappop(self._by_depth)
            if entry[2].state != "waiting":
                continue
            if self._fits(entry[2]):
                chosen = entry[2]
                break
            passed.append(entry)
        for entry in passed:
            heapq.heappush(self._by_depth, entry)
        return chosen
