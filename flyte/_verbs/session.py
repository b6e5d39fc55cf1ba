"""The session: what ``flyte.init`` sets for the process."""

import os
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte._core import log
from flyte._core.ambient import Ambient
from flyte._core.context import current
from flyte._core.scope import Scope, chosen_scope
from flyte.errors import InitializationError

if TYPE_CHECKING:
    from flyte.remote._connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What ``flyte.init`` was given; see there."""

    org: str | None = None
    project: str | None = None
    domain: str | None = None
    root_dir: Path | None = None
    endpoint: str | None = None
    insecure: bool = False
    api_key: str | None = None
    storage: Any = None
    batch_size: int = 1000
    image_builder: str = "local"
    images: dict[str, str] | None = None
    sync_local_sys_paths: bool = True
    local_persistence: bool | None = None

    @property
    def remembers(self) -> bool:
        """Whether runs in this process are remembered.

        :raises ValueError: ``FLYTE_JOURNAL`` holds another word than on or off.
        """
        if self.local_persistence is not None:
            return self.local_persistence
        word = os.environ.get("FLYTE_JOURNAL", "on").lower()
        if word not in ("on", "off"):
            raise ValueError(f"FLYTE_JOURNAL={word!r} is not known; use 'on' or 'off'")
        return word == "on"

    def __repr__(self) -> str:
        # An API key is a credential: it never reaches a log or an error.
        shown = replace(self, api_key="<set>" if self.api_key else None)
        fields = ", ".join(f"{name}={getattr(shown, name)!r}" for name in ("project", "domain", "endpoint", "api_key"))
        return f"Session({fields})"


_session: Ambient[Session] = Ambient("flyte_session")
_lock = threading.Lock()


def init(
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    root_dir: Path | None = None,
    log_level: int | None = None,
    log_format: str | None = None,
    reset_root_logger: bool = False,
    user_log_level: int | None = None,
    endpoint: str | None = None,
    headless: bool = False,
    insecure: bool = False,
    insecure_skip_verify: bool = False,
    ca_cert_file_path: str | None = None,
    auth_type: str = "Pkce",
    command: list[str] | None = None,
    proxy_command: list[str] | None = None,
    api_key: str | None = None,
    client_id: str | None = None,
    client_credentials_secret: str | None = None,
    auth_client_config: Any = None,
    rpc_retries: int = 3,
    http_proxy_url: str | None = None,
    disable_keyring: bool = False,
    storage: Any = None,
    batch_size: int = 1000,
    image_builder: str = "local",
    images: dict[str, str] | None = None,
    image_registry: str | None = None,
    source_config_path: Path | None = None,
    sync_local_sys_paths: bool = True,
    load_plugin_type_transformers: bool = True,
    local_persistence: bool | None = None,
    local_tracked: bool = False,
    local_tracked_strict: bool = False,
    scopes: list[str] | None = None,
) -> None:
    """Configure this process. Running in this process needs no call of it.

    Safe to call from several threads: the last call wins as a whole.

    :param project: default project of runs.
    :param domain: default domain of runs.
    :param root_dir: folder that module names are relative to; the current one if not given.
    :param log_level: of the SDK's logger; default from ``LOG_LEVEL``, else WARNING.
    :param log_format: ``"console"`` or ``"json"``.
    :param storage: credentials and options of the object store, such as ``flyte.storage.S3(...)``.
    :param local_persistence: whether runs in this process are remembered in the journal of the state folder, so that
        they can be looked at and recovered; default True, unless ``FLYTE_JOURNAL=off``.
    :param org: organization; the first label of the endpoint's host if that has more than two.
    :param endpoint: a control plane: ``host``, ``host:port``, or either after ``dns:///``, ``http://`` or ``https://``.
        It is connected to when it is first needed, and not used by runs in this process.
    :param headless: there is no browser: log in with a code on another device.
    :param insecure: plain text, without TLS and without any credentials.
    :param insecure_skip_verify: trust whatever certificate the server shows.
    :param ca_cert_file_path: PEM file of the authorities to trust instead of the system's.
    :param auth_type: ``Pkce``, ``ClientSecret``, ``ExternalCommand``, ``DeviceFlow``, ``Passthrough`` or ``None``.
    :param command: words of a command that prints a token (ExternalCommand).
    :param proxy_command: words of a command that prints a token for a proxy in front of the control plane.
    :param api_key: has the endpoint, the organization and the credentials of a client in one text.
    :param client_id: id of this client; the server says it if not given.
    :param client_credentials_secret: secret of this client; with it, the way to authenticate is ClientSecret.
    :param rpc_retries: extra attempts of a call that failed for a reason that may pass.
    :param http_proxy_url: proxy of every connection.
    :param disable_keyring: keep tokens in a file, not in the keyring of the operating system.
    :param scopes: to ask for; the server says them if not given.
    :raises NotImplementedError: an option that this version does not have.
    :raises TypeError: an option of the wrong type.
    :raises ValueError: an endpoint or a way to authenticate that does not exist.
    :raises InitializationError: an API key that cannot be read.
    """
    log.configure(log_level, log_format, user_log_level, reset_root_logger)
    missing = {
        "local_tracked": local_tracked,
        "local_tracked_strict": local_tracked_strict,
    }
    for name, asked in missing.items():
        if asked:
            raise NotImplementedError(f"{name}=True is not available in this version of flyte")
    for name, value in {"org": org, "project": project, "domain": domain, "endpoint": endpoint}.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"flyte.init({name}=...) takes a string, but got {type(value).__name__} {value!r}")
    if auth_client_config is not None:
        raise NotImplementedError("auth_client_config is not available; give client_id and scopes instead")
    connection = None
    if endpoint or api_key:
        from .connect import make_connection

        connection = make_connection(
            endpoint=endpoint,
            org=org,
            project=project,
            domain=domain,
            headless=headless,
            insecure=insecure,
            insecure_skip_verify=insecure_skip_verify,
            ca_cert_file_path=ca_cert_file_path,
            auth_type=auth_type,
            command=command,
            proxy_command=proxy_command,
            api_key=api_key,
            client_id=client_id,
            client_credentials_secret=client_credentials_secret,
            rpc_retries=rpc_retries,
            http_proxy_url=http_proxy_url,
            disable_keyring=disable_keyring,
            scopes=scopes,
        )
    if storage is not None:
        from flyte.storage._config import Storage, configured

        if not isinstance(storage, Storage):
            raise TypeError(f"flyte.init(storage=...) takes a flyte.storage.Storage, but got {storage!r}")
        configured.set_default(storage)
    _set(
        Session(
            org=org or (connection.org if connection is not None else None),
            project=project,
            domain=domain,
            root_dir=Path(root_dir) if root_dir is not None else None,
            endpoint=str(connection.endpoint) if connection is not None else None,
            insecure=insecure,
            api_key=api_key,
            storage=storage,
            batch_size=batch_size,
            image_builder=image_builder,
            images=images,
            sync_local_sys_paths=sync_local_sys_paths,
            local_persistence=local_persistence,
        ),
        connection,
    )


def _set(new: Session, connection: "Connection | None") -> None:
    """Both at once, so that calls of several threads do not mix."""
    with _lock:
        _session.set_default(new)
        chosen_scope.set_default(Scope(new.project, new.domain))
        if new.image_builder != "local" or "flyte._package.image_engine" in sys.modules:
            # Not loaded for the default alone: start-up is for those who build nothing.
            from flyte._package.image_engine import configured_builder

            configured_builder.set_default(None if new.image_builder == "local" else new.image_builder)
        # Where nobody has ever asked for a control plane, there is nothing to forget, and nothing to load.
        if connection is not None or "flyte.remote._connection" in sys.modules:
            from flyte.remote._connection import configured

            configured.set_default(connection)


async def _init_aio(*args: Any, **kwargs: Any) -> None:
    init(*args, **kwargs)


init.aio = _init_aio  # type: ignore[attr-defined]


def is_initialized() -> bool:
    """Whether ``flyte.init`` has been called in this process; no endpoint is needed for that."""
    return _session.get() is not None


def session() -> Session:
    """The session in force, or the defaults if ``flyte.init`` was not called."""
    return _session.get() or Session()


def current_project() -> str:
    """The project of the running task, else of the session.

    :raises InitializationError: there is none.
    """
    return _configured("project")


def current_domain() -> str:
    """The domain of the running task, else of the session.

    :raises InitializationError: there is none.
    """
    return _configured("domain")


def _configured(name: str) -> str:
    context = current.get()
    value = getattr(context.execution, name) if context is not None else None
    value = value or getattr(session(), name)
    if not value:
        raise InitializationError(
            f"{name.capitalize()}NotInitializedError", "user", f"no {name} is set; call flyte.init({name}=...) first"
        )
    return str(value)


def is_control_plane_available() -> bool:
    """Whether a control plane is configured; it is not asked whether it answers."""
    connections = sys.modules.get("flyte.remote._connection")
    return connections is not None and connections.configured.get() is not None
