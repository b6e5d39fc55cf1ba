"""Pod templates: the Kubernetes pod that a task's container is put into.

Made without the ``kubernetes`` package; whoever has a ``V1PodSpec`` to hand over has it installed anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import V1PodSpec

PRIMARY_CONTAINER_DEFAULT_NAME = "primary"
"""Name of the container that runs the task, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A pod with more than the task's own container: sidecars, volumes, labels.

    The primary container gets the task's image, arguments, environment and resources; the others are kept as they are.

    :param pod_spec: a ``kubernetes.client.V1PodSpec``; None for an ordinary pod.
    :param primary_container_name: which of its containers runs the task.
    :param labels: labels of the pod.
    :param annotations: annotations of the pod.
    :raises TypeError: ``pod_spec`` is something else, or labels or annotations are not texts.
    :raises ValueError: an empty ``primary_container_name``.
    """

    pod_spec: "V1PodSpec | None" = None
    primary_container_name: str = PRIMARY_CONTAINER_DEFAULT_NAME
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        # By name, so that kubernetes is not imported to look at what cannot come from it.
        spec: Any = self.pod_spec
        if spec is not None and not any(ancestor.__name__ == "V1PodSpec" for ancestor in type(spec).__mro__):
            raise TypeError(f"PodTemplate: pod_spec takes a kubernetes.client.V1PodSpec, got {spec!r}")
        name: Any = self.primary_container_name
        if not isinstance(name, str):
            raise TypeError(f"PodTemplate: primary_container_name takes a text, got {name!r}")
        if not name:
            raise ValueError("PodTemplate: primary_container_name='' is empty; name the container that runs the task")
        for parameter, texts in (("labels", self.labels), ("annotations", self.annotations)):
            if texts is not None:
                _check_texts(parameter, texts)

    @classmethod
    def from_spec(
        cls,
        pod_spec: "V1PodSpec",
        *,
        primary_container_name: str | None = None,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> "PodTemplate":
        """A template of ``pod_spec``.

        :param primary_container_name: default: the only container of the spec, else ``"primary"``.
        """
        name = primary_container_name
        if name is None:
            containers = getattr(pod_spec, "containers", None) or []
            name = containers[0].name if len(containers) == 1 else PRIMARY_CONTAINER_DEFAULT_NAME
        return cls(pod_spec, name, labels, annotations)


def _check_texts(parameter: str, texts: Any) -> None:
    if not isinstance(texts, Mapping):
        raise TypeError(f"PodTemplate: {parameter} takes a dict of texts, got {texts!r}")
    for key, value in texts.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"PodTemplate: {parameter}[{key!r}] takes a text, got {value!r}; write {str(value)!r}")
