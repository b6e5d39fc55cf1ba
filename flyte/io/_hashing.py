"""Hashes of content, made while it is written or copied; they stand for the content in the keys of the cache.

Knows bytes and values, nothing of storage.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol, Self, runtime_checkable


@runtime_checkable
class HashMethod(Protocol):
    """Something that is shown content piece by piece and then says its hash."""

    def update(self, data: Any, /) -> None:
        """Take the next piece, as a memoryview of bytes."""

    def result(self) -> str:
        """The hash of all that was shown."""
        ...

    def reset(self) -> None:
        """Forget what was shown."""


class HashlibAccumulator:
    """A hash of Python's :mod:`hashlib`, in hexadecimal.

    :param name: its name, such as ``"sha256"``.
    :raises ValueError: hashlib does not know it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._digest = hashlib.new(name, usedforsecurity=False)

    @classmethod
    def from_hash_name(cls, name: str) -> Self:
        """The accumulator of a hash that :mod:`hashlib` knows."""
        return cls(name)

    def update(self, data: Any, /) -> None:
        """Take the next bytes."""
        self._digest.update(data)

    def result(self) -> str:
        """The hexadecimal digest."""
        return self._digest.hexdigest()

    def reset(self) -> None:
        """Start anew."""
        self._digest = hashlib.new(self.name, usedforsecurity=False)

    def __repr__(self) -> str:
        return f"HashlibAccumulator({self.name!r})"


class HashFunction:
    """A function of one's own that says the hash of a whole value.

    For a file the value is all of its bytes, held in memory; prefer :class:`HashlibAccumulator` for large ones.

    :param fn: value -> hash.
    """

    def __init__(self, fn: Callable[[Any], str]) -> None:
        self.fn = fn
        self._result: str | None = None

    @classmethod
    def from_fn(cls, fn: Callable[[Any], str]) -> "HashFunction":
        """A hash method of a function."""
        return cls(fn)

    def update(self, data: Any) -> None:
        """Take the value, whole."""
        self._result = self.fn(data)

    def result(self) -> str:
        """What the function said.

        :raises ValueError: there was no value yet.
        """
        if self._result is None:
            raise ValueError("HashFunction.result() was asked before update()")
        return self._result

    def reset(self) -> None:
        """Forget the value."""
        self._result = None


class Hashing:
    """One content on its way past a hash method, or past none.

    :param method: the method; a hash that is known already; or None.
    :raises TypeError: something else.
    """

    def __init__(self, method: HashMethod | str | None) -> None:
        self._known = method if isinstance(method, str) else None
        self._method = method if not isinstance(method, str) else None
        if self._method is not None and not isinstance(self._method, HashMethod):
            raise TypeError(
                f"hash_method takes a hash, a HashFunction or an object with update, result and reset, got {method!r}"
            )
        self._whole = bytearray() if isinstance(self._method, HashFunction) else None
        if self._method is not None:
            self._method.reset()

    @property
    def update(self) -> Callable[[memoryview], None] | None:
        """What to show the bytes to; None when nobody needs them."""
        if self._whole is not None:
            return self._whole.extend
        return self._method.update if self._method is not None else None

    def result(self) -> str | None:
        """The hash; None without a method."""
        if self._method is None:
            return self._known
        if self._whole is not None:
            self._method.update(bytes(self._whole))
        return self._method.result()
