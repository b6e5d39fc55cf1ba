"""A task is a function, a workflow is a function that calls tasks.

$ python examples/hello.py
$ flyte run examples/hello.py main --name Ada
"""

import flyte

env = flyte.TaskEnvironment(name="hello")


@env.task
async def greet(name: str) -> str:
    """A greeting: one unit of work, with retries, limits and a name of its own in the run."""
    return f"Hello, {name}!"


@env.task
async def main(name: str = "world") -> str:
    """Greet somebody.

    :param name: whom to greet.
    """
    return await greet(name)


if __name__ == "__main__":
    run = flyte.run(main, name="Ada")
    print(run.result)
