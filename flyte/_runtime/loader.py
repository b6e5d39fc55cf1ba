"""Finding a task again: from a code bundle to its module and variable, or from a pickle."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flyte._core.command import DEFAULT_RESOLVER, Command
from flyte._core.face import nearest
from flyte._definition.task import TaskTemplate
from flyte.errors import RuntimeUserError

if TYPE_CHECKING:
    from pathlib import Path

    from flyte._core.code_bundle import CodeBundle


class TaskResolver(Protocol):
    """Finds a task by the words that stand at the end of its container's command."""

    def load_task(self, loader_args: Sequence[str]) -> TaskTemplate[Any, Any, Any]:
        """The task that the words name."""
        ...


class DefaultTaskResolver:
    """Finds a task by ``mod <module> instance <variable>``."""

    import_path = DEFAULT_RESOLVER

    def loader_args(self, task: TaskTemplate[Any, Any, Any], root_dir: "Path | None") -> tuple[str, ...]:
        """The words that :meth:`load_task` finds ``task`` by."""
        from flyte._definition.location import loader_of  # asked where a task is translated, not where it runs

        return loader_of(task, root_dir)[1]

    def load_task(self, loader_args: Sequence[str]) -> TaskTemplate[Any, Any, Any]:
        """The task that the words name; its module is imported.

        :raises RuntimeUserError: the words are not of this form, or the module has no such task.
        :raises Exception: what the module raises while it is imported.
        """
        words = dict(zip(loader_args[::2], loader_args[1::2], strict=False))
        if len(loader_args) != 4 or set(words) != {"mod", "instance"}:
            raise RuntimeUserError(
                "InvalidResolverArguments",
                f"a task is found by 'mod MODULE instance VARIABLE', but the command says {' '.join(loader_args)!r}",
            )
        module = importlib.import_module(words["mod"])
        found = getattr(module, words["instance"], None)
        if found is None:
            hint = nearest(words["instance"], list(vars(module)))
            raise RuntimeUserError("TaskNotFound", f"module {words['mod']!r} has no {words['instance']!r}{hint}")
        if not isinstance(found, TaskTemplate):
            raise RuntimeUserError(
                "TaskNotFound",
                f"{words['instance']!r} of module {words['mod']!r} is a {type(found).__name__}, not a task; "
                "decorate the function with @env.task",
            )
        return found


async def load_task(command: Command) -> "tuple[TaskTemplate[Any, Any, Any], CodeBundle | None]":
    """The task that a container is to run, and the bundle that its code came in.

    :raises CodeBundleError: the bundle is missing or damaged.
    :raises RuntimeUserError: the command names no task.
    :raises Exception: what the task's module raises while it is imported.
    """
    bundle = None
    if command.tgz is not None or command.pkl is not None:
        # The code is in the image, or it comes as a bundle: only then is what fetches and unpacks one loaded.
        from .bundle import fetch, unpickle

        bundle = await fetch(command)
        if bundle.pkl is not None:
            return unpickle(bundle), bundle
    elif command.dest not in sys.path:
        sys.path.insert(0, command.dest)  # the code is in the image, in the working folder
    _add_system_paths(command.dest, os.environ.get("_F_SYS_PATH", ""))
    if command.resolver is None:
        raise RuntimeUserError("InvalidCommand", "neither --pkl nor --resolver is given, so no task is named")
    return _resolver(command.resolver).load_task(command.resolver_args), bundle


def _add_system_paths(root: str, said: str) -> None:
    """Put folders of the code on ``sys.path``, in their order: those that were on it where the run was started.

    :param said: ``./relative`` folders, joined by colons (wire-protocol section 4.1).
    """
    for inside in filter(None, said.split(":")):
        folder = os.path.normpath(os.path.join(root, inside))
        if folder not in sys.path:
            sys.path.append(folder)


def _resolver(path: str) -> TaskResolver:
    if path == DEFAULT_RESOLVER:
        return DefaultTaskResolver()
    module, _, name = path.rpartition(".")
    try:
        made: TaskResolver = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise RuntimeUserError("ResolverNotFound", f"--resolver {path!r} cannot be imported: {error}") from error
    return made
