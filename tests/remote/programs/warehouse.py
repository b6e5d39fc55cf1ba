"""An environment that depends on another, for the tests of deployments."""

import shop

import flyte

env = flyte.TaskEnvironment(name="warehouse", depends_on=[shop.env])


@env.task
async def stock(item: str, count: int = 10) -> str:
    """How much there is of an item.

    :param item: what to look for
    """
    return f"{count} {item}"
