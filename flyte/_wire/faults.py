"""Failures to and from the wire (wire-protocol sections 5.3, 5.4 and 6.5)."""

import ast
import builtins
import traceback as traceback_module
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument, ExecutionError, GpuFault

from flyte._core.memory import figures_in
from flyte._core.raised import ELSEWHERE, Raised, code_of, error_made_from, kind_of, line_of, read_line
from flyte._core.verdict import is_final
from flyte.errors import (
    BaseRuntimeError,
    DeadlineExceededError,
    ErrorKind,
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
    user_error_from,
)

_KINDS = ExecutionError.ErrorKind
_ORIGINS = {"user": _KINDS.USER, "system": _KINDS.SYSTEM, "unknown": _KINDS.UNKNOWN}
_FROM_KIND: dict[int, ErrorKind] = {_KINDS.USER: "user", _KINDS.SYSTEM: "system"}

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


def error_document(error: BaseException, *, action: str = "", traceback: bool = False) -> ErrorDocument:
    """What a container leaves behind when its task failed.

    :param action: name of the action that failed; an error may be that of one of its children.
    :param traceback: add the traceback to the message, for whoever reads it elsewhere, and at its end a line that says
        of which class the error is; see :mod:`flyte._core.raised`.

    A failure may be retried unless :func:`flyte._core.verdict.is_final`. What is not one of this package's
    errors has the name of its class as its code, and nobody in particular to blame.
    """
    origin, code = _KINDS.UNKNOWN, type(error).__name__
    if isinstance(error, BaseRuntimeError):
        origin, code = _ORIGINS[kind_of(error, "user")], code_of(error)
    kinds = ContainerError.Kind
    kind = kinds.NON_RECOVERABLE if is_final(error, action) else kinds.RECOVERABLE
    message = str(error)
    if traceback:
        frames = "".join(traceback_module.format_tb(error.__traceback__, limit=-30))
        message = f"{message}{TRACEBACK}{frames[-_TRACEBACK_CHARACTERS:]}{line_of(error)}"
    # A text of the wire has no halves of characters.
    message = message.encode(errors="backslashreplace").decode()
    return ErrorDocument(error=ContainerError(code=code, message=message, kind=kind, origin=origin))


@dataclass(frozen=True, slots=True)
class Told:
    """What the message of a failure holds.

    :param message: what was raised says; None if there is only an empty text.
    :param frames: its traceback.
    :param line: of which class it is and with what in it, as text; empty if that is not told.
    :param raised: the same, read.
    """

    message: str | None
    frames: str
    line: str
    raised: Raised | None


def told(text: str) -> Told:
    """The parts of a failure's message."""
    message, found, frames = text.rpartition(TRACEBACK)
    if not found:
        return Told(text or None, "", "", None)
    above, _, last = frames.rpartition("\n")
    raised = read_line(last)
    if raised is not None:
        frames = above
    return Told(message, frames.rstrip("\n"), last if raised is not None else "", raised)


def execution_error_from(document: ErrorDocument) -> ExecutionError:
    """What a control plane tells of a failure that a container left behind."""
    error = document.error
    return ExecutionError(code=error.code, message=error.message, kind=error.origin, recoverability=error.kind)


def error_from(error: ExecutionError, known: Sequence[Mapping[str, Any]] = ()) -> BaseRuntimeError:
    """The error that a parent sees when a child failed elsewhere.

    It is of the class that was raised, where that is told and this process has it. Else a code ``serverCode|userCode``
    is the user's, and a failure of the user's code has the class of this package that its code stands for, or that of
    Python, or is a :class:`flyte.errors.RuntimeUserError` with that code.

    :param known: names to look for the class in, besides the modules that are imported.
    """
    code = error.code.rpartition("|")[2] or "Unknown"
    parts = told(error.message)
    worker = error.worker or None
    message = parts.message
    if message is None:
        message = f"the action failed with code {code!r} and no message"
    made = None
    if parts.raised is not None and not error.HasField("gpu_fault"):
        kind = _FROM_KIND.get(error.kind, "unknown")
        made = error_made_from(parts.raised, message, code=code, kind=kind, worker=worker, known=known)
    if made is None:
        made = _joined(_made_from(error, code, message, worker))
    if parts.frames:
        made.add_note(f"{ELSEWHERE}{TRACEBACK.lstrip()}{parts.frames}")
    return made


def _joined(failure: BaseRuntimeError) -> BaseRuntimeError:
    """``failure`` as an instance of the built-in class that its code names, as a caller in one process sees it."""
    named = getattr(builtins, failure.code, None)
    if type(failure) is not RuntimeUserError or not (isinstance(named, type) and issubclass(named, Exception)):
        return failure
    message: object = str(failure)
    if issubclass(named, KeyError):
        with suppress(ValueError, SyntaxError):
            message = ast.literal_eval(str(message))  # the text of a KeyError is that of the missing key
    for cls in named.__mro__[: named.__mro__.index(Exception)]:
        with suppress(TypeError):  # UnicodeDecodeError and its like are not made of a message
            joined = user_error_from(cls(message))
            joined.code, joined.worker = failure.code, failure.worker
            return joined
    return failure


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
        peak, limit = figures_in(message)
        return OOMError(code, message, worker, limit=limit, peak=peak)
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
