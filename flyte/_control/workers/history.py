"""What bodies in a worker do to the history of the run: steps that are traced, what is waited for, what is printed.

The worker has :class:`HistoryRelay` in place of the journal. It tells :class:`Steps` in the run's own process, over a
pair of sockets of its own and in blocking calls, because traced functions may be sync and still run on an event loop.
"""

import asyncio
import marshal
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from flyte._control.recovery import Found
from flyte._core.context import TaskContext
from flyte._core.identity import ActionPhase
from flyte._core.threads import run_in_thread

from .channel import HEADER_BYTES, Message
from .failures import dump_failure, load_failure

_STEP_BITS = 32
_STEP_MASK = (1 << _STEP_BITS) - 1

# In the worker --------------------------------------------------------------------------------------------------------


class Line:
    """Questions to the run's own process, one at a time, from any thread.

    :param connection: blocking; None where nothing is remembered.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, *message: Any) -> None:
        """Say something that needs no answer."""
        payload = marshal.dumps(message)
        with self._lock:
            self._connection.sendall(len(payload).to_bytes(HEADER_BYTES, "big") + payload)

    def ask(self, *message: Any) -> Any:
        """Say something and wait for the answer."""
        payload = marshal.dumps(message)
        with self._lock:
            self._connection.sendall(len(payload).to_bytes(HEADER_BYTES, "big") + payload)
            size = int.from_bytes(self._receive(HEADER_BYTES), "big")
            (answer,) = marshal.loads(self._receive(size))
        return answer

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._connection.recv(min(size - len(data), 1 << 20))
            if not piece:
                raise ConnectionResetError("the run's process is gone")
            data += piece
        return bytes(data)


class RelayedRecord:
    """What a worker knows of an action, or of a step in it.

    :param id: the attempt's number in the upper half, in the lower one 0 for the action, else the step's number.
    """

    def __init__(self, id: int, again: bool) -> None:
        self.id = id
        self.run = 0
        self.again = again
        self.inputs: Any = b""
        self.outputs: Any = None
        self.begin: tuple[Any, ...] | None = None
        """What is still to be said of its beginning."""


def record_id(attempt: int, step: int = 0) -> int:
    """What an action, or a step in it, is called in one worker."""
    return attempt << _STEP_BITS | step


class _Count:
    kept = 0


class HistoryRelay:
    """The journal as a body in a worker meets it.

    :param attempt: number of the attempt.
    :param again: whether something may have been done before, by an earlier attempt or run.
    """

    past = None

    def __init__(self, line: Line, attempt: int, again: bool) -> None:
        self._line = line
        self._attempt = attempt
        self._again = again
        self._numbers = 0
        self._lock = threading.Lock()
        self._told = False
        self.lines = _Count()

    def begin_step(self, name: str, version: str, context: TaskContext, inputs_hash: str) -> RelayedRecord:
        """A traced function begins; said as soon as its inputs are known."""
        with self._lock:
            self._numbers += 1
            record = RelayedRecord(record_id(self._attempt, self._numbers), self._again)
        assert context.parent is not None
        above: RelayedRecord = context.parent.calls.record
        record.begin = (above.id, name, version, context.name, inputs_hash, context.parent.group)
        context.calls.record = record
        return record

    def _tell(self, what: str, record: RelayedRecord, *more: Any) -> None:
        self._told = True
        self._begin(record)
        self._line.tell(what, self._attempt, record.id, *more)

    def _ask(self, what: str, record: RelayedRecord, *more: Any) -> Any:
        self._begin(record)
        return self._line.ask(what, self._attempt, record.id, *more)

    def _begin(self, record: RelayedRecord) -> None:
        if record.begin is not None:
            begin, record.begin = record.begin, None
            inputs = record.inputs() if callable(record.inputs) else record.inputs
            self._line.tell("begin", self._attempt, record.id, *begin, inputs if isinstance(inputs, bytes) else b"")

    def look_up(self, record: RelayedRecord, version: str, name: str) -> Found | None:
        """What was done before of this very work."""
        answer = self._ask("look_up", record, version, name)
        # The run's own process knows which action it is of; another id than the record's means an earlier run's.
        return None if answer is None else Found(record.id if answer[0] else -1, (), answer[1])

    def started(self, record: RelayedRecord) -> None:
        """The step runs."""
        self._tell("started", record)

    def recovered_soon(self, record: RelayedRecord, found: Found) -> None:
        """The step was taken from an earlier run."""
        self._tell("recovered", record)

    def succeeded_alone(self, _: RelayedRecord) -> bool:
        """The step has ended well; always False, as :meth:`written` is to be awaited."""
        return False

    def written(self, record: RelayedRecord) -> Awaitable[None]:
        """Done when it is written for good that the step has ended well."""
        return run_in_thread(self.succeeded_at_once, record)

    def succeeded_at_once(self, record: RelayedRecord) -> None:
        """The step has ended well, which is written for good when this returns."""
        self._ask("succeeded", record, record.outputs)

    def failed(self, record: RelayedRecord, phase: ActionPhase, error: BaseException) -> None:
        """The step has ended otherwise."""
        self._tell("failed", record, phase.value, dump_failure(error, ""))

    def waits(self, record: RelayedRecord, what: str | None) -> None:
        """The action waits for ``what``."""
        self._tell("waits", record, what)

    def put_soon(self, _statement: str, values: tuple[Any, ...], _loop: object) -> None:
        """A line was printed or logged."""
        _, _, at, source, line = values
        self._told = True
        self._line.tell("log", self._attempt, values[1], at, source, line)

    def settle(self) -> None:
        """The attempt ends: what it has told is known when this returns."""
        if self._told:
            self._line.ask("settle", self._attempt, record_id(self._attempt))


# In the run's own process ---------------------------------------------------------------------------------------------


class Steps:
    """The steps of one attempt, as the journal knows them.

    :param context: of the action.
    """

    def __init__(self, context: TaskContext) -> None:
        self.context = context
        self.journal = context.execution.journal
        self._records: dict[int, Any] = {0: context.calls.record}
        self._found: dict[int, Found] = {}

    def receive(self, message: Message, answer: Callable[[Any], None]) -> None:
        """Do what a worker asks for.

        :param answer: called once if the worker waits for an answer.
        """
        what, _, identity, *more = message
        number = identity & _STEP_MASK
        if what == "begin":
            self._begin(number, *more)
            return
        record = self._records[number]
        if what == "look_up":
            found = self.journal.look_up(record, *more)
            if found is not None:
                self._found[number] = found
            answer(None if found is None else (found.action == record.id, found.outputs))
        elif what == "succeeded":
            record.outputs = more[0]
            task = asyncio.get_running_loop().create_task(self.journal.succeeded(record))
            task.add_done_callback(lambda done: answer(done.cancelled() or done.exception() is None))
        elif what == "started":
            self.journal.started(record)
        elif what == "recovered":
            self.journal.recovered_soon(record, self._found[number])
        elif what == "failed":
            self.journal.failed(record, ActionPhase(more[0]), load_failure(more[1]))
        elif what == "waits":
            self.journal.waits(record, more[0])
        elif what == "settle":
            answer(True)
        elif what == "log":
            self._log(record, *more)

    def _begin(
        self,
        number: int,
        above: int,
        name: str,
        version: str,
        action: str,
        digest: str,
        group: str | None,
        inputs: bytes,
    ) -> None:
        above &= _STEP_MASK
        over = self.context if above == 0 else self._records[above].context
        over = over.variant(group=group)
        context = TaskContext(self.context.execution, over, name, action)
        record = self.journal.begin_step(name, version, context, digest)
        record.inputs = inputs
        self._records[number] = record

    def _log(self, record: Any, at: float, source: str, line: str) -> None:
        from flyte._control import logs

        count = self.journal.lines.kept = self.journal.lines.kept + 1
        if count <= logs._LINES:
            self.journal.put_soon(logs._INSERT, (record.run, record.id, at, source, line), self.context.execution.loop)
