"""The image build engine: whether an image has to be built, why, and by which builder; each at most once at a time.

Called by the verbs that prepare a run or a deployment. It starts no program and opens no connection itself: builders
and checkers do, behind the two seams of `image_build`.
"""

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from flyte._core.ambient import Ambient
from flyte._core.face import nearest
from flyte._core.log import logger
from flyte._core.registry import Registry
from flyte._definition.image import Image
from flyte.errors import ImageBuildError

from .build_records import BuildRecord, BuildRecords, explain_difference, stored_ids
from .builders import BUILDERS
from .image_build import BuildEvent, ImageBuild, ImageBuilder, tell
from .image_checkers import RegistryChecker, Undecided
from .image_reference import LOCAL, reference_of, split_uri

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

ENTRY_POINTS = "flyte.plugins.image_builders"
"""Entry point group of packages that bring a builder: its name, and a builder or what makes one when called."""

configured_builder: Ambient[str] = Ambient("flyte_image_builder")
"""The name of the builder that is used where none is named; what ``flyte.init(image_builder=...)`` says."""

_NOT_KNOWN = "it is not known whether it is there, so it is taken to be there"
_CHECK_TIMEOUT_S = 60.0  # for a checker that has no deadline of its own


class ImageBuildEngine:
    """Builds the images that tasks run in, with one of several builders."""

    ImageBuilderType: ClassVar = Literal["local", "remote"]

    @classmethod
    async def build(
        cls, image: Image, builder: str | ImageBuilder | None = None, dry_run: bool = False, force: bool = False
    ) -> ImageBuild:
        """Build ``image`` if it is not there, and give its URI.

        An image that is there already under its base's name is never built nor looked for; one tagged ``latest`` is
        always built. Calls for the same image while it is being built wait for that one build.

        :param builder: a name such as ``"local"``, ``"local-podman"``, ``"local-docker"`` or ``"remote"``, or a builder
            itself; default the configured one.
        :param dry_run: neither build nor push; builders on this machine show the Dockerfile.
        :param force: build it whether it is there or not.
        :returns: the URI, a text that also has ``uri``, ``built`` and ``why``.
        :raises ValueError: there is no builder of that name.
        :raises flyte.errors.ImageBuildError: the build failed; the message has the end of its log.
        """
        name, chosen = find_builder(builder)
        uri = image.uri
        if is_there_by_itself(image):
            return _keep(uri, "it is its base, which is there already", 0.0)
        if dry_run:
            return await _call_builder(name, chosen, image, "a dry run", dry_run=True, force=force)
        if force:
            return await _build(name, chosen, image, "forced", force=True)
        if split_uri(uri).tag == "latest":
            return await _build(name, chosen, image, "an image tagged latest is always built")
        # A tag that somebody chose says nothing of the recipe.
        recipe = "" if image._tag is None else image._digest()
        return await _once(chosen, uri, recipe, lambda: _build_if_needed(name, chosen, image))

    @classmethod
    def register(cls, name: str, builder: Any) -> None:
        """Add a builder.

        :param name: what ``builder`` of :meth:`build` and ``image_builder`` of ``flyte.init`` call it.
        :param builder: an :class:`flyte.extend.ImageBuilder`, or a class or function that gives one.
        :raises ValueError: there is another one of that name.
        """
        if name in BUILDERS:
            raise ValueError(f"there is already an image builder {name!r}, which comes with flyte; take another name")
        _registered.register(name, builder)


def is_there_by_itself(image: Image) -> bool:
    """Whether the image is an unchanged base, which somebody else provides."""
    return image.dockerfile is None and not image._layers and image.uri == image.base_image


# Builders by name -----------------------------------------------------------------------------------------------------

_registered: Registry[str, Any] = Registry("image builder")
_made: dict[str, tuple[Any, ImageBuilder]] = {}


def builder_names() -> list[str]:
    """The names of all builders: those that come with flyte, registered ones, and those of installed packages."""
    return list(dict.fromkeys([*BUILDERS, *_registered, *(one.name for one in _entry_points())]))


def _entry_points() -> "EntryPoints":
    from importlib.metadata import entry_points  # reads mail headers, and so loads all that mail needs

    return entry_points(group=ENTRY_POINTS)


def find_builder(builder: str | ImageBuilder | None) -> tuple[str, ImageBuilder]:
    """The builder of a name, and its name; default the configured one.

    :raises ValueError: there is none of that name; the message lists all.
    :raises TypeError: it is no builder.
    """
    if builder is None:
        builder = configured_builder.get() or os.environ.get("FLYTE_IMAGE_BUILDER") or "local"
    if not isinstance(builder, str):
        return getattr(builder, "name", type(builder).__name__), _checked(type(builder).__name__, builder)
    found: Any = BUILDERS.get(builder) or _registered.find(builder)
    if found is None:
        plugin = next((one for one in _entry_points() if one.name == builder), None)
        if plugin is None:
            names = builder_names()
            raise ValueError(
                f"there is no image builder {builder!r}{nearest(builder, names)}; there are {', '.join(names)}"
            )
        found = plugin.load()
    known = _made.get(builder)
    if known is None or known[0] is not found:
        is_factory = isinstance(found, type) or not hasattr(found, "build_image")
        known = _made[builder] = (found, _checked(builder, found() if is_factory and callable(found) else found))
    return builder, known[1]


def _checked(name: str, builder: Any) -> Any:
    if not callable(getattr(builder, "build_image", None)):
        raise TypeError(
            f"the image builder {name!r} is {builder!r}, which has no method build_image(image, dry_run, ...); see "
            "flyte.extend.ImageBuilder"
        )
    return builder


# Deciding -------------------------------------------------------------------------------------------------------------


async def _build_if_needed(name: str, builder: ImageBuilder, image: Image) -> ImageBuild:
    began = time.perf_counter()
    uri = image.uri
    # Of builders that others bring it is not known where they put images, so nothing of them is remembered on disk.
    remembers = type(builder).__module__ == "flyte._package.builders"
    records = BuildRecords() if remembers else None
    record = records.find(uri, name) if records is not None else None
    if record is not None:
        ids = stored_ids(record.store)
        if (changed := record.changed_base(ids)) is not None:
            return await _build(name, builder, image, changed)
        if record.is_certain(ids) and (image._tag is None or not explain_difference(record.recipe, image.describe())):
            return _keep(uri, "unchanged since it was built or found from here", time.perf_counter() - began)
    checkers = builder.get_checkers() if hasattr(builder, "get_checkers") else None
    found, answered = await _ask(checkers if checkers is not None else [RegistryChecker], image)
    if found is not None:
        if remembers:
            await _remember(name, builder, image)
        return _keep(uri, "it is there already", time.perf_counter() - began)
    if not answered:
        return _keep(uri, _NOT_KNOWN, time.perf_counter() - began)
    return await _build(name, builder, image, _why(records, image))


def _keep(uri: str, why: str, duration_s: float) -> ImageBuild:
    tell(BuildEvent(uri, "kept", why, duration_s))
    return ImageBuild(uri, why=why, duration_s=duration_s)


def _why(records: BuildRecords | None, image: Image) -> str:
    last = records.last(image.uri) if records is not None else None
    difference = explain_difference(last.recipe, image.describe()) if last is not None else ""
    repository, _, tag = image.uri.rpartition(":")
    said = f"there is no such tag: {repository}:{tag[:12]}" if image._tag is None else f"there is no {image.uri}"
    return f"{said}; since the last build, {difference}" if difference else said


async def _ask(checkers: list[Any], image: Image) -> tuple[str | None, bool]:
    """The URI that the first checker that knows gives, or None; and whether one knew, or none was needed to."""
    repository, _, tag = image.uri.rpartition(":")
    if image.registry is None and "/" in repository:
        repository = f"{LOCAL}/{repository}"
    failures: dict[str, Exception] = {}
    for checker in checkers:
        kind = checker if isinstance(checker, type) else type(checker)
        label = kind.__name__
        # A class whose method wants an object gets one.
        if isinstance(checker, type) and inspect.isfunction(inspect.getattr_static(checker, "image_exists", None)):
            checker = checker()
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                return await checker.image_exists(repository, tag, tuple(image.platform)), True
        except Exception as error:  # whatever stops one checker, the next may know
            logger.debug("%s cannot tell whether %s is there: %s", label, image.uri, error)
            failures[label] = error
    if failures and image.registry is None and all(isinstance(error, Undecided) for error in failures.values()):
        # It can be in a store of this machine only, and there is none that could be asked.
        return None, True
    logger.warning(
        "it is not known whether the image %s is there, so it is taken to be there; to build it all the same, use "
        "force=True or flyte build --force (%s)",
        image.uri,
        "; ".join(f"{label}: {str(error) or type(error).__name__}" for label, error in failures.items())
        or "its builder has no checkers",
    )
    return None, False


# Building -------------------------------------------------------------------------------------------------------------


async def _build(name: str, builder: ImageBuilder, image: Image, why: str, force: bool = False) -> ImageBuild:
    began = time.perf_counter()
    tell(BuildEvent(image.uri, "began", why))
    result = await _call_builder(name, builder, image, why, dry_run=False, force=force)
    result.built, result.duration_s = True, time.perf_counter() - began
    if type(builder).__module__ == "flyte._package.builders":
        await _remember(name, builder, image)
    tell(BuildEvent(image.uri, "ended", why, result.duration_s))
    return result


async def _call_builder(
    name: str, builder: ImageBuilder, image: Image, why: str, *, dry_run: bool, force: bool
) -> ImageBuild:
    options = {"wait": True, "force": force}
    accepted = inspect.signature(builder.build_image).parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values()):
        options = {key: value for key, value in options.items() if key in accepted}
    try:
        given = await builder.build_image(image, dry_run=dry_run, **options)
    except (ImageBuildError, NotImplementedError):
        raise
    except Exception as error:
        raise ImageBuildError(
            f"the image {image.uri} could not be built by {name!r}: {type(error).__name__}: {error}{_output_of(error)}"
        ) from error
    if isinstance(given, ImageBuild):
        given.why = given.why or why
        return given
    said = given if isinstance(given, str) else getattr(given, "uri", None)
    uri = said if isinstance(said, str) and said else image.uri
    return ImageBuild(uri, getattr(given, "remote_run", None), getattr(given, "build_run", None), why=why)


def _output_of(error: Exception) -> str:
    """The end of what a program wrote before it failed, as errors of ``subprocess`` hold it."""
    texts = [getattr(error, name, None) for name in ("stdout", "stderr")]
    written = "\n".join(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in texts if one)
    return "\nthe end of its log:\n" + "\n".join(written.splitlines()[-40:]) if written else ""


async def _remember(name: str, builder: Any, image: Image) -> None:
    describe = getattr(builder, "describe_store", None)
    store = None
    try:
        store = await describe() if describe is not None else None
    except (OSError, TimeoutError) as error:
        logger.debug("the store of %s cannot be asked: %s", name, error)
    ids = stored_ids(store) or {}
    recipe = image.describe()
    record = BuildRecord(
        uri=image.uri,
        builder=name,
        seen_s=time.time(),
        recipe=recipe,
        in_registry=image.registry is not None,
        store=store,
        image_id=ids.get(reference_of(image).full),
        base_id=ids.get(split_uri(recipe["base"]).full) if recipe["base"] else None,
    )
    if record.in_registry or record.image_id is not None:
        BuildRecords().keep(record)
    else:
        # Docker's own store is asked anew each time; the recipe alone is kept, to say what has changed.
        BuildRecords().keep(replace(record, store=None))


# Once at a time -------------------------------------------------------------------------------------------------------

_Key: TypeAlias = tuple[int, str, str]
_Work: TypeAlias = Callable[[], Awaitable[ImageBuild]]
_lock = threading.Lock()
# By builder, URI and recipe: the builds and checks that are under way, and what came of those that are over. The
# builder is kept, so that its identity is not given to another.
_under_way: dict[_Key, Future[ImageBuild | None]] = {}
_known: dict[_Key, tuple[ImageBuilder, ImageBuild]] = {}


async def _once(builder: ImageBuilder, uri: str, recipe: str, work: Callable[[], Awaitable[ImageBuild]]) -> ImageBuild:
    """What ``work`` gives, done once for all that ask for it at the same time, in whatever thread, or later."""
    key = (id(builder), uri, recipe)
    while True:
        mine: Future[ImageBuild | None] = Future()
        mine.set_running_or_notify_cancel()  # so that one who no longer waits does not cancel it for all
        with _lock:
            known = _known.get(key)
            if known is not None:
                break
            waiting = _under_way.setdefault(key, mine)
        if waiting is mine:
            return await _lead(key, builder, mine, work)
        result = await asyncio.wrap_future(waiting)
        if result is not None:
            return result
        # Whoever led was cancelled: one of those who wait leads now.
    tell(BuildEvent(uri, "kept", "it was asked for before in this process"))
    return ImageBuild(uri, why="it was asked for before in this process")


async def _lead(key: _Key, builder: ImageBuilder, mine: "Future[ImageBuild | None]", work: _Work) -> ImageBuild:
    outcome: ImageBuild | None = None
    failure: BaseException | None = None
    try:
        made = outcome = await work()
        return made
    except Exception as error:
        failure = error
        raise
    finally:
        with _lock:
            del _under_way[key]
            if outcome is not None and outcome.why != _NOT_KNOWN:
                _known[key] = (builder, outcome)
        if failure is not None:
            mine.set_exception(failure)
            mine.exception()  # seen here, even if nobody waits
        else:
            mine.set_result(outcome)
