"""Secrets of a control plane: kept there, given to tasks, never read back."""

from collections.abc import Iterator
from typing import Any, Literal

from flyteidl2.common.identifier_pb2 import (
    ClusterPoolIdentifier,
    DomainIdentifier,
    OrgIdentifier,
    ProjectIdentifier,
)
from flyteidl2.secret.definition_pb2 import Secret as WireSecret
from flyteidl2.secret.definition_pb2 import SecretIdentifier, SecretSpec, SecretType
from flyteidl2.secret.payload_pb2 import (
    CreateSecretRequest,
    DeleteSecretRequest,
    GetSecretRequest,
    ListSecretsRequest,
    UpdateSecretRequest,
)

from flyte.errors import RpcAlreadyExistsError, RpcNotFoundError, RuntimeUserError
from flyte.syncify import syncify

from ._client import Client
from ._clusters import Operation
from ._documents import time_text
from ._plane import find_client, scope_in_force
from ._shown import JsonText, listed

SecretTypes = Literal["regular", "image_pull"]
_TYPES = {"regular": SecretType.SECRET_TYPE_GENERIC, "image_pull": SecretType.SECRET_TYPE_IMAGE_PULL_SECRET}
_PAGE = 100


class Secret(JsonText):
    """That a secret is there; its value is known to the control plane and to the tasks that ask for it.

    A secret is of a project and domain, of a domain, or of everybody: as ``flyte.init(project=..., domain=...)``, the
    configuration or the command says; of everybody where nothing does. Methods block, and are awaited as ``.aio``.
    """

    def __init__(self, said: WireSecret) -> None:
        self._said = said

    @syncify
    @classmethod
    async def create(
        cls, name: str, value: str | bytes, type: SecretTypes = "regular", cluster_pool: str | None = None
    ) -> None:
        """Keep a secret; one that is there gets the new value.

        :param name: letters, digits, ``-`` and ``_``.
        :param type: ``"image_pull"`` for what images are pulled with.
        :param cluster_pool: keep it in the clusters of this pool only.
        :raises ValueError: an unknown type.
        :raises TypeError: a value that is neither text nor bytes.
        """
        if type not in _TYPES:
            raise ValueError(f"type={type!r} is not known; use 'regular' or 'image_pull'")
        spec = SecretSpec(type=_TYPES[type])
        if isinstance(value, str):
            spec.string_value = value
        elif isinstance(value, bytes):
            spec.binary_value = value
        else:
            # What it is, not what it says: it would be a secret.
            raise TypeError(f"secret {name!r}: the value is a text or bytes, got {value.__class__.__name__}")
        identity, client = await _found(name, cluster_pool)
        try:
            await client.secrets.CreateSecret(CreateSecretRequest(id=identity, secret_spec=spec))
        except RpcAlreadyExistsError:
            await client.secrets.UpdateSecret(UpdateSecretRequest(id=identity, secret_spec=spec))

    @syncify
    @classmethod
    async def get(cls, name: str, cluster_pool: str | None = None) -> "Secret":
        """What is known of a secret, without its value.

        :raises flyte.errors.RuntimeUserError: ``SecretNotFoundError``: there is none.
        """
        identity, client = await _found(name, cluster_pool)
        try:
            return cls((await client.secrets.GetSecret(GetSecretRequest(id=identity))).secret)
        except RpcNotFoundError:
            raise _missing(identity, client) from None

    @listed
    @classmethod
    async def listall(cls, limit: int = 10, cluster_pool: str | None = None) -> list["Secret"]:
        """Secrets, by name.

        :param limit: how many at most.
        """
        scope, client = await _scope(cluster_pool)
        request = ListSecretsRequest(
            organization=scope.organization, project=scope.project, domain=scope.domain, limit=min(limit, _PAGE)
        )
        found: list[Secret] = []
        while len(found) < limit:
            answer = await client.secrets.ListSecrets(request)
            found += [cls(one) for one in answer.secrets]
            if not answer.token or not answer.secrets:
                break
            request.token = answer.token
        return found[:limit]

    @syncify
    @classmethod
    async def delete(cls, name: str, cluster_pool: str | None = None) -> None:
        """Forget a secret.

        :raises flyte.errors.RuntimeUserError: ``SecretNotFoundError``: there is none.
        """
        identity, client = await _found(name, cluster_pool)
        try:
            await client.secrets.DeleteSecret(DeleteSecretRequest(id=identity))
        except RpcNotFoundError:
            raise _missing(identity, client) from None

    @property
    def name(self) -> str:
        """Name of the secret."""
        return str(self._said.id.name)

    @property
    def type(self) -> str:
        """``regular`` or ``image_pull``."""
        kind = self._said.secret_metadata.type
        return next((name for name, number in _TYPES.items() if number == kind), "regular")

    @property
    def project(self) -> str | None:
        """The project that it is of; None for all."""
        return self._said.id.project or None

    @property
    def domain(self) -> str | None:
        """The domain that it is of; None for all."""
        return self._said.id.domain or None

    def to_dict(self) -> dict[str, Any]:
        """The secret as plain values for JSON, without its value."""
        metadata = self._said.secret_metadata
        at = metadata.created_time
        return {
            "name": self.name,
            "type": self.type,
            "project": self.project,
            "domain": self.domain,
            "created_at": time_text(at.seconds + at.nanos / 1e9) if metadata.HasField("created_time") else None,
        }

    def __repr__(self) -> str:
        return f"Secret(name={self.name!r}, type={self.type!r}, project={self.project!r}, domain={self.domain!r})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name), ("type", self.type), ("project", self.project), ("domain", self.domain))


async def _scope(cluster_pool: str | None) -> tuple[SecretIdentifier, Client]:
    """The part of a secret's identity that is not its name, and the client of the cluster that keeps it."""
    client, org = find_client()
    chosen = scope_in_force()
    project, domain = chosen.project or "", chosen.domain or ""
    resource: dict[str, Any]
    if cluster_pool is not None:
        project = domain = ""
        resource = {"cluster_pool_id": ClusterPoolIdentifier(organization=org, name=cluster_pool)}
    elif project and domain:
        resource = {"project_id": ProjectIdentifier(organization=org, name=project, domain=domain)}
    elif domain:
        resource = {"domain_id": DomainIdentifier(organization=org, name=domain)}
    else:
        resource = {"org_id": OrgIdentifier(name=org)}
    cluster = await client.at_cluster(Operation.OPERATION_USE_SECRETS, **resource)
    return SecretIdentifier(organization=org, project=project, domain=domain), cluster


async def _found(name: str, cluster_pool: str | None) -> tuple[SecretIdentifier, Client]:
    identity, client = await _scope(cluster_pool)
    identity.name = name
    return identity, client


def _missing(identity: SecretIdentifier, client: Client) -> RuntimeUserError:
    of = " and ".join(
        f"{what} {name!r}" for what, name in (("project", identity.project), ("domain", identity.domain)) if name
    )
    return RuntimeUserError(
        "SecretNotFoundError",
        f"there is no secret {identity.name!r} of {of or 'everybody'} at {client.connection.endpoint}",
    )
