"""What has become of an attempt: from what it left, and how its process ended, to an event of the state machine."""

import signal
import time

from flyteidl2.core.execution_pb2 import ErrorDocument
from google.protobuf.message import DecodeError

from flyte._core.memory import CODE, MUCH, killed_with, over_limit
from flyte._core.trees import machine_bytes

from ._documents import read_document
from ._machine import Event, Failed, Fault, Succeeded
from ._rows import fault_in
from .executors.executor import Exit

_KILLED = {-1: "SIGHUP", -2: "SIGINT", -9: "SIGKILL", -15: "SIGTERM"}


async def outcome_of(prefix: str, number: int, ended: Exit, task: str, limit_bytes: int) -> Event:
    """How an attempt ended.

    :param prefix: where it leaves its files.
    :param number: its number.
    :param ended: how its process did.
    :param task: name of the task, for messages.
    :param limit_bytes: memory that it might have; 0 for no limit.
    """
    left = await read_document(f"{prefix}/error.pb")
    if left is not None:
        try:
            return Failed(time.time(), number, fault_in(ErrorDocument.FromString(left).error))
        except DecodeError as error:
            return Failed(time.time(), number, Fault("DamagedError", f"error.pb cannot be read: {error}", "system"))
    if await read_document(f"{prefix}/outputs.pb") is not None:
        return Succeeded(time.time(), number, prefix)
    return Failed(time.time(), number, _fault(ended, task, limit_bytes))


def _fault(ended: Exit, task: str, limit_bytes: int) -> Fault:
    code = ended.code
    if ended.over_limit:
        return Fault(CODE, over_limit(task, ended.peak_bytes, limit_bytes), "user")
    much = MUCH * limit_bytes if limit_bytes else machine_bytes() / 2
    if code == -signal.SIGKILL and ended.peak_bytes >= much:
        said = killed_with(task, ended.peak_bytes, limit_bytes or machine_bytes(), own=limit_bytes > 0)
        return Fault(CODE, said, "user")
    if code is None:
        return Fault("Interrupted", "the process of the attempt ended, and nobody saw how", "system")
    if code in _KILLED:
        return Fault("Interrupted", f"the process of the attempt was ended by {_KILLED[code]}", "system")
    if code == 0:
        return Fault("OutputsMissing", "the process of the attempt ended well, but left no outputs", "user")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return Fault(
        "ProcessEnded", f"the process of the attempt ended with {how} and left no error; its log may say more", "user"
    )
