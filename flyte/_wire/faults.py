"""Failures to and from the wire (wire-protocol sections 5.3, 5.4 and 6.5)."""

import traceback as traceback_module
from collections.abc import Callable

from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument, ExecutionError, GpuFault

from flyte.errors import (
    BaseRuntimeError,
    DeadlineExceededError,
    GPUFaultError,
    GPUFaultSystemError,
    GPUFaultUserError,
    ImagePullBackOffError,
    InvalidImageNameError,
    MaxQueuedTimeExceededError,
    MaxRuntimeExceededError,
    NonRecoverableError,
    OOMError,
    PrimaryContainerNotFoundError,
    RetriesExhaustedError,
    RuntimeDataValidationError,
    RuntimeSystemError,
    RuntimeUnknownError,
    RuntimeUserError,
    TaskInterruptedError,
    TaskTimeoutError,
)

_KINDS = ExecutionError.ErrorKind
_ORIGINS = {"user": _KINDS.USER, "system": _KINDS.SYSTEM, "unknown": _KINDS.UNKNOWN}

# Codes that control planes give failures of time, and what each is here.
_TIMEOUTS: dict[str, Callable[[str], TaskTimeoutError]] = {
    "QUEUED_TIMEOUT_EXCEEDED": MaxQueuedTimeExceededError,
    "MAX_RUNTIME_EXCEEDED": MaxRuntimeExceededError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
}


def _not_fitting(code: str, message: str, worker: str | None) -> RuntimeUserError:
    # Its constructor puts together what is in the message already.
    error = RuntimeDataValidationError.__new__(RuntimeDataValidationError)
    RuntimeUserError.__init__(error, code, message, worker)
    return error


_USER_CODES: dict[str, Callable[[str, str, str | None], RuntimeUserError]] = {
    "DataValidationError": _not_fitting,
    "Interrupted": TaskInterruptedError,
    "PrimaryContainerNotFound": PrimaryContainerNotFoundError,
    "RetriesExhausted": RetriesExhaustedError,
    "InvalidImageName": InvalidImageNameError,
    "ImagePullBackOff": ImagePullBackOffError,
}


TRACEBACK = "\n\nTraceback (most recent call last):\n"
"""What stands between an error's message and its traceback, where both travel in one text."""
_TRACEBACK_CHARACTERS = 20_000


def error_document(error: BaseException, *, traceback: bool = False) -> ErrorDocument:
    """What a container leaves behind when its task failed.

    :param traceback: add the traceback to the message, for whoever reads it elsewhere.

    A failure may be retried unless it is a :class:`flyte.errors.NonRecoverableError`. What is not one of this package's
    errors has the name of its class as its code, and nobody in particular to blame.
    """
    origin, code = _KINDS.UNKNOWN, type(error).__name__
    if isinstance(error, BaseRuntimeError):
        origin, code = _ORIGINS[error.kind], error.code
    kinds = ContainerError.Kind
    kind = kinds.NON_RECOVERABLE if isinstance(error, NonRecoverableError) else kinds.RECOVERABLE
    message = str(error)
    if traceback and error.__traceback__ is not None:
        frames = "".join(traceback_module.format_tb(error.__traceback__, limit=-30))
        message = f"{message}{TRACEBACK}{frames[-_TRACEBACK_CHARACTERS:]}".rstrip("\n")
    return ErrorDocument(error=ContainerError(code=code, message=message, kind=kind, origin=origin))


def execution_error_from(document: ErrorDocument) -> ExecutionError:
    """What a control plane tells of a failure that a container left behind."""
    error = document.error
    return ExecutionError(code=error.code, message=error.message, kind=error.origin, recoverability=error.kind)


def error_from(error: ExecutionError) -> BaseRuntimeError:
    """The error that a parent sees when a child failed elsewhere.

    A code ``serverCode|userCode`` is the user's; a failure of the user's code has the class of this package that its
    code stands for, or is a :class:`flyte.errors.RuntimeUserError` with that code.
    """
    code = error.code.rpartition("|")[2] or "Unknown"
    message, _, frames = error.message.partition(TRACEBACK)
    message, worker = message or f"the action failed with code {code!r} and no message", error.worker or None
    made = _made_from(error, code, message, worker)
    if frames:
        made.add_note(f"there:{TRACEBACK.lstrip()}{frames}")
    return made


def _made_from(error: ExecutionError, code: str, message: str, worker: str | None) -> BaseRuntimeError:
    if error.HasField("gpu_fault"):
        return _gpu_fault(error.gpu_fault, code, message, worker, system=error.kind == _KINDS.SYSTEM)
    if error.kind == _KINDS.SYSTEM:
        return RuntimeSystemError(code, message, worker)
    if error.kind == _KINDS.UNKNOWN or code == "Unknown":
        return RuntimeUnknownError(code, message, worker)
    if code in _TIMEOUTS:
        return _TIMEOUTS[code](message)
    if error.recoverability == ContainerError.Kind.NON_RECOVERABLE and code == NonRecoverableError.__name__:
        return NonRecoverableError(message)
    if "OOM" in code.upper():
        return OOMError(code, message, worker)
    return _USER_CODES.get(code, RuntimeUserError)(code, message, worker)


def _gpu_fault(fault: GpuFault, code: str, message: str, worker: str | None, *, system: bool) -> GPUFaultError:
    kind = GpuFault.Kind.Name(fault.kind) if fault.kind in GpuFault.Kind.values() else str(fault.kind)
    severity = GpuFault.Severity.Name(fault.severity) if fault.severity in GpuFault.Severity.values() else ""
    cls = GPUFaultSystemError if system else GPUFaultUserError
    return cls(
        code,
        message,
        worker,
        fault_kind=kind.removeprefix("KIND_"),
        fault_code=fault.code,
        fault_name=fault.name or None,
        severity=severity.removeprefix("SEVERITY_") or None,
        gpu_uuid=fault.gpu_uuid or None,
        gpu_index=str(fault.gpu_index) if fault.HasField("gpu_index") else None,
        node=fault.node or None,
        pci_bus_id=fault.pci_bus_id or None,
        process=fault.process or None,
    )


def timeout_error(code: str, message: str) -> TaskTimeoutError:
    """The error of an action that ran out of time, by the code that the control plane gives it."""
    return _TIMEOUTS.get(code.rpartition("|")[2], TaskTimeoutError)(message or "the action ran out of time")
