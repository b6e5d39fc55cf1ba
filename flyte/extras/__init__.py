"""Tasks of other kinds than Python functions: containers of any image, and shell scripts in them."""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.extras._container import ContainerTask as ContainerTask

_TABLE = {
    "ContainerTask": "flyte.extras._container",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "ContainerTask",
]
