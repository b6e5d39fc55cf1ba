"""Whether a call would be answered from the cache of this machine, found out without running anything.

Called when a plan of a run is shown.
"""

import datetime
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flyte._core.home import home_dir
from flyte._core.identity import hash_data
from flyte._definition.cache import Cache
from flyte._definition.task import TaskTemplate

from .attempt import plan_of
from .cache import _store, key_of


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the cache is expected to do for a call.

    :param outcome: ``"hit"``: the result is there; ``"miss"``: the task runs; ``"off"``: it is not cached;
        ``"unknown"``: it cannot be told beforehand.
    :param why: in words.
    """

    task: str
    outcome: Literal["hit", "miss", "off", "unknown"]
    why: str


def predict(task: TaskTemplate[Any, Any, Any], arguments: Mapping[str, Any]) -> Prediction:
    """What the cache would do for ``task(**arguments)`` on this machine.

    :raises TypeError: an argument that the task does not have, or of the wrong type.
    """
    plan = plan_of(task)
    cache = task.cache
    if not plan.cached or not isinstance(cache, Cache):
        return Prediction(task.name, "off", "the task is not cached; give it or its environment cache='auto'")
    if os.environ.get("FLYTE_CACHE", "").lower() == "off":
        return Prediction(task.name, "off", "FLYTE_CACHE=off")
    missing = [name for name in task.interface.required_inputs() if name not in arguments]
    if missing:
        return Prediction(task.name, "unknown", f"no value is given for {', '.join(missing)}")
    if plan.boundary.awaits or plan.ignored:
        # Files and frames get their place, and with it their hash, when the run takes them in.
        return Prediction(task.name, "unknown", "the inputs that tell calls apart are known when the run begins")
    _, pieces = plan.boundary.take(plan.name, (), dict(arguments))
    data = b"".join(pieces)
    key = key_of(plan, cache, hash_data(data) if data else "")
    if key is None:
        return Prediction(task.name, "unknown", "the version of the task cannot be found out")
    age = cache.max_age
    age_s = age.total_seconds() if isinstance(age, datetime.timedelta) else age
    # A cache that is not there is not made by looking.
    store = _store() if (home_dir() / "local" / "cache.db").exists() else None
    if store is not None and store.get(key, age_s, time.time()) is not None:
        return Prediction(task.name, "hit", "an equal call of the same version ended well on this machine")
    return Prediction(task.name, "miss", "there was no equal call of this version on this machine")
