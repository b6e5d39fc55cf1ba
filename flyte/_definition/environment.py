"""Environments: what tasks or apps share, and which other environments they need.

Annotations stay texts: what an environment does not say is not loaded for it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flyte._core.face import nearest
from flyte._core.log import logger

if TYPE_CHECKING:
    from .image import Image
    from .pod import PodTemplate
    from .resources import Resources
    from .secret import SecretRequest

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _calling_file() -> str | None:
    """The file of the nearest caller outside of this package; None for code that was typed."""
    frame = sys._getframe(1)
    # "<string>" is the __init__ that dataclasses write.
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, "<string>")):
        frame = frame.f_back
    name = frame.f_code.co_filename
    return None if name.startswith("<") else os.path.abspath(name)


def check_type(owner: str, field_name: str, value: Any, allowed: tuple[type, ...], wanted: str) -> None:
    """Refuse a field of the wrong type.

    :raises TypeError: naming the owner, the field, what it takes, and what it got.
    """
    # bool is an int to Python, but never what somebody means by a number.
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise TypeError(f"{owner}: {field_name} takes {wanted}, but got {type(value).__name__} {value!r}")


@dataclass(eq=False)
class Environment:
    """What the tasks or apps of one environment share.

    :param name: in snake_case or kebab-case, at most 63 characters.
    :param depends_on: environments whose tasks are called from this one; deployed and built with it.
    :param pod_template: a pod template, or the name of one on the cluster.
    :param description: shown to readers; cut to 255 characters, which is what the wire carries.
    :param secrets: made available to the body at run time.
    :param env_vars: set in the body's process environment.
    :param resources: default of each task.
    :param interruptible: whether tasks may run on machines that can be taken away.
    :param image: an image, the URI of one, or ``"auto"`` for the default image of this Python with flyte installed.
    :param include: further files, folders and globs that travel with the code; absolute, or relative to the folder of
        the file that makes the environment.
    :param service_account: Kubernetes service account to run as.
    :raises TypeError: a field has the wrong type.
    :raises ValueError: a name that is not allowed.
    """

    name: str
    depends_on: list[Environment] = field(default_factory=list)
    pod_template: str | PodTemplate | None = None
    description: str | None = None
    secrets: SecretRequest | None = None
    env_vars: dict[str, str] | None = None
    resources: Resources | None = None
    interruptible: bool = False
    image: str | Image | Literal["auto"] | None = "auto"
    include: tuple[str, ...] = field(default_factory=tuple)
    service_account: str | None = None
    # The file that makes it, which includes are relative to; None without includes, or where there is no file.
    _declared_in: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        owner = f"{type(self).__name__}({self.name!r})"
        if not isinstance(self.name, str):
            raise TypeError(f"{type(self).__name__}: name takes a string, but got {self.name!r}")
        if not _is_name(self.name) or len(self.name) > 63:
            raise ValueError(
                f"{owner}: name must be in snake_case or kebab-case (lowercase letters, digits, '_' or '-' between "
                f"them), at most 63 characters; for example {_suggest(self.name)!r}"
            )
        if self.description is not None:
            check_type(owner, "description", self.description, (str,), "a string")
        if self.resources is not None:
            from .resources import Resources

            check_type(owner, "resources", self.resources, (Resources,), "flyte.Resources")
        if self.image is not None and not isinstance(self.image, str):
            from .image import Image

            check_type(owner, "image", self.image, (str, Image), "a flyte.Image, an image URI or 'auto'")
        if self.pod_template is not None and not isinstance(self.pod_template, str):
            from .pod import PodTemplate

            wanted = "a flyte.PodTemplate or the name of one"
            check_type(owner, "pod_template", self.pod_template, (str, PodTemplate), wanted)
        if self.service_account is not None:
            check_type(owner, "service_account", self.service_account, (str,), "a string")
        check_type(owner, "interruptible", self.interruptible, (bool,), "True or False")
        check_secrets(owner, self.secrets)
        check_env_vars(owner, self.env_vars)
        check_type(owner, "depends_on", self.depends_on, (list, tuple), "a list of environments")
        self.depends_on = list(self.depends_on)
        for other in self.depends_on:
            check_type(owner, "depends_on", other, (Environment,), "a list of environments")
        check_type(owner, "include", self.include, (tuple, list), "a tuple of paths")
        for path in self.include:
            check_type(owner, "include", path, (str,), "a tuple of paths")
        self.include = tuple(self.include)
        self._declared_in = _calling_file() if self.include else None
        if self.description is not None and len(self.description) > 255:
            logger.warning("%s: description has %d characters; 255 are kept", owner, len(self.description))
            self.description = self.description[:255]

    def add_dependency(self, *env: Environment) -> None:
        """Declare that tasks of ``env`` are called from this environment.

        :raises TypeError: something that is not an environment.
        :raises ValueError: this environment itself.
        """
        for other in env:
            check_type(f"{type(self).__name__}({self.name!r})", "add_dependency", other, (Environment,), "environments")
            if other is self:
                raise ValueError(f"environment {self.name!r} cannot depend on itself")
            if not any(other is known for known in self.depends_on):
                self.depends_on.append(other)

    def closure(self) -> list[Environment]:
        """This environment and all it depends on, each once, nearest first."""
        found: list[Environment] = []
        waiting: list[Environment] = [self]
        while waiting:
            environment = waiting.pop(0)
            if not any(environment is known for known in found):
                found.append(environment)
                waiting.extend(environment.depends_on)
        return found

    def clone_with(self, name: str, **kwargs: Any) -> Environment:
        """A copy under another name, with other values for the given fields."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is cloned")


def check_secrets(owner: str, request: Any) -> None:
    """Refuse what is not a secret, its key, or a list of them.

    :raises TypeError: naming the element.
    """
    if request is None:
        return
    from .secret import Secret

    for one in request if isinstance(request, (list, tuple)) else [request]:
        check_type(owner, "secrets", one, (str, Secret), "a flyte.Secret, a secret's key, or a list of them")


def check_env_vars(owner: str, env_vars: Any) -> None:
    """Refuse environment variables that are not strings.

    :raises TypeError: naming the variable.
    """
    if env_vars is None:
        return
    check_type(owner, "env_vars", env_vars, (dict,), "a dict of strings")
    for key, value in env_vars.items():
        check_type(owner, f"env_vars[{key!r}]", key, (str,), "strings as names")
        check_type(owner, f"env_vars[{key!r}]", value, (str,), "strings as values")


def unknown_field(owner: str, name: str, known: list[str]) -> TypeError:
    """The error for a keyword that is not a field."""
    return TypeError(f"{owner} has no field {name!r}{nearest(name, known)}")


def _is_name(name: str) -> bool:
    # Not a pattern: compiling one costs every program more than all its environments do.
    words = name.replace("-", "_").split("_")
    return name.isascii() and name == name.lower() and all(word.isalnum() for word in words)


def _suggest(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower()
    cleaned = re.sub(r"[^a-z0-9]+", "_", snake).strip("_")[:63]
    return cleaned or "my_env"
