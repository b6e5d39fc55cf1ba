"""The calls that start a run (wire-protocol section 4): inputs are stored, the run is created, a handle is given."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any

from flyteidl2.common.identifier_pb2 import RunIdentifier
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.dataproxy.dataproxy_service_pb2 import UploadInputsRequest
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskSpec
from flyteidl2.workflow.run_definition_pb2 import RUN_SOURCE_CLI
from flyteidl2.workflow.run_service_pb2 import CreateRunRequest, GetRunDetailsRequest

from flyte._core.interface import Empty, NativeInterface
from flyte._core.threads import run_in_thread
from flyte._wire.identity import run_identifier
from flyte._wire.run import RunSettings, again_spec, offloaded_by_content, run_spec
from flyte._wire.values import fill_kickoff, forget_kickoff, inputs_from, kickoff_of
from flyte.errors import (
    RpcAlreadyExistsError,
    RpcInvalidArgumentError,
    RpcTimeoutError,
    RpcUnavailableError,
    RpcUnimplementedError,
    RuntimeSystemError,
    RuntimeUserError,
    UnionRpcError,
)
from flyte.types._files import local_path
from flyte.types._guessing import guess_interface

from ._clusters import Operation
from ._plane import Plane
from ._runs import Run
from ._source import source_of
from ._upload import upload_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A run to be.

    :param is_named: whether the user gave the name, so that another run of that name is an error.
    :param spec: of the task; or
    :param task: identity of one that was deployed before.
    :param ignored_inputs: names of inputs that make no difference to the cache.
    :param interface: what results are read with.
    """

    name: str
    is_named: bool
    project: str
    domain: str
    spec: TaskSpec | None
    task: TaskIdentifier | None
    inputs: Inputs
    ignored_inputs: tuple[str, ...]
    settings: RunSettings
    interface: NativeInterface | None


async def launch(plane: Plane, made: Launch) -> Run:
    """Start a run.

    :raises flyte.errors.RuntimeUserError: ``RunAlreadyExistsError``, ``InvalidArgumentError`` or ``RunCreationError``.
    :raises flyte.errors.RuntimeSystemError: ``SystemUnavailableError``: the control plane cannot be reached.
    """
    run_id = RunIdentifier(org=plane.org, project=made.project, domain=made.domain, name=made.name)
    settings = run_spec(made.settings, deployed=made.spec is None)
    request = CreateRunRequest(run_id=run_id, run_spec=settings, source=RUN_SOURCE_CLI)
    upload = UploadInputsRequest(
        project_id=plane.project_id(made.project, made.domain),
        inputs=made.inputs,
        base_dir=made.settings.run_base_dir or "",
    )
    if made.spec is not None:
        request.task_spec.CopyFrom(made.spec)
        upload.task_spec.CopyFrom(made.spec)
    else:
        assert made.task is not None
        request.task_id.CopyFrom(made.task)
        upload.task_id.CopyFrom(made.task)
    with _told_of(made.name):
        try:
            stored = await _stored(plane, upload)
            request.offloaded_input_data.CopyFrom(offloaded_by_content(stored, made.inputs, made.ignored_inputs))
        except RpcUnimplementedError:
            request.inputs.CopyFrom(made.inputs)
    return await _create(plane, request, made.is_named, made.interface)


async def repeat(
    plane: Plane,
    of: str,
    *,
    action: str,
    name: str,
    is_named: bool,
    recover: bool,
    inputs: Mapping[str, Any],
) -> Run:
    """Start a run like an earlier one, or like one action of it: the same task and code, with its settings.

    :param of: name of the earlier one, or ``last``.
    :param action: name of the action.
    :param recover: whether what had ended well there is taken over.
    :param inputs: in place of those of then.
    :raises flyte.errors.RuntimeUserError: ``RunNotFoundError``, ``RunCreationError`` for an input that the task does
        not have, and as for :func:`launch`.
    """
    source = source_of(plane)
    before = await source.run(of)
    root = plane.root(before.name, before.project, before.domain)
    there = run_identifier(root)
    settings = (await plane.client.runs.GetRunDetails(GetRunDetailsRequest(run_id=there))).details.run_spec
    wanted = root.new_sub_action(action)
    details = await source.details_of(wanted)
    if not details.HasField("task"):
        raise RuntimeUserError("RunCreationError", f"{before.name}/{action} is of no task that could be run again")
    sent = await _changed((await source.data_of(wanted)).inputs, details.task, inputs)
    if (kickoff := kickoff_of(sent)) is not None and kickoff in inputs:
        forget_kickoff(sent)
    elif kickoff is not None and settings.HasField("run_start_time"):
        # The time that a trigger fired at is an input like others, and that of the run that is repeated.
        fired = settings.run_start_time.ToDatetime(UTC)
        await fill_kickoff(guess_interface(details.task.task_template.interface), sent, fired)
    request = CreateRunRequest(
        run_id=RunIdentifier(org=plane.org, project=root.project, domain=root.domain, name=name),
        run_spec=again_spec(settings, there, recover=recover),
        source=RUN_SOURCE_CLI,
        task_spec=details.task,
    )
    upload = UploadInputsRequest(
        project_id=plane.project_id(root.project, root.domain),
        task_spec=details.task,
        inputs=sent,
        base_dir=settings.run_base_dir,
    )
    with _told_of(name):
        try:
            stored = await _stored(plane, upload)
            ignored = tuple(details.task.task_template.metadata.cache_ignore_input_vars)
            request.offloaded_input_data.CopyFrom(offloaded_by_content(stored, sent, ignored))
        except RpcUnimplementedError:
            request.inputs.CopyFrom(sent)
    return await _create(plane, request, is_named, None)


async def _stored(plane: Plane, upload: UploadInputsRequest) -> OffloadedInputData:
    cluster = await plane.client.at_cluster(Operation.OPERATION_UPLOAD_INPUTS, project_id=upload.project_id)
    stored: OffloadedInputData = (await cluster.data.UploadInputs(upload)).offloaded_input_data
    return stored


async def _changed(before: Inputs, spec: TaskSpec, changes: Mapping[str, Any]) -> Inputs:
    """The inputs of then with others in place of some."""
    sent = Inputs()
    sent.CopyFrom(before)
    if not changes:
        return sent
    interface = guess_interface(spec.task_template.interface)
    for name in changes:
        if name not in interface.inputs:
            task = spec.task_template.id.name
            raise RuntimeUserError(
                "RunCreationError", f"task {task!r} has no parameter {name!r}{interface.nearest(name)}"
            )
    changed = NativeInterface({name: (interface.inputs[name][0], Empty) for name in changes}, {})
    made = {one.name: one for one in (await inputs_from(changed, changes)).literals}
    kept = [made.pop(one.name, one) for one in sent.literals]
    del sent.literals[:]
    sent.literals.extend([*kept, *made.values()])
    return sent


async def _create(plane: Plane, request: CreateRunRequest, is_named: bool, interface: NativeInterface | None) -> Run:
    name = request.run_id.name
    with _told_of(name):
        try:
            made = (await plane.client.runs.CreateRun(request)).run.action
        except RpcAlreadyExistsError:
            if is_named:
                raise
            # A name that was made up here is of nobody else: an earlier attempt of this very call arrived.
            made = None
    source = source_of(plane)
    root = plane.root(name, request.run_id.project, request.run_id.domain)
    if made is not None and made.id.run.name and made.id.run.name != name:
        root = plane.root(made.id.run.name, root.project, root.domain)
    entry = source.entry_of(root, made)
    task = request.task_spec.task_template.id.name or request.task_id.name
    run = Run(replace(entry, task=entry.task or task), source)
    run._interface = interface
    return run


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """Says of a call's failure which run it was about, as the class that users know (wire-protocol section 4.3)."""
    try:
        yield
    except UnionRpcError as error:
        what = f"run {name!r} was not started: {error}"
        if isinstance(error, (RpcUnavailableError, RpcTimeoutError)):
            raise RuntimeSystemError("SystemUnavailableError", what) from error
        if isinstance(error, RpcInvalidArgumentError):
            raise RuntimeUserError("InvalidArgumentError", what) from error
        if isinstance(error, RpcAlreadyExistsError):
            raise RuntimeUserError(
                "RunAlreadyExistsError", f"there is a run {name!r} already; choose another name ({error})"
            ) from error
        if error.kind == "user":
            raise RuntimeUserError("RunCreationError", what) from error
        raise RuntimeSystemError("RunCreationError", what) from error


# Files of this machine ------------------------------------------------------------------------------------------------


async def send_files(plane: Plane, inputs: Inputs, folder: Path) -> None:
    """Send the files and folders that inputs name on this machine, and name what was sent instead.

    :raises flyte.errors.RuntimeUserError: ``LocalDataError``: one is not there.
    """
    for one in inputs.literals:
        await _send_in(plane, one.value, folder)


async def _send_in(plane: Plane, literal: Literal, folder: Path) -> None:
    which = literal.WhichOneof("value")
    if which == "collection":
        for member in literal.collection.literals:
            await _send_in(plane, member, folder)
    elif which == "map":
        for member in literal.map.literals.values():
            await _send_in(plane, member, folder)
    elif which == "offloaded_metadata":
        literal.offloaded_metadata.uri = await _sent(plane, literal.offloaded_metadata.uri, folder)
    elif which == "scalar":
        kind = literal.scalar.WhichOneof("value")
        if kind == "union":
            await _send_in(plane, literal.scalar.union.value, folder)
        elif kind == "blob":
            literal.scalar.blob.uri = await _sent(plane, literal.scalar.blob.uri, folder)
        elif kind == "structured_dataset":
            literal.scalar.structured_dataset.uri = await _sent(plane, literal.scalar.structured_dataset.uri, folder)


async def _sent(plane: Plane, uri: str, folder: Path) -> str:
    path = local_path(uri)
    if path is None or not uri:
        return uri
    here = folder / path
    if here.is_file():
        return await upload_file(plane, here)
    if here.is_dir():
        return await upload_folder(plane, here)
    raise RuntimeUserError("LocalDataError", f"{uri!r} is to be sent along, and is no file or folder of this machine")


def _files_below(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file())


async def upload_folder(plane: Plane, folder: Path, name: str | None = None) -> str:
    """Send a folder with all files below it; gives its URI.

    :param name: of the folder there; made up if not given.
    """
    from uuid import uuid4

    root = name or uuid4().hex
    uri = ""
    for path in await run_in_thread(_files_below, folder):
        inside = path.relative_to(folder).as_posix()
        there = await upload_file(plane, path, name=inside, folder=root)
        uri = uri or there.removesuffix(f"/{inside}")
    if not uri:
        raise RuntimeUserError("LocalDataError", f"folder {str(folder)!r} holds no files, so it cannot be sent along")
    return uri
