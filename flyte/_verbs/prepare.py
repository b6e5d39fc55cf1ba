"""Preparing what runs elsewhere: the images of environments, and of one image on its own.

An environment's image is a recipe, a URI, ``"auto"``, or a name that the session knows. Here it becomes one that is
built or found, by the builder that the session names.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from flyte._core.image_cache import ImageCache
from flyte._definition.environment import Environment
from flyte._definition.image import Image
from flyte._definition.layers import Code
from flyte._package.files import CopyStyle, choose_files
from flyte._package.image_build import ImageBuild
from flyte._package.image_engine import ImageBuildEngine
from flyte.errors import ImageBuildError
from flyte.syncify import syncify

from .session import session

_AT_ONCE = 4  # builds share this machine and its network


@syncify
async def build(image: Image, dry_run: bool = False, force: bool = False, wait: bool = True) -> ImageBuild:
    """Build an image, if it is not there.

    :param dry_run: neither build nor push; builders on this machine show the Dockerfile.
    :param force: build it whether it is there or not.
    :param wait: builders on this machine always wait until the image is built.
    :returns: the image's URI, with what was done and why.
    :raises TypeError: ``image`` is none.
    :raises ValueError: the session names a builder that is not there.
    :raises flyte.errors.ImageBuildError: the build failed; the message has the end of its log.
    """
    if not isinstance(image, Image):
        raise TypeError(f"flyte.build takes a flyte.Image, but got {type(image).__name__} {image!r}")
    resolved = resolve_image(image, "loaded_modules")
    assert resolved is not None
    return await ImageBuildEngine.build(resolved, _builder(None), dry_run, force)


@syncify
async def build_images(
    *envs: Environment, copy_style: CopyStyle = "loaded_modules", seed_cache: ImageCache | None = None
) -> ImageCache:
    """Build the images of environments and of those they depend on, where they are not there.

    :param copy_style: of the deployment that the images are for: with ``"none"``, the code of
        ``Image.with_code_bundle`` comes into the image.
    :param seed_cache: images that are known; the environments in it are not looked at.
    :returns: the URI of the image of each environment.
    :raises TypeError: something that is no environment.
    :raises flyte.errors.ImageBuildError: a build failed; others are stopped.
    """
    known = dict(seed_cache.image_lookup) if seed_cache is not None else {}
    builds = await prepare_images(envs, copy_style=copy_style, known=known)
    ids = dict(seed_cache.build_run_ids) if seed_cache is not None else {}
    return ImageCache({**known, **{name: str(made.uri) for name, made in builds.items()}}, ids)


async def prepare_images(
    envs: Iterable[Environment],
    *,
    copy_style: CopyStyle = "loaded_modules",
    known: Iterable[str] = (),
    builder: str | None = None,
    dry_run: bool = False,
    force: bool = False,
) -> dict[str, ImageBuild]:
    """The images of environments and of those they depend on, by the environments' names.

    :param known: names of environments to leave out.
    :param builder: instead of the session's.
    """
    reached: dict[str, Environment] = {}
    for env in envs:
        if not isinstance(env, Environment):
            raise TypeError(f"flyte.build_images takes environments, but got {type(env).__name__} {env!r}")
        for one in env.closure():
            if reached.setdefault(one.name, one) is not one and one.image != reached[one.name].image:
                raise ValueError(f"two environments are called {one.name!r} and have different images; rename one")
    images = {name: resolve_image(env.image, copy_style) for name, env in reached.items() if name not in set(known)}
    # Environments often share an image.
    distinct = {image.uri: image for image in images.values() if image is not None}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def build_one(image: Image) -> ImageBuild:
        async with gate:
            return await ImageBuildEngine.build(image, _builder(builder), dry_run, force)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {uri: group.create_task(build_one(image)) for uri, image in distinct.items()}
    except BaseExceptionGroup as failed:
        # One failure is enough to know; the others were stopped because of it.
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    return {name: tasks[image.uri].result() for name, image in images.items() if image is not None}


def _builder(named: str | None) -> str | None:
    name = named or session().image_builder
    # Where nothing else was said, the engine's own default counts.
    return None if name == "local" and named is None else name


def resolve_image(image: Image | str | None, copy_style: CopyStyle) -> Image | None:
    """An environment's image as one that can be built; None if it has none.

    :param copy_style: of the run or deployment that it is for.
    :raises flyte.errors.ImageBuildError: a name that the session does not know.
    """
    if image is None:
        return None
    if image == "auto":
        return Image.default()
    if isinstance(image, str):
        return Image.from_base(image)
    if image._ref_name is not None:
        known = session().images or {}
        uri = known.get(image._ref_name)
        if uri is None:
            raise ImageBuildError(
                f"the image {image._ref_name!r} is known by name only, and flyte.init(images=...) names "
                f"{', '.join(sorted(known)) or 'none'}; say there which it is"
            )
        return Image.from_base(uri)
    if any(isinstance(layer, Code) for layer in image._layers):
        return _resolve_code(image, copy_style)
    return image


def _resolve_code(image: Image, copy_style: CopyStyle) -> Image:
    """With the project's code in the image if it does not travel beside it, without that layer if it does."""
    layers = []
    for layer in image._layers:
        if not isinstance(layer, Code):
            layers.append(layer)
        elif copy_style == "none":
            root = session().root_dir or Path.cwd()
            selection = choose_files(root, layer.copy_style)
            if selection.secrets:
                raise ImageBuildError(
                    f"{selection.secrets[0].path} below {selection.root} may hold secrets, which do not belong into an "
                    "image; name it in .flyteignore"
                )
            files = tuple(file.path for file in selection.files)
            layers.append(replace(layer, root=Path(selection.root), files=files))
    return replace(image, _layers=tuple(layers))
