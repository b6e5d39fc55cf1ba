"""Tests of workflows: a clock that needs no waiting, stand-ins for tasks, replay of a recorded run, and simulation of
crashes and interleavings.

``flyte.testing.run(main)`` runs a workflow as ``flyte.run`` does, but a pause of 30 days takes no time; see
:func:`run`, :func:`with_testcontext`, :class:`ManualClock`, :class:`mock`, :func:`replay` and :func:`simulate`.

A face: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.testing._clock import ManualClock as ManualClock
    from flyte.testing._errors import DeadlockError as DeadlockError
    from flyte.testing._errors import ReplayDivergenceError as ReplayDivergenceError
    from flyte.testing._errors import SimulationError as SimulationError
    from flyte.testing._errors import UnmockedTaskError as UnmockedTaskError
    from flyte.testing._mock import mock as mock
    from flyte.testing._replay import Replay as Replay
    from flyte.testing._replay import replay as replay
    from flyte.testing._run import Started as Started
    from flyte.testing._run import run as run
    from flyte.testing._run import with_testcontext as with_testcontext
    from flyte.testing._simulate import Schedule as Schedule
    from flyte.testing._simulate import SimulatedRun as SimulatedRun
    from flyte.testing._simulate import simulate as simulate

_TABLE = {
    "DeadlockError": "flyte.testing._errors",
    "ManualClock": "flyte.testing._clock",
    "Replay": "flyte.testing._replay",
    "ReplayDivergenceError": "flyte.testing._errors",
    "Schedule": "flyte.testing._simulate",
    "SimulatedRun": "flyte.testing._simulate",
    "SimulationError": "flyte.testing._errors",
    "Started": "flyte.testing._run",
    "UnmockedTaskError": "flyte.testing._errors",
    "mock": "flyte.testing._mock",
    "replay": "flyte.testing._replay",
    "run": "flyte.testing._run",
    "simulate": "flyte.testing._simulate",
    "with_testcontext": "flyte.testing._run",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "DeadlockError",
    "ManualClock",
    "Replay",
    "ReplayDivergenceError",
    "Schedule",
    "SimulatedRun",
    "SimulationError",
    "Started",
    "UnmockedTaskError",
    "mock",
    "replay",
    "run",
    "simulate",
    "with_testcontext",
]
