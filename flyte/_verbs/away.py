"""Launching a run on a control plane (wire-protocol section 4)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flyte._core.context import get_custom_context
from flyte._core.identity import random_run_name
from flyte._definition.task import MAX_INLINE_IO_BYTES, TaskTemplate
from flyte._package.includes import style_of

from .session import session
from .shipment import AnyTask, Shipment, Told, ship, source_of

if TYPE_CHECKING:
    from flyte._wire.run import RunSettings
    from flyte.remote._plane import Plane
    from flyte.remote._runs import Run
    from flyte.remote._tasks import TaskDetails

    from .run import Runner


async def run_away(
    runner: "Runner",
    task: "AnyTask | TaskDetails",
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    told: Told | None = None,
) -> "Run":
    """Start a run of ``task`` on the control plane in force, and give its handle at once.

    :param told: is told of the bytes of code that were sent, and of all there are.
    :raises flyte.errors.InitializationError: there is no control plane to talk to.
    :raises TypeError: an argument of the wrong type, unknown or given twice.
    :raises ValueError: a required argument is missing.
    :raises flyte.errors.RuntimeUserError: ``RunAlreadyExistsError``, or the control plane refuses the run.
    :raises flyte.errors.RuntimeSystemError: the control plane cannot be reached, or failed.
    """
    from flyte.remote._plane import find_plane

    # Wrong arguments are said before anything is built or sent.
    try:
        values = task.interface.bind(args, kwargs)
    except (TypeError, ValueError) as error:
        raise type(error)(f"task {task.name!r} {error}") from None
    arguments = dict(zip(task.interface.inputs, values, strict=True))
    plane = find_plane()
    now = session()
    runner = replace(runner, project=runner.project or now.project, domain=runner.domain or now.domain)
    name = runner.name or random_run_name()
    if not isinstance(task, TaskTemplate):
        return await _launch(runner, plane, name, task, arguments, None)
    environment = task.parent_env() if task.parent_env is not None else None
    pickled = task if _is_interactive(runner, task) else None
    shipment = await ship(
        plane,
        [environment] if environment is not None else [],
        [task],
        version=runner.version,
        copy_style=style_of(runner.copy_style),
        pickled=pickled,
        copy_to=runner.copy_bundle_to,
        project=runner.project,
        domain=runner.domain,
        told=told,
    )
    return await _launch(runner, plane, name, task, arguments, shipment)


def _is_interactive(runner: "Runner", task: AnyTask) -> bool:
    if runner.interactive_mode is not None:
        return runner.interactive_mode
    # What was typed, in a notebook or at a prompt, is in no file that could travel.
    return getattr(task, "func", None) is not None and source_of(task) is None


async def _launch(
    runner: "Runner",
    plane: "Plane",
    name: str,
    task: "AnyTask | TaskDetails",
    arguments: Mapping[str, Any],
    shipment: Shipment | None,
) -> "Run":
    from flyte._wire.task import task_spec
    from flyte.remote._launch import Launch, launch

    inputs = await _inputs(runner, plane, task, arguments)
    spec = None
    if shipment is not None:
        assert isinstance(task, TaskTemplate)
        spec = task_spec(task, shipment.context)
    system_paths = shipment.system_paths if shipment is not None else ""
    return await launch(
        plane,
        Launch(
            name=name,
            is_named=runner.name is not None,
            project=runner.project or plane.project,
            domain=runner.domain or plane.domain,
            spec=spec,
            task=None if isinstance(task, TaskTemplate) else task.task_id,
            inputs=inputs,
            ignored_inputs=_ignored(task),
            settings=settings_of(runner, system_paths),
            interface=task.interface,
        ),
    )


def _ignored(task: "AnyTask | TaskDetails") -> tuple[str, ...]:
    cache: Any = task.cache
    if not isinstance(task, TaskTemplate):
        return tuple(task.ignored_inputs)
    return tuple(cache.get_ignored_inputs()) if cache.is_enabled() else ()


def settings_of(runner: "Runner", system_paths: str = "") -> "RunSettings":
    """What a run asks of its control plane."""
    from flyte._wire.run import RunSettings

    env_vars = dict(runner.env_vars or {})
    if system_paths:
        env_vars.setdefault("_F_SYS_PATH", system_paths)
    for variable, value in runner.logging.items():
        env_vars.setdefault(variable, value)
    return RunSettings(
        labels=runner.labels or {},
        annotations=runner.annotations or {},
        env_vars=env_vars,
        interruptible=runner.interruptible,
        overwrite_cache=runner.overwrite_cache,
        cache_lookup_scope=runner.cache_lookup_scope,
        queue=runner.queue,
        raw_data_path=runner.raw_data_path,
        service_account=runner.service_account,
        max_action_concurrency=runner.max_action_concurrency,
        run_base_dir=runner.run_base_dir,
        run_start_time=runner.run_start_time,
    )


async def _inputs(runner: "Runner", plane: "Plane", task: "AnyTask | TaskDetails", arguments: Mapping[str, Any]) -> Any:
    """The message of the arguments; what is too large for it, or a file of this machine, is sent beside it."""
    from flyte._wire.values import inputs_from
    from flyte.remote._launch import send_files
    from flyte.remote._plane import devbox_folder
    from flyte.types._engine import codec_for
    from flyte.types._offload import store_large_literals
    from flyte.types._raw_data import raw_data_path

    folder = runner.raw_data_path
    if folder is None and plane.is_devbox:
        folder = str(devbox_folder() / "raw" / uuid4().hex)  # the same machine reads it
    token = raw_data_path.set(folder) if folder is not None else None
    try:
        context = {**get_custom_context(), **(runner.custom_context or {})}
        inputs = await inputs_from(task.interface, arguments, task_name=task.name, context=context)
        most_bytes = task.max_inline_io_bytes
        if most_bytes != MAX_INLINE_IO_BYTES and inputs.ByteSize() > most_bytes:
            from flyte._control.attempt import check_inline

            check_inline(task, inputs)
        codecs = [codec_for(annotation) for annotation in task.interface.get_input_types().values()]
        if not plane.is_devbox:
            await send_files(plane, inputs, Path.cwd())
        await store_large_literals(inputs.literals, codecs)
    finally:
        if token is not None:
            raw_data_path.reset(token)
    if not plane.is_devbox:
        await send_files(plane, inputs, Path.cwd())  # what was stored just now
    return inputs
