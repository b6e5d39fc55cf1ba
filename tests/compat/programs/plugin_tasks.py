"""Plugin classes as published plugins write them."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional

import flyte
from flyte.extend import AsyncFunctionTaskTemplate, TaskPluginRegistry, TaskTemplate
from flyte.models import NativeInterface, SerializationContext
from transcript import accepted, attempt, show

log = []


@dataclass
class Cluster:
    workers: int = 2
    options: Dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class ClusterTask(AsyncFunctionTaskTemplate):
    task_type: str = "cluster"
    plugin_config: Cluster
    debuggable: bool = True

    def __post_init__(self):
        super().__post_init__()
        self.task_type = f"cluster-{self.plugin_config.workers}"

    async def pre(self, *args, **kwargs) -> Dict[str, Any]:
        log.append(f"pre {args} {kwargs}")
        return {"session": "s"}

    async def post(self, return_vals: Any) -> Any:
        log.append(f"post {return_vals!r}")
        return return_vals

    def custom_config(self, sctx: SerializationContext) -> Dict[str, str]:
        return {"workers": str(self.plugin_config.workers)}


TaskPluginRegistry.register(config_type=Cluster, plugin=ClusterTask)
env = flyte.TaskEnvironment("plug", plugin_config=Cluster(workers=3))


@env.task
async def f(x: int) -> str:
    return f"{x} {flyte.ctx().data}"


@env.task(retries=2, short_name="g")
def g(x: int, y: int = 2) -> int:
    return x + y


@env.task
async def broken(x: int) -> int:
    raise ValueError("b")


@dataclass(kw_only=True)
class Query(TaskTemplate):
    template: str
    config: Optional[str] = None

    def __init__(self, name: str, template: str, inputs: Dict[str, type], **kwargs):
        super().__init__(
            name=name,
            interface=NativeInterface({k: (v, None) for k, v in inputs.items()} if inputs else {}, {"results": str}),
            task_type="query",
            **kwargs,
        )
        self.template = template

    async def execute(self, **kwargs) -> str:
        return self.template.format(**kwargs)


query = Query("q", "select {x}", {"x": int})
other = flyte.TaskEnvironment.from_task("query_env", query)


@env.task
async def nested(x: int) -> str:
    return await query(x=x)


show("type", type(f).__name__)
show("task_type", [f.task_type, g.task_type])
show("config", f.plugin_config)
show("sync", [f._call_as_synchronous, g._call_as_synchronous])
show("name", [f.name, f.short_name, g.short_name, g.retries.count])
show("image", type(f.image).__name__)
show("parent", f.parent_env() is env)
attempt("run f", lambda: flyte.run(f, 1).outputs()[0])
show("log", log)
log.clear()
attempt("run g", lambda: flyte.run(g, x=1).outputs()[0])
show("log", log)
log.clear()
attempt("run broken", lambda: flyte.run(broken, 1).outputs()[0])
show("log", log)
show("find", TaskPluginRegistry.find(config_type=Cluster) is ClusterTask)
show("find unknown", TaskPluginRegistry.find(config_type=int))
show("listed", Cluster in TaskPluginRegistry.list_plugins())
show("override", type(f.override(retries=3)).__name__)
show("override keeps", [f.override(retries=3).task_type, f.override(retries=3).plugin_config])
attempt("override config", lambda: f.override(plugin_config=Cluster(9)).plugin_config)
sctx = SerializationContext(version="v")
attempt("custom", lambda: f.custom_config(sctx))
attempt("config", lambda: f.config(sctx))
attempt("sql", lambda: f.sql(sctx))
attempt("args base", lambda: query.container_args(sctx))
attempt("query run", lambda: flyte.run(query, x=3).outputs()[0])
attempt("query nested", lambda: flyte.run(nested, 4).outputs()[0])
show("query env", sorted(other.tasks))
show("query name", [query.name, query.task_type, query.parent_env_name])
attempt("query outside", lambda: query(x=3))
accepted("same again", lambda: TaskPluginRegistry.register(Cluster, ClusterTask))
attempt("base forward", lambda: TaskTemplate(name="t", interface=NativeInterface({}, {})).forward())
attempt("base positional", lambda: TaskTemplate("t", NativeInterface({}, {})))
attempt("base fields", lambda: [getattr(TaskTemplate(name="t", interface=NativeInterface({}, {})), n)
                                for n in ("short_name", "task_type", "task_type_version", "interruptible", "report", "queue",
                                          "debuggable", "triggers", "max_inline_io_bytes", "parent_env", "source_file")])


@dataclass(kw_only=True)
class Constant(TaskTemplate):
    value: int = 42

    async def execute(self, *args, **kwargs):
        return self.value

    def forward(self, *args, **kwargs):
        return self.value + 1


constant = Constant(name="c", interface=NativeInterface.from_types({}, {"o0": int}), image="auto")
attempt("constant", lambda: flyte.run(constant).outputs()[0])
attempt("constant outside", lambda: constant())
