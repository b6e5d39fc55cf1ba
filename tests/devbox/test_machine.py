"""What becomes of an action: tables of single steps, and properties of any history."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte._core.identity import ActionPhase as A
from flyte.devbox._machine import (
    CONDITION_TIMEOUT,
    DEADLINE,
    MAX_RUNTIME,
    MAX_SYSTEM_FAILURES,
    QUEUED_TIMEOUT,
    Aborted,
    Answered,
    Effect,
    Failed,
    Fault,
    Policy,
    Reported,
    Started,
    State,
    Succeeded,
    Ticked,
    Withdrawn,
    next_look_at,
    step,
)

QUEUED = State(A.QUEUED, created_at=0.0)
RUNNING = State(A.RUNNING, created_at=0.0, attempt=1, started_at=1.0)
PAUSED = State(A.PAUSED, created_at=0.0)
USER, SYSTEM = Fault("E", "m", "user"), Fault("Interrupted", "m", "system")
FINAL = Fault("E", "m", "user", recoverable=False)
RETRY = Policy(retries=1, backoff_base_s=2.0)
NONE = Policy()

TABLE = [
    (QUEUED, NONE, Started(1.0), A.RUNNING, 1, ()),
    (RUNNING, NONE, Started(2.0), A.RUNNING, 1, ()),
    (RUNNING, NONE, Succeeded(2.0, 1, "/o"), A.SUCCEEDED, 1, (Effect.FINISH,)),
    (RUNNING, NONE, Succeeded(2.0, 2, "/o"), A.RUNNING, 1, ()),
    (QUEUED, NONE, Succeeded(2.0, 0, "/o"), A.QUEUED, 0, ()),
    (RUNNING, NONE, Failed(2.0, 1, USER), A.FAILED, 1, (Effect.FINISH,)),
    (RUNNING, NONE, Failed(2.0, 0, USER), A.RUNNING, 1, ()),
    (RUNNING, RETRY, Failed(2.0, 1, USER), A.QUEUED, 1, (Effect.WAIT,)),
    (RUNNING, RETRY, Failed(2.0, 1, FINAL), A.FAILED, 1, (Effect.FINISH,)),
    (RUNNING, NONE, Failed(2.0, 1, SYSTEM), A.QUEUED, 1, (Effect.WAIT,)),
    (replace(RUNNING, system_failures=3), NONE, Failed(2.0, 1, SYSTEM), A.FAILED, 1, (Effect.FINISH,)),
    (replace(RUNNING, user_failures=1), RETRY, Failed(2.0, 1, USER), A.FAILED, 1, (Effect.FINISH,)),
    (RUNNING, replace(RETRY, deadline_s=3.0), Failed(2.0, 1, USER), A.TIMED_OUT, 1, (Effect.FINISH,)),
    (RUNNING, replace(NONE, max_runtime_s=5.0), Ticked(5.9), A.RUNNING, 1, ()),
    (RUNNING, replace(NONE, max_runtime_s=5.0), Ticked(6.0), A.TIMED_OUT, 1, (Effect.STOP, Effect.FINISH)),
    (RUNNING, replace(RETRY, max_runtime_s=5.0), Ticked(6.0), A.QUEUED, 1, (Effect.STOP, Effect.WAIT)),
    (RUNNING, replace(NONE, deadline_s=5.0), Ticked(5.0), A.TIMED_OUT, 1, (Effect.STOP, Effect.FINISH)),
    (QUEUED, replace(NONE, queued_timeout_s=5.0), Ticked(5.0), A.TIMED_OUT, 0, (Effect.FINISH,)),
    (RUNNING, replace(NONE, queued_timeout_s=5.0), Ticked(9.0), A.RUNNING, 1, ()),
    (PAUSED, replace(NONE, deadline_s=5.0), Ticked(5.0), A.TIMED_OUT, 0, (Effect.FINISH,)),
    (PAUSED, NONE, Answered(1.0), A.SUCCEEDED, 0, (Effect.FINISH,)),
    (QUEUED, NONE, Answered(1.0, "/o", recovered=True), A.RECOVERED, 0, (Effect.FINISH,)),
    (RUNNING, NONE, Aborted(2.0, "enough"), A.ABORTED, 1, (Effect.STOP, Effect.FINISH)),
    (QUEUED, NONE, Aborted(2.0, "enough"), A.ABORTED, 0, (Effect.FINISH,)),
    (RUNNING, NONE, Withdrawn(2.0, 1), A.QUEUED, 1, (Effect.STOP,)),
    (RUNNING, NONE, Withdrawn(2.0, 2), A.RUNNING, 1, ()),
    (replace(RUNNING, attempt=0), NONE, Reported(2.0, A.SUCCEEDED, "/o"), A.SUCCEEDED, 0, (Effect.FINISH,)),
    (replace(RUNNING, attempt=0), NONE, Reported(2.0, A.FAILED, fault=USER), A.FAILED, 0, (Effect.FINISH,)),
]


@pytest.mark.parametrize(("state", "policy", "event", "phase", "attempt", "effects"), TABLE)
def test_one_step(state, policy, event, phase, attempt, effects):
    after, done = step(state, policy, event)
    assert (after.phase, after.attempt, done) == (phase, attempt, effects)
    assert (after.ended_at == event.at) if phase.is_terminal else after.ended_at is None


@pytest.mark.parametrize(
    ("state", "policy", "code"),
    [
        (QUEUED, Policy(queued_timeout_s=1), QUEUED_TIMEOUT),
        (RUNNING, Policy(max_runtime_s=1), MAX_RUNTIME),
        (RUNNING, Policy(deadline_s=1), DEADLINE),
        (PAUSED, Policy(deadline_s=1), CONDITION_TIMEOUT),
    ],
)
def test_codes_of_time_limits(state, policy, code):
    after, _ = step(state, policy, Ticked(100.0))
    assert after.fault is not None and after.fault.code == code


def test_waits_grow_up_to_the_longest():
    policy = Policy(retries=5, backoff_base_s=1.0, backoff_factor=3.0, backoff_cap_s=10.0)
    assert [policy.pause_s(n) for n in range(1, 6)] == [1.0, 3.0, 9.0, 10.0, 10.0]
    assert Policy(retries=5, backoff_base_s=1.0, backoff_factor=1e9).pause_s(4000) <= 1e12
    assert Policy(retries=5).pause_s(3) == 0.0


def test_retries_run_out():
    state, policy = QUEUED, Policy(retries=2)
    for attempt in (1, 2, 3):
        state, _ = step(state, policy, Started(float(attempt)))
        state, effects = step(state, policy, Failed(attempt + 0.5, attempt, USER))
    assert (state.phase, state.attempt, effects) == (A.FAILED, 3, (Effect.FINISH,))


def test_a_success_of_the_system_between_does_not_use_up_retries():
    state, policy = QUEUED, Policy(retries=1)
    for attempt, fault in enumerate([SYSTEM, USER, SYSTEM], start=1):
        state, _ = step(state, policy, Started(float(attempt)))
        state, _ = step(state, policy, Failed(attempt + 0.5, attempt, fault))
    assert (state.phase, state.user_failures, state.system_failures) == (A.QUEUED, 1, 1)


moments = st.floats(0, 100, allow_nan=False)
attempts = st.integers(0, 6)
faults = st.builds(
    Fault, st.just("E"), st.just("m"), st.sampled_from(["user", "system", "unknown"]), recoverable=st.booleans()
)
events = st.one_of(
    st.builds(Started, moments),
    st.builds(Succeeded, moments, attempts, st.just("/o")),
    st.builds(Failed, moments, attempts, faults),
    st.builds(Answered, moments, st.just("/o"), st.booleans()),
    st.builds(Ticked, moments),
    st.builds(Aborted, moments, st.just("enough")),
    st.builds(Withdrawn, moments, attempts),
)
limits = st.none() | st.floats(1, 50)
policies = st.builds(
    Policy,
    retries=st.integers(0, 3),
    backoff_base_s=st.floats(0, 5),
    backoff_factor=st.floats(1, 3),
    backoff_cap_s=limits,
    max_runtime_s=limits,
    queued_timeout_s=limits,
    deadline_s=limits,
)


@settings(max_examples=300, deadline=None)
@given(policies, st.lists(events, max_size=40))
def test_any_history(policy, history):
    state, finished, running = QUEUED, 0, False
    at = 0.0
    for event in history:
        at = max(at, event.at)
        before = state
        state, effects = step(before, policy, replace(event, at=at))
        assert step(before, policy, replace(event, at=at)) == (state, effects), "it is a function"
        finished += effects.count(Effect.FINISH)
        assert (state is before) == (effects == () and state == before) or state != before
        # What ran and does not any more was stopped, or ended by itself.
        ended_itself = isinstance(event, Succeeded | Failed)
        if running and state.phase is not A.RUNNING:
            assert ended_itself or Effect.STOP in effects
        running = state.phase is A.RUNNING
        assert state.attempt - before.attempt == (isinstance(event, Started) and before.phase is A.QUEUED)
        assert state.user_failures <= policy.retries + 1 and state.system_failures <= MAX_SYSTEM_FAILURES
        assert finished == int(state.phase.is_terminal), "every action ends exactly once"
        if before.phase.is_terminal:
            assert state is before and effects == ()
        if state.phase in (A.FAILED, A.TIMED_OUT):
            assert state.fault is not None
        if state.phase is A.ABORTED:
            assert state.reason
        look = next_look_at(state, policy)
        if look is not None and at >= look:
            late, _ = step(state, policy, Ticked(at))
            assert late != state, "a limit that was reached changes something"
