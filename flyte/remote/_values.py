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

    ``outputs[0]``, ``outputs.o0`` and ``outputs.named_outputs["o0"]`` are the same value.
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

    def __getattr__(self, name: str) -> Any:
        names = self.__dict__.get("_names", ())
        if name in names:
            return self[names.index(name)]
        raise AttributeError(f"no result {name!r}{nearest(name, list(names))}")

    def to_dict(self) -> dict[str, Any]:
        """Name -> value."""
        return self.named_outputs

    def __repr__(self) -> str:
        return f"ActionOutputs({', '.join(f'{name}={value!r}' for name, value in self.named_outputs.items())})"
