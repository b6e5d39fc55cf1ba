"""Tasks whose wire form is pinned: every field of a definition that reaches a control plane, in some task.

Only names of the public API, so that the published package can read this file too (see `record.py`).
"""

import enum
import inspect
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from kubernetes.client import V1Container, V1EnvVar, V1PodSpec, V1ResourceRequirements

import flyte
import flyte.models
import flyte.notify
from flyte.extend import AsyncFunctionTaskTemplate, TaskPluginRegistry, TaskTemplate
from flyte.extras import ContainerTask
from flyte.io import Dir, File
from flyte.models import CodeBundle, NativeInterface, SerializationContext

IMAGE = "example.com/team/app:1"

CONTEXT = SerializationContext(
    version="v7",
    project="shop",
    domain="development",
    org="acme",
    code_bundle=CodeBundle(computed_version="c0ffee", tgz="s3://bucket/fast1.tar.gz", destination="/root"),
    root_dir=Path(__file__).parent,
)
PICKLED = SerializationContext(
    version="v7",
    project="shop",
    domain="development",
    org="acme",
    code_bundle=CodeBundle(computed_version="b0b", pkl="s3://bucket/code.pkl.gz", destination="/root"),
)
IN_IMAGE = SerializationContext(
    version="v7",
    project="shop",
    domain="development",
    org="acme",
    root_dir=Path(__file__).parent,
    input_path="s3://bucket/in.pb",
    output_path="s3://bucket/out",
)

env = flyte.TaskEnvironment(name="orders", image=IMAGE)
rich = flyte.TaskEnvironment(
    name="forecasts",
    image=IMAGE,
    description="Forecasts of each day",
    resources=flyte.Resources(cpu=(1, 2), memory=("1Gi", "2Gi"), gpu="A100:2", disk="10Gi", shm="auto"),
    env_vars={"MODE": "fast", "EMPTY": ""},
    secrets=[
        flyte.Secret(key="api-key"),
        flyte.Secret(key="cert", group="tls", mount=PurePosixPath("/etc/flyte/secrets")),
        "token",
    ],
    interruptible=True,
    service_account="runner",
    queue="large",
)
kept = flyte.TaskEnvironment(
    name="warm",
    image=IMAGE,
    resources=flyte.Resources(cpu=1),
    reusable=flyte.ReusePolicy(
        replicas=(1, 4), idle_ttl=timedelta(minutes=2), concurrency=3, scaledown_ttl=60, scope="run"
    ),
)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float = 0.5


class Both(NamedTuple):
    total: int
    label: str


@env.task
async def plain(x: int) -> int:
    return x


elsewhere = flyte.TaskEnvironment(name="elsewhere", image=IMAGE)
shared = elsewhere.task(plain.func)


@env.task
async def nothing() -> None:
    pass


@env.task
def blocking(name: str, count: int = 3, ratio: float | None = None) -> str:
    """Say a name.

    It is said more than once.

    Args:
        name: who
        count: how often
    """
    return name * count


@env.task
async def values(
    flag: bool,
    color: Color,
    point: Point,
    when: datetime,
    names: list[str],
    table: dict[str, int],
    either: int | str = 1,
) -> tuple[int, str]:
    return 1, ""


@env.task
async def named(point: Point = Point(1, 2.0), colors: list[Color] | None = None) -> Both:
    return Both(1, "")


@rich.task(report=True, retries=2, timeout=90, short_name="forecast of the day")
async def forecast(day: datetime) -> float:
    return 0.0


@env.task(cache=flyte.Cache("auto", version_override="4", serialize=True, ignored_inputs=("note",), max_age=3600))
async def cached(x: int, note: str) -> int:
    return x


@env.task(cache="auto")
async def cached_by_body(x: int) -> int:
    return x + 1


@env.task(
    retries=flyte.RetryStrategy(
        count=5, backoff=flyte.Backoff(base=timedelta(seconds=2), factor=3.0, cap=timedelta(minutes=1))
    ),
    timeout=flyte.Timeout(
        max_runtime=timedelta(seconds=90, milliseconds=500), max_queued_time=60, deadline=timedelta(hours=1)
    ),
)
async def patient() -> None:
    pass


@env.task(
    pod_template="gpu-pods", interruptible=True, entrypoint=True, docs=flyte.Documentation("Explained. At length.")
)
async def templated(x: int = 1) -> int:
    return x


@kept.task
async def reused(x: int) -> int:
    return x


@env.task(
    triggers=(
        flyte.Trigger.hourly("at", inputs={"n": 4}),
        flyte.Trigger(
            "every-ten",
            flyte.FixedRate(10, start_time=datetime(2026, 1, 2)),
            description="often",
            auto_activate=False,
            inputs={"at": datetime(2026, 3, 4)},
            env_vars={"A": "1"},
            interruptible=False,
            overwrite_cache=True,
            queue="slow",
            labels={"team": "a"},
            annotations={"why": "b"},
        ),
    )
)
async def scheduled(at: datetime, n: int = 2) -> int:
    return n


POD = V1PodSpec(
    containers=[
        V1Container(
            name="main",
            env=[V1EnvVar(name="OWN", value="0")],
            resources=V1ResourceRequirements(limits={"cpu": "7", "memory": "1Gi"}),
        ),
        V1Container(name="sidecar", image="example.com/side:1", command=["serve"]),
    ],
    node_selector={"pool": "a"},
)
podded = plain.override(
    pod_template=flyte.PodTemplate(POD, "main", labels={"team": "a"}, annotations={"why": "b"}),
    env_vars={"MODE": "fast"},
    resources=flyte.Resources(cpu=1, memory=("1Gi", "2Gi"), gpu="T4:1", disk="3Gi"),
)


@dataclass
class Cluster:
    size: int = 2


class ClusterTask(AsyncFunctionTaskTemplate):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.task_type = "cluster"
        self.task_type_version = 3

    def custom_config(self, sctx: SerializationContext) -> dict[str, Any]:
        return {"size": self.plugin_config.size, "nodes": {"names": ["a", "b"]}}


TaskPluginRegistry.register(Cluster, ClusterTask)
clusters = flyte.TaskEnvironment(name="clusters", image=IMAGE, plugin_config=Cluster(5))


@clusters.task
async def clustered(x: int) -> int:
    return x


class Configured(TaskTemplate):
    """What only the seed of the published API promises: `config` on the wire."""

    def config(self, sctx: SerializationContext) -> dict[str, str]:
        return {"dialect": "ansi"}


class Query(Configured):
    def sql(self, sctx: SerializationContext) -> str:
        return "select 1"


class Raw(TaskTemplate):
    def container_args(self, serialize_context: SerializationContext) -> list[str]:
        return ["wc", "{{.inputs.text}}"]

    def data_loading_config(self, sctx: SerializationContext) -> Any:
        from flyteidl2.core.tasks_pb2 import DataLoadingConfig

        return DataLoadingConfig(enabled=True, input_path="/var/inputs", output_path="/var/outputs")


COUNTING = NativeInterface({"text": (str, inspect.Parameter.empty)}, {"count": int})


class Board:
    name = "board"
    icon_uri = "https://example.com/i.svg"

    def get_link(self, run_name: str, project: str, domain: str, context: dict[str, str], **rest: Any) -> str:
        return f"https://example.com/{project}/{domain}/{run_name}/{rest['action_name']}"


greeting = ContainerTask(
    name="greeting", image=IMAGE, command=["/bin/sh", "-c", "echo {{.inputs.name}} > /var/outputs/said"],
    arguments=["-n", "{{.inputs.n}}"], inputs={"name": str, "n": int, "notes": File}, outputs={"said": str, "all": Dir},
    metadata_format="YAML", resources=flyte.Resources(cpu=1, memory="1Gi"), env_vars={"A": "b"}, retries=1,
)  # fmt: skip
flyte.TaskEnvironment.from_task("greetings", greeting)

DEFINITIONS = {
    "plain": (plain, CONTEXT),
    "plain_from_pickle": (plain, PICKLED),
    "plain_in_image": (plain, IN_IMAGE),
    "nothing": (nothing, CONTEXT),
    "blocking": (blocking, CONTEXT),
    "values": (values, CONTEXT),
    "named": (named, CONTEXT),
    "forecast": (forecast, CONTEXT),
    "cached": (cached, CONTEXT),
    "cached_by_body": (cached_by_body, CONTEXT),
    "patient": (patient, CONTEXT),
    "templated": (templated, CONTEXT),
    "reused": (reused, CONTEXT),
    "reused_off": (reused.override(reusable="off", resources=flyte.Resources(gpu=1)), CONTEXT),
    "scheduled": (scheduled, CONTEXT),
    "long_short_name": (plain.override(short_name="n" * 80), CONTEXT),
    "tpu": (plain.override(resources=flyte.Resources(gpu=flyte.TPU("V5P", "2x2x1"), shm="1Gi")), CONTEXT),
    "partition": (plain.override(resources=flyte.Resources(gpu=flyte.GPU("A100", 1, "1g.5gb"))), CONTEXT),
    "podded": (podded, CONTEXT),
    "podded_and_reused": (reused.override(pod_template=flyte.PodTemplate(POD, "main")), CONTEXT),
    "pod_of_its_own": (plain.override(pod_template=flyte.PodTemplate()), CONTEXT),
    "clustered": (clustered, CONTEXT),
    "configured": (
        Configured(name="configured", interface=NativeInterface({}, {}), image=IMAGE, cache="disable"),
        CONTEXT,
    ),
    "query": (Query(name="query", interface=NativeInterface({}, {}), image=IMAGE, cache="disable"), CONTEXT),
    "raw": (
        Raw(name="raw", interface=COUNTING, image=IMAGE, task_type="raw-container", cache="disable"),
        CONTEXT,
    ),
    "container": (greeting, CONTEXT),
    "linked": (plain.override(links=(Board(),)), CONTEXT),
    "file_and_variable": (
        plain.override(secrets=flyte.Secret("k", mount=PurePosixPath("/etc/flyte/secrets"), as_env_var="KK")),
        CONTEXT,
    ),
    "produces": (plain.override(produces_artifacts=True, debuggable=False), CONTEXT),
    "no_names": (plain, SerializationContext(version="v1", root_dir=CONTEXT.root_dir)),
}

_EVERY = flyte.models.ActionPhase
_NOTIFIED = (
    flyte.notify.Email(on_phase=_EVERY.FAILED, recipients=("a@example.com",), cc=("b@example.com",), body="1 < 2"),
    flyte.notify.Slack(on_phase=(_EVERY.FAILED, _EVERY.TIMED_OUT), webhook_url="https://example.com/s", message="hi"),
    flyte.notify.Teams(on_phase=_EVERY.ABORTED, webhook_url="https://example.com/t"),
    flyte.notify.Webhook(
        on_phase=_EVERY.SUCCEEDED, url="https://example.com/w", method="PUT", headers={"X-A": "b"}, body={"n": 1}
    ),
    flyte.notify.NamedDelivery(on_phase=_EVERY.FAILED, name="pager"),
)
TRIGGERS = {
    "hourly": (scheduled, scheduled.triggers[0]),
    "every_ten": (scheduled, scheduled.triggers[1]),
    "by_hand": (plain, flyte.Trigger("by-hand", inputs={"x": 1}, max_action_concurrency=4)),
    "timezone": (plain, flyte.Trigger("nine", flyte.Cron("0 9 * * *", "Europe/Paris"), inputs={"x": 1})),
    "artifact": (
        blocking,
        flyte.Trigger(
            "new-model",
            flyte.OnArtifact("model", "v1", region="eu"),
            inputs={"name": flyte.TriggeredArtifact, "count": flyte.TriggeredPartition("region")},
        ),
    ),
    "notified": (nothing, flyte.Trigger("told", notifications=_NOTIFIED, custom_context={"why": "test"})),
    "named_rule": (nothing, flyte.Trigger("rule", notifications=flyte.notify.NamedRule(name="on-call"))),
}
