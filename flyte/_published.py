"""Private paths of the published package that plugins for it reach into, served from the one table below.

A plugin of the package index that was written for the published ``flyte`` imports a few modules that begin with an
underscore. They are not ours; here each such path leads to what we have for it, so that the rooms stay as they are.
Nothing of ours may import one. What is not in the table is not there, as any other missing module.
"""

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_HERE = "flyte._published"

# Module -> name -> where it is with us, as "module:name". A module with the key "()" can be called like that function.
TABLE: dict[str, dict[str, str]] = {
    "flyte._context": {"internal_ctx": f"{_HERE}:internal_ctx"},
    "flyte._initialize": {
        "get_storage": f"{_HERE}:get_storage",
        "is_initialized": "flyte._verbs.session:is_initialized",
    },
    "flyte._logging": {"logger": "flyte._core.log:logger"},
    "flyte._task": {
        "AsyncFunctionTaskTemplate": "flyte._definition.task:AsyncFunctionTaskTemplate",
        "F": "flyte._definition.task:F",
        "P": "flyte._definition.task:P",
        "R": "flyte._definition.task:R",
        "TaskTemplate": "flyte._definition.task:TaskTemplate",
    },
    "flyte._utils": {"lazy_module": "flyte._core.lazy:lazy_module"},
    "flyte._utils.lazy_module": {"()": "flyte._core.lazy:lazy_module", "lazy_module": "flyte._core.lazy:lazy_module"},
    "flyte.io._dataframe.dataframe": {
        "DataFrame": "flyte.io._dataframe:DataFrame",
        "DataFrameDecoder": "flyte.io.extend:DataFrameDecoder",
        "DataFrameEncoder": "flyte.io.extend:DataFrameEncoder",
        "DataFrameTransformerEngine": "flyte.io.extend:DataFrameTransformerEngine",
        "PARQUET": "flyte.types._frames.content:PARQUET",
    },
}


class _Served(ModuleType):
    """A module of the table; its names are looked up when they are used."""

    def __getattr__(self, name: str) -> Any:
        target = TABLE[self.__name__].get(name)
        if target is None:
            raise AttributeError(
                f"module {self.__name__!r} has no attribute {name!r}: it is a private path of the published flyte, of "
                f"which {', '.join(sorted(n for n in TABLE[self.__name__] if n != '()'))} are served here"
            )
        module, _, attribute = target.partition(":")
        value = getattr(importlib.import_module(module), attribute)
        setattr(self, name, value)
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # `from flyte._utils import lazy_module` is a function before, and a module after, somebody imported the module.
        module, _, attribute = TABLE[self.__name__]["()"].partition(":")
        return getattr(importlib.import_module(module), attribute)(*args, **kwargs)


class _Finder:
    """Finds the modules of the table, after all other finders have found none."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in TABLE:
            return None
        above = any(other.startswith(f"{name}.") for other in TABLE)
        return importlib.machinery.ModuleSpec(name, self, is_package=above)  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Served(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def serve() -> None:
    """Make the paths of the table importable; called once, when flyte is imported."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    finder = _Finder()
    sys.meta_path.append(finder)
    for name in TABLE:
        above = name.rpartition(".")[0]
        if above != "flyte" and above not in TABLE:
            # Below a module that is no package with us Python asks no finder; what is loaded already it takes.
            module = sys.modules[name] = _Served(name)
            module.__spec__ = finder.find_spec(name)


# What the published package has under these names, in our terms -------------------------------------------------------


class _ContextData:
    """What a plugin asks of ``internal_ctx().data``."""

    @property
    def task_context(self) -> Any:
        from flyte._core.context import current

        return current.get()

    @property
    def raw_data_path(self) -> Any:
        from flyte._core.context import current
        from flyte._core.paths import RawDataPath

        context = current.get()
        path = context.execution.raw_data_path if context is not None else ""
        return RawDataPath(path=path) if path else None


class _Context:
    """What a plugin asks of ``internal_ctx()``."""

    data = _ContextData()

    def is_task_context(self) -> bool:
        return self.data.task_context is not None

    @property
    def has_raw_data(self) -> bool:
        return self.data.raw_data_path is not None

    @property
    def raw_data(self) -> Any:
        path = self.data.raw_data_path
        if path is None:
            raise ValueError("there is no raw-data path outside of a run")
        return path


def internal_ctx() -> _Context:
    """The context of what runs."""
    return _Context()


def get_storage() -> Any:
    """The storage that ``flyte.init`` was given, or None."""
    from flyte.storage._config import configured

    return configured.get()
