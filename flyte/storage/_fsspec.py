"""The same stores for libraries that take an fsspec file system, through obstore's own wrapper of itself.

Needs the package ``fsspec``, which nothing else here uses; it is imported when somebody asks.
"""

from typing import Any

from flyte.storage._clouds import options_for, settings_for
from flyte.storage._uri import CLOUDS, SCHEMES, Kind, known_schemes

_TIMEOUT_STALLS = 4
"""A request of fsspec reads or writes as much as its caller likes, so it gets more time than one of ours."""


def get_underlying_filesystem(
    protocol: str | None = None, anonymous: bool = False, path: str | None = None, **kwargs: Any
) -> Any:
    """An ``fsspec.AbstractFileSystem`` for a scheme, with the settings of this context.

    :param protocol: the scheme, such as ``"s3"``; None to take that of ``path``.
    :param anonymous: sign no request, for buckets that everybody may read.
    :param path: a path or URI.
    :param kwargs: handed on to the file system's class.
    :raises ImportError: fsspec, or for a cloud obstore, is not installed.
    :raises ValueError: neither protocol nor path, an unknown scheme, or one of a registered store.
    """
    if protocol is None:
        if path is None:
            raise ValueError("get_underlying_filesystem() needs protocol= or path=")
        scheme, separator, _ = path.partition("://")
        protocol = scheme if separator else "file"
    kind = _kind_of(protocol)
    wrapper = _wrapper()
    if kind not in CLOUDS:
        return wrapper.fsspec.filesystem("file" if kind == "local" else "memory", **kwargs)
    spoken = {"s3": "s3", "gs": "gs", "azure": "abfs"}[kind]
    return wrapper.FsspecStore(spoken, **get_configured_fsspec_kwargs(protocol, anonymous), **kwargs)


def get_configured_fsspec_kwargs(protocol: str | None = None, anonymous: bool = False) -> dict[str, Any]:
    """What an fsspec file system of obstore is made with to have the settings of this context; it may hold secrets.

    :param protocol: the scheme; None and schemes of this machine need nothing.
    :param anonymous: sign no request.
    :raises ValueError: an unknown scheme.
    """
    if protocol is None:
        return {}
    kind = _kind_of(protocol)
    if kind not in CLOUDS:
        return {}
    settings = settings_for(kind)
    timeout_s = _TIMEOUT_STALLS * settings.stall.total_seconds()
    config, client, retry = options_for(kind, settings, timeout_s, settings.retries)
    if anonymous:
        config["skip_signature"] = True
    return {"retry_config": retry, "client_options": client, **({"config": config} if config else {})}


def _kind_of(protocol: str) -> Kind:
    kind = SCHEMES.get(protocol.lower())
    if kind is None:
        why = "" if protocol.lower() not in known_schemes() else "; a registered store is no file system of fsspec"
        raise ValueError(f"protocol={protocol!r} is not one of {', '.join(sorted(SCHEMES))}{why}")
    return kind


def _wrapper() -> Any:
    try:
        from obstore import fsspec as wrapper
    except ImportError as error:
        raise ImportError(
            "an fsspec file system needs the packages obstore and fsspec; install them with: "
            "pip install 'flyte[storage]' fsspec"
        ) from error
    return wrapper
