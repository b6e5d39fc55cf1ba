"""The error tree: who must act, stable codes, pickling, and the join with the user's own class."""

import copy
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flyte.errors as errors

PUBLISHED = [
    "ActionAbortedError",
    "ActionNotFoundError",
    "AppleSiliconBridgeUnreachableError",
    "AppleSiliconDaemonOOMError",
    "AppleSiliconDaemonStartFailedError",
    "AppleSiliconError",
    "AppleSiliconHostExecFailedError",
    "AppleSiliconModelNotFoundError",
    "AppleSiliconNotAvailableError",
    "BaseRuntimeError",
    "CodeBundleError",
    "ConditionAlreadyExistsError",
    "ConditionFailedError",
    "ConditionNotFoundError",
    "ConditionTimedoutError",
    "CustomError",
    "DeadlineExceededError",
    "DeploymentError",
    "GPUFaultError",
    "GPUFaultSystemError",
    "GPUFaultUserError",
    "ImageBuildError",
    "ImagePullBackOffError",
    "InitializationError",
    "InlineIOMaxBytesBreached",
    "InvalidImageNameError",
    "InvalidPackageError",
    "LogsNotYetAvailableError",
    "MaxQueuedTimeExceededError",
    "MaxRuntimeExceededError",
    "ModuleLoadError",
    "NonRecoverableError",
    "NotInTaskContextError",
    "OOMError",
    "OnlyAsyncIOSupportedError",
    "ParameterMaterializationError",
    "PrimaryContainerNotFoundError",
    "RemoteTaskNotFoundError",
    "RemoteTaskUsageError",
    "ResourceExhaustedError",
    "RestrictedTypeError",
    "RetriesExhaustedError",
    "RuntimeDataValidationError",
    "RuntimeSystemError",
    "RuntimeUnknownError",
    "RuntimeUserError",
    "SlowDownError",
    "SyncTaskCallInAsyncContextError",
    "TaskInterruptedError",
    "TaskTimeoutError",
    "TraceDoesNotAllowNestedTasksError",
    "UnionRpcError",
]

MADE: dict[str, Any] = {
    "ActionNotFoundError": lambda: errors.ActionNotFoundError("m"),
    "BaseRuntimeError": lambda: errors.BaseRuntimeError("c", "user", "m"),
    "InitializationError": lambda: errors.InitializationError("c", "user", "m"),
    "CustomError": lambda: errors.CustomError("c", "m"),
    "RuntimeDataValidationError": lambda: errors.RuntimeDataValidationError("v", "m", "t"),
    "InvalidPackageError": lambda: errors.InvalidPackageError("p", "m"),
    "GPUFaultError": lambda: errors.GPUFaultError("c", "user", "m", gpu_index=1),
    "GPUFaultUserError": lambda: errors.GPUFaultUserError("c", "m", node="n"),
    "GPUFaultSystemError": lambda: errors.GPUFaultSystemError("c", "m"),
}


def _make(name: str) -> Any:
    if name in MADE:
        return MADE[name]()
    cls = getattr(errors, name)
    try:
        return cls("m")
    except TypeError:
        return cls("c", "m")


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_name(name: str):
    error = _make(name)
    assert isinstance(error, RuntimeError) and "m" in str(error)
    if isinstance(error, errors.BaseRuntimeError):
        assert error.kind in ("user", "system", "unknown") and error.code
        if isinstance(error, errors.RuntimeUserError):
            assert error.kind == "user"
        if isinstance(error, errors.RuntimeSystemError):
            assert error.kind == "system"
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree():
    assert errors.__doc__ is not None
    for name in ("MaxRuntimeExceededError", "OOMError", "InlineIOMaxBytesBreached", "UnionRpcError"):
        assert name in errors.__doc__
    assert issubclass(errors.ResourceExhaustedError, errors.SlowDownError)
    assert issubclass(errors.DeadlineExceededError, errors.TaskTimeoutError)
    for name in ("DeadlineExceededError", "MaxRuntimeExceededError", "MaxQueuedTimeExceededError"):
        assert getattr(errors, name)("m").code == name
    assert errors.ResourceExhaustedError("m").code == "SlowDownError"
    assert errors.OOMError("OOMKilled", "m").code == "OOMKilled"
    assert issubclass(errors.TypeTransformerFailedError, (TypeError, ValueError))


class Plain(Exception):
    pass


class Coded(Exception):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Positional(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}-{b}")
        self.a, self.b = a, b


class Odd(Exception):
    def __new__(cls, a: int, b: int) -> "Odd":
        return super().__new__(cls, a, b)

    def __init__(self, a: int, b: int) -> None:
        super().__init__("odd")


class Slotted(Exception):
    __slots__ = ("extra",)


ORIGINALS: list[BaseException] = [
    ValueError("x"),
    RuntimeError("r", 2),
    Exception("e"),
    KeyError("k"),
    FileNotFoundError(2, "gone", "f.txt"),
    UnicodeDecodeError("utf-8", b"abc", 0, 1, "bad"),
    ExceptionGroup("g", [ValueError("1"), KeyError("2")]),
    ImportError("m", name="mod", path="p"),
    SyntaxError("bad", ("f", 1, 2, "t")),
    StopIteration(3),
    Plain("p"),
    Plain(),
    Coded("c", 7),
    Positional(1, 2),
    TimeoutError(),
    AttributeError("a", name="n"),
]


@pytest.mark.parametrize("original", ORIGINALS, ids=lambda e: type(e).__name__)
def test_the_join_is_both_classes_and_says_the_same(original: BaseException):
    joined = errors.user_error_from(original)
    assert isinstance(joined, errors.RuntimeUserError) and isinstance(joined, type(original))
    assert str(joined) == str(original) and repr(joined) == repr(original) and joined.args == original.args
    assert type(joined).__name__ == type(original).__name__ and type(joined).__module__ == type(original).__module__
    for name in (
        "errno",
        "filename",
        "start",
        "end",
        "reason",
        "name",
        "path",
        "lineno",
        "msg",
        "a",
        "b",
        "exceptions",
    ):
        if hasattr(original, name):
            assert getattr(joined, name) == getattr(original, name)
    assert joined.kind == "user"
    assert joined.code == getattr(original, "code", type(original).__name__)
    again = pickle.loads(pickle.dumps(joined))
    # Compared as text: an exception inside a group is equal only to itself.
    assert isinstance(again, type(original)) and repr(again.args) == repr(original.args)


def test_what_cannot_be_joined_is_still_a_user_error():
    for original in (SystemExit(3), Odd(1, 2)):
        error = errors.user_error_from(original)
        assert isinstance(error, errors.RuntimeUserError) and error.code == type(original).__name__
        assert error.__cause__ is original or isinstance(error, type(original))
    slotted = Slotted("s")
    slotted.extra = 5
    joined = errors.user_error_from(slotted)
    assert isinstance(joined, Slotted) and joined.extra == 5


def test_our_own_errors_and_chains_are_kept():
    ours = errors.OOMError("OOM", "m")
    assert errors.user_error_from(ours) is ours
    with pytest.raises(ValueError, match="outer") as caught:
        raise ValueError("outer") from KeyError("inner")
    joined = errors.user_error_from(caught.value)
    assert isinstance(joined.__cause__, KeyError) and joined.__traceback__ is caught.value.__traceback__
    noted = ValueError("n")
    noted.add_note("look")
    assert errors.user_error_from(noted).__notes__ == ["look"]
    assert errors.user_error_from(errors.user_error_from(noted)) is not noted


# A busy machine is slow at making examples too.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.integers(), st.text(), st.binary(), st.none()), max_size=4))
def test_any_arguments(args: list[Any]):
    joined = errors.user_error_from(Plain(*args))
    assert isinstance(joined, Plain) and joined.args == tuple(args)
