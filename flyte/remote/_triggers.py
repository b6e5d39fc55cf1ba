"""Triggers of a control plane: when deployed tasks run by themselves."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, cast

from flyteidl2.common.identifier_pb2 import TriggerIdentifier, TriggerName
from flyteidl2.common.list_pb2 import ListRequest, Sort
from flyteidl2.task.common_pb2 import FixedRateUnit, TriggerAutomationSpec
from flyteidl2.task.task_definition_pb2 import TaskIdentifier
from flyteidl2.task.task_definition_pb2 import TaskName as WireTaskName
from flyteidl2.trigger.trigger_definition_pb2 import Trigger as WireTrigger
from flyteidl2.trigger.trigger_definition_pb2 import TriggerDetails as WireDetails
from flyteidl2.trigger.trigger_definition_pb2 import TriggerSpec
from flyteidl2.trigger.trigger_service_pb2 import (
    DeleteTriggersRequest,
    DeployTriggerRequest,
    GetTriggerDetailsRequest,
    ListTriggersRequest,
    UpdateTriggersRequest,
)

from flyte._definition.task import TaskTemplate
from flyte._definition.trigger import Trigger as Declared
from flyte._wire.trigger import task_trigger
from flyte.errors import RpcNotFoundError, RuntimeUserError
from flyte.syncify import syncify

from ._documents import time_text
from ._plane import Plane, find_plane
from ._shown import JsonText, listed
from ._tasks import Task

_PAGE = 100
_MINUTES = {
    FixedRateUnit.FIXED_RATE_UNIT_MINUTE: 1,
    FixedRateUnit.FIXED_RATE_UNIT_HOUR: 60,
    FixedRateUnit.FIXED_RATE_UNIT_DAY: 24 * 60,
}


class _SeenTrigger(JsonText):
    """What :class:`Trigger` and :class:`TriggerDetails` say alike."""

    _said: Any
    _plane: Plane

    @property
    def id(self) -> TriggerIdentifier:
        """The trigger's identity on the wire, with its revision."""
        return cast(TriggerIdentifier, self._said.id)

    @property
    def name(self) -> str:
        """Name of the trigger, unique in its task."""
        return str(self._said.id.name.name)

    @property
    def task_name(self) -> str:
        """Name of the task, with that of its environment."""
        return str(self._said.id.name.task_name)

    @property
    def automation_spec(self) -> TriggerAutomationSpec:
        """When it fires, as the control plane keeps it."""
        return cast(TriggerAutomationSpec, self._said.automation_spec)

    @property
    def automation(self) -> str:
        """When it fires, in words."""
        return automation_text(self._said.automation_spec)

    @property
    def status(self) -> Any:
        """When it was deployed, changed and fired, as the control plane keeps it."""
        return self._said.status

    @property
    def metadata(self) -> Any:
        """Who deployed it, as the control plane keeps it."""
        return self._said.metadata

    @property
    def is_active(self) -> bool:
        """Whether it fires."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The page of the trigger."""
        name = self._said.id.name
        return f"{self._plane.console}/v2/domain/{name.domain}/project/{name.project}/triggers/{name.name}"

    def to_dict(self) -> dict[str, Any]:
        """The trigger as plain values for JSON."""
        said = self._said
        name, status = said.id.name, said.status
        times = {
            f"{what}_at": time_text(at.seconds + at.nanos / 1e9) if status.HasField(f"{what}_at") else None
            for what, at in {
                "deployed": status.deployed_at,
                "updated": status.updated_at,
                "triggered": status.triggered_at,
            }.items()
        }
        return {
            "name": name.name,
            "task": name.task_name,
            "project": name.project,
            "domain": name.domain,
            "revision": int(said.id.revision),
            "automation": self.automation,
            "active": self.is_active,
            **times,
            "url": self.url,
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, task_name={self.task_name!r}, "
            f"automation={self.automation!r}, active={self.is_active})"
        )

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name), ("task_name", self.task_name), ("automation", self.automation))
        yield "active", self.is_active


class Trigger(_SeenTrigger):
    """A trigger, as a list of them shows it. Methods block, and are awaited as ``.aio``."""

    def __init__(self, said: WireTrigger, plane: Plane) -> None:
        self._said = said
        self._plane = plane

    @syncify
    @classmethod
    async def create(cls, trigger: Declared, task_name: str, task_version: str | None = None) -> "Trigger":
        """Give a deployed task a trigger; one of that name is replaced.

        :param trigger: a :class:`flyte.Trigger`.
        :param task_name: with that of its environment: ``env.task``.
        :param task_version: the version that it starts; the latest, if not given.
        :raises TypeError: what is given is no trigger, or it names a parameter that the task does not have.
        :raises ValueError: it leaves out a required parameter.
        :raises flyte.errors.RemoteTaskNotFoundError: there is no such task.
        """
        if not isinstance(trigger, Declared):
            raise TypeError(f"Trigger.create takes a flyte.Trigger, but got {type(trigger).__name__} {trigger!r}")
        plane = find_plane()
        task = await Task.get(
            task_name, version=task_version, auto_version=None if task_version else "latest"
        ).fetch.aio()
        # The translation asks for the name and the interface alone, which both kinds of task have.
        made = await task_trigger(cast("TaskTemplate[Any, Any, Any]", task), trigger)
        spec = TriggerSpec(
            inputs=made.spec.inputs,
            run_spec=made.spec.run_spec,
            active=made.spec.active,
            description=made.spec.description,
            task_version=task.version,
        )
        request = DeployTriggerRequest(
            name=_name(plane, trigger.name, task_name), spec=spec, automation_spec=made.automation_spec
        )
        details: WireDetails = (await plane.client.triggers.DeployTrigger(request)).trigger
        said = WireTrigger(
            id=details.id,
            metadata=details.metadata,
            status=details.status,
            active=details.spec.active,
            automation_spec=details.automation_spec,
        )
        return cls(said, plane)

    @syncify
    @classmethod
    async def get(cls, *, name: str, task_name: str) -> "TriggerDetails":
        """All that is known of one trigger.

        :raises flyte.errors.RuntimeUserError: ``TriggerNotFoundError``: there is none.
        """
        return await TriggerDetails._of(find_plane(), name, task_name)

    @listed
    @classmethod
    async def listall(
        cls, task_name: str | None = None, task_version: str | None = None, limit: int = 100
    ) -> list["Trigger"]:
        """Triggers, by name.

        :param task_name: only those of this task; of the whole project, if not given.
        :param task_version: only those that start this version of the task.
        :param limit: how many at most.
        :raises ValueError: a version without a task.
        """
        if task_version is not None and task_name is None:
            raise ValueError(f"task_version={task_version!r} is one of a task: give task_name=... as well")
        plane = find_plane()
        asked = ListRequest(
            limit=min(max(limit, 1), _PAGE), sort_by_fields=[Sort(key="name", direction=Sort.Direction.ASCENDING)]
        )
        request = ListTriggersRequest(request=asked)
        task = {"org": plane.org, "project": plane.project, "domain": plane.domain, "name": task_name or ""}
        if task_version is not None:
            request.task_id.CopyFrom(TaskIdentifier(**task, version=task_version))
        elif task_name is not None:
            request.task_name.CopyFrom(WireTaskName(**task))
        else:
            request.project_id.CopyFrom(plane.project_id())
        found: list[Trigger] = []
        while len(found) < limit:
            answer = await plane.client.triggers.ListTriggers(request)
            found += [cls(one, plane) for one in answer.triggers]
            if not answer.token or not answer.triggers:
                break
            request.request.token = answer.token
        return found[:limit]

    @syncify
    @classmethod
    async def update(cls, name: str, task_name: str, active: bool) -> None:
        """Switch a trigger on or off.

        :raises flyte.errors.RuntimeUserError: ``TriggerNotFoundError``: there is none.
        """
        plane = find_plane()
        request = UpdateTriggersRequest(names=[_name(plane, name, task_name)], active=active)
        try:
            await plane.client.triggers.UpdateTriggers(request)
        except RpcNotFoundError:
            raise _missing(plane, name, task_name) from None

    @syncify
    @classmethod
    async def delete(cls, name: str, task_name: str, project: str | None = None, domain: str | None = None) -> None:
        """Forget a trigger; the runs that it started stay.

        :raises flyte.errors.RuntimeUserError: ``TriggerNotFoundError``: there is none.
        """
        plane = find_plane()
        named = _name(plane, name, task_name)
        named.project, named.domain = project or named.project, domain or named.domain
        try:
            await plane.client.triggers.DeleteTriggers(DeleteTriggersRequest(names=[named]))
        except RpcNotFoundError:
            raise _missing(plane, name, task_name) from None

    @syncify
    async def get_details(self) -> "TriggerDetails":
        """All that is known of the trigger."""
        return await TriggerDetails._of(self._plane, self.name, self.task_name)

    @property
    def is_active(self) -> bool:
        """Whether it fires."""
        return bool(self._said.active)


class TriggerDetails(_SeenTrigger):
    """All that is known of a trigger. Made by :meth:`get` and :meth:`Trigger.get_details`."""

    def __init__(self, said: WireDetails, plane: Plane) -> None:
        self._said = said
        self._plane = plane

    @syncify
    @classmethod
    async def get(cls, *, name: str, task_name: str) -> "TriggerDetails":
        """All that is known of one trigger; see :meth:`Trigger.get`."""
        return await cls._of(find_plane(), name, task_name)

    @classmethod
    async def _of(cls, plane: Plane, name: str, task_name: str) -> "TriggerDetails":
        request = GetTriggerDetailsRequest(name=_name(plane, name, task_name))
        try:
            return cls((await plane.client.triggers.GetTriggerDetails(request)).trigger, plane)
        except RpcNotFoundError:
            raise _missing(plane, name, task_name) from None

    @property
    def is_active(self) -> bool:
        """Whether it fires."""
        return bool(self._said.spec.active)

    @property
    def description(self) -> str:
        """What it is for."""
        return str(self._said.description or self._said.spec.description)

    @property
    def task_version(self) -> str:
        """The version of the task that it starts."""
        return str(self._said.spec.task_version)

    @cached_property
    def trigger(self) -> Trigger:
        """The trigger as a list shows it."""
        said = self._said
        made = WireTrigger(
            id=said.id,
            metadata=said.metadata,
            status=said.status,
            active=said.spec.active,
            automation_spec=said.automation_spec,
        )
        return Trigger(made, self._plane)

    def to_dict(self) -> dict[str, Any]:
        """The trigger as plain values for JSON, with what it starts; values of its inputs are not among them."""
        spec = self._said.spec
        return {
            **super().to_dict(),
            "description": self.description,
            "task_version": self.task_version,
            "inputs": [one.name for one in spec.inputs.literals],
            "labels": dict(spec.run_spec.labels.values),
            "env_vars": [pair.key for pair in spec.run_spec.envs.values],
        }


def automation_text(automation: TriggerAutomationSpec) -> str:
    """When a trigger fires, in words."""
    match automation.WhichOneof("automation"):
        case "artifact":
            return f"artifact {automation.artifact.artifact_name}"
        case "schedule":
            schedule = automation.schedule
            match schedule.WhichOneof("expression"):
                case "rate":
                    minutes = schedule.rate.value * _MINUTES.get(schedule.rate.unit, 1)
                    return f"every {minutes} min"
                case "cron":
                    zone = schedule.cron.timezone
                    return f"cron {schedule.cron.expression}" + (f" ({zone})" if zone not in ("", "UTC") else "")
                case "cron_expression":
                    return f"cron {schedule.cron_expression}"
    return "by hand"


def _name(plane: Plane, name: str, task_name: str) -> TriggerName:
    return TriggerName(org=plane.org, project=plane.project, domain=plane.domain, name=name, task_name=task_name)


def _missing(plane: Plane, name: str, task_name: str) -> RuntimeUserError:
    return RuntimeUserError(
        "TriggerNotFoundError",
        f"task {task_name!r} in project {plane.project!r}, domain {plane.domain!r} at {plane.endpoint} has no trigger "
        f"{name!r}",
    )
