"""simulate(): a workflow under many schedules of crashes and interleavings, each of which can be had again."""

import asyncio
import functools
import gc
import operator
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from flyte._core.context import TaskContext, current
from flyte._core.controller import RecordedAction
from flyte._core.identity import ActionPhase
from flyte._definition.task import F, P, R, TaskTemplate
from flyte._verbs.run import with_runcontext
from flyte.errors import RunRecoveryError

from ._errors import DeadlockError, SimulationError
from ._home import new_home, remove_home
from ._process import EndlessError, Process
from ._run import TrialController

__all__ = ["Schedule", "SimulatedRun", "simulate"]

_SHRINKING_S = 10.0
_COLLECTED_EVERY = 16
"""After so many runs the garbage of all is collected."""
_MOST_TIMES = 50
_LINES = 40


@dataclass(frozen=True)
class Schedule:
    """What disturbs a simulated run.

    :param order_seed: chooses which of the tasks that can go on does so; None for asyncio's own order.
    :param cuts: the points at which the first process, the one that recovers it, and so on, are cut.
    """

    order_seed: int | None = None
    cuts: tuple[int, ...] = ()

    def __str__(self) -> str:
        order = "asyncio's own order" if self.order_seed is None else f"an order of its own ({self.order_seed})"
        if not self.cuts:
            return f"{order}, no crash"
        cuts = " and ".join(f"process {i} at point {cut}" for i, cut in enumerate(self.cuts, 1))
        return f"{order}, a crash of {cuts}"


@dataclass
class SimulatedRun:
    """A simulated run that has ended, as ``check=`` sees it.

    :param result: what the workflow returned; None if it raised.
    :param error: what it raised, or None.
    :param schedule: what disturbed it.
    :param crashes: how many of its processes were cut.
    :param bodies: task's full name -> how often its body was started, over all processes.
    :param elapsed_s: how long it took, by its clock.
    :param events: what happened, in words.
    """

    schedule: Schedule
    result: Any = None
    error: BaseException | None = None
    crashes: int = 0
    bodies: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    events: list[str] = field(default_factory=list)
    points: int = 0
    again: str | None = None
    """The first work that ran again although its caller had its result."""
    _seen: set[str] = field(default_factory=set)


def simulate(
    workflow: TaskTemplate[P, R, F],
    *args: Any,
    seed: int | None = None,
    runs: int = 100,
    crashes: int = 3,
    check: Callable[[SimulatedRun], Any] | None = None,
    equal: Callable[[Any, Any], bool] | None = None,
    **kwargs: Any,
) -> int:
    """Run a workflow again and again, each time with other crashes and interleavings, and check what must hold.

    Each run gets, by its seed, an order in which tasks that can go on do so, and up to ``crashes`` moments at which its
    process is cut as if killed; then a new process recovers it from the journal. All of it happens in this process, on
    a manual clock, so pauses take no time. What must hold: the outputs equal those of an undisturbed run; nothing whose
    caller had its result runs again; every run ends. What the workflow keeps outside of it, such as module variables,
    survives a simulated crash, unlike a real one.

    :param workflow: the root task; its own parameters follow. One that is called as an option here is passed by
        position.
    :param seed: of the first run, the following have ``seed + 1`` and so on; a random one if not given.
    :param runs: how many runs.
    :param crashes: the most crashes of one run; 0 to explore interleavings alone.
    :param check: called with the :class:`SimulatedRun` of each run, and of the undisturbed one first; raises, for
        instance by ``assert``, when something is wrong.
    :param equal: whether two results of the workflow are alike; ``==`` if not given.
    :returns: the seed of the first run.
    :raises SimulationError: a rule was broken; it says what happened, by which schedule, and how to repeat it.
    :raises TypeError: ``workflow`` is not a task.
    :raises ValueError: ``runs`` or ``crashes`` is out of range.
    """
    if not isinstance(workflow, TaskTemplate):
        raise TypeError(f"simulate takes a task, made with @env.task, but got {type(workflow).__name__} {workflow!r}")
    if runs < 1 or crashes < 0:
        raise ValueError(f"runs={runs} must be at least 1, and crashes={crashes} not negative")
    workflow.interface.bind(args, kwargs)
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "simulate was called in async code, which it would block; write await asyncio.to_thread(simulate, ...)"
        )
    simulation = _Simulation(workflow, args, kwargs, check, equal)
    simulation.explore_undisturbed()
    first = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    with warnings.catch_warnings():
        # What a process that was cut had not come to await, nobody ever will; that is nobody's mistake.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        # Python says so while it collects garbage, for which it imports something; that fails where it happens to
        # collect inside a function without built-ins, as named tuples have. So it collects here alone.
        collects = gc.isenabled()
        gc.disable()
        try:
            for number in range(first, first + runs):
                if (number - first) % _COLLECTED_EVERY == 0:
                    gc.collect()
                schedule = simulation.schedule_of(number, crashes)
                simulated, wrong = simulation.run(schedule)
                if wrong is not None:
                    raise simulation.failure(number, simulated, wrong, crashes) from wrong.cause
        finally:
            gc.collect()
            if collects:
                gc.enable()
    return first


@dataclass
class _Wrong:
    what: str
    cause: BaseException | None = None


class _Simulation:
    def __init__(
        self,
        workflow: TaskTemplate[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        check: Callable[[SimulatedRun], Any] | None,
        equal: Callable[[Any, Any], bool] | None,
    ) -> None:
        self._workflow = workflow
        self._args = args
        self._kwargs = kwargs
        self._check = check
        self._alike = equal or operator.eq
        self._expected: SimulatedRun | None = None

    def explore_undisturbed(self) -> None:
        """The run that all others must equal."""
        undisturbed, wrong = self.run(Schedule())
        if wrong is not None:
            raise SimulationError(f"an undisturbed run is wrong already: {wrong.what}", 0) from wrong.cause
        self._expected = undisturbed

    def schedule_of(self, seed: int, crashes: int) -> Schedule:
        """The schedule that a seed stands for."""
        assert self._expected is not None
        chance = random.Random(seed)
        order_seed = chance.randrange(1 << 30) if chance.random() < 0.8 else None
        cuts = tuple(1 + int(chance.random() * self._expected.points) for _ in range(chance.randint(0, crashes)))
        return Schedule(order_seed, cuts)

    # One run ----------------------------------------------------------------------------------------------------

    def run(self, schedule: Schedule) -> tuple[SimulatedRun, _Wrong | None]:
        """Run the workflow under a schedule; what it did, and what of it is wrong."""
        simulated = SimulatedRun(schedule)
        most = None if self._expected is None else _MOST_TIMES * self._expected.points + 10_000
        home = new_home()
        dead: list[Process] = []
        try:
            while True:
                number = len(dead)
                cut_at = schedule.cuts[number] if number < len(schedule.cuts) else None
                order_seed = None if schedule.order_seed is None else schedule.order_seed + number
                process = Process(home, cut_at, order_seed, most, dead[-1] if dead else None)
                simulated.events.append(
                    f"process {number + 1} starts" + (f" and recovers process {number}" if number else "")
                )
                process.execute(functools.partial(self._call, process, simulated, number))
                if not process.cut:
                    break
                dead.append(process)
                simulated.crashes += 1
                simulated.events.append(f"process {number + 1} is cut at point {cut_at}")
            simulated.result, simulated.error = process.result, process.failure
            simulated.points = process.points
            simulated.elapsed_s = process.elapsed_s
            return simulated, self._judge(simulated)
        finally:
            for process in dead:
                process.clear()
            remove_home(home)

    async def _call(self, process: Process, simulated: SimulatedRun, number: int) -> Any:
        watch = _Watch(process, simulated)
        # Found by name, so that a process whose run was never remembered is passed over.
        for earlier in range(number, -1, -1):
            runner = with_runcontext(
                "local",
                name=f"simulated-{number + 1}",
                controller=watch,
                recorder=watch,
                recover_from=f"simulated-{earlier}" if earlier else None,
            ).run._runner
            runner = replace(runner, clock=process.clock)
            try:
                return (await runner.start(self._workflow, self._args, self._kwargs)).result
            except RunRecoveryError as error:
                if "names no run" not in str(error):
                    raise
        raise AssertionError("unreachable")

    def _judge(self, simulated: SimulatedRun) -> _Wrong | None:
        error = simulated.error
        if isinstance(error, (DeadlockError, EndlessError)):
            return _Wrong(f"the run does not end: {error}", error)
        if simulated.again is not None:
            return _Wrong(f"{simulated.again} ran again although its caller had its result")
        expected = self._expected
        if expected is not None and not self._is_equal(simulated, expected):
            return _Wrong(f"{_outcome(simulated)}, but undisturbed {_outcome(expected)}", error)
        if self._check is not None:
            try:
                self._check(simulated)
            except Exception as wrong:
                return _Wrong(f"the check says: {type(wrong).__name__}: {wrong}", wrong)
        return None

    def _is_equal(self, simulated: SimulatedRun, expected: SimulatedRun) -> bool:
        ours, theirs = simulated.error, expected.error
        if ours is not None or theirs is not None:
            return type(ours).__name__ == type(theirs).__name__ and str(ours) == str(theirs)
        try:
            return bool(self._alike(simulated.result, expected.result))
        except (TypeError, ValueError):  # arrays and frames, whose == gives one of the kind
            return repr(simulated.result) == repr(expected.result)

    # Failures ---------------------------------------------------------------------------------------------------

    def failure(self, seed: int, simulated: SimulatedRun, wrong: _Wrong, crashes: int) -> SimulationError:
        """The error for a run that broke a rule, with the smallest schedule that was found to break one, too."""
        schedule = simulated.schedule
        smallest, small_wrong = simulated, wrong
        until = time.monotonic() + _SHRINKING_S
        for candidate in _smaller(schedule):
            if time.monotonic() > until:
                break
            other, also = self.run(candidate)
            if also is not None:
                smallest, small_wrong = other, also
                break
        option = f", crashes={crashes}" if crashes != 3 else ""
        lines = [
            wrong.what,
            f"schedule: {schedule}",
            f"to repeat it: simulate({self._workflow.short_name}, ..., seed={seed}, runs=1{option})",
        ]
        if smallest is not simulated:
            lines.append(f"a smaller schedule fails, too: {smallest.schedule}: {small_wrong.what}")
            if smallest.schedule == Schedule():
                lines.append(
                    "so two undisturbed runs differ: decide by flyte.durable.time() and random(), not by others, "
                    "and pass equal=... for results that differ by more than they mean, such as the paths of files"
                )
        events = smallest.events
        lines.append("what happened:")
        if len(events) > _LINES:
            lines.append(f"  ... {len(events) - _LINES} events before")
        lines += [f"  {event}" for event in events[-_LINES:]]
        return SimulationError("\n".join(lines), seed)


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Simpler schedules, the simplest first."""
    tried = {schedule}
    orders = [None] if schedule.order_seed is None else [None, schedule.order_seed]
    subsets: list[tuple[int, ...]] = [(), *((cut,) for cut in sorted(schedule.cuts))]
    subsets += [schedule.cuts[:i] + schedule.cuts[i + 1 :] for i in range(len(schedule.cuts))]
    subsets.append(schedule.cuts)
    for cuts in subsets:
        for order in orders:
            candidate = Schedule(order, cuts)
            if candidate not in tried:
                tried.add(candidate)
                yield candidate


def _outcome(simulated: SimulatedRun) -> str:
    if simulated.error is not None:
        return f"it raised {type(simulated.error).__name__}: {simulated.error}"
    return f"it gave {_short(simulated.result)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


# Watching -------------------------------------------------------------------------------------------------------------


class _Call:
    """A call that is under way: what it is called in words, and its action's name once a body of it has started."""

    __slots__ = ("action", "label")

    def __init__(self, label: str) -> None:
        self.label = label
        self.action: str | None = None


_call: ContextVar[_Call | None] = ContextVar("flyte_simulated_call", default=None)


class _Watch(TrialController):
    """Sees every call and every body of a simulated run."""

    def __init__(self, process: Process, simulated: SimulatedRun) -> None:
        super().__init__()
        self._process = process
        self._simulated = simulated
        self._traced: dict[Callable[..., Any], Callable[..., Any]] = {}

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run a task."""
        shown = [_short(value) for value in args] + [f"{name}={_short(value)}" for name, value in kwargs.items()]
        label = f"{task.short_name}({', '.join(shown)})"
        return self._watched(_Call(label), super().submit(task, *args, **kwargs))

    async def _watched(self, call: _Call, running: Coroutine[Any, Any, Any]) -> Any:
        token = _call.set(call)
        try:
            result = await running
        finally:
            try:
                _call.reset(token)
            except ValueError:  # thrown away with a process that was cut
                pass
        self._seen(call)
        return result

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run an async traced function."""

        @functools.wraps(function)
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self._step_started()
            return await function(*args, **kwargs)

        step = self._traced.setdefault(function, counted)
        return await self._watched(_Call(function.__name__), super().trace(step, *args, **kwargs))

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a sync traced function."""

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._step_started()
            return function(*args, **kwargs)

        call = _Call(function.__name__)
        token = _call.set(call)
        try:
            result = super().trace_sync(self._traced.setdefault(function, counted), *args, **kwargs)
        finally:
            _call.reset(token)
        self._seen(call)
        return result

    def _step_started(self) -> None:
        context = current.get()
        if context is not None:
            self.action_started(context)

    def action_started(self, action: RecordedAction) -> None:
        """A body starts."""
        assert isinstance(action, TaskContext)
        self._process.point()
        simulated, call = self._simulated, _call.get()
        label = call.label if call is not None else action.task_name
        name = action.name
        if call is not None:
            call.action = name
        if not action.in_trace:
            simulated.bodies[action.task_name] += 1
        if name in simulated._seen and simulated.again is None:
            simulated.again = label
        attempt = f" (attempt {action.attempt_number + 1})" if action.attempt_number else ""
        simulated.events.append(f"{label} starts{attempt}")

    def action_finished(self, action: RecordedAction, phase: ActionPhase, error: BaseException | None) -> None:
        """An action has ended."""
        if error is not None and not self._process.cut:
            call = _call.get()
            label = call.label if call is not None else action.task_name
            self._simulated.events.append(f"{label} fails: {type(error).__name__}: {error}")

    def _seen(self, call: _Call) -> None:
        if call.action is not None:
            self._simulated._seen.add(call.action)
            self._simulated.events.append(f"{call.label} has given its result to its caller")
        self._process.point()
