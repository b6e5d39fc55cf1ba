"""Local equals remote: each program gives the same on this machine as it does on a devbox."""

import pytest
from conformance_programs import programs
from conformance_programs.differences import DIFFERENCES


def parts_that_differ(here, there):
    """Keys of what differs; ``names`` where other actions were made."""
    parts = {key for key in here.keys() | there.keys() if key != "actions" and here.get(key) != there.get(key)}
    mine, other = here.get("actions", {}), there.get("actions", {})
    if mine.keys() != other.keys():
        parts.add("names")
    for name in mine.keys() & other.keys():
        parts |= {key for key in mine[name] if mine[name][key] != other[name][key]}
    return parts


def _programs():
    found = []
    for name in programs():
        why = DIFFERENCES[name][0] if name in DIFFERENCES else None
        marks = [pytest.mark.xfail(reason=why, strict=True, raises=AssertionError)] if why is not None else []
        found.append(pytest.param(name, marks=marks, id=name))
    return found


@pytest.mark.parametrize("name", _programs())
def test_local_equals_remote(name, seen):
    here, there = seen(name)
    if name in DIFFERENCES:
        surprises = parts_that_differ(here, there) - set(DIFFERENCES[name][1].split())
        if surprises:
            pytest.fail(f"{surprises} differ too: {here} {there}")  # which no xfail covers
    assert there == here


def test_the_suite_is_as_large_as_it_says():
    assert len(programs()) >= 248
    assert DIFFERENCES.keys() <= programs().keys()
