"""One attempt of one action in a process of its own: load the task, run it, leave its outputs or its error.

Importing this module loads all that a plain task needs, and nothing that only some tasks do (:mod:`.preload`).
"""

import asyncio
import errno
import gc
import signal
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flyte._control.attempt import plan_of, run_attempt, without_own_frames
from flyte._control.boundary import boundary_of
from flyte._core.command import Command
from flyte._core.context import Execution, TaskContext
from flyte._core.log import logger
from flyte._definition.task import TaskTemplate
from flyte.errors import BaseRuntimeError, RuntimeSystemError, TaskInterruptedError, user_error_from
from flyte.storage._chunks import read_chunks, write_chunks
from flyte.storage._uri import join
from flyte.types._inline import INLINE_BYTES
from flyte.types._raw_data import raw_data_path

from .loader import load_task
from .plane import PlaneController

if TYPE_CHECKING:
    from flyte.types._codec import Codec

EXIT_LOST, EXIT_TERMINATED = 3, 128 + signal.SIGTERM
_LEAVING_S = 60.0
"""How long an error may take to be written; a store that does not answer must not keep the container."""


async def run_action(command: Command, attempt: int) -> int:
    """Run the action that the command names, and give the exit code of its process.

    :param attempt: number of the attempt, from 0.
    """
    here = asyncio.current_task()
    assert here is not None
    terminated = False
    begun: list[Execution] = []

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        for execution in begun:
            # Its children are not what was told to end: the next attempt finds them.
            execution.closing = True
        here.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        await _act(command, attempt, begun)
        return 0
    except _UsersFailure as failed:
        return await _leave(command, _classified(failed.error), 0)
    except asyncio.CancelledError:
        if not terminated:
            raise
        here.uncancel()
        interrupted = TaskInterruptedError(
            "Interrupted", f"the process of action {command.name} of run {command.run_name} was told to end (SIGTERM)"
        )
        return await _leave(command, interrupted, EXIT_TERMINATED)
    except BaseException as raised:
        error = _classified(raised)
        # What the SDK says of itself is for the control plane; anything else, such as an ImportError, is the code's.
        return await _leave(command, error, 0 if isinstance(error, BaseRuntimeError) else 1)


class _UsersFailure(Exception):
    """The attempt was made, and failed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


async def _act(command: Command, attempt: int, begun: list[Execution]) -> None:
    """Load, run, and leave the outputs.

    :param begun: takes what is run, once it is.
    """
    task, bundle = await load_task(command)
    gc.freeze()
    gc.enable()
    context = _context(command, attempt, task, bundle)
    begun.append(context.execution)
    token = raw_data_path.set(context.execution.raw_data_path)
    try:
        # Also where a task takes nothing: the custom context is beside the arguments.
        data = await _read_inputs(command, bool(task.interface.inputs))
        arguments = await _arguments(command, task, context, data)
        boundary = boundary_of(task.interface)
        values, pieces = await boundary.take_awaiting(task.name, (), arguments)
        plan = plan_of(task)
        inline_bytes = sum(map(len, pieces)) - plan.overhead_bytes
        try:
            try:
                result = await run_attempt(plan, context, values, inline_bytes, {})
            finally:
                assert context.execution.controller is not None
                await context.execution.controller.stop()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            error.__traceback__ = without_own_frames(error.__traceback__)
            raise _UsersFailure(error) from None
        outputs = await _outputs(task, result, [codec for _, codec in boundary.outputs])
    finally:
        raw_data_path.reset(token)
    await _write(command, "outputs.pb", outputs)


# Messages, and protobuf with them, take longer to load than all else that a task without values needs: it reads and
# writes empty ones, whose bytes are none.


async def _arguments(
    command: Command, task: TaskTemplate[Any, Any, Any], context: TaskContext, data: bytes
) -> dict[str, Any]:
    """The arguments of the call; the custom context goes into ``context``."""
    if not data and not task.interface.inputs:
        return {}
    from flyte._wire.values import arguments_from, context_of, fill_kickoff, parse_inputs

    inputs = parse_inputs(data, command.inputs)
    said = context.run_start_time if command.run_start_time else None
    await fill_kickoff(task.interface, inputs, said, task_name=task.name)
    context.custom_context = context_of(inputs)
    return await arguments_from(task.interface, inputs, task_name=task.name)


async def _outputs(task: TaskTemplate[Any, Any, Any], result: Any, codecs: "list[Codec[Any]]") -> bytes:
    """The message of the results, as bytes.

    :param codecs: of each result.
    """
    if not task.interface.outputs:
        return b""
    from flyte._wire.values import outputs_from

    outputs = await outputs_from(task.interface, result, task_name=task.name)
    if outputs.ByteSize() > INLINE_BYTES:
        from flyte.types._offload import store_large_literals

        await store_large_literals(outputs.literals, codecs)
    return outputs.SerializeToString(deterministic=True)


def _context(command: Command, attempt: int, task: TaskTemplate[Any, Any, Any], bundle: Any) -> TaskContext:
    checkpoints = None
    if command.checkpoint_path:
        from flyte._core.paths import CheckpointPaths

        checkpoints = CheckpointPaths(command.prev_checkpoint, command.checkpoint_path)
    execution = Execution(
        run_name=command.run_name,
        controller=PlaneController(command, bundle),
        loop=asyncio.get_running_loop(),
        mode="remote",
        project=command.project,
        domain=command.domain,
        org=command.org,
        version=command.version,
        raw_data_path=command.raw_data_path or "",
        run_base_dir=command.run_base_dir,
        outputs_path=command.outputs_path,
        checkpoint_paths=checkpoints,
        code_bundle=bundle,
        interactive_mode=command.interactive_mode,
        start_time=_start_time(command.run_start_time),
    )
    scope = TaskContext(execution, None, "", None)
    return TaskContext(execution, scope, task.name, command.name, attempt_number=attempt)


def _start_time(said: str | None) -> datetime:
    # A control plane that does not say leaves the same constant to everybody (wire-protocol section 5.1, row 10).
    return datetime.fromisoformat(said) if said else datetime.fromtimestamp(0, UTC)


async def _leave(command: Command, error: BaseException, code: int) -> int:
    """Leave an error for the control plane, and the traceback in the log."""
    # A task that fails pays for what tells of it.
    from flyte._journal.redaction import redact
    from flyte._wire.faults import error_document

    sys.stderr.write(redact("".join(traceback.format_exception(error))))
    sys.stderr.flush()
    document = error_document(error, action=command.name, traceback=True)
    document.error.message = redact(document.error.message)
    try:
        async with asyncio.timeout(_LEAVING_S):
            await _write(command, "error.pb", document.SerializeToString(deterministic=True))
    except Exception as lost:
        logger.error("the error of action %s could not be written: %s", command.name, lost)
        return EXIT_LOST
    return code


def _classified(error: BaseException) -> BaseException:
    """What the control plane is told of ``error``, where the class alone does not say it."""
    if isinstance(error, MemoryError):
        return user_error_from(error)
    if isinstance(error, OSError) and error.errno == errno.EIO:
        said = RuntimeSystemError("FilesystemIOError", f"a file of this machine cannot be read or written: {error}")
        return said.with_traceback(error.__traceback__)
    return error


async def _read_inputs(command: Command, needed: bool) -> bytes:
    try:
        return await _read(command.inputs)
    except FileNotFoundError:
        if needed:
            raise
        return b""


async def _read(uri: str) -> bytes:
    return b"".join([chunk async for chunk in read_chunks(uri)])


async def _write(command: Command, name: str, data: bytes) -> None:
    await write_chunks(data, join(command.outputs_path, name))
