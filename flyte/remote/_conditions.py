"""Conditions wherever their runs are: in the history of this machine, and else on the control plane.

The history is asked first, because it takes no connection; names of runs are random, so that one name is not in both.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from flyte._core.face import nearest
from flyte._journal import answers, signals
from flyte._journal import condition as here
from flyte._journal.signals import Answer, Asked
from flyte.errors import (
    ConditionNotFoundError,
    InitializationError,
    RpcNotFoundError,
    RpcPreconditionError,
    RuntimeUserError,
    TypeTransformerFailedError,
)
from flyte.syncify import syncify

if TYPE_CHECKING:
    from flyteidl2.workflow.run_definition_pb2 import ActionDetails

    from ._plane import Plane

_PAGE = 100
_PAYLOADS = {"bool": "bool_value", "int": "int_value", "float": "float_value", "str": "string_value"}


@dataclass(frozen=True, slots=True)
class AwayAsked(Asked):
    """A condition of a run on a control plane.

    :param plane: the control plane.
    :param identity: of the condition's action.
    """

    plane: Any = None
    identity: Any = None


class Condition(here.Condition):
    """A condition that a run has reached, on this machine or on a control plane."""

    @syncify
    @classmethod
    async def get(cls, name: str, /, run_name: str, action_name: str | None = None) -> Self | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The condition of that name in a run; None if there is none. Also ``.aio``.

        :param action_name: of the action that asks, where several do.
        """
        try:
            every = await conditions_of(run_name)
        except ConditionNotFoundError:
            return None
        named = [one for one in every if one.name == name and action_name in (None, one.parent)]
        found = next((one for one in reversed(named) if one.is_open), named[-1] if named else None)
        return cls(found) if found is not None else None

    @syncify
    @classmethod
    async def listall(  # pyright: ignore[reportIncompatibleVariableOverride]
        cls, /, run_name: str, action_name: str | None = None, limit: int = 100
    ) -> AsyncIterator[here.Condition]:
        """The conditions that a run has reached, in that order. Also ``.aio``.

        :param action_name: only those that this action asks.
        :param limit: how many at most.
        :raises flyte.errors.ConditionNotFoundError: there is no such run.
        """
        every = await conditions_of(run_name)
        for one in [one for one in every if action_name in (None, one.parent)][:limit]:
            yield cls(one)

    @syncify
    async def signal(self, payload: Any, *, by: str | None = None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Answer it. Also ``.aio``.

        :param payload: a value of the declared type.
        :param by: who says so; the user of this process if not given. A control plane knows who you are.
        :raises flyte.errors.TypeTransformerFailedError: it is of another type.
        :raises flyte.errors.RuntimeUserError: it was answered otherwise, or waits no more.
        """
        await answer(self._asked, payload, by)


async def conditions_of(run: str) -> list[Asked]:
    """The conditions that a run has reached, in that order.

    :raises flyte.errors.ConditionNotFoundError: there is no such run.
    """
    try:
        return await asyncio.to_thread(signals.conditions_of, run)
    except ConditionNotFoundError as missing:
        plane = _plane()
        if plane is None:
            raise
        try:
            return list(await _conditions_at(plane, run))
        except RpcNotFoundError:
            raise ConditionNotFoundError(f"{missing}; nor is there one at {plane.endpoint}") from None


async def find_condition(run: str, name: str) -> Asked:
    """The condition called ``name``, or whose action is called so; if there are several, one that waits.

    :raises flyte.errors.ConditionNotFoundError: there is none.
    """
    every = await conditions_of(run)
    named = [one for one in every if one.name == name] or [one for one in every if one.action == name]
    if not named:
        names = sorted({one.name for one in every})
        known = f"it has {', '.join(map(repr, names))}" if names else "it has reached none so far"
        raise ConditionNotFoundError(f"run {run!r} has no condition {name!r}{nearest(name, names)} ({known})")
    return next((one for one in reversed(named) if one.is_open), named[-1])


async def answer(asked: Asked, value: Any, by: str | None) -> None:
    """Answer a condition with a Python value.

    :raises flyte.errors.TypeTransformerFailedError: it is not of the declared type.
    :raises flyte.errors.RuntimeUserError: it was answered otherwise, or waits no more.
    """
    if not isinstance(asked, AwayAsked):
        await here.answer(asked, value, by)
        return
    try:
        said = answers.json_of(value)
        asked.form.check(said)
    except answers.BadAnswer as error:
        raise TypeTransformerFailedError(f"condition {asked.name!r} of run {asked.run}: {error}") from None
    await send(asked, said)


async def answer_json(asked: Asked, given: Answer) -> None:
    """Answer a condition with JSON that is known to be of its type.

    :raises flyte.errors.RuntimeUserError: it was answered otherwise, or waits no more.
    """
    if isinstance(asked, AwayAsked):
        assert isinstance(given.value, str)
        await send(asked, given.value)
    else:
        await asyncio.to_thread(signals.answer_condition, asked, given)


async def send(asked: AwayAsked, said: str) -> None:
    """Tell the control plane an answer.

    :param said: JSON of the condition's type.
    :raises flyte.errors.RuntimeUserError: it was answered otherwise, or waits no more.
    """
    from flyteidl2.workflow.run_service_pb2 import SignalEventRequest

    request = SignalEventRequest(action_id=asked.identity, parent_action_name=asked.parent)
    value = json.loads(said)
    setattr(request.payload, _PAYLOADS[asked.form.type], float(value) if asked.form.type == "float" else value)
    try:
        await asked.plane.client.runs.SignalEvent(request)
    except RpcPreconditionError as error:
        raise RuntimeUserError(
            "ConditionNotWaiting", f"condition {asked.name!r} of run {asked.run} takes no answer any more: {error}"
        ) from None


def _plane() -> "Plane | None":
    from ._plane import find_plane

    try:
        return find_plane()
    except InitializationError:
        return None


async def _conditions_at(plane: "Plane", run: str) -> list[AwayAsked]:
    from flyteidl2.common.list_pb2 import ListRequest, Sort
    from flyteidl2.workflow.run_service_pb2 import GetActionDetailsRequest, ListActionsRequest

    from flyte._wire.identity import action_identifier, run_identifier

    root = plane.root(run)
    # An unknown run has an empty list of actions on some control planes, so its first action is asked for.
    await plane.client.runs.GetActionDetails(GetActionDetailsRequest(action_id=action_identifier(root)))
    asked = ListRequest(limit=_PAGE, sort_by=Sort(key="created_at", direction=Sort.ASCENDING))
    found = []
    while True:
        page = await plane.client.runs.ListActions(ListActionsRequest(request=asked, run_id=run_identifier(root)))
        for one in page.actions:
            if one.metadata.WhichOneof("spec") == "condition":
                request = GetActionDetailsRequest(action_id=action_identifier(root.new_sub_action(one.id.name)))
                answer = await plane.client.runs.GetActionDetails(request)
                found.append(_asked_from(plane, run, request.action_id, answer.details))
        if not page.token or not page.actions:
            return found
        asked.token = page.token


def _asked_from(plane: "Plane", run: str, identity: Any, details: "ActionDetails") -> AwayAsked:
    from flyte._wire.actions import condition_type, prompt_kind
    from flyte._wire.identity import phase_from_wire

    condition, status = details.condition, details.status
    phase = phase_from_wire(status.phase)
    kind = condition_type(condition.type)
    said = None
    if details.HasField("signal_info"):
        primitive = details.signal_info.output.scalar.primitive
        field = primitive.WhichOneof("value")
        if field is not None:
            value = json.dumps(getattr(primitive, field), ensure_ascii=False)
            by = details.signal_info.signalled_by.user.spec.email or details.signal_info.signalled_by.user.id.subject
            said = Answer(value, status.end_time.ToMilliseconds() / 1000, by or "somebody")
    return AwayAsked(
        run=run,
        name=condition.name,
        action=identity.name,
        id=0,
        phase=phase.value if phase is not None else "unknown",
        prompt=condition.prompt,
        prompt_type=prompt_kind(condition.prompt_type),
        description=condition.description,
        form=answers.form_of(kind),
        since=status.start_time.ToMilliseconds() / 1000,
        ended_at=status.end_time.ToMilliseconds() / 1000 if status.HasField("end_time") else None,
        timeout_s=condition.timeout.ToMilliseconds() / 1000 if condition.HasField("timeout") else None,
        parent=details.metadata.parent,
        answer=said,
        plane=plane,
        identity=identity,
    )
