"""``Condition``: a condition of a run on this machine, to look at and answer; shaped like a control plane's."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Self

from flyte.errors import ConditionNotFoundError, TypeTransformerFailedError
from flyte.syncify import syncify

from . import answers, signals
from .signals import Answer, Asked

_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


class Condition:
    """A condition that a run has reached."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    @property
    def name(self) -> str:
        """The condition's name."""
        return self._asked.name

    @property
    def run_name(self) -> str:
        """Name of the run."""
        return self._asked.run

    @property
    def action_name(self) -> str:
        """Name of the condition's own action."""
        return self._asked.action

    @property
    def phase(self) -> str:
        """Where it stood when this was read: ``paused`` while nobody has answered."""
        return self._asked.phase

    @property
    def expected_type(self) -> Any:
        """bool, int, float or str; of any other type its name."""
        return _TYPES.get(self._asked.form.type, self._asked.form.type)

    @property
    def prompt(self) -> str:
        """The question."""
        return self._asked.prompt

    @syncify
    @classmethod
    async def get(cls, name: str, /, run_name: str, action_name: str | None = None) -> Self | None:
        """The condition of that name in a run; None if there is none. Also ``.aio``.

        :param action_name: of the action that asks, where several do.
        """
        try:
            every = await asyncio.to_thread(signals.conditions_of, run_name)
        except ConditionNotFoundError:
            return None
        named = [one for one in every if one.name == name and action_name in (None, one.parent)]
        found = next((one for one in reversed(named) if one.is_open), named[-1] if named else None)
        return cls(found) if found is not None else None

    @syncify
    @classmethod
    async def listall(
        cls, /, run_name: str, action_name: str | None = None, limit: int = 100
    ) -> AsyncIterator["Condition"]:
        """The conditions that a run has reached, in that order. Also ``.aio``.

        :param action_name: only those that this action asks.
        :param limit: how many at most.
        :raises flyte.errors.ConditionNotFoundError: no such run is remembered.
        """
        every = await asyncio.to_thread(signals.conditions_of, run_name)
        for one in [one for one in every if action_name in (None, one.parent)][:limit]:
            yield cls(one)

    @syncify
    async def signal(self, payload: Any, *, by: str | None = None) -> None:
        """Answer it. Also ``.aio``.

        :param payload: a value of the declared type.
        :param by: who says so; the user of this process if not given.
        :raises TypeError: it is of another type.
        :raises flyte.errors.RuntimeUserError: it was answered otherwise, or waits no more.
        """
        await answer(self._asked, payload, by)

    def to_dict(self) -> dict[str, Any]:
        """The condition as JSON has it."""
        return document(self._asked)

    def to_json(self) -> str:
        """:meth:`to_dict` as a text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __repr__(self) -> str:
        return f"Condition(name={self.name!r}, run_name={self.run_name!r}, phase={self.phase!r})"


async def answer(asked: Asked, value: Any, by: str | None = None) -> None:
    """Answer a condition with a Python value.

    :raises flyte.errors.TypeTransformerFailedError: it is not of the declared type.
    :raises flyte.errors.RuntimeUserError: it was answered otherwise, or waits no more.
    """
    here = signals.waiting_here(asked.run, asked.name)
    try:
        if here is not None:
            said = await here.encode(value)
        else:
            said = answers.json_of(value)
            asked.form.check(said)
    except answers.BadAnswer as error:
        raise TypeTransformerFailedError(f"condition {asked.name!r} of run {asked.run}: {error}") from None
    given = Answer(said, time.time(), by or signals.default_user())
    if here is not None:
        await asyncio.to_thread(signals.answer_here, here, given)
    else:
        await asyncio.to_thread(signals.answer_condition, asked, given)


def document(asked: Asked) -> dict[str, Any]:
    """A condition as JSON has it; an answer that is not JSON is left out."""
    said = asked.answer
    return {
        "run": asked.run,
        "name": asked.name,
        "action": asked.action,
        "phase": asked.phase,
        "type": asked.form.type,
        "prompt": asked.prompt,
        "description": asked.description,
        "since": asked.since,
        "timeout_s": asked.timeout_s,
        "ended_at": asked.ended_at,
        "refusal": asked.refusal,
        "answer": None
        if said is None
        else {"value": json.loads(said.value) if isinstance(said.value, str) else None, "at": said.at, "by": said.by},
    }
