"""Names of actions in a run with a given name."""

import asyncio

import flyte
from transcript import show

env = flyte.TaskEnvironment("names")


@env.task
async def me(x: int) -> str:
    return flyte.ctx().action.name


@env.task
def sync_me(x: int) -> str:
    return flyte.ctx().action.name


@env.task
async def nested(x: int) -> list[str]:
    return [flyte.ctx().action.name, await me(x), await me(x)]


@env.task
async def main() -> list[str]:
    out = [flyte.ctx().action.name]
    out.append(await me(1))
    out.append(await me(1))
    out.append(await me(2))
    out.append(await sync_me.aio(1))
    out.extend(await nested(1))
    out.extend(await asyncio.gather(*(me(i) for i in range(3))))
    with flyte.group("g"):
        out.append(await me(1))
    return out


first = flyte.with_runcontext(mode="local", name="fixed").run(main).outputs()[0]
again = flyte.with_runcontext(mode="local", name="fixed").run(main).outputs()[0]
show("same in both runs", first[1:] == again[1:])
show("distinct", [first.index(name) for name in first])
show("lengths", [20 <= len(name) <= 30 for name in first[1:]])
