"""Local equals remote: each program gives the same on this machine as it does on a devbox."""

import pytest
from conformance_programs import programs
from conformance_programs.differences import DIFFERENCES


def _programs():
    found = []
    for name in programs():
        why = DIFFERENCES.get(name)
        marks = [pytest.mark.xfail(reason=why, strict=True, raises=AssertionError)] if why is not None else []
        found.append(pytest.param(name, marks=marks, id=name))
    return found


@pytest.mark.parametrize("name", _programs())
def test_local_equals_remote(name, seen):
    here, there = seen(name)
    assert there == here


def test_the_suite_is_as_large_as_it_says():
    assert len(programs()) >= 120
    assert DIFFERENCES.keys() <= programs().keys()
