"""Checks of what the methods of `image` are given, each saying what is wrong and what to write instead."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from flyte._core.face import nearest

from .secret import Secret, SecretRequest, secrets_from_request

Architecture: TypeAlias = Literal["linux/amd64", "linux/arm64"]

# The path part of a repository name, as the distribution specification of OCI has it.
# A text: `re` compiles it on first use.
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"


def check_platform(platform: Any) -> tuple[Architecture, ...]:
    given: tuple[Any, ...] = (platform,) if isinstance(platform, str) else tuple(platform)
    known = get_args(Architecture)
    for one in given or ("",):
        if one not in known:
            raise ValueError(
                f"Image: platform={one!r} is not known{nearest(str(one), list(known))}; use {' or '.join(known)}"
            )
    return given


def check_python(version: Any) -> tuple[int, int]:
    if not (isinstance(version, tuple) and len(version) == 2 and all(type(part) is int for part in version)):
        raise TypeError(f"Image: python_version takes two numbers such as (3, 12), got {version!r}")
    if version < (3, 10):
        raise ValueError(f"Image: python_version={version!r} is too old for flyte; use (3, 10) or newer")
    return (version[0], version[1])


def check_name(name: str | None) -> str | None:
    if name is not None and (not isinstance(name, str) or re.fullmatch(_NAME, name) is None):
        raise ValueError(
            f"Image: name={name!r} is not an image's name; use lower-case letters and digits, with single '.', '_' "
            "or '-' between them"
        )
    return name


def check_registry(registry: str | None) -> str | None:
    if registry is None:
        return None
    if not isinstance(registry, str) or not registry or re.search(r"\s|://", registry):
        raise ValueError(
            f"Image: registry={registry!r} is not a registry; write it like '<host>/<folder>', without a scheme"
        )
    return registry.rstrip("/")


def check_mode(method: str, mode: Any) -> Any:
    if mode not in ("dependencies_only", "install_project"):
        raise ValueError(
            f"Image.{method}: project_install_mode={mode!r} is not known; use 'dependencies_only' or 'install_project'"
        )
    return mode


def first_secret(secret: str | Secret | None) -> Secret | None:
    return secrets_from_request(secret)[0] if secret is not None else None


def secret_mounts_from(request: SecretRequest | None) -> tuple[Secret, ...] | None:
    return secrets_from_request(request) or None


def path_from(method: str, parameter: str, path: Any) -> Path:
    if not isinstance(path, (str, Path)) or not str(path):
        raise TypeError(f"Image.{method}: {parameter} takes a path, got {path!r}")
    return Path(path)


def texts_from(method: str, parameter: str, texts: Iterable[Any]) -> tuple[str, ...]:
    several = tuple(texts)
    for one in several:
        if not isinstance(one, str):
            raise TypeError(f"Image.{method}: {parameter} takes texts, got {one!r}")
        if not one.strip():
            raise ValueError(f"Image.{method}: {parameter} has an empty text; leave it out")
    return several


def pip_options(
    index_url: str | None, extra_index_urls: Any, pre: bool, extra_args: str | None, secrets: SecretRequest | None
) -> dict[str, Any]:
    extra = (extra_index_urls,) if isinstance(extra_index_urls, str) else tuple(extra_index_urls or ())
    return {
        "index_url": index_url,
        "extra_index_urls": extra or None,
        "pre": bool(pre),
        "extra_args": extra_args,
        "secret_mounts": secret_mounts_from(secrets),
    }
