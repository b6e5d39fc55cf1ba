"""Triggers, schedules, notifications: what is accepted, what is refused and why."""

import datetime
import inspect
import pickle
import re
import subprocess
import sys
import zoneinfo
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyte
from flyte import Cron, FixedRate, OnArtifact, Trigger, TriggeredArtifact, TriggeredPartition, TriggerTime
from flyte._definition.cron import ALIASES, parse_cron
from flyte._definition.notification import Email, NamedDelivery, NamedRule, Notification, Slack, Teams, Webhook
from flyte.models import ActionPhase

ROOT = Path(__file__).parents[2]

# Cron -----------------------------------------------------------------------------------------------------------------


def days(*numbers):
    return frozenset(numbers)


ALL = {
    "minutes": frozenset(range(60)),
    "hours": frozenset(range(24)),
    "days": frozenset(range(1, 32)),
    "months": frozenset(range(1, 13)),
    "weekdays": frozenset(range(7)),
    "either_day": False,
}


@pytest.mark.parametrize(
    ("expression", "differs"),
    [
        ("* * * * *", {}),
        ("0 9 * * *", {"minutes": days(0), "hours": days(9)}),
        ("*/15 * * * *", {"minutes": days(0, 15, 30, 45)}),
        ("5/20 * * * *", {"minutes": days(5, 25, 45)}),
        ("10-20/5 * * * *", {"minutes": days(10, 15, 20)}),
        ("1,2,10-12 * * * *", {"minutes": days(1, 2, 10, 11, 12)}),
        ("59 23 31 12 *", {"minutes": days(59), "hours": days(23), "days": days(31), "months": days(12)}),
        ("* * * JAN,jul *", {"months": days(1, 7)}),
        ("* * * mar-May *", {"months": days(3, 4, 5)}),
        ("* * * * MON-FRI", {"weekdays": days(1, 2, 3, 4, 5)}),
        ("* * * * sun", {"weekdays": days(0)}),
        ("* * * * 7", {"weekdays": days(0)}),
        ("* * * * 5-7", {"weekdays": days(5, 6, 0)}),
        ("* * ? * ?", {}),
        ("* * 13 * FRI", {"days": days(13), "weekdays": days(5), "either_day": True}),
        ("* * */2 * FRI", {"days": frozenset(range(1, 32, 2)), "weekdays": days(5)}),
        ("0 0 29 2 *", {"minutes": days(0), "hours": days(0), "days": days(29), "months": days(2)}),
        ("* * 31 2 MON", {"days": days(31), "months": days(2), "weekdays": days(1), "either_day": True}),
        ("  0   9\t* * *  ", {"minutes": days(0), "hours": days(9)}),
    ],
)
def test_cron_means(expression, differs):
    """X12: names, ranges, steps, lists."""
    fields = parse_cron(expression)
    assert {name: getattr(fields, name) for name in ALL} == {**ALL, **differs}
    assert Cron(expression).expression == expression


@pytest.mark.parametrize(("alias", "expression"), ALIASES.items())
def test_cron_aliases(alias, expression):
    """X12: @hourly and the like mean what crontab(5) says."""
    assert parse_cron(alias) == parse_cron(alias.upper()) == parse_cron(expression)
    assert Cron(alias).expression == alias


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it has 0 fields, not 5"),
        ("bogus", "it has 1 fields, not 5 (minute, hour, day of month, month, day of week)"),
        ("0 0 * *", "it has 4 fields"),
        ("0 0 0 * * *", "it has 6 fields, not 5 (minute, hour, day of month, month, day of week), seconds are not"),
        ("60 * * * *", "minute: 60 is not from 0 to 59"),
        ("-1 * * * *", "minute: there is nothing where there should be a number from 0 to 59"),
        ("* 24 * * *", "hour: 24 is not from 0 to 23"),
        ("* * 0 * *", "day of month: 0 is not from 1 to 31"),
        ("* * 32 * *", "day of month: 32 is not from 1 to 31"),
        ("* * * 0 *", "month: 0 is not from 1 to 12 or JAN, FEB"),
        ("* * * 13 *", "month: 13 is not from 1 to 12"),
        ("* * * JANUARY *", "month: 'JANUARY' is not a number from 1 to 12 or JAN, FEB"),
        ("* * * MON *", "month: 'MON' is not"),
        ("* * * * 8", "day of week: 8 is not from 0 to 7 or SUN, MON"),
        ("* * * * MONDAY", "day of week: 'MONDAY' is not"),
        ("*/0 * * * *", "minute: the step in '*/0' is not a number of 1 or more"),
        ("*/ * * * *", "minute: the step in '*/' is not a number"),
        ("*/x * * * *", "minute: the step in '*/x' is not a number"),
        ("*/61 * * * *", "minute: the step in '*/61' is longer than the whole range"),
        ("1/2/3 * * * *", "minute: the step in '1/2/3' is not a number"),
        ("20-10 * * * *", "minute: the range '20-10' runs backwards"),
        ("1-2-3 * * * *", "minute: '2-3' is not a number"),
        ("1, * * * *", "minute: there is nothing where there should be"),
        (",1 * * * *", "minute: there is nothing where there should be"),
        ("? * * * *", "minute: '?' is not a number"),
        ("* * L * *", "day of month: 'L' is not a number"),
        ("* * 15W * *", "day of month: '15W' is not a number"),
        ("* * * * 5#2", "day of week: '5#2' is not a number"),
        ("1.5 * * * *", "minute: '1.5' is not a number"),
        ("\u0661 * * * *", "minute: '\u0661' is not a number"),
        ("0 0 31 2 *", "day 31 never comes in the months it names"),
        ("0 0 30 2 *", "day 30 never comes"),
        ("0 0 31 4,6,9,11 *", "day 31 never comes"),
        ("0 0 31 2 */2", "day 31 never comes"),
        ("@fortnightly", "'@fortnightly' is not one of @yearly, @annually"),
        ("@reboot", "'@reboot' is not one of"),
        ("@every 5m", f"'@every' is not one of {', '.join(ALIASES)}; use FixedRate(minutes) for an interval"),
        ("CRON_TZ=UTC 0 0 * * *", "the time zone is a parameter of its own"),
    ],
)
def test_cron_refused(expression, reason):
    """X12: an invalid expression raises ValueError with the field and the reason."""
    with pytest.raises(ValueError, match=re.escape(f"Cron: expression={expression!r} is not a schedule: {reason}")):
        Cron(expression)


def test_cron_types():
    """X12: texts."""
    with pytest.raises(TypeError, match="expression takes a text"):
        Cron(5)
    with pytest.raises(TypeError, match="timezone takes a name"):
        Cron("* * * * *", None)


RANGES = {"minutes": (0, 59), "hours": (0, 23), "days": (1, 28), "months": (1, 12), "weekdays": (0, 6)}


@st.composite
def written_field(draw, least, most):
    """A field, as text and as the numbers that it means by plain counting."""
    texts, meant = [], set()
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted((draw(st.integers(least, most)), draw(st.integers(least, most))))
        step = draw(st.integers(1, most - least + 1))
        inside = [n for n in range(least, most + 1) if start <= n <= end]
        text, values = draw(
            st.sampled_from(
                [
                    (f"{start}", [start]),
                    (f"{start}-{end}", inside),
                    (f"{start}-{end}/{step}", [n for n in inside if (n - start) % step == 0]),
                ]
            )
        )  # fmt: skip
        texts.append(text)
        meant.update(values)
    return ",".join(texts), frozenset(meant)


@given(st.tuples(*(written_field(*bounds) for bounds in RANGES.values())))
def test_cron_means_what_is_written(fields):
    """X12: any valid expression is read as the sets of numbers that it names."""
    read = parse_cron(" ".join(text for text, _ in fields))
    assert tuple(getattr(read, name) for name in RANGES) == tuple(meant for _, meant in fields)


@given(st.lists(st.sampled_from("0123456789*/-,?LW#@ JANMON"), max_size=20).map("".join))
def test_cron_is_read_or_refused(expression):
    """X12: whatever the text, it is read, or refused with a ValueError of ours."""
    try:
        fields = parse_cron(expression)
    except ValueError as error:
        reason = str(error)
    else:
        reason = f"Cron: expression={expression!r}"
        for name, (least, most) in {**RANGES, "days": (1, 31)}.items():
            assert getattr(fields, name)
            assert getattr(fields, name) <= set(range(least, most + 1))
    assert reason.startswith(f"Cron: expression={expression!r}")


def test_timezone():
    """X12: an IANA name; an unknown one raises, naming the nearest."""
    assert Cron("0 0 * * *").timezone == "UTC"
    assert Cron("0 0 * * *").timezone_expression == "CRON_TZ=UTC 0 0 * * *"
    assert Cron("0 0 * * *", "America/New_York").timezone_expression == "CRON_TZ=America/New_York 0 0 * * *"
    with pytest.raises(ValueError, match="timezone='Europe/Pariss' is not known; did you mean 'Europe/Paris'"):
        Cron("0 0 * * *", "Europe/Pariss")
    for bad in ("Mars/X", "", "../etc/passwd", "/etc/localtime", "Europe"):
        with pytest.raises(ValueError, match=re.escape(f"timezone={bad!r} is not known")):
            Cron("0 0 * * *", bad)


def test_timezone_without_a_database():
    """X12: where there is no time zone database, as in a slim container, the user's file still imports."""
    program = (
        "import sys; sys.modules['tzdata'] = None\n"
        "import flyte, zoneinfo\n"
        "assert not zoneinfo.available_timezones()\n"
        "print(flyte.Cron('0 0 * * *', 'Europe/Paris').timezone)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONTZPATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("Europe/Paris", "")


def test_timezones_are_loaded_when_used():
    """Start-up: zoneinfo is imported for a time zone that is not UTC."""
    program = "import flyte, sys; flyte.Cron('@daily'); print('zoneinfo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
    assert "Europe/Paris" in zoneinfo.available_timezones()  # else the tests above show nothing


# Rates and artifacts --------------------------------------------------------------------------------------------------


def test_fixed_rate():
    """X12: minutes between, and a start."""
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    assert FixedRate(5, start) == FixedRate(interval_minutes=5, start_time=start)
    assert FixedRate(5).start_time is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FixedRate(0), ValueError, "interval_minutes=0 is not allowed; give 1 or more"),
        (lambda: FixedRate(-1), ValueError, "interval_minutes=-1"),
        (lambda: FixedRate(1.5), TypeError, "interval_minutes takes a whole number of minutes, got 1.5"),
        (lambda: FixedRate(True), TypeError, "interval_minutes takes"),
        (lambda: FixedRate(5, "now"), TypeError, "start_time takes a datetime, got 'now'"),
        (lambda: OnArtifact(""), ValueError, "OnArtifact: name='' is empty"),
        (lambda: OnArtifact(3), TypeError, "name and version take texts"),
        (lambda: OnArtifact("x", region=3), TypeError, "partition 'region' takes a text, got 3; write '3'"),
        (lambda: OnArtifact("x", region=TriggerTime), TypeError, "partition 'region' takes a text, got TriggerTime"),
        (lambda: TriggeredPartition(""), ValueError, "TriggeredPartition: key='' is empty"),
        (lambda: TriggeredPartition(3), TypeError, "key takes a text"),
    ],
)
def test_automation_refused(make, error, message):
    """X12: zero interval, empty names, other types."""
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_on_artifact():
    """Section 14 (OnArtifact): partitions as a dict, as keywords, or both; keywords win."""
    assert OnArtifact("x", region="eu").partitions == {"region": "eu"}
    assert OnArtifact("x", partitions={"a": "b"}, region="eu").partitions == {"a": "b", "region": "eu"}
    assert OnArtifact("x", partitions={"a": "b"}, a="c") == OnArtifact("x", a="c")
    assert OnArtifact("x", "1").version == "1"
    assert OnArtifact("x").partitions is None


# Triggers -------------------------------------------------------------------------------------------------------------


def test_trigger_in_the_documented_order():
    """X12: all parameters, positional, with their defaults."""
    assert list(inspect.signature(Trigger).parameters) == [
        "name", "automation", "description", "auto_activate", "inputs", "env_vars", "interruptible", "overwrite_cache",
        "queue", "max_action_concurrency", "labels", "annotations", "notifications", "custom_context",
    ]  # fmt: skip
    trigger = Trigger("nightly", Cron("@daily"))
    assert (trigger.description, trigger.auto_activate, trigger.overwrite_cache) == ("", True, False)
    assert trigger.inputs is trigger.env_vars is trigger.interruptible is trigger.queue is trigger.labels is None


@pytest.mark.parametrize(
    ("make", "expression", "description"),
    [
        (Trigger.hourly, "0 * * * *", "A trigger that runs every hour"),
        (Trigger.daily, "0 0 * * *", "A trigger that runs daily at midnight"),
        (Trigger.weekly, "0 0 * * 0", "A trigger that runs weekly on Sundays at midnight"),
        (Trigger.monthly, "0 0 1 * *", "A trigger that runs monthly on the 1st at midnight"),
        (Trigger.minutely, "* * * * *", "A trigger that runs every minute"),
    ],
)
def test_scheduled_constructors(make, expression, description):
    """X12: hourly, daily, weekly, monthly, minutely; the first argument names the time input."""
    plain = make()
    assert (plain.name, plain.automation, plain.description) == (make.__name__, Cron(expression), description)
    assert plain.inputs == {}
    bound = make("at", inputs={"n": 3}, name="mine", queue="q", max_action_concurrency=2)
    assert bound.inputs == {"at": TriggerTime, "n": 3}
    assert (bound.name, bound.queue, bound.max_action_concurrency) == ("mine", "q", 2)
    assert make("at", inputs={"at": 3}).inputs == {"at": 3}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": ""}, ValueError, "Trigger: name is empty"),
        ({"name": "  "}, ValueError, "Trigger: name is empty"),
        ({"name": 3}, TypeError, "name takes a text, got 3"),
        ({"automation": "0 0 * * *"}, TypeError, "got '0 0 * * *'; write flyte.Cron('0 0 * * *')"),
        ({"automation": 5}, TypeError, "automation takes a flyte.Cron, FixedRate or OnArtifact, got 5"),
        ({"auto_activate": "no"}, TypeError, "auto_activate takes True or False, got 'no'"),
        ({"overwrite_cache": None}, TypeError, "overwrite_cache takes True or False"),
        ({"env_vars": {"A": 1}}, TypeError, "Trigger 't': env_vars['A'] takes a text, got 1; write '1'"),
        ({"labels": [1]}, TypeError, "labels takes a dict of texts"),
        ({"inputs": [("a", 1)]}, TypeError, "inputs takes a dict"),
        ({"inputs": {1: 1}}, TypeError, "inputs takes names of inputs as keys, got 1"),
        ({"max_action_concurrency": 1}, ValueError, "max_action_concurrency=1 is not allowed, a parent holds a place"),
        ({"max_action_concurrency": -1}, ValueError, "give 2 or more, or 0 for the platform's default"),
        ({"max_action_concurrency": "2"}, TypeError, "max_action_concurrency takes a whole number, got '2'"),
        ({"notifications": 3}, TypeError, "notifications takes a notification such as flyte.notify.Email"),
        ({"notifications": ("a",)}, TypeError, "notifications takes"),
        ({"inputs": {"t": TriggerTime}}, ValueError, "input 't' is bound to TriggerTime, which only a schedule has"),
        (
            {"automation": OnArtifact("x"), "inputs": {"t": TriggerTime}},
            ValueError,
            "input 't' is bound to TriggerTime, which only a schedule has",
        ),
        (
            {"automation": Cron("@daily"), "inputs": {"t": TriggeredArtifact}},
            ValueError,
            "input 't' is bound to TriggeredArtifact, which only a trigger on an artifact has",
        ),
        (
            {"automation": FixedRate(1), "inputs": {"t": TriggeredPartition("k")}},
            ValueError,
            "input 't' is bound to TriggeredPartition(key='k'), which only a trigger on an artifact has",
        ),
        (
            {"automation": Cron("@daily"), "inputs": {"t": TriggerTime, "u": TriggerTime}},
            ValueError,
            "inputs ['t', 'u'] are all bound to TriggerTime; a trigger fills one input",
        ),
    ],
)
def test_trigger_refused(arguments, error, message):
    """X12: an empty name, other types, inputs bound to what the automation does not have."""
    with pytest.raises(error, match=re.escape(message)):
        Trigger(**{"name": "t", **arguments})


@pytest.mark.parametrize("limit", [None, 0, 2, 100])
def test_max_action_concurrency(limit):
    """Section 14 (max_action_concurrency): the platform's default, or 2 and more."""
    assert Trigger("t", max_action_concurrency=limit).max_action_concurrency == limit


def test_bindings():
    """X12: TriggerTime on schedules, artifact and partition on artifacts."""
    for automation in (Cron("@daily"), FixedRate(5)):
        assert Trigger("t", automation, inputs={"at": TriggerTime}).inputs["at"] is TriggerTime
    inputs = {"a": TriggeredArtifact, "p": TriggeredPartition("region"), "n": 1}
    assert Trigger("t", OnArtifact("x"), inputs=inputs).inputs == inputs


def test_there_is_one_trigger_time():
    """X12: the marks stay themselves when pickled."""
    for mark in (TriggerTime, TriggeredArtifact):
        assert pickle.loads(pickle.dumps(mark)) is mark
    assert (repr(TriggerTime), repr(TriggeredArtifact)) == ("TriggerTime", "TriggeredArtifact")
    trigger = Trigger("t", Cron("@daily"), inputs={"at": TriggerTime})
    assert pickle.loads(pickle.dumps(trigger)) == trigger


def test_triggers_of_a_task():
    """F23: a trigger given to the decorator is on the task."""
    env = flyte.TaskEnvironment("triggered")

    @env.task(triggers=Trigger.daily("at"))
    async def nightly(at: datetime.datetime) -> None: ...

    assert nightly.triggers == (Trigger.daily("at"),)


# Notifications --------------------------------------------------------------------------------------------------------

FAILED = ActionPhase.FAILED


def test_notifications():
    """Section 14 (notifications): one, several or a rule known by name."""
    email = Email(on_phase=FAILED, recipients=("a@example.org",))
    slack = Slack(on_phase=[FAILED, ActionPhase.ABORTED], webhook_url="https://hooks.example/T0/secret")
    for several in (email, (email, slack), NamedRule("team")):
        assert Trigger("t", notifications=several).notifications == several
    assert email.on_phase == (FAILED,)
    assert slack.on_phase == (FAILED, ActionPhase.ABORTED)
    assert "{{.Run.Name}}" in email.subject
    for one in (email, slack, NamedDelivery(on_phase=FAILED, name="d")):
        assert isinstance(one, Notification)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Email(on_phase=ActionPhase.RUNNING, recipients=("a@b",)), ValueError, "nothing is sent on_phase="),
        (lambda: Email(on_phase=(), recipients=("a@b",)), ValueError, "on_phase=() is empty"),
        (lambda: Email(on_phase="failed", recipients=("a@b",)), TypeError, "takes flyte.models.ActionPhase values"),
        (lambda: Email(on_phase=FAILED, recipients=()), ValueError, "recipients=() is empty"),
        (lambda: Email(on_phase=FAILED, recipients="a@b"), TypeError, "recipients takes a tuple of addresses"),
        (lambda: Email(on_phase=FAILED, recipients=("a",)), ValueError, "which is not an e-mail address"),
        (lambda: Slack(on_phase=FAILED, webhook_url="x"), ValueError, "webhook_url must be an address"),
        (lambda: Teams(on_phase=FAILED, webhook_url=""), ValueError, "webhook_url='' is empty"),
        (
            lambda: Webhook(on_phase=FAILED, url="https://x", method="SEND"),
            ValueError,
            "method='SEND' is not one of POST",
        ),
        (lambda: NamedRule(""), ValueError, "NamedRule: name='' is empty"),
        (lambda: NamedDelivery(on_phase=FAILED, name=""), ValueError, "name='' is empty"),
    ],
)
def test_notifications_refused(make, error, message):
    """Section 14 (notifications): phases that nothing is sent on, bad addresses."""
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_addresses_that_are_secrets_are_not_shown():
    """Section 14 (notifications): who has a web hook's address can write there."""
    address = "https://hooks.example/T0/secret"
    for one in (
        Slack(on_phase=FAILED, webhook_url=address),
        Teams(on_phase=FAILED, webhook_url=address),
        Webhook(on_phase=FAILED, url=address, headers={"Authorization": "secret"}),
    ):
        assert "secret" not in repr(one)
        assert "secret" not in repr(Trigger("t", notifications=one))
