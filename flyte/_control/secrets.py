"""Values of secrets for bodies that run in this process.

A control plane injects secrets into a container; here they come from the process environment or from files. Values go
only into the body's environment: never into messages, logs or errors.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from flyte._core.environ import Absent
from flyte._core.home import home_dir
from flyte._core.log import logger
from flyte._definition.secret import Secret
from flyte._journal.redaction import remember_secret

DEFAULT_DIR = "/etc/flyte/secrets"
"""Where a control plane mounts secrets as files (wire-protocol section 5.2)."""


def secret_environment(task_name: str, secrets: Iterable[Secret]) -> dict[str, str | Absent]:
    """The environment variables that make ``secrets`` visible to a body.

    Each is looked for, in this order: in the environment under the variable it is asked as, under its default name, and
    under either with the prefix ``FLYTE_SECRETS_ENV_PREFIX``; then in the files ``<group>/<key>`` or ``<key>`` below
    ``FLYTE_SECRETS_DEFAULT_DIR`` and below ``$FLYTE_HOME/secrets`` (default ``~/.flyte/secrets``). One that is nowhere
    is said in a warning, once for each task, because a body may well run without it; asked for by the body it is a
    KeyError that says where to put it.
    """
    found: dict[str, str | Absent] = {}
    for secret in secrets:
        value = _value_of(secret)
        if value is not None:
            remember_secret(value)
            found[secret.env_var_name] = value
        elif secret.mount is None or not Path(secret.mount).exists():
            path = home_dir() / "secrets" / _relative(secret)
            reason = (
                f"task {task_name!r} asks for secret {secret.key!r}, which is not set on this machine: set the "
                f"environment variable {secret.env_var_name} or write it to {path}"
            )
            found[secret.env_var_name] = Absent(reason)
            if (task_name, secret) not in _missed:
                _missed.add((task_name, secret))
                logger.warning("%s", reason)
    return found


_missed: set[tuple[str, Secret]] = set()


def is_set(secret: Secret) -> bool:
    """Whether a body that runs on this machine would be given ``secret``."""
    return _value_of(secret) is not None or (secret.mount is not None and Path(secret.mount).exists())


def _value_of(secret: Secret) -> str | None:
    prefix = os.environ.get("FLYTE_SECRETS_ENV_PREFIX", "")
    default = Secret(key=secret.key, group=secret.group).env_var_name
    for name in (secret.env_var_name, default):
        for candidate in (name, prefix + name):
            value = os.environ.get(candidate)
            if value is not None:
                return value
    for folder in (Path(os.environ.get("FLYTE_SECRETS_DEFAULT_DIR", DEFAULT_DIR)), home_dir() / "secrets"):
        path = folder / _relative(secret)
        if path.is_file():
            return path.read_text(encoding="utf-8").rstrip("\n")
    return None


def _relative(secret: Secret) -> Path:
    # A key is a plain name, so that it cannot climb out of the folder.
    return Path(*[Path(part).name for part in (secret.group, secret.key) if part])
