"""An environment that depends on another, for the tests of deployments."""

import shop

import flyte
import flyte.remote

env = flyte.TaskEnvironment(name="warehouse", depends_on=[shop.env])


@env.task
async def stock(item: str, count: int = 10) -> str:
    """How much there is of an item.

    :param item: what to look for
    """
    return f"{count} {item}"


@env.task
async def ask(item: str) -> list[str]:
    """Asks the deployed task of the same name and version, and the latest of another."""
    here = flyte.remote.Task.get("warehouse.stock", auto_version="current")
    there = flyte.remote.Task.get("shop.add", auto_version="latest")
    return [await here(item=item), await here(item=item, count=2), str(await there(x=1))]
