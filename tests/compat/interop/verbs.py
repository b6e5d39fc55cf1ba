"""What a client does beside running: deploy, look up, list, abort, secrets. Printed is what it saw, as JSON."""

import asyncio
import json
import sys

import flyte
import flyte.errors
from flyte.remote import Action, Run, Secret, Task

env = flyte.TaskEnvironment("verbs", image=flyte.Image.from_base("nowhere/none:1"), description="for interop")


@env.task
async def child(x: int) -> int:
    print(f"child of {x}")
    return x + 1


@env.task
async def parent(x: int = 4) -> int:
    """Add one twice.

    :param x: where to begin
    """
    return await child(await child(x))


@env.task
async def sleeps() -> None:
    await asyncio.sleep(120)


@env.task(retries=1)
async def breaks(x: int) -> int:
    raise LookupError(f"nothing at {x}")


def seen(endpoint: str) -> dict[str, object]:
    flyte.init(endpoint=endpoint, insecure=True, org="me", project="flytesnacks", domain="development")
    found: dict[str, object] = {}

    flyte.deploy(env, version="v1")
    task = Task.get("verbs.parent", version="v1").fetch()
    found["task"] = [task.name, task.version]
    found["latest"] = Task.get("verbs.parent", auto_version="latest").fetch().version
    found["tasks"] = sorted(one.name for one in Task.listall(by_task_env="verbs"))

    run = flyte.run(task, x=1)
    run.wait()
    again = Run.get(run.name)
    found["run"] = [str(again.phase), next(iter(again.outputs())), again.name == run.name]
    found["inputs"] = dict(again.inputs())
    found["actions"] = sorted(one.task_name or "" for one in Action.listall(for_run_name=run.name))
    found["listed"] = run.name in [one.name for one in Run.listall(limit=10)]
    found["default"] = next(iter(_done(flyte.run(task)).outputs()))

    failed = _done(flyte.run(breaks, x=2))
    error = failed.details().action_details.error_info
    found["failed"] = [str(failed.phase), error.code, "nothing at 2" in error.message]

    slow = flyte.run(sleeps)
    slow.abort(reason="enough")
    slow = _done(slow)
    found["aborted"] = str(slow.phase)

    Secret.create(name="interop-key", value="hush")
    found["secrets"] = "interop-key" in [one.name for one in Secret.listall()]
    Secret.delete(name="interop-key")
    found["secrets after"] = "interop-key" in [one.name for one in Secret.listall()]
    return found


def _done(run):
    run.wait()
    return Run.get(run.name)


if __name__ == "__main__":
    print(json.dumps(seen(sys.argv[1])))
