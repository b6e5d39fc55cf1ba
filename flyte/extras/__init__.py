"""Tasks of other kinds than Python functions: containers of any image, shell scripts in them, and sleep; TaskSpecs.

A face: names are resolved on first use. Shell scripts are in ``flyte.extras.shell``.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.extras._container import ContainerTask as ContainerTask
    from flyte.extras._serialize import serialize as serialize
    from flyte.extras._serialize import serialize_env as serialize_env
    from flyte.extras._sleep import Sleep as Sleep
    from flyte.extras._sleep import SleepTask as SleepTask

_TABLE = {
    "ContainerTask": "flyte.extras._container",
    "Sleep": "flyte.extras._sleep",
    "SleepTask": "flyte.extras._sleep",
    "serialize": "flyte.extras._serialize",
    "serialize_env": "flyte.extras._serialize",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "ContainerTask",
    "Sleep",
    "SleepTask",
    "serialize",
    "serialize_env",
]
