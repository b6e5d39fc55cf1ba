"""DataProxyService: uploads, inputs and outputs, reports, log lines."""

import asyncio
import sqlite3
import time
from base64 import b32encode
from collections.abc import AsyncIterator
from hashlib import md5, sha256
from pathlib import Path, PurePosixPath
from typing import Any

from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.dataproxy.dataproxy_service_pb2_grpc import DataProxyServiceServicer
from flyteidl2.logs.dataplane.payload_pb2 import LogLine, LogLineOriginator
from flyteidl2.task.common_pb2 import Inputs, Outputs
from flyteidl2.task.task_definition_pb2 import TaskSpec

from flyte._core.identity import ActionPhase
from flyte._wire.identity import phase_from_wire
from flyte.devbox._documents import read_document, write_document
from flyte.devbox._files import FileServer
from flyte.devbox._hashing import hash_inputs
from flyte.devbox._intake import Intake
from flyte.devbox._reading import Reader, moment
from flyte.devbox._refusal import Code, Refusal
from flyte.devbox._rows import TASK, Run
from flyte.devbox._store import Store

from .catalog import Catalog

_LONGEST_S = 3600
_TAIL_S = 0.1
"""How often the log of a running attempt is looked at."""
_LINES = 500
_LINE_BYTES = 64 * 1024
"""A longer line is given in parts."""


class Data(DataProxyServiceServicer):
    """Says where to put data, and gives what was left."""

    def __init__(
        self, store: Store, intake: Intake, reader: Reader, catalog: Catalog, files: FileServer, folder: Path
    ) -> None:
        self._store = store
        self._intake = intake
        self._reader = reader
        self._catalog = catalog
        self._files = files
        self._folder = folder

    # Uploads ----------------------------------------------------------------------------------------------------------

    async def CreateUploadLocation(
        self, request: data.CreateUploadLocationRequest, context: Any
    ) -> data.CreateUploadLocationResponse:
        """A URL to put one object to, and where it will be."""
        if not request.content_md5 and not request.filename_root:
            raise Refusal(Code.INVALID, "content_md5 or filename_root must be given")
        if request.content_md5 and len(request.content_md5) != 16:
            raise Refusal(Code.INVALID, f"content_md5 has {len(request.content_md5)} bytes, not 16")
        wanted_s = request.expires_in.seconds or _LONGEST_S
        if not 0 < wanted_s <= _LONGEST_S:
            raise Refusal(Code.INVALID, f"expires_in of {wanted_s} s is not between 0 and {_LONGEST_S} s")
        prefix = request.filename_root or b32encode(request.content_md5).decode().rstrip("=")
        parts = [*_inner("project", request.project), *_inner("domain", request.domain)]
        parts += [*_inner("filename_root", prefix), *_inner("filename", request.filename or "content")]
        path = self._folder.joinpath("uploads", *parts)
        if path.exists() and not await asyncio.to_thread(_has_md5, path, request.content_md5):
            raise Refusal(Code.EXISTS, f"{request.filename!r} exists already below {prefix!r} with another content")
        expires_at = time.time() + wanted_s
        return data.CreateUploadLocationResponse(
            signed_url=self._files.upload_url(path, request.content_md5, expires_at),
            native_url=path.as_uri(),
            expires_at=moment(expires_at),
        )

    async def UploadInputs(self, request: data.UploadInputsRequest, context: Any) -> data.UploadInputsResponse:
        """Keep inputs; they are where the answer says, as ``inputs.pb``."""
        spec = self._spec(request)
        ignored = spec.task_template.metadata.cache_ignore_input_vars if spec is not None else ()
        hashed = hash_inputs(request.inputs, ignored)
        if request.WhichOneof("id") == "run_id":
            project, domain = request.run_id.project, request.run_id.domain
        else:
            project, domain = request.project_id.name, request.project_id.domain
        # What the hash leaves out still differs: ignored values, and the custom context.
        stored = request.inputs.SerializeToString(deterministic=True)
        whole = sha256(stored).hexdigest()
        base = (request.base_dir or self._intake.data_uri).rstrip("/")
        folder = f"{base}/uploads/{'/'.join([*_inner('project', project), *_inner('domain', domain)])}"
        uri = f"{folder}/offloaded-inputs/{whole}"
        await write_document(f"{uri}/inputs.pb", stored)
        return data.UploadInputsResponse(offloaded_input_data=OffloadedInputData(uri=uri, inputs_hash=hashed))

    def _spec(self, request: data.UploadInputsRequest) -> TaskSpec | None:
        match request.WhichOneof("task"):
            case "task_spec":
                return request.task_spec
            case "task_id":
                return self._catalog.spec_of(request.task_id)
            case "trigger_name":
                return self._catalog.spec_of(self._catalog.trigger(request.trigger_name).task_id)
        return None

    # What actions took and gave ---------------------------------------------------------------------------------------

    def _action(self, identity: ActionIdentifier) -> tuple[Run, sqlite3.Row]:
        name = identity.run
        found = self._intake.find_run(name.project, name.domain, name.name)
        if found is None:
            raise Refusal(Code.MISSING, f"there is no run {name.name!r} in {name.project!r}/{name.domain!r}")
        run = self._intake.run_from(found)
        row = self._reader.action_row(run.id, identity.name)
        if row is None:
            raise Refusal(Code.MISSING, f"run {run.name!r} has no action {identity.name!r}")
        return run, row

    async def GetActionData(self, request: data.GetActionDataRequest, context: Any) -> data.GetActionDataResponse:
        """The inputs of an action, and its outputs if it succeeded."""
        _, row = self._action(request.action_id)
        answer = data.GetActionDataResponse(inputs_uri=row["input_uri"])
        answer.inputs.ParseFromString(await read_document(row["input_uri"]) or Inputs().SerializeToString())
        done = phase_from_wire(row["phase"]) in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED)
        if done and row["output_uri"]:
            uri = f"{row['output_uri']}/outputs.pb" if row["kind"] == TASK else row["output_uri"]
            left = await read_document(uri)
            if left is None:
                raise Refusal(Code.MISSING, f"the outputs of action {row['name']!r} are no longer at {uri}")
            answer.outputs.ParseFromString(left or Outputs().SerializeToString())
            answer.outputs_uri = uri
        return answer

    async def CreateDownloadLink(
        self, request: data.CreateDownloadLinkRequest, context: Any
    ) -> data.CreateDownloadLinkResponse:
        """A URL that gives a report or a code bundle."""
        match request.artifact_type, request.WhichOneof("source"):
            case data.ArtifactType.ARTIFACT_TYPE_REPORT, "action_attempt_id":
                _, row = self._action(request.action_attempt_id.action_id)
                sql = "SELECT * FROM attempt WHERE action = ? AND number = ?"
                attempt = self._store.row(sql, (row["id"], request.action_attempt_id.attempt))
                if attempt is None:
                    raise Refusal(
                        Code.MISSING,
                        f"action {row['name']!r} has no attempt {request.action_attempt_id.attempt}",
                    )
                uri = f"{attempt['output_prefix']}/report.html"
            case data.ArtifactType.ARTIFACT_TYPE_CODE_BUNDLE, "task_id":
                metadata = self._catalog.spec_of(request.task_id).task_template.metadata
                uri = metadata.code_bundle_uri
            case _:
                raise Refusal(Code.INVALID, "ask for the report of an attempt, or for the code bundle of a task")
        if not uri or await read_document(uri) is None:
            raise Refusal(Code.MISSING, f"there is nothing at {uri!r}")
        expires_at = time.time() + min(request.expires_in.seconds or _LONGEST_S, _LONGEST_S)
        answer = data.CreateDownloadLinkResponse()
        answer.pre_signed_urls.signed_url.append(self._files.download_url(uri, expires_at))
        answer.pre_signed_urls.expires_at.CopyFrom(moment(expires_at))
        return answer

    # Logs -------------------------------------------------------------------------------------------------------------

    async def TailLogs(self, request: data.TailLogsRequest, context: Any) -> AsyncIterator[data.TailLogsResponse]:
        """The lines of an attempt as it prints them, until it has ended."""
        _, row = self._action(request.action_id)
        number = request.attempt or max(row["attempt"], 1)
        attempt = self._attempt(row["id"], number)
        if attempt is None:
            raise Refusal(Code.MISSING, f"attempt {number} of action {row['name']!r} has not begun")
        path = Path(attempt["folder"], "log.txt")
        position, begun = 0, b""
        while True:
            ended = attempt is None or attempt["ended_at"] is not None
            position, lines, begun = _read_lines(path, position, begun, last=ended)
            if lines:
                at = time.time() if attempt is None or not ended else attempt["ended_at"]
                yield _answer_of(lines, at)
                continue
            if ended:
                return
            await asyncio.sleep(_TAIL_S)
            attempt = self._attempt(row["id"], number)

    def _attempt(self, action: int, number: int) -> sqlite3.Row | None:
        return self._store.row("SELECT * FROM attempt WHERE action = ? AND number = ?", (action, number))


def _read_lines(path: Path, position: int, begun: bytes, *, last: bool) -> tuple[int, list[bytes], bytes]:
    """The whole lines after ``position``, and the piece of a line after them; the piece is a line if it is the last."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            chunk = file.read(_LINES * 256)
    except FileNotFoundError:
        chunk = b""
    *lines, rest = (begun + chunk).split(b"\n")
    if rest and (len(rest) > _LINE_BYTES or (last and not chunk)):
        lines, rest = [*lines, rest], b""
    return position + len(chunk), lines, rest


def _answer_of(lines: list[bytes], at: float) -> data.TailLogsResponse:
    answer = data.TailLogsResponse()
    stamp = moment(at)
    said = [
        LogLine(timestamp=stamp, message=line.decode("utf-8", errors="replace"), originator=LogLineOriginator.USER)
        for line in lines
    ]
    answer.logs.add(lines=said)
    return answer


def _has_md5(path: Path, digest: bytes) -> bool:
    found = md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.digest() == digest


def _inner(field: str, text: str) -> list[str]:
    """The parts of a relative path that stays inside.

    :raises Refusal: it leads elsewhere.
    """
    parts = PurePosixPath(text).parts
    if not parts or text.startswith("/") or ".." in parts or "\0" in text:
        raise Refusal(Code.INVALID, f"{field} {text!r} is not a relative path")
    return list(parts)
