"""Checks of times and counts that a user gives, each saying what is wrong and what to write instead."""

import math
from datetime import timedelta


def seconds_of(owner: str, parameter: str, value: object) -> float:
    """``value``, seconds or a timedelta, in seconds; checked not to be negative."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{owner}: {parameter} takes seconds or a timedelta, got {value!r}")
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{owner}: {parameter}={value!r} is not a length of time; give 0 or more seconds")
    return seconds


def count_of(owner: str, parameter: str, value: object, least: int) -> int:
    """``value``, a whole number, checked to be ``least`` or more."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}: {parameter} takes a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{owner}: {parameter}={value} is not allowed; give {least} or more")
    return value
