"""Every exception of the SDK, and who has to act on each.

::

    BaseRuntimeError (RuntimeError)           what went wrong while a run was prepared or executed
    |-- RuntimeUserError                      the user's code or input must change
    |   |-- TaskTimeoutError
    |   |   |-- MaxRuntimeExceededError       one attempt ran longer than Timeout.max_runtime
    |   |   |-- MaxQueuedTimeExceededError    an action waited longer than Timeout.max_queued_time
    |   |   `-- DeadlineExceededError         all attempts together took longer than Timeout.deadline
    |   |-- OOMError                          the attempt ran out of memory
    |   |-- RetriesExhaustedError             the platform gave up after the last retry
    |   |-- NonRecoverableError               raise it in a task to fail without using the retries left
    |   |-- InlineIOMaxBytesBreached          inputs or outputs passed inline are too large
    |   |-- RuntimeDataValidationError        a value does not fit the declared type
    |   |-- ActionAbortedError                the action was aborted or its parent was cancelled
    |   |-- SyncTaskCallInAsyncContextError   a blocking call of a sync task from async code
    |   |-- TraceDoesNotAllowNestedTasksError a task was called inside a traced function
    |   |-- RunRecoveryError                  there is nothing to recover from under that name
    |   |-- NotInTaskContextError             something that needs a task context was used outside one
    |   |-- SlowDownError <- ResourceExhaustedError
    |   |-- Condition{AlreadyExists,NotFound,Failed,Timedout}Error
    |   |-- AppleSiliconError and what becomes of it
    |   |-- GPUFaultUserError
    |   `-- ... packaging, deployment and lookup errors (see below)
    |-- RuntimeSystemError                    the platform or the SDK must act; retrying may help
    |   |-- UnionRpcError <- Rpc...Error      a call to the control plane failed; one class a status
    |   `-- GPUFaultSystemError
    |-- RuntimeUnknownError                   it is not known who must act
    |-- InitializationError                   flyte.init() is missing or incomplete
    `-- LogsNotYetAvailableError
    ActionNotFoundError (RuntimeError)
    TypeTransformerFailedError (TypeError, AssertionError, ValueError)

Each error has a ``kind`` (user, system or unknown) and a stable ``code`` that a program may compare. A task that
fails raises in its parent an error that is both :class:`RuntimeUserError` and the class that the user raised, so
``except ValueError`` and ``except flyte.errors.RuntimeUserError`` both catch it; see :func:`user_error_from`.

This module imports nothing of the package, so that everything may raise.
"""

from typing import Any, Literal, cast

ErrorKind = Literal["system", "unknown", "user"]


class BaseRuntimeError(RuntimeError):
    """What went wrong while a run was prepared or executed.

    :param code: stable identifier of the error, compared by programs.
    :param kind: who must act: ``"user"``, ``"system"`` or ``"unknown"``.
    :param root_cause_message: what happened, to which name, and what to do next.
    :param worker: the machine or pod it happened on, if known.
    """

    code: str
    kind: ErrorKind
    worker: str | None

    def __init__(self, code: str, kind: ErrorKind, root_cause_message: str, worker: str | None = None) -> None:
        super().__init__(root_cause_message)
        self.code = code
        self.kind = kind
        self.worker = worker

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors of the tree differ, so an error is rebuilt without calling any of them.
        return _rebuild_error, (type(self), self.args, self.__dict__.copy())


def _rebuild_error(cls: type[BaseRuntimeError], args: tuple[Any, ...], state: dict[str, Any]) -> BaseRuntimeError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class RuntimeUserError(BaseRuntimeError):
    """The user's code, configuration or input must change."""

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, "user", message, worker)


class RuntimeSystemError(BaseRuntimeError):
    """The platform or the SDK failed; the user's code is not to blame, and trying again may help."""

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, "system", message, worker)


class RuntimeUnknownError(BaseRuntimeError):
    """Something failed and it is not known who must act."""

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, "unknown", message, worker)


class _NamedUserError(RuntimeUserError):
    """A user error whose code is the name of its class."""

    def __init__(self, message: str) -> None:
        super().__init__(type(self).__name__, message)


# Limits of an attempt ------------------------------------------------------------------------------------------


class TaskTimeoutError(RuntimeUserError):
    """A task took longer than its :class:`flyte.Timeout` allows."""

    def __init__(self, message: str, code: str = "TaskTimeoutError") -> None:
        super().__init__(code, message)


class MaxRuntimeExceededError(TaskTimeoutError):
    """One attempt ran longer than ``Timeout.max_runtime``."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="MaxRuntimeExceededError")


class MaxQueuedTimeExceededError(TaskTimeoutError):
    """An action waited longer than ``Timeout.max_queued_time`` before it could start."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="MaxQueuedTimeExceededError")


class DeadlineExceededError(TaskTimeoutError):
    """All attempts of an action together took longer than ``Timeout.deadline``."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="DeadlineExceededError")


class OOMError(RuntimeUserError, MemoryError):
    """The attempt ran out of memory; ask for more with ``override(resources=...)`` and call again.

    A MemoryError in a task's body becomes one, with the code ``OOM``.

    :param limit: how much it might use, in bytes; None if that is not known.
    :param peak: how much it used, in bytes; None if that is not known.
    """

    def __init__(
        self, code: str, message: str, worker: str | None = None, *, limit: int | None = None, peak: int | None = None
    ) -> None:
        super().__init__(code, message, worker)
        self.limit = limit
        self.peak = peak


class RetriesExhaustedError(RuntimeUserError):
    """The platform gave up on an action after its last retry."""


class TaskInterruptedError(RuntimeUserError):
    """The machine of an interruptible task was taken away."""


class NonRecoverableError(RuntimeUserError):
    """Raise it in a task to fail at once, whatever retries are left."""

    def __init__(self, message: str, code: str = "NonRecoverableError") -> None:
        super().__init__(code, message)


class CustomError(RuntimeUserError):
    """A user error with a code of the user's choice.

    :param code: the code to report.
    :param message: what happened.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)

    @classmethod
    def from_exception(cls, e: BaseException) -> "CustomError":
        """The error that reports ``e`` under the name of its class, with ``e`` as its cause."""
        error = cls(type(e).__name__, str(e))
        error.__cause__ = e
        return error


# Values ----------------------------------------------------------------------------------------------------------


class InlineIOMaxBytesBreached(_NamedUserError):
    """Inputs and outputs that travel inside the messages are larger than the ``max_inline_io_bytes`` of their task.

    Files, directories and data frames travel by reference and do not count.
    """


class RuntimeDataValidationError(RuntimeUserError):
    """A value does not fit its declared type.

    :param var: name of the parameter or output.
    :param e: what was wrong with it.
    :param task_name: full name of the task.
    """

    def __init__(self, var: str, e: Exception | str, task_name: str = "") -> None:
        where = f"task {task_name!r}, " if task_name else ""
        super().__init__("DataValidationError", f"{where}{var!r}: {e}")


class RestrictedTypeError(_NamedUserError):
    """A type was used that may not be a task's input or output."""


class TypeTransformerFailedError(TypeError, AssertionError, ValueError):
    """A value could not be converted to or from its declared type."""


class ParameterMaterializationError(_NamedUserError):
    """A parameter of an app could not be turned into a value."""


# Calling -----------------------------------------------------------------------------------------------------------


class ActionAbortedError(_NamedUserError):
    """The action was aborted, or its parent ended before it did."""


class ActionNotFoundError(RuntimeError):
    """There is no action of that name in the run."""


class RunRecoveryError(_NamedUserError):
    """There is no run to recover from under that name, it still runs, or it is of another task."""


class NotInTaskContextError(RuntimeUserError):
    """Something that needs a running task was used outside one."""


class OnlyAsyncIOSupportedError(_NamedUserError):
    """A task was awaited under an event loop other than asyncio's."""


class SyncTaskCallInAsyncContextError(_NamedUserError):
    """A sync task was called in the blocking way from async code, which would park the event loop; use ``.aio``."""


class TraceDoesNotAllowNestedTasksError(_NamedUserError):
    """A task was called inside a function decorated with ``flyte.trace``."""


class SlowDownError(_NamedUserError):
    """The control plane asks its callers to slow down."""


class ResourceExhaustedError(SlowDownError):
    """A quota or a message-size limit of the control plane was reached; it has its parent's code."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = SlowDownError.__name__


class ConditionAlreadyExistsError(_NamedUserError):
    """The run already has a condition of that name."""


class ConditionNotFoundError(_NamedUserError):
    """The run has no condition of that name."""


class ConditionFailedError(_NamedUserError):
    """A condition ended without a value."""


class ConditionTimedoutError(_NamedUserError):
    """Nobody answered a condition in time."""


# Packaging, deployment, lookup ------------------------------------------------------------------------------------


class CodeBundleError(_NamedUserError):
    """The code bundle could not be made, stored, fetched or unpacked."""


class ModuleLoadError(_NamedUserError):
    """The user's module could not be imported."""


class DeploymentError(_NamedUserError):
    """An environment could not be deployed."""


class ImageBuildError(_NamedUserError):
    """A container image could not be built."""


class InvalidPackageError(RuntimeUserError):
    """A package of an image could not be installed.

    :param package_name: the package.
    :param original_error: what the installer said.
    """

    def __init__(self, package_name: str, original_error: str) -> None:
        super().__init__("InvalidPackageError", f"package {package_name!r} could not be installed: {original_error}")


class InvalidImageNameError(RuntimeUserError):
    """The name of a container image is not valid."""


class ImagePullBackOffError(RuntimeUserError):
    """The container image could not be pulled."""


class PrimaryContainerNotFoundError(RuntimeUserError):
    """The pod has no container of the primary container's name."""


class RemoteTaskNotFoundError(_NamedUserError):
    """There is no deployed task of that name and version."""


class RemoteTaskUsageError(_NamedUserError):
    """A deployed task was used in a way that only a local one allows."""


# Devices ------------------------------------------------------------------------------------------------------------


class AppleSiliconError(RuntimeUserError):
    """A task on an Apple Silicon host failed in the host's own machinery."""

    def __init__(self, message: str, worker: str | None = None) -> None:
        super().__init__(type(self).__name__, message, worker)


class AppleSiliconNotAvailableError(AppleSiliconError):
    """No Apple Silicon host can take the task."""


class AppleSiliconBridgeUnreachableError(AppleSiliconError):
    """The bridge to the Apple Silicon host does not answer."""


class AppleSiliconDaemonStartFailedError(AppleSiliconError):
    """The daemon on the Apple Silicon host did not start."""


class AppleSiliconDaemonOOMError(AppleSiliconError):
    """The daemon on the Apple Silicon host ran out of memory."""


class AppleSiliconHostExecFailedError(AppleSiliconError):
    """The command on the Apple Silicon host failed."""


class AppleSiliconModelNotFoundError(AppleSiliconError):
    """The Apple Silicon host does not have the model."""


class GPUFaultError(BaseRuntimeError):
    """A GPU reported a fault while the task ran; the fields say which device and what it said."""

    def __init__(
        self,
        code: str,
        kind: ErrorKind,
        message: str,
        worker: str | None = None,
        *,
        fault_kind: str | None = None,
        fault_code: int | None = None,
        fault_name: str | None = None,
        severity: str | None = None,
        gpu_uuid: str | None = None,
        gpu_index: int | None = None,
        node: str | None = None,
        pci_bus_id: str | None = None,
        process: str | None = None,
    ) -> None:
        BaseRuntimeError.__init__(self, code, kind, message, worker)
        self.fault_kind = fault_kind
        self.fault_code = fault_code
        self.fault_name = fault_name
        self.severity = severity
        self.gpu_uuid = gpu_uuid
        self.gpu_index = gpu_index
        self.node = node
        self.pci_bus_id = pci_bus_id
        self.process = process


class GPUFaultSystemError(GPUFaultError, RuntimeSystemError):
    """A GPU fault that the platform must act on, such as a failing device."""

    def __init__(self, code: str, message: str, worker: str | None = None, **fault: Any) -> None:
        GPUFaultError.__init__(self, code, "system", message, worker, **fault)


class GPUFaultUserError(GPUFaultError, RuntimeUserError):
    """A GPU fault that the user's program caused."""

    def __init__(self, code: str, message: str, worker: str | None = None, **fault: Any) -> None:
        GPUFaultError.__init__(self, code, "user", message, worker, **fault)


# The control plane --------------------------------------------------------------------------------------------------


class InitializationError(BaseRuntimeError):
    """``flyte.init()`` was not called, or what it was given does not suffice."""


class LogsNotYetAvailableError(BaseRuntimeError):
    """The action has no logs yet; ask again later."""

    def __init__(self, message: str) -> None:
        super().__init__("LogsNotYetAvailable", "system", message)


class UnionRpcError(RuntimeSystemError):
    """A call to the control plane failed; :data:`RPC_ERRORS` has the class of each status.

    :param code: name of the gRPC status, such as ``"UNAVAILABLE"``.
    :param message: which call failed, why, and what to do.
    """

    acts: ErrorKind = "system"

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, message, worker)
        self.kind = self.acts


class _RefusedRpcError(UnionRpcError):
    acts = "user"


class RpcInvalidArgumentError(_RefusedRpcError):
    """The control plane refuses the request as it is."""


class RpcNotFoundError(_RefusedRpcError):
    """What was asked for is not there, or not to be seen with these credentials."""


class RpcAlreadyExistsError(_RefusedRpcError):
    """There is one of that name already."""


class RpcPreconditionError(_RefusedRpcError):
    """The thing is not in a state that allows the call."""


class RpcPermissionDeniedError(_RefusedRpcError):
    """These credentials may not do this."""


class RpcUnauthenticatedError(_RefusedRpcError):
    """There are no credentials, or the control plane does not take them."""


class RpcThrottledError(UnionRpcError):
    """The control plane asked to slow down for longer than the client waits."""


class RpcTimeoutError(UnionRpcError):
    """No answer within the call's deadline."""


class RpcUnavailableError(UnionRpcError):
    """The control plane cannot be reached, or the connection broke."""


class RpcUnimplementedError(UnionRpcError):
    """The control plane does not have this call."""


RPC_ERRORS: dict[str, type[UnionRpcError]] = {
    "INVALID_ARGUMENT": RpcInvalidArgumentError,
    "DEADLINE_EXCEEDED": RpcTimeoutError,
    "NOT_FOUND": RpcNotFoundError,
    "ALREADY_EXISTS": RpcAlreadyExistsError,
    "PERMISSION_DENIED": RpcPermissionDeniedError,
    "RESOURCE_EXHAUSTED": RpcThrottledError,
    "FAILED_PRECONDITION": RpcPreconditionError,
    "ABORTED": RpcPreconditionError,
    "OUT_OF_RANGE": RpcInvalidArgumentError,
    "UNIMPLEMENTED": RpcUnimplementedError,
    "UNAVAILABLE": RpcUnavailableError,
    **dict.fromkeys(("CANCELLED", "UNKNOWN", "INTERNAL", "DATA_LOSS"), UnionRpcError),
    "UNAUTHENTICATED": RpcUnauthenticatedError,
}
"""gRPC status -> the one exception for it."""


# A user's exception at a task's boundary ----------------------------------------------------------------------------

_hybrid_classes: dict[type[BaseException], type[RuntimeUserError] | None] = {}


def _hybrid_class(original: type[BaseException]) -> type[RuntimeUserError] | None:
    """The class that is both RuntimeUserError and ``original``; None where Python cannot have one."""
    if original not in _hybrid_classes:
        hybrid: type[RuntimeUserError] | None = None
        # A class that is not an Exception (SystemExit, GeneratorExit) has a meaning to the interpreter or the event
        # loop, which a task's failure must not carry into its parent.
        if issubclass(original, Exception):
            # The name and module are the original's: tracebacks show the class that the user knows.
            names = {
                "__module__": original.__module__,
                "__qualname__": original.__qualname__,
                "__doc__": original.__doc__,
                "__str__": original.__str__,
                "__repr__": original.__repr__,
                # Pickled as the original; a class made here cannot be found by its name.
                "__reduce__": _reduce_hybrid,
                "_original": original,
            }
            # RuntimeUserError is a RuntimeError and an Exception already.
            bases = (RuntimeUserError,) if issubclass(RuntimeUserError, original) else (original, RuntimeUserError)
            try:
                hybrid = cast(Any, type)(original.__name__, bases, names)
            except TypeError:  # layouts or metaclasses that cannot be joined
                hybrid = None
        _hybrid_classes[original] = hybrid
    return _hybrid_classes[original]


def _reduce_hybrid(self: BaseException) -> tuple[Any, ...]:
    return _rebuild_hybrid, (cast(Any, self)._original, self.args, self.__dict__.copy())


def _rebuild_hybrid(original: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    hybrid = _hybrid_class(original)
    if hybrid is None:
        error: BaseException = RuntimeUserError(original.__name__, str(args[0]) if args else "")
    else:
        error = hybrid.__new__(hybrid, *args)
        error.args = args
    error.__dict__.update(state)
    return error


def user_error_from(error: BaseException) -> BaseRuntimeError:
    """The error that a task's caller sees when the task's body raised ``error``.

    It is an instance of both :class:`RuntimeUserError` and the class of ``error``, with the same arguments,
    attributes, traceback, cause and notes; ``code`` is the name of the user's class unless that class has a ``code``
    of its own. Errors of this module are handed on as they are; a MemoryError becomes an OOMError. Where Python cannot
    join the two classes (no ``Exception``, or another layout), a plain RuntimeUserError with ``error`` as its cause.
    """
    if isinstance(error, BaseRuntimeError):
        return error
    if isinstance(error, MemoryError):
        what = f"the task ran out of memory: {str(error) or 'MemoryError'}; ask for more with override(resources=...)"
        return OOMError("OOM", what).with_traceback(error.__traceback__)
    original = type(error)
    hybrid = _hybrid_class(original)
    joined: RuntimeUserError | None = None
    if hybrid is not None:
        try:
            joined = hybrid.__new__(hybrid, *error.args)
            _copy_builtin_state(error, joined)
        except Exception:
            # The user's __new__ takes other arguments than it stored: nothing can be rebuilt from args.
            joined = None
    if joined is None:
        message = str(error) or f"the task raised {original.__name__}"
        plain = RuntimeUserError(original.__name__, f"{original.__name__}: {message}")
        plain.__cause__ = error
        return plain.with_traceback(error.__traceback__)
    joined.args = error.args
    own = {"code": original.__name__, "kind": "user", "worker": None}
    joined.__dict__.update({name: value for name, value in own.items() if not hasattr(error, name)})
    joined.__dict__.update(getattr(error, "__dict__", {}))
    joined.__cause__ = error.__cause__
    joined.__context__ = error.__context__
    joined.__suppress_context__ = error.__suppress_context__
    return joined.with_traceback(error.__traceback__)


def _copy_builtin_state(source: BaseException, target: BaseException) -> None:
    """Copy what built-in exceptions keep outside ``__dict__`` (errno, name, encoding, ...)."""
    for cls in type(source).__mro__:
        if cls in (BaseException, Exception):
            break
        for name, member in vars(cls).items():
            # Member descriptors are the C-level fields and the __slots__ of a class.
            if type(member).__name__ == "member_descriptor" and not name.startswith("__"):
                try:
                    value = getattr(source, name)
                    if value is not None:  # a field that was never set reads as None, and None set is shown by str()
                        setattr(target, name, value)
                except AttributeError:  # read-only (an exception group's members) or not set
                    continue
