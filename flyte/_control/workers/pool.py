"""WorkerPool: runs the attempts of one run in worker processes.

It stands in for ``run_attempt`` as ``Execution.attempt``: the same parameters, result and errors. The controller around
it repeats, limits, caches and records as it does for bodies in its own process.
"""

import asyncio
import dataclasses
import itertools
import logging
import math
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flyte._control.attempt import GRACE_S, Plan, _hand_over, failure_of, reason_of, stop
from flyte._core.clock import Clock
from flyte._core.context import Execution, TaskContext
from flyte._core.log import logger
from flyte._core.memory import CODE as OUT_OF_MEMORY
from flyte._core.memory import MUCH, killed_with, over_limit
from flyte._core.slots import WHOLE, Request, Slots
from flyte._core.trees import machine_bytes
from flyte._core.verdict import max_runtime_text
from flyte._definition.task import TaskTemplate
from flyte.errors import MaxQueuedTimeExceededError, MaxRuntimeExceededError, OOMError, RuntimeSystemError
from flyte.storage._config import configured
from flyte.types._annotations import pickled_parts
from flyte.types._stored import dump_values

from .addresses import Book, alias_main, pickled
from .calls import Attempt, passing
from .channel import Message
from .failures import load_failure
from .process import CLEAN_UP_S, WorkerProcess
from .replicas import ReplicaSet
from .warden import Warden

STOPPING_S = 1.0
"""How long the processes may take to end by themselves when the run has ended."""
MOST_WARMED = 4
"""So many processes are started at once with the run; more when they are needed."""
STUCK_S = (0.05, 5.0)
"""First and longest time after which one more body is started when all who run wait for something else."""


class WorkerPool:
    """Warm processes for one run, and who may use them. Made on the run's event loop; must be closed.

    :param workers: how many bodies run at once, and how many processors they may ask for together.
    :param execution: the run.
    """

    def __init__(self, workers: int, execution: Execution) -> None:
        self._workers = workers
        self._execution = execution
        self._clock: Clock = execution.clock
        self._loop = asyncio.get_running_loop()
        self._slots = Slots(workers, machine_bytes())
        self._book = Book()
        # One more than bodies run at once, as a root mostly waits for its calls.
        self._shared = ReplicaSet(workers + 1, math.inf)
        self._reusable: dict[object, ReplicaSet] = {}
        self._numbers = itertools.count()
        self._sweeping: dict[ReplicaSet, asyncio.Task[None]] = {}
        self._closed = False
        self._unsticking: asyncio.TimerHandle | None = None
        self._stuck_s = STUCK_S[0]
        self._setup: dict[str, Any] = {}
        self._warden: Warden | None = None

    def open(self, task: TaskTemplate[Any, Any, Any]) -> None:
        """Start the first processes; they get ready while the run begins.

        :param task: the root, whose module they import.
        """
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()  # what was printed before comes before what workers print
        self._setup = self._settings(task)
        self._warden = Warden()
        for _ in range(min(self._shared.least, MOST_WARMED)):
            self._start(self._shared)

    def _settings(self, task: TaskTemplate[Any, Any, Any]) -> dict[str, Any]:
        main = alias_main()
        plain: dict[str, Any] = {"start_time": self._execution.start_time.isoformat()}
        for field in dataclasses.fields(Execution):
            value = getattr(self._execution, field.name)
            if value is None or type(value) in (str, bool, int, tuple):
                plain[field.name] = value
        # Not what only the run's own process has.
        for name in ("controller", "recorder", "attempt", "journal", "code_bundle", "closing"):
            plain.pop(name, None)
        said = next((h for h in logger.handlers if h.get_name() == "flyte-console"), None)
        form = "json" if said is not None and "Json" in type(said.formatter).__name__ else "console"
        user_level = logging.getLogger("flyte.user").level
        storage = configured.get()
        address = self._book.address(task)
        return {
            "execution": plain,
            "main": main,
            "argv": [str(word) for word in sys.argv],
            "log": (logger.level, form, user_level, False) if said is not None else None,
            "storage": pickled(storage, task.name, self._book) if storage is not None else None,
            "preload": [address] if address[0] == "placed" else [],
        }

    # Attempts -------------------------------------------------------------------------------------------------------

    async def attempt(
        self, plan: Plan, context: TaskContext, values: Sequence[Any], inline_bytes: int, variables: Mapping[str, str]
    ) -> Any:
        """Run the body once, in a worker, and give its result as the caller sees it; see ``run_attempt``."""
        context.runner = asyncio.current_task()
        failure: BaseException | None = None
        result: Any = None
        kind = self._set_of(plan)
        request = self._request(plan, context, kind)
        attempt = Attempt(next(self._numbers), plan, context, request, self._slots, self._book)
        try:
            passed = passing.get()
            if passed is not None and passed.task is plan.task:
                data = passed.inputs
            else:
                passed = None
                data = await dump_values(zip(plan.boundary.names, plan.boundary.inputs, strict=True), values)
            address = self._book.address(plan.task)
            await self._wait_for_slot(attempt)
            recorder = context.execution.recorder
            if recorder is not None:
                recorder.action_started(context)
            self._place(attempt, kind)
            strings = {str(key): str(value) for key, value in context.custom_context.items()}
            action = (context.name, context.task_name, context.attempt_number, strings)
            shown = {str(key): str(value) for key, value in variables.items()}
            process = attempt.process
            assert process is not None
            if address[0] == "pickled" and address[1] not in process.known:
                process.send("learn", address, self._book.payload(address))
                process.known.add(address[1])
            history = None
            if attempt.steps is not None:
                journal = attempt.steps.journal
                history = bool(context.calls.record.again or journal.past is not None)
            process.send("start", attempt.number, address, data, inline_bytes, shown, action, history)
            kept = await self._follow(attempt, kind)
            result = await plan.boundary.load(kept)
            if passed is not None:
                passed.result, passed.outputs = result, kept
            # What a worker has pickled may name the program's own module, which only processes of this run know so.
            if context.calls.record is not None and not _pickles(plan):
                context.calls.record.outputs = kept
        except GeneratorExit:
            context.calls.closed = True
            raise
        except BaseException as error:
            failure = error
        finally:
            self._leave(attempt, kind)
        if failure is None:
            context.calls.succeeded = True
            if left := context.calls.running():
                _hand_over(context, left)
            return result
        context.calls.closed = True
        try:
            if left := context.calls.running():
                await stop(left, reason=reason_of(failure, context))
            raise failure_of(failure, plan, context)
        finally:
            del failure

    def _set_of(self, plan: Plan) -> ReplicaSet:
        policy = plan.task.reusable
        if policy is None:
            return self._shared
        key = (plan.task.parent_env_name or plan.name, policy)
        kind = self._reusable.get(key)
        if kind is None:
            kind = self._reusable[key] = ReplicaSet.of(policy)
            for _ in range(kind.least):
                self._start(kind)
        return kind

    def _request(self, plan: Plan, context: TaskContext, kind: ReplicaSet) -> Request:
        depth = 0
        above = context.parent
        while above is not None:
            depth, above = depth + 1, above.parent
        resources = plan.task.resources
        cores = resources.cpu_range() if resources is not None else None
        memory = resources.memory_range() if resources is not None else None
        shared = kind.concurrency
        return Request(
            granted=lambda: None,
            depth=depth,
            body=WHOLE // shared,
            cpu=int((cores[0] if cores is not None else 1.0) * WHOLE) // shared,
            memory=(memory[0] if memory is not None else 0) // shared,
            key=kind if kind.capacity else None,
            capacity=kind.capacity,
        )

    async def _wait_for_slot(self, attempt: Attempt) -> None:
        timeout = attempt.plan.timeout
        limit_s = timeout.max_queued_time_s if timeout is not None else None
        try:
            async with asyncio.timeout(limit_s):
                await attempt.acquire(self._check_stuck)
        except TimeoutError:
            raise MaxQueuedTimeExceededError(
                f"task {attempt.plan.name!r} waited {limit_s:g} s for one of {self._workers} workers, which is its "
                "max_queued_time; raise it with override(timeout=...), or give more workers"
            ) from None

    def _place(self, attempt: Attempt, kind: ReplicaSet) -> None:
        if self._closed:
            raise RuntimeSystemError("WorkersClosed", f"task {attempt.plan.name!r} was called when its run had ended")
        resources = attempt.plan.task.resources
        memory = resources.memory_range() if resources is not None else None
        process = kind.choose()
        if process is not None and memory is not None and kind is self._shared and process.holds(memory[1]):
            self._stop(process)
            process = None
        if process is None:
            process = self._start(kind)
        process.idle_since = None
        process.attempts[attempt.number] = attempt
        attempt.process = process
        if memory is not None:
            process.limit_memory(attempt.number, memory[1])

    async def _follow(self, attempt: Attempt, kind: ReplicaSet) -> bytes:
        """What the body returned, as bytes."""
        timeout = attempt.plan.timeout
        limit_s = timeout.max_runtime_s if timeout is not None else None
        try:
            await asyncio.wait({attempt.reply}, timeout=limit_s)
        except asyncio.CancelledError:
            await self._abandon(attempt, kind)
            raise
        if not attempt.reply.done():
            await self._abandon(attempt, kind)
            raise MaxRuntimeExceededError(max_runtime_text(attempt.plan.name, limit_s or 0.0))
        reply = attempt.reply.result()
        if reply[0] == "done":
            data: bytes = reply[2]
            return data
        if reply[0] == "failed":
            raise load_failure(reply[2])
        if reply[0] == "cancelled":
            raise asyncio.CancelledError(f"task {attempt.plan.name!r} was cancelled in its worker")
        raise self._loss(attempt)

    async def _abandon(self, attempt: Attempt, kind: ReplicaSet) -> None:
        """End a body, let it clean up where it can, and end all that it started."""
        process = attempt.process
        assert process is not None
        attempt.context.calls.closed = True
        for call in list(attempt.calls):
            attempt.stop_call(call)
        kept = False
        try:
            if attempt.plan.is_sync:
                process.terminate()
            else:
                process.send("cancel", attempt.number)
            done, _ = await asyncio.wait({attempt.reply}, timeout=CLEAN_UP_S)
            kept = bool(done) and not attempt.plan.is_sync and kind is not self._shared
        finally:
            if not kept:
                process.kill()
        if not kept:
            await asyncio.wait({asyncio.ensure_future(process.ended.wait())}, timeout=GRACE_S)
        if attempt.calls:
            await asyncio.wait(set(attempt.calls.values()), timeout=GRACE_S)

    def _leave(self, attempt: Attempt, kind: ReplicaSet) -> None:
        attempt.close()
        process = attempt.process
        if process is not None and not process.attempts and not process.closing:
            process.idle_since = self._clock.monotonic()
            self._look_after(kind)

    def _loss(self, attempt: Attempt) -> BaseException:
        """Why the process of an attempt is gone."""
        process, plan = attempt.process, attempt.plan
        assert process is not None
        resources = plan.task.resources
        memory = resources.memory_range() if resources is not None else None
        where = f"process {process.pid}"
        if process.over_limit is not None:
            limit, used = process.over_limit
            return OOMError(
                OUT_OF_MEMORY,
                over_limit(plan.name, used, limit),
                where,
                limit=limit,
                peak=used,
            )
        limit = memory[1] if memory is not None else machine_bytes()
        much = MUCH * limit if memory is not None else limit / 2
        if process.status == -signal.SIGKILL and not process.ours and process.peak_bytes >= much:
            return OOMError(
                OUT_OF_MEMORY,
                killed_with(plan.name, process.peak_bytes, limit, own=memory is not None),
                where,
                limit=limit,
                peak=process.peak_bytes,
            )
        if process.ours:
            return RuntimeSystemError(
                "WorkerEnded",
                f"task {plan.name!r} shared worker {where} with a body that did not end when it was cancelled, and was "
                "ended with it",
                where,
            )
        return RuntimeSystemError(
            "WorkerDied",
            f"task {plan.name!r}: its worker {where} {process.describe_end()} before the body had ended",
            where,
        )

    # Processes ------------------------------------------------------------------------------------------------------

    def _start(self, kind: ReplicaSet) -> WorkerProcess:
        assert self._warden is not None

        def ended(process: WorkerProcess) -> None:
            kind.processes.remove(process)
            for attempt in list(process.attempts.values()):
                attempt.lost()
            # One that died while it was warm is replaced at once, one that never got there is not.
            if not self._closed and process.ready.is_set() and not process.ours and len(kind.processes) < kind.least:
                self._start(kind)

        process = WorkerProcess(self._setup, self._warden, self._on_message, ended)
        process.idle_since = self._clock.monotonic()
        kind.processes.append(process)
        return process

    def _stop(self, process: WorkerProcess) -> None:
        process.closing = True
        process.send("stop")
        self._loop.call_later(STOPPING_S, process.kill)

    def _look_after(self, kind: ReplicaSet) -> None:
        """See that what is not needed any more goes in time."""
        sweeping = self._sweeping.get(kind)
        if not self._closed and (sweeping is None or sweeping.done()) and kind.next_look() is not None:
            self._sweeping[kind] = self._loop.create_task(self._sweep(kind))

    async def _sweep(self, kind: ReplicaSet) -> None:
        while (look := kind.next_look()) is not None:
            await self._clock.sleep(max(0.001, look - self._clock.monotonic()))
            for process in kind.expired(self._clock.monotonic()):
                self._stop(process)

    def _on_message(self, process: WorkerProcess, message: Message) -> None:
        kind, *rest = message
        if kind == "learn":
            self._book.learn(*rest)
        elif kind == "idle":
            received, numbers = rest
            # Another message is under way: because of it some body goes on, and will tell again when it waits.
            if received == process.sent:
                for number in numbers:
                    if number in process.attempts:
                        process.attempts[number].pause()
        elif (attempt := process.attempts.get(rest[0])) is None:
            return
        elif kind == "call":
            attempt.start_call(*rest[1:])
        elif kind == "condition":
            attempt.start_condition(*rest[1:])
        elif kind == "wait":
            attempt.start_wait(*rest[1:])
        elif kind == "uncall":
            attempt.stop_call(*rest[1:])
        elif kind == "resume":
            attempt.wake()
        elif kind == "soft":
            attempt.soften(rest[1])
            self._check_stuck()
        elif kind == "firm":
            attempt.firm()
            self._stuck_s = STUCK_S[0]
        elif not attempt.reply.done():
            attempt.reply.set_result(message)

    def _check_stuck(self) -> None:
        # All who may run wait for a place under a limit, say, and whoever has it may be waiting for a slot.
        if self._unsticking is None and self._slots.is_stuck and not self._closed:
            self._unsticking = self._loop.call_later(self._stuck_s, self._unstick)

    def _unstick(self) -> None:
        self._unsticking = None
        if self._slots.is_stuck:
            self._stuck_s = min(2 * self._stuck_s, STUCK_S[1])
            self._slots.yield_one()
            self._check_stuck()
        else:
            self._stuck_s = STUCK_S[0]

    async def close(self) -> None:
        """End all processes; none is left when it returns."""
        self._closed = True
        if self._unsticking is not None:
            self._unsticking.cancel()
        for sweeping in self._sweeping.values():
            sweeping.cancel()
        left = [p for kind in (self._shared, *self._reusable.values()) for p in kind.processes]
        try:
            for process in left:
                if process.attempts or process.closing:
                    process.kill()
                else:
                    self._stop(process)
            await self._wait_for_end(left, STOPPING_S)
        finally:
            for process in left:
                process.kill()
            try:
                await self._wait_for_end(left, STOPPING_S)
            finally:
                for process in left:
                    process.end_now()
                if self._warden is not None:
                    self._warden.close()

    @staticmethod
    async def _wait_for_end(processes: list[WorkerProcess], limit_s: float) -> None:
        waits = [asyncio.ensure_future(process.ended.wait()) for process in processes if not process.ended.is_set()]
        if waits:
            await asyncio.wait(waits, timeout=limit_s)
            for wait in waits:
                wait.cancel()


def _pickles(plan: Plan) -> bool:
    return any(pickled_parts(annotation) for annotation in plan.task.interface.outputs.values())
