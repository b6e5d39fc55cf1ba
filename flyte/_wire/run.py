"""How a run is to be run, as the RunSpec of a control plane (wire-protocol section 4.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flyteidl2.common.run_pb2 import (
    RELATION_TYPE_RECOVER,
    RELATION_TYPE_RERUN,
    OffloadedInputData,
    Relation,
)
from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.task.run_pb2 import CacheLookupScope, RunSpec, TaskSpecSource

from flyte.types._hashing import has_hash

from .values import inputs_hash

_SCOPES = {
    "global": CacheLookupScope.CACHE_LOOKUP_SCOPE_GLOBAL,
    "project-domain": CacheLookupScope.CACHE_LOOKUP_SCOPE_PROJECT_DOMAIN,
    "project_domain": CacheLookupScope.CACHE_LOOKUP_SCOPE_PROJECT_DOMAIN,
}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run asks of its control plane; see :func:`flyte.with_runcontext` for the fields."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    env_vars: Mapping[str, str] = field(default_factory=dict)
    interruptible: bool | None = None
    overwrite_cache: bool = False
    cache_lookup_scope: str = "global"
    queue: str | None = None
    raw_data_path: str | None = None
    service_account: str | None = None
    max_action_concurrency: int | None = None
    run_base_dir: str | None = None
    run_start_time: datetime | None = None


def check_scope(scope: str) -> str:
    """A scope of cache lookups.

    :raises ValueError: there is none of that name.
    """
    if scope not in _SCOPES:
        raise ValueError(f"cache_lookup_scope={scope!r} is not known; use 'global' or 'project-domain'")
    return scope


def run_spec(settings: RunSettings, *, deployed: bool) -> RunSpec:
    """The message of a run's settings.

    :param deployed: whether the task is one that was deployed before.
    """
    spec = RunSpec(
        overwrite_cache=settings.overwrite_cache,
        queue=settings.queue or "",
        run_base_dir=settings.run_base_dir or "",
        task_spec_source=TaskSpecSource.TASK_SPEC_SOURCE_DEPLOYED
        if deployed
        else TaskSpecSource.TASK_SPEC_SOURCE_EPHEMERAL,
    )
    spec.labels.values.update(settings.labels)
    spec.annotations.values.update(settings.annotations)
    spec.envs.values.extend(KeyValuePair(key=key, value=value) for key, value in settings.env_vars.items())
    if settings.interruptible is not None:
        spec.interruptible.value = settings.interruptible
    spec.cache_config.overwrite_cache = settings.overwrite_cache
    spec.cache_config.cache_lookup_scope = _SCOPES[check_scope(settings.cache_lookup_scope)]
    if settings.raw_data_path:
        spec.raw_data_storage.raw_data_prefix = settings.raw_data_path
    if settings.service_account:
        spec.security_context.run_as.k8s_service_account = settings.service_account
    if settings.max_action_concurrency:
        spec.max_action_concurrency = settings.max_action_concurrency
    if settings.run_start_time is not None:
        spec.run_start_time.FromDatetime(settings.run_start_time)
    return spec


def again_spec(before: RunSpec, of: Any, *, recover: bool) -> RunSpec:
    """The settings of a run that repeats another.

    :param before: those of the other.
    :param of: RunIdentifier of the other.
    :param recover: whether what had ended well there is taken over.
    """
    spec = RunSpec()
    spec.CopyFrom(before)
    for name in ("relation", "recover", "run_start_time"):
        spec.ClearField(name)
    spec.relation.CopyFrom(
        Relation(related_to=of, relation_type=RELATION_TYPE_RECOVER if recover else RELATION_TYPE_RERUN)
    )
    return spec


def offloaded_by_content(sent: OffloadedInputData, inputs: Inputs, ignored: tuple[str, ...]) -> OffloadedInputData:
    """Where the inputs were put, with the hash that children would have where values bring a hash of their own."""
    if any(has_hash(one.value) for one in inputs.literals if one.name not in ignored):
        return OffloadedInputData(uri=sent.uri, inputs_hash=inputs_hash(inputs, ignored))
    return sent
