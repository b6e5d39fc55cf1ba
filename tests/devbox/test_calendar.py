"""When triggers fire."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from flyteidl2.task.common_pb2 import FixedRateUnit, Schedule, TriggerAutomationSpec, TriggerAutomationSpecType
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte.devbox._calendar import check_schedule, next_after, read_cron
from flyte.devbox._refusal import Refusal


def seconds(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("* * * * *", "2026-03-01T10:00:30", "2026-03-01T10:01:00"),
        ("* * * * *", "2026-03-01T10:00:00", "2026-03-01T10:01:00"),
        ("30 9 * * MON-FRI", "2026-03-06T09:30:00", "2026-03-09T09:30:00"),
        ("*/20 8-9 * * *", "2026-03-01T08:41:00", "2026-03-01T09:00:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * 5", "2026-03-01T00:00:00", "2026-03-06T00:00:00"),
        ("0 0 1 JAN ?", "2026-03-01T00:00:00", "2027-01-01T00:00:00"),
        ("5,10 0 * * 7", "2026-03-01T00:05:00", "2026-03-01T00:10:00"),
        ("@weekly", "2026-03-02T00:00:00", "2026-03-08T00:00:00"),
    ],
)
def test_cron(expression, after, expected):
    assert read_cron(expression).after(seconds(after)) == seconds(expected)


def test_cron_in_a_zone_whose_clocks_change():
    daily = read_cron("30 2 * * *", "Europe/Berlin")
    # On 29 March 2026 there is no half past two; it comes when the clocks have been set forward.
    assert daily.after(seconds("2026-03-28T12:00:00")) == seconds("2026-03-29T01:30:00")
    assert daily.after(seconds("2026-03-29T01:30:00")) == seconds("2026-03-30T00:30:00")
    # On 25 October there are two; the first is it.
    assert daily.after(seconds("2026-10-24T12:00:00")) == seconds("2026-10-25T00:30:00")
    assert daily.after(seconds("2026-10-25T00:30:00")) == seconds("2026-10-26T01:30:00")
    hourly = read_cron("0 * * * *", "Europe/Berlin")
    assert hourly.after(seconds("2026-10-25T00:00:00")) == seconds("2026-10-25T01:00:00")


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "60 * * * *", "* * * * MOO", "5-1 * * * *", "*/0 * * * *", "a * * * *"]
)
def test_what_means_nothing_is_refused(expression):
    automation = TriggerAutomationSpec(
        type=TriggerAutomationSpecType.TYPE_SCHEDULE, schedule={"cron": {"expression": expression}}
    )
    with pytest.raises(Refusal):
        check_schedule("t", automation)


def test_a_zone_that_is_not_there():
    with pytest.raises(ValueError, match="no time zone 'Mars/Base'"):
        read_cron("* * * * *", "Mars/Base")


def test_rates():
    schedule = Schedule(rate={"value": 2, "unit": FixedRateUnit.FIXED_RATE_UNIT_MINUTE})
    assert next_after(schedule, 1000.0, 1000.0) == 1120.0
    assert next_after(schedule, 1119.9, 1000.0) == 1120.0
    assert next_after(schedule, 1120.0, 1000.0) == 1240.0
    schedule.rate.start_time.FromSeconds(5000)
    assert [next_after(schedule, at, 0.0) for at in (10.0, 4999.0, 5000.0)] == [5000.0, 5000.0, 5120.0]
    with pytest.raises(ValueError, match="rate of 0"):
        next_after(Schedule(rate={"value": 0, "unit": FixedRateUnit.FIXED_RATE_UNIT_DAY}), 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe"]),
)
def test_daily_times_come_daily_and_in_order(minute, hour, start, zone):
    cron = read_cron(f"{minute} {hour} * * *", zone)
    at = start.replace(tzinfo=UTC).timestamp()
    previous = None
    for _ in range(4):
        after = cron.after(at)
        assert after is not None and after > at
        if previous is not None:
            assert 22 * 3600 <= after - previous <= 26 * 3600
        at = previous = after
