"""New runs and new actions: checked, named, and handed to the queue."""

import sqlite3
import time
from collections.abc import Callable
from hashlib import sha256

from flyteidl2.actions.actions_service_pb2 import Action
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.run_pb2 import RelationType
from flyteidl2.core.execution_pb2 import ErrorDocument
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.task.run_pb2 import RunSpec
from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.workflow.run_definition_pb2 import ConditionAction, TraceAction
from google.protobuf.message import DecodeError

from flyte._core.identity import ROOT_ACTION, ActionPhase, check_run_name, random_run_name
from flyte._wire.identity import phase_from_wire, phase_to_wire

from ._dispatch import Dispatcher
from ._documents import read_document, write_document
from ._hashing import hash_inputs
from ._machine import Aborted, Answered, Event, Fault, Policy, Reported, State
from ._orders import cache_key_of, policy_of
from ._refusal import Code, Refusal
from ._rows import CONDITION, TASK, TRACE, Live, Run, fault_in
from ._store import Statement, Store

_INSERT_ACTION = (
    "INSERT INTO action (id, run, name, parent, call_group, kind, spec, detail, task_project, task_domain, task_name, "
    "task_version, task_type, short_name, environment, input_uri, run_output_base, cache_key, phase, attempt, "
    "user_failures, system_failures, not_before, created_at, updated_at, output_uri, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, ?, '', '')"
)
_COPY_STEP = (
    "INSERT INTO action (id, run, name, parent, call_group, kind, detail, task_name, short_name, input_uri, "
    "run_output_base, phase, attempt, user_failures, system_failures, not_before, created_at, started_at, ended_at, "
    "updated_at, output_uri, reason, value, recovered_from) "
    "SELECT ?, ?, name, parent, call_group, kind, detail, task_name, short_name, input_uri, run_output_base, ?, "
    "attempt, 0, 0, 0, ?, ?, ?, ?, output_uri, reason, value, ? FROM action WHERE id = ?"
)
_SPECS_KEPT = 256


class Specs:
    """Task specs by their digest; the ones used last stay parsed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed: dict[bytes, TaskSpec] = {}

    def get(self, digest: bytes) -> TaskSpec:
        """The spec with that digest, which is in the database."""
        spec = self._parsed.get(digest)
        if spec is None:
            row = self._store.row("SELECT body FROM spec WHERE digest = ?", (digest,))
            if row is None:
                raise LookupError(f"the database has no task spec {digest.hex()}")
            spec = self._keep(digest, TaskSpec.FromString(row["body"]))
        return spec

    def put(self, spec: TaskSpec) -> tuple[bytes, Statement]:
        """The digest of a spec, and what writes it."""
        body = spec.SerializeToString(deterministic=True)
        digest = sha256(body).digest()
        self._keep(digest, spec)
        return digest, ("INSERT OR IGNORE INTO spec VALUES (?, ?)", (digest, body))

    def _keep(self, digest: bytes, spec: TaskSpec) -> TaskSpec:
        self._parsed.pop(digest, None)
        while len(self._parsed) >= _SPECS_KEPT:
            del self._parsed[next(iter(self._parsed))]
        self._parsed[digest] = spec
        return spec


class Intake:
    """Takes what clients and containers ask to be run.

    :param data_uri: prefix of the files of runs that do not say where theirs are.
    """

    def __init__(self, store: Store, dispatcher: Dispatcher, specs: Specs, data_uri: str) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._specs = specs
        self.data_uri = data_uri
        self._last_run = self._last("run")
        self._last_action = self._last("action")

    def _last(self, table: str) -> int:
        row = self._store.row(f"SELECT max(id) AS last FROM {table}")
        return int(row["last"] or 0) if row is not None else 0

    # Runs -------------------------------------------------------------------------------------------------------------

    async def create_run(
        self,
        identity: RunIdentifier,
        spec: TaskSpec,
        run_spec: RunSpec,
        *,
        inputs: Inputs | None = None,
        input_uri: str = "",
        inputs_hash: str = "",
        source: int = 0,
        start_time: float | None = None,
        trigger: tuple[str, int] = ("", 0),
        request_id: str = "",
        made_known: Callable[[float], list[Statement]] = lambda at: [],
    ) -> Run:
        """Create a run and queue its first action.

        :param identity: where it belongs; an empty name is replaced by a new one.
        :param spec: the task of its first action.
        :param inputs: its inputs, if they are not at ``input_uri``; defaults are filled in.
        :param inputs_hash: what tells these inputs from others, for the cache.
        :param start_time: when it was due, if it was planned; seconds since the epoch.
        :param trigger: name and revision of what started it.
        :param request_id: of the call; a run that was created by the same call is given again.
        :param made_known: further statements to be written with it.
        :raises Refusal: the name is no name or is taken, or a path is no path.
        """
        if not identity.project or not identity.domain:
            raise Refusal(Code.INVALID, "a run needs a project and a domain")
        if request_id:
            known = self._store.row("SELECT * FROM run WHERE request_id = ?", (request_id,))
            if known is not None:
                return self.run_from(known)
        name = identity.name or random_run_name()
        try:
            check_run_name(name)
        except ValueError as error:
            raise Refusal(Code.INVALID, str(error)) from error
        if self.find_run(identity.project, identity.domain, name) is not None:
            raise Refusal(
                Code.EXISTS, f"run {name!r} exists already in {identity.project}/{identity.domain}; give another name"
            )
        now = time.time()
        kept = RunSpec()
        kept.CopyFrom(run_spec)
        if start_time is None and kept.HasField("run_start_time"):
            start_time = kept.run_start_time.ToMilliseconds() / 1000
        kept.run_start_time.FromMilliseconds(round((start_time or now) * 1000))
        base = (kept.run_base_dir or self.data_uri).rstrip("/")
        run_output_base = f"{base}/{identity.project}/{identity.domain}/{name}"
        if inputs is not None or not input_uri:
            filled = with_defaults(inputs or Inputs(), spec)
            inputs_hash = inputs_hash or hash_inputs(filled, spec.task_template.metadata.cache_ignore_input_vars)
            input_uri = f"{run_output_base}/inputs"
            await write_document(f"{input_uri}/inputs.pb", filled.SerializeToString(deterministic=True))
        self._last_run += 1
        run = Run(self._last_run, identity.org, identity.project, identity.domain, name, kept, now, source, *trigger)
        statements: list[Statement] = [
            (
                "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(run.id, run.org, run.project, run.domain, name, kept.SerializeToString(), source, now),
                    *(*trigger, request_id),
                ),
            ),
            *made_known(now),
        ]
        live, written = self._task(
            run,
            ROOT_ACTION,
            parent="",
            group="",
            spec=spec,
            input_uri=_file_of(input_uri),
            run_output_base=run_output_base,
            cache_key=cache_key_of(spec.task_template, inputs_hash) if inputs_hash else None,
        )
        try:
            await self._dispatcher.admit(live, *statements, *written, *self._steps_to_recover(run, ROOT_ACTION))
        except sqlite3.IntegrityError as error:
            known = self._store.row("SELECT * FROM run WHERE request_id = ?", (request_id,)) if request_id else None
            if known is not None:  # the same call came twice at the same moment
                return self.run_from(known)
            raise Refusal(Code.EXISTS, f"run {name!r} exists already; give another name") from error
        return run

    def find_run(self, project: str, domain: str, name: str) -> sqlite3.Row | None:
        """The row of a run."""
        return self._store.row(
            "SELECT * FROM run WHERE project = ? AND domain = ? AND name = ?", (project, domain, name)
        )

    def run_from(self, row: sqlite3.Row) -> Run:
        """A run, from memory while something of it is not ended, else from its row."""
        known = self._dispatcher.runs.get(row["id"])
        if known is not None:
            return known
        return Run(
            row["id"],
            row["org"],
            row["project"],
            row["domain"],
            row["name"],
            RunSpec.FromString(row["run_spec"]),
            row["created_at"],
            row["source"],
            row["trigger_name"],
            row["trigger_revision"],
        )

    # Actions ----------------------------------------------------------------------------------------------------------

    async def enqueue(self, action: Action) -> None:
        """Take a new action of a run.

        :raises Refusal: the run or the parent does not exist or has ended, or the message says too little.
        """
        identity = action.action_id.run
        run = self._dispatcher.find_run(identity.project, identity.domain, identity.name)
        if run is None:
            row = self.find_run(identity.project, identity.domain, identity.name)
            if row is None:
                where = f"{identity.project}/{identity.domain}"
                raise Refusal(Code.MISSING, f"there is no run {identity.name!r} in {where}")
            run = self.run_from(row)
        name = action.action_id.name
        if not 1 <= len(name) <= 30:
            raise Refusal(Code.INVALID, f"action name {name!r} has {len(name)} characters, not 1 to 30")
        if not action.input_uri:
            raise Refusal(Code.INVALID, f"action {name!r}: input_uri is empty")
        if not action.run_output_base:
            raise Refusal(Code.INVALID, f"action {name!r}: run_output_base is empty")
        if name in run.live:  # of one that has ended, the database knows that the name is taken
            if action.WhichOneof("spec") == "trace":
                await self._report(run.live[name], action.trace, action.run_output_base)
                return
            raise Refusal(Code.EXISTS, f"action {name!r} of run {run.name!r} exists already")
        self._check_parent(run, action.parent_action_name)
        match action.WhichOneof("spec"):
            case "task":
                await self._enqueue_task(run, action)
            case "condition":
                await self._enqueue_condition(run, action)
            case "trace":
                await self._enqueue_trace(run, action)
            case _:
                raise Refusal(Code.INVALID, f"action {name!r} is no task, no trace and no condition")

    def _row_of(self, run: int, name: str) -> sqlite3.Row | None:
        return self._store.row("SELECT * FROM action WHERE run = ? AND name = ?", (run, name))

    def _check_parent(self, run: Run, parent: str) -> None:
        if parent in run.live:
            return
        row = self._row_of(run.id, parent)
        if row is None:
            raise Refusal(Code.MISSING, f"run {run.name!r} has no action {parent!r}, which would be the parent")
        phase = phase_from_wire(row["phase"])
        if phase is not None and phase.is_terminal:
            raise Refusal(Code.ABORTED, f"action {parent!r} of run {run.name!r} has ended ({phase.value})")

    async def _enqueue_task(self, run: Run, action: Action) -> None:
        if not action.task.HasField("spec"):
            raise Refusal(Code.INVALID, f"action {action.action_id.name!r}: the task has no spec")
        live, statements = self._task(
            run,
            action.action_id.name,
            parent=action.parent_action_name,
            group=action.group,
            spec=action.task.spec,
            input_uri=_file_of(action.input_uri),
            run_output_base=action.run_output_base,
            cache_key=action.task.cache_key.value if action.task.HasField("cache_key") else None,
        )
        source = self._to_recover(run, live)
        if source is None:
            await self._admit(live, statements + self._steps_to_recover(run, live.name))
            return
        live.recovered_from = source[0]
        await self._admit(live, statements, Answered(time.time(), source[1], recovered=True))

    def _task(
        self,
        run: Run,
        name: str,
        *,
        parent: str,
        group: str,
        spec: TaskSpec,
        input_uri: str,
        run_output_base: str,
        cache_key: str | None,
    ) -> tuple[Live, list[Statement]]:
        digest, written = self._specs.put(spec)
        template = spec.task_template
        live = self._live(run, name, parent, TASK, ActionPhase.QUEUED, policy_of(template), input_uri, run_output_base)
        live.spec, live.cache_key = digest, cache_key
        task = (template.id.project, template.id.domain, template.id.name, template.id.version, template.type)
        insert = self._insert(live, group, digest, None, (*task, spec.short_name, spec.environment.name))
        return live, [written, insert]

    async def _enqueue_condition(self, run: Run, action: Action) -> None:
        condition = action.condition
        live = self._live(
            run,
            action.action_id.name,
            action.parent_action_name,
            CONDITION,
            ActionPhase.PAUSED,
            _policy_of_condition(condition, run.name),
            action.input_uri,
            action.run_output_base,
        )
        names = ("", "", condition.name, "", "", condition.name, "")
        await self._admit(live, [self._insert(live, action.group, None, condition.SerializeToString(), names)])

    async def _enqueue_trace(self, run: Run, action: Action) -> None:
        trace = action.trace
        live = self._live(
            run,
            action.action_id.name,
            action.parent_action_name,
            TRACE,
            ActionPhase.RUNNING,
            Policy(),
            action.input_uri,
            action.run_output_base,
        )
        names = ("", "", trace.name, "", "", trace.name, "")
        await self._admit(live, [self._insert(live, action.group, None, trace.SerializeToString(), names)])
        await self._report(live, trace, action.run_output_base)

    async def _report(self, live: Live, trace: TraceAction, run_output_base: str) -> None:
        phase = phase_from_wire(trace.phase) or ActionPhase.SUCCEEDED
        fault = None
        if phase is ActionPhase.FAILED:
            left = await read_document(f"{run_output_base.rstrip('/')}/{live.name}/error.pb")
            fault = Fault("TraceFailed", f"trace {trace.name!r} failed and left no error", "user")
            if left is not None:
                try:
                    fault = fault_in(ErrorDocument.FromString(left).error)
                except DecodeError:
                    pass
        at = trace.end_time.ToMilliseconds() / 1000 if trace.HasField("end_time") else time.time()
        self._dispatcher.apply(live, Reported(at, phase, trace.outputs.output_uri, fault))
        await self._store.write()

    def _live(
        self,
        run: Run,
        name: str,
        parent: str,
        kind: int,
        phase: ActionPhase,
        policy: Policy,
        input_uri: str,
        run_output_base: str,
    ) -> Live:
        self._last_action += 1
        return Live(
            id=self._last_action,
            run=run,
            name=name,
            parent=parent,
            kind=kind,
            state=State(phase, created_at=time.time()),
            policy=policy,
            input_uri=input_uri,
            run_output_base=run_output_base.rstrip("/"),
        )

    def _insert(
        self, live: Live, group: str, spec: bytes | None, detail: bytes | None, names: tuple[str, ...]
    ) -> Statement:
        state = live.state
        values = (
            *(live.id, live.run.id, live.name, live.parent, group, live.kind, spec, detail, *names),
            *(live.input_uri, live.run_output_base, live.cache_key, phase_to_wire(state.phase)),
            *(state.created_at, state.created_at),
        )
        return _INSERT_ACTION, values

    async def _admit(self, live: Live, statements: list[Statement], answer: Event | None = None) -> None:
        try:
            await self._dispatcher.admit(live, *statements, answer=answer)
        except sqlite3.IntegrityError as error:
            raise Refusal(Code.EXISTS, f"action {live.name!r} of run {live.run.name!r} exists already") from error

    # Recovery ---------------------------------------------------------------------------------------------------------

    def _origin(self, run: Run) -> sqlite3.Row | None:
        """The run whose work ``run`` takes over, if it is a recovery."""
        relation = run.spec.relation
        if relation.relation_type != RelationType.RELATION_TYPE_RECOVER:
            return None
        origin = relation.related_to
        return self.find_run(origin.project or run.project, origin.domain or run.domain, origin.name)

    def _to_recover(self, run: Run, live: Live) -> tuple[bytes, str] | None:
        """The action of another run whose outputs this one may take, and where they are."""
        origin = self._origin(run)
        if origin is None or live.name in run.spec.recover.force_rerun_actions:
            return None
        done = self._row_of(origin["id"], live.name)
        if done is None or done["kind"] != live.kind:
            return None
        phase = phase_from_wire(done["phase"])
        if phase not in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED) or not done["output_uri"]:
            return None
        return _recovered_from(run, origin, done), done["output_uri"]

    def _steps_to_recover(self, run: Run, parent: str) -> list[Statement]:
        """What ``parent`` did by itself in the run whose work this one takes over: traces, and answered conditions.

        A control plane is never asked whether it knows a step: it says so to the parent when that begins to watch.
        """
        origin = self._origin(run)
        if origin is None:
            return []
        good = [phase_to_wire(phase) for phase in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED)]
        sql = "SELECT * FROM action WHERE run = ? AND parent = ? AND kind IN (?, ?) AND phase IN (?, ?)"
        forced, now = set(run.spec.recover.force_rerun_actions), time.time()
        found: list[Statement] = []
        for row in self._store.rows(sql, (origin["id"], parent, TRACE, CONDITION, *good)):
            if row["name"] in forced:
                continue
            self._last_action += 1
            step = (self._last_action, run.id, phase_to_wire(ActionPhase.RECOVERED))
            found.append((_COPY_STEP, (*step, now, now, now, now, _recovered_from(run, origin, row), row["id"])))
        return found

    # Ending -----------------------------------------------------------------------------------------------------------

    def abort_run(self, run: Run, reason: str) -> None:
        """End all of a run that has not ended."""
        root = run.live.get(ROOT_ACTION)
        if root is not None:
            self._dispatcher.abort(root, reason)
        for live in list(run.live.values()):
            self._dispatcher.apply(live, Aborted(time.time(), reason))

    def load(self) -> list[Live]:
        """The actions that an earlier devbox left unfinished."""
        found = []
        runs: dict[int, Run] = {}
        from ._rows import state_from

        rows = self._store.rows("SELECT * FROM action WHERE phase IN (0, 1, 2, 3, 4, 9) ORDER BY id")
        for row in rows:
            run = runs.get(row["run"])
            if run is None:
                owner = self._store.row("SELECT * FROM run WHERE id = ?", (row["run"],))
                assert owner is not None
                run = runs[row["run"]] = self.run_from(owner)
            policy = Policy()
            if row["spec"] is not None:
                policy = policy_of(self._specs.get(row["spec"]).task_template)
            elif row["kind"] == CONDITION:
                policy = _policy_of_condition(ConditionAction.FromString(row["detail"]), run.name)
            attempt = self._store.row(
                "SELECT * FROM attempt WHERE action = ? AND number = ?", (row["id"], row["attempt"])
            )
            found.append(
                Live(
                    id=row["id"],
                    run=run,
                    name=row["name"],
                    parent=row["parent"],
                    kind=row["kind"],
                    state=state_from(row),
                    policy=policy,
                    input_uri=row["input_uri"],
                    run_output_base=row["run_output_base"],
                    spec=row["spec"],
                    cache_key=row["cache_key"],
                    cache_status=row["cache_status"],
                    ticket=(attempt["process"] or None) if attempt is not None else None,
                    output_prefix=attempt["output_prefix"] if attempt is not None else "",
                    queued_at=row["created_at"],
                )
            )
        return found


def _recovered_from(run: Run, origin: sqlite3.Row, done: sqlite3.Row) -> bytes:
    """The action that first did what is taken over: of the run that is recovered, or of one before it."""
    if done["recovered_from"] is not None:
        return bytes(done["recovered_from"])
    identity = ActionIdentifier(name=done["name"])
    identity.run.org, identity.run.name = origin["org"] or run.org, origin["name"]
    identity.run.project, identity.run.domain = origin["project"], origin["domain"]
    return identity.SerializeToString()


def with_defaults(inputs: Inputs, spec: TaskSpec) -> Inputs:
    """``inputs``, with the task's defaults where nothing was given."""
    given = {one.name for one in inputs.literals}
    filled = Inputs()
    filled.CopyFrom(inputs)
    for one in spec.default_inputs:
        if one.name not in given and one.parameter.HasField("default"):
            filled.literals.add(name=one.name, value=one.parameter.default)
    return filled


def _file_of(input_uri: str) -> str:
    """The file of inputs that a prefix or the file itself names."""
    return f"{input_uri.rstrip('/').removesuffix('/inputs.pb')}/inputs.pb"


def _policy_of_condition(condition: ConditionAction, run: str) -> Policy:
    limit_s = condition.timeout.seconds + condition.timeout.nanos / 1e9
    return Policy(name=condition.name, run=run, prompt=condition.prompt, deadline_s=limit_s or None)
