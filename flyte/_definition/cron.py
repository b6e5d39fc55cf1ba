"""Cron expressions, read strictly: what they mean, or why they mean nothing.

Five fields as in crontab(5): minute, hour, day of month, month, day of week; each ``*``, a number, a name (``JAN``,
``MON``), a range, a list, with a step. Day of week is 0 to 7, Sunday being both. Where a day of the month and a day of
the week are given, either is enough. Pure: nothing here looks at a clock.
"""

from dataclasses import dataclass

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: number for number, name in enumerate(_DAY_NAMES)}
_NO_NAMES: dict[str, int] = {}
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@dataclass(frozen=True, slots=True)
class CronFields:
    """The times that an expression names: it fires where minute, hour, month and day all fit.

    :param days: days of the month, 1 to 31.
    :param weekdays: 0 to 6, from Sunday.
    :param either_day: whether a day that fits either of the two is enough; else it has to fit both.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool


def parse_cron(expression: str) -> CronFields:
    """What ``expression`` means.

    :param expression: five fields, or one of :data:`ALIASES`.
    :raises ValueError: it means nothing, or names a day that never comes; the message says which field and why.
    """
    text = expression.strip()
    if text.startswith("@"):
        alias = ALIASES.get(text.lower())
        if alias is None:
            remedy = "; use FixedRate(minutes) for an interval" if text.lower().startswith("@every") else ""
            raise _wrong(expression, f"{text.split()[0]!r} is not one of {', '.join(ALIASES)}{remedy}")
        text = alias
    if text.upper().startswith(("CRON_TZ=", "TZ=")):
        raise _wrong(expression, "the time zone is a parameter of its own; write Cron(expression, timezone='...')")
    parts = text.split()
    if len(parts) != 5:
        hint = ", seconds are not supported" if len(parts) == 6 else ""
        raise _wrong(
            expression, f"it has {len(parts)} fields, not 5 (minute, hour, day of month, month, day of week){hint}"
        )
    minutes = _field(expression, "minute", parts[0], 0, 59, _NO_NAMES)
    hours = _field(expression, "hour", parts[1], 0, 23, _NO_NAMES)
    days = _field(expression, "day of month", parts[2], 1, 31, _NO_NAMES, question_mark=True)
    months = _field(expression, "month", parts[3], 1, 12, _MONTHS)
    weekdays = _field(expression, "day of week", parts[4], 0, 7, _DAYS, question_mark=True)
    either_day = parts[2][0] not in "*?" and parts[4][0] not in "*?"
    if not either_day and min(days) > max(_LONGEST_MONTH.get(month, 31) for month in months):
        raise _wrong(expression, f"day {min(days)} never comes in the months it names")
    return CronFields(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either_day)


def _field(
    expression: str, field: str, text: str, least: int, most: int, names: dict[str, int], question_mark: bool = False
) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        span, slash, step_text = item.partition("/")
        if slash and (not _is_number(step_text) or int(step_text) == 0):
            raise _wrong(expression, f"{field}: the step in {item!r} is not a number of 1 or more")
        step = int(step_text) if slash else 1
        if slash and step > most - least + 1:
            raise _wrong(expression, f"{field}: the step in {item!r} is longer than the whole range {least} to {most}")
        if span == "*" or (span == "?" and question_mark):
            first, last = least, most
        elif "-" in span:
            start, _, end = span.partition("-")
            first, last = (_value(expression, field, one, least, most, names) for one in (start, end))
            if first > last:
                raise _wrong(expression, f"{field}: the range {span!r} runs backwards; write it as two, with a comma")
        else:
            first = _value(expression, field, span, least, most, names)
            last = most if slash else first
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _value(expression: str, field: str, text: str, least: int, most: int, names: dict[str, int]) -> int:
    if text.upper() in names:
        return names[text.upper()]
    known = f" or {', '.join(names)}" if names else ""
    if not _is_number(text):
        what = f"{text!r} is not" if text else "there is nothing where there should be"
        raise _wrong(expression, f"{field}: {what} a number from {least} to {most}{known}")
    if not least <= int(text) <= most:
        raise _wrong(expression, f"{field}: {text} is not from {least} to {most}{known}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _wrong(expression: str, reason: str) -> ValueError:
    return ValueError(f"Cron: expression={expression!r} is not a schedule: {reason}")
