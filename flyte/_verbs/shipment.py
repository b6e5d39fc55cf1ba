"""What a run or a deployment sends ahead: the images of environments, and their code as a bundle that is stored where
the control plane reads it.
"""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.home import home_dir
from flyte._core.image_cache import ImageCache
from flyte._definition.environment import Environment
from flyte._definition.image import Image
from flyte._definition.task import TaskTemplate
from flyte._definition.task_environment import TaskEnvironment
from flyte._package.bundle import build_bundle, build_pickled_bundle
from flyte._package.files import CopyStyle, system_paths
from flyte._package.includes import includes_of, root_for
from flyte.errors import DeploymentError

from .prepare import prepare_images, resolve_image
from .session import session

if TYPE_CHECKING:
    from flyte.remote._plane import Plane

AnyTask = TaskTemplate[Any, Any, Any]
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Shipment:
    """What was sent ahead.

    :param context: under what names and with what code tasks are written down.
    :param system_paths: the value of ``_F_SYS_PATH``; empty if there are no folders beside the root.
    """

    context: SerializationContext
    system_paths: str = ""


def source_of(task: AnyTask) -> str | None:
    """The file that a task was written in; None if it has none, as in a notebook."""
    func = getattr(task, "func", None)
    if func is None:
        return None
    code = getattr(inspect.unwrap(func), "__code__", None)
    path = code.co_filename if code is not None else None
    return path if path is not None and os.path.isfile(path) else None


def tasks_of(envs: Iterable[Environment]) -> list[AnyTask]:
    """The tasks of environments and of those they depend on, each once."""
    reached = {id(one): one for env in envs for one in env.closure()}
    return [task for one in reached.values() if isinstance(one, TaskEnvironment) for task in one.tasks.values()]


async def ship(
    plane: "Plane",
    envs: Sequence[Environment],
    tasks: Sequence[AnyTask],
    *,
    version: str | None = None,
    copy_style: CopyStyle = "loaded_modules",
    pickled: AnyTask | None = None,
    copy_to: Path | None = None,
    project: str | None = None,
    domain: str | None = None,
    send: bool = True,
    told: Told | None = None,
) -> Shipment:
    """Build the images of ``envs``, and send the code of ``tasks``, where this was not done before.

    :param version: of the tasks; that of their code if not given.
    :param pickled: the one task that travels as a pickle, as from a notebook.
    :param copy_to: a folder that gets a copy of the bundle.
    :param send: whether the code is really sent; without, the context names the file on this machine.
    :param told: is told of the bytes that were sent, and of all there are.
    :raises flyte.errors.CodeBundleError: the code cannot travel.
    :raises flyte.errors.ImageBuildError: a build failed.
    """
    given = session().root_dir
    sources = (source_of(task) for task in tasks)
    root = root_for(next((one for one in sources if one is not None), None), str(given) if given is not None else None)
    images = await _images_of(plane, envs, copy_style)
    bundle = await asyncio.to_thread(_bundle, envs, root, copy_style, pickled)
    if bundle is not None:
        path = Path(bundle.tgz or bundle.pkl or "")
        if copy_to is not None:
            await asyncio.to_thread(_copy, path, copy_to)
        if send:
            from flyte.remote._upload import upload_file

            uri = await upload_file(plane, path, project=project, domain=domain, remembered=True, told=told)
            bundle = replace(bundle, tgz=uri) if bundle.tgz is not None else replace(bundle, pkl=uri)
    chosen = version or (bundle.computed_version if bundle is not None else None)
    if not chosen:
        raise DeploymentError(
            f"copy_style={copy_style!r} sends no code that a version could be made of; give version=... as well"
        )
    context = SerializationContext(
        version=chosen,
        org=plane.org,
        project=project or plane.project,
        domain=domain or plane.domain,
        code_bundle=bundle,
        image_cache=images,
        root_dir=Path(root),
    )
    paths = system_paths(root) if session().sync_local_sys_paths and pickled is None and bundle is not None else ""
    return Shipment(context, paths)


async def _images_of(plane: "Plane", envs: Sequence[Environment], copy_style: CopyStyle) -> ImageCache:
    if not plane.is_devbox:
        builds = await prepare_images(envs, copy_style=copy_style)
        return ImageCache({name: str(made.uri) for name, made in builds.items()})
    # A devbox runs tasks as processes of this machine's Python: images are named there, and nobody needs them built.
    reached = {one.name: one for env in envs for one in env.closure()}
    named = {name: _image_of(one.image) for name, one in reached.items()}
    return ImageCache({name: image.uri for name, image in named.items()})


def _image_of(image: Image | str | None) -> Image:
    return resolve_image(image, "loaded_modules") or Image.default()


def _bundle(
    envs: Sequence[Environment], root: str, copy_style: CopyStyle, pickled: AnyTask | None
) -> CodeBundle | None:
    folder = home_dir() / "local" / "bundles" / "made"
    if pickled is not None:
        return build_pickled_bundle(pickled, folder, root=root)
    includes = includes_of(envs, root)
    if copy_style == "none" and not includes:
        return None
    return build_bundle(root, folder, style=copy_style, include=includes)


def _copy(path: Path, folder: Path) -> None:
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, folder / path.name)


def version_of(shipment: Shipment, envs: Sequence[Environment]) -> str:
    """The version of a deployment: it follows from the code, the images and the definitions of the environments."""
    import hashlib

    from flyte._wire.task import task_spec

    digest = hashlib.md5(usedforsecurity=False)
    for task in sorted(tasks_of(envs), key=lambda one: one.name):
        context = replace(shipment.context, version="v")
        spec = task_spec(cast(Any, task), context, deploy=True)
        digest.update(spec.SerializeToString(deterministic=True))
    if shipment.context.code_bundle is not None:
        digest.update(shipment.context.code_bundle.computed_version.encode())
    return digest.hexdigest()
