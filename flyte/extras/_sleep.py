"""Tasks that only let time pass: a control plane does that without a container (its plugin ``core-sleep``)."""

from dataclasses import dataclass
from typing import Any

from flyte._definition.plugin import TaskPluginRegistry
from flyte._definition.task import AsyncFunctionTaskTemplate


@dataclass
class Sleep:
    """``plugin_config`` of an environment whose tasks sleep; how long is an ordinary input of the task.

    In this process the function's own body runs.
    """


@dataclass(kw_only=True, eq=False)
class SleepTask(AsyncFunctionTaskTemplate[Any, Any, Any]):
    """The task of an environment with ``plugin_config=Sleep()``."""

    task_type: str = "core-sleep"


TaskPluginRegistry.register(Sleep, SleepTask)
