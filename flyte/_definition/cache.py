"""When outputs of an earlier run may be taken: what is asked for, and the version that results are kept under.

Where results are kept is the controller's business; what else a version may follow from is in `cache_policy`.
"""

import ast
import inspect
import textwrap
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, ParamSpec, TypeAlias, TypeVar

from flyte._core.face import nearest

if TYPE_CHECKING:
    from hashlib import _Hash

    from .cache_policy import CachePolicy, VersionParameters

P = ParamSpec("P")
FuncOut = TypeVar("FuncOut")

CacheBehavior: TypeAlias = Literal["auto", "override", "disable"]

# Words that people write for the three, as the published package takes them (wire-protocol section 8).
_BEHAVIORS: dict[str, CacheBehavior] = {
    "auto": "auto",
    "override": "override",
    "disable": "disable",
    "enable": "auto",
    "enabled": "auto",
    "on": "auto",
    "true": "auto",
    "yes": "auto",
    "off": "disable",
    "no": "disable",
    "none": "disable",
    "false": "disable",
}


class FunctionBodyPolicy:
    """The default policy: the version changes when the source of the function does, but not with its layout.

    sha256, in hex, of the dump of the function's syntax tree followed by the salt (wire-protocol section 8); so
    comments and blank lines do not count, and decorators, docstring, signature and body do. Python releases may dump a
    tree differently, so a new Python may be a new version. Each function's source is read once.
    """

    # A hash that has been fed the tree, to be copied for each salt; it goes away with the function.
    _fed: ClassVar["weakref.WeakKeyDictionary[Callable[..., Any], _Hash]"] = weakref.WeakKeyDictionary()

    def get_version(self, salt: str, params: "VersionParameters[..., Any]") -> str:
        """The version of ``params.func``.

        :raises ValueError: there is no function.
        :raises OSError: its source cannot be read, as for a function typed at a prompt.
        """
        func = params.func
        if func is None:
            raise ValueError(
                "cache='auto' takes its version from the source of a function, and this task has none; give one with "
                "Cache('auto', version_override='1')"
            )
        fed = self._fed.get(func)
        if fed is None:
            fed = self._fed[func] = _hash_of_source(func)
        version = fed.copy()
        version.update(salt.encode())
        return version.hexdigest()

    def __repr__(self) -> str:
        return "FunctionBodyPolicy()"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))


def _hash_of_source(func: Callable[..., Any]) -> "_Hash":
    import hashlib

    try:
        tree = dump_of_source(func)
    except (OSError, TypeError, SyntaxError) as error:  # no file (REPL, exec), built-in, or a lambda inside a call
        raise OSError(
            f"cache='auto' takes its version from the source of {getattr(func, '__qualname__', func)!r}, which cannot "
            f"be read ({error}); give a version with Cache('auto', version_override='1')"
        ) from error
    return hashlib.sha256(tree.encode())


def dump_of_source(func: Callable[..., Any]) -> str:
    """The syntax tree of a function's source, as text; comments and blank lines leave no trace in it.

    :raises OSError: there is no source.
    :raises TypeError: it is not a Python function.
    :raises SyntaxError: its source is part of a larger expression.
    """
    source = textwrap.dedent(inspect.getsource(func))
    for _ in range(_PARSED_AT_MOST):
        try:
            return ast.dump(ast.parse(source))
        except SystemError:
            # Python 3.11 counts the depth of a tree in one place for the whole interpreter: when the garbage collector
            # runs a finalizer that parses something too (formatting a traceback does), the outer count is wrong.
            continue
    return ast.dump(ast.parse(source))


_PARSED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Cache:
    """When outputs of an earlier run may stand for those of a new one.

    :param behavior: ``"auto"``: when version and inputs are the same; ``"override"``: likewise, but the version is
        ``version_override`` alone, whatever the code; ``"disable"``: always run. ``enable``, ``enabled``, ``on``,
        ``true``, ``yes`` mean auto; ``off``, ``no``, ``none``, ``false`` mean disable.
    :param version_override: the version, instead of asking the policies.
    :param serialize: of calls at the same time with the same inputs, let one run and the others wait for it.
    :param ignored_inputs: names of inputs, or one name, that make no difference.
    :param salt: another salt is another version.
    :param policies: what the version is made of, all together; default :class:`FunctionBodyPolicy`.
    :param max_age: how old a result may be: seconds or a timedelta; None for any age.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: an unknown behavior, or a negative age.
    """

    behavior: CacheBehavior
    version_override: str | None = None
    serialize: bool = False
    ignored_inputs: tuple[str, ...] | str = field(default_factory=tuple)
    salt: str = ""
    policies: "list[CachePolicy] | CachePolicy | None" = field(default=None, hash=False)
    max_age: timedelta | int | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "behavior", _behavior(self.behavior))
        if self.version_override is not None and not isinstance(self.version_override, str):
            raise TypeError(
                f"Cache: version_override takes a text, got {self.version_override!r}; "
                f"write {str(self.version_override)!r}"
            )
        if not isinstance(self.serialize, bool):
            raise TypeError(f"Cache: serialize takes True or False, got {self.serialize!r}")
        if not isinstance(self.salt, str):
            raise TypeError(f"Cache: salt takes a text, got {self.salt!r}")
        put(self, "ignored_inputs", _names(self.ignored_inputs))
        put(self, "policies", _policies(self.policies))
        if self.max_age is not None:
            put(self, "max_age", _age(self.max_age))

    def is_enabled(self) -> bool:
        """Whether results are kept at all."""
        return self.behavior != "disable"

    def get_ignored_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that make no difference."""
        return _names(self.ignored_inputs)

    def get_version(self, params: "VersionParameters[P, FuncOut] | None" = None) -> str:
        """The version that results are kept under; empty when the cache is off.

        It is ``version_override``, or else the sha256, in hex, of the policies' versions one after the other.

        :param params: what the policies look at.
        :raises ValueError: neither ``version_override`` nor ``params``; ``"override"`` without a version; or a policy
            cannot tell.
        :raises OSError: the default policy could not read the function's source.
        """
        if not self.is_enabled():
            return ""
        if self.version_override is not None:
            return self.version_override
        if self.behavior == "override":
            raise ValueError("Cache('override') keeps results under a version of yours: give it a version_override")
        if params is None:
            raise ValueError(
                f"Cache({self.behavior!r}) has no version: give version_override, or call get_version() with the "
                "VersionParameters that its policies look at"
            )
        import hashlib

        versions = [policy.get_version(self.salt, params) for policy in _policies(self.policies)]
        return hashlib.sha256("".join(versions).encode()).hexdigest()


CacheRequest: TypeAlias = CacheBehavior | Cache
"""What a task's ``cache`` takes."""


def cache_from_request(request: "CacheRequest | str") -> Cache:
    """The cache that a ``cache=`` value asks for.

    :raises ValueError: an unknown word; the message names those that are known.
    :raises TypeError: neither a text nor a :class:`Cache`.
    """
    return request if isinstance(request, Cache) else Cache(behavior=_behavior(request))


def _behavior(word: object) -> CacheBehavior:
    if not isinstance(word, str):
        raise TypeError(f"cache takes 'auto', 'override', 'disable' or a flyte.Cache, got {word!r}")
    behavior = _BEHAVIORS.get(word) or _BEHAVIORS.get(word.lower())
    if behavior is None:
        raise ValueError(
            f"cache={word!r} is not known{nearest(word, _BEHAVIORS)}; use 'auto', 'override' or 'disable' "
            f"(also understood: {', '.join(sorted(set(_BEHAVIORS) - set(_BEHAVIORS.values())))})"
        )
    return behavior


def _names(names: object) -> tuple[str, ...]:
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, (tuple, list, set, frozenset)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"Cache: ignored_inputs takes a name or a tuple of names, got {names!r}")
    # A set has no order of its own, and what is kept must not depend on this process's.
    return tuple(sorted(names) if isinstance(names, (set, frozenset)) else names)


def _policies(policies: Any) -> "list[CachePolicy]":
    if policies is None:
        return [FunctionBodyPolicy()]
    several = list(policies) if isinstance(policies, (list, tuple)) else [policies]
    for policy in several:
        if not callable(getattr(policy, "get_version", None)):
            raise TypeError(f"Cache: policies takes objects with get_version(salt, params), got {policy!r}")
        if isinstance(policy, type):
            raise TypeError(
                f"Cache: policies takes objects, got the class {policy.__name__}; write {policy.__name__}()"
            )
    return several or [FunctionBodyPolicy()]


def _age(age: object) -> timedelta:
    if isinstance(age, bool) or not isinstance(age, (int, float, timedelta)):
        raise TypeError(f"Cache: max_age takes seconds or a timedelta, got {age!r}")
    span = age if isinstance(age, timedelta) else timedelta(seconds=age)
    if span < timedelta():
        raise ValueError(f"Cache: max_age={age!r} is negative; give seconds or a timedelta of 0 or more, or None")
    return span
