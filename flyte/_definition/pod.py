"""Pod templates: what a task's pod looks like beyond its container."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernetes.client import V1PodSpec

PRIMARY_CONTAINER_DEFAULT_NAME = "primary"
"""Name of the container that runs the task, unless a template says otherwise."""


@dataclass
class PodTemplate:
    """A pod to run tasks in; the task's own image, arguments, variables and resources go into the primary container.

    :param pod_spec: a ``kubernetes.client.V1PodSpec``; None for an empty one. Its other containers are kept.
    :param primary_container_name: which container runs the task.
    :param labels: added to the pod.
    :param annotations: added to the pod.
    :raises ValueError: an empty name of the primary container.
    :raises TypeError: labels or annotations that are not strings.
    """

    pod_spec: "V1PodSpec | None" = None
    primary_container_name: str = PRIMARY_CONTAINER_DEFAULT_NAME
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.primary_container_name, str) or not self.primary_container_name:
            raise ValueError(
                f"PodTemplate(primary_container_name={self.primary_container_name!r}) must be the name of a container"
            )
        for field, pairs in (("labels", self.labels), ("annotations", self.annotations)):
            if pairs is None:
                continue
            if not isinstance(pairs, dict) or not all(isinstance(s, str) for kv in pairs.items() for s in kv):
                raise TypeError(f"PodTemplate({field}=...) takes a dict of strings, but got {pairs!r}")
