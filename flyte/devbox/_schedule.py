"""Starts the runs of triggers when they are due.

When the devbox did not run, or slept, while a trigger was due several times, the last of them is made up for, not all:
on one machine they would all be started together.
"""

from datetime import UTC, datetime

from flyteidl2.common.identifier_pb2 import RunIdentifier
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.workflow.run_definition_pb2 import RunSource

from flyte._core.clock import Clock
from flyte._core.log import logger
from flyte._wire.values import KICKOFF_KEY

from ._calendar import next_after
from ._hashing import hash_inputs
from ._intake import Intake
from ._refusal import Refusal
from ._services.catalog import Catalog, KnownTrigger

_LOOK_S = 1.0
"""How often triggers are looked at."""


class Scheduler:
    """Fires triggers.

    :param clock: says what time it is.
    """

    def __init__(self, catalog: Catalog, intake: Intake, clock: Clock) -> None:
        self._catalog = catalog
        self._intake = intake
        self._clock = clock
        self._next: dict[tuple[str, int, float], float | None] = {}

    async def run(self) -> None:
        """Fire what is due, for as long as the devbox runs."""
        while True:
            try:
                await self.fire_due()
            except Exception:
                logger.exception("triggers could not be looked at")
            await self._clock.sleep(_LOOK_S)

    async def fire_due(self) -> list[str]:
        """Start the runs that are due now, and give their names."""
        now = self._clock.time()
        started = []
        known: dict[tuple[str, int, float], float | None] = {}
        for trigger in self._catalog.active_triggers():
            since = max(trigger.triggered_at or 0.0, trigger.updated_at)
            key = (trigger.name.SerializeToString(deterministic=True).hex(), trigger.revision, since)
            due = self._next[key] if key in self._next else _first_after(trigger, since)
            known[key] = due
            if due is None or due > now:
                continue
            while (later := _first_after(trigger, due)) is not None and later <= now:
                due = later
            name = await self._fire(trigger, due)
            if name is not None:
                started.append(name)
        self._next = known
        return started

    async def _fire(self, trigger: KnownTrigger, due: float) -> str | None:
        name = trigger.name
        inputs, (uri, hashed) = trigger.given()
        try:
            spec = self._catalog.spec_of(trigger.task_id)
            ignored = spec.task_template.metadata.cache_ignore_input_vars
            argument = trigger.automation.schedule.kickoff_time_input_arg
            if inputs is not None:
                hashed = hash_inputs(inputs, ignored)
                inputs = _with_kickoff(inputs, argument)
            if argument and argument not in ignored:
                moment = datetime.fromtimestamp(due, UTC).isoformat().replace("+00:00", "Z")
                hashed = f"{hashed}|runStartTime={moment}"
            run = await self._intake.create_run(
                RunIdentifier(org=name.org, project=name.project, domain=name.domain),
                spec,
                trigger.spec.run_spec,
                inputs=inputs,
                input_uri=uri,
                inputs_hash=hashed,
                source=RunSource.RUN_SOURCE_SCHEDULE_TRIGGER,
                start_time=due,
                trigger=(name.name, trigger.revision),
                made_known=lambda _: [self._catalog.fired(name, due)],
            )
        except Refusal as refusal:
            logger.error("trigger %s of task %s could not be fired: %s", name.name, name.task_name, refusal)
            await self._catalog.store.write(self._catalog.fired(name, due))
            return None
        return run.name


def _first_after(trigger: KnownTrigger, moment: float) -> float | None:
    try:
        return next_after(trigger.automation.schedule, moment, trigger.deployed_at)
    except ValueError:
        return None  # a trigger without a schedule is fired by hand


def _with_kickoff(inputs: Inputs, argument: str) -> Inputs:
    if not argument or any(pair.key == KICKOFF_KEY for pair in inputs.context):
        return inputs
    named = Inputs()
    named.CopyFrom(inputs)
    named.context.add(key=KICKOFF_KEY, value=argument)
    return named
