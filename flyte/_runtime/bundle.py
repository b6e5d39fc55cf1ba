"""The code bundle that a container's command names: fetched, unpacked, and the pickled task that it may be."""

import gzip
from typing import Any

from flyte._core.code_bundle import CodeBundle
from flyte._core.command import Command
from flyte._definition.task import TaskTemplate
from flyte._package.download import download_code_bundle
from flyte.errors import CodeBundleError


async def fetch(command: Command) -> CodeBundle:
    """The bundle that the command names, unpacked on this machine.

    :raises CodeBundleError: it is missing or damaged.
    """
    bundle = CodeBundle(computed_version=command.version, destination=command.dest, tgz=command.tgz, pkl=command.pkl)
    return await download_code_bundle(bundle)


def unpickle(bundle: CodeBundle) -> TaskTemplate[Any, Any, Any]:
    """The task that a fetched bundle holds.

    :raises CodeBundleError: it cannot be read, or holds something else.
    """
    import cloudpickle

    assert bundle.downloaded_path is not None
    try:
        with gzip.open(bundle.downloaded_path) as content:
            # A pickled task is code by its nature, sent by whoever started the run; there is no other form of it.
            task = cloudpickle.loads(content.read())
    except (OSError, EOFError) as error:
        raise CodeBundleError(f"the pickled task {bundle.pkl!r} cannot be read: {error}") from error
    if not isinstance(task, TaskTemplate):
        raise CodeBundleError(f"{bundle.pkl!r} holds a {type(task).__name__}, not a task")
    return task
