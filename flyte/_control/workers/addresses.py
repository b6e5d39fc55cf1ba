"""How the other process finds a task: by module and variable, as a container does, else as a pickle of the task.

An address is a tuple of plain values. Both ends of a channel have a :class:`Book`, so that a task is the same
object whenever it is asked for again, and a pickled one is sent once.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import io
import itertools
import marshal
import os
import pickle
import runpy
import sys
from collections import ChainMap
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from flyte._definition.task import TaskTemplate
from flyte.errors import ModuleLoadError, RuntimeUserError

MAIN = "__mp_main__"
"""What the program's own module is called in a worker, as by :mod:`multiprocessing`: what it does under
``if __name__ == "__main__"`` is not done again."""

Task = TaskTemplate[Any, Any, Any]
Address = tuple[Any, ...]
_keys = itertools.count(1)


class Book:
    """The tasks that one process knows, and how others find them.

    :param main: file of the program's own module, or its name and no file where it was started with ``-m``; only a
        worker is told.
    """

    def __init__(self, main: tuple[str | None, str | None] = (None, None)) -> None:
        self._main = main
        self._addresses: WeakKeyDictionary[Task, tuple[Any, Address]] = WeakKeyDictionary()
        self._keyed: dict[str, Task] = {}
        self._payloads: dict[str, bytes] = {}
        self._refused: dict[str, Exception] = {}
        self.told: set[str] = set()
        """Keys that the other end knows; of use where there is only one other end."""
        self._changed: dict[tuple[Address, bytes], Task] = {}

    # Telling ------------------------------------------------------------------------------------------------------

    def address(self, task: Task) -> Address:
        """Where another process finds ``task``.

        :raises RuntimeUserError: it is in no module, and cannot be pickled.
        """
        state = task.__dict__.get("_compiled")
        known = self._addresses.get(task)
        if known is not None and state is not None and known[0] is state:
            return known[1]
        found = located(task)
        if found is None:
            address: Address = ("pickled", self.key(task))
            self.payload(address)
        else:
            place, original = found
            changes = _changes(original, task)
            address = ("placed", *place, pickled(changes, task.name, self) if changes else b"")
        self._addresses[task] = (state, address)
        return address

    def payload(self, address: Address) -> bytes:
        """What has to be sent once before the address of a pickled task means something elsewhere.

        :raises RuntimeUserError: the task cannot be pickled.
        """
        key = address[1]
        if key not in self._payloads:
            task = self._keyed[key]
            self._payloads[key] = pickled(task, task.name, self, task)
        return self._payloads[key]

    def key(self, task: Task) -> str:
        """What a task that is in no module is called."""
        key: str | None = task.__dict__.get("_worker_key")
        if key is None:
            # It travels inside the pickle, so that the task is known again when it comes back.
            key = task.__dict__["_worker_key"] = f"{os.getpid()}-{next(_keys)}"
        self._keyed.setdefault(key, task)
        return key

    # Finding ------------------------------------------------------------------------------------------------------

    def learn(self, address: Address, payload: bytes) -> None:
        """The pickle of a task whose address will be used; one that cannot be read is refused when it is."""
        key = address[1]
        self.told.add(key)
        if key in self._keyed:
            return
        try:
            self._keyed[key] = self.unpickled(payload)
            self._payloads[key] = payload
        except Exception as error:  # reading a task runs what the user wrote
            self._refused[key] = error

    def find(self, address: Address) -> Task:
        """The task at ``address``.

        :raises ModuleLoadError: its module cannot be imported here, or has no such task.
        """
        if address[0] == "pickled":
            key = address[1]
            if key in self._refused:
                error = self._refused[key]
                raise ModuleLoadError(
                    f"a task that travels pickled could not be read here: {type(error).__name__}: {error}; define it "
                    "at the top level of a module"
                ) from error
            return self._keyed[key]
        _, module, file, variable, changes = address
        task = getattr(self.module(module, file), variable, None)
        if not isinstance(task, TaskTemplate):
            raise ModuleLoadError(
                f"module {module!r}, as a worker process imports it, has no task {variable!r}; define tasks at the top "
                "level of the module and not under 'if __name__ == \"__main__\":'"
            )
        if not changes:
            return task
        key = ((module, file, variable), hashlib.sha256(changes).digest())
        if key not in self._changed:
            self._changed[key] = dataclasses.replace(task, **self.unpickled(changes))
        return self._changed[key]

    def module(self, name: str, file: str | None) -> ModuleType:
        """The module called ``name``, imported if it was not.

        :param file: where it is, for what cannot be imported by name.
        :raises ModuleLoadError: it raised, or there is none.
        """
        known = sys.modules.get(name)
        if known is not None:
            return known
        try:
            if name == MAIN:
                return self._import_main()
            try:
                found = importlib.util.find_spec(name)
            except (ImportError, ValueError):
                found = None
            if file is not None and (found is None or not _same_file(found.origin, file)):
                return _import_file(name, file)
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise ModuleLoadError(
                f"module {name!r} could not be imported by a worker process: {type(error).__name__}: {error}"
            ) from error

    def _import_main(self) -> ModuleType:
        file, name = self._main
        if name is not None:
            made = ModuleType(MAIN)
            made.__dict__.update(runpy.run_module(name, run_name=MAIN, alter_sys=True))
        else:
            assert file is not None
            made = _import_file(MAIN, file)
        # What is pickled as of the program's own module is found in it here, too.
        sys.modules["__main__"] = sys.modules[MAIN] = made
        return made

    def unpickled(self, data: bytes) -> Any:
        """What :func:`pickled` made bytes of; tasks in it that are in a module are that module's."""
        origin, content = marshal.loads(data)
        if origin is not None:
            # The module that the task was written in may be one that cannot be imported by its name.
            self.module(*origin)
        unpickler = _Unpickler(io.BytesIO(content))
        unpickler.book = self
        return unpickler.load()


def alias_main() -> tuple[str | None, str | None]:
    """Make this process's own program known under :data:`MAIN` too; file of the program, and its name if ``-m``."""
    main = sys.modules.get("__main__")
    if main is None:
        return None, None
    sys.modules.setdefault(MAIN, main)
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    return (os.path.abspath(file) if file else None), getattr(spec, "name", None)


def located(task: Task) -> tuple[tuple[str, str | None, str], Task] | None:
    """Module, file and variable of a task, and what the variable holds: it, or what it is an override of."""
    func: Any = getattr(task, "func", None)
    if func is None:
        return None
    func = inspect.unwrap(func)
    name = getattr(func, "__module__", None)
    module = sys.modules.get(name) if name else None
    if module is None or name is None:
        return None
    file = getattr(module, "__file__", None)
    if name in ("__main__", MAIN):
        if not file or not os.path.isfile(file):  # a prompt, a notebook, standard input
            return None
        name = MAIN
    variables = vars(module)
    for variable in (func.__name__, *list(variables)):
        held = variables.get(variable)
        if (
            isinstance(held, type(task))
            and getattr(held, "func", None) is getattr(task, "func", None)
            and held.name == task.name
        ):
            place = (name, os.path.abspath(file) if file else None, variable)
            return place, held
    return None


def _changes(original: Task, task: Task) -> dict[str, Any]:
    """The fields that an override has changed."""
    if original is task:
        return {}
    names = [f.name for f in dataclasses.fields(task) if f.init and f.name not in ("parent_env", "func", "interface")]
    pairs = {name: (getattr(original, name), getattr(task, name)) for name in names}
    return {name: new for name, (old, new) in pairs.items() if old is not new and old != new}


def _import_file(name: str, file: str) -> ModuleType:
    # The loader is named, because a program's file may end in anything.
    spec = importlib.util.spec_from_file_location(name, file, loader=SourceFileLoader(name, file))
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


def _same_file(one: str | None, other: str) -> bool:
    try:
        return one is not None and os.path.samefile(one, other)
    except OSError:
        return False


# Pickles of tasks -----------------------------------------------------------------------------------------------------


def pickled(value: Any, name: str, book: Book, whole: Any = None) -> bytes:
    """``value`` as bytes, tasks that are in a module by their address.

    :param name: the task that it is done for, for the error.
    :param whole: a task that is pickled itself, wherever it is found.
    :raises RuntimeUserError: it cannot be pickled.
    """
    import cloudpickle

    base: Any = cloudpickle.Pickler
    table = base.dispatch_table

    def reduce_code(code: CodeType) -> tuple[Any, ...]:
        # cloudpickle 3.1.3 leaves out the file, without which the traceback of a failure shows no line of the user's.
        make, arguments = table[CodeType](code)[:2]
        return _code_of_file, (make, arguments, code.co_filename)

    class Pickler(base):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap({CodeType: reduce_code}, table)

        def persistent_id(self, obj: Any) -> Any:
            if isinstance(obj, TaskTemplate) and obj is not whole:
                if located(obj) is not None:
                    return book.address(obj)
                book.key(obj)
            return None

    target = io.BytesIO()
    module = getattr(getattr(whole, "func", None), "__module__", None)
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    origin = (module, os.path.abspath(file)) if file and module not in ("__main__", MAIN) else None
    try:
        Pickler(target).dump(value)
    except Exception as error:
        raise RuntimeUserError(
            "TaskNotPortable",
            f"task {name!r} cannot be brought to a worker process: no variable of a module holds it, and it cannot be "
            f"pickled ({type(error).__name__}: {str(error)[:300]}); define it at the top level of a module",
        ) from error
    return marshal.dumps((origin, target.getvalue()))


def _code_of_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    return make(*arguments).replace(co_filename=file)


class _Unpickler(pickle.Unpickler):
    book: Book

    def persistent_load(self, pid: Any) -> Any:
        return self.book.find(pid)
