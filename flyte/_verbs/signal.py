"""``flyte.signal``: answer what a run waits for."""

from typing import Any

from flyte._journal import condition, signals
from flyte.remote import _conditions as everywhere
from flyte.syncify import syncify


@syncify
async def signal(run: str, name: str, value: Any, *, by: str | None = None) -> None:
    """Answer a condition of a run: in this process, in another of this machine, or on the control plane. Also ``.aio``.

    The first answer counts; the same value again is no error.

    :param run: name of the run.
    :param name: of the condition, as given to ``flyte.new_condition``, or of its action.
    :param value: a value of the condition's type.
    :param by: who says so; the user of this process if not given. A control plane knows who you are.
    :raises flyte.errors.ConditionNotFoundError: no such run, or it has not reached such a condition.
    :raises flyte.errors.TypeTransformerFailedError: the value is of another type; nothing is written.
    :raises flyte.errors.RuntimeUserError: the condition was answered otherwise, or waits no more.
    """
    here = signals.waiting_here(run, name)
    if here is not None:
        await condition.answer(here.asked, value, by)
    else:
        await everywhere.answer(await everywhere.find_condition(run, name), value, by)
