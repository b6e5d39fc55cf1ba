"""The values that definitions, runs and plugins are described with."""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte._core.code_bundle import CodeBundle, SerializationContext
    from flyte._core.context import NULL_TASK_CONTEXT, TaskContext
    from flyte._core.identity import ActionID, ActionPhase
    from flyte._core.identity import random_run_name as generate_random_name
    from flyte._core.interface import Docstring, NativeInterface, extract_return_annotation
    from flyte._core.paths import CheckpointPaths, GroupData, PathRewrite, RawDataPath
    from flyte._definition.task import MAX_INLINE_IO_BYTES

_TABLE = {
    "ActionID": "flyte._core.identity",
    "ActionPhase": "flyte._core.identity",
    "CheckpointPaths": "flyte._core.paths",
    "CodeBundle": "flyte._core.code_bundle",
    "Docstring": "flyte._core.interface",
    "GroupData": "flyte._core.paths",
    "MAX_INLINE_IO_BYTES": "flyte._definition.task",
    "NULL_TASK_CONTEXT": "flyte._core.context",
    "NativeInterface": "flyte._core.interface",
    "PathRewrite": "flyte._core.paths",
    "RawDataPath": "flyte._core.paths",
    "SerializationContext": "flyte._core.code_bundle",
    "TaskContext": "flyte._core.context",
    "extract_return_annotation": "flyte._core.interface",
    "generate_random_name": "flyte._core.identity:random_run_name",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "ActionID",
    "ActionPhase",
    "CheckpointPaths",
    "CodeBundle",
    "Docstring",
    "GroupData",
    "MAX_INLINE_IO_BYTES",
    "NULL_TASK_CONTEXT",
    "NativeInterface",
    "PathRewrite",
    "RawDataPath",
    "SerializationContext",
    "TaskContext",
    "extract_return_annotation",
    "generate_random_name",
]
