"""What ``flyte.ctx().checkpoint`` and ``checkpoint_paths`` are; storage is not loaded before somebody asks for them."""

from typing import TYPE_CHECKING

from flyte._core.context import TaskContext, makers

if TYPE_CHECKING:
    from flyte._core.paths import CheckpointPaths
    from flyte.io._checkpoint import Checkpoint


def _checkpoint(context: TaskContext) -> "Checkpoint | None":
    from flyte.io._checkpoint import AttemptCheckpoint, Checkpoint

    given = context.execution.checkpoint_paths
    if given is not None and given.checkpoint_path is not None:  # a control plane says where
        return Checkpoint(given.checkpoint_path, given.prev_checkpoint_path)
    return AttemptCheckpoint(context) if context.execution.run_base_dir else None


def _checkpoint_paths(context: TaskContext) -> "CheckpointPaths":
    from flyte._core.paths import CheckpointPaths

    checkpoint = context.checkpoint
    if checkpoint is None:
        return CheckpointPaths(None, None)
    return CheckpointPaths(checkpoint.remote_source, checkpoint.remote_destination)


makers.register("checkpoint", _checkpoint)
makers.register("checkpoint_paths", _checkpoint_paths)
