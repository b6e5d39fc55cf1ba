"""The control plane that this process talks to: the one that ``flyte.init`` names, or the devbox of this machine."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flyteidl2.common.identifier_pb2 import ProjectIdentifier

from flyte._core.context import current
from flyte._core.home import home_dir
from flyte._core.identity import ROOT_ACTION, ActionID
from flyte._core.scope import Scope, chosen_scope
from flyte.errors import InitializationError

from ._channel import Credentials, Headers
from ._client import Client, client
from ._connection import Connection, configured
from ._endpoint import parse_endpoint

LOCAL_ORG = "local"
"""Where nothing else is known: the open-source control plane has no organizations, but an id needs one."""
DEVBOX_PROJECT, DEVBOX_DOMAIN = "flytesnacks", "development"


@dataclass(frozen=True, slots=True)
class Plane:
    """A control plane, and what names things there.

    :param console: the root of its web pages.
    :param is_devbox: whether it is the one of this machine, which runs tasks as processes and shares its files.
    """

    client: Client
    org: str
    project: str
    domain: str
    console: str
    is_devbox: bool = False

    @property
    def endpoint(self) -> str:
        """Host and port."""
        return str(self.client.connection.endpoint)

    def project_id(self, project: str | None = None, domain: str | None = None) -> ProjectIdentifier:
        """The identity of a project; of the own one, if none is given."""
        return ProjectIdentifier(organization=self.org, name=project or self.project, domain=domain or self.domain)

    def root(self, run: str, project: str | None = None, domain: str | None = None) -> ActionID:
        """The identity of the first action of a run."""
        return ActionID(
            name=ROOT_ACTION,
            run_name=run,
            project=project or self.project,
            domain=domain or self.domain,
            org=self.org,
        )

    def run_url(self, action: ActionID) -> str:
        """The page of a run."""
        return f"{self.console}/v2/domain/{action.domain}/project/{action.project}/runs/{action.run_name}"


@dataclass(frozen=True, slots=True)
class Token:
    """A token that does not expire: that of a devbox."""

    text: str

    async def headers(self) -> Headers:
        """The header that carries it."""
        return (("authorization", f"Bearer {self.text}"),)

    async def renew(self, refused: Headers, may_ask: bool) -> bool:
        """There is no other."""
        return False

    def has_any(self) -> bool:
        """Always."""
        return True

    def __repr__(self) -> str:
        return "Token(***)"


@dataclass(frozen=True, slots=True)
class Devbox:
    """What a devbox leaves in its folder for its clients."""

    endpoint: str
    token: str
    pid: int

    def __repr__(self) -> str:
        return f"Devbox(endpoint={self.endpoint!r}, pid={self.pid})"


def devbox_folder() -> Path:
    """Where the devbox of this machine keeps its state."""
    return home_dir() / "devbox"


def running_devbox() -> Devbox | None:
    """The devbox that runs on this machine; None if none does."""
    found = _last_devbox()
    try:
        if found is not None:
            os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    return found


def _last_devbox() -> Devbox | None:
    """The devbox of this machine, also while it does not run: started again, it has the same token."""
    folder = devbox_folder()
    try:
        said: dict[str, Any] = json.loads((folder / "endpoint.json").read_bytes())
        return Devbox(str(said["endpoint"]), (folder / "token").read_text().strip(), int(said["pid"]))
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


_Key = tuple[Connection | Devbox, str | None, str | None]
_planes: dict[_Key, Plane] = {}
_lock = threading.Lock()
_KEPT = 8


def find_plane() -> Plane:
    """The control plane to talk to: the configured one, else the devbox that runs on this machine.

    :raises InitializationError: none is configured, and no devbox runs; or the configured one needs a project.
    """
    connection = configured.get()
    if connection is not None:
        # An attempt may come to ask while its devbox is being started again.
        devbox = _last_devbox()
        own = devbox if devbox is not None and _is_same(connection, devbox) else None
        return _kept(connection, lambda scope: _make(connection, client() if own is None else None, own, scope))
    devbox = running_devbox()
    if devbox is None:
        raise InitializationError(
            "NoControlPlaneError",
            "user",
            "no control plane is configured, and no devbox runs on this machine; start one with 'flyte start devbox', "
            "or name a control plane with flyte.init(endpoint=...), --endpoint or a config file",
        )
    made = Connection(endpoint=parse_endpoint(devbox.endpoint), insecure=True, auth_type="None")
    return _kept(devbox, lambda scope: _make(made, None, devbox, scope))


def find_client() -> tuple[Client, str]:
    """The client of the control plane, and the organization there: for calls that are about no project.

    :raises InitializationError: none is configured, and no devbox runs.
    """
    connection = configured.get()
    if connection is not None and not connection.endpoint.is_loopback:
        return client(), connection.org or connection.endpoint.organization or LOCAL_ORG
    # At an address of this machine there may be a devbox, with a token; projects have defaults there.
    plane = find_plane()
    return plane.client, plane.org


def scope_in_force() -> Scope:
    """The project and domain of the running task, else those that were chosen; None where nothing says one."""
    connection, context, chosen = configured.get(), current.get(), chosen_scope.get() or Scope()
    project, domain = chosen.project, chosen.domain
    if connection is not None:
        project, domain = project or connection.project, domain or connection.domain
    if context is not None and context.execution.mode == "remote":
        project, domain = context.execution.project or project, context.execution.domain or domain
    return Scope(project, domain)


def _is_same(connection: Connection, devbox: Devbox) -> bool:
    there = parse_endpoint(devbox.endpoint)
    return connection.endpoint.is_loopback and connection.endpoint.port == there.port


def _kept(there: Connection | Devbox, make: Callable[[Scope], Plane]) -> Plane:
    scope = scope_in_force()
    key = (there, scope.project, scope.domain)
    with _lock:
        found = _planes.get(key)
        if found is None:
            while len(_planes) >= _KEPT:
                _planes.pop(next(iter(_planes)))
            found = make(scope)
            # The same control plane has one channel, whichever of its projects is meant.
            same = next((plane for other, plane in _planes.items() if other[0] == there), None)
            found = _planes[key] = replace(found, client=same.client) if same is not None else found
        return found


def _make(connection: Connection, made: Client | None, devbox: Devbox | None, scope: Scope) -> Plane:
    credentials: Credentials | None = Token(devbox.token) if devbox is not None else None
    project, domain = scope.project, scope.domain
    if devbox is not None or connection.endpoint.is_loopback:
        project, domain = project or DEVBOX_PROJECT, domain or DEVBOX_DOMAIN
    for name, value in {"project": project, "domain": domain}.items():
        if not value:
            raise InitializationError(
                f"{name.capitalize()}NotInitializedError",
                "user",
                f"no {name} is set for the control plane at {connection.endpoint}; call flyte.init({name}=...), or set "
                f"FLYTE_TASK_{name.upper()}",
            )
    assert project is not None and domain is not None
    return Plane(
        made or Client(connection, credentials),
        connection.org or connection.endpoint.organization or LOCAL_ORG,
        project,
        domain,
        connection.endpoint.url(connection.insecure),
        devbox is not None,
    )
