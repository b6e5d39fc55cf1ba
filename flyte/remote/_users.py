"""The person or program that the control plane takes the caller for."""

from collections.abc import Iterator
from typing import Any

from flyte.syncify import syncify

from ._shown import JsonText
from ._whoami import ask_who


class User(JsonText):
    """Who calls. Made by :meth:`get`."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said

    @syncify
    @classmethod
    async def get(cls) -> "User":
        """Ask the control plane.

        :raises flyte.errors.InitializationError: there is no control plane to talk to.
        :raises flyte.errors.UnionRpcError: it could not be asked.
        """
        return cls(await ask_who())

    def name(self) -> str:
        """The name, empty where the control plane knows none."""
        return str(self._said["name"])

    def subject(self) -> str:
        """What identifies the caller, empty where the control plane takes calls without asking."""
        return str(self._said["subject"])

    def to_dict(self) -> dict[str, Any]:
        """All that is known, as plain values for JSON."""
        return dict(self._said)

    def __repr__(self) -> str:
        return f"User(name={self.name()!r}, subject={self.subject()!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name()), ("subject", self.subject()))
