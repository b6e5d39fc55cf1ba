"""Projects, secrets, who is there, and which cluster answers."""

import re
import sqlite3
import time
from pathlib import PurePath
from typing import Any

from flyteidl2.auth import auth_service_pb2 as auth
from flyteidl2.auth import identity_pb2 as identity
from flyteidl2.auth.auth_service_pb2_grpc import AuthMetadataServiceServicer
from flyteidl2.auth.identity_pb2_grpc import IdentityServiceServicer
from flyteidl2.cluster import payload_pb2 as cluster
from flyteidl2.cluster.service_pb2_grpc import ClusterServiceServicer
from flyteidl2.common.identifier_pb2 import ClusterIdentifier
from flyteidl2.core.security_pb2 import Secret as AskedSecret
from flyteidl2.project import project_service_pb2 as projects
from flyteidl2.project.project_service_pb2 import Domain, Project
from flyteidl2.project.project_service_pb2_grpc import ProjectServiceServicer
from flyteidl2.secret import payload_pb2 as payload
from flyteidl2.secret.definition_pb2 import (
    OverallStatus,
    Secret,
    SecretIdentifier,
    SecretPresenceStatus,
    SecretSpec,
)
from flyteidl2.secret.secret_pb2_grpc import SecretServiceServicer
from flyteidl2.task.run_pb2 import Labels
from flyteidl2.task.task_definition_pb2 import TaskSpec

from flyte._definition.secret import MOUNT_DIR, value_here
from flyte._definition.secret import Secret as Asked
from flyte.devbox._orders import secret_names, secret_variable
from flyte.devbox._reading import moment
from flyte.devbox._refusal import Code, Refusal
from flyte.devbox._rows import Run
from flyte.devbox._store import Store

DOMAINS = ("development", "staging", "production")
_NAME = re.compile(r"[-a-zA-Z0-9_]+")
_FILE_NAME = re.compile(r"[-\w][-\w.]*")
_PROJECT = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PAGE = 100
MountType = AskedSecret.MountType


class Clusters(ClusterServiceServicer):
    """There is one, and it is here."""

    async def SelectCluster(self, request: cluster.SelectClusterRequest, context: Any) -> cluster.SelectClusterResponse:
        """The same endpoint, for everything."""
        return cluster.SelectClusterResponse(cluster="devbox")


class Identities(IdentityServiceServicer):
    """The person whose machine this is."""

    def __init__(self, user: str) -> None:
        self._user = user

    async def UserInfo(self, request: identity.UserInfoRequest, context: Any) -> identity.UserInfoResponse:
        """Who calls: whoever can read the token."""
        return identity.UserInfoResponse(subject=self._user, name=self._user, preferred_username=self._user)


class AuthMetadata(AuthMetadataServiceServicer):
    """There is no issuer of tokens; the header that takes the devbox's own is the usual one."""

    async def GetPublicClientConfig(
        self, request: auth.GetPublicClientConfigRequest, context: Any
    ) -> auth.GetPublicClientConfigResponse:
        """The name of the header."""
        return auth.GetPublicClientConfigResponse(authorization_metadata_key="authorization")


class Projects(ProjectServiceServicer):
    """Keeps projects. A run may name one that was never created: on one machine that is no mistake to guard against."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def CreateProject(self, request: projects.CreateProjectRequest, context: Any) -> Any:
        """Keep a new project."""
        given = request.project
        if not _PROJECT.fullmatch(given.id):
            raise Refusal(Code.INVALID, f"project id {given.id!r}: use 1 to 63 lowercase letters, digits and '-'")
        if self._row(given.id) is not None:
            raise Refusal(Code.EXISTS, f"project {given.id!r} exists already")
        await self._store.write(self._written(given, time.time()))
        return projects.CreateProjectResponse()

    async def UpdateProject(self, request: projects.UpdateProjectRequest, context: Any) -> Any:
        """Change a project."""
        row = self._row(request.project.id)
        if row is None:
            raise Refusal(Code.MISSING, f"there is no project {request.project.id!r}")
        await self._store.write(self._written(request.project, row["created_at"]))
        return projects.UpdateProjectResponse()

    async def GetProject(self, request: projects.GetProjectRequest, context: Any) -> projects.GetProjectResponse:
        """A project."""
        row = self._row(request.id)
        if row is None:
            raise Refusal(Code.MISSING, f"there is no project {request.id!r}")
        return projects.GetProjectResponse(project=_project(row, request.org))

    async def ListProjects(self, request: projects.ListProjectsRequest, context: Any) -> projects.ListProjectsResponse:
        """All projects, by name."""
        limit = min(request.limit or _PAGE, _PAGE)
        if request.token and not (request.token.isascii() and request.token.isdigit()):
            raise Refusal(Code.INVALID, f"token {request.token!r} was not given by a list")
        offset = int(request.token or 0)
        rows = self._store.rows("SELECT * FROM project ORDER BY id LIMIT ? OFFSET ?", (limit + 1, offset))
        answer = projects.ListProjectsResponse()
        answer.projects.projects.extend(_project(row, request.org) for row in rows[:limit])
        answer.projects.token = str(offset + limit) if len(rows) > limit else ""
        return answer

    def _row(self, name: str) -> sqlite3.Row | None:
        return self._store.row("SELECT * FROM project WHERE id = ?", (name,))

    @staticmethod
    def _written(given: Project, created_at: float) -> tuple[str, tuple[Any, ...]]:
        return (
            "INSERT OR REPLACE INTO project VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(given.id, given.name or given.id, given.description, given.labels.SerializeToString()),
                *(given.state, created_at),
            ),
        )


def _project(row: sqlite3.Row, org: str) -> Project:
    return Project(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        labels=Labels.FromString(row["labels"]),
        state=row["state"],
        domains=[Domain(id=domain, name=domain) for domain in DOMAINS],
        org=org,
    )


# Secrets ------------------------------------------------------------------------------------------------------------


class Secrets(SecretServiceServicer):
    """Keeps secrets, and gives them to the attempts that ask for them; no call reads a value back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def CreateSecret(self, request: payload.CreateSecretRequest, context: Any) -> Any:
        """Keep a new secret."""
        if self._row(request.id) is not None:
            raise Refusal(Code.EXISTS, f"secret {request.id.name!r} exists already")
        await self._put(request.id, request.secret_spec, time.time())
        return payload.CreateSecretResponse()

    async def UpdateSecret(self, request: payload.UpdateSecretRequest, context: Any) -> Any:
        """Give a secret another value."""
        row = self._found(request.id)
        await self._put(request.id, request.secret_spec, row["created_at"])
        return payload.UpdateSecretResponse()

    async def _put(self, given: SecretIdentifier, spec: SecretSpec, created_at: float) -> None:
        if not _NAME.fullmatch(given.name):
            raise Refusal(Code.INVALID, f"secret name {given.name!r}: use letters, digits, '-' and '_'")
        kind = spec.WhichOneof("value")
        if kind is None:
            raise Refusal(Code.INVALID, f"secret {given.name!r} has no value")
        value = spec.string_value.encode() if kind == "string_value" else spec.binary_value
        await self._store.write(
            (
                "INSERT OR REPLACE INTO secret VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(given.project, given.domain, given.name, value, int(kind == "string_value")),
                    *(spec.type, created_at),
                ),
            )
        )

    async def GetSecret(self, request: payload.GetSecretRequest, context: Any) -> payload.GetSecretResponse:
        """That a secret is there; never its value."""
        return payload.GetSecretResponse(secret=_secret(self._found(request.id), request.id.organization))

    async def ListSecrets(self, request: payload.ListSecretsRequest, context: Any) -> payload.ListSecretsResponse:
        """The names of secrets."""
        limit = min(request.limit if request.limit > 0 else _PAGE, _PAGE)
        if request.token and not (request.token.isascii() and request.token.isdigit()):
            raise Refusal(Code.INVALID, f"token {request.token!r} was not given by a list")
        offset = int(request.token or 0)
        rows = self._store.rows(
            "SELECT * FROM secret WHERE (? = '' OR project = ?) AND (? = '' OR domain = ?) "
            "ORDER BY name, project, domain LIMIT ? OFFSET ?",
            (request.project, request.project, request.domain, request.domain, limit + 1, offset),
        )
        return payload.ListSecretsResponse(
            secrets=[_secret(row, request.organization) for row in rows[:limit]],
            token=str(offset + limit) if len(rows) > limit else "",
        )

    async def DeleteSecret(self, request: payload.DeleteSecretRequest, context: Any) -> Any:
        """Forget a secret."""
        self._found(request.id)
        given = request.id
        await self._store.write(
            (
                "DELETE FROM secret WHERE project = ? AND domain = ? AND name = ?",
                (given.project, given.domain, given.name),
            )
        )
        return payload.DeleteSecretResponse()

    def _row(self, given: SecretIdentifier) -> sqlite3.Row | None:
        return self._store.row(
            "SELECT * FROM secret WHERE project = ? AND domain = ? AND name = ?",
            (given.project, given.domain, given.name),
        )

    def _found(self, given: SecretIdentifier) -> sqlite3.Row:
        row = self._row(given)
        if row is None:
            raise Refusal(Code.MISSING, f"there is no secret {given.name!r}")
        return row

    def variables(self, spec: TaskSpec, run: Run) -> dict[str, str]:
        """The values that a task asks for, by the variable it reads each from.

        Of several of one name, that of the project and domain wins over that of the project or domain, and this over
        that of everybody. What is not kept here may be set in the environment that the devbox was started in: the
        attempt finds it there, or says itself that it is missing.
        """
        found: dict[str, str] = {}
        for secret in spec.task_template.security_context.secrets:
            if secret.mount_requirement == MountType.FILE and not secret.env_var:
                continue
            value = self._value(secret_names(secret), run)
            if value is not None:
                found[secret_variable(secret)] = value.decode("utf-8", errors="surrogateescape")
        return found

    def files(self, spec: TaskSpec, run: Run) -> dict[str, bytes]:
        """The values that a task reads from files, by path: ``<group>/<key>``, or ``<key>``.

        What is not kept here may be on this machine, where local runs find it; else there is no file.

        :raises LookupError: a group or key that cannot be a file's name.
        """
        found: dict[str, bytes] = {}
        for secret in spec.task_template.security_context.secrets:
            if secret.mount_requirement != MountType.FILE:
                continue
            parts = [part for part in (secret.group, secret.key) if part]
            for part in parts or [""]:
                if not _FILE_NAME.fullmatch(part):
                    raise LookupError(
                        f"secret {'/'.join(parts)!r} cannot be a file: use letters, digits, '-', '_' and '.' in its "
                        "group and key, or read it from an environment variable"
                    )
            value = self._value(secret_names(secret), run)
            if value is None:
                here = value_here(Asked(key=secret.key, group=secret.group or None, mount=PurePath(MOUNT_DIR)))
                value = here.encode("utf-8", errors="surrogateescape") if here is not None else None
            if value is not None:
                found["/".join(parts)] = value
        return found

    def _value(self, names: Any, run: Run) -> bytes | None:
        for name in names:
            for project, domain in ((run.project, run.domain), (run.project, ""), ("", run.domain), ("", "")):
                row = self._row(SecretIdentifier(name=name, project=project, domain=domain))
                if row is not None:
                    return bytes(row["value"])
        return None


def _secret(row: sqlite3.Row, org: str) -> Secret:
    name = SecretIdentifier(name=row["name"], organization=org, domain=row["domain"], project=row["project"])
    secret = Secret(id=name)
    secret.secret_metadata.created_time.CopyFrom(moment(row["created_at"]))
    secret.secret_metadata.type = row["type"]
    secret.secret_metadata.secret_status.overall_status = OverallStatus.FULLY_PRESENT
    secret.secret_metadata.secret_status.cluster_status.add(
        cluster=ClusterIdentifier(organization=org, name="devbox"), presence_status=SecretPresenceStatus.PRESENT
    )
    return secret
