"""Secrets that a task asks for: which, where its body finds them, and where they are looked for on this machine."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeAlias

from flyte._core.home import home_dir

MOUNT_DIR = "/etc/flyte/secrets"
"""The only folder that a control plane mounts secrets into (wire-protocol section 5.2)."""

# A text: `re` compiles it on first use, and keeps it.
_ENV_VAR = r"[A-Z_][A-Z0-9_]*"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that the body can read as an environment variable, or as a file.

    :param key: name of the secret in the control plane's store.
    :param group: group it belongs to, where the store has groups.
    :param mount: ``/etc/flyte/secrets`` to have it as the file ``<group>/<key>`` or ``<key>`` there; None for an
        environment variable. Where ``FLYTE_SECRETS_DEFAULT_DIR`` is set, as on the devbox, it is there instead.
    :param as_env_var: name of the variable; default ``<GROUP>_<KEY>`` or ``<KEY>``, upper-case, ``-`` as ``_``.
        With ``mount``, there is a variable only if named here.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: a name that cannot be an environment variable, or another folder to mount to.
    """

    key: str
    group: str | None = None
    mount: PurePath | None = None
    as_env_var: str | None = None

    def __post_init__(self) -> None:
        for parameter, value in (("key", self.key), ("group", self.group), ("as_env_var", self.as_env_var)):
            if not isinstance(value, str) and (value is not None or parameter == "key"):
                # The value is not shown: somebody may have put the secret itself here.
                raise TypeError(f"Secret: {parameter} takes a text, got {type(value).__name__}")
        if not self.key:
            raise ValueError("Secret: key='' is empty; give the name of the secret")
        if self.mount is not None:
            self._check_mount()
        if self.as_env_var:
            if re.fullmatch(_ENV_VAR, self.as_env_var) is None:
                raise ValueError(
                    f"Secret {self.key!r}: as_env_var={self.as_env_var!r} is not an environment variable's name; use "
                    f"capital letters, digits and _, not a digit first{_hint(_variable(self.as_env_var))}"
                )
        elif self.mount is None:
            name = self.env_var_name
            if re.fullmatch(_ENV_VAR, name) is None:
                raise ValueError(
                    f"Secret {self.key!r}: its default variable {name!r} is not an environment variable's name; "
                    "give another with as_env_var, of capital letters, digits and _"
                )
            object.__setattr__(self, "as_env_var", name)

    def _check_mount(self) -> None:
        if not isinstance(self.mount, (str, PurePath)):
            raise TypeError(f"Secret: mount takes a pathlib.Path, got {self.mount!r}")
        mount = PurePath(self.mount)
        if str(mount) != MOUNT_DIR:
            raise ValueError(
                f"Secret {self.key!r}: mount={str(mount)!r} is not supported; secrets are mounted to {MOUNT_DIR!r} only"
            )
        object.__setattr__(self, "mount", mount)

    @property
    def env_var_name(self) -> str:
        """The variable it is read from: ``as_env_var``, else the default made of group and key."""
        return self.as_env_var or _variable(f"{self.group}_{self.key}" if self.group else self.key)

    def stable_hash(self) -> str:
        """A hash of what is asked for, the same on every machine; sha256 in hex."""
        import hashlib
        import json

        mount = None if self.mount is None else str(self.mount)
        return hashlib.sha256(json.dumps([self.key, self.group, mount, self.as_env_var]).encode()).hexdigest()


SecretRequest: TypeAlias = str | Secret | list[str | Secret]
"""What a task's ``secrets`` takes: a key, a :class:`Secret`, or a list of either."""


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()


def _hint(name: str) -> str:
    return f"; did you mean {name!r}?" if re.fullmatch(_ENV_VAR, name) else ""


def secrets_from_request(request: SecretRequest | Iterable[str | Secret] | None) -> tuple[Secret, ...]:
    """The secrets that a ``secrets=`` value asks for, in order.

    :raises TypeError: something that is neither a key nor a :class:`Secret`.
    """
    if request is None:
        return ()
    if isinstance(request, (str, Secret)):
        request = (request,)
    elif not isinstance(request, (list, tuple)):
        raise TypeError(f"secrets takes a key, a flyte.Secret or a list of them, got a {type(request).__name__}")
    return tuple(_secret(one) for one in request)


def _secret(one: object) -> Secret:
    if isinstance(one, Secret):
        return one
    if isinstance(one, str):
        return Secret(key=one)
    raise TypeError(f"secrets takes keys and flyte.Secret values, got a {type(one).__name__}")


def value_here(secret: Secret) -> str | None:
    """The value of a secret on this machine; None if it is nowhere.

    It is looked for, in this order: in the environment under the variable it is asked as, under its default name, and
    under either with the prefix ``FLYTE_SECRETS_ENV_PREFIX``; then in the files ``<group>/<key>`` or ``<key>`` below
    ``FLYTE_SECRETS_DEFAULT_DIR`` and below ``$FLYTE_HOME/secrets`` (default ``~/.flyte/secrets``).
    """
    prefix = os.environ.get("FLYTE_SECRETS_ENV_PREFIX", "")
    default = _variable(f"{secret.group}_{secret.key}" if secret.group else secret.key)
    for name in (secret.env_var_name, default):
        for candidate in (name, prefix + name):
            value = os.environ.get(candidate)
            if value is not None:
                return value
    for path in (Path(os.environ.get("FLYTE_SECRETS_DEFAULT_DIR", MOUNT_DIR)) / _relative(secret), file_here(secret)):
        if path.is_file():
            return path.read_text(encoding="utf-8").rstrip("\n")
    return None


def file_here(secret: Secret) -> Path:
    """The file in the user's state folder that a secret may be written to."""
    return home_dir() / "secrets" / _relative(secret)


def _relative(secret: Secret) -> Path:
    # A key is a plain name, so that it cannot climb out of the folder; of '..' nothing is left.
    return Path(*[Path(os.path.normpath(f"/{part}")).name for part in (secret.group, secret.key) if part])
