"""Values of secrets for bodies that run in this process.

A control plane injects secrets into a container; here they come from the process environment or from files. Values go
only into the body's environment: never into messages, logs or errors.
"""

from collections.abc import Iterable
from pathlib import Path

from flyte._core.environ import Absent
from flyte._core.log import logger
from flyte._definition.secret import Secret, file_here, value_here
from flyte._journal.redaction import remember_secret


def secret_environment(task_name: str, secrets: Iterable[Secret]) -> dict[str, str | Absent]:
    """The environment variables that make ``secrets`` visible to a body.

    Where each is looked for, :func:`flyte._definition.secret.value_here` says. One that is nowhere is said in a
    warning, once for each task, because a body may well run without it; asked for by the body it is a KeyError that
    says where to put it.
    """
    found: dict[str, str | Absent] = {}
    for secret in secrets:
        value = value_here(secret)
        if value is not None:
            remember_secret(value)
            found[secret.env_var_name] = value
        elif secret.mount is None or not Path(secret.mount).exists():
            path = file_here(secret)
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
    return value_here(secret) is not None or (secret.mount is not None and Path(secret.mount).exists())
