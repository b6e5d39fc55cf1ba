"""Modules that are imported when something of them is first used."""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class _Absent(ModuleType):
    """Stands for a module that is not installed: any use of it says so."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by inspect, copy and pickle, which take an AttributeError for no
            raise AttributeError(name)
        raise ImportError(f"module {self.__name__!r} is needed here and is not installed", name=self.__name__)


def lazy_module(fullname: str) -> ModuleType:
    """The module of that name, which is imported on first use of it.

    :param fullname: dotted name. Packages above it are imported at once.
    :returns: the module; if it is not installed, an object of which every use raises ImportError.
    """
    if fullname in sys.modules:
        return sys.modules[fullname]
    try:
        spec = importlib.util.find_spec(fullname)
    except (ImportError, ValueError):  # a package above it is not installed
        spec = None
    if spec is None or spec.loader is None:
        return _Absent(fullname)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[fullname] = module
    spec.loader.exec_module(module)
    return module
