"""Documentation of a task."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a reader is told of a task; without it the function's docstring is taken.

    :param description: plain text or Markdown.
    :raises TypeError: not a string.
    """

    description: str

    def __post_init__(self) -> None:
        if not isinstance(self.description, str):
            raise TypeError(f"Documentation(description=...) takes a string, but got {self.description!r}")
