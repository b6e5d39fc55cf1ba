"""Values of secrets for bodies that run in this process.

A control plane injects secrets into a container; here they come from the process environment or from files. Values go
only into the body's environment: never into messages, logs or errors.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from flyte._definition.secret import Secret
from flyte.errors import RuntimeUserError

DEFAULT_DIR = "/etc/flyte/secrets"
"""Where a control plane mounts secrets as files (wire-protocol section 5.2)."""


def secret_environment(task_name: str, secrets: Iterable[Secret]) -> dict[str, str]:
    """The environment variables that make ``secrets`` visible to a body.

    Each is looked for, in this order: in the environment under the variable it is asked as, under its default name, and
    under either with the prefix ``FLYTE_SECRETS_ENV_PREFIX``; then in the files ``<group>/<key>`` or ``<key>`` below
    ``FLYTE_SECRETS_DEFAULT_DIR`` and below ``$FLYTE_HOME/secrets`` (default ``~/.flyte/secrets``). A secret that is
    mounted as a file has to be in the environment's or the mount's folder already.

    :raises RuntimeUserError: a secret is nowhere to be found; the message names it, and where it was looked for.
    """
    found: dict[str, str] = {}
    for secret in secrets:
        value = _value_of(secret)
        if value is None:
            if secret.mount is not None and Path(secret.mount).exists():
                continue
            home = _home_dir()
            raise RuntimeUserError(
                "SecretNotFound",
                f"task {task_name!r} asks for secret {secret.key!r}, which is not set on this machine; set the "
                f"environment variable {secret.env_var_name} or write it to {home / _relative(secret)}",
            )
        found[secret.env_var_name] = value
    return found


def _value_of(secret: Secret) -> str | None:
    prefix = os.environ.get("FLYTE_SECRETS_ENV_PREFIX", "")
    default = Secret(key=secret.key, group=secret.group).env_var_name
    for name in (secret.env_var_name, default):
        for candidate in (name, prefix + name):
            value = os.environ.get(candidate)
            if value is not None:
                return value
    for folder in (Path(os.environ.get("FLYTE_SECRETS_DEFAULT_DIR", DEFAULT_DIR)), _home_dir()):
        path = folder / _relative(secret)
        if path.is_file():
            return path.read_text(encoding="utf-8").rstrip("\n")
    return None


def _relative(secret: Secret) -> Path:
    # A key is a plain name, so that it cannot climb out of the folder.
    return Path(*[Path(part).name for part in (secret.group, secret.key) if part])


def _home_dir() -> Path:
    return Path(os.environ.get("FLYTE_HOME") or Path.home() / ".flyte") / "secrets"
