"""Runs and their actions, as objects: the history of this machine, and what a control plane knows.

A face: names are resolved on first use, so importing this package loads neither SQLite nor protobuf.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.remote._actions import Action as Action
    from flyte.remote._auth_metadata import auth_metadata as auth_metadata
    from flyte.remote._conditions import Condition as Condition
    from flyte.remote._details import ActionDetails as ActionDetails
    from flyte.remote._identity import TimeFilter as TimeFilter
    from flyte.remote._literals import PickledValue as PickledValue
    from flyte.remote._literals import UnreadValue as UnreadValue
    from flyte.remote._projects import Project as Project
    from flyte.remote._runs import Run as Run
    from flyte.remote._runs import RunDetails as RunDetails
    from flyte.remote._secrets import Secret as Secret
    from flyte.remote._secrets import SecretTypes as SecretTypes
    from flyte.remote._tasks import Task as Task
    from flyte.remote._tasks import TaskDetails as TaskDetails
    from flyte.remote._triggers import Trigger as Trigger
    from flyte.remote._triggers import TriggerDetails as TriggerDetails
    from flyte.remote._uploads import upload_dir as upload_dir
    from flyte.remote._uploads import upload_file as upload_file
    from flyte.remote._users import User as User
    from flyte.remote._values import ActionInputs as ActionInputs
    from flyte.remote._values import ActionOutputs as ActionOutputs

_TABLE = {
    "Action": "flyte.remote._actions",
    "ActionDetails": "flyte.remote._details",
    "ActionInputs": "flyte.remote._values",
    "ActionOutputs": "flyte.remote._values",
    "Condition": "flyte.remote._conditions",
    "PickledValue": "flyte.remote._literals",
    "Project": "flyte.remote._projects",
    "Run": "flyte.remote._runs",
    "RunDetails": "flyte.remote._runs",
    "Secret": "flyte.remote._secrets",
    "SecretTypes": "flyte.remote._secrets",
    "Task": "flyte.remote._tasks",
    "TaskDetails": "flyte.remote._tasks",
    "TimeFilter": "flyte.remote._identity",
    "Trigger": "flyte.remote._triggers",
    "TriggerDetails": "flyte.remote._triggers",
    "UnreadValue": "flyte.remote._literals",
    "User": "flyte.remote._users",
    "auth_metadata": "flyte.remote._auth_metadata",
    "upload_dir": "flyte.remote._uploads",
    "upload_file": "flyte.remote._uploads",
}
_MISSING = {
    "App": "apps is not built yet",
    "Artifact": "artifacts are not built yet",
    "PartitionSchema": "artifacts are not built yet",
    "Settings": "settings of a control plane are not built yet",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE, _MISSING)

__all__ = [
    "Action",
    "ActionDetails",
    "ActionInputs",
    "ActionOutputs",
    "Condition",
    "PickledValue",
    "Project",
    "Run",
    "RunDetails",
    "Secret",
    "SecretTypes",
    "Task",
    "TaskDetails",
    "TimeFilter",
    "Trigger",
    "TriggerDetails",
    "UnreadValue",
    "User",
    "auth_metadata",
    "upload_dir",
    "upload_file",
]
