"""When triggers fire: cron expressions and fixed rates. Pure: moments in, moments out.

Whoever deploys a trigger has had its expression read strictly by then; here it is read as crontab(5) means it, and
what means nothing is refused all the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flyteidl2.task.common_pb2 import FixedRateUnit, Schedule, TriggerAutomationSpec, TriggerAutomationSpecType

from ._refusal import Code, Refusal

_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_UNITS_S = {
    FixedRateUnit.FIXED_RATE_UNIT_MINUTE: 60,
    FixedRateUnit.FIXED_RATE_UNIT_HOUR: 3600,
    FixedRateUnit.FIXED_RATE_UNIT_DAY: 86400,
}
# 29 February may be eight years away.
_LONGEST = timedelta(days=8 * 366 + 1)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, in a time zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: tzinfo

    def after(self, moment: float) -> float | None:
        """The first time after ``moment``, in seconds since the epoch; None if there is none within eight years."""
        start = datetime.fromtimestamp(moment, self.zone)
        day = start.date()
        # A day earlier, as clocks may have been set back since; what is not after the moment is passed over.
        for offset in range(-1, _LONGEST.days):
            for at in self._times_of(day + timedelta(days=offset)):
                if at > moment:
                    return at
        return None

    def _times_of(self, day: date) -> Iterator[float]:
        """The times of a day, in order."""
        if day.month not in self.months:
            return
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if not (by_day or by_weekday if self.either_day else by_day and by_weekday):
            return
        moments: set[float] = set()
        for hour in self.hours:
            for minute in self.minutes:
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                # A time that clocks skip comes when they have been set forward; one that they show twice comes once,
                # unless the expression is for every hour.
                moments.add(local.timestamp())
                if len(self.hours) == 24:
                    moments.add(local.replace(fold=1).timestamp())
        yield from sorted(moments)


def read_cron(expression: str, zone: str = "") -> Cron:
    """What an expression means.

    :param zone: name of its time zone; UTC if empty.
    :raises ValueError: it means nothing, or there is no such zone.
    """
    try:
        where: tzinfo = ZoneInfo(zone) if zone else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {zone!r}") from None
    parts = _ALIASES.get(expression.strip().lower(), expression).split()
    if len(parts) != 5:
        raise ValueError(f"cron expression {expression!r} has {len(parts)} fields, not 5")
    minutes = _field(expression, parts[0], 0, 59, {})
    hours = _field(expression, parts[1], 0, 23, {})
    days = _field(expression, parts[2], 1, 31, {})
    months = _field(expression, parts[3], 1, 12, _MONTHS)
    weekdays = frozenset(day % 7 for day in _field(expression, parts[4], 0, 7, _DAYS))
    either = parts[2][0] not in "*?" and parts[4][0] not in "*?"
    return Cron(tuple(sorted(minutes)), tuple(sorted(hours)), days, months, weekdays, either, where)


def _field(expression: str, text: str, least: int, most: int, names: Mapping[str, int]) -> frozenset[int]:
    found: set[int] = set()
    try:
        for item in text.split(","):
            span, slash, step = item.partition("/")
            if span in ("*", "?"):
                first, last = least, most
            else:
                start, dash, end = span.partition("-")
                first = names[start.upper()] if start.upper() in names else int(start)
                last = first if not dash else names[end.upper()] if end.upper() in names else int(end)
                last = most if slash and not dash else last
            if not least <= first <= last <= most:
                raise ValueError
            found.update(range(first, last + 1, int(step) if slash else 1))
    except ValueError:
        raise ValueError(f"cron expression {expression!r}: {text!r} is not from {least} to {most}") from None
    return frozenset(found)


def check_schedule(name: str, automation: TriggerAutomationSpec) -> None:
    """Look at a schedule before it is kept.

    :raises Refusal: it is none.
    """
    if automation.type != TriggerAutomationSpecType.TYPE_SCHEDULE:
        return
    try:
        next_after(automation.schedule, 0.0, 0.0)
    except ValueError as error:
        raise Refusal(Code.INVALID, f"trigger {name!r}: {error}") from error


def next_after(schedule: Schedule, moment: float, deployed_at: float) -> float | None:
    """When a schedule fires next after ``moment``; seconds since the epoch, None for never.

    :param deployed_at: where a rate without a start of its own begins.
    :raises ValueError: it is no schedule.
    """
    match schedule.WhichOneof("expression"):
        case "rate":
            rate = schedule.rate
            every_s = rate.value * _UNITS_S.get(rate.unit, 0)
            if every_s <= 0:
                raise ValueError(f"a rate of {rate.value} of unit {rate.unit} is none; give 1 or more minutes")
            start = rate.start_time.ToMilliseconds() / 1000 if rate.HasField("start_time") else deployed_at
            if moment < start:
                return start if rate.HasField("start_time") else start + every_s
            return start + (int((moment - start) // every_s) + 1) * every_s
        case "cron":
            return read_cron(schedule.cron.expression, schedule.cron.timezone).after(moment)
        case "cron_expression":
            return read_cron(schedule.cron_expression).after(moment)
    raise ValueError("the schedule has neither a rate nor a cron expression")
