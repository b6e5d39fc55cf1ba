"""Deployed tasks: looked up by name and version, run, and called from other tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from flyteidl2.common.list_pb2 import Filter, ListRequest, Sort
from flyteidl2.task.task_definition_pb2 import TaskDetails as WireDetails
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskSpec
from flyteidl2.task.task_service_pb2 import GetTaskDetailsRequest, ListTasksRequest

from flyte._core.context import current
from flyte._core.interface import Empty, NativeInterface
from flyte._definition.cache import Cache
from flyte._definition.task import TaskTemplate
from flyte.errors import RemoteTaskNotFoundError, RemoteTaskUsageError, RpcNotFoundError
from flyte.syncify import syncify
from flyte.types._guessing import guess_interface

from ._documents import time_text
from ._plane import Plane, find_plane
from ._shown import JsonText, listed, order_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

AutoVersion = Literal["latest", "current"]
_PAGE = 100


class Task(JsonText):
    """A deployed task, as a list of them shows it. :meth:`get` gives one that can be called and run."""

    def __init__(self, said: Any, plane: Plane) -> None:
        self._said = said
        self._plane = plane

    @classmethod
    def get(
        cls,
        name: str,
        project: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        auto_version: AutoVersion | None = None,
    ) -> "LazyTask":
        """A deployed task by name, which is looked up when it is first used.

        :param name: with that of its environment: ``env.task``.
        :param project: that it was deployed to; the configured one, or that of the running task.
        :param version: one version; or
        :param auto_version: ``"latest"``, or in a task ``"current"``, the version that runs.
        :raises ValueError: neither or both of ``version`` and ``auto_version``.
        """
        if (version is None) == (auto_version is None):
            raise ValueError(
                f"task {name!r}: give either version=... or auto_version='latest' (in a task also 'current')"
            )
        if auto_version not in (None, "latest", "current"):
            raise ValueError(f"auto_version={auto_version!r} is not known; use 'latest' or 'current'")
        return LazyTask(name, project, domain, version, auto_version)

    @listed
    @classmethod
    async def listall(
        cls,
        by_task_name: str | None = None,
        by_task_env: str | None = None,
        project: str | None = None,
        domain: str | None = None,
        sort_by: 'tuple[str, Literal["asc", "desc"]] | None' = None,
        limit: int = 100,
        entrypoint: bool | None = None,
    ) -> list["Task"]:
        """Deployed tasks, one item a version, by the time of their deployment.

        :param by_task_name: only this one, with or without the name of its environment.
        :param by_task_env: only those of this environment.
        :param sort_by: ``("created_at", "desc")`` gives the newest first.
        :param limit: how many at most.
        :param entrypoint: only those that are, or are not, entry points.
        :raises ValueError: an unknown order.
        """
        plane = find_plane()
        order = order_of(sort_by, ("created_at",))
        filters = []
        if by_task_name is not None and "." in by_task_name:
            filters.append(Filter(function=Filter.Function.EQUAL, field="name", values=[by_task_name]))
        elif by_task_env is not None:
            filters.append(Filter(function=Filter.Function.CONTAINS, field="name", values=[f"{by_task_env}."]))
        known = []
        if entrypoint is not None:
            known.append(ListTasksRequest.KnownFilter(is_entrypoint=entrypoint))
        found: list[Task] = []
        token = ""
        while len(found) < limit:
            answer = await plane.client.tasks.ListTasks(
                _request(plane, filters, token, _PAGE, project, domain, order is not None and order[1], known)
            )
            for one in answer.tasks:
                name = one.task_id.name
                if (by_task_name is None or name == by_task_name or name.endswith(f".{by_task_name}")) and (
                    by_task_env is None or name.startswith(f"{by_task_env}.")
                ):
                    found.append(cls(one, plane))
            token = answer.token
            if not token or not answer.tasks:
                break
        return found[:limit]

    @property
    def name(self) -> str:
        """Name of the task, with that of its environment."""
        return str(self._said.task_id.name)

    @property
    def version(self) -> str:
        """Version of the task."""
        return str(self._said.task_id.version)

    @property
    def url(self) -> str:
        """The page of the task."""
        return _url(self._plane, self._said.task_id)

    @property
    def entrypoint(self) -> bool:
        """Whether the task is marked as a way into its program."""
        return bool(getattr(self._said.metadata, "is_entrypoint", False))

    def to_dict(self) -> dict[str, Any]:
        """The task as plain values for JSON."""
        said, metadata = self._said.task_id, self._said.metadata
        at = metadata.deployed_at
        return {
            "name": said.name,
            "version": said.version,
            "project": said.project,
            "domain": said.domain,
            "environment": metadata.environment_name or None,
            "short_name": metadata.short_name or None,
            "description": metadata.short_description or None,
            "deployed_at": time_text(at.seconds + at.nanos / 1e9) if metadata.HasField("deployed_at") else None,
            "url": self.url,
        }

    def __repr__(self) -> str:
        return f"Task(name={self.name!r}, version={self.version!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name), ("version", self.version), ("url", self.url))


class LazyTask:
    """A deployed task that was named and not looked up yet; see :meth:`Task.get`.

    Called in a task it runs as an action of it; :func:`flyte.run` runs it from outside.
    """

    def __init__(
        self,
        name: str,
        project: str | None,
        domain: str | None,
        version: str | None,
        auto_version: AutoVersion | None,
    ) -> None:
        self.name = name
        self._project = project
        self._domain = domain
        self._version = version
        self._auto_version: AutoVersion | None = auto_version
        self._found: TaskDetails | None = None

    @syncify
    async def fetch(self) -> "TaskDetails":
        """Look the task up, once.

        :raises flyte.errors.RemoteTaskNotFoundError: there is none.
        :raises flyte.errors.RemoteTaskUsageError: ``auto_version="current"`` outside of a task on a control plane.
        """
        if self._found is None:
            self._found = await _fetch(self.name, self._project, self._domain, self._version, self._auto_version)
        return self._found

    async def override(self, **changes: Any) -> "TaskDetails":
        """The same task with other settings; see :meth:`TaskDetails.override`."""
        return (await self.fetch.aio()).override(**changes)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task as an action of the running one; see :class:`TaskDetails`."""
        return await (await self.fetch.aio())(*args, **kwargs)

    def __repr__(self) -> str:
        version = self._version or self._auto_version
        return f"LazyTask(name={self.name!r}, version={version!r})"


class TaskDetails(JsonText):
    """All that is known of a deployed task. Made by :meth:`get` and :meth:`LazyTask.fetch`.

    Called in a task it runs as an action of it, with arguments by name.
    """

    def __init__(self, said: WireDetails, plane: Plane) -> None:
        self._said = said
        self._plane = plane
        self.max_inline_io_bytes = 10 * 1024 * 1024
        self.overridden = False

    @classmethod
    def get(
        cls,
        name: str,
        project: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        auto_version: AutoVersion | None = None,
    ) -> LazyTask:
        """The same as :meth:`Task.get`."""
        return Task.get(name, project, domain, version, auto_version)

    @syncify
    @classmethod
    async def fetch(
        cls,
        name: str,
        project: str | None = None,
        domain: str | None = None,
        version: str | None = None,
        auto_version: AutoVersion | None = None,
    ) -> "TaskDetails":
        """A deployed task, looked up at once; see :meth:`Task.get`."""
        return await Task.get(name, project, domain, version, auto_version).fetch.aio()

    @property
    def task_id(self) -> TaskIdentifier:
        """The task's identity on the wire."""
        return self._said.task_id

    @property
    def name(self) -> str:
        """Name of the task, with that of its environment."""
        return str(self._said.task_id.name)

    @property
    def version(self) -> str:
        """Version of the task."""
        return str(self._said.task_id.version)

    @property
    def task_type(self) -> str:
        """What runs it, such as ``python``."""
        return str(self._said.spec.task_template.type)

    @property
    def url(self) -> str:
        """The page of the task."""
        return _url(self._plane, self._said.task_id)

    @cached_property
    def interface(self) -> NativeInterface:
        """Parameters and results, in types that were made from what is known of them."""
        return guess_interface(self._said.spec.task_template.interface, self._said.spec.default_inputs)

    @property
    def default_input_args(self) -> tuple[str, ...]:
        """Names of the parameters that have a default."""
        return tuple(name for name, (_, default) in self.interface.inputs.items() if default is not Empty)

    @property
    def required_args(self) -> tuple[str, ...]:
        """Names of the parameters that have none."""
        return tuple(name for name, (_, default) in self.interface.inputs.items() if default is Empty)

    @property
    def cache(self) -> dict[str, Any]:
        """How its results are cached."""
        metadata = self._said.spec.task_template.metadata
        return {
            "enabled": metadata.discoverable,
            "version": metadata.discovery_version,
            "serialize": metadata.cache_serializable,
            "ignored_inputs": list(metadata.cache_ignore_input_vars),
        }

    @property
    def ignored_inputs(self) -> tuple[str, ...]:
        """Names of the parameters that make no difference to the cache."""
        metadata = self._said.spec.task_template.metadata
        return tuple(metadata.cache_ignore_input_vars) if metadata.discoverable else ()

    @property
    def secrets(self) -> list[str]:
        """Keys of the secrets that it asks for."""
        return [one.key for one in self._said.spec.task_template.security_context.secrets]

    @property
    def resources(self) -> dict[str, dict[str, str]]:
        """What it asks for and what it may have at most, by name."""
        from flyteidl2.core.tasks_pb2 import Resources

        asked = self._said.spec.task_template.container.resources
        named = Resources.ResourceName.Name
        return {
            "requests": {named(one.name).lower(): one.value for one in asked.requests},
            "limits": {named(one.name).lower(): one.value for one in asked.limits},
        }

    def override(self, **changes: Any) -> "TaskDetails":
        """The same task with other settings.

        :raises NotImplementedError: always: what was deployed is run as it is in this version.
        """
        raise NotImplementedError(
            f"deployed task {self.name!r} cannot be given other settings ({', '.join(changes) or 'none'}) in this "
            "version; deploy it with them"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> "Coroutine[Any, Any, Any]":
        """Run the task as an action of the running one, and give its result; it is awaited.

        :raises flyte.errors.RemoteTaskUsageError: arguments without a name, or outside of a task on a control plane.
        """
        context = current.get()
        if args:
            raise RemoteTaskUsageError(
                f"deployed task {self.name!r} takes its arguments by name: {', '.join(self.interface.inputs) or 'none'}"
            )
        controller = context.execution.controller if context is not None else None
        if context is None or controller is None or context.execution.mode != "remote":
            raise RemoteTaskUsageError(
                f"deployed task {self.name!r} can be called only in a task that runs on a control plane; from "
                "elsewhere use flyte.run(task, ...)"
            )
        made: Coroutine[Any, Any, Any] = controller.submit(self._template, **kwargs)
        return made

    @cached_property
    def _template(self) -> "DeployedTask":
        said = self._said.spec
        metadata = said.task_template.metadata
        cache = Cache("disable")
        if metadata.discoverable:
            cache = Cache(
                "override",
                version_override=metadata.discovery_version,
                ignored_inputs=self.ignored_inputs,
                serialize=metadata.cache_serializable,
            )
        return DeployedTask(
            name=self.name,
            interface=self.interface,
            short_name=said.short_name,
            task_type=self.task_type,
            cache=cache,
            max_inline_io_bytes=self.max_inline_io_bytes,
            deployed_spec=said,
        )

    def to_dict(self) -> dict[str, Any]:
        """The task as plain values for JSON."""
        said = self._said.task_id
        return {
            "name": said.name,
            "version": said.version,
            "project": said.project,
            "domain": said.domain,
            "type": self.task_type,
            "interface": repr(self.interface),
            "required_args": list(self.required_args),
            "cache": self.cache,
            "resources": self.resources,
            "secrets": self.secrets,
            "url": self.url,
        }

    def __repr__(self) -> str:
        return f"TaskDetails(name={self.name!r}, version={self.version!r}, interface={self.interface!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name), ("version", self.version), ("interface", repr(self.interface)))


@dataclass(kw_only=True, eq=False)
class DeployedTask(TaskTemplate[Any, Any, Any]):
    """A deployed task as the controller of a container starts it: all that is known of it is its TaskSpec."""

    deployed_spec: TaskSpec | None = field(default=None, repr=False)

    @property
    def definition_version(self) -> str:
        """The version that its results are kept under."""
        assert self.deployed_spec is not None
        return str(self.deployed_spec.task_template.metadata.discovery_version)


def _url(plane: Plane, said: TaskIdentifier) -> str:
    return f"{plane.console}/v2/domain/{said.domain}/project/{said.project}/tasks/{said.name}/{said.version}"


def _request(
    plane: Plane,
    filters: list[Filter],
    token: str,
    limit: int,
    project: str | None,
    domain: str | None,
    newest_first: bool,
    known: Any = (),
) -> ListTasksRequest:
    direction = Sort.Direction.DESCENDING if newest_first else Sort.Direction.ASCENDING
    return ListTasksRequest(
        request=ListRequest(
            limit=limit, token=token, filters=filters, sort_by_fields=[Sort(key="created_at", direction=direction)]
        ),
        project_id=plane.project_id(project, domain),
        known_filters=list(known),
    )


async def _fetch(
    name: str, project: str | None, domain: str | None, version: str | None, auto_version: AutoVersion | None
) -> TaskDetails:
    plane = find_plane()
    context = current.get()
    execution = context.execution if context is not None else None
    project = project or (execution.project if execution is not None else None) or plane.project
    domain = domain or (execution.domain if execution is not None else None) or plane.domain
    where = f"in project {project!r}, domain {domain!r} at {plane.endpoint}"
    if auto_version == "current":
        version = execution.version if execution is not None and execution.mode == "remote" else None
        if not version:
            raise RemoteTaskUsageError(
                f"task {name!r}: auto_version='current' is the version of the task that runs on a control plane, and "
                "none runs here; use auto_version='latest' or version=..."
            )
    elif auto_version == "latest":
        same = Filter(function=Filter.Function.EQUAL, field="name", values=[name])
        answer = await plane.client.tasks.ListTasks(_request(plane, [same], "", 1, project, domain, True))
        version = next((one.task_id.version for one in answer.tasks if one.task_id.name == name), None)
        if version is None:
            raise RemoteTaskNotFoundError(f"no task {name!r} is deployed {where}; names are env.task")
    task_id = TaskIdentifier(org=plane.org, project=project, domain=domain, name=name, version=version or "")
    try:
        answer = await plane.client.tasks.GetTaskDetails(GetTaskDetailsRequest(task_id=task_id))
    except RpcNotFoundError:
        raise RemoteTaskNotFoundError(f"no task {name!r} of version {version!r} is deployed {where}") from None
    details: WireDetails = answer.details
    # The open-source control plane knows no organizations, so its answers name none.
    details.task_id.org = details.task_id.org or plane.org
    return TaskDetails(details, plane)
