"""The parts of an image's URI, as container tools read them; pure."""

import ipaddress
from dataclasses import dataclass

from flyte._definition.image import Image

DOCKER_HUB = "docker.io"
LOCAL = "localhost"
"""What podman puts before the names of images that belong to no registry."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's URI in parts.

    :param registry: host and port; ``"localhost"`` if it is in no registry but in this machine's store.
    :param path: folders and name within the registry.
    """

    registry: str
    path: str
    tag: str

    @property
    def repository(self) -> str:
        """Registry and path."""
        return f"{self.registry}/{self.path}"

    @property
    def full(self) -> str:
        """All of it, with nothing left to guess."""
        return f"{self.repository}:{self.tag}"

    @property
    def is_local(self) -> bool:
        """Whether it is in no registry."""
        return self.registry == LOCAL

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, where tools speak plain HTTP."""
        host = self.registry.rpartition(":")[0] if ":" in self.registry.rpartition("]")[2] else self.registry
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False


def split_repository(repository: str, tag: str = "latest") -> Reference:
    """The parts of ``<registry>/<name>``; a name alone is in no registry, a folder without a host on Docker Hub."""
    first, slash, rest = repository.partition("/")
    if not slash:
        return Reference(LOCAL, repository, tag)
    if first == LOCAL or "." in first or ":" in first:
        return Reference(first, rest, tag)
    return Reference(DOCKER_HUB, repository, tag)


def reference_of(image: Image) -> Reference:
    """Where an image is put: in its registry, or in this machine's store."""
    repository, _, tag = image.uri.rpartition(":")
    return split_repository(repository, tag) if image.registry is not None else Reference(LOCAL, repository, tag)


def split_uri(uri: str) -> Reference:
    """The parts of ``<registry>/<name>:<tag>``; ``latest`` if there is no tag."""
    folder, slash, name = uri.partition("@")[0].rpartition("/")
    name, _, tag = name.partition(":")
    return split_repository(f"{folder}{slash}{name}", tag or "latest")
