"""How a conversion says that a value does not fit.

Everything inside the room raises :class:`Mismatch`; each level on the way out adds where inside the value it was.
Only the public methods of a codec turn it into :class:`flyte.errors.TypeTransformerFailedError`.
"""

from typing import Any

from flyte.errors import TypeTransformerFailedError

_SHOWN = 80  # characters of a value's repr that an error shows


class Mismatch(Exception):
    """A value does not fit its declared type.

    :param expected: the expected type, in readable words.
    :param value: the value found.
    :param why: what else to say, a clause.
    :param got: in place of the value's type and repr, what was found.
    """

    def __init__(self, expected: str, value: Any = None, why: str = "", got: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.why = why
        self.got = got
        self.path: list[str] = []

    def under(self, segment: str) -> "Mismatch":
        """The same, one level further out."""
        self.path.append(segment)
        return self

    def failure(self) -> TypeTransformerFailedError:
        """The public error."""
        where = "".join(reversed(self.path))
        found = self.got or f"{_class_name(type(self.value))} {short_repr(self.value)}"
        text = f"expected {self.expected}, got {found}"
        if self.why:
            text += f": {self.why}"
        return TypeTransformerFailedError(f"at {where.lstrip('.')}: {text}" if where else text)


def short_repr(value: Any) -> str:
    """A value's repr, cut to a bounded length; never raises."""
    if isinstance(value, (str, bytes)) and len(value) > _SHOWN:
        value = value[:_SHOWN]
    elif isinstance(value, int) and value.bit_length() > 512:
        return f"of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception as error:
        return f"<repr failed: {type(error).__name__}>"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _class_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def segment(key: Any) -> str:
    """A dict key or an index as a step of a path."""
    return f"[{short_repr(key)}]"
