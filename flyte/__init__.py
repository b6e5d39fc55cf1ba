"""Flyte: write workflows in plain Python, and run them here or on a control plane.

The map of the house, from the ground up (an import goes down or stays in its room):

====================  ==============================================================================================
``errors``            every exception, with its tree
``_core``             identity, interface, context, the controller seam; standard library only
``syncify``           one sync face over async code
``config``            configuration: files, environment, and where each value came from
``storage``           files and objects by URI: local, S3, Google Cloud, Azure, memory
``types``             the type engine: Python values to and from Flyte literals
``report``            the page that a task fills while it runs
``_definition``       what a user declares: environments, tasks, images, resources, policies, map and trace
``io``                File, Dir, DataFrame, Checkpoint: big values, passed by reference
``durable``           time, chance and sleeps that are the same when a task runs again
``extras``            kinds of tasks built on the definition: any container image as a task
``_package``          which files travel, the archive they travel in, images and what builds them
``_wire``             definitions in the words of flyteidl2
``_journal``          the history of runs, in one SQLite file
``remote``            runs and actions as objects; the channel to a control plane
``devbox``            the embedded control plane of one machine
``_control``          how a call becomes work: boundary, attempt, the controllers, workers, recovery, cache, limits
``_runtime``          ``a0``, the program of a task's container
``_verbs``            init, run, rerun, build, plan: where definitions, controllers and sessions meet
``cli``, ``testing``  the ``flyte`` command; what tests of workflows need
====================  ==============================================================================================

This module, ``flyte.extend``, ``flyte.models``, ``flyte.types``, ``flyte.report``, ``flyte.io`` and ``flyte.storage``
only hand names on; each is loaded when first used.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face
from flyte._core.version import VERSION
from flyte._published import serve as _serve_private_paths

if TYPE_CHECKING:
    from flyte._control.limits import limit
    from flyte._core.context import ctx, custom_context, get_custom_context, group
    from flyte._core.log import logger as system_logger
    from flyte._core.log import user_logger as logger
    from flyte._definition.backoff import Backoff
    from flyte._definition.cache import Cache, CacheRequest
    from flyte._definition.cache_policy import CachePolicy
    from flyte._definition.condition import ConditionWebhook, new_condition
    from flyte._definition.documentation import Documentation
    from flyte._definition.environment import Environment
    from flyte._definition.flow import map, trace
    from flyte._definition.image import Image
    from flyte._definition.link import Link
    from flyte._definition.pod import PodTemplate
    from flyte._definition.resources import (
        AMD_GPU,
        APPLE_SILICON,
        GPU,
        HABANA_GAUDI,
        TPU,
        Device,
        DeviceClass,
        Neuron,
        Resources,
    )
    from flyte._definition.retry import RetryStrategy
    from flyte._definition.reuse import ReusePolicy
    from flyte._definition.secret import Secret, SecretRequest
    from flyte._definition.task import AsyncFunctionTaskTemplate, TaskTemplate
    from flyte._definition.task_environment import TaskEnvironment
    from flyte._definition.timeout import Timeout, TimeoutType
    from flyte._definition.trigger import (
        Cron,
        FixedRate,
        OnArtifact,
        Trigger,
        TriggeredArtifact,
        TriggeredPartition,
        TriggerTime,
    )
    from flyte._package.image_build import ImageBuild
    from flyte._verbs.connect import init_from_api_key, init_from_config, init_in_cluster, init_passthrough
    from flyte._verbs.deploy import deploy
    from flyte._verbs.prepare import build, build_images
    from flyte._verbs.rerun import rerun
    from flyte._verbs.run import run, with_runcontext
    from flyte._verbs.session import current_domain, current_project, init, is_control_plane_available
    from flyte._verbs.signal import signal
    from flyte.io._checkpoint import BaseCheckpoint, Checkpoint, latest_checkpoint

__version__ = VERSION
"""Version of the distribution; a control plane reads its first three numbers."""


def version() -> str:
    """The version of the installed SDK."""
    return __version__


_TABLE = {
    "AMD_GPU": "flyte._definition.resources",
    "APPLE_SILICON": "flyte._definition.resources",
    "AsyncFunctionTaskTemplate": "flyte._definition.task",
    "Backoff": "flyte._definition.backoff",
    "BaseCheckpoint": "flyte.io._checkpoint",
    "Cache": "flyte._definition.cache",
    "CachePolicy": "flyte._definition.cache_policy",
    "CacheRequest": "flyte._definition.cache",
    "Checkpoint": "flyte.io._checkpoint",
    "ConditionWebhook": "flyte._definition.condition",
    "Cron": "flyte._definition.trigger",
    "Device": "flyte._definition.resources",
    "DeviceClass": "flyte._definition.resources",
    "Documentation": "flyte._definition.documentation",
    "Environment": "flyte._definition.environment",
    "FixedRate": "flyte._definition.trigger",
    "GPU": "flyte._definition.resources",
    "HABANA_GAUDI": "flyte._definition.resources",
    "Image": "flyte._definition.image",
    "ImageBuild": "flyte._package.image_build",
    "Link": "flyte._definition.link",
    "Neuron": "flyte._definition.resources",
    "OnArtifact": "flyte._definition.trigger",
    "PodTemplate": "flyte._definition.pod",
    "Resources": "flyte._definition.resources",
    "RetryStrategy": "flyte._definition.retry",
    "ReusePolicy": "flyte._definition.reuse",
    "Secret": "flyte._definition.secret",
    "SecretRequest": "flyte._definition.secret",
    "TPU": "flyte._definition.resources",
    "TaskEnvironment": "flyte._definition.task_environment",
    "TaskTemplate": "flyte._definition.task",
    "Timeout": "flyte._definition.timeout",
    "TimeoutType": "flyte._definition.timeout",
    "Trigger": "flyte._definition.trigger",
    "TriggerTime": "flyte._definition.trigger",
    "TriggeredArtifact": "flyte._definition.trigger",
    "TriggeredPartition": "flyte._definition.trigger",
    "build": "flyte._verbs.prepare",
    "build_images": "flyte._verbs.prepare",
    "ctx": "flyte._core.context",
    "current_domain": "flyte._verbs.session",
    "current_project": "flyte._verbs.session",
    "custom_context": "flyte._core.context",
    "deploy": "flyte._verbs.deploy",
    "get_custom_context": "flyte._core.context",
    "group": "flyte._core.context",
    "init": "flyte._verbs.session",
    "init_from_api_key": "flyte._verbs.connect",
    "init_from_config": "flyte._verbs.connect",
    "init_in_cluster": "flyte._verbs.connect",
    "init_passthrough": "flyte._verbs.connect",
    "is_control_plane_available": "flyte._verbs.session",
    "latest_checkpoint": "flyte.io._checkpoint",
    "limit": "flyte._control.limits",
    "logger": "flyte._core.log:user_logger",
    "map": "flyte._definition.flow",
    "new_condition": "flyte._definition.condition",
    "rerun": "flyte._verbs.rerun",
    "run": "flyte._verbs.run",
    "signal": "flyte._verbs.signal",
    "system_logger": "flyte._core.log:logger",
    "trace": "flyte._definition.flow",
    "with_runcontext": "flyte._verbs.run",
}
# Documented names whose rooms are still to be built: they say so instead of looking finished.
_MISSING = {
    "AppHandle": "apps is not built yet",
    "load_interactive_ctx": "the control-plane client is not built yet",
    "load_plugin_config": "packaging is not built yet",
    "run_python_script": "packaging is not built yet",
    "serve": "apps is not built yet",
    "with_servecontext": "apps is not built yet",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE, _MISSING)
_serve_private_paths()

__all__ = [
    "AMD_GPU",
    "APPLE_SILICON",
    "AsyncFunctionTaskTemplate",
    "Backoff",
    "BaseCheckpoint",
    "Cache",
    "CachePolicy",
    "CacheRequest",
    "Checkpoint",
    "ConditionWebhook",
    "Cron",
    "Device",
    "DeviceClass",
    "Documentation",
    "Environment",
    "FixedRate",
    "GPU",
    "HABANA_GAUDI",
    "Image",
    "ImageBuild",
    "Link",
    "Neuron",
    "OnArtifact",
    "PodTemplate",
    "Resources",
    "RetryStrategy",
    "ReusePolicy",
    "Secret",
    "SecretRequest",
    "TPU",
    "TaskEnvironment",
    "TaskTemplate",
    "Timeout",
    "TimeoutType",
    "Trigger",
    "TriggerTime",
    "TriggeredArtifact",
    "TriggeredPartition",
    "__version__",
    "build",
    "build_images",
    "ctx",
    "current_domain",
    "current_project",
    "custom_context",
    "deploy",
    "get_custom_context",
    "group",
    "init",
    "init_from_api_key",
    "init_from_config",
    "init_in_cluster",
    "init_passthrough",
    "is_control_plane_available",
    "latest_checkpoint",
    "limit",
    "logger",
    "map",
    "new_condition",
    "rerun",
    "run",
    "signal",
    "system_logger",
    "trace",
    "version",
    "with_runcontext",
]
