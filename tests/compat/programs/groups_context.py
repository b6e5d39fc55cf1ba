"""flyte.group and custom_context."""

import asyncio

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("grp")


@env.task
async def child(x: int) -> str:
    group = flyte.ctx().group_data
    return f"{x} {group.name if group else None} {flyte.ctx().custom_context} {flyte.get_custom_context()}"


@env.task
def sync_child() -> str:
    return f"{flyte.get_custom_context()}"


@env.task
async def main() -> list[str]:
    out = [str(flyte.ctx().group_data), str(flyte.get_custom_context())]
    with flyte.group("outer"):
        out.append(flyte.ctx().group_data.name)
        out.append(await child(1))
        with flyte.group("inner"):
            out.append(flyte.ctx().group_data.name)
        out.append(flyte.ctx().group_data.name)
    with flyte.custom_context(a="1", b="2"):
        out.append(str(flyte.get_custom_context()))
        out.append(await child(2))
        with flyte.custom_context(b="3", c="4"):
            out.extend(await asyncio.gather(child(3), sync_child.aio()))
        out.append(str(flyte.get_custom_context()))
    out.append(str(flyte.get_custom_context()))
    return out


for line in flyte.run(main).outputs()[0]:
    show("line", line)
for line in flyte.with_runcontext(mode="local", custom_context={"run": "r"}).run(main).outputs()[0]:
    show("line", line)
attempt("group outside", lambda: flyte.group("g").__enter__())
attempt("context outside", flyte.get_custom_context)


def outside():
    with flyte.custom_context(a="1"):
        return flyte.get_custom_context()


def run_inside():
    with flyte.custom_context(project="p"):
        return flyte.run(sync_child).outputs()[0]


attempt("custom outside", outside)
attempt("custom around run", run_inside)
