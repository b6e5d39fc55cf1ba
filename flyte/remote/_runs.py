"""Runs: looked up, waited for, and what came of them."""

import builtins
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import flyte.errors as errors
from flyte._core.identity import ROOT_ACTION, ActionID, ActionPhase
from flyte._core.interface import NativeInterface
from flyte._core.loop import run_blocking
from flyte._core.raised import error_made_from, read_line
from flyte._journal.history_entries import FAILED, ActionEntry, Fault, RunEntry
from flyte.errors import ActionAbortedError, ActionNotFoundError, BaseRuntimeError, RuntimeUserError
from flyte.syncify import syncify

from ._actions import Action, WaitFor, print_lines
from ._details import ActionDetails
from ._documents import between, first_failed, run_document, time_of
from ._identity import TimeFilter, log_text
from ._shown import Awaited, JsonText, listed, order_of
from ._source import Source, no_code, phases_of, refuse_filters, source, wire_phase
from ._values import ActionInputs, ActionOutputs

if TYPE_CHECKING:
    from flyteidl2.core import literals_pb2


class _SeenRun(JsonText):
    """What :class:`Run` and :class:`RunDetails` say alike."""

    _entry: RunEntry

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._entry.name

    @property
    def task_name(self) -> str | None:
        """Name of the root task."""
        return self._entry.task

    @property
    def phase(self) -> ActionPhase:
        """Where the run stands; a run whose process was killed is aborted."""
        return ActionPhase(self._entry.phase)

    @property
    def url(self) -> str:
        """The folder of the run's data; it exists once something has been written."""
        return self._entry.base_dir

    @property
    def action_id(self) -> ActionID:
        """Identity of the root action."""
        entry = self._entry
        return ActionID(name=ROOT_ACTION, run_name=entry.name, project=entry.project, domain=entry.domain)

    @property
    def error_message(self) -> str:
        """Why the run failed; empty if it did not."""
        return self._entry.fault.message if self._entry.fault is not None else ""

    def done(self) -> bool:
        """Whether the run has ended."""
        return self._entry.has_ended

    def to_dict(self) -> dict[str, Any]:
        """The run as plain values for JSON; times are in ISO 8601, durations in seconds."""
        return run_document(self._entry)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, task={self.task_name!r}, phase={self.phase.value!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name), ("task", self.task_name), ("phase", self.phase.value), ("url", self.url))


class Run(_SeenRun):
    """A run: of this machine, in whichever process it was or is, or of a control plane.

    Made by :func:`flyte.run`, if it runs elsewhere, and by :meth:`get` and :meth:`listall`, which ask the control plane
    if one is configured. Methods block, and are awaited as ``.aio``.
    """

    _interface: "NativeInterface | None" = None

    def __init__(self, entry: RunEntry, source: Source) -> None:
        self._entry = entry
        self._source = source

    @syncify
    @classmethod
    async def get(cls, name: str) -> "Run":
        """The run called ``name``, the latest if there are several; ``last`` is the latest of all.

        :raises flyte.errors.RuntimeUserError: ``RunNotFoundError``: there is none.
        """
        looked_up = source()
        return cls(await looked_up.run(name), looked_up)

    @listed
    @classmethod
    async def listall(
        cls,
        in_phase: "tuple[ActionPhase | str, ...] | None" = None,
        task_name: str | None = None,
        task_version: str | None = None,
        created_by_subject: str | None = None,
        sort_by: 'tuple[str, Literal["asc", "desc"]] | None' = None,
        limit: int = 100,
        project: str | None = None,
        domain: str | None = None,
        created_at: TimeFilter | None = None,
        updated_at: TimeFilter | None = None,
        with_labels: dict[str, str] | None = None,
        with_label_keys: list[str] | None = None,
        paused_actions_only: bool = False,
    ) -> list["Run"]:
        """Runs, the newest first.

        :param in_phase: only those that stand in one of these phases.
        :param task_name: only those of this root task, with or without the name of its environment.
        :param sort_by: ``("created_at", "asc")`` gives the oldest first.
        :param limit: how many at most.
        :param project: only those of this project; of all, if not given.
        :param domain: only those of this domain; of all, if not given.
        :param created_at: only those that were started in this range of times.
        :param paused_actions_only: only those that wait for people.
        :raises NotImplementedError: a filter that only a control plane knows: ``task_version``,
            ``created_by_subject``, ``updated_at``, ``with_labels``, ``with_label_keys``.
        :raises ValueError: an unknown phase or order.
        """
        looked_up = source()
        more = {"version": task_version, "labels": with_labels, "label_keys": with_label_keys}
        refuse_filters("Run.listall", {"created_by_subject": created_by_subject, "updated_at": updated_at})
        if looked_up.is_local:
            said = {"task_version": task_version, "with_labels": with_labels, "with_label_keys": with_label_keys}
            refuse_filters("Run.listall", said)
            more = {}
        order = order_of(sort_by, ("created_at",))
        phases = phases_of(in_phase)
        range_ = created_at or TimeFilter()
        entries = await looked_up.runs(
            **{key: value for key, value in more.items() if value},
            task=task_name,
            phases=phases,
            paused_only=paused_actions_only,
            project=project,
            domain=domain,
            after=range_.after.timestamp() if range_.after is not None else None,
            before=range_.before.timestamp() if range_.before is not None else None,
            oldest_first=order is not None and not order[1],
            limit=limit,
        )
        return [cls(entry, looked_up) for entry in entries]

    @property
    def action(self) -> Action:
        """The root action.

        :raises flyte.errors.ActionNotFoundError: the run has not begun it yet, or was killed before.
        """
        return run_blocking(lambda: Action._of(self._entry, None, self._source))

    @property
    def raw_phase(self) -> Any:
        """The number of the phase on the wire; of a run of a control plane."""
        return wire_phase(self.phase, self._source)

    def sync(self) -> "Run":
        """Look the run up again."""
        run_blocking(self._look_again)
        return self

    async def _look_again(self) -> None:
        found = await self._source.run_by_id(self._entry.id)
        if found is None:
            raise RuntimeUserError("RunNotFoundError", f"run {self.name!r} was deleted")
        self._entry = found

    @syncify
    async def details(self) -> "RunDetails":
        """All that is known of the run."""
        await self._look_again()
        return await RunDetails._of(self._entry, self._source)

    @syncify
    async def wait(self, quiet: bool = False, wait_for: WaitFor = "terminal") -> None:
        """Wait until the run has ended, wherever it is; one of this machine whose process dies has ended.

        Broken connections and restarts of the control plane are waited out for five minutes.

        :param quiet: means nothing here, where waiting says nothing.
        :param wait_for: ``running`` waits for its start only, which a run on this machine has behind it.
        """
        async with aclosing(self._source.news(self._entry, None)) as news:
            async for _ in news:
                await self._look_again()
                if self._entry.has_ended or (wait_for == "running" and self.phase is ActionPhase.RUNNING):
                    return

    async def watch(self, cache_data_on_done: bool = False) -> AsyncGenerator[ActionDetails]:
        """Details of the root action now and after each change, until the run has ended; also of a run that is in
        another process."""
        last: ActionEntry | None = None
        async with aclosing(self._source.news(self._entry, None)) as news:
            async for _ in news:
                # The run first, so that the last look at the action is one after its end.
                await self._look_again()
                try:
                    details = await ActionDetails._of(self._entry, None, self._source)
                except ActionNotFoundError:
                    details = None  # it will be there in a moment, or never
                if details is not None and details._entry != last:
                    last = details._entry
                    yield details
                if self._entry.has_ended:
                    return

    @syncify
    async def inputs(self) -> ActionInputs:
        """The inputs of the root action; see :meth:`ActionDetails.inputs`."""
        return await (await self._root()).inputs.aio()

    @syncify
    async def outputs(self) -> ActionOutputs:
        """The results of the run, empty if it has none yet; see :meth:`ActionDetails.outputs`.

        A run that was started in this process gives them as its task declares them.
        """
        root = await self._root()
        if self._interface is None:
            return await root.outputs.aio()
        if not self._interface.outputs and root.phase is ActionPhase.SUCCEEDED:
            return ActionOutputs((None,), ("o0",))  # as a run of this process gives it
        literals = await root.output_literals.aio()
        types = {name: annotation for name, annotation in self._interface.outputs.items() if name in literals}
        values = await root.typed_outputs.aio(types)
        return ActionOutputs(tuple(values.values()), tuple(values))

    @syncify
    async def input_literals(self) -> "dict[str, literals_pb2.Literal]":
        """Name -> literal of the inputs."""
        return await (await self._root()).input_literals.aio()

    @syncify
    async def output_literals(self) -> "dict[str, literals_pb2.Literal]":
        """Name -> literal of the results."""
        return await (await self._root()).output_literals.aio()

    @syncify
    async def typed_inputs(
        self, types: dict[str, type], deserializers: dict[type, Callable[[Any], Any]] | None = None
    ) -> dict[str, Any]:
        """The inputs named in ``types``, as these types; see :meth:`ActionDetails.typed_outputs`."""
        return await (await self._root()).typed_inputs.aio(types, deserializers)

    @syncify
    async def typed_outputs(
        self, types: dict[str, type], deserializers: dict[type, Callable[[Any], Any]] | None = None
    ) -> dict[str, Any]:
        """The results named in ``types``, as these types; see :meth:`ActionDetails.typed_outputs`."""
        return await (await self._root()).typed_outputs.aio(types, deserializers)

    async def _root(self) -> ActionDetails:
        return await ActionDetails._of(self._entry, None, self._source)

    @syncify
    async def get_logs(
        self, attempt: int | None = None, filter_system: bool = False, show_ts: bool = False
    ) -> AsyncIterator[str]:
        """The lines that all actions of the run wrote, in the order in which they were kept.

        :param attempt: only those that the root action wrote in this attempt, 0 for the first.
        :param filter_system: means nothing here, where the lines are the user's own.
        :param show_ts: put the time before each line.
        """
        if attempt is not None:
            root = await Action._of(self._entry, None, self._source)
            async for line in root.get_logs.aio(attempt, filter_system, show_ts):
                yield line
            return
        for entry in await self._source.logs(self._entry.id, None, 0):
            yield log_text(entry, show_ts)

    @syncify
    async def show_logs(
        self,
        attempt: int | None = None,
        max_lines: int = 100,
        show_ts: bool = False,
        raw: bool = False,
        filter_system: bool = False,
    ) -> None:
        """Print the last lines that the run wrote; see :meth:`get_logs`.

        :param max_lines: how many at most.
        """
        print_lines([line async for line in self.get_logs.aio(attempt, filter_system, show_ts)], max_lines)

    @syncify
    async def first_failure(self) -> ActionDetails | None:
        """The first action that failed, in the order in which they were called; a child's failure comes before its
        parent's, which it caused. None if none did."""
        await self._look_again()
        entries = await self._source.actions(self._entry)
        failed = first_failed(entries)
        return await ActionDetails._of(self._entry, failed.name, self._source) if failed is not None else None

    @syncify
    async def raise_for_status(self) -> None:
        """Raise the run's failure as a parent task would have seen it; nothing if the run succeeded.

        :raises flyte.errors.RuntimeUserError: ``RunNotDoneError``: it has not ended; call :meth:`wait` first. Else
            the failure, of the class that it had, if that is of :mod:`flyte.errors`, built in, or in a module
            that this process has imported.
        :raises flyte.errors.ActionAbortedError: it was aborted, or its process died.
        """
        await self._look_again()
        if not self._entry.has_ended:
            raise RuntimeUserError("RunNotDoneError", f"run {self.name!r} has not ended; call wait() first")
        if self._entry.phase in FAILED:
            failure = error_of(self._entry)
            if self._entry.fault is not None and self._entry.fault.traceback:
                failure.add_note(f"where it failed:\n{self._entry.fault.traceback.rstrip()}")
            failure.add_note(f"in run {self.name}")
            raise failure

    @syncify
    async def get_report(self, attempt: int | None = None) -> str:
        """The HTML of the root action's report.

        :raises FileNotFoundError: it has none.
        """
        page = await self._source.report(self._entry, ROOT_ACTION, attempt)
        if page is None:
            raise FileNotFoundError(f"run {self.name!r} has no report; declare its task with report=True")
        return page

    @syncify
    async def abort(self, reason: str = "Manually aborted from the SDK api.") -> None:
        """Stop the run with all its actions; on this machine, stop its process instead.

        :param reason: for whoever looks at the run.
        """
        await self._source.abort(self._entry, None, reason)

    @syncify
    async def code_bundle(self) -> None:
        """None: on this machine the code ran from where it is."""

    @syncify
    async def download_code(
        self, dest: "str | Path | None" = None, extract: bool = True, attempt: int | None = None
    ) -> Path:
        """The code that the run ran; on this machine it ran from where it is."""
        return no_code("Run.download_code()", self._source)

    @syncify
    async def get_debug_url(self) -> str | None:
        """None: a run on this machine has no debugger of a control plane."""
        return None


def error_of(run: RunEntry) -> BaseException:
    """The failure of a run as an exception."""
    fault = run.fault or Fault("Unknown", "Unknown", "unknown", f"run {run.name!r} ended as {run.phase}")
    if run.phase == ActionPhase.ABORTED.value:
        return ActionAbortedError(f"run {run.name!r} was aborted: {fault.message or fault.type}")
    raised = read_line(fault.raised)
    if raised is not None:
        kind = fault.kind if fault.kind in ("user", "system") else "unknown"
        told = error_made_from(raised, fault.message, code=fault.code, kind=cast(errors.ErrorKind, kind))
        if told is not None:
            return told
    made = _of_the_tree(getattr(errors, fault.type, None), fault)
    if made is not None:
        return made
    if fault.kind == "system":
        return errors.RuntimeSystemError(fault.code, fault.message)
    if fault.kind == "unknown":
        return errors.RuntimeUnknownError(fault.code, fault.message)
    built_in = getattr(builtins, fault.type, None)
    if isinstance(built_in, type) and issubclass(built_in, Exception):
        try:
            return errors.user_error_from(built_in(fault.message))
        except TypeError:  # UnicodeDecodeError and its like are not made of a message
            pass
    return RuntimeUserError(fault.code, f"{fault.type}: {fault.message}")


def _of_the_tree(own: Any, fault: Fault) -> BaseException | None:
    if not (isinstance(own, type) and issubclass(own, BaseRuntimeError)):
        return None
    make: Any = own
    plain = own in (RuntimeUserError, errors.RuntimeSystemError, errors.RuntimeUnknownError)
    for arguments in ((fault.code, fault.message),) if plain else ((fault.message,), (fault.code, fault.message)):
        try:
            return cast(BaseException, make(*arguments))
        except TypeError:  # the constructors of the tree differ
            continue
    return None


class RunDetails(_SeenRun):
    """All that is known of a run. Made by :meth:`get` and :meth:`Run.details`.

    :attr:`action_details` is of the root action; None if the run has not begun it, or was killed before.
    """

    def __init__(self, entry: RunEntry, action_details: ActionDetails | None) -> None:
        self._entry = entry
        self.action_details = action_details

    @syncify
    @classmethod
    async def get(cls, name: str | None = None) -> "RunDetails":
        """All that is known of a run; see :meth:`Run.get`.

        :param name: the latest run of all, if not given.
        """
        looked_up = source()
        return await cls._of(await looked_up.run(name or "last"), looked_up)

    @syncify
    @classmethod
    async def get_details(cls, run_id: ActionID) -> "RunDetails":
        """The same by identity."""
        looked_up = source()
        return await cls._of(await looked_up.run(run_id.run_name or run_id.name), looked_up)

    @classmethod
    async def _of(cls, entry: RunEntry, looked_up: Source) -> "RunDetails":
        try:
            return cls(entry, await ActionDetails._of(entry, None, looked_up))
        except ActionNotFoundError:
            return cls(entry, None)

    @property
    def runtime(self) -> timedelta | None:
        """From start to end; None while it runs."""
        return between(self._entry.started_at, self._entry.ended_at)

    @property
    def start_time(self) -> Any:
        """When it was started, in UTC."""
        return time_of(self._entry.started_at)

    def _root(self) -> ActionDetails:
        if self.action_details is None:
            raise ActionNotFoundError(f"run {self.name!r} has not begun an action")
        return self.action_details

    @Awaited
    async def inputs(self) -> ActionInputs:
        """The inputs; awaited in async code. See :meth:`ActionDetails.inputs`."""
        return await self._root().inputs.aio()

    @Awaited
    async def outputs(self) -> ActionOutputs:
        """The results; awaited in async code. See :meth:`ActionDetails.outputs`."""
        return await self._root().outputs.aio()

    @Awaited
    async def input_literals(self) -> "dict[str, literals_pb2.Literal]":
        """Name -> literal of the inputs; awaited in async code."""
        return await self._root().input_literals.aio()

    @Awaited
    async def output_literals(self) -> "dict[str, literals_pb2.Literal]":
        """Name -> literal of the results; awaited in async code."""
        return await self._root().output_literals.aio()

    @Awaited
    async def typed_inputs(
        self, types: dict[str, type], deserializers: dict[type, Callable[[Any], Any]] | None = None
    ) -> dict[str, Any]:
        """The inputs named in ``types``, as these types; awaited in async code."""
        return await self._root().typed_inputs.aio(types, deserializers)

    @Awaited
    async def typed_outputs(
        self, types: dict[str, type], deserializers: dict[type, Callable[[Any], Any]] | None = None
    ) -> dict[str, Any]:
        """The results named in ``types``, as these types; awaited in async code."""
        return await self._root().typed_outputs.aio(types, deserializers)

    def to_dict(self) -> dict[str, Any]:
        """The run as plain values for JSON, with its root action."""
        details = self.action_details
        return {**super().to_dict(), "action": details.to_dict() if details is not None else None}
