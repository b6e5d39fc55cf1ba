"""``flyte.signal``: answer what a run waits for."""

import asyncio
from typing import Any

from flyte._journal import condition, signals
from flyte.syncify import syncify


@syncify
async def signal(run: str, name: str, value: Any, *, by: str | None = None) -> None:
    """Answer a condition of a run on this machine, in this process or another. Also ``.aio``.

    The first answer counts; the same value again is no error.

    :param run: name of the run.
    :param name: of the condition, as given to ``flyte.new_condition``, or of its action.
    :param value: a value of the condition's type.
    :param by: who says so; the user of this process if not given.
    :raises flyte.errors.ConditionNotFoundError: no such run, or it has not reached such a condition.
    :raises flyte.errors.TypeTransformerFailedError: the value is of another type; nothing is written.
    :raises flyte.errors.RuntimeUserError: the condition was answered otherwise, or waits no more.
    """
    here = signals.waiting_here(run, name)
    asked = here.asked if here is not None else await asyncio.to_thread(signals.find_condition, run, name)
    await condition.answer(asked, value, by)
