"""The builders of images that come with flyte: podman or buildah, Docker's buildx, and one that needs a control plane.

Each turns a recipe into the argument list of a program, runs it in a folder made for it, and tells of its log. Nothing
is started before everything is known to be there: the program, the files, the secrets, an emulator for another machine.
"""

import platform as machine
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyte._definition.image import Image
from flyte._definition.image_arguments import Architecture
from flyte.errors import ImageBuildError

from .build_context import BuildFolder, build_folder, read_secrets
from .build_process import Finished, run_program
from .build_records import stored_ids
from .dockerfile import Recipe, write_dockerfile
from .image_build import BuildEvent, ImageBuild, tell
from .image_checkers import DockerStoreChecker, PodmanStoreChecker, RegistryChecker
from .image_reference import Reference, reference_of, split_uri

_ASK_TIMEOUT_S = 30.0
_BUILDX = "flytex"
"""The name of the buildx builder that pushes; the one that the published SDK makes, too."""
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_MACHINES: dict[str, Architecture] = {
    "x86_64": "linux/amd64",
    "amd64": "linux/amd64",
    "aarch64": "linux/arm64",
    "arm64": "linux/arm64",
}
_EMULATORS = {"linux/amd64": "qemu-x86_64", "linux/arm64": "qemu-aarch64"}


def own_platform() -> Architecture:
    """The platform of images that run on this machine."""
    return _MACHINES.get(machine.machine().lower(), "linux/amd64")


def target_platforms(image: Image) -> tuple[Architecture, ...]:
    """The platforms that an image is built for: all that it names, or for this machine's store the one it can run."""
    if image.registry is not None or len(image.platform) == 1:
        return image.platform
    own = own_platform()
    return (own,) if own in image.platform else image.platform[:1]


class ProgramBuilder(ABC):
    """A builder that is a program on this machine."""

    name: str
    store: str | None = None

    async def build_image(self, image: Image, dry_run: bool, wait: bool = True, force: bool = False) -> ImageBuild:
        """Build the image on this machine and push it, if it has a registry; returns when that is done.

        :param dry_run: only write the Dockerfile.
        :raises flyte.errors.ImageBuildError: the program is not there, or it failed; the message has the log's end.
        """
        recipe = write_dockerfile(image)
        if dry_run:
            if not tell(BuildEvent(image.uri, "shown", recipe.text)):
                sys.stdout.write(f"# {image.uri}\n{recipe.text}")
            return ImageBuild(image.uri, dockerfile=recipe.text)
        secrets = read_secrets(recipe)
        await self.check(image)
        with build_folder(recipe, secrets) as folder:
            await self.run_build(image, recipe, folder)
        return ImageBuild(image.uri, built=True)

    @abstractmethod
    def get_checkers(self) -> list[Any]:
        """What says whether an image is there."""

    @abstractmethod
    async def check(self, image: Image) -> None:
        """See that all is there that a build needs.

        :raises flyte.errors.ImageBuildError: it is not; the message says what to do.
        """

    @abstractmethod
    async def run_build(self, image: Image, recipe: Recipe, folder: BuildFolder) -> None:
        """Build, and push."""

    async def _run(self, image: Image, step: str, argv: Sequence[str], hidden: Sequence[str]) -> Finished:
        def on_line(line: str) -> None:
            tell(BuildEvent(image.uri, "log", line))

        try:
            done = await run_program(argv, timeout_s=None, on_line=on_line, hidden=hidden)
        except OSError as error:
            raise ImageBuildError(f"{argv[0]} could not be started to build {image.uri}: {error}") from error
        if done.code != 0:
            raise ImageBuildError(
                f"the image {image.uri} could not be {step} by {Path(argv[0]).name} (exit code {done.code}); the end "
                f"of its log:\n{done.text}"
            )
        return done


class PodmanBuilder(ProgramBuilder):
    """Builds with podman, or buildah where that is not there; neither needs a daemon."""

    name = "local-podman"

    def get_checkers(self) -> list[Any]:
        """The registry, and podman's own store for an image without one."""
        return [RegistryChecker, PodmanStoreChecker]

    def program(self) -> str | None:
        """Path of podman, else of buildah, else None."""
        return shutil.which("podman") or shutil.which("buildah")

    async def check(self, image: Image) -> None:
        """See that there is a program, and an emulator for each platform that this machine is not."""
        if self.program() is None:
            raise ImageBuildError(
                f"the image {image.uri} cannot be built: neither podman nor buildah is on PATH; install one of them "
                "(on Debian: apt-get install podman), or choose another builder with flyte.init(image_builder=...)"
            )
        for one in target_platforms(image):
            if one != own_platform() and not (_BINFMT / _EMULATORS[one]).exists():
                raise ImageBuildError(
                    f"the image {image.uri} cannot be built for {one} on this machine, which is {own_platform()} and "
                    f"has no emulator for it; install one (on Debian: apt-get install qemu-user-static), or ask for "
                    f"platform=({own_platform()!r},) only"
                )

    async def run_build(self, image: Image, recipe: Recipe, folder: BuildFolder) -> None:
        """Build into the store, then push what belongs to a registry."""
        program = self.program()
        assert program is not None
        reference, platforms = reference_of(image), target_platforms(image)
        argv = self.build_argv(program, image, folder)
        if len(platforms) > 1:
            # A list that is left from an earlier build would grow.
            await run_program([program, "manifest", "rm", reference.full], timeout_s=_ASK_TIMEOUT_S)
        await self._run(image, "built", argv, folder.hidden)
        if image.registry is not None:
            await self._run(image, "pushed", self.push_argv(program, reference, len(platforms) > 1), folder.hidden)

    def build_argv(self, program: str, image: Image, folder: BuildFolder) -> list[str]:
        """The arguments of the build."""
        reference, platforms = reference_of(image), target_platforms(image)
        # Layers are kept, so that the next build begins where the recipe changes; the host's network reaches the
        # registries and indexes that this machine reaches.
        argv = [program, "build", "--layers", "--network", "host", "--file", str(folder.dockerfile)]
        argv += ["--platform", ",".join(platforms)]
        argv += ["--manifest" if len(platforms) > 1 else "--tag", reference.full]
        if image.base_image and split_uri(image.base_image).is_loopback:
            argv.append("--tls-verify=false")
        for name, path in folder.secrets.items():
            argv += ["--secret", f"id={name},src={path}"]
        return [*argv, str(folder.context)]

    def push_argv(self, program: str, reference: Reference, several: bool) -> list[str]:
        """The arguments of the push."""
        command = ["manifest", "push", "--all"] if several else ["push"]
        argv = [program, *command, *(["--tls-verify=false"] if reference.is_loopback else [])]
        return [*argv, reference.full, f"docker://{reference.full}"]

    async def describe_store(self) -> str | None:
        """The list of images of the store that this builder fills; None if the program does not say."""
        program = self.program()
        if program is None:
            return None
        wanted = "{{.Store.GraphRoot}}\n{{.Store.GraphDriverName}}"
        if Path(program).name == "buildah":
            wanted = "{{.store.GraphRoot}}\n{{.store.GraphDriverName}}"
        done = await run_program([program, "info", "--format", wanted], timeout_s=_ASK_TIMEOUT_S)
        if done.code != 0 or len(done.tail) < 2:
            return None
        path = Path(done.tail[-2]) / f"{done.tail[-1]}-images" / "images.json"
        return str(path) if stored_ids(path) is not None else None


class DockerBuilder(ProgramBuilder):
    """Builds with Docker's buildx."""

    name = "local-docker"

    def get_checkers(self) -> list[Any]:
        """The registry, and the engine's own store for an image without one."""
        return [RegistryChecker, DockerStoreChecker]

    async def missing(self) -> str | None:
        """What is not there that this builder needs; None if it can build."""
        docker = shutil.which("docker")
        if docker is None:
            return "docker is not on PATH"
        for argv, what in (
            ([docker, "buildx", "version"], "docker has no buildx plugin"),
            ([docker, "version", "--format", "{{.Server.Version}}"], "docker's engine does not answer"),
        ):
            try:
                done = await run_program(argv, timeout_s=_ASK_TIMEOUT_S)
            except (TimeoutError, OSError):
                return what
            if done.code != 0:
                return what
        return None

    async def check(self, image: Image) -> None:
        """See that docker, its buildx plugin and its engine are there."""
        if (missing := await self.missing()) is not None:
            raise ImageBuildError(f"the image {image.uri} cannot be built: {missing}; {_DOCKER_REMEDY}")

    async def run_build(self, image: Image, recipe: Recipe, folder: BuildFolder) -> None:
        """Build, into the engine's store or straight to the registry."""
        docker = shutil.which("docker")
        assert docker is not None
        if image.registry is not None:
            known = await run_program([docker, "buildx", "inspect", _BUILDX], timeout_s=_ASK_TIMEOUT_S)
            if known.code != 0:
                # One of its own, as the engine's own builder makes images for one platform only; with the host's
                # network, so that a registry on this machine can be reached.
                argv = [docker, "buildx", "create", "--name", _BUILDX, "--driver", "docker-container"]
                await self._run(image, "built", [*argv, "--driver-opt", "network=host"], ())
        await self._run(image, "built", self.build_argv(docker, image, folder), folder.hidden)

    def build_argv(self, program: str, image: Image, folder: BuildFolder) -> list[str]:
        """The arguments of the build."""
        argv = [program, "buildx", "build", "--progress", "plain", "--file", str(folder.dockerfile)]
        argv += ["--tag", image.uri, "--platform", ",".join(target_platforms(image))]
        argv += ["--builder", _BUILDX, "--push"] if image.registry is not None else ["--load"]
        for name, path in folder.secrets.items():
            argv += ["--secret", f"id={name},src={path}"]
        return [*argv, str(folder.context)]


_DOCKER_REMEDY = (
    "install Docker with its buildx plugin and start it, or podman (on Debian: apt-get install podman), or name an "
    "image that is there already with Image.from_base(uri)"
)


class LocalBuilder:
    """Builds on this machine with whatever is there: Docker's buildx, else podman, else buildah."""

    name = "local"

    def __init__(self) -> None:
        self._docker, self._podman = DockerBuilder(), PodmanBuilder()

    async def build_image(self, image: Image, dry_run: bool, wait: bool = True, force: bool = False) -> ImageBuild:
        """Build the image with the first of them that can.

        :raises flyte.errors.ImageBuildError: none is there, or the one that is failed.
        """
        chosen: ProgramBuilder = self._docker
        if not dry_run and (missing := await self._docker.missing()) is not None:
            chosen = self._podman
            if self._podman.program() is None:
                raise ImageBuildError(
                    f"the image {image.uri} cannot be built on this machine: {missing}, and neither podman nor buildah "
                    f"is on PATH; {_DOCKER_REMEDY}"
                )
        return await chosen.build_image(image, dry_run, wait, force)

    def get_checkers(self) -> list[Any]:
        """The registry, and the stores of the programs that are there."""
        checkers: list[Any] = [RegistryChecker]
        if self._podman.program() is not None:
            checkers.append(PodmanStoreChecker)
        if shutil.which("docker") is not None:
            checkers.append(DockerStoreChecker)
        return checkers

    async def describe_store(self) -> str | None:
        """The list of images of podman's store; see :meth:`PodmanBuilder.describe_store`."""
        return await self._podman.describe_store()


class RemoteBuilder:
    """Stands for the builds of a hosted control plane, which this version of flyte cannot ask for.

    They are made by its ImageService and a task ``build-image`` that is deployed there (wire-protocol 9). A Flyte 2
    cluster of one's own has neither, nor has the devbox.
    """

    name = "remote"

    async def build_image(self, image: Image, dry_run: bool, wait: bool = True, force: bool = False) -> ImageBuild:
        """Write the Dockerfile of a dry run; nothing is submitted.

        :raises flyte.errors.ImageBuildError: always, but for a dry run.
        """
        if dry_run:
            return ImageBuild(image.uri, dockerfile=write_dockerfile(image).text)
        raise ImageBuildError(self.refusal(image.uri))

    @staticmethod
    def refusal(uri: str) -> str:
        """Why an image is not built."""
        return (
            f"the image {uri} cannot be built by the builder 'remote': that is a service of hosted control planes, "
            "which this version of flyte does not speak to; use the builder 'local', such as with "
            "flyte.init(image_builder='local') or --image-builder local, or give tasks an image that is there"
        )

    def get_checkers(self) -> list[Any]:
        """The registry."""
        return [RegistryChecker]


BUILDERS: dict[str, Callable[[], Any]] = {
    "local": LocalBuilder,
    "local-docker": DockerBuilder,
    "local-podman": PodmanBuilder,
    "remote": RemoteBuilder,
}
"""The builders that come with flyte, by the names that ``flyte.init(image_builder=...)`` takes."""
