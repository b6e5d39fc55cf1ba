"""PodTemplate."""

from kubernetes.client import V1Container, V1EnvVar, V1PodSpec

import flyte
from flyte.extend import PRIMARY_CONTAINER_DEFAULT_NAME, pod_spec_from_resources
from transcript import attempt, show

empty = flyte.PodTemplate()
show("empty", [empty.pod_spec, empty.primary_container_name, empty.labels, empty.annotations])
spec = V1PodSpec(containers=[V1Container(name="main", env=[V1EnvVar(name="A", value="1")]), V1Container(name="side")])
template = flyte.PodTemplate(pod_spec=spec, primary_container_name="main", labels={"a": "b"}, annotations={"c": "d"})
show("spec", template.pod_spec is spec)
show("labels", [template.labels, template.annotations, template.primary_container_name])
env = flyte.TaskEnvironment("pods", pod_template=template)


@env.task
async def f(x: int) -> int:
    return x


@env.task(pod_template="named")
async def g(x: int) -> int:
    return x


show("f", f.pod_template is template)
show("g", g.pod_template)
show("run", flyte.run(f, 1).outputs()[0])
show("constant", PRIMARY_CONTAINER_DEFAULT_NAME)
for label, make in {
    "nothing": lambda: pod_spec_from_resources(),
    "requests": lambda: pod_spec_from_resources(requests=flyte.Resources(cpu="1", memory="1Gi")),
    "limits": lambda: pod_spec_from_resources(limits=flyte.Resources(cpu="2")),
    "both": lambda: pod_spec_from_resources(
        requests=flyte.Resources(cpu="1"), limits=flyte.Resources(cpu="2", memory="2Gi")),
    "name": lambda: pod_spec_from_resources("other", flyte.Resources(cpu="1")),
    "gpu": lambda: pod_spec_from_resources(requests=flyte.Resources(gpu="A100:2")),
    "gpu key": lambda: pod_spec_from_resources(requests=flyte.Resources(gpu="T4:1"), k8s_gpu_resource_key="amd.com/gpu"),
    "disk": lambda: pod_spec_from_resources(requests=flyte.Resources(disk="10Gi")),
    "tuple": lambda: pod_spec_from_resources(requests=flyte.Resources(cpu=("1", "2"))),
}.items():
    try:
        made = make()
    except Exception as raised:
        show(label, raised)
        continue
    show(label, [c.name for c in made.containers])
    resources = made.containers[0].resources
    show("  requests", dict(sorted((resources.requests or {}).items())) if resources else None)
    show("  limits", dict(sorted((resources.limits or {}).items())) if resources else None)
