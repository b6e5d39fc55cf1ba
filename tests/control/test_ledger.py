"""The ledger: whatever a control plane says, in whatever order and however often, a child ends once, and stays so."""

from hypothesis import given
from hypothesis import strategies as st

from flyte._control.ledger import Ledger
from flyte._core.identity import ActionPhase
from flyte._wire.actions import ActionNews

P = ActionPhase
ENDS = [phase for phase in P if phase.is_terminal]


def news(name="c", phase=P.RUNNING, **rest):
    return ActionNews(name, phase, **rest)


def test_a_child_nobody_spoke_of_is_unknown():
    child = Ledger("a0").child("c")
    assert (child.is_known, child.has_ended) == (False, False)


def test_the_parent_and_unknown_phases_are_ignored():
    ledger = Ledger("a0")
    assert ledger.apply(news("a0", P.SUCCEEDED)) is None
    assert ledger.apply(news("c", None)) is None
    assert not ledger.child("c").is_known


def test_an_end_is_told_once_and_does_not_change():
    ledger = Ledger("a0")
    assert ledger.apply(news(phase=P.RUNNING, output_uri="early")) is None
    ended = ledger.apply(news(phase=P.SUCCEEDED))
    assert ended is ledger.child("c")
    assert (ended.phase, ended.output_uri) == (P.SUCCEEDED, "early")
    for late in (P.RUNNING, P.FAILED, P.SUCCEEDED, P.QUEUED):
        assert ledger.apply(news(phase=late, output_uri="late", error="late")) is None
    assert (ended.phase, ended.output_uri, ended.error) == (P.SUCCEEDED, "early", None)


def test_an_error_comes_with_its_phase_or_after_it():
    ledger = Ledger("a0")
    ledger.apply(news(phase=P.RUNNING, error="of the attempt before"))
    assert ledger.child("c").error == "of the attempt before"
    ledger.apply(news(phase=P.RUNNING))
    assert ledger.child("c").error == "of the attempt before"
    assert ledger.apply(news(phase=P.FAILED, error="final")).error == "final"


def test_a_snapshot_begins_anew_with_each_stream():
    ledger = Ledger("a0")
    ledger.snapshot_ends()
    assert ledger.has_snapshot
    ledger.reconnected()
    assert not ledger.has_snapshot


streams = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(list(P)), st.sampled_from(["", "u1", "u2"])), max_size=40
)


@given(streams, st.randoms())
def test_any_order_with_repeats_and_losses_ends_each_child_once(said, chance):
    updates = [news(name, phase, output_uri=uri) for name, phase, uri in said]
    sent = [u for u in updates for _ in range(chance.randint(0, 3))]
    chance.shuffle(sent)
    ledger = Ledger("a0")
    told: dict[str, list[ActionPhase]] = {}
    for update in sent:
        ended = ledger.apply(update)
        if ended is not None:
            told.setdefault(ended.name, []).append(ended.phase)
    for name in "abc":
        ends = [u.phase for u in sent if u.name == name and u.phase in ENDS]
        assert told.get(name, []) == ends[:1]
        assert ledger.child(name).has_ended == bool(ends)


@given(streams)
def test_a_snapshot_after_everything_was_lost_tells_the_same_end(said):
    updates = [news(name, phase, output_uri=uri) for name, phase, uri in said]
    heard, deaf = Ledger("a0"), Ledger("a0")
    for update in updates:
        heard.apply(update)
    for child in heard:
        deaf.apply(news(child.name, child.phase, output_uri=child.output_uri))
    for child in heard:
        same = deaf.child(child.name)
        assert (same.phase, same.output_uri) == (child.phase, child.output_uri)
