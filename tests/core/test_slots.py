"""Who may run when: never above what there is, and nobody waits for ever."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte._core.slots import OVERTAKEN_AT_MOST, WHOLE, Request, Slots


class Asking:
    """Requests by name, and who was granted what in which order."""

    def __init__(self, bodies=2, memory=1000):
        self.slots = Slots(bodies, memory)
        self.granted = []
        self.by_name = {}

    def ask(self, name, **options):
        request = Request(granted=lambda: self.granted.append(name), **options)
        self.by_name[name] = request
        self.slots.submit(request)
        return request

    def end(self, name):
        self.slots.release(self.by_name[name])


def test_who_runs_already_counts_and_one_that_goes_on_without_a_slot_keeps_new_ones_waiting():
    asking = Asking(1)
    parent = Request(granted=lambda: asking.granted.append("parent"))
    asking.slots.occupy(parent)
    asking.ask("child", depth=1)
    assert asking.granted == []
    asking.slots.pause(parent)
    assert asking.granted == ["child"]
    asking.slots.resume(parent)
    asking.ask("other")
    asking.slots.retreat(parent)
    asking.end("child")
    assert asking.granted == ["child", "other"] and asking.slots.running == 1
    asking.slots.resume(parent)
    asking.end("other")
    assert asking.granted == ["child", "other", "parent"]
    asking.slots.release(parent)
    assert asking.slots.running == asking.slots.waiting == 0


def test_one_that_goes_on_without_a_slot_counts_until_it_pauses():
    asking = Asking(1)
    parent = asking.ask("parent")
    asking.slots.pause(parent)
    asking.ask("child", depth=1)
    asking.slots.resume(parent)
    assert asking.granted == ["parent", "child"]
    asking.slots.insist(parent)
    asking.slots.insist(parent)
    assert asking.granted == ["parent", "child", "parent"] and asking.slots.running == 2
    asking.ask("other")
    asking.end("child")
    assert asking.granted[3:] == [], "the parent has the only slot"
    asking.slots.pause(parent)
    assert asking.granted[3:] == ["other"]
    asking.slots.insist(parent)  # it waits for a call again: nothing to insist on
    assert asking.granted[3:] == ["other"] and asking.slots.running == 1


def test_processors_are_counted_apart_from_bodies():
    asking = Asking(4)
    asking.slots.cpus = 2 * WHOLE
    for name, cpus in {"a": 1.5, "b": 1, "c": 0, "d": 0}.items():
        asking.ask(name, cpu=int(cpus * WHOLE))
    assert asking.granted == ["a", "c", "d"]
    asking.end("a")
    assert asking.granted == ["a", "c", "d", "b"]


def test_first_come_first_served_up_to_the_limit():
    asking = Asking(2)
    for name in "abcd":
        asking.ask(name)
    assert asking.granted == ["a", "b"]
    asking.end("b")
    assert asking.granted == ["a", "b", "c"]
    asking.end("a")
    asking.end("c")
    assert asking.granted == ["a", "b", "c", "d"]


def test_the_deeper_goes_first():
    asking = Asking(1)
    asking.ask("top", depth=1)
    asking.ask("other", depth=1)
    asking.ask("child", depth=2)
    asking.end("top")
    asking.end("child")
    assert asking.granted == ["top", "child", "other"]


def test_a_paused_body_gives_its_slot_and_comes_back_before_everybody_new():
    asking = Asking(1)
    parent = asking.ask("parent", depth=1)
    asking.ask("other", depth=1)
    asking.ask("child", depth=2)
    asking.slots.pause(parent)
    assert asking.granted == ["parent", "child"]
    asking.slots.resume(parent)
    asking.end("child")
    assert asking.granted == ["parent", "child", "parent"]


def test_who_asks_for_more_than_there_is_runs_alone():
    asking = Asking(2, memory=1000)
    asking.ask("huge", cpu=16 * WHOLE)
    asking.ask("small")
    assert asking.granted == ["huge"]
    asking.end("huge")
    asking.ask("fat", memory=5000)
    assert asking.granted == ["huge", "small"]
    asking.end("small")
    assert asking.granted == ["huge", "small", "fat"]


@pytest.mark.parametrize("what", [{"cpu": 2 * WHOLE}, {"memory": 600}])
def test_the_sum_of_what_is_asked_for_is_bounded(what):
    asking = Asking(3, memory=1000)
    for name in "abc":
        asking.ask(name, **what)
    assert asking.granted == ["a"]


def test_many_small_ones_do_not_starve_a_large_one():
    asking = Asking(2)
    asking.ask("0")
    asking.ask("large", cpu=2 * WHOLE)
    for number in range(1, 200):
        asking.ask(str(number))
    for _ in range(150):
        if "large" in asking.granted:
            break
        running = [name for name in asking.granted if asking.by_name[name].state == "running"]
        asking.end(running[0])
    assert asking.granted.index("large") <= OVERTAKEN_AT_MOST + 3


def test_deep_ones_do_not_starve_a_shallow_one():
    asking = Asking(1)
    asking.ask("d0", depth=5)
    asking.ask("shallow", depth=1)
    for number in range(1, 100):
        asking.ask(f"d{number}", depth=5)
    while "shallow" not in asking.granted:
        asking.end(asking.granted[-1])
    assert asking.granted.index("shallow") <= OVERTAKEN_AT_MOST + 2


def test_who_waits_for_something_else_lends_the_slot_when_it_is_needed():
    asking = Asking(1)
    holder = asking.ask("holder", depth=1)
    asking.ask("waits", depth=1)
    asking.ask("other", depth=1)
    asking.slots.pause(holder)
    asking.slots.soften(asking.by_name["waits"])
    assert asking.granted == ["holder", "waits"] and asking.slots.is_stuck
    # A call of who is paused comes at once, something new does not.
    asking.ask("child", depth=2)
    assert asking.granted == ["holder", "waits", "child"]
    asking.slots.resume(holder)
    asking.end("child")
    assert asking.granted[-1] == "holder"
    assert asking.slots.harden(asking.by_name["waits"]) is False
    asking.slots.resume(asking.by_name["waits"])
    asking.end("holder")
    assert asking.granted[-1] == "waits"


def test_a_softened_one_that_nobody_disturbed_goes_on():
    asking = Asking(1)
    one = asking.ask("one")
    asking.ask("two")
    asking.slots.soften(one)
    assert asking.granted == ["one"]
    assert asking.slots.harden(one) is True
    asking.slots.soften(one)
    assert asking.slots.is_stuck
    asking.slots.yield_one()
    assert asking.granted == ["one", "two"] and not asking.slots.is_stuck


def test_a_capacity_of_its_own_holds_up_nobody_else():
    asking = Asking(4)
    asking.ask("r1", key="replicas", capacity=1)
    asking.ask("r2", key="replicas", capacity=1)
    asking.ask("other")
    assert asking.granted == ["r1", "other"]
    asking.end("r1")
    assert asking.granted == ["r1", "other", "r2"]


def test_who_gives_up_waiting_is_not_granted():
    asking = Asking(1)
    asking.ask("a")
    asking.ask("b")
    asking.ask("c")
    asking.end("b")
    asking.end("a")
    assert asking.granted == ["a", "c"]
    assert asking.slots.waiting == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([0, WHOLE // 2, WHOLE, 3 * WHOLE]),
            st.sampled_from([0, 400, 2000]),
            st.sampled_from([None, "x", "y"]),
        ),
        max_size=30,
    ),
    st.randoms(use_true_random=False),
)
def test_whatever_happens_limits_hold_and_all_run(bodies, asked, chance):
    asking = Asking(bodies, memory=1000)
    paused = set()
    for number, (depth, cpu, memory, key) in enumerate(asked):
        asking.ask(number, depth=depth, cpu=cpu, memory=memory, key=key, capacity=2)
        check(asking, bodies)
    for _ in range(2000):
        running = [n for n, r in asking.by_name.items() if r.state == "running"]
        if not running and not paused:
            break
        if paused and (not running or chance.random() < 0.4):
            number = paused.pop()
            asking.slots.resume(asking.by_name[number])
        elif chance.random() < 0.3:
            number = chance.choice(running)
            asking.slots.pause(asking.by_name[number])
            paused.add(number)
        else:
            asking.end(chance.choice(running))
        check(asking, bodies)
    assert all(request.state == "done" for request in asking.by_name.values())
    assert asking.slots.running == 0 and asking.slots.waiting == 0


def check(asking, bodies):
    running = [r for r in asking.by_name.values() if r.state == "running"]
    assert len(running) == asking.slots.running
    if len(running) > 1:
        assert sum(r.body for r in running) <= bodies * WHOLE
        assert sum(r.cpu for r in running) <= bodies * WHOLE
        assert sum(r.memory for r in running) <= 1000
    for key in ("x", "y"):
        assert sum(r.key == key for r in running) <= 2
    # Nothing is left idle: with nobody running nobody waits.
    assert running or not asking.slots.waiting
