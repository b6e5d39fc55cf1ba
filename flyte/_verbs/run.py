"""``flyte.run`` and ``flyte.with_runcontext``: start a run and follow it to its end."""

import pathlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NoReturn, TypeVar, cast

from flyte._core import log
from flyte._core.clock import Clock
from flyte._core.context import Mode
from flyte._core.controller import Controller, Recorder
from flyte._core.home import home_dir
from flyte._core.identity import ROOT_ACTION, ActionID, ActionPhase, check_run_name, random_run_name
from flyte._core.loop import run_blocking
from flyte._definition.task import F, P, R, TaskTemplate
from flyte.remote._values import ActionOutputs
from flyte.syncify import syncify

from .home import hide_own_frames, run_here
from .session import session

V = TypeVar("V")


@dataclass(eq=False)
class Run(Generic[V]):
    """A run that has ended in this process.

    :param name: name of the run.
    :param url: the folder of the run's data; it exists once something has been written.
    :param phase: where the run stands.
    :param result: what the root task returned: the bare value, a tuple of several, or None.
    """

    name: str
    url: str
    phase: ActionPhase
    result: V = field(repr=False)
    _names: tuple[str, ...] = field(repr=False)
    _action: ActionID = field(repr=False)

    @property
    def action(self) -> ActionID:
        """Identity of the root action."""
        return self._action

    def done(self) -> bool:
        """Whether the run has ended."""
        return self.phase.is_terminal

    @syncify
    async def wait(self, quiet: bool = False, wait_for: Literal["terminal", "running"] = "terminal") -> None:
        """Wait until the run has ended; in this process it has. Also ``.aio``."""

    @syncify
    async def outputs(self) -> ActionOutputs:
        """The results; see :class:`ActionOutputs`. Also ``.aio``."""
        if len(self._names) > 1:
            return ActionOutputs(tuple(cast(Any, self.result)), self._names)
        return ActionOutputs((self.result,), self._names or ("o0",))


@dataclass(frozen=True, kw_only=True)
class Runner:
    """The settings of a run; see :func:`with_runcontext`."""

    mode: Mode | None = None
    name: str | None = None
    project: str | None = None
    domain: str | None = None
    version: str | None = None
    raw_data_path: str | None = None
    run_base_dir: str | None = None
    run_start_time: datetime | None = None
    overwrite_cache: bool = False
    disable_run_cache: bool = False
    env_vars: Mapping[str, str] | None = None
    custom_context: Mapping[str, str] | None = None
    interactive_mode: bool | None = None
    controller: Controller | None = None
    recorder: Recorder | None = None
    recover_from: str | None = None
    workers: int | None = None
    clock: Clock | None = None
    """The time that the run sees; None for the system's."""
    # What says how a control plane runs it, and means nothing in this process.
    service_account: str | None = None
    copy_style: str = "loaded_modules"
    copy_bundle_to: pathlib.Path | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    interruptible: bool | None = None
    queue: str | None = None
    max_action_concurrency: int | None = None
    cache_lookup_scope: str = "global"
    logging: Mapping[str, str] = field(default_factory=dict)

    async def start(self, task: TaskTemplate[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run[Any]:
        """Start a run of ``task``: on this event loop, and wait for its end; or elsewhere, and give its handle."""
        configured = session()
        mode = self.mode or ("remote" if configured.endpoint or is_configured() else "local")
        if not isinstance(task, TaskTemplate):
            task = await _fetched(task, mode)
        if mode == "hybrid":
            raise NotImplementedError(
                "mode='hybrid' is not available in this version of flyte; use 'local' or 'remote'"
            )
        if mode == "remote":
            from .away import run_away

            self.check_away()
            # Its type is that of a run in this process, whose attributes and methods it has too.
            return cast(Run[Any], await run_away(self, task, args, kwargs))
        name = self.name or random_run_name()
        base = self.run_base_dir or str(home_dir() / "local" / "runs" / name)
        settings: dict[str, Any] = {
            "run_name": name,
            "project": self.project or configured.project,
            "domain": self.domain or configured.domain,
            "org": configured.org,
            "version": self.version or "",
            "raw_data_path": self.raw_data_path or f"{base}/raw",
            "run_base_dir": base,
            "env_vars": self.env_vars or {},
            "interactive_mode": bool(self.interactive_mode),
            "disable_run_cache": self.disable_run_cache,
            "overwrite_cache": self.overwrite_cache,
        }
        if self.run_start_time is not None:
            settings["start_time"] = self.run_start_time
        if self.clock is not None:
            settings["clock"] = self.clock
        result = await run_here(
            task,
            args,
            kwargs,
            controller=self.controller,
            recorder=self.recorder,
            custom_context=self.custom_context,
            settings=settings,
            remembered=configured.remembers,
            recover_from=self.recover_from,
            workers=self.workers,
        )
        action = ActionID(
            name=ROOT_ACTION,
            run_name=name,
            project=settings["project"],
            domain=settings["domain"],
            org=settings["org"],
        )
        return Run(name, base, ActionPhase.SUCCEEDED, result, tuple(task.interface.outputs), action)

    def check_away(self) -> None:
        """Refuse what only a run on this machine can have.

        :raises ValueError: it was asked for.
        """
        given = {
            "controller": self.controller,
            "recorder": self.recorder,
            "recover_from": self.recover_from,
            "workers": self.workers,
            "clock": self.clock,
        }
        for option, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{option}= is for runs on this machine, and this one is for a control plane; leave it out, or say "
                    "mode='local'"
                )


def is_configured() -> bool:
    """Whether a control plane is configured for this process."""
    from flyte.remote._connection import configured

    return configured.get() is not None


class _RunMethod:
    """Gives ``Runner.run`` its ``.aio``, typed like the task."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(self, task: TaskTemplate[P, R, F], *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Run ``task`` here and wait for its end, or start it on a control plane and give the run's handle, a
        :class:`flyte.remote.Run`; from async code, await ``.aio(...)`` instead.

        :raises TypeError: not a task; an argument of the wrong type, unknown or given twice.
        :raises ValueError: a required argument is missing.
        :raises Exception: what the task raised; also a :class:`flyte.errors.RuntimeUserError`.
        """
        try:
            return run_blocking(lambda: self._runner.start(task, args, kwargs))
        except BaseException:
            hide_own_frames()
            raise

    async def aio(self, task: TaskTemplate[P, R, F], *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """The same for async code; a run in this process is on this event loop and ends with it."""
        return await self._runner.start(task, args, kwargs)


def with_runcontext(
    mode: Mode | None = None,
    *,
    name: str | None = None,
    service_account: str | None = None,
    version: str | None = None,
    copy_style: str = "loaded_modules",
    dry_run: bool = False,
    copy_bundle_to: pathlib.Path | None = None,
    interactive_mode: bool | None = None,
    raw_data_path: str | None = None,
    run_base_dir: str | None = None,
    run_start_time: datetime | None = None,
    overwrite_cache: bool = False,
    project: str | None = None,
    domain: str | None = None,
    env_vars: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    interruptible: bool | None = None,
    log_level: int | None = None,
    log_format: str | None = None,
    user_log_level: int | None = None,
    reset_root_logger: bool = False,
    disable_run_cache: bool = False,
    queue: str | None = None,
    max_action_concurrency: int | None = None,
    notifications: Any = None,
    custom_context: dict[str, str] | None = None,
    cache_lookup_scope: str = "global",
    preserve_original_types: bool = False,
    debug: bool = False,
    tracked: bool = False,
    tracked_strict: bool = False,
    controller: Controller | None = None,
    recorder: Recorder | None = None,
    recover_from: str | None = None,
    workers: int | None = None,
) -> "RunContext":
    """Settings for a run: ``flyte.with_runcontext(mode="local", ...).run(task, x=1)``.

    :param mode: ``"local"`` to run in this process, ``"remote"`` on a control plane; local if no endpoint is set.
    :param name: of the run: at most 30 lowercase letters, digits and '-'; made up if not given.
    :param raw_data_path: where large values are written; below the user's state folder if not given.
    :param run_base_dir: where the run's data are written.
    :param run_start_time: what ``ctx().run_start_time`` says; now, if not given.
    :param env_vars: shown to every body of the run; a task's own win over these.
    :param custom_context: strings that travel with the run to each task.
    :param controller: runs the calls of tasks in place of the local controller; see ``flyte.extend.Controller``.
    :param recorder: is told of every action's start and end; see ``flyte.extend.Recorder``.
    :param recover_from: name of an earlier run of the task in the journal, or ``"last"``: every action and trace that
        had ended well there, and whose code is still the same, is taken from it instead of running again.
    :param workers: run each body in one of this many warm processes, so that they use several cores and a body that
        crashes takes nothing else with it; None for this process. Bodies then run within their ``resources``, and a
        ``ReusePolicy`` is in force.

    The other options say how a control plane runs it, and mean nothing for a run in this process:

    :param copy_style: which code travels: ``"loaded_modules"``, ``"all"``, or ``"none"``, which needs a ``version``.
    :param copy_bundle_to: a folder that gets a copy of the code that travels.
    :param interactive_mode: send the pickled task instead of the project; default if the task is in no file.
    :param overwrite_cache: run what is cached, and cache it anew.
    :param service_account: that pods run as.
    :param labels: of the run.
    :param annotations: of the run's pods.
    :param interruptible: whether machines may be used that can be taken away.
    :param queue: that the run is sent to.
    :param max_action_concurrency: how many of its actions run at once.
    :param cache_lookup_scope: ``"global"`` or ``"project-domain"``.

    :raises ValueError: an unknown mode or a name that a control plane would refuse.
    :raises TypeError: a controller or a dict of the wrong type.
    :raises NotImplementedError: an option that this version does not have.
    """
    if mode not in (None, "local", "remote", "hybrid"):
        raise ValueError(f"mode={mode!r} is not known; use 'local' or 'remote'")
    if name is not None:
        check_run_name(name)
    if controller is not None and not isinstance(controller, Controller):
        raise TypeError(f"controller takes a flyte.extend.Controller, but got {type(controller).__name__}")
    texts = {"env_vars": env_vars, "custom_context": custom_context, "labels": labels, "annotations": annotations}
    for option, strings in texts.items():
        for key, value in (strings or {}).items():
            if not isinstance(value, str):
                raise TypeError(f"{option}[{key!r}] takes a string, but got {type(value).__name__} {value!r}")
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool)):
        raise TypeError(f"workers takes a number of processes, but got {type(workers).__name__} {workers!r}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} runs nothing; give 1 or more, or leave it out to run in this process")
    if workers is not None and mode in ("remote", "hybrid"):
        raise ValueError(f"workers={workers} is for runs on this machine, not for mode={mode!r}; leave one of them out")
    if recover_from is not None and (not isinstance(recover_from, str) or not recover_from):
        raise TypeError(f"recover_from takes the name of a run or 'last', but got {recover_from!r}")
    if max_action_concurrency is not None and mode == "local":
        log.logger.warning("max_action_concurrency=%r limits runs on a control plane only", max_action_concurrency)
    if cache_lookup_scope not in ("global", "project-domain", "project_domain"):
        raise ValueError(f"cache_lookup_scope={cache_lookup_scope!r} is not known; use 'global' or 'project-domain'")
    missing = {
        "dry_run": dry_run,
        "notifications": notifications,
        "debug": debug,
        "tracked": tracked,
        "tracked_strict": tracked_strict,
    }
    for option, value in missing.items():
        if value:
            raise NotImplementedError(f"with_runcontext({option}=...) is not available in this version of flyte")
    if any(v is not None for v in (log_level, log_format, user_log_level)) or reset_root_logger:
        log.configure(log_level, log_format, user_log_level, reset_root_logger)
    return RunContext(
        Runner(
            mode=mode,
            name=name,
            project=project,
            domain=domain,
            version=version,
            raw_data_path=raw_data_path,
            run_base_dir=run_base_dir,
            run_start_time=run_start_time,
            overwrite_cache=overwrite_cache,
            disable_run_cache=disable_run_cache,
            env_vars=env_vars,
            custom_context=custom_context,
            interactive_mode=interactive_mode,
            controller=controller,
            recorder=recorder,
            recover_from=recover_from,
            workers=workers,
            service_account=service_account,
            copy_style=copy_style,
            copy_bundle_to=copy_bundle_to,
            labels=labels,
            annotations=annotations,
            interruptible=interruptible,
            queue=queue,
            max_action_concurrency=max_action_concurrency,
            cache_lookup_scope=cache_lookup_scope,
            logging=_logging(log_level, log_format, user_log_level, reset_root_logger),
        )
    )


def _logging(
    log_level: int | None, log_format: str | None, user_log_level: int | None, reset_root_logger: bool
) -> dict[str, str]:
    """What was said of logging, as the variables that a container reads."""
    said = {"LOG_LEVEL": log_level, "LOG_FORMAT": log_format, "USER_LOG_LEVEL": user_log_level}
    found = {name: str(value) for name, value in said.items() if value is not None}
    if reset_root_logger:
        found["FLYTE_RESET_ROOT_LOGGER"] = "1"
    return found


class RunContext:
    """What :func:`with_runcontext` gives: :attr:`run`, sync and ``.aio``."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.run = _RunMethod(runner)


run = _RunMethod(Runner())


async def _fetched(task: object, mode: Mode) -> Any:
    """The details of a deployed task, as ``flyte.remote.Task.get`` names it.

    :raises TypeError: something else, or a run of it in this process.
    """
    # Imported only by who uses it; a public class says its public module, so the name would not do.
    there = sys.modules.get("flyte.remote._tasks")
    if there is None or not type(task).__module__.startswith("flyte.remote") or not hasattr(there, type(task).__name__):
        _refuse_task(task)
    if mode != "remote":
        raise TypeError(f"{task!r} is deployed on a control plane and runs there only; use mode='remote'")
    from flyte.remote._tasks import LazyTask, TaskDetails

    if isinstance(task, LazyTask):
        return await task.fetch.aio()
    if not isinstance(task, TaskDetails):
        _refuse_task(task)
    return task


def _refuse_task(task: object) -> NoReturn:
    name = getattr(task, "__name__", None)
    hint = "decorate it with @env.task of a flyte.TaskEnvironment" if callable(task) else "give it a task"
    raise TypeError(f"flyte.run takes a task, but got {type(task).__name__} {name or repr(task)}; {hint}")
