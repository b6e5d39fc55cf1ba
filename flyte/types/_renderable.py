"""What an annotation may carry to decide how a report shows its value."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Renderable(Protocol):
    """An object that turns a value into HTML: ``Annotated[MyType, MyRenderer()]``."""

    def to_html(self, python_value: Any) -> str:
        """The HTML of a value."""
        ...
