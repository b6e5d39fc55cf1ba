"""What tells a task's calls from those of others: in the names of actions, in the cache, and for recovery."""

from typing import Any

from flyte._core.identity import hash_data
from flyte._definition.discovery import discovery_version
from flyte._definition.task import TaskTemplate
from flyte._definition.work import work_version as work_version
from flyte.types._interface import interface_hash


def identity_of(task: TaskTemplate[Any, Any, Any]) -> str:
    """Hash of what is called: name, interface and version (wire-protocol section 6.2)."""
    return hash_data(f"{task.name}-{interface_hash(task.interface)}-{discovery_version(task)}".encode())


def lasting_of(task: TaskTemplate[Any, Any, Any]) -> str:
    """Hash of what is called that stays when its code is edited: name and interface."""
    return hash_data(f"{task.name}-{interface_hash(task.interface)}".encode())
