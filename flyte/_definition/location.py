"""Where a task is found again: the module and the variable that a container loads it from."""

import inspect
import sys
from pathlib import Path
from typing import Any

from flyte._core.command import DEFAULT_RESOLVER
from flyte.errors import DeploymentError, RuntimeSystemError

_PACKAGE = Path(__file__).resolve().parents[1]


def loader_of(task: Any, root_dir: Path | None) -> tuple[str, tuple[str, ...]]:
    """Import path of the resolver that finds ``task`` in a container, and the arguments that it finds it by.

    :param task: a task made of a function.
    :param root_dir: folder that the module's name is relative to; in the container, the folder of the code.
    :raises RuntimeSystemError: there is no ``root_dir``.
    :raises flyte.errors.DeploymentError: the task is in no module, or no variable of its module.
    """
    own = task.task_resolver
    if own is not None:
        return _ask(task, own, root_dir)
    if root_dir is None:
        raise RuntimeSystemError(
            "NoRootDir",
            f"task {task.name!r}: the module that it is loaded from cannot be named without root_dir; give one in the "
            "SerializationContext, or a code bundle of the pickled task",
        )
    return DEFAULT_RESOLVER, ("mod", _module_name(task, root_dir), "instance", _variable(task))


def _ask(task: Any, resolver: Any, root_dir: Path | None) -> tuple[str, tuple[str, ...]]:
    path, loader_args = getattr(resolver, "import_path", None), getattr(resolver, "loader_args", None)
    if not isinstance(path, str) or not callable(loader_args):
        raise TypeError(
            f"task {task.name!r}: task_resolver takes an object with import_path and loader_args(task, root_dir), got "
            f"{resolver!r}"
        )
    words: Any = loader_args(task, root_dir)
    return path, tuple(str(word) for word in words)


def _module_name(task: Any, root_dir: Path) -> str:
    source, module = task.source_file, getattr(task.func, "__module__", None)
    if source is not None:
        path, root = Path(source).resolve(), Path(root_dir).resolve()
        if path.is_relative_to(root) and "site-packages" not in path.relative_to(root).parts:
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
            if any("." in part for part in parts):
                raise DeploymentError(
                    f"task {task.name!r} is in {'/'.join(parts)}.py, which cannot be imported because of the dot; "
                    "rename the file or folder"
                )
            return ".".join(parts)
        # Of this package too, the image has its own, wherever this one is installed from.
        installed = "site-packages" in path.parts or path.is_relative_to(_PACKAGE)
        if installed and isinstance(module, str) and module != "__main__":
            return module  # an installed package, which the image has as well
        raise DeploymentError(
            f"task {task.name!r} is in {source}, which is not under root_dir {str(root_dir)!r} and would not travel; "
            "choose a root_dir that holds it, or install its package in the image"
        )
    raise DeploymentError(
        f"task {task.name!r} was typed or generated, so no file travels that a container could load it from; save it "
        "as a module, or run it from a notebook, which sends the pickled task"
    )


def _variable(task: Any) -> str:
    func: Any = inspect.unwrap(task.func)
    name: str = func.__name__
    module = sys.modules.get(func.__module__)
    if module is None:
        if "<locals>" not in func.__qualname__:
            return name
    else:
        # The decorated function is usually under its own name; a task can also be kept under another.
        for candidate in (name, *vars(module)):
            value: Any = vars(module).get(candidate, module)
            if isinstance(value, type(task)) and value.func is task.func and value.name == task.name:
                return candidate
    raise DeploymentError(
        f"task {task.name!r}: no variable of module {func.__module__!r} holds it, so a container could not load it; "
        f"define {name!r} at the top level of the module"
    )
