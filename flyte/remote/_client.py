"""The services of a control plane, as attributes of a :class:`Client` on one channel.

The objects of this room get it from :func:`client`; it is made when it is first asked for, from what ``flyte.init``
left in ``_connection.configured``.
"""

import threading
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flyte.errors import InitializationError

from ._auth import authenticator
from ._channel import Channel, Credentials
from ._connection import Connection, configured
from ._endpoint import Endpoint

if TYPE_CHECKING:
    from ._clusters import Clusters

SERVICES = {
    "actions": ("actions.actions_service", "ActionsService"),
    "apps": ("app.app_service", "AppService"),
    "app_logs": ("app.app_logs_service", "AppLogsService"),
    "artifacts": ("artifact.artifact_service", "ArtifactService"),
    "auth_metadata": ("auth.auth_service", "AuthMetadataService"),
    "clusters": ("cluster.service", "ClusterService"),
    "data": ("dataproxy.dataproxy_service", "DataProxyService"),
    "identity": ("auth.identity", "IdentityService"),
    "images": ("imagebuilder.service", "ImageService"),
    "projects": ("project.project_service", "ProjectService"),
    "queue": ("workflow.queue_service", "QueueService"),
    "run_logs": ("workflow.run_logs_service", "RunLogsService"),
    "runs": ("workflow.run_service", "RunService"),
    "secrets": ("secret.secret", "SecretService"),
    "settings": ("settings.settings_service", "SettingsService"),
    "state": ("workflow.state_service", "StateService"),
    "tasks": ("task.task_service", "TaskService"),
    "tracked_runs": ("workflow.tracked_run_service", "TrackedRunService"),
    "translator": ("workflow.translator_service", "TranslatorService"),
    "triggers": ("trigger.trigger_service", "TriggerService"),
}
"""Attribute -> module of flyteidl2, without ``_pb2_grpc``, and the service in it."""


class Client:
    """The services of one control plane. Each attribute is a generated stub, imported when it is first used.

    A method of a stub is awaited, or iterated over if it answers with a stream, and takes ``timeout`` and ``metadata``;
    see :class:`flyte.remote._channel.UnaryCall`.

    :param connection: where the control plane is.
    :param credentials: what calls carry; from the connection if not given.
    :param retried: whether failed calls are tried again; see :class:`flyte.remote._channel.Channel`.
    """

    actions: Any
    apps: Any
    app_logs: Any
    artifacts: Any
    auth_metadata: Any
    clusters: Any
    data: Any
    identity: Any
    images: Any
    projects: Any
    queue: Any
    run_logs: Any
    runs: Any
    secrets: Any
    settings: Any
    state: Any
    tasks: Any
    tracked_runs: Any
    translator: Any
    triggers: Any

    def __init__(self, connection: Connection, credentials: Credentials | None = None, *, retried: bool = True) -> None:
        self.connection = connection
        self.channel = Channel(connection, credentials or authenticator(connection), retried=retried)
        self._answers: Clusters | None = None
        self._others: dict[Endpoint, Client] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in SERVICES:
            raise AttributeError(f"the client has no service {name!r}; it has {', '.join(SERVICES)}")
        module, service = SERVICES[name]
        stub = getattr(import_module(f"flyteidl2.{module}_pb2_grpc"), f"{service}Stub")(self.channel)
        setattr(self, name, stub)
        return stub

    async def at_cluster(self, operation: int, **resource: Any) -> "Client":
        """The client of the cluster that answers for a resource: this one, or one of another endpoint.

        :param operation: one of :data:`flyte.remote._clusters.Operation`.
        :param resource: the one resource that the call is about, by its name in ``SelectClusterRequest``.
        :raises UnionRpcError: the control plane could not be asked.
        :raises RuntimeSystemError: ``ClusterNotReached``: it names no endpoint.
        """
        from ._clusters import Clusters

        with _lock:
            if self._answers is None:
                self._answers = Clusters(self.connection.endpoint, self.connection.insecure)
        endpoint = await self._answers.find(self.clusters, operation, **resource)
        if endpoint is None:
            return self
        with _lock:
            other = self._others.get(endpoint)
            if other is None:
                there = replace(self.connection, endpoint=endpoint)
                # Who the caller is, the control plane says: its tokens are good for its clusters.
                other = Client(there, self.channel.credentials, retried=self.channel.retried)
                self._others[endpoint] = other
            return other

    async def close(self) -> None:
        """Close the connections of the running event loop; they are closed with the loop anyway."""
        await self.channel.close()
        for other in list(self._others.values()):
            await other.channel.close()


_current: tuple[Connection, Client] | None = None
_lock = threading.Lock()


def client() -> Client:
    """The client of the connection in force.

    :raises InitializationError: no endpoint is configured.
    """
    global _current
    connection = configured.get()
    if connection is None:
        raise InitializationError(
            "ClientNotInitializedError",
            "user",
            "no control plane is configured; call flyte.init(endpoint=...) or flyte.init_from_config() first",
        )
    with _lock:
        if _current is None or _current[0] is not connection:
            _current = (connection, Client(connection))
        return _current[1]
