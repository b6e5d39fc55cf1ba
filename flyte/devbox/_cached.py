"""Results that are known: found by their key, made by one action at a time where the task asks for that, and kept."""

import time
from collections import deque
from collections.abc import Callable

from flyteidl2.core.catalog_pb2 import CatalogCacheStatus
from flyteidl2.core.tasks_pb2 import TaskMetadata
from flyteidl2.task.task_definition_pb2 import TaskSpec

from flyte._core.identity import ActionPhase

from ._documents import may_exist
from ._rows import Live
from ._store import Statement, Store

_Key = tuple[str, str, str]


class Cached:
    """The cache of a devbox, and who makes what for it."""

    def __init__(self, store: Store, specs: Callable[[bytes], TaskSpec]) -> None:
        self._store = store
        self._specs = specs
        self._reserved: dict[_Key, deque[Live]] = {}

    def find(self, live: Live) -> str | None:
        """Where the outputs of an action are, if they are known; its cache status is set."""
        metadata = self._metadata(live)
        key = _key(live)
        if key is None or not metadata.discoverable:
            return None
        if live.run.spec.overwrite_cache or live.run.spec.cache_config.overwrite_cache:
            live.cache_status = CatalogCacheStatus.CACHE_SKIPPED
            return None
        found = self._store.row("SELECT * FROM cached WHERE project = ? AND domain = ? AND key = ?", key)
        oldest = time.time() - metadata.cache_max_age.seconds if metadata.cache_max_age.seconds else 0.0
        if found is not None and found["created_at"] >= oldest and may_exist(f"{found['output_uri']}/outputs.pb"):
            live.cache_status = CatalogCacheStatus.CACHE_HIT
            return str(found["output_uri"])
        live.cache_status = CatalogCacheStatus.CACHE_MISS
        return None

    def must_wait(self, live: Live) -> bool:
        """Whether somebody else is making what was not found; if nobody is, and one is to at a time, it is this one."""
        key = _key(live)
        if key is None or live.cache_status != CatalogCacheStatus.CACHE_MISS or live.holds_reservation:
            return False
        if not self._metadata(live).cache_serializable:
            return False
        waiting = self._reserved.get(key)
        if waiting is not None:
            waiting.append(live)
            return True
        self._reserved[key] = deque()
        live.holds_reservation = True
        return False

    def reserve_again(self, live: Live) -> None:
        """Keep others from making what an earlier devbox's attempt is making."""
        key = _key(live)
        if live.spec is None or key is None or live.cache_status != CatalogCacheStatus.CACHE_MISS:
            return
        if self._metadata(live).cache_serializable and key not in self._reserved:
            self._reserved[key] = deque()
            live.holds_reservation = True

    def release(self, live: Live) -> deque[Live]:
        """Who has waited for an action that has ended."""
        key = _key(live)
        if not live.holds_reservation or key is None:
            return deque()
        live.holds_reservation = False
        return self._reserved.pop(key, deque())

    def put(self, live: Live) -> list[Statement]:
        """What keeps the result of an action that has ended; nothing if it is not to be kept."""
        state, run, key = live.state, live.run, _key(live)
        if key is None or live.spec is None or state.phase is not ActionPhase.SUCCEEDED:
            return []
        if live.cache_status == CatalogCacheStatus.CACHE_HIT or not self._metadata(live).discoverable:
            return []
        values = (*key, state.output_uri, state.ended_at, run.name, live.name, state.attempt)
        return [("INSERT OR REPLACE INTO cached VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)]

    def _metadata(self, live: Live) -> TaskMetadata:
        assert live.spec is not None
        return self._specs(live.spec).task_template.metadata


def _key(live: Live) -> _Key | None:
    return (live.run.project, live.run.domain, live.cache_key) if live.cache_key else None
