"""Ids and phases to and from the wire (wire-protocol section 1.1)."""

from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.phase_pb2 import ActionPhase as WirePhase
from flyteidl2.task.task_definition_pb2 import TaskIdentifier

from flyte._core.code_bundle import SerializationContext
from flyte._core.identity import ActionID, ActionPhase
from flyte.errors import DeploymentError

_TO_WIRE: dict[ActionPhase, int] = {phase: WirePhase.Value(f"ACTION_PHASE_{phase.name}") for phase in ActionPhase}
_FROM_WIRE: dict[int, ActionPhase] = {number: phase for phase, number in _TO_WIRE.items()}


def check_length(owner: str, field: str, value: str, most: int) -> str:
    """``value``, if the protocol takes a text of that length.

    :raises flyte.errors.DeploymentError: empty, or longer.
    """
    if not value:
        raise DeploymentError(f"task {owner!r}: {field} is empty; a control plane needs one")
    if len(value) > most:
        raise DeploymentError(
            f"task {owner!r}: {field} {value[:80]!r} has {len(value)} characters; a control plane takes {most}"
        )
    return value


def task_identifier(name: str, sctx: SerializationContext) -> TaskIdentifier:
    """The identity of a deployed task.

    :raises flyte.errors.DeploymentError: a part is missing or too long.
    """
    parts = {field: check_length(name, field, getattr(sctx, field) or "", 63) for field in ("org", "project", "domain")}
    return TaskIdentifier(
        **parts,
        name=check_length(name, "its name", name, 255),
        version=check_length(name, "version", sctx.version, 63),
    )


def run_identifier(action: ActionID) -> RunIdentifier:
    """The identity of the run that an action belongs to.

    :raises ValueError: a part is missing.
    """
    missing = [part for part in ("org", "project", "domain", "run_name") if not getattr(action, part)]
    if missing:
        raise ValueError(f"{action!r} has no {', '.join(missing)}; set it with flyte.init() or in the configuration")
    return RunIdentifier(
        org=action.org or "", project=action.project or "", domain=action.domain or "", name=action.run_name or ""
    )


def action_identifier(action: ActionID) -> ActionIdentifier:
    """The identity of an action.

    :raises ValueError: a part is missing.
    """
    return ActionIdentifier(run=run_identifier(action), name=action.name)


def action_from(message: ActionIdentifier, *, org: str | None = None) -> ActionID:
    """The identity that a control plane names.

    :param org: taken where the message has none: the open-source control plane knows no organisations.
    """
    run = message.run
    return ActionID(
        name=message.name,
        run_name=run.name,
        project=run.project or None,
        domain=run.domain or None,
        org=run.org or org,
    )


def phase_to_wire(phase: ActionPhase) -> int:
    """The number of a phase."""
    return _TO_WIRE[phase]


def phase_from_wire(number: int) -> ActionPhase | None:
    """The phase of a number; None for the unspecified one and for one that this release does not know."""
    return _FROM_WIRE.get(number)
