"""FILE_OR_MODULE and TASK: find the user's module, import it, find its tasks.

Called by `_run`. It knows nothing of typer; what cannot be found raises :class:`NotFound` with the nearest names.
"""

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flyte._core.face import nearest

if TYPE_CHECKING:
    from flyte._definition.task import TaskTemplate

HELLO = "hello"
"""Name of the built-in example."""
_HELLO_MODULE = "flyte._examples.hello"
HELLO_TASK = "main"
DEPLOYED = "deployed-task"
"""In place of a file: the task is one that was deployed to a control plane."""
NOT_HERE = ("python-script",)
"""What the published command takes in place of a file, and this version does not."""


class NotFound(Exception):
    """There is no such file, module or task; the message says what there is instead."""


class LoadFailed(Exception):
    """The user's module raised while it was imported; the cause is what it raised."""


@dataclass(slots=True)
class Target:
    """The module that a run starts from.

    :param given: as the user wrote it.
    :param module: the module's name.
    :param path: its file, None for a module given by name.
    :param folder: what goes to ``sys.path[0]``, as Python itself does for ``python FILE`` and ``python -m``.
    :param root: a folder whose modules come before all others; if None, those of the current folder come last.
    """

    given: str
    module: str
    path: str | None
    folder: str
    root: str | None = None
    _loaded: "dict[str, TaskTemplate[Any, Any, Any]] | None" = field(default=None, repr=False)

    @property
    def is_hello(self) -> bool:
        """Whether this is the built-in example."""
        return self.module == _HELLO_MODULE

    @property
    def is_deployed(self) -> bool:
        """Whether no file is meant, but what was deployed."""
        return not self.module

    def source(self) -> str | None:
        """The file of the module, without importing it; None if that cannot be known."""
        if self.path is not None or self.is_deployed:
            return self.path
        base = os.path.join(self.folder, *self.module.split("."))
        return next((p for p in (f"{base}.py", os.path.join(base, "__init__.py")) if os.path.isfile(p)), None)

    def tasks(self) -> "dict[str, TaskTemplate[Any, Any, Any]]":
        """The module's tasks by the names that a user may give; imports the module once.

        :raises NotFound: there is no module of that name.
        :raises LoadFailed: it raised while it was imported.
        """
        if self._loaded is None:
            self._loaded = _tasks_of(self._import())
        return self._loaded

    def task(self, name: str) -> "TaskTemplate[Any, Any, Any]":
        """The task called ``name``: the variable that holds it, its function's name, or its full name.

        :raises NotFound: there is none; the message names the nearest, or all.
        """
        tasks = self.tasks()
        if name in tasks:
            return tasks[name]
        for task in tasks.values():
            if name in (task.name, task.short_name):
                return task
        if not tasks:
            raise NotFound(
                f"{self.given!r} has no tasks; decorate a function with @env.task of a flyte.TaskEnvironment"
            )
        other = getattr(sys.modules.get(self.module), name, None)
        if callable(other):
            raise NotFound(f"{name!r} in {self.given!r} is not a task; decorate it with @env.task")
        hint = nearest(name, tasks) or f"; it has {', '.join(tasks)}"
        raise NotFound(f"{self.given!r} has no task {name!r}{hint}")

    def _import(self) -> ModuleType:
        self._extend_path()
        try:
            if self.path is None or "." in self.module:
                return importlib.import_module(self.module)
            return _import_file(self.module, self.path)
        except KeyboardInterrupt:
            raise
        except ModuleNotFoundError as error:
            if self.path is None and error.name and f"{self.module}.".startswith(f"{error.name}."):
                raise NotFound(f"there is no file or module {self.given!r}{_nearest_target(self.given)}") from None
            raise LoadFailed(self.given) from error
        except BaseException as error:  # also SystemExit: a module that ends the process when it is imported
            raise LoadFailed(self.given) from error

    def _extend_path(self) -> None:
        for folder in filter(None, (self.folder, self.root)):
            if not sys.path or sys.path[0] != folder:
                sys.path.insert(0, folder)
        # A project is often run from its top: `flyte run flows/train.py` with `import library`, which stands beside
        # flows/. Last, so that no file that happens to lie there hides a module of Python's.
        if self.root is None and not self.is_hello and not {"", os.getcwd()} & set(sys.path):
            sys.path.append(os.getcwd())


def target_of(given: str, root: str | None = None) -> Target:
    """What ``given`` names: a path, a dotted module, or the built-in example.

    :param root: the folder that a module's name is relative to; the current one if None. Paths are always relative
        to the current one.
    :raises NotFound: a path that is no file, or a text that can be neither.
    """
    looks_like_path = given.endswith(".py") or os.sep in given or (os.altsep is not None and os.altsep in given)
    is_folder = os.path.isdir(given) and not os.path.isfile(os.path.join(given, "__init__.py"))
    if looks_like_path or is_folder or os.path.isfile(given):
        return _target_of_path(given, root)
    if given in NOT_HERE:
        raise NotFound(
            f"'flyte run {given}' is not available in this version of flyte, which runs tasks in this process"
        )
    if given == DEPLOYED:
        return Target(given, "", None, "")
    here = root or os.getcwd()
    if given == HELLO and not any(os.path.exists(os.path.join(here, name)) for name in ("hello.py", "hello")):
        path = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_examples", "hello.py")
        return Target(given, _HELLO_MODULE, path, "")
    if not all(part.isidentifier() for part in given.split(".")):
        raise NotFound(f"there is no file or module {given!r}{_nearest_target(given)}")
    return Target(given, given, None, here, root)


def _target_of_path(given: str, root: str | None) -> Target:
    path = os.path.abspath(given)
    if os.path.isdir(path):
        raise NotFound(f"{given!r} is a folder; name a Python file in it{_nearest_target(os.path.join(given, ''))}")
    if not os.path.isfile(path):
        raise NotFound(f"there is no file {given!r}{_nearest_target(given)}")
    folder, name = os.path.split(path)
    parts = [os.path.splitext(name)[0]]
    if parts == ["__init__"]:
        parts = []
    # A module of a package keeps its package, so that its relative imports work.
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.basename(folder).isidentifier():
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return Target(given, ".".join(parts), path, folder, root)


def _import_file(name: str, path: str) -> ModuleType:
    """Import one file under its own name, unless that is taken by something that must not be replaced."""
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"__flyte_main__{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:  # no suffix that Python knows
        from importlib.machinery import SourceFileLoader

        spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _tasks_of(module: ModuleType) -> "dict[str, TaskTemplate[Any, Any, Any]]":
    from flyte._definition.task import TaskTemplate
    from flyte._definition.task_environment import TaskEnvironment

    own: dict[str, TaskTemplate[Any, Any, Any]] = {}
    imported: dict[str, TaskTemplate[Any, Any, Any]] = {}
    known: set[int] = set()
    for name, value in list(vars(module).items()):
        if isinstance(value, TaskTemplate):
            defined_in = getattr(getattr(value, "func", None), "__module__", module.__name__)
            (own if defined_in == module.__name__ else imported)[name] = value
            known.add(id(value))
    for value in list(vars(module).values()):
        if isinstance(value, TaskEnvironment):
            own.update({t.name: t for t in value.tasks.values() if id(t) not in known and _defined_in(t, module)})
    return {**own, **imported}


def _defined_in(task: Any, module: ModuleType) -> bool:
    return getattr(getattr(task, "func", None), "__module__", None) == module.__name__


def _nearest_target(given: str) -> str:
    folder, name = os.path.split(given)
    try:
        entries = sorted(os.listdir(folder or "."))
    except OSError:
        return ""
    files = [entry for entry in entries if entry.endswith(".py") and not entry.startswith((".", "__"))]
    if folder or name.endswith(".py"):
        candidates = files
    else:
        candidates = [*(entry.removesuffix(".py") for entry in files), HELLO, *files]
    if hint := nearest(name, candidates):
        return hint if not folder else hint.replace("did you mean '", f"did you mean '{folder}{os.sep}")
    shown = files[:5]
    if not shown:
        return ""
    more = f" and {len(files) - len(shown)} more" if len(files) > len(shown) else ""
    return f"; there is {', '.join(os.path.join(folder, entry) for entry in shown)}{more}"
