"""Ways to a control plane: what ``flyte.init`` makes of its options, and the initializers that read them elsewhere.

Nothing is connected to here, and neither grpc nor httpx is loaded: the client is made when it is first used.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyte.config import Config, ConfigFile, PlatformConfig, auto, from_environment, read_auth_type
from flyte.errors import InitializationError
from flyte.remote._api_key import parse_api_key
from flyte.remote._connection import Connection, configured
from flyte.remote._endpoint import parse_endpoint

from .session import init

IN_CLUSTER_ENDPOINT = "host.docker.internal:8090"
"""Where a task's container finds the control plane of the machine that runs it, if nothing says otherwise."""


def make_connection(
    *,
    endpoint: str | None,
    org: str | None,
    project: str | None,
    domain: str | None,
    headless: bool,
    insecure: bool,
    insecure_skip_verify: bool,
    ca_cert_file_path: str | None,
    auth_type: str,
    command: Sequence[str] | None,
    proxy_command: Sequence[str] | None,
    api_key: str | None,
    client_id: str | None,
    client_credentials_secret: str | None,
    rpc_retries: int,
    http_proxy_url: str | None,
    disable_keyring: bool,
    scopes: Sequence[str] | None,
) -> Connection:
    """The options of ``flyte.init`` as a connection, checked.

    :raises ValueError: an endpoint or a way to authenticate that does not exist, or a part that is missing.
    :raises TypeError: a command that is no list of words.
    :raises InitializationError: an API key that cannot be read.
    """
    way = read_auth_type(auth_type)
    if api_key:
        key = parse_api_key(api_key)
        endpoint, org = endpoint or key.endpoint, org or key.org
        client_id, client_credentials_secret, way = key.client_id, key.client_secret, "ClientSecret"
    elif client_credentials_secret and way == "Pkce":
        way = "ClientSecret"
    place = parse_endpoint(endpoint or "")
    words = _words("command", command)
    if not insecure and way == "ExternalCommand" and not words:
        raise ValueError("auth_type='ExternalCommand' needs command=[...], whose output is the token")
    if not insecure and way == "ClientSecret" and not (client_id and client_credentials_secret):
        raise ValueError("auth_type='ClientSecret' needs client_id and client_credentials_secret")
    if isinstance(rpc_retries, bool) or not isinstance(rpc_retries, int) or rpc_retries < 0:
        raise ValueError(f"rpc_retries={rpc_retries!r} must be a whole number from 0 on")
    return Connection(
        endpoint=place,
        insecure=insecure,
        insecure_skip_verify=insecure_skip_verify,
        ca_cert_file_path=str(ca_cert_file_path) if ca_cert_file_path else None,
        http_proxy_url=http_proxy_url,
        auth_type=way,
        command=words,
        proxy_command=_words("proxy_command", proxy_command),
        client_id=client_id,
        client_secret=client_credentials_secret,
        scopes=tuple(scopes or ()),
        headless=headless,
        disable_keyring=disable_keyring,
        retries=rpc_retries,
        org=org or place.organization,
        project=project,
        domain=domain,
    )


def _words(name: str, value: Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not all(isinstance(word, str) for word in value):
        raise TypeError(f"flyte.init({name}=...) takes a list of words, such as ['mint-token', '--quiet']")
    return tuple(value)


def _platform_options(platform: PlatformConfig) -> dict[str, Any]:
    """The options of ``flyte.init`` that a configuration's platform section gives."""
    return {
        "endpoint": platform.endpoint,
        "insecure": platform.insecure,
        "insecure_skip_verify": platform.insecure_skip_verify,
        "ca_cert_file_path": platform.ca_cert_file_path,
        "auth_type": platform.auth_mode,
        "command": platform.command,
        "proxy_command": platform.proxy_command,
        "client_id": platform.client_id,
        "client_credentials_secret": platform.client_credentials_secret,
        "rpc_retries": platform.rpc_retries,
        "http_proxy_url": platform.http_proxy_url,
        "disable_keyring": platform.disable_keyring,
        "scopes": platform.scopes or None,
    }


def init_from_config(
    path_or_config: str | Path | Config | None = None,
    root_dir: Path | None = None,
    log_level: int | None = None,
    log_format: str | None = "console",
    user_log_level: int | None = None,
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    storage: Any = None,
    batch_size: int = 1000,
    image_builder: str | None = None,
    images: tuple[str, ...] | None = None,
    sync_local_sys_paths: bool = True,
) -> None:
    """Configure this process from a file and the environment; see :func:`flyte.config.auto` for both.

    What is given here goes before what the file and the environment say. For the other parameters see
    :func:`flyte.init`.

    :param path_or_config: a file, or a configuration already read; the first file found if not given.
    :param images: ``"name=uri"``, or a URI alone for the image called ``default``.
    :raises InitializationError: the file is not there or cannot be read, or a value in it is wrong.
    :raises ValueError: an endpoint that does not exist, or an image without a URI.
    """
    config = path_or_config if isinstance(path_or_config, Config) else auto(_checked(path_or_config))
    init(
        org=org or config.task.org,
        project=project or config.task.project,
        domain=domain or config.task.domain,
        root_dir=root_dir,
        log_level=log_level,
        log_format=log_format,
        user_log_level=user_log_level,
        storage=storage,
        batch_size=batch_size,
        image_builder=image_builder or config.image.builder or "local",
        images={**config.image.image_refs, **_images(images or ())} or None,
        image_registry=config.image.registry,
        source_config_path=config.source,
        sync_local_sys_paths=sync_local_sys_paths,
        # Runs of this machine are remembered unless somebody said no.
        local_persistence=config.local.persistence if "local.persistence" in config.origins else None,
        local_tracked=config.local.tracked,
        local_tracked_strict=config.local.tracked_strict,
        **_platform_options(config.platform),
    )
    _complete(config.platform)


def _complete(platform: PlatformConfig) -> None:
    """Add what ``flyte.init`` has no option for."""
    connection = configured.get()
    if connection is not None and (platform.console_endpoint or platform.audience):
        configured.set_default(
            replace(connection, console_endpoint=platform.console_endpoint, audience=platform.audience)
        )


def _checked(path: Any) -> str | Path | ConfigFile | None:
    if path is not None and not isinstance(path, (str, Path, ConfigFile)):
        raise TypeError(f"init_from_config takes a path or a flyte.config.Config, but got {type(path).__name__}")
    return path


def _images(given: Sequence[str]) -> dict[str, str]:
    images = {}
    for one in given:
        name, equals, uri = one.partition("=")
        if not name or (equals and not uri):
            raise ValueError(f"image {one!r} is not of the form URI or NAME=URI")
        images[name if equals else "default"] = uri if equals else one
    return images


def init_from_api_key(
    api_key: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    root_dir: Path | None = None,
    log_level: int | None = None,
    log_format: str | None = None,
    storage: Any = None,
    batch_size: int = 1000,
    image_builder: str = "local",
    images: dict[str, str] | None = None,
    sync_local_sys_paths: bool = True,
    insecure_skip_verify: bool = False,
    ca_cert_file_path: str | None = None,
) -> None:
    """Configure this process with an API key, which names the control plane and holds the credentials.

    For the other parameters see :func:`flyte.init`.

    :param api_key: the key; from ``FLYTE_API_KEY`` if not given.
    :raises InitializationError: there is no key, or it cannot be read.
    """
    key = api_key or os.environ.get("FLYTE_API_KEY")
    if not key:
        raise InitializationError(
            "MissingApiKeyError", "user", "there is no API key; give api_key=..., or set FLYTE_API_KEY"
        )
    init(
        project=project,
        domain=domain,
        root_dir=root_dir,
        log_level=log_level,
        log_format=log_format,
        storage=storage,
        batch_size=batch_size,
        image_builder=image_builder,
        images=images,
        sync_local_sys_paths=sync_local_sys_paths,
        insecure_skip_verify=insecure_skip_verify,
        ca_cert_file_path=ca_cert_file_path,
        api_key=key,
    )


def init_in_cluster(
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    api_key: str | None = None,
    endpoint: str | None = None,
    insecure: bool = False,
) -> dict[str, Any]:
    """Configure this process as a task's container is told to by its environment.

    Credentials are those of ``api_key``; else of the file that ``UCTL_CONFIG`` or ``FLYTECTL_CONFIG`` names; else of
    ``FLYTE_AUTH_TYPE`` and its companions; else of the key that the control plane put into ``_UNION_EAGER_API_KEY`` or
    ``EAGER_API_KEY``.

    :param org: default ``_U_ORG_NAME``.
    :param project: default ``FLYTE_INTERNAL_EXECUTION_PROJECT``.
    :param domain: default ``FLYTE_INTERNAL_EXECUTION_DOMAIN``.
    :param endpoint: default ``_U_EP_OVERRIDE``, then ``FLYTE_ADMIN_ENDPOINT`` or the file's, then the key's, then
        ``host.docker.internal:8090``.
    :param insecure: plain text; also if ``_U_INSECURE`` is true, or the endpoint is this machine's or Docker's.
    :returns: the options that the client was made of.
    :raises InitializationError: a file, a variable or a key that cannot be read.
    """
    mounted = os.environ.get("UCTL_CONFIG") or os.environ.get("FLYTECTL_CONFIG")
    # A config.yaml in the working directory is the user's, for another machine; it came with the code.
    config = auto(mounted) if mounted else from_environment()
    own_way = bool(mounted) or "admin.authType" in config.origins
    injected = os.environ.get("_UNION_EAGER_API_KEY") or os.environ.get("EAGER_API_KEY")
    key = api_key or (None if own_way else injected)
    options = _platform_options(config.platform)
    place = endpoint or os.environ.get("_U_EP_OVERRIDE") or options["endpoint"]
    if not place:
        place = parse_api_key(key).endpoint if key else IN_CLUSTER_ENDPOINT
    options["endpoint"] = place
    options["insecure"] = (
        insecure or options["insecure"] or _is_true("_U_INSECURE") or "localhost" in place or "docker" in place
    )
    options["insecure_skip_verify"] = options["insecure_skip_verify"] or _is_true("_U_INSECURE_SKIP_VERIFY")
    if key:
        options["api_key"] = key
    init(
        org=org or os.environ.get("_U_ORG_NAME") or config.task.org,
        project=project or os.environ.get("FLYTE_INTERNAL_EXECUTION_PROJECT") or config.task.project,
        domain=domain or os.environ.get("FLYTE_INTERNAL_EXECUTION_DOMAIN") or config.task.domain,
        **options,
    )
    _complete(config.platform)
    always = ("endpoint", "insecure")
    defaults = _platform_options(PlatformConfig())
    return {name: value for name, value in options.items() if name in always or value != defaults.get(name)}


def init_passthrough(
    endpoint: str | None = None,
    org: str | None = None,
    project: str | None = None,
    domain: str | None = None,
    insecure: bool = False,
) -> dict[str, Any]:
    """Configure this process to hand on credentials that it was given itself, as a server does for its callers.

    The headers of a call are those of the surrounding ``flyte.remote.auth_metadata(...)``.

    :param endpoint: default ``_U_EP_OVERRIDE``.
    :param insecure: plain text; also if ``_U_INSECURE`` is true. The headers are sent all the same.
    :returns: the options that the client was made of.
    :raises InitializationError: there is no endpoint.
    """
    place = endpoint or os.environ.get("_U_EP_OVERRIDE")
    if not place:
        raise InitializationError(
            "MissingEndpointError", "user", "there is no endpoint; give endpoint=..., or set _U_EP_OVERRIDE"
        )
    options: dict[str, Any] = {"endpoint": place, "insecure": insecure or _is_true("_U_INSECURE")}
    init(
        org=org or os.environ.get("_U_ORG_NAME"),
        project=project or os.environ.get("FLYTE_INTERNAL_EXECUTION_PROJECT"),
        domain=domain or os.environ.get("FLYTE_INTERNAL_EXECUTION_DOMAIN"),
        auth_type="Passthrough",
        **options,
    )
    return options


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("true", "1")


async def _init_from_config_aio(*args: Any, **kwargs: Any) -> None:
    init_from_config(*args, **kwargs)


async def _init_from_api_key_aio(*args: Any, **kwargs: Any) -> None:
    init_from_api_key(*args, **kwargs)


async def _init_in_cluster_aio(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return init_in_cluster(*args, **kwargs)


async def _init_passthrough_aio(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return init_passthrough(*args, **kwargs)


# None of them waits for anything; `.aio` is there because the documented API has it.
init_from_config.aio = _init_from_config_aio  # type: ignore[attr-defined]
init_from_api_key.aio = _init_from_api_key_aio  # type: ignore[attr-defined]
init_in_cluster.aio = _init_in_cluster_aio  # type: ignore[attr-defined]
init_passthrough.aio = _init_passthrough_aio  # type: ignore[attr-defined]
