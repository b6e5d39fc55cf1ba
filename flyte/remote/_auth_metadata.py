"""Headers that a program hands on from its own callers; with ``flyte.init_passthrough`` the calls carry them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_handed_on: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("flyte_auth_metadata", default=())


@contextmanager
def auth_metadata(*kv: tuple[str, str]) -> Iterator[None]:
    """Calls to the control plane within the block carry these headers, if ``flyte.init_passthrough`` was called.

    :param kv: names and values, such as ``("authorization", "Bearer ...")``.
    :raises TypeError: not a pair of texts.
    """
    for pair in kv:
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            # Not repeated: half of it may be a token.
            raise TypeError("auth_metadata takes pairs of texts, such as ('authorization', 'Bearer ...')")
    token = _handed_on.set(tuple((name.lower(), value) for name, value in kv))
    try:
        yield
    finally:
        _handed_on.reset(token)


def handed_on() -> tuple[tuple[str, str], ...]:
    """The headers of the surrounding blocks' innermost."""
    return _handed_on.get()
