"""What a control plane has said of an action's children; pure: updates in, settled children out.

Updates may be repeated, come out of order, skip phases, or be lost and come again with the next snapshot; a child that
has ended never goes back. State is keyed by the child's name inside one (run, parent), which is one ledger.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flyte._core.identity import ActionPhase
from flyte._wire.actions import ActionNews


@dataclass(slots=True)
class Child:
    """What is known of one child."""

    name: str
    phase: ActionPhase | None = None
    output_uri: str = ""
    error: Any = None
    value: Any = None

    @property
    def is_known(self) -> bool:
        """Whether the control plane has ever spoken of it."""
        return self.phase is not None

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.phase is not None and self.phase.is_terminal


class Ledger:
    """The children of one action.

    :param parent: name of the action.
    """

    __slots__ = ("_children", "has_snapshot", "parent")

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.has_snapshot = False
        """Whether the control plane has said all that it knew when it was asked."""
        self._children: dict[str, Child] = {}

    def child(self, name: str) -> Child:
        """What is known of the child called ``name``, also if that is nothing."""
        known = self._children.get(name)
        if known is None:
            known = self._children[name] = Child(name)
        return known

    def apply(self, update: ActionNews) -> Child | None:
        """Take in an update; gives the child if it has ended with it."""
        if update.name is None or update.name == self.parent:  # a snapshot may hold the parent itself
            return None
        child = self.child(update.name)
        if child.has_ended or update.phase is None:
            return None
        if update.phase is not child.phase:
            child.phase = update.phase
            child.error = update.error
        elif update.error is not None:
            child.error = update.error
        child.output_uri = update.output_uri or child.output_uri
        if update.value is not None:
            child.value = update.value
        return child if child.has_ended else None

    def reconnected(self) -> None:
        """A new stream begins, and with it a new snapshot."""
        self.has_snapshot = False

    def snapshot_ends(self) -> None:
        """Everything that was known has been said."""
        self.has_snapshot = True

    def forget(self, name: str) -> None:
        """Nobody asks for this child any more."""
        self._children.pop(name, None)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children.values()))

    def __len__(self) -> int:
        return len(self._children)
