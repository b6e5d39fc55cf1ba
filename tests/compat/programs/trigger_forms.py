"""Triggers."""

from datetime import datetime, timezone

import flyte
from transcript import accepted, attempt, show

T = flyte.Trigger
for label, make in {
    "cron": lambda: T(name="t", automation=flyte.Cron("0 * * * *")),
    "positional": lambda: T("t", flyte.Cron("0 * * * *", "Europe/Paris")),
    "rate": lambda: T("t", flyte.FixedRate(15)),
    "rate start": lambda: T("t", flyte.FixedRate(15, start_time=datetime(2025, 1, 1, tzinfo=timezone.utc))),
    "full": lambda: T("t", flyte.Cron("@daily"), description="d", auto_activate=False,
                      inputs={"x": 1, "start": flyte.TriggerTime}, env_vars={"A": "1"}, interruptible=True,
                      overwrite_cache=True, queue="q", labels={"a": "b"}, annotations={"c": "d"}),
    "hourly": lambda: T.hourly(), "daily": lambda: T.daily(), "weekly": lambda: T.weekly(), "monthly": lambda: T.monthly(),
    "minutely": lambda: T.minutely(), "hourly input": lambda: T.hourly("when"),
    "daily named": lambda: T.daily("when", name="mine"), "daily inputs": lambda: T.daily("when", inputs={"y": 2}),
    "weekly options": lambda: T.weekly(description="d", auto_activate=False, queue="q"),
    "empty name": lambda: T("", flyte.Cron("0 * * * *")), "no automation": lambda: T("t"),
    "artifact": lambda: T("t", flyte.OnArtifact("name")), "bad automation": lambda: T("t", "0 * * * *"),
}.items():
    trigger = accepted(label, make)
    if trigger is not None:
        show("  name", trigger.name)
        show("  automation", type(trigger.automation).__name__)
        if isinstance(trigger.automation, (flyte.Cron, flyte.FixedRate)):
            show("  automation", trigger.automation)
        show("  description", trigger.description)
        show("  auto_activate", trigger.auto_activate)
        show("  inputs", {k: ("TIME" if v is flyte.TriggerTime else v) for k, v in (trigger.inputs or {}).items()})
        show("  rest", [trigger.env_vars, trigger.interruptible, trigger.overwrite_cache, trigger.queue])
        show("  labels", [dict(trigger.labels or {}), dict(trigger.annotations or {})])
for expression in ("*/5 * * * *", "@hourly", "0 0 1 1 *", "0 9-17 * * MON-FRI", "61 * * * *", "nonsense", "* * * *", ""):
    accepted(f"Cron({expression!r})", flyte.Cron, expression)
accepted("timezone", flyte.Cron, "0 0 * * *", timezone="America/New_York")
accepted("bad timezone", flyte.Cron, "0 0 * * *", timezone="Mars/North")
accepted("rate 0", flyte.FixedRate, 0)
accepted("rate negative", flyte.FixedRate, -5)
env = flyte.TaskEnvironment("trig")


@env.task(triggers=[T.hourly("start"), T("two", flyte.FixedRate(5), inputs={"start": flyte.TriggerTime, "x": 3})])
async def f(start: datetime, x: int = 1) -> str:
    return f"{start.isoformat()} {x}"


show("names", [t.name for t in f.triggers])
show("type", type(f.triggers).__name__)
show("run", flyte.run(f, datetime(2025, 1, 1, tzinfo=timezone.utc)).outputs()[0])
