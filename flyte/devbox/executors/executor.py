"""The seam between the queue and what runs attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt to be made.

    :param argv: the container's command, with its template variables filled in; the first word is its program.
    :param image: image of the container.
    :param env: variables of the container, all that the control plane sets.
    :param folder: an empty folder of the attempt's own, for its working directory and its log.
    """

    argv: Sequence[str]
    image: str
    env: Mapping[str, str]
    folder: Path

    @property
    def log(self) -> Path:
        """The file that takes all that the attempt prints."""
        return self.folder / "log.txt"

    @property
    def work_dir(self) -> Path:
        """Where the attempt starts, and its code is unpacked."""
        return self.folder / "work"


@dataclass(frozen=True, slots=True)
class Exit:
    """How an attempt has ended.

    :param code: its exit code, a signal as a negative number; None if that is not known, because an earlier devbox
        began it, or what it was forked from has ended before it.
    :param peak_bytes: the most memory that it was seen to have in use, all that it started included.
    :param over_limit: it was ended because that was more than it may have.
    """

    code: int | None
    peak_bytes: int = 0
    over_limit: bool = False


class CannotRun(Exception):
    """What was ordered can never run here; the message says why, and what to do.

    :param code: what the failure is called.
    """

    def __init__(self, message: str, code: str = "UnsupportedByDevbox") -> None:
        super().__init__(message)
        self.code = code


class Executor(Protocol):
    """Runs attempts. An attempt outlives the devbox: its ticket is enough to find it again."""

    async def open(self) -> None:
        """Get ready; called on the event loop that all the rest is called on."""
        ...

    async def close(self) -> None:
        """Let go of everything; attempts go on."""
        ...

    def start(self, order: Order) -> str:
        """Begin an attempt, and give its ticket.

        :raises CannotRun: no attempt of this kind can be run here.
        :raises OSError: the machine refuses; another try may go better.
        """
        ...

    def find(self, folder: Path) -> str | None:
        """The ticket of the attempt that was begun in ``folder``, if one was: its start may not have been written."""
        ...

    async def wait(self, ticket: str, memory_bytes: int = 0) -> Exit:
        """Wait until the attempt has ended, and say how.

        :param memory_bytes: end it when it, with all that it started, has more memory in use; 0 for no limit.
        """
        ...

    def is_alive(self, ticket: str) -> bool:
        """Whether the attempt still runs."""
        ...

    async def stop(self, ticket: str, grace_s: float) -> None:
        """End the attempt and all that it started, with force if it has not ended after ``grace_s`` seconds."""
        ...
