"""For those who extend flyte: task templates and plugins, controllers, resources on the wire."""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte._control.local import LocalController
    from flyte._core.controller import Controller, RecordedAction, Recorder
    from flyte._core.lazy import lazy_module
    from flyte._definition.image_arguments import Architecture
    from flyte._definition.plugin import TaskPluginRegistry
    from flyte._definition.pod import PRIMARY_CONTAINER_DEFAULT_NAME
    from flyte._definition.task import AsyncFunctionTaskTemplate, TaskTemplate
    from flyte._package.bundle import download_code_bundle
    from flyte._package.image_build import ImageBuilder, ImageChecker
    from flyte._package.image_engine import ImageBuildEngine
    from flyte._verbs.session import is_initialized
    from flyte._wire.resources import get_proto_extended_resources, get_proto_resources, pod_spec_from_resources

_TABLE = {
    "Architecture": "flyte._definition.image_arguments",
    "AsyncFunctionTaskTemplate": "flyte._definition.task",
    "Controller": "flyte._core.controller",
    "ImageBuildEngine": "flyte._package.image_engine",
    "ImageBuilder": "flyte._package.image_build",
    "ImageChecker": "flyte._package.image_build",
    "LocalController": "flyte._control.local",
    "PRIMARY_CONTAINER_DEFAULT_NAME": "flyte._definition.pod",
    "RecordedAction": "flyte._core.controller",
    "Recorder": "flyte._core.controller",
    "TaskPluginRegistry": "flyte._definition.plugin",
    "TaskTemplate": "flyte._definition.task",
    "download_code_bundle": "flyte._package.bundle",
    "get_proto_extended_resources": "flyte._wire.resources",
    "get_proto_resources": "flyte._wire.resources",
    "is_initialized": "flyte._verbs.session",
    "lazy_module": "flyte._core.lazy",
    "pod_spec_from_resources": "flyte._wire.resources",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "Architecture",
    "AsyncFunctionTaskTemplate",
    "Controller",
    "ImageBuildEngine",
    "ImageBuilder",
    "ImageChecker",
    "LocalController",
    "PRIMARY_CONTAINER_DEFAULT_NAME",
    "RecordedAction",
    "Recorder",
    "TaskPluginRegistry",
    "TaskTemplate",
    "download_code_bundle",
    "get_proto_extended_resources",
    "get_proto_resources",
    "is_initialized",
    "lazy_module",
    "pod_spec_from_resources",
]
