"""What runs at this moment: the run, the action, and how its calls are dispatched.

One ContextVar holds the current :class:`TaskContext`. The context points to its :class:`Execution`, which holds
what all actions of a run share. There is no global state beside it, so any number of runs live in one process.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from .clock import Clock, SystemClock
from .registry import Registry

if TYPE_CHECKING:
    # What a body rarely asks for is loaded when it does.
    from .code_bundle import CodeBundle
    from .controller import Controller, Recorder
    from .identity import ActionID
    from .paths import CheckpointPaths, GroupData, RawDataPath

Mode = Literal["local", "remote", "hybrid"]

_child_name: "Callable[..., str] | None" = None


@dataclass(slots=True, eq=False, kw_only=True)
class Execution:
    """What all actions of one run share.

    :param run_name: name of the run.
    :param controller: where calls of tasks go.
    :param recorder: told of every action's start and end, if there is one.
    :param loop: the event loop that the run was started on; blocking calls from threads are served there.
    """

    run_name: str
    controller: "Controller | None"
    loop: asyncio.AbstractEventLoop
    recorder: "Recorder | None" = None
    mode: Mode = "local"
    project: str | None = None
    domain: str | None = None
    org: str | None = None
    version: str = ""
    raw_data_path: str = ""
    run_base_dir: str = ""
    recovered_from: tuple[str, ...] = ()
    """``run_base_dir`` of the run that this one is recovered from, of the one that that was recovered from, ..."""
    outputs_path: str | None = None
    """Where the outputs of the one action go that this process runs; None where each has a folder below the run's."""
    checkpoint_paths: "CheckpointPaths | None" = None
    """Where a control plane wants checkpoints; None for the run's own folder."""
    env_vars: Mapping[str, str] = field(default_factory=dict)
    code_bundle: "CodeBundle | None" = None
    interactive_mode: bool = False
    disable_run_cache: bool = False
    overwrite_cache: bool = False
    start_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: Clock = field(default_factory=SystemClock)
    journal: Any = None
    """Remembers what happens to each action, if the run is remembered."""
    attempt: Callable[..., Coroutine[Any, Any, Any]] | None = None
    """Runs one attempt of a task in place of ``run_attempt`` and with its parameters, as a pool of worker processes
    does; None for this process."""
    closing: bool = False
    """The run was cancelled as a whole; what its bodies raise from now on is part of that."""

    def action_id(self, name: str) -> "ActionID":
        """Full identity of an action of this run."""
        from .identity import ActionID

        return ActionID(name=name, run_name=self.run_name, project=self.project, domain=self.domain, org=self.org)


class TaskContext:
    """The running action, as its body sees it through :func:`flyte.ctx`.

    It is built for every call of a task, so what is rarely asked for (names, paths) is derived when asked.
    """

    __slots__ = (
        "__weakref__",
        "_call",
        "_name",
        "attempt_number",
        "calls",
        "custom_context",
        "data",
        "execution",
        "group",
        "in_trace",
        "parent",
        "runner",
        "task_name",
    )

    in_driver_literal_conversion = False
    """Whether values are converted for a call that runs elsewhere; they always are where they are used."""

    def __init__(
        self,
        execution: Execution,
        parent: "TaskContext | None",
        task_name: str,
        name: str | None,
        call: tuple[str, str, int] | None = None,
        attempt_number: int = 0,
    ) -> None:
        self.execution = execution
        self.parent = parent
        self.task_name = task_name
        self._name = name
        self._call = call
        """inputs hash, identity and sequence of the call, from which the name follows."""
        self.attempt_number = attempt_number
        """0 for the first attempt, as in ``FLYTE_ATTEMPT_NUMBER`` (wire-protocol section 5.2)."""
        self.group: str | None = None
        self.custom_context: Mapping[str, str] = parent.custom_context if parent is not None else {}
        self.data: dict[str, Any] = _NOTHING
        self.in_trace = False
        self.runner: asyncio.Task[Any] | None = None
        """The asyncio task that the body runs in; None for a body that runs in a thread."""
        self.calls: Calls = Calls(parent.calls if parent is not None else None)

    # What a task's body asks ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the action, unique in its run and the same on every replay."""
        if self._name is None:
            global _child_name
            if _child_name is None:
                # Loaded once: an import statement at every call takes a twentieth of what a traced call costs.
                from .identity import child_name

                _child_name = child_name
            assert self._call is not None and self.parent is not None
            inputs_hash, identity, sequence = self._call
            self._name = _child_name(self.parent.name, inputs_hash, identity, sequence, self.parent.group)
        return self._name

    @property
    def action(self) -> "ActionID":
        """Identity of the action."""
        return self.execution.action_id(self.name)

    @property
    def task_action(self) -> "ActionID":
        """Identity of the running task's action, also inside a traced function."""
        return self.task_context.action

    @property
    def task_context(self) -> "TaskContext":
        """The running task's context: this one, unless it is of a traced function."""
        context = self
        while context.in_trace and context.parent is not None:
            context = context.parent
        return context

    @property
    def group_data(self) -> "GroupData | None":
        """The group that calls made now belong to."""
        from .paths import GroupData

        return GroupData(self.group) if self.group else None

    @property
    def mode(self) -> Mode:
        """``"local"`` in this process, ``"remote"`` in a container."""
        return self.execution.mode

    @property
    def version(self) -> str:
        """Version of the code that runs."""
        return self.execution.version

    @property
    def run_base_dir(self) -> str:
        """Folder or prefix of the run's metadata."""
        return self.execution.run_base_dir

    @property
    def raw_data_path(self) -> "RawDataPath":
        """Where large values are written."""
        from .paths import RawDataPath

        return RawDataPath(path=self.execution.raw_data_path)

    @property
    def output_path(self) -> str:
        """Where this action's outputs and report go."""
        return self.execution.outputs_path or f"{self.execution.run_base_dir}/{self.name}"

    @property
    def input_path(self) -> str:
        """Where this action's inputs are."""
        return f"{self.execution.run_base_dir}/{self.name}/inputs.pb"

    @property
    def code_bundle(self) -> "CodeBundle | None":
        """The code that runs, if it came as a bundle."""
        return self.execution.code_bundle

    @property
    def run_start_time(self) -> datetime:
        """When the run was started, in UTC."""
        return self.execution.start_time

    @property
    def interactive_mode(self) -> bool:
        """Whether the run was started from a notebook."""
        return self.execution.interactive_mode

    @property
    def disable_run_cache(self) -> bool:
        """Whether caching is off for this run."""
        return self.execution.disable_run_cache

    @property
    def checkpoint(self) -> Any:
        """What this attempt keeps of its progress, and continues from: a :class:`flyte.Checkpoint`; None in a run
        that has no folder of its own."""
        context = self.task_context
        if context.calls.checkpoint is None:
            checkpoint = _made("checkpoint", context)
            with _lock:  # two threads of a sync body may ask at once
                if context.calls.checkpoint is None:
                    context.calls.checkpoint = checkpoint
        return context.calls.checkpoint

    @property
    def checkpoint_paths(self) -> "CheckpointPaths":
        """Where the earlier attempt left its checkpoint, None if it left none, and where this one leaves its own."""
        paths: CheckpointPaths = _made("checkpoint_paths", self.task_context)
        return paths

    @property
    def report(self) -> Any:
        """The running task's report, a :class:`flyte.report.Report`; made when it is first asked for."""
        context = self.task_context
        calls = context.calls
        if calls.report is None:
            report = _made("report", context)
            with _lock:  # two threads of a sync body may ask at once
                if calls.report is None:
                    calls.report = report
        return calls.report

    @property
    def compiled_image_cache(self) -> None:
        """Images that are already built, by environment; None in this process."""
        return None

    def is_in_cluster(self) -> bool:
        """Whether the task runs in a container of a control plane."""
        return self.execution.mode == "remote"

    def __repr__(self) -> str:
        return f"TaskContext(run={self.execution.run_name!r}, action={self.name!r}, task={self.task_name!r})"

    # What a controller needs ------------------------------------------------------------------------------------

    def variant(self, *, group: str | None = None, custom_context: Mapping[str, str] | None = None) -> "TaskContext":
        """The same action with another group or custom context; what is known of its calls is shared."""
        copy = TaskContext(self.execution, self.parent, self.task_name, self._name, self._call, self.attempt_number)
        copy.group = group if group is not None else self.group
        copy.custom_context = custom_context if custom_context is not None else self.custom_context
        copy.data = self.data
        copy.in_trace = self.in_trace
        copy.runner = self.runner
        copy.calls = self.calls
        return copy


class Calls:
    """The calls that one action makes: how often each was made, and which still run.

    :param owner: the calls of the action's parent, which takes over what still runs when the action has succeeded.
    """

    __slots__ = ("_running", "_sequences", "checkpoint", "closed", "owner", "record", "report", "succeeded")

    def __init__(self, owner: "Calls | None") -> None:
        self.owner = owner
        self.closed = False
        """The action was cancelled, failed or ran out of time: it may start nothing more."""
        self.succeeded = False
        """The action has ended well; what it left running is its parent's."""
        self.report: Any = None
        """The action's report, once it was asked for; kept here because all variants of a context share it."""
        self.checkpoint: Any = None
        """The attempt's checkpoint, once it was asked for."""
        self.record: Any = None
        """What the journal knows of the action, if the run is remembered."""
        self._sequences: dict[tuple[str, str | None], dict[str, int]] | None = None
        self._running: set[asyncio.Task[Any]] | None = None

    def next_sequence(self, identity: str, inputs_hash: str, group: str | None) -> int:
        """How many equal calls were made, this one included; the first is 1."""
        key = (identity, group)
        with _lock:  # a sync body may call from several threads
            if self._sequences is None:
                self._sequences = {}
            # In two steps, because a tuple kept for each call is one more object for the garbage collector to look at.
            counts = self._sequences.get(key)
            if counts is None:
                counts = self._sequences[key] = {}
            counts[inputs_hash] = sequence = counts.get(inputs_hash, 0) + 1
        return sequence

    def responsible(self) -> "Calls":
        """These calls, or those of the nearest ancestor that still runs."""
        calls = self
        while calls.succeeded and calls.owner is not None:
            calls = calls.owner
        return calls

    def started(self, task: "asyncio.Task[Any]") -> None:
        """A child runs in an asyncio task of its own."""
        if self._running is None:
            with _lock:
                if self._running is None:
                    self._running = set()
        self._running.add(task)

    def ended(self, task: "asyncio.Task[Any]") -> None:
        """That child has ended."""
        if self._running is not None:
            self._running.discard(task)

    def running(self) -> list["asyncio.Task[Any]"]:
        """Children that have not ended."""
        return [task for task in list(self._running or ()) if not task.done()]


makers: Registry[str, Callable[[TaskContext], Any]] = Registry("maker of a context's field")
"""Fields of a context whose types live on higher floors -> what makes their values; those floors register it."""


def _made(field: str, context: TaskContext) -> Any:
    make = makers.find(field)
    if make is None:
        raise RuntimeError(f"ctx().{field} is asked for outside of what flyte.run starts, which brings it")
    return make(context)


_NOTHING: dict[str, Any] = {}
_lock = threading.Lock()


class NullTaskContext:
    """What :func:`flyte.ctx` gives outside a task: false, and everything that can be asked of a task is None."""

    attempt_number = 0

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NullTaskContext()"

    def is_in_cluster(self) -> bool:
        """Whether the task runs in a container of a control plane; outside a task, no."""
        return False

    def __getattr__(self, name: str) -> None:
        if name.startswith("_") or not hasattr(TaskContext, name):
            raise AttributeError(f"a task context has no attribute {name!r}")


NULL_TASK_CONTEXT = NullTaskContext()

current: ContextVar[TaskContext | None] = ContextVar("flyte_task_context", default=None)
"""The running action of this context; None outside a run."""

_ambient_custom: ContextVar[Mapping[str, str] | None] = ContextVar("flyte_custom_context", default=None)


def ctx() -> TaskContext:
    """The context of the running task.

    Outside a task the answer is an object that is false in a condition, and whose fields are None.
    """
    return current.get() or NULL_TASK_CONTEXT  # type: ignore[return-value]


def get_custom_context() -> dict[str, str]:
    """The custom context in force: strings that travel with a run to each of its tasks."""
    context = current.get()
    return dict(context.custom_context if context is not None else (_ambient_custom.get() or {}))


@contextmanager
def custom_context(**context: str) -> Iterator[None]:
    """Add strings that travel with every run or task started in the ``with`` block.

    :raises TypeError: a value is not a string.
    """
    for key, value in context.items():
        if not isinstance(value, str):
            raise TypeError(f"custom_context({key}=...) takes strings, but got {type(value).__name__} {value!r}")
    merged = {**get_custom_context(), **context}
    task_context = current.get()
    if task_context is None:
        token = _ambient_custom.set(merged)
        try:
            yield
        finally:
            _ambient_custom.reset(token)
        return
    task_token = current.set(task_context.variant(custom_context=merged))
    try:
        yield
    finally:
        current.reset(task_token)


@contextmanager
def group(name: str) -> Iterator[None]:
    """Show the tasks called in the ``with`` block together, under ``name``.

    The name is part of the names of the actions, so the same call in two groups is two actions. Outside a run it does
    nothing.

    :param name: shown to readers; not empty.
    :raises ValueError: an empty name.
    """
    if not name:
        raise ValueError("flyte.group(name) needs a name that is not empty")
    context = current.get()
    if context is None:
        yield
        return
    token = current.set(context.variant(group=name))
    try:
        yield
    finally:
        current.reset(token)
