"""Task plugins: which template class a configuration object asks for."""

from typing import TYPE_CHECKING, Any

from flyte._core.registry import Registry

if TYPE_CHECKING:
    from .task import AsyncFunctionTaskTemplate


class _Registry:
    """Configuration class -> task template class."""

    def __init__(self) -> None:
        self._plugins: Registry[type, type[Any]] = Registry("task plugin")

    def register(self, config_type: type, plugin: "type[AsyncFunctionTaskTemplate[Any, Any, Any]]") -> None:
        """Make ``TaskEnvironment(plugin_config=config_type(...))`` build ``plugin`` templates.

        Registering the same pair again is allowed.

        :raises TypeError: ``config_type`` is not a class.
        :raises ValueError: another plugin is registered for ``config_type``.
        """
        if not isinstance(config_type, type):
            raise TypeError(f"config_type={config_type!r} is not a class; register the class of the configuration")
        self._plugins.register(config_type, plugin)

    def find(self, config_type: type) -> "type[AsyncFunctionTaskTemplate[Any, Any, Any]] | None":
        """The template class registered for ``config_type``, or None."""
        return self._plugins.find(config_type)

    def list_plugins(self) -> list[type]:
        """The configuration classes that have a plugin."""
        return list(self._plugins)


TaskPluginRegistry = _Registry()
"""The plugins of this process; see :meth:`_Registry.register`."""
