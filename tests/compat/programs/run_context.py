"""Options of with_runcontext, and the ways to start a run."""

import asyncio
import os
from datetime import datetime, timezone

import flyte
from flyte.extend import is_initialized
from transcript import accepted, attempt, show

env = flyte.TaskEnvironment("rc", env_vars={"FROM_ENV": "env"})


@env.task
async def f(x: int) -> str:
    c = flyte.ctx()
    return f"{x} {c.mode} {c.custom_context}"


@env.task
def g(x: int) -> int:
    return x * 2


show("before", is_initialized())
attempt("run without init", lambda: flyte.run(g, 2).outputs()[0])
flyte.init()
show("after", is_initialized())
show("version", isinstance(flyte.version(), str) and flyte.version() == flyte.__version__)
W = flyte.with_runcontext
for label, make in {
    "nothing": lambda: W(), "positional": lambda: W("local"), "mode": lambda: W(mode="local"),
    "name": lambda: W(mode="local", name="named"),
    "custom_context": lambda: W(mode="local", custom_context={"a": "1"}),
    "env_vars": lambda: W(mode="local", env_vars={"Z": "1"}), "version": lambda: W(mode="local", version="v1"),
    "labels": lambda: W(mode="local", labels={"a": "b"}, annotations={"c": "d"}),
    "start": lambda: W(mode="local", run_start_time=datetime(2025, 1, 1, tzinfo=timezone.utc)),
    "cache": lambda: W(mode="local", overwrite_cache=True, disable_run_cache=True),
    "paths": lambda: W(mode="local", raw_data_path="/tmp/raw_x", run_base_dir="/tmp/base_x"),
    "flags": lambda: W(mode="local", interruptible=True, queue="q", project="p", domain="d", debug=False),
    "log": lambda: W(mode="local", log_level=30, user_log_level=40, log_format="console", reset_root_logger=False),
    "interactive": lambda: W(mode="local", interactive_mode=False, copy_style="none"),
    "concurrency": lambda: W(mode="local", max_action_concurrency=2, cache_lookup_scope="global"),
    "service account": lambda: W(mode="local", service_account="s", preserve_original_types=True),
}.items():
    attempt(label, lambda: make().run(f, 1).outputs()[0])
accepted("bad mode", lambda: W(mode="elsewhere").run(f, 1))
accepted("unknown option", lambda: W(mode="local", colour="red"))
accepted("bad copy style", lambda: W(mode="local", copy_style="some"))


async def asynchronous():
    run = await flyte.run.aio(f, 3)
    other = await flyte.with_runcontext(mode="local").run.aio(g, x=4)
    third = await asyncio.gather(*(flyte.run.aio(g, i) for i in range(3)))
    return [run.outputs()[0], other.outputs()[0], [r.outputs()[0] for r in third]]


attempt("aio", lambda: asynchronous())
accepted("run a function", lambda: flyte.run(asynchronous))
accepted("run nothing", lambda: flyte.run())
accepted("remote without endpoint", lambda: W(mode="remote").run(f, 1))
show("variable outside", os.environ.get("FROM_ENV"))
attempt("init twice", flyte.init)
accepted("init options", lambda: flyte.init(org="o", project="p", domain="d", log_level=30))
attempt("init root", lambda: flyte.init(root_dir=__import__("pathlib").Path(".")))
accepted("init unknown", lambda: flyte.init(colour="red"))
accepted("init builder", lambda: flyte.init(image_builder="local", images={"a": "b:1"}))
accepted("init rest", lambda: flyte.init(load_plugin_type_transformers=False, disable_keyring=True, image_registry="r"))
accepted("init tracked", lambda: flyte.init(local_tracked=False, local_tracked_strict=False, scopes=None))
