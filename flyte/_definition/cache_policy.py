"""The seam for what a cached result's version follows from: a policy, and what it may look at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from flyte._core.code_bundle import CodeBundle

    from .image import Image

P = ParamSpec("P")
FuncOut = TypeVar("FuncOut")


@dataclass(frozen=True, slots=True)
class VersionParameters(Generic[P, FuncOut]):
    """What a cache policy may look at.

    :param func: the task's function; None for a task that is not a function.
    :param image: the task's image, or its URI.
    :param code_bundle: the code that the task runs from.
    """

    func: Callable[P, FuncOut] | None
    image: "str | Image | None" = None
    code_bundle: "CodeBundle | None" = None


@runtime_checkable
class CachePolicy(Protocol):
    """Says which version a task is of: results of one version are not used for another."""

    def get_version(self, salt: str, params: VersionParameters[..., Any]) -> str:
        """The version of the task that ``params`` describes.

        :param salt: the cache's salt; another salt must give another version.
        """
        ...
