"""What a run or a deployment would need and do, found out before anything is built, sent or run.

Nothing here changes anything but local caches: images are looked for and not built, code is packed and not uploaded.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from flyte._control.prediction import Prediction, predict
from flyte._control.secrets import is_set
from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.home import home_dir
from flyte._core.image_cache import ImageCache
from flyte._core.interface import describe
from flyte._definition.environment import Environment
from flyte._definition.image import Image
from flyte._definition.secret import Secret, secrets_from_request
from flyte._definition.task import TaskTemplate
from flyte._definition.task_environment import TaskEnvironment
from flyte._package.builders import RemoteBuilder
from flyte._package.bundle import examine
from flyte._package.files import CopyStyle
from flyte._package.image_build import ImageBuild, ImageBuilder
from flyte._package.image_engine import find_builder
from flyte._package.includes import includes_of
from flyte.errors import BaseRuntimeError, CodeBundleError

from .prepare import prepare_images
from .session import session

AnyTask = TaskTemplate[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image, and whether it has to be built first.

    :param why: it has to be built, or why not.
    :param environments: names of the environments whose tasks run in it; of the task, for one that has none.
    """

    uri: str
    needs_build: bool
    why: str
    environments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlannedFiles:
    """The code that travels.

    :param version: digest of the archive.
    """

    root: str
    copy_style: str
    count: int
    size_bytes: int
    version: str


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task in the words of its TaskSpec.

    :param cache_version: empty if it is not cached.
    :param timeout_s: of one attempt; None for no limit.
    :param spec_bytes: size of the TaskSpec.
    """

    name: str
    task_type: str
    version: str
    image: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    resources: Mapping[str, str]
    cache_version: str
    retries: int
    timeout_s: float | None
    spec_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedTrigger:
    """A trigger that a deployment would set."""

    task: str
    name: str
    automation: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class PlannedSecret:
    """A secret that tasks ask for, and whether this machine has it; never its value."""

    key: str
    group: str | None
    variable: str
    is_set_here: bool
    tasks: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """What would be done.

    :param problems: what would make it fail, in words; empty if nothing would.
    :param prediction: of the cache, for the task that a run starts with.
    """

    images: list[PlannedImage] = field(default_factory=list)
    files: PlannedFiles | None = None
    tasks: list[PlannedTask] = field(default_factory=list)
    triggers: list[PlannedTrigger] = field(default_factory=list)
    secrets: list[PlannedSecret] = field(default_factory=list)
    prediction: Prediction | None = None
    problems: list[str] = field(default_factory=list)

    def object_to(self, problem: object) -> None:
        """Add a problem, once, however many things have it."""
        if str(problem) not in self.problems:
            self.problems.append(str(problem))

    def document(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return asdict(self)


async def plan_run(
    task: AnyTask, arguments: Mapping[str, Any], *, root: str, copy_style: CopyStyle = "loaded_modules"
) -> Plan:
    """What a run of ``task`` would need: its environment's images and code, and what the cache has."""
    environment = task.parent_env() if task.parent_env is not None else None
    envs = [environment] if environment is not None else []
    plan = await _prepare(envs, root, copy_style, None)
    if environment is None:
        # prepare_images asks environments; this one has the task's image and nothing else.
        alone = Environment(name="alone", image=task.image)
        await _add_images(plan, [alone], copy_style)
        plan.images = [replace(image, environments=(task.name,)) for image in plan.images]
        _add_task(plan, task, _context(plan, root, None))
        _add_secrets(plan, [task])
    try:
        plan.prediction = predict(task, arguments)
    except (TypeError, ValueError, BaseRuntimeError) as error:
        plan.object_to(error)
    return plan


async def plan_deployment(
    envs: Sequence[Environment], *, root: str, copy_style: CopyStyle = "loaded_modules", version: str | None = None
) -> Plan:
    """What a deployment of ``envs``, and those they depend on, would do.

    :param root: the folder that the code travels from.
    :param version: of the tasks; that of their code if not given.
    """
    plan = await _prepare(envs, root, copy_style, version)
    for task in _tasks_of(envs):
        for trigger in task.triggers:
            from flyte._wire.trigger import task_trigger

            try:
                await task_trigger(task, trigger)
            except (TypeError, ValueError, BaseRuntimeError) as error:
                plan.object_to(error)
            plan.triggers.append(
                PlannedTrigger(task.name, trigger.name, str(trigger.automation or "by hand"), trigger.auto_activate)
            )
    return plan


async def _prepare(envs: Sequence[Environment], root: str, copy_style: CopyStyle, version: str | None) -> Plan:
    plan = Plan()
    archive = await asyncio.to_thread(_add_files, plan, envs, root, copy_style)
    uris = await _add_images(plan, envs, copy_style)
    context = _context(plan, root, archive, version, ImageCache(uris))
    tasks = _tasks_of(envs)
    for task in tasks:
        _add_task(plan, task, context)
    _add_secrets(plan, tasks)
    return plan


def _tasks_of(envs: Iterable[Environment]) -> list[AnyTask]:
    reached = {id(one): one for env in envs for one in env.closure()}
    return [task for one in reached.values() if isinstance(one, TaskEnvironment) for task in one.tasks.values()]


# Code ---------------------------------------------------------------------------------------------------------------


def _add_files(plan: Plan, envs: Sequence[Environment], root: str, copy_style: CopyStyle) -> str | None:
    try:
        includes = includes_of(envs, root)
        if copy_style == "none" and not includes:
            plan.files = PlannedFiles(root, copy_style, 0, 0, "")
            return None
        selection, project = examine(root, style=copy_style, include=includes)
        archive, version = project.archive(selection, str(home_dir() / "local" / "bundles" / "made"))
    except CodeBundleError as error:
        plan.object_to(error)
        return None
    plan.files = PlannedFiles(selection.root, copy_style, len(selection.files), selection.size_bytes, version)
    return archive


# Images -------------------------------------------------------------------------------------------------------------


class _Deciding:
    """Stands for a builder: asked the same, it says that it would build, and does not."""

    def __init__(self, name: str, builder: ImageBuilder) -> None:
        self.name = name
        self._builder = builder

    def refusal(self, uri: str) -> str | None:
        """Why the builder cannot build anything; None if it can."""
        return self._builder.refusal(uri) if isinstance(self._builder, RemoteBuilder) else None

    def get_checkers(self) -> list[Any] | None:
        return self._builder.get_checkers() if hasattr(self._builder, "get_checkers") else None

    async def build_image(self, image: Image, dry_run: bool, wait: bool = True, force: bool = False) -> ImageBuild:
        return ImageBuild(image.uri)


async def _add_images(plan: Plan, envs: Sequence[Environment], copy_style: CopyStyle) -> dict[str, str]:
    """The images, by environment."""
    uris: dict[str, str] = {}
    found: dict[str, tuple[ImageBuild, list[str]]] = {}
    try:
        builder = _Deciding(*find_builder(session().image_builder))
        builds = await prepare_images(envs, copy_style=copy_style, builder=cast(Any, builder))
    except (ValueError, BaseRuntimeError, NotImplementedError) as error:
        plan.object_to(error)
        return uris
    for name, made in builds.items():
        uris[name] = str(made)
        found.setdefault(str(made), (made, []))[1].append(name)
        if made.built and (refusal := builder.refusal(str(made))) is not None:
            plan.object_to(refusal)
    plan.images = [
        PlannedImage(uri, made.built, made.why, tuple(names)) for uri, (made, names) in sorted(found.items())
    ]
    return uris


# Definitions --------------------------------------------------------------------------------------------------------


def _context(
    plan: Plan, root: str, archive: str | None, version: str | None = None, images: ImageCache | None = None
) -> SerializationContext:
    bundle = None
    if archive is not None and plan.files is not None:
        bundle = CodeBundle(computed_version=plan.files.version, tgz=archive)
    chosen = version or (bundle.computed_version if bundle is not None else "") or "unversioned"
    now = session()
    return SerializationContext(
        version=chosen, org=now.org, project=now.project, domain=now.domain, code_bundle=bundle,
        image_cache=images, root_dir=Path(root),
    )  # fmt: skip


def _add_task(plan: Plan, task: AnyTask, context: SerializationContext) -> None:
    from flyte._wire.task import task_spec  # loads protobuf, which a plan that fails before needs not

    try:
        spec = task_spec(task, context, deploy=True)
    except (TypeError, ValueError, BaseRuntimeError) as error:
        plan.object_to(error)
        return
    template = spec.task_template
    images = context.image_cache.image_lookup if context.image_cache is not None else {}
    metadata = template.metadata
    named = {request.name: request.value for request in template.container.resources.requests}
    timeout = metadata.timeout
    plan.tasks.append(
        PlannedTask(
            name=task.name,
            task_type=template.type,
            version=template.id.version,
            image=template.container.image or (images.get(task.parent_env_name or "", "")),
            inputs={name: describe(annotation) for name, (annotation, _) in task.interface.inputs.items()},
            outputs={name: describe(annotation) for name, annotation in task.interface.outputs.items()},
            resources={_RESOURCES.get(int(name), str(name)): value for name, value in named.items()},
            cache_version=metadata.discovery_version if metadata.discoverable else "",
            retries=metadata.retries.retries,
            timeout_s=timeout.seconds + timeout.nanos / 1e9 if metadata.HasField("timeout") else None,
            spec_bytes=spec.ByteSize(),
        )
    )


_RESOURCES = {1: "cpu", 2: "gpu", 3: "memory", 4: "storage", 5: "ephemeral_storage"}
"""Names of ``flyteidl2.core.Resources.ResourceName``."""


def _add_secrets(plan: Plan, tasks: Iterable[AnyTask]) -> None:
    asked: dict[Secret, list[str]] = {}
    for task in tasks:
        for secret in secrets_from_request(task.secrets):
            asked.setdefault(secret, []).append(task.name)
    plan.secrets = [
        PlannedSecret(secret.key, secret.group, secret.env_var_name, is_set(secret), tuple(names))
        for secret, names in asked.items()
    ]
