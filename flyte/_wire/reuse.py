"""Workers that are kept, in the words of a control plane (wire-protocol section 10.3)."""

import hashlib
from typing import Any

from flyteidl2.core import tasks_pb2
from google.protobuf.struct_pb2 import Struct

from flyte._core.code_bundle import CodeBundle
from flyte._definition.reuse import ReusePolicy


def reuse_policy(policy: ReusePolicy) -> tasks_pb2.ReusePolicy:
    """How many workers are kept, and how long."""
    scopes = tasks_pb2.ReusePolicy.Scope
    message = tasks_pb2.ReusePolicy(
        min_replicas=policy.min_replicas,
        max_replicas=policy.max_replicas,
        concurrency=policy.concurrency,
        scope=scopes.RUN if policy.scope == "run" else scopes.GLOBAL,
    )
    message.idle_ttl.FromMilliseconds(round(policy.idle_ttl_s * 1000))
    message.scaledown_ttl.FromMilliseconds(round(policy.scaledown_ttl_s * 1000))
    return message


def actor_custom(
    environment: str, policy: ReusePolicy, template: tasks_pb2.TaskTemplate, bundle: CodeBundle | None
) -> Struct:
    """What the plugin that keeps workers reads.

    :param environment: whose workers they are.
    :param template: the task that they run, complete but for what this adds.
    :param bundle: the code that they run it from.
    """
    image = template.container.image
    if template.HasField("k8s_pod"):
        image = _primary(template, template.k8s_pod)["image"]
    custom = Struct()
    custom.update(
        {
            "name": environment,
            "version": _version(environment, template, bundle),
            "type": "actor",
            "spec": {
                "container_image": image,
                "backlog_length": None,
                "parallelism": policy.concurrency,
                "min_replica_count": policy.min_replicas,
                "replica_count": policy.max_replicas,
                "ttl_seconds": policy.idle_ttl_s,
                "scaledown_ttl_seconds": policy.scaledown_ttl_s,
            },
        }
    )
    return custom


def _version(environment: str, template: tasks_pb2.TaskTemplate, bundle: CodeBundle | None) -> str:
    """Tasks of one version share workers: the same environment, container, policy, code and secrets."""
    container = tasks_pb2.Container()
    container.CopyFrom(template.container)
    container.ClearField("args")  # these name the task, and workers run all tasks of the environment
    pod = tasks_pb2.K8sPod()
    pod.CopyFrom(template.k8s_pod)
    if template.HasField("k8s_pod"):
        _primary(template, pod)["args"] = []
    digest = hashlib.sha256(environment.encode())
    for part in (container, pod, template.reuse_policy, template.security_context, template.extended_resources):
        encoded = part.SerializeToString(deterministic=True)
        digest.update(b"%d:%b" % (len(encoded), encoded))
    digest.update((bundle.computed_version if bundle is not None else template.id.version).encode())
    return digest.hexdigest()[:15]


def _primary(template: tasks_pb2.TaskTemplate, pod: tasks_pb2.K8sPod) -> Any:
    name = template.config["primary_container_name"]
    containers: Any = pod.pod_spec["containers"]
    return next(one for one in containers if one["name"] == name)
