"""What a program of the suite is: a root task, what it is called with, and how its run is set up."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program.

    :param task: the root task.
    :param args: its arguments by name.
    :param settings: what ``flyte.with_runcontext`` is given.
    :param answers: name of a condition -> what it is answered with.
    :param times: how often it is run; the last run is looked at.
    :param in_any_order: which of its actions ended in which way is chance; how many did so is not.
    """

    task: Any
    args: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    times: int = 1
    in_any_order: bool = False
