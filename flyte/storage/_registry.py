"""Stores that others bring, by URI scheme: registered by a program, or by an installed package's entry point.

Knows nothing of what a store does; ``_store`` says that, ``_uri`` asks here for the schemes that are not ours.
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from flyte._core.registry import Registry

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "flyte.plugins.storage"
"""Entry point group of packages that bring a store: its scheme, and a store or what makes one when called."""
METHODS = ("stat", "read", "write", "list")

_registered: Registry[str, Any] = Registry("store")
_made: dict[str, tuple[Any, Any]] = {}


def add(scheme: str, store: Any, taken: object) -> None:
    """Keep a store, or what makes one, for a scheme.

    :param taken: the schemes that flyte serves itself.
    :raises ValueError: it is no scheme, or another store has it.
    :raises TypeError: it is no store.
    """
    if not isinstance(scheme, str) or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise ValueError(f"scheme={scheme!r} is not one of a URI: a letter, then letters, digits, + . -; in lower case")
    if scheme in taken:  # type: ignore[operator]
        raise ValueError(f"scheme={scheme!r} is served by flyte itself; take another one")
    if not _makes_one(store):
        check(scheme, store)
    known = _registered.find(scheme)
    if known is not None and _name(known) == _name(store):  # a cell of a notebook, or a module, that runs again
        _registered.replace(scheme, store)
    else:
        _registered.register(scheme, store)


def is_known(scheme: str) -> bool:
    """Whether somebody brings a store for a scheme."""
    return _registered.find(scheme) is not None or _entry(scheme) is not None


def names() -> list[str]:
    """Every scheme that somebody brings a store for."""
    return sorted({*_registered, *(entry.name for entry in _entries())})


def find(scheme: str) -> Any:
    """The store of a scheme that :func:`is_known`; made on first use.

    :raises ImportError: an installed package's store cannot be loaded.
    :raises TypeError: what was registered makes no store.
    """
    found = _registered.find(scheme)
    if found is None:
        entry = _entry(scheme)
        assert entry is not None, scheme
        found = _loaded(entry)
    known = _made.get(scheme)
    if known is None or known[0] is not found:
        known = _made[scheme] = (found, check(scheme, found() if _makes_one(found) else found))
    return known[1]


def check(scheme: str, store: Any) -> Any:
    """``store`` if it is one.

    :raises TypeError: a method is missing.
    """
    lacking = [name for name in METHODS if not callable(getattr(store, name, None))]
    if lacking:
        raise TypeError(
            f"the store of {scheme}:// is {store!r}, which has no {', '.join(f'{name}()' for name in lacking)}; see "
            "flyte.storage.ObjectStore"
        )
    return store


def _makes_one(store: Any) -> bool:
    return isinstance(store, type) or (callable(store) and not hasattr(store, METHODS[0]))


def _name(store: Any) -> tuple[str, str]:
    named = store if hasattr(store, "__qualname__") else type(store)
    return named.__module__, named.__qualname__


@cache
def _entries() -> "list[EntryPoint]":
    from importlib.metadata import entry_points  # reads mail headers, and so loads all that mail needs

    return list(entry_points(group=ENTRY_POINTS))


def _entry(scheme: str) -> "EntryPoint | None":
    return next((entry for entry in _entries() if entry.name == scheme), None)


@cache
def _loaded(entry: "EntryPoint") -> Any:
    try:
        return entry.load()
    except Exception as error:  # whatever a package's own code raises
        package = f" of {entry.dist.name}" if entry.dist is not None else ""
        raise ImportError(
            f"the store of {entry.name}://, {entry.value}{package}, cannot be loaded: {type(error).__name__}: {error}"
        ) from error
