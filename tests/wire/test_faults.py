"""Failures on the wire."""

import pytest
from flyteidl2.core.execution_pb2 import ContainerError, ExecutionError, GpuFault

from flyte import errors
from flyte._wire.faults import error_document, error_from, execution_error_from, timeout_error

KINDS = ExecutionError.ErrorKind


@pytest.mark.parametrize(
    ("error", "code", "origin", "recoverable"),
    [
        (errors.user_error_from(ValueError("bad")), "ValueError", KINDS.USER, True),
        (errors.NonRecoverableError("stop"), "NonRecoverableError", KINDS.USER, False),
        (errors.CustomError("MINE", "m"), "MINE", KINDS.USER, True),
        (errors.RuntimeSystemError("Storage", "m"), "Storage", KINDS.SYSTEM, True),
        (errors.RuntimeUnknownError("What", "m"), "What", KINDS.UNKNOWN, True),
        (ImportError("no module"), "ImportError", KINDS.UNKNOWN, True),
    ],
)
def test_documents(error, code, origin, recoverable):
    """wire-protocol 5.3, 5.4."""
    document = error_document(error).error
    kind = ContainerError.Kind.RECOVERABLE if recoverable else ContainerError.Kind.NON_RECOVERABLE
    assert (document.code, document.message, document.origin, document.kind) == (code, str(error), origin, kind)
    back = error_from(execution_error_from(error_document(error)))
    assert back.code == code and str(back) == str(error)
    assert isinstance(back, errors.NonRecoverableError) is not recoverable


@pytest.mark.parametrize(
    ("code", "kind", "cls"),
    [
        ("OutOfStock", KINDS.USER, errors.RuntimeUserError),
        ("RetriesExhausted|OutOfStock", KINDS.USER, errors.RuntimeUserError),
        ("OOMKilled", KINDS.USER, errors.OOMError),
        ("cgroup_oom", KINDS.USER, errors.OOMError),
        ("Interrupted", KINDS.USER, errors.TaskInterruptedError),
        ("PrimaryContainerNotFound", KINDS.USER, errors.PrimaryContainerNotFoundError),
        ("RetriesExhausted", KINDS.USER, errors.RetriesExhaustedError),
        ("InvalidImageName", KINDS.USER, errors.InvalidImageNameError),
        ("ImagePullBackOff", KINDS.USER, errors.ImagePullBackOffError),
        ("Unknown", KINDS.USER, errors.RuntimeUnknownError),
        ("MAX_RUNTIME_EXCEEDED", KINDS.USER, errors.MaxRuntimeExceededError),
        ("OOMKilled", KINDS.SYSTEM, errors.RuntimeSystemError),
        ("", KINDS.UNKNOWN, errors.RuntimeUnknownError),
    ],
)
def test_classes(code, kind, cls):
    """wire-protocol 6.5."""
    error = error_from(ExecutionError(code=code, kind=kind, message="why", worker="pod-1"))
    assert type(error) is cls and str(error) == "why"
    if not isinstance(error, errors.TaskTimeoutError):
        assert error.code == (code.rpartition("|")[2] or "Unknown") and error.worker == "pod-1"


@pytest.mark.parametrize("code", ["ValueError", "RetriesExhausted|ValueError"])
def test_classes_of_python(code):
    error = error_from(ExecutionError(code=code, kind=KINDS.USER, message="why", worker="pod-1"))
    assert isinstance(error, ValueError) and isinstance(error, errors.RuntimeUserError)
    assert (str(error), error.code, error.worker) == ("why", "ValueError", "pod-1")


@pytest.mark.parametrize(
    ("kind", "cls"), [(KINDS.USER, errors.GPUFaultUserError), (KINDS.SYSTEM, errors.GPUFaultSystemError)]
)
def test_gpu_faults(kind, cls):
    fault = GpuFault(
        kind=GpuFault.Kind.KIND_XID, code=31, name="MMU", severity=GpuFault.Severity.SEVERITY_CRITICAL, gpu_index=0
    )
    error = error_from(ExecutionError(code="GPU_XID_31", kind=kind, message="m", worker="p", gpu_fault=fault))
    assert type(error) is cls and (error.code, error.worker) == ("GPU_XID_31", "p")
    assert (error.fault_kind, error.fault_code, error.fault_name, error.severity) == ("XID", 31, "MMU", "CRITICAL")
    assert error.gpu_index == "0" and error.node is None
    fault.severity = 77  # of a later release
    assert error_from(ExecutionError(kind=kind, gpu_fault=fault)).severity is None


def test_a_failure_without_words():
    assert "'Boom'" in str(error_from(ExecutionError(code="Boom", kind=KINDS.USER)))


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("QUEUED_TIMEOUT_EXCEEDED", errors.MaxQueuedTimeExceededError),
        ("MAX_RUNTIME_EXCEEDED", errors.MaxRuntimeExceededError),
        ("x|DEADLINE_EXCEEDED", errors.DeadlineExceededError),
        ("", errors.TaskTimeoutError),
    ],
)
def test_timeouts(code, cls):
    assert type(timeout_error(code, "late")) is cls
