"""``flyte.deploy``: what a deployment would do, and doing it (wire-protocol section 4.6)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from flyte._definition.environment import Environment
from flyte._package.files import CopyStyle
from flyte._package.includes import root_for, style_of
from flyte.errors import DeploymentError
from flyte.syncify import syncify

from .plan import plan_deployment
from .session import session
from .shipment import Shipment, Told, ship, source_of, tasks_of, version_of

if TYPE_CHECKING:
    from flyte.remote._plane import Plane

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class DeployedTask:
    """A task that was deployed.

    :param name: with that of its environment.
    :param is_new: whether this deployment made it; False if the version was there already.
    :param triggers: names of the triggers that it has.
    """

    name: str
    version: str
    url: str
    is_new: bool
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a deployment did for one environment and those it depends on.

    :param environments: names of the environments.
    :param code_bundle: where the code was put; None if it is in the image.
    :param images: URI of the image of each environment.
    """

    version: str
    project: str
    domain: str
    environments: tuple[str, ...]
    tasks: tuple[DeployedTask, ...]
    code_bundle: str | None = None
    images: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return {
            "version": self.version,
            "project": self.project,
            "domain": self.domain,
            "environments": list(self.environments),
            "tasks": [
                {
                    "name": one.name,
                    "version": one.version,
                    "url": one.url,
                    "new": one.is_new,
                    "triggers": list(one.triggers),
                }
                for one in self.tasks
            ],
            "code_bundle": self.code_bundle,
            "images": dict(self.images),
        }


@syncify
async def deploy(
    *envs: Environment,
    dry_run: bool = False,
    version: str | None = None,
    interactive_mode: bool | None = None,
    copy_style: CopyStyle = "loaded_modules",
    dryrun: bool | None = None,
) -> list[Any]:
    """Deploy environments, and those they depend on, so that their tasks can be run by name.

    :param envs: at least one.
    :param dry_run: only plan it: build, send and deploy nothing.
    :param version: of the tasks; if not given it follows from their code, images and definitions, so that deploying
        what did not change makes no new version.
    :param interactive_mode: not supported: a deployed task is loaded from its project's files.
    :param copy_style: which code travels; ``"none"`` needs a ``version``.
    :param dryrun: the old name of ``dry_run``.
    :returns: for each environment that was given a :class:`Deployment`; of a dry run a plan, whose ``problems`` say
        what would make it fail.
    :raises TypeError: something that is no environment.
    :raises ValueError: no environment, or an unknown copy style.
    :raises flyte.errors.InitializationError: there is no control plane to talk to.
    :raises flyte.errors.CodeBundleError: the code cannot travel.
    :raises flyte.errors.ImageBuildError: a build failed.
    :raises flyte.errors.DeploymentError: a task cannot be deployed.
    """
    if not envs:
        raise ValueError("flyte.deploy takes at least one environment")
    for env in envs:
        if not isinstance(env, Environment):
            raise TypeError(f"flyte.deploy takes environments, but got {type(env).__name__} {env!r}")
    style = style_of(copy_style)
    if not (dry_run or dryrun):
        if interactive_mode:
            raise DeploymentError(
                "interactive_mode=True deploys nothing: a deployed task is loaded from files; save it as a module"
            )
        return await deploy_away(envs, version=version, copy_style=style)
    given = session().root_dir
    plans = []
    for env in envs:
        source = next((one for task in tasks_of([env]) if (one := source_of(task)) is not None), None)
        root = root_for(source, str(given) if given is not None else None)
        plans.append(await plan_deployment([env], root=root, copy_style=style, version=version))
    return plans


async def deploy_away(
    envs: Sequence[Environment],
    *,
    version: str | None = None,
    copy_style: CopyStyle = "loaded_modules",
    project: str | None = None,
    domain: str | None = None,
    told: Told | None = None,
) -> list[Deployment]:
    """Deploy environments to the control plane in force: each environment once, all code in one bundle.

    :param told: is told of the bytes of code that were sent, and of all there are.
    """
    from flyte.remote._plane import find_plane

    plane = find_plane()
    now = session()
    tasks = tasks_of(envs)
    if not tasks:
        without = ", ".join(repr(env.name) for env in envs)
        raise DeploymentError(f"environment {without} has no tasks to deploy; decorate functions with @env.task")
    twice = {task.name for task in tasks if sum(one.name == task.name for one in tasks) > 1}
    if twice:
        raise DeploymentError(
            f"two tasks are called {', '.join(sorted(twice))}, and only one could be kept under that name; give their "
            "environments different names"
        )
    shipment = await ship(
        plane, envs, tasks, version=version, copy_style=copy_style,
        project=project or now.project, domain=domain or now.domain, told=told,
    )  # fmt: skip
    if version is None:
        context = replace(shipment.context, version=version_of(shipment, envs))
        shipment = replace(shipment, context=context)
    made = await _deploy_tasks(plane, tasks, shipment)
    context, bundle = shipment.context, shipment.context.code_bundle
    found = []
    for env in envs:
        closure = list(env.closure())
        names = {task.name for task in tasks_of([env])}
        images = context.image_cache.image_lookup if context.image_cache is not None else {}
        found.append(
            Deployment(
                version=context.version,
                project=context.project or "",
                domain=context.domain or "",
                environments=tuple(one.name for one in closure),
                tasks=tuple(one for one in made if one.name in names),
                code_bundle=bundle.tgz if bundle is not None else None,
                images={one.name: images[one.name] for one in closure if one.name in images},
            )
        )
    return found


async def _deploy_tasks(plane: "Plane", tasks: Sequence[Any], shipment: Shipment) -> list[DeployedTask]:
    from flyte._wire.task import task_spec
    from flyte._wire.trigger import task_trigger
    from flyte.remote._deployment import deploy_task

    context = shipment.context
    env_vars = {"_F_SYS_PATH": shipment.system_paths} if shipment.system_paths else None
    # All of them are translated before the first is sent: what cannot be said leaves nothing half deployed.
    specs = [task_spec(task, context, deploy=True, env_vars=env_vars) for task in tasks]
    triggers = [[await task_trigger(task, trigger) for trigger in task.triggers] for task in tasks]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Any, spec: Any, wanted: list[Any]) -> DeployedTask:
        async with gate:
            is_new = await deploy_task(plane, task.name, spec, context, wanted)
        url = (
            f"{plane.console}/v2/domain/{context.domain}/project/{context.project}/tasks/{task.name}/{context.version}"
        )
        return DeployedTask(task.name, context.version, url, is_new, tuple(one.name for one in task.triggers))

    return list(await asyncio.gather(*map(one, tasks, specs, triggers)))
