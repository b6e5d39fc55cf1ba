"""Inputs and outputs of an action."""

from collections import UserDict
from typing import Any, Self

from flyte._core.face import nearest

from ._shown import JsonText


class ActionInputs(UserDict[str, Any], JsonText):
    """The inputs of an action by name, as a dict."""

    def to_dict(self) -> dict[str, Any]:
        """Name -> value."""
        return dict(self.data)


class ActionOutputs(tuple[Any, ...], JsonText):
    """The results of an action: a tuple that also knows the results' names.

    ``outputs[0]``, ``outputs.o0`` and ``outputs.named_outputs["o0"]`` are the same value; ``outputs.value`` is the only
    one. It equals and unpacks like a plain tuple. A task without results gives ``(None,)``.
    """

    _names: tuple[str, ...]

    def __new__(cls, values: tuple[Any, ...], names: tuple[str, ...]) -> Self:
        made = super().__new__(cls, values)
        made._names = names
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self._names

    @property
    def named_outputs(self) -> dict[str, Any]:
        """Name -> value."""
        return dict(zip(self._names, self, strict=True))

    @property
    def value(self) -> Any:
        """The value of the only result.

        :raises ValueError: there are several.
        """
        if len(self) != 1:
            raise ValueError(f"the task has {len(self)} results ({', '.join(self._names)}); name the one you want")
        return self[0]

    def __getattr__(self, name: str) -> Any:
        names = self.__dict__.get("_names", ())
        if name in names:
            return self[names.index(name)]
        # o0, o1, ... also name the results of a NamedTuple by position.
        if name[:1] == "o" and name[1:].isdigit() and int(name[1:]) < len(names):
            return self[int(name[1:])]
        raise AttributeError(f"no result {name!r}{nearest(name, list(names))}")

    def to_dict(self) -> dict[str, Any]:
        """Name -> value."""
        return self.named_outputs

    def __repr__(self) -> str:
        return f"ActionOutputs({', '.join(f'{name}={value!r}' for name, value in self.named_outputs.items())})"
