"""Projects of a control plane."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from flyteidl2.common.list_pb2 import Sort
from flyteidl2.project.project_service_pb2 import (
    CreateProjectRequest,
    GetProjectRequest,
    ListProjectsRequest,
    ProjectState,
    UpdateProjectRequest,
)
from flyteidl2.project.project_service_pb2 import Project as WireProject

from flyte.errors import RpcAlreadyExistsError, RpcNotFoundError, RuntimeUserError
from flyte.syncify import syncify

from ._plane import find_client
from ._shown import JsonText, listed, order_of

_PAGE = 100
_ARCHIVED = (ProjectState.PROJECT_STATE_ARCHIVED, ProjectState.PROJECT_STATE_SYSTEM_ARCHIVED)


class Project(JsonText):
    """A project of a control plane. Made by :meth:`get`, :meth:`listall` and :meth:`create`; also as ``.aio``."""

    def __init__(self, said: WireProject) -> None:
        self._said = said

    @syncify
    @classmethod
    async def get(cls, name: str) -> "Project":
        """The project with this id.

        :raises flyte.errors.RuntimeUserError: ``ProjectNotFoundError``: there is none.
        """
        return cls(await _get(name))

    @listed
    @classmethod
    async def listall(
        cls,
        filters: str | None = None,
        sort_by: 'tuple[str, Literal["asc", "desc"]] | None' = None,
        archived: bool = False,
    ) -> list["Project"]:
        """All projects.

        :param filters: in the control plane's own words.
        :param sort_by: a field of the control plane, such as ``("created_at", "desc")``.
        :param archived: those that were archived, instead of the others.
        """
        client, org = find_client()
        request = ListProjectsRequest(limit=_PAGE, org=org, filters=filters or "")
        if sort_by is not None:
            field, descending = order_of(sort_by, (sort_by[0],)) or ("", False)
            direction = Sort.Direction.DESCENDING if descending else Sort.Direction.ASCENDING
            request.sort_by.CopyFrom(Sort(key=field, direction=direction))
        found: list[Project] = []
        while True:
            answer = (await client.projects.ListProjects(request)).projects
            found += [cls(one) for one in answer.projects if (one.state in _ARCHIVED) == archived]
            if not answer.token or not answer.projects:
                return found
            request.token = answer.token

    @syncify
    @classmethod
    async def create(
        cls, id: str, name: str, description: str = "", labels: Mapping[str, str] | None = None
    ) -> "Project":
        """Make a project.

        :param id: what ids of runs and tasks say; it never changes.
        :param name: what people read.
        :raises flyte.errors.RuntimeUserError: ``ProjectAlreadyExistsError``.
        :raises flyte.errors.RpcInvalidArgumentError: an id that the control plane does not take.
        """
        client, org = find_client()
        made = WireProject(id=id, name=name, description=description, org=org)
        made.labels.values.update(labels or {})
        try:
            await client.projects.CreateProject(CreateProjectRequest(project=made))
        except RpcAlreadyExistsError:
            raise RuntimeUserError(
                "ProjectAlreadyExistsError", f"there is a project {id!r} already at {client.connection.endpoint}"
            ) from None
        return cls(await _get(id))

    @syncify
    @classmethod
    async def update(
        cls,
        id: str,
        name: str | None = None,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        state: Literal["archived", "active"] | None = None,
    ) -> "Project":
        """Change a project; what is not given stays as it is.

        :param labels: all labels that it has from now on.
        :param state: ``"archived"`` hides it from lists, ``"active"`` shows it again.
        :raises flyte.errors.RuntimeUserError: ``ProjectNotFoundError``: there is none.
        :raises ValueError: an unknown state.
        """
        states = {"archived": ProjectState.PROJECT_STATE_ARCHIVED, "active": ProjectState.PROJECT_STATE_ACTIVE}
        if state is not None and state not in states:
            raise ValueError(f"state={state!r} is not known; use 'archived' or 'active'")
        client, org = find_client()
        changed = await _get(id)
        changed.org = changed.org or org
        if name is not None:
            changed.name = name
        if description is not None:
            changed.description = description
        if labels is not None:
            changed.labels.values.clear()
            changed.labels.values.update(labels)
        if state is not None:
            changed.state = states[state]
        await client.projects.UpdateProject(UpdateProjectRequest(project=changed))
        return cls(await _get(id))

    @syncify
    async def archive(self) -> "Project":
        """Hide the project from lists; gives it as it is then."""
        return await Project.update.aio(self.id, state="archived")

    @syncify
    async def unarchive(self) -> "Project":
        """Show the project in lists again; gives it as it is then."""
        return await Project.update.aio(self.id, state="active")

    @property
    def id(self) -> str:
        """What ids of runs and tasks say."""
        return str(self._said.id)

    @property
    def name(self) -> str:
        """What people read."""
        return str(self._said.name)

    @property
    def description(self) -> str:
        """What it is for."""
        return str(self._said.description)

    @property
    def domains(self) -> tuple[str, ...]:
        """Ids of its domains."""
        return tuple(one.id for one in self._said.domains)

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._said.labels.values)

    @property
    def is_archived(self) -> bool:
        """Whether it is hidden from lists."""
        return self._said.state in _ARCHIVED

    def to_dict(self) -> dict[str, Any]:
        """The project as plain values for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "domains": list(self.domains),
            "labels": self.labels,
            "archived": self.is_archived,
        }

    def __repr__(self) -> str:
        return f"Project(id={self.id!r}, name={self.name!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("id", self.id), ("name", self.name), ("description", self.description))


async def _get(name: str) -> WireProject:
    client, org = find_client()
    try:
        found: WireProject = (await client.projects.GetProject(GetProjectRequest(id=name, org=org))).project
        return found
    except RpcNotFoundError:
        raise RuntimeUserError(
            "ProjectNotFoundError", f"there is no project {name!r} at {client.connection.endpoint}"
        ) from None
