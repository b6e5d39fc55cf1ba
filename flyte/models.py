"""The values that definitions, runs and plugins are described with."""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte._core.code_bundle import (
        CodeBundle as CodeBundle,
        SerializationContext as SerializationContext,
    )
    from flyte._core.context import (
        GroupData as GroupData,
        NULL_TASK_CONTEXT as NULL_TASK_CONTEXT,
        RawDataPath as RawDataPath,
        TaskContext as TaskContext,
    )
    from flyte._core.identity import (
        ActionID as ActionID,
        ActionPhase as ActionPhase,
    )
    from flyte._core.interface import (
        Docstring as Docstring,
        NativeInterface as NativeInterface,
        extract_return_annotation as extract_return_annotation,
    )
    from flyte._definition.task import (
        MAX_INLINE_IO_BYTES as MAX_INLINE_IO_BYTES,
    )

_TABLE = {
    "ActionID": "flyte._core.identity",
    "ActionPhase": "flyte._core.identity",
    "CodeBundle": "flyte._core.code_bundle",
    "Docstring": "flyte._core.interface",
    "GroupData": "flyte._core.context",
    "MAX_INLINE_IO_BYTES": "flyte._definition.task",
    "NULL_TASK_CONTEXT": "flyte._core.context",
    "NativeInterface": "flyte._core.interface",
    "RawDataPath": "flyte._core.context",
    "SerializationContext": "flyte._core.code_bundle",
    "TaskContext": "flyte._core.context",
    "extract_return_annotation": "flyte._core.interface",
}

__getattr__, __dir__, __all__ = lazy_face(__name__, _TABLE)
