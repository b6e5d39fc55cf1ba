"""The project and domain that ids are completed with where nothing else says them."""

from dataclasses import dataclass

from .ambient import Ambient


@dataclass(frozen=True, slots=True)
class Scope:
    """What ``flyte.init`` or the options of a command said; None where they said nothing."""

    project: str | None = None
    domain: str | None = None


chosen_scope: Ambient[Scope] = Ambient("flyte_scope")
"""The scope in force; None if nobody chose one."""
