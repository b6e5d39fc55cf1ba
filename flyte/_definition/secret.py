"""Secrets: named, never held."""

import pathlib
import re
from dataclasses import dataclass

MOUNT_DIR = pathlib.PurePosixPath("/etc/flyte/secrets")
"""The only folder that secrets are mounted in (wire-protocol section 5.2)."""

_ENV_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class Secret:
    """A request for a secret; its value appears in the running body only.

    :param key: name of the secret.
    :param group: group it belongs to, if any.
    :param mount: mount it as a file below this folder, which can only be ``/etc/flyte/secrets``; by default it becomes
        an environment variable.
    :param as_env_var: name of that variable; by default ``<GROUP>_<KEY>`` or ``<KEY>`` in upper case.
    :raises ValueError: a name that is not allowed.
    :raises TypeError: not a string.
    """

    key: str
    group: str | None = None
    mount: pathlib.Path | None = None
    as_env_var: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"Secret(key=...) takes the name of a secret, but got {self.key!r}")
        if not self.key:
            raise ValueError("Secret(key='') needs the name of a secret")
        if self.mount is not None:
            path = pathlib.PurePosixPath(str(self.mount))
            if path != MOUNT_DIR:
                raise ValueError(
                    f"Secret({self.key!r}): mount={str(self.mount)!r} is not possible; use {str(MOUNT_DIR)!r}"
                )
        if self.as_env_var is not None and not _ENV_NAME.fullmatch(self.as_env_var):
            raise ValueError(
                f"Secret({self.key!r}): as_env_var={self.as_env_var!r} is not a name of an environment variable; use "
                f"upper-case letters, digits and '_', for example {self._default_name()!r}"
            )

    @property
    def env_var_name(self) -> str:
        """The environment variable that holds the value."""
        return self.as_env_var or self._default_name()

    def _default_name(self) -> str:
        name = f"{self.group}_{self.key}" if self.group else self.key
        return re.sub(r"[^A-Z0-9_]", "_", name.upper())


SecretRequest = str | Secret | list[str | Secret]
"""A secret, its key, or a list of them."""


def secrets_from_request(request: SecretRequest | None) -> tuple[Secret, ...]:
    """The secrets that a request names."""
    if request is None:
        return ()
    parts = request if isinstance(request, (list, tuple)) else [request]
    return tuple(Secret(key=part) if isinstance(part, str) else part for part in parts)
