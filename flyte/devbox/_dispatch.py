"""The queue: actions in, attempts started on the executor, what became of them, and who is told.

Everything here happens on one event loop. A change is decided by :mod:`._machine`, written, and only when it is
committed are its effects carried out and watchers told.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from flyteidl2.task.task_definition_pb2 import TaskSpec

from flyte._core.identity import ActionPhase
from flyte._core.log import logger
from flyte._core.slots import WHOLE, Request, Slots
from flyte._core.verdict import parent_ended_text
from flyte._wire.identity import phase_to_wire

from ._cached import Cached
from ._machine import (
    Aborted,
    Answered,
    Effect,
    Event,
    Failed,
    Fault,
    Started,
    State,
    Succeeded,
    Ticked,
    Withdrawn,
    next_look_at,
    step,
)
from ._mounts import VARIABLE, Mounts
from ._orders import Needs, Place, command_of, environment_of, image_of, needs_of
from ._outcome import outcome_of
from ._rows import TASK, Live, Run, attempt_ended, attempt_started, attempt_ticket, update_message, update_of
from ._store import Statement, Store
from ._watch import Changes
from .executors.executor import CannotRun, Executor, Exit, Order

GRACE_S = 5.0
"""How long an attempt may clean up after it was told to end."""
_SWEEP_S = 5.0
"""How often every attempt is checked to be alive, whatever its own watcher says."""


class Dispatcher:
    """Runs what is queued.

    :param executor: runs attempts.
    :param folder: of the attempts' working directories and logs.
    :param variables: what every attempt is told of this control plane.
    :param places: how many attempts may work at the same time; those that wait for children do not count.
    :param cpus: how many processors these may ask for together.
    :param memory_bytes: how much memory they may ask for together.
    :param secrets: the values of a task's secrets, by variable; raises LookupError for one that is missing.
    :param secret_files: those that it reads from files, by path.
    """

    def __init__(
        self,
        store: Store,
        changes: Changes,
        executor: Executor,
        *,
        folder: Path,
        places: int,
        cpus: float,
        memory_bytes: int,
        variables: dict[str, str],
        specs: Callable[[bytes], TaskSpec],
        secrets: Callable[[TaskSpec, Run], dict[str, str]],
        secret_files: Callable[[TaskSpec, Run], dict[str, bytes]],
    ) -> None:
        self.store = store
        self.changes = changes
        self.executor = executor
        self.runs: dict[int, Run] = {}
        """The runs of which something has not ended."""
        self._by_name: dict[tuple[str, str, str], Run] = {}
        self._folder = str(folder)
        self.slots = Slots(places, memory_bytes, cpus)
        self.variables = variables
        self._specs = specs
        self._secrets = secrets
        self._secret_files = secret_files
        self._mounts = Mounts(folder.with_name("secrets"))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cached = Cached(store, specs)
        self._stopped = False
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when a change cannot be written, for instance because the disk is full: the devbox must end."""

    # Coming in --------------------------------------------------------------------------------------------------------

    async def admit(self, live: Live, *statements: Statement, answer: Event | None = None) -> None:
        """Take a new action, written by ``statements``; it is queued when this returns.

        That is done to its end also for a caller whose connection breaks meanwhile: what is written is queued.

        :param answer: how it ends, if it need not run.
        """
        await asyncio.shield(self._spawn(self._admit(live, statements, answer)))

    async def _admit(self, live: Live, statements: Sequence[Statement], answer: Event | None) -> None:
        run = live.run
        live.queued_at = live.state.created_at
        self._know(run)
        run.live[live.name] = live
        self._give(live, live.parent)
        parent = run.live.get(live.parent)
        if parent is not None:
            self._count_child(parent, 1)
        try:
            await self.store.write(*statements)
        except BaseException:
            self._forget(live)
            raise
        self._tell(live, live.state)
        if answer is not None:
            self.apply(live, answer)
        elif live.state.phase is ActionPhase.QUEUED:
            self._queue(live)
        self._look_later(live)

    def resume(self, left: Sequence[Live]) -> None:
        """Go on with the actions that an earlier devbox left unfinished."""
        for live in left:
            self._know(live.run)
            live.run.live[live.name] = live
        for live in left:
            self._give(live, self._nearest(live))
            if (parent := live.run.live.get(live.parent)) is not None:
                parent.children += 1
        for live in left:
            self._resume(live)
            if live.parent and not live.owner:
                # What it belonged to has ended, and the earlier devbox was killed before it could end this one too.
                self.apply(live, Aborted(time.time(), parent_ended_text(live.parent)))
        self._mounts.keep({_mount_of(live, live.state.attempt) for live in left if live.ticket is not None})
        # The earlier devbox was also killed between writing that an attempt is at an end and seeing to it.
        sql = "SELECT process FROM attempt WHERE phase IN (?, ?) AND process != ''"
        for row in self.store.rows(sql, (phase_to_wire(ActionPhase.ABORTED), phase_to_wire(ActionPhase.TIMED_OUT))):
            if self.executor.is_alive(row["process"]):
                self._spawn(self.executor.stop(row["process"], GRACE_S))

    def _nearest(self, live: Live) -> str:
        """The action that ``live`` belongs to: the nearest above it that has not ended; empty if there is none."""
        name = live.parent
        succeeded = phase_to_wire(ActionPhase.SUCCEEDED)
        while name and name not in live.run.live:
            sql = "SELECT parent FROM action WHERE run = ? AND name = ? AND phase = ?"
            row = self.store.row(sql, (live.run.id, name, succeeded))
            name = row["parent"] if row is not None else ""
        return name

    def _resume(self, live: Live) -> None:
        if live.kind == TASK and live.state.phase is ActionPhase.RUNNING:
            self.slots.occupy(self._ask(live))
            if live.children:
                self.slots.pause(live.slot)
            self._cached.reserve_again(live)
            if live.ticket is None:
                live.ticket = self.executor.find(Path(self._folder_of(live, live.state.attempt)))
                self.store.submit([attempt_ticket(live)])
            if live.ticket:
                self._spawn(self._follow(live, live.ticket, live.state.attempt, adopted=True))
            else:
                self._spawn(self._conclude(live, Exit(None), live.state.attempt, adopted=True))
        elif live.state.phase is ActionPhase.QUEUED:
            self._queue(live)
        self._look_later(live)

    def _know(self, run: Run) -> None:
        self.runs[run.id] = run
        self._by_name[run.project, run.domain, run.name] = run

    def find_run(self, project: str, domain: str, name: str) -> Run | None:
        """A run of which something has not ended."""
        return self._by_name.get((project, domain, name))

    def find(self, run: int, name: str) -> Live | None:
        """An action that has not ended."""
        found = self.runs.get(run)
        return None if found is None else found.live.get(name)

    # The queue --------------------------------------------------------------------------------------------------------

    def _queue(self, live: Live) -> None:
        wait_s = live.state.not_before - time.time()
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._queue, live)
        elif live.state.phase is ActionPhase.QUEUED:
            self.slots.submit(self._ask(live))

    def _needs(self, live: Live) -> Needs:
        """What an attempt takes of the machine; nothing, if that cannot be read, so that its start says why."""
        if live.spec is None:
            return Needs()
        try:
            return needs_of(self._specs(live.spec).task_template)
        except ValueError:
            return Needs()

    def _ask(self, live: Live) -> Request:
        """The place that an action asks for, or has."""
        needs = self._needs(live)
        if needs.beyond(self.slots.cpus / WHOLE, self.slots.memory):
            needs = Needs()  # it will never fit: its start says so
        above = live.run.live.get(live.parent)
        live.slot = asked = Request(
            granted=lambda: self._granted(live),
            depth=above.slot.depth + 1 if above is not None and above.slot is not None else 0,
            cpu=int(needs.cpus * WHOLE),
            memory=needs.memory_bytes,
        )
        return asked

    def _granted(self, live: Live) -> None:
        if live.state.phase is not ActionPhase.QUEUED or self._stopped:
            return  # a parent that has its place again
        if live.state.not_before > time.time():  # the clock was set back
            self._leave(live)
            self._queue(live)
        else:
            self._begin(live)

    def _leave(self, live: Live) -> None:
        """It takes no place any more."""
        if live.slot is not None and live.slot.state != "done":
            self.slots.release(live.slot)

    def _begin(self, live: Live) -> None:
        if live.state.attempt == 0 and live.cache_key:
            found = self._cached.find(live)
            if found is not None or self._cached.must_wait(live):
                self._leave(live)
                if found is not None:
                    self.apply(live, Answered(time.time(), found))
                return
        self.apply(live, Started(time.time()))

    def _start(self, live: Live) -> None:
        """Begin the attempt that the state speaks of; it is written already."""
        if live.state.phase is not ActionPhase.RUNNING or self._stopped:
            return
        number = live.state.attempt
        folder = self._folder_of(live, number)
        try:
            live.ticket = self.executor.start(self._order(live, Path(folder)))
        except CannotRun as error:
            fault = Fault(error.code, str(error), "user", recoverable=False)
        except LookupError as error:
            fault = Fault("SecretNotFound", str(error.args[0]), "user", recoverable=False)
        except OSError as error:
            fault = Fault("CannotStart", f"the attempt could not be started: {error}", "system")
        except Exception as error:  # a mistake of ours ends the attempt, rather than leave it running for ever
            logger.exception("attempt %d of action %s could not be started", number, live.name)
            fault = Fault("CannotStart", f"the attempt could not be started: {error!r}", "system")
        else:
            self.store.submit([attempt_ticket(live)])
            self._spawn(self._follow(live, live.ticket, number))
            return
        self._mounts.remove(_mount_of(live, number))
        self.apply(live, Failed(time.time(), number, fault))

    def _folder_of(self, live: Live, number: int) -> str:
        return f"{self._folder}/{live.run.id}/{live.name}/{number}"

    def _order(self, live: Live, folder: Path) -> Order:
        assert live.spec is not None
        spec = self._specs(live.spec)
        run, state = live.run, live.state
        base = live.run_output_base.rstrip("/")
        place = Place(
            org=run.org or "local",
            project=run.project,
            domain=run.domain,
            run=run.name,
            action=live.name,
            attempt=state.attempt,
            input_uri=live.input_uri,
            run_output_base=base,
            output_prefix=live.output_prefix,
            previous_prefix=self._prefix(live, state.attempt - 1) if state.attempt > 1 else None,
            raw_data_prefix=run.spec.raw_data_storage.raw_data_prefix or f"{live.output_prefix}/raw",
            started_at=run.spec.run_start_time.ToMilliseconds() / 1000,
        )
        self._check_fits(spec)
        variables = environment_of(spec, run.spec, place) | self._secrets(spec, run) | self.variables
        if files := self._secret_files(spec, run):
            variables[VARIABLE] = str(self._mounts.put(_mount_of(live, state.attempt), files))
        return Order(command_of(spec.task_template, place), image_of(spec.task_template), variables, folder)

    def _check_fits(self, spec: TaskSpec) -> None:
        try:
            beyond = needs_of(spec.task_template).beyond(self.slots.cpus / WHOLE, self.slots.memory)
        except ValueError as error:
            raise CannotRun(str(error), "InvalidResources") from None
        if beyond:
            raise CannotRun(
                f"task {spec.task_template.id.name!r} asks for {beyond}, so that it would never start here; ask for "
                "less with override(resources=...), run it on a cluster, or let this devbox promise more with flyte "
                "start devbox --cpus or --memory",
                "InsufficientResources",
            )

    @staticmethod
    def _prefix(live: Live, number: int) -> str:
        return f"{live.run_output_base.rstrip('/')}/{live.name}/{number}"

    # Attempts ---------------------------------------------------------------------------------------------------------

    async def _follow(self, live: Live, ticket: str, number: int, *, adopted: bool = False) -> None:
        ended = await self.executor.wait(ticket, self._needs(live).limit_bytes)
        self._mounts.remove(_mount_of(live, number))
        await self._conclude(live, ended, number, adopted=adopted)

    async def _conclude(self, live: Live, ended: Exit, number: int, *, adopted: bool = False) -> None:
        prefix = self._prefix(live, number)
        if live.state.phase is not ActionPhase.RUNNING or live.state.attempt != number:
            return
        try:
            event: Event = await self._outcome(live, prefix, ended, number)
        except Exception as error:
            logger.warning("the outcome of %s cannot be read: %s", prefix, error)
            event = Failed(time.time(), number, Fault("OutcomeUnreadable", f"{prefix}: {error}", "system"))
        if adopted and ended.code is None and isinstance(event, Failed) and not self._has_begun(live, number):
            # The earlier devbox was killed while it began this one: nothing of it ran, and no failure is counted.
            event = Withdrawn(time.time(), number)
        if live.state.attempt == number:  # meanwhile it may have been concluded, and another attempt been begun
            live.ticket = None
        if self.apply(live, event) and isinstance(event, Withdrawn):
            self._queue(live)
        if isinstance(event, Succeeded):
            # What was unpacked there can be unpacked again; of a failed attempt it may say something.
            await asyncio.to_thread(shutil.rmtree, f"{self._folder_of(live, number)}/work", ignore_errors=True)

    def _has_begun(self, live: Live, number: int) -> bool:
        """Whether an attempt came to do anything: the first is that its code is unpacked."""
        folder = Path(self._folder_of(live, number)) / "work"
        return folder.exists() and any(folder.iterdir())

    async def _outcome(self, live: Live, prefix: str, ended: Exit, number: int) -> Event:
        assert live.spec is not None
        task = self._specs(live.spec).task_template.id.name
        return await outcome_of(prefix, number, ended, task, self._needs(live).limit_bytes)

    async def sweep(self) -> None:
        """Find attempts whose end nobody noticed, for as long as the devbox runs."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            for run in list(self.runs.values()):
                for live in list(run.live.values()):
                    ticket, number = live.ticket, live.state.attempt
                    if ticket is not None and not self.executor.is_alive(ticket):
                        await asyncio.sleep(1.0)  # its own watcher may be about to say so
                        if live.ticket == ticket:
                            await self._conclude(live, Exit(None), number)

    # Changes ----------------------------------------------------------------------------------------------------------

    def apply(self, live: Live, event: Event, *also: Statement) -> bool:
        """Change an action by ``event``; whether it changed. It is told when it is written, with ``also``."""
        before = live.state
        live.state, effects = step(before, live.policy, event)
        if live.state is before:
            return False
        at = event.at
        statements = [*also, update_of(live, at)]
        if isinstance(event, Started):
            live.output_prefix = self._prefix(live, live.state.attempt)
            statements.append(attempt_started(live, self._folder_of(live, live.state.attempt)))
        elif before.phase is ActionPhase.RUNNING and live.state.phase is not ActionPhase.RUNNING:
            self._leave(live)
            ended, fault = _attempt_end(live.state, event)
            statements.append(attempt_ended(live, before.attempt, ended, fault, at))
        if Effect.FINISH in effects:
            statements += self._cached.put(live)
        ticket, live.ticket = (live.ticket, None) if Effect.STOP in effects else (None, live.ticket)
        done = self.store.submit(statements)
        state = live.state
        done.add_done_callback(lambda written: self._applied(live, event, state, effects, ticket, written))
        return True

    def _applied(
        self,
        live: Live,
        event: Event,
        state: State,
        effects: Sequence[Effect],
        ticket: str | None,
        written: "asyncio.Future[None]",
    ) -> None:
        if written.cancelled() or written.exception() is not None:
            # What cannot be written must not go on in memory alone: the next devbox starts from what is written.
            self._break(written)
            return
        if Effect.FINISH in effects:
            self._forget(live)
        self._tell(live, state)
        if Effect.STOP in effects and ticket is not None:
            self._spawn(self.executor.stop(ticket, GRACE_S))
        if Effect.FINISH in effects:
            for one in self._cached.release(live):
                self._queue(one)
            self._end_children(live, event.at)
        if Effect.WAIT in effects:
            live.queued_at = event.at
            self._queue(live)
        if isinstance(event, Started) and live.state.attempt == state.attempt:
            self._start(live)
        self._look_later(live)

    def _end_children(self, live: Live, at: float) -> None:
        """What a parent leaves running when it succeeds goes on, as a part of the action above; else it is ended."""
        if live.owned == 0:  # nearly all: what follows looks at every action of the run
            return
        handed_over = live.state.phase is ActionPhase.SUCCEEDED and live.owner in live.run.live
        for child in [one for one in live.run.live.values() if one.owner == live.name]:
            if handed_over:
                self._give(child, live.owner)
            else:
                self.apply(child, Aborted(at, live.state.reason or parent_ended_text(live.name)))

    @staticmethod
    def _give(live: Live, owner: str) -> None:
        """Let ``live`` belong to another action, or to none if there is no such."""
        live.owner = owner
        above = live.run.live.get(owner)
        if above is not None:
            above.owned += 1

    def _break(self, written: "asyncio.Future[None]") -> None:
        if self._stopped or self.broken.done() or written.cancelled():
            return
        self._stopped = True
        self.broken.set_exception(RuntimeError(f"the devbox cannot write its database: {written.exception()}"))

    def _look_later(self, live: Live) -> None:
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None
        moment = next_look_at(live.state, live.policy)
        if moment is not None:
            wait_s = max(moment - time.time(), 0.0)
            # The loop's clock and the wall's may differ by a little: look again rather than a moment too early.
            live.timer = asyncio.get_running_loop().call_later(min(wait_s + 0.001, 3600.0), self._look, live)

    def _look(self, live: Live) -> None:
        if not self.apply(live, Ticked(time.time())):
            self._look_later(live)

    def _forget(self, live: Live) -> None:
        run = live.run
        if run.live.pop(live.name, None) is None:
            return
        self._leave(live)
        parent = run.live.get(live.parent)
        if parent is not None:
            self._count_child(parent, -1)
        owner = run.live.get(live.owner)
        if owner is not None:
            owner.owned -= 1
        if not run.live:
            self.runs.pop(run.id, None)
            self._by_name.pop((run.project, run.domain, run.name), None)

    def _count_child(self, parent: Live, change: int) -> None:
        waited = parent.children > 0
        parent.children += change
        if parent.state.phase is not ActionPhase.RUNNING or parent.slot is None or waited == (parent.children > 0):
            return
        if waited:  # its process goes on at once; others wait until there is a place for it
            self.slots.resume(parent.slot)
        elif parent.slot.state == "resuming":
            self.slots.retreat(parent.slot)
        else:
            self.slots.pause(parent.slot)

    def abort(self, live: Live, reason: str) -> None:
        """End an action and all below it."""
        self.apply(live, Aborted(time.time(), reason))

    # Telling ----------------------------------------------------------------------------------------------------------

    def _tell(self, live: Live, state: State) -> None:
        """Tell watchers where an action stands."""
        run = live.run
        for parent in (live.parent, live.name):
            if self.changes.is_watched(("children", run.id, parent)):
                self.changes.publish(("children", run.id, parent), live.name, update_message(live, state))
        self.changes.publish(("action", run.id, live.name), live.name)
        self.changes.publish(("run", run.id), live.name)
        self.changes.publish("runs", run.id)

    # Its own life -----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def withdraw(self) -> None:
        """End every attempt that runs, without a failure; the next devbox makes others."""
        self._stopped = True
        stopping = []
        for run in list(self.runs.values()):
            for live in list(run.live.values()):
                ticket = live.ticket
                if live.kind == TASK and live.state.phase is ActionPhase.RUNNING:
                    live.ticket = None
                    self.apply(live, Withdrawn(time.time(), live.state.attempt))
                    stopping += [self.executor.stop(ticket, GRACE_S)] if ticket is not None else []
        await self.store.write()
        await asyncio.gather(*stopping, return_exceptions=True)
        self._mounts.keep(())

    async def close(self) -> None:
        """Let go of everything: what runs goes on, and is found again by the next devbox."""
        self._stopped = True
        for run in self.runs.values():
            for live in run.live.values():
                if live.timer is not None:
                    live.timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _mount_of(live: Live, number: int) -> str:
    return f"{live.run.id}.{live.name}.{number}"


def _attempt_end(state: State, event: Event) -> tuple[ActionPhase, Fault | None]:
    """How the attempt ended that ``event`` ended."""
    if isinstance(event, Failed):
        return ActionPhase.FAILED, event.fault
    if isinstance(event, Ticked):
        return ActionPhase.TIMED_OUT, state.fault
    if isinstance(event, Withdrawn):
        return ActionPhase.ABORTED, None
    return state.phase, None
