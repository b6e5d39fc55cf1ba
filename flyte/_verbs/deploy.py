"""``flyte.deploy``: what a deployment would do. Doing it needs the control-plane client, which is not built yet."""

import inspect
from typing import Any

from flyte._definition.environment import Environment
from flyte._definition.task_environment import TaskEnvironment
from flyte._package.files import CopyStyle
from flyte._package.includes import root_for, style_of
from flyte.syncify import syncify

from .plan import Plan, plan_deployment
from .session import session

NOT_BUILT = (
    "the control-plane client is not built yet, so nothing can be deployed; see what a deployment would do with "
    "dry_run=True ('flyte deploy FILE --dry-run')"
)


@syncify
async def deploy(
    *envs: Environment,
    dry_run: bool = False,
    version: str | None = None,
    interactive_mode: bool | None = None,
    copy_style: CopyStyle = "loaded_modules",
    dryrun: bool | None = None,
) -> list[Plan]:
    """Plan the deployment of environments and of those they depend on.

    :param envs: at least one.
    :param dry_run: must be True in this version, which cannot deploy.
    :param version: of the tasks; that of their code if not given.
    :param interactive_mode: not used by a dry run.
    :param copy_style: which code travels.
    :param dryrun: the old name of ``dry_run``.
    :returns: one plan for each environment that was given; its ``problems`` say what would make it fail.
    :raises NotImplementedError: not a dry run.
    :raises TypeError: something that is no environment.
    :raises ValueError: no environment, or an unknown copy style.
    """
    if not envs:
        raise ValueError("flyte.deploy takes at least one environment")
    for env in envs:
        if not isinstance(env, Environment):
            raise TypeError(f"flyte.deploy takes environments, but got {type(env).__name__} {env!r}")
    if not (dry_run or dryrun):
        raise NotImplementedError(NOT_BUILT)
    style = style_of(copy_style)
    given = session().root_dir
    plans = []
    for env in envs:
        root = root_for(_source_of(env), str(given) if given is not None else None)
        plans.append(await plan_deployment([env], root=root, copy_style=style, version=version))
    return plans


def _source_of(env: Environment) -> str | None:
    if not isinstance(env, TaskEnvironment):
        return None
    functions: list[Any] = [getattr(task, "func", None) for task in env.tasks.values()]
    sources = (inspect.unwrap(func).__code__.co_filename for func in functions if hasattr(func, "__code__"))
    return next((source for source in sources if not source.startswith("<")), None)
