"""All that is known of an action."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from flyte._core.identity import ActionID, ActionPhase
from flyte._journal.history_entries import ActionEntry, AttemptEntry, Fault, RunEntry, TaskEntry
from flyte.syncify import syncify

from ._documents import between, time_of, time_text
from ._identity import SeenAction, names_in
from ._shown import Awaited
from ._source import Source, source
from ._values import ActionInputs, ActionOutputs

if TYPE_CHECKING:
    from flyteidl2.core import literals_pb2


@dataclass(frozen=True, slots=True)
class PhaseTransition:
    """A phase that an attempt went through.

    :param end_time: None while it lasts.
    """

    phase: ActionPhase
    start_time: datetime
    end_time: datetime | None

    @property
    def duration(self) -> timedelta:
        """How long it lasted, or has lasted until now."""
        end = self.end_time.timestamp() if self.end_time is not None else time.time()
        return between(self.start_time.timestamp(), end) or timedelta()


class ActionDetails(SeenAction):
    """All that is known of an action. Made by :meth:`get` and :meth:`Action.details`."""

    def __init__(
        self,
        entry: ActionEntry,
        run: RunEntry,
        task: TaskEntry,
        parent: ActionEntry | None,
        source: Source,
        attempts: list[AttemptEntry],
        origin: tuple[str, str] | None,
    ) -> None:
        self._entry = entry
        self._run = run
        self._task = task
        self._parent = parent
        self._source = source
        self._attempts = attempts
        self._origin = origin

    @syncify
    @classmethod
    async def get(
        cls, uri: str | None = None, /, run_name: str | None = None, name: str | None = None
    ) -> "ActionDetails":
        """All that is known of one action; see :meth:`Action.get`."""
        run, action = names_in(uri, run_name, name)
        looked_up = source()
        return await cls._of(await looked_up.run(run), action, looked_up)

    @syncify
    @classmethod
    async def get_details(cls, action_id: ActionID) -> "ActionDetails":
        """The same by identity."""
        looked_up = source()
        return await cls._of(await looked_up.run(action_id.run_name or ""), action_id.name, looked_up)

    @syncify
    @classmethod
    async def watch(cls, action_id: ActionID) -> AsyncIterator["ActionDetails"]:
        """The details now and after each change, until the action has ended."""
        from ._actions import Action

        looked_up = source()
        action = await Action._of(await looked_up.run(action_id.run_name or ""), action_id.name, looked_up)
        async for details in action.watch():
            yield details

    @classmethod
    async def _of(cls, run: RunEntry, name: str | None, looked_up: Source) -> "ActionDetails":
        entry = await looked_up.action(run, name)
        task = (await looked_up.tasks([entry.task]))[entry.task]
        parent = await looked_up.action_by_id(entry.parent) if entry.parent is not None else None
        attempts = await looked_up.attempts(entry)
        origin = None
        if entry.source is not None:
            taken = await looked_up.action_by_id(entry.source)
            of = await looked_up.run_by_id(taken.run) if taken is not None else None
            origin = (of.name, taken.name) if of is not None and taken is not None else None
        return cls(entry, run, task, parent, looked_up, attempts, origin)

    async def watch_updates(self, cache_data_on_done: bool = False) -> AsyncIterator["ActionDetails"]:
        """The details now and after each change, until the action has ended."""
        from ._actions import Action

        async for details in Action(self._entry, self._run, self._task, self._parent, self._source).watch():
            yield details

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return self._entry.attempts

    @property
    def error_info(self) -> Fault | None:
        """Why the action failed; None if it did not."""
        return self._entry.fault if self._entry.phase != ActionPhase.ABORTED.value else None

    @property
    def abort_info(self) -> Fault | None:
        """Why the action was aborted; None if it was not."""
        return self._entry.fault if self._entry.phase == ActionPhase.ABORTED.value else None

    @property
    def error_message(self) -> str:
        """What the error says; empty if the action did not fail."""
        return self._entry.fault.message if self._entry.fault is not None else ""

    @property
    def is_running(self) -> bool:
        """Whether the action runs."""
        return self._entry.phase == ActionPhase.RUNNING.value

    @property
    def runtime(self) -> timedelta:
        """From the start of the last attempt to its end, or until now."""
        began = self._entry.started_at or self._entry.queued_at
        return between(began, self._entry.ended_at or time.time()) or timedelta()

    @property
    def queued_time(self) -> timedelta | None:
        """From the call to the start of the first attempt."""
        first = self._attempts[0].started_at if self._attempts else self._entry.started_at
        return between(self._entry.queued_at, first)

    @property
    def running_time(self) -> timedelta | None:
        """How long the last attempt ran."""
        return between(self._entry.started_at, self._entry.ended_at)

    @property
    def waiting_for_resources_time(self) -> timedelta | None:
        """None: an action in this process waits for no machine."""
        return None

    @property
    def initializing_time(self) -> timedelta | None:
        """None: an action in this process needs no container."""
        return None

    @property
    def phase_durations(self) -> dict[ActionPhase, timedelta]:
        """How long the last attempt was in each phase."""
        return {one.phase: one.duration for one in self.get_phase_transitions() if not one.phase.is_terminal}

    def get_phase_transitions(self, attempt: int | None = None) -> list[PhaseTransition]:
        """The phases that an attempt went through.

        :param attempt: 1 for the first, as published; the last one if not given.
        :raises ValueError: there was no such attempt.
        """
        number = len(self._attempts) if attempt is None else attempt
        if not 1 <= number <= len(self._attempts):
            raise ValueError(f"attempt={attempt} is not one of the {len(self._attempts)} attempts, counted from 1")
        one = self._attempts[number - 1]
        ended = time_of(one.ended_at) if one.ended_at is not None else None
        began = time_of(one.started_at)
        queued = time_of(self._entry.queued_at)
        went = [PhaseTransition(ActionPhase.QUEUED, queued, began)] if number == 1 else []
        went.append(PhaseTransition(ActionPhase.RUNNING, began, ended))
        if ended is not None:
            last = self.phase if number == len(self._attempts) else ActionPhase.FAILED
            went.append(PhaseTransition(last, ended, ended))
        return went

    def logs_available(self, attempt: int | None = None) -> bool:
        """Whether lines can be asked for: always, there may be none."""
        return True

    @property
    def status(self) -> dict[str, Any]:
        """Phase, attempts and times, as in :meth:`to_dict`."""
        document = self.to_dict()
        return {key: document[key] for key in ("phase", "attempts", "started_at", "ended_at", "duration_s", "cache")}

    @property
    def metadata(self) -> dict[str, Any]:
        """Task, parent and group, as in :meth:`to_dict`."""
        document = self.to_dict()
        return {key: document[key] for key in ("task", "kind", "parent", "group")}

    @property
    def code_bundle(self) -> None:
        """None: on this machine the code ran from where it is."""
        return

    @Awaited
    async def inputs(self) -> ActionInputs:
        """The inputs; awaited in async code.

        What only pickle could carry is not read, see :class:`flyte.remote.PickledValue`; structures are
        dataclasses made from their schema.

        :raises OSError: they were large, and their file is gone.
        :raises ValueError: they are damaged.
        """
        from ._literals import decode_inputs

        data = await self._source.inputs(self._entry.id)
        return ActionInputs(decode_inputs(data, self._task.interface))

    @Awaited
    async def outputs(self) -> ActionOutputs:
        """The results; awaited in async code. An action that has none yet gives an empty tuple.

        :raises OSError: they were large, and their file is gone.
        :raises ValueError: they are damaged.
        """
        from ._literals import decode_outputs

        data = await self._source.outputs(self._entry.id)
        decoded = decode_outputs(data, self._task.interface) if data is not None else {}
        return ActionOutputs(tuple(decoded.values()), tuple(decoded))

    @Awaited
    async def input_literals(self) -> "dict[str, literals_pb2.Literal]":
        """Name -> literal of the inputs; awaited in async code."""
        from ._literals import parse_literals

        return parse_literals(await self._source.inputs(self._entry.id))

    @Awaited
    async def output_literals(self) -> "dict[str, literals_pb2.Literal]":
        """Name -> literal of the results; awaited in async code."""
        from ._literals import parse_literals

        return parse_literals(await self._source.outputs(self._entry.id))

    @Awaited
    async def typed_inputs(
        self, types: dict[str, type], deserializers: dict[type, Callable[[Any], Any]] | None = None
    ) -> dict[str, Any]:
        """The inputs named in ``types``, as these types; awaited in async code. See :meth:`typed_outputs`."""
        return await _typed(await self.input_literals.aio(), types, deserializers)

    @Awaited
    async def typed_outputs(
        self, types: dict[str, type], deserializers: dict[type, Callable[[Any], Any]] | None = None
    ) -> dict[str, Any]:
        """The results named in ``types``, as these types; awaited in async code.

        A type that travels pickled is read, which may run code: only give one whose values you trust.

        :param deserializers: type -> what makes a value of it from what :meth:`outputs` gives.
        :raises KeyError: there is no such result.
        :raises flyte.types.TypeTransformerFailedError: it is not of the type.
        """
        return await _typed(await self.output_literals.aio(), types, deserializers)

    def to_dict(self) -> dict[str, Any]:
        """The action as plain values for JSON, with its attempts, and where a recovered one was taken from."""
        origin = self._origin
        attempts = [
            {
                "number": one.number,
                "started_at": time_text(one.started_at),
                "ended_at": time_text(one.ended_at),
                "error": one.fault.document() if one.fault is not None else None,
            }
            for one in self._attempts
        ]
        recovered = {"run": origin[0], "action": origin[1]} if origin is not None else None
        return {**super().to_dict(), "recovered_from": recovered, "attempt_list": attempts}


async def _typed(
    literals: "dict[str, literals_pb2.Literal]",
    types: dict[str, type],
    deserializers: dict[type, Callable[[Any], Any]] | None,
) -> dict[str, Any]:
    from flyte.types._engine import codec_for

    from ._literals import decode_literal

    made: dict[str, Any] = {}
    for name, wanted in types.items():
        if name not in literals:
            known = ", ".join(sorted(literals)) or "none"
            raise KeyError(f"there is no value {name!r}; there are: {known}")
        make = (deserializers or {}).get(wanted)
        if make is not None:
            made[name] = make(decode_literal(literals[name]))
        else:
            made[name] = await codec_for(wanted).decode_async(literals[name])
    return made
