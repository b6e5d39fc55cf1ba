"""One task, other settings for one call: resources, retries and environment variables.

$ python examples/overriding.py
$ flyte run examples/overriding.py main --epochs 3
"""

import os

import flyte

env = flyte.TaskEnvironment(
    name="overriding",
    resources=flyte.Resources(cpu=1, memory="512Mi"),
    env_vars={"LEARNING_RATE": "0.1"},
)


@env.task
async def train(epochs: int) -> str:
    if os.environ["LEARNING_RATE"] == "0.5" and flyte.ctx().attempt_number == 0:
        raise ArithmeticError("diverged")
    return f"{epochs} epochs at {os.environ['LEARNING_RATE']}, attempt {flyte.ctx().attempt_number}"


@env.task
async def main(epochs: int = 3) -> list[str]:
    """Train with the task's own settings, then with others.

    :param epochs: how long the first training is.
    """
    # A changed copy; it is cheap, so it can stand right at the call. In this process resources are not reserved.
    big = flyte.Resources(cpu=4, memory="8Gi")
    bold = train.override(resources=big, retries=2, env_vars={"LEARNING_RATE": "0.5"})
    assert (train.resources, bold.resources) == (env.resources, big)
    return [await train(epochs), await bold(10 * epochs), await train(epochs)]


if __name__ == "__main__":
    print(*flyte.run(main, epochs=3).result, sep="\n")
