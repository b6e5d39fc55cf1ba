"""Whether an image is there already: in its registry, or in the store of a tool on this machine.

Each gives the URI, or None if the image is not there, and raises :class:`Undecided` if it cannot know. Nothing is
asked that answers with more than a few kilobytes, and nothing waits longer than :data:`CHECK_TIMEOUT_S`.
"""

import base64
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte._definition.image_arguments import Architecture

from .build_process import run_program
from .image_reference import DOCKER_HUB, Reference, split_repository

if TYPE_CHECKING:
    import httpx

CHECK_TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 4.0
_INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_HUB_HOST = "registry-1.docker.io"


class Undecided(Exception):
    """It cannot be known here whether an image is there; the message says why."""


class PodmanStoreChecker:
    """Looks in the store of podman or buildah on this machine, for images that belong to no registry."""

    @staticmethod
    async def image_exists(repository: str, tag: str, arch: tuple[Architecture, ...] = ("linux/amd64",)) -> str | None:
        """The URI of the image, if podman or buildah has it."""
        reference = _local(repository, tag)
        if podman := shutil.which("podman"):
            done = await run_program([podman, "image", "exists", reference.full], timeout_s=CHECK_TIMEOUT_S)
            decided = done.code in (0, 1)
        elif buildah := shutil.which("buildah"):
            argv = [buildah, "inspect", "--type", "image", "--format", "{{.FromImageID}}", reference.full]
            done = await run_program(argv, timeout_s=CHECK_TIMEOUT_S)
            decided = done.code == 0 or "not known" in done.text or "locating image" in done.text
        else:
            raise Undecided("neither podman nor buildah is on PATH")
        if not decided:
            raise Undecided(done.text or f"exit code {done.code}")
        return f"{repository}:{tag}" if done.code == 0 else None


class DockerStoreChecker:
    """Looks in the store of Docker's engine on this machine, for images that belong to no registry."""

    @staticmethod
    async def image_exists(repository: str, tag: str, arch: tuple[Architecture, ...] = ("linux/amd64",)) -> str | None:
        """The URI of the image, if Docker's engine has it."""
        _local(repository, tag)
        docker = shutil.which("docker")
        if docker is None:
            raise Undecided("docker is not on PATH")
        argv = [docker, "image", "inspect", "--format", "{{.Id}}", f"{repository}:{tag}"]
        done = await run_program(argv, timeout_s=CHECK_TIMEOUT_S)
        if done.code == 0:
            return f"{repository}:{tag}"
        if re.search(r"no such image", done.text, re.IGNORECASE):
            return None
        raise Undecided(done.text or f"exit code {done.code}")


def _local(repository: str, tag: str) -> Reference:
    reference = split_repository(repository, tag)
    if not reference.is_local:
        raise Undecided(f"{repository} is in a registry, not in a store of this machine")
    return reference


class RegistryChecker:
    """Asks the image's registry for its manifest, by the Registry API (version 2 of the OCI distribution)."""

    @staticmethod
    async def image_exists(repository: str, tag: str, arch: tuple[Architecture, ...] = ("linux/amd64",)) -> str | None:
        """The URI of the image, if its registry has it for all of ``arch``."""
        reference = split_repository(repository, tag)
        if reference.is_local:
            raise Undecided(f"{repository} is in no registry")
        import httpx

        timeout = httpx.Timeout(CHECK_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
        # A proxy has no way to this machine.
        async with httpx.AsyncClient(
            timeout=timeout, follow_redirects=True, trust_env=not reference.is_loopback
        ) as client:
            try:
                found = await _Registry(client, reference).platforms()
            except httpx.HTTPError as error:
                raise Undecided(f"{reference.registry}: {type(error).__name__} {error}") from error
        if found is None or not set(arch) <= found:
            return None
        return f"{repository}:{tag}"


class _Registry:
    def __init__(self, client: "httpx.AsyncClient", reference: Reference) -> None:
        host = _HUB_HOST if reference.registry == DOCKER_HUB else reference.registry
        scheme = "http" if reference.is_loopback else "https"
        path = reference.path
        if reference.registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        self._client, self._reference = client, reference
        self._top = f"{scheme}://{host}/v2/{path}"
        self._authorization: str | None = None

    async def platforms(self) -> set[str] | None:
        """The platforms that the image is there for; None if it is not there at all."""
        accept = ", ".join((*_INDEX_TYPES, *_MANIFEST_TYPES))
        manifest = await self._get(f"manifests/{self._reference.tag}", accept)
        if manifest is None:
            return None
        if isinstance(parts := manifest.get("manifests"), list):
            # Attestations are listed as well, for a platform called unknown.
            return {_platform(part.get("platform") or {}) for part in parts}
        digest = (manifest.get("config") or {}).get("digest")
        config = await self._get(f"blobs/{digest}", "*/*") if digest else None
        if config is None:
            raise Undecided(f"the manifest of {self._reference.full} does not say what platform it is for")
        return {_platform(config)}

    async def _get(self, path: str, accept: str) -> dict[str, Any] | None:
        answer = await self._ask(path, accept)
        if answer.status_code == 401 and self._authorization is None:
            await self._authorize(answer.headers.get("WWW-Authenticate", ""))
            answer = await self._ask(path, accept)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise Undecided(f"{self._reference.registry} answered {answer.status_code} for {self._reference.path}")
        try:
            content = answer.json()
        except ValueError as error:
            raise Undecided(f"{self._reference.registry} answered with no JSON") from error
        return content if isinstance(content, dict) else None

    async def _ask(self, path: str, accept: str) -> "httpx.Response":
        login = {"Authorization": self._authorization} if self._authorization is not None else {}
        return await self._client.get(f"{self._top}/{path}", headers={"Accept": accept, **login})

    async def _authorize(self, challenge: str) -> None:
        kind, _, rest = challenge.partition(" ")
        login = stored_login(self._reference.registry)
        if kind.lower() == "basic" and login is not None:
            self._authorization = f"Basic {login}"
            return
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = asked.get("realm", "")
        # A login is sent to no place that could be read on the way.
        if kind.lower() != "bearer" or not (realm.startswith("https://") or self._reference.is_loopback):
            raise Undecided(f"{self._reference.registry} asks for a login that is not stored on this machine")
        headers = {"Authorization": f"Basic {login}"} if login is not None else {}
        query = {name: asked[name] for name in ("service", "scope") if name in asked}
        answer = await self._client.get(realm, params=query, headers=headers)
        token = answer.json() if answer.status_code == 200 else {}
        word = token.get("token") or token.get("access_token")
        if not word:
            raise Undecided(f"{self._reference.registry} gave no token for {self._reference.path}")
        self._authorization = f"Bearer {word}"


def _platform(described: Mapping[str, Any]) -> str:
    return f"{described.get('os')}/{described.get('architecture')}"


def stored_login(registry: str) -> str | None:
    """What ``podman login`` or ``docker login`` stored for a registry, as basic authentication sends it."""
    names = {registry, f"https://{registry}"}
    if registry == DOCKER_HUB:
        names |= {"https://index.docker.io/v1/", "index.docker.io"}
    for path in _login_files():
        try:
            stored = json.loads(path.read_text(encoding="utf-8")).get("auths") or {}
        except (OSError, ValueError, AttributeError):
            continue
        for name in names & set(stored):
            word = stored[name].get("auth")
            try:
                base64.b64decode(word, validate=True)
            except (TypeError, ValueError):
                continue
            return str(word)
    return None


def _login_files() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    files = [
        Path(os.environ["REGISTRY_AUTH_FILE"]) if os.environ.get("REGISTRY_AUTH_FILE") else None,
        Path(runtime) / "containers" / "auth.json" if runtime else None,
        Path("/run/containers") / str(os.getuid()) / "auth.json",
        Path.home() / ".config" / "containers" / "auth.json",
        docker / "config.json",
    ]
    return [path for path in files if path is not None]
