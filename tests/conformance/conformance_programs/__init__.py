"""The programs of the suite: each is a root task, its arguments, and how its run is set up."""

from .program import Program


def programs() -> dict[str, Program]:
    """Every program by name."""
    from . import failures, flow, frames, steps, surroundings, values, wishes

    found: dict[str, Program] = {}
    for module in (values, flow, failures, frames, steps, surroundings, wishes):
        assert not found.keys() & module.PROGRAMS.keys()
        found |= module.PROGRAMS
    return found
