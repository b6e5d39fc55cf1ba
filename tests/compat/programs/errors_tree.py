"""Classes of flyte.errors, how they are built and what they derive from."""

import flyte.errors as E
from transcript import accepted, attempt, show

for name in ("BaseRuntimeError", "InitializationError", "RuntimeSystemError", "RuntimeUserError", "RuntimeUnknownError",
             "UnionRpcError", "OOMError", "TaskInterruptedError", "PrimaryContainerNotFoundError", "TaskTimeoutError",
             "MaxRuntimeExceededError", "MaxQueuedTimeExceededError", "DeadlineExceededError", "RetriesExhaustedError",
             "CustomError", "NotInTaskContextError", "ActionNotFoundError", "RemoteTaskNotFoundError",
             "RemoteTaskUsageError", "LogsNotYetAvailableError", "RuntimeDataValidationError", "DeploymentError",
             "ImageBuildError", "ModuleLoadError", "InlineIOMaxBytesBreached", "ImagePullBackOffError", "CodeBundleError",
             "InvalidImageNameError", "InvalidPackageError", "NonRecoverableError", "OnlyAsyncIOSupportedError",
             "ParameterMaterializationError", "RestrictedTypeError", "SlowDownError", "SyncTaskCallInAsyncContextError",
             "TraceDoesNotAllowNestedTasksError", "ActionAbortedError", "ConditionFailedError", "ResourceExhaustedError"):
    kind = getattr(E, name)
    show(name, [base.__name__ for base in kind.__mro__[1:] if base.__name__ not in ("object",) and not base.__name__.startswith("_")])
for label, make in {
    "user": lambda: E.RuntimeUserError("c", "m"), "user worker": lambda: E.RuntimeUserError("c", "m", worker="w"),
    "user keywords": lambda: E.RuntimeUserError(code="c", message="m"),
    "system": lambda: E.RuntimeSystemError("c", "m"), "unknown": lambda: E.RuntimeUnknownError("c", "m"),
    "base": lambda: E.BaseRuntimeError("c", "user", "m"),
    "custom": lambda: E.CustomError("c", "m"), "custom from": lambda: E.CustomError.from_exception(ValueError("x")),
    "oom": lambda: E.OOMError("m"), "timeout": lambda: E.TaskTimeoutError("m"), "retries": lambda: E.RetriesExhaustedError("m"),
    "init": lambda: E.InitializationError("c", "user", "m"), "inline": lambda: E.InlineIOMaxBytesBreached("m"),
    "image": lambda: E.ImageBuildError("m"), "deployment": lambda: E.DeploymentError("m"),
    "not in task": lambda: E.NotInTaskContextError("m"), "action": lambda: E.ActionNotFoundError("m"),
    "validation": lambda: E.RuntimeDataValidationError("v", ValueError("e"), "t"), "module": lambda: E.ModuleLoadError("m"),
    "non recoverable": lambda: E.NonRecoverableError("m"), "slow": lambda: E.SlowDownError("m"),
    "interrupted": lambda: E.TaskInterruptedError("m"), "queued": lambda: E.MaxQueuedTimeExceededError("m"),
    "runtime": lambda: E.MaxRuntimeExceededError("m"), "deadline": lambda: E.DeadlineExceededError("m"),
    "async only": lambda: E.OnlyAsyncIOSupportedError("m"), "sync call": lambda: E.SyncTaskCallInAsyncContextError("m"),
    "remote": lambda: E.RemoteTaskNotFoundError("m"), "aborted": lambda: E.ActionAbortedError("m"),
    "package": lambda: E.InvalidPackageError("m"), "pull": lambda: E.ImagePullBackOffError("m"),
    "primary": lambda: E.PrimaryContainerNotFoundError("m"), "logs": lambda: E.LogsNotYetAvailableError("m"),
    "bundle": lambda: E.CodeBundleError("m"), "trace": lambda: E.TraceDoesNotAllowNestedTasksError("m"),
    "invalid image": lambda: E.InvalidImageNameError("m"), "exhausted": lambda: E.ResourceExhaustedError("m"),
}.items():
    made = attempt(label, make)
    if made is not None:
        attempt("  code", lambda: made.code)
        attempt("  kind", lambda: made.kind)
        attempt("  text", lambda: str(made) if label != "validation" else "")
