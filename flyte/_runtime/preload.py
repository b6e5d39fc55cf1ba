"""What a process loads before it runs an action: for one that is to become many of them by forking.

``a0`` itself loads the first of these, and leaves the others to the task that needs them. What speaks to a control
plane (`children`, and gRPC with it) is not here: it starts threads, which a fork does not take along.
"""

import importlib

MODULES = (
    "flyte._runtime.action",  # all that a plain task needs, without values and without a bundle of code
    "flyte._definition.task_environment",  # what every module with a task imports
    "flyte.storage._local",
    "flyte._wire.values",  # values, and protobuf with them
    "flyte._wire.faults",
    "flyte.types._codecs",
    "flyte.types._containers",
    "flyte.types._payloads",
    "flyte._runtime.bundle",  # a bundle of code
    "flyte._core.paths",  # checkpoints, which a control plane names for every attempt
)
"""Modules of this package that actions of most tasks load, and that hold nothing of one action."""


def preload() -> None:
    """Load them. Nothing is started, opened or read: the process may be forked afterwards."""
    for name in MODULES:
        importlib.import_module(name)
