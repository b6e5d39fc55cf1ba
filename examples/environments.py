"""Environments: each says what its tasks need, and a secret or variable is seen in the bodies of its own tasks only.

$ python examples/environments.py
$ FORECAST_KEY=sesame flyte run examples/environments.py main --city Oslo

A secret comes from the process environment or from a file below ~/.flyte/secrets; on a control plane, from its store.
"""

import os

import flyte

forecast_env = flyte.TaskEnvironment(
    name="forecast",
    description="talks to the forecast service",
    env_vars={"FORECAST_UNITS": "metric"},
    secrets=flyte.Secret(key="forecast-key", as_env_var="FORECAST_TOKEN"),
)
# Tasks of the other environment are called from this one, so it has to be built and deployed together with it.
env = flyte.TaskEnvironment(name="report", depends_on=[forecast_env])


def seen() -> str:
    token = os.environ.get("FORECAST_TOKEN")
    return f"units={os.environ.get('FORECAST_UNITS')}, token={f'{len(token)} characters' if token else None}"


@forecast_env.task
async def forecast(city: str) -> str:
    return f"{city}: {seen()}"


@env.task
async def main(city: str = "Oslo") -> list[str]:
    """Ask for a forecast, and look at the surroundings of each task.

    :param city: where.
    """
    return [f"in main before: {seen()}", f"in forecast for {await forecast(city)}", f"in main after: {seen()}"]


if __name__ == "__main__":
    os.environ.setdefault("FORECAST_KEY", "sesame")  # so that this script runs as it stands; never write real ones
    print(*flyte.run(main, city="Oslo").result, sep="\n")
