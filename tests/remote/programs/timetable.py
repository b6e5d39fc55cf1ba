"""Tasks with a trigger and a secret, which the tests of this folder deploy to a devbox."""

import os
from datetime import datetime

import flyte

env = flyte.TaskEnvironment(name="timetable")
guarded = flyte.TaskEnvironment(name="guarded", secrets=flyte.Secret("PASSWORD"))

MORNING = flyte.Trigger(
    "morning",
    flyte.Cron("0 6 * * *", "Europe/Berlin"),
    description="before breakfast",
    auto_activate=False,
    inputs={"at": flyte.TriggerTime},
)


@env.task(triggers=MORNING)
async def report_on(at: datetime, who: str = "nobody") -> str:
    return f"{at.isoformat()} {who}"


@guarded.task
async def whisper() -> str:
    return os.environ["PASSWORD"][::-1]
