"""What builders of images and those who call them share: the two seams, a build's result, and its events.

`image_engine` decides and calls; `builders` build; `image_checkers` look whether an image is there already.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from flyte._definition.image import Image
from flyte._definition.image_arguments import Architecture


class ImageChecker(Protocol):
    """Says whether an image is there already; a class with this as a static or class method, or an object."""

    async def image_exists(
        self, repository: str, tag: str, arch: tuple[Architecture, ...] = ("linux/amd64",)
    ) -> str | None:
        """The image's URI if it is there for all of ``arch``, None if it is not.

        :param repository: registry and name.
        :raises Exception: it cannot be known; the next checker is asked.
        """
        ...


class ImageBuilder(Protocol):
    """Makes an image of a recipe, and puts it where tasks find it."""

    async def build_image(self, image: Image, dry_run: bool, wait: bool = True, force: bool = False) -> Any:
        """Build ``image``.

        :param dry_run: show what would be done, and neither build nor push.
        :param wait: until the build has ended.
        :param force: it was asked for although the image may be there.
        :returns: an :class:`ImageBuild`, or the URI; if neither, the image's own counts.
        :raises flyte.errors.ImageBuildError: it failed.
        """
        ...

    def get_checkers(self) -> list[Any] | None:
        """What is asked first whether the image is there, in this order; None for the usual ones."""
        ...


class ImageBuild(str):
    """The URI of an image, and what was done to have it.

    :param uri: registry, name and tag; None while a build is under way somewhere else.
    :param remote_run: the run that builds it, where one does.
    :param build_run: the identifier of that run.
    :param built: whether it was built now.
    :param why: why it was built, or why not.
    :param dockerfile: of a dry run: the Dockerfile that would be built.
    :param duration_s: of the build, or of the decision that none is needed.
    """

    __slots__ = ("build_run", "built", "dockerfile", "duration_s", "remote_run", "uri", "why")

    uri: str | None
    remote_run: Any
    build_run: Any
    built: bool
    why: str
    dockerfile: str | None
    duration_s: float

    def __new__(
        cls,
        uri: str | None = None,
        remote_run: Any = None,
        build_run: Any = None,
        *,
        built: bool = False,
        why: str = "",
        dockerfile: str | None = None,
        duration_s: float = 0.0,
    ) -> Self:
        self = super().__new__(cls, uri or "")
        self.uri, self.remote_run, self.build_run = uri, remote_run, build_run
        self.built, self.why, self.dockerfile, self.duration_s = built, why, dockerfile, duration_s
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        more = {"built": self.built, "why": self.why, "dockerfile": self.dockerfile, "duration_s": self.duration_s}
        return (self.uri, self.remote_run, self.build_run), more


@dataclass(frozen=True, slots=True)
class BuildEvent:
    """Something that happened to a build.

    :param kind: ``"began"`` and ``"ended"``; ``"log"`` for a line of the builder's log; ``"kept"`` for an image that
        needs no build; ``"shown"`` for the Dockerfile of a dry run.
    :param text: the line, or why.
    """

    uri: str
    kind: Literal["began", "log", "ended", "kept", "shown"]
    text: str = ""
    duration_s: float = 0.0


_watcher: ContextVar[Callable[[BuildEvent], None] | None] = ContextVar("flyte_build_watcher", default=None)


@contextmanager
def watch_builds(watcher: Callable[[BuildEvent], None]) -> Iterator[None]:
    """Tell ``watcher`` of every event of builds that are asked for within the ``with`` block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(event: BuildEvent) -> bool:
    """Tell whoever watches; False if nobody does."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(event)
    return watcher is not None
