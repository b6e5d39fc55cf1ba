"""What becomes of an action: events in, the next state and what to do out. No I/O, and no clock: events say the time.

An action waits (QUEUED), is run by an executor (RUNNING), and ends. A failed attempt that may be repeated brings it
back to QUEUED, to be started no earlier than ``not_before``. A condition is PAUSED until it is answered. A terminal
phase is never left, so what arrives late changes nothing: every action ends exactly once.
"""

import enum
from dataclasses import dataclass, replace
from typing import Literal

from flyte._core.identity import ActionPhase
from flyte._core.verdict import (
    MAX_SYSTEM_FAILURES,
    condition_text,
    deadline_text,
    max_runtime_text,
    queued_text,
    system_failures_text,
)

Origin = Literal["user", "system", "unknown"]

QUEUED_TIMEOUT = "QUEUED_TIMEOUT_EXCEEDED"
MAX_RUNTIME = "MAX_RUNTIME_EXCEEDED"
DEADLINE = "DEADLINE_EXCEEDED"
CONDITION_TIMEOUT = "ConditionTimedoutError"


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long an action may be tried. Times are seconds; None is no limit.

    :param name: of the task or the condition, for messages.
    :param run: that it belongs to, for messages of conditions.
    :param prompt: what a condition asks, likewise.
    :param retries: attempts after the first, for failures of the user's code.
    :param backoff_base_s: the wait before the first retry.
    :param backoff_factor: what each further wait is multiplied by.
    :param backoff_cap_s: the longest wait.
    :param max_runtime_s: for one attempt, from its start.
    :param queued_timeout_s: for waiting before the first attempt.
    :param deadline_s: for everything, from the moment that the action was created.
    """

    name: str = ""
    run: str = ""
    prompt: str = ""
    retries: int = 0
    backoff_base_s: float = 0.0
    backoff_factor: float = 1.0
    backoff_cap_s: float | None = None
    max_runtime_s: float | None = None
    queued_timeout_s: float | None = None
    deadline_s: float | None = None

    def pause_s(self, failures: int) -> float:
        """The wait after the failure number ``failures``, counted from 1."""
        if self.backoff_base_s <= 0:
            return 0.0
        longest = self.backoff_cap_s if self.backoff_cap_s is not None else 1e9
        try:
            return min(self.backoff_base_s * self.backoff_factor ** (failures - 1), longest)
        except OverflowError:  # a large power of a large factor is no number any more
            return longest


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt or an action failed.

    :param code: name of the kind of failure.
    :param message: for people.
    :param origin: whose fault it is.
    :param recoverable: whether another attempt could end differently.
    """

    code: str
    message: str
    origin: Origin = "unknown"
    recoverable: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """All that decides how an action goes on. Times are seconds since the epoch.

    :param phase: where it stands.
    :param created_at: when it was created.
    :param attempt: number of the current attempt, from 1; 0 before the first.
    :param user_failures: attempts that failed by the user's code.
    :param system_failures: attempts in a row that did not.
    :param not_before: when the next attempt may start.
    :param started_at: when the current attempt started.
    :param ended_at: when the action ended.
    :param fault: why it failed, if it did; of the last attempt while it is repeated.
    :param output_uri: prefix or file where its outputs are.
    :param reason: why it was aborted.
    """

    phase: ActionPhase
    created_at: float
    attempt: int = 0
    user_failures: int = 0
    system_failures: int = 0
    not_before: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    fault: Fault | None = None
    output_uri: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """An executor has begun the next attempt."""

    at: float


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An attempt left its outputs; or nothing had to run, and they are known."""

    at: float
    attempt: int
    output_uri: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt ended without outputs."""

    at: float
    attempt: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Answered:
    """Its outputs are known without an attempt: from the cache, from another run, or by a person."""

    at: float
    output_uri: str = ""
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A trace says how it ended."""

    at: float
    phase: ActionPhase
    output_uri: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""

    at: float


@dataclass(frozen=True, slots=True)
class Aborted:
    """Somebody wants it to end."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The devbox stops, and takes the attempt back: it is nobody's fault, and the next devbox makes another."""

    at: float
    attempt: int


Event = Started | Succeeded | Failed | Answered | Reported | Ticked | Aborted | Withdrawn


class Effect(enum.Enum):
    """What is to be done about a new state."""

    WAIT = "wait"
    """Start the next attempt, not before ``not_before``."""
    STOP = "stop"
    """End the attempt that still runs."""
    FINISH = "finish"
    """It has ended: tell whoever waits, and end what it started."""


def step(state: State, policy: Policy, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """The state after ``event``, and what is to be done about it; an event that comes too late changes nothing."""
    if state.phase.is_terminal:
        return state, ()
    match event:
        case Started(at):
            if state.phase is not ActionPhase.QUEUED:
                return state, ()
            return replace(state, phase=ActionPhase.RUNNING, attempt=state.attempt + 1, started_at=at), ()
        case Succeeded(at, attempt, output_uri):
            if not _is_current(state, attempt):
                return state, ()
            return _by_itself(_end(state, ActionPhase.SUCCEEDED, at, output_uri=output_uri, fault=None))
        case Failed(at, attempt, fault):
            if not _is_current(state, attempt):
                return state, ()
            return _by_itself(_fail(state, policy, at, fault))
        case Answered(at, output_uri, recovered):
            phase = ActionPhase.RECOVERED if recovered else ActionPhase.SUCCEEDED
            return _end(state, phase, at, output_uri=output_uri, fault=None)
        case Reported(at, phase, output_uri, fault):
            if not phase.is_terminal:
                return replace(state, phase=phase), ()
            return _end(state, phase, at, output_uri=output_uri, fault=fault)
        case Ticked(at):
            return _tick(state, policy, at)
        case Withdrawn(at, attempt):
            if not _is_current(state, attempt):
                return state, ()
            return replace(state, phase=ActionPhase.QUEUED, not_before=at), (Effect.STOP,)
        case Aborted(at, reason):
            return _end(state, ActionPhase.ABORTED, at, reason=reason)


def next_look_at(state: State, policy: Policy) -> float | None:
    """When :class:`Ticked` could change something; None if time alone changes nothing."""
    if state.phase.is_terminal:
        return None
    return min((moment for moment, _ in _limits(state, policy)), default=None)


def _is_current(state: State, attempt: int) -> bool:
    return state.phase is ActionPhase.RUNNING and state.attempt == attempt


def _end(state: State, phase: ActionPhase, at: float, **changes: object) -> tuple[State, tuple[Effect, ...]]:
    ended = replace(state, phase=phase, ended_at=at, **changes)  # type: ignore[arg-type]
    runs = state.phase is ActionPhase.RUNNING and state.attempt > 0
    return ended, (Effect.STOP, Effect.FINISH) if runs else (Effect.FINISH,)


def _by_itself(result: tuple[State, tuple[Effect, ...]]) -> tuple[State, tuple[Effect, ...]]:
    """The same for an attempt that has ended, so that nothing is left to stop."""
    state, effects = result
    return state, tuple(effect for effect in effects if effect is not Effect.STOP)


def _fail(state: State, policy: Policy, at: float, fault: Fault) -> tuple[State, tuple[Effect, ...]]:
    if not fault.recoverable:
        return _end(state, ActionPhase.FAILED, at, fault=fault)
    if fault.origin == "system":
        system, user = state.system_failures + 1, state.user_failures
        if system > MAX_SYSTEM_FAILURES:
            text = system_failures_text(fault.message)
            fault = replace(fault, code=f"MaxSystemFailuresExceeded|{fault.code}", message=text)
            return _end(state, ActionPhase.FAILED, at, fault=fault)
        pause_s = 0.0
    else:
        system, user = 0, state.user_failures + 1
        if user > policy.retries:
            ended = ActionPhase.TIMED_OUT if fault.code == MAX_RUNTIME else ActionPhase.FAILED
            return _end(state, ended, at, fault=fault)
        pause_s = policy.pause_s(user)
    if policy.deadline_s is not None and at + pause_s >= state.created_at + policy.deadline_s:
        return _end(state, ActionPhase.TIMED_OUT, at, fault=_late(DEADLINE, policy, policy.deadline_s))
    again = replace(
        state,
        phase=ActionPhase.QUEUED,
        user_failures=user,
        system_failures=system,
        not_before=at + pause_s,
        fault=fault,
    )
    return again, (Effect.WAIT,)


def _limits(state: State, policy: Policy) -> list[tuple[float, str]]:
    """The moments at which a limit of time is reached, and the code of each."""
    found: list[tuple[float, str]] = []
    if policy.deadline_s is not None:
        code = CONDITION_TIMEOUT if state.phase is ActionPhase.PAUSED else DEADLINE
        found.append((state.created_at + policy.deadline_s, code))
    if policy.queued_timeout_s is not None and state.phase is ActionPhase.QUEUED and state.attempt == 0:
        found.append((state.created_at + policy.queued_timeout_s, QUEUED_TIMEOUT))
    if policy.max_runtime_s is not None and state.phase is ActionPhase.RUNNING and state.started_at is not None:
        found.append((state.started_at + policy.max_runtime_s, MAX_RUNTIME))
    return found


def _tick(state: State, policy: Policy, at: float) -> tuple[State, tuple[Effect, ...]]:
    reached = [(moment, code) for moment, code in _limits(state, policy) if moment <= at]
    if not reached:
        return state, ()
    code = min(reached)[1]
    if code == MAX_RUNTIME:
        assert policy.max_runtime_s is not None
        after, effects = _fail(state, policy, at, _late(code, policy, policy.max_runtime_s))
        return after, effects if Effect.STOP in effects else (Effect.STOP, *effects)
    limit_s = policy.queued_timeout_s if code == QUEUED_TIMEOUT else policy.deadline_s
    assert limit_s is not None
    return _end(state, ActionPhase.TIMED_OUT, at, fault=_late(code, policy, limit_s))


def _late(code: str, policy: Policy, limit_s: float) -> Fault:
    if code == CONDITION_TIMEOUT:
        text = condition_text(policy.name, policy.run, limit_s, policy.prompt)
    else:
        say = {QUEUED_TIMEOUT: queued_text, MAX_RUNTIME: max_runtime_text, DEADLINE: deadline_text}[code]
        text = say(policy.name, limit_s)
    return Fault(code, text, "user", recoverable=code == MAX_RUNTIME)
