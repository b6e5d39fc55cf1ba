"""For those who extend flyte: task templates and plugins, controllers, resources on the wire."""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte._control.local import (
        LocalController as LocalController,
    )
    from flyte._core.controller import (
        Controller as Controller,
        RecordedAction as RecordedAction,
        Recorder as Recorder,
    )
    from flyte._definition.plugin import (
        TaskPluginRegistry as TaskPluginRegistry,
    )
    from flyte._definition.pod import (
        PRIMARY_CONTAINER_DEFAULT_NAME as PRIMARY_CONTAINER_DEFAULT_NAME,
    )
    from flyte._definition.task import (
        AsyncFunctionTaskTemplate as AsyncFunctionTaskTemplate,
        TaskTemplate as TaskTemplate,
    )
    from flyte._package.bundle import (
        download_code_bundle as download_code_bundle,
    )
    from flyte._package.image_engine import (
        ImageBuildEngine as ImageBuildEngine,
    )
    from flyte._verbs.session import (
        is_initialized as is_initialized,
    )
    from flyte._wire.resources import (
        get_proto_extended_resources as get_proto_extended_resources,
        get_proto_resources as get_proto_resources,
        pod_spec_from_resources as pod_spec_from_resources,
    )

_TABLE = {
    "AsyncFunctionTaskTemplate": "flyte._definition.task",
    "Controller": "flyte._core.controller",
    "ImageBuildEngine": "flyte._package.image_engine",
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
    "pod_spec_from_resources": "flyte._wire.resources",
}

__getattr__, __dir__, __all__ = lazy_face(__name__, _TABLE)
