"""What starts a task by itself: schedules, and new versions of artifacts.

Declared here and checked at once; a control plane keeps the clock. `_wire` says the same in its words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from flyte._core.face import nearest

from .cron import parse_cron

if TYPE_CHECKING:
    from .notification import NamedRule, Notification


class _TriggerTime:
    """The type of :data:`TriggerTime`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TriggerTime"

    def __reduce__(self) -> str:
        return "TriggerTime"  # there is one, also after pickling


class _TriggeredArtifact:
    """The type of :data:`TriggeredArtifact`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TriggeredArtifact"

    def __reduce__(self) -> str:
        return "TriggeredArtifact"


TriggerTime: Final = _TriggerTime()
"""Stands, among a trigger's inputs, for the time it fires at: a ``datetime`` in UTC."""

TriggeredArtifact: Final = _TriggeredArtifact()
"""Stands, among the inputs of an :class:`OnArtifact` trigger, for the artifact that fired it."""


@dataclass(frozen=True, slots=True)
class TriggeredPartition:
    """Stands, among the inputs of an :class:`OnArtifact` trigger, for one partition value of the artifact.

    :param key: name of the partition.
    :raises ValueError: empty.
    """

    key: str

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"TriggeredPartition: key takes a text, got {self.key!r}")
        if not self.key:
            raise ValueError("TriggeredPartition: key='' is empty; name the partition")


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule written as a cron expression.

    :param expression: five fields, ``minute hour day-of-month month day-of-week``, or ``@hourly``, ``@daily``,
        ``@weekly``, ``@monthly``, ``@yearly``; see :mod:`flyte._definition.cron`.
    :param timezone: IANA name of the time zone it is read in.
    :raises ValueError: the expression means nothing, or the time zone is unknown; the message says why.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str):
            raise TypeError(f"Cron: expression takes a text such as '0 9 * * MON-FRI', got {self.expression!r}")
        parse_cron(self.expression)
        if not isinstance(self.timezone, str):
            raise TypeError(f"Cron: timezone takes a name such as 'Europe/Paris', got {self.timezone!r}")
        if self.timezone != "UTC":
            _check_timezone(self.timezone)

    @property
    def timezone_expression(self) -> str:
        """Expression and time zone in one text, as cron daemons read it."""
        return f"CRON_TZ={self.timezone} {self.expression}"


def _check_timezone(name: str) -> None:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            return  # a slim container may have no time zone database, and must still be able to import the user's file
        raise ValueError(
            f"Cron: timezone={name!r} is not known{nearest(name, sorted(known))}; use an IANA name, as in "
            "'Europe/Paris'"
        ) from None


@dataclass(frozen=True, slots=True)
class FixedRate:
    """A schedule that fires at equal intervals.

    :param interval_minutes: minutes between two, 1 or more.
    :param start_time: when the first interval starts, in UTC if it does not say; None for when it is activated.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: an interval below 1 minute.
    """

    interval_minutes: int
    start_time: datetime | None = None

    def __post_init__(self) -> None:
        minutes = self.interval_minutes
        if isinstance(minutes, bool) or not isinstance(minutes, int):
            raise TypeError(f"FixedRate: interval_minutes takes a whole number of minutes, got {minutes!r}")
        if minutes < 1:
            raise ValueError(f"FixedRate: interval_minutes={minutes} is not allowed; give 1 or more")
        if self.start_time is not None and not isinstance(self.start_time, datetime):
            raise TypeError(f"FixedRate: start_time takes a datetime, got {self.start_time!r}")


@dataclass(frozen=True, slots=True, init=False)
class OnArtifact:
    """Fires when a new version of an artifact is there.

    :param name: name of the artifact.
    :param version: only this version; None for any.
    :param partitions: only where these partitions have these values.
    :param partition_kwargs: the same, as keywords.
    :raises TypeError: something that is not a text.
    :raises ValueError: an empty name.
    """

    name: str
    version: str | None = None
    partitions: Mapping[str, str] | None = None

    def __init__(
        self,
        name: str,
        version: str | None = None,
        partitions: Mapping[str, str] | None = None,
        **partition_kwargs: str,
    ) -> None:
        if not isinstance(name, str) or not (version is None or isinstance(version, str)):
            raise TypeError(f"OnArtifact: name and version take texts, got {name!r} and {version!r}")
        if not name:
            raise ValueError("OnArtifact: name='' is empty; name the artifact")
        both = {**(partitions or {}), **partition_kwargs}
        for key, value in both.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(f"OnArtifact: partition {key!r} takes a text, got {value!r}; write {str(value)!r}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "partitions", both or None)


Automation: TypeAlias = Cron | FixedRate | OnArtifact


@dataclass(frozen=True, slots=True)
class Trigger:
    """Starts the task that it is given to, by itself.

    :param name: name of the trigger, unique within the task.
    :param automation: :class:`Cron`, :class:`FixedRate` or :class:`OnArtifact`; None to start it by hand.
    :param description: shown to readers.
    :param auto_activate: whether it is active as soon as it is deployed.
    :param inputs: values of the task's inputs; :data:`TriggerTime` for the time it fires at,
        :data:`TriggeredArtifact` and :class:`TriggeredPartition` for what fired it.
    :param env_vars: environment variables of its runs.
    :param interruptible: whether its runs may be on machines that can be taken away; None as the task says.
    :param overwrite_cache: whether its runs replace cached results.
    :param queue: queue of its runs.
    :param max_action_concurrency: how many actions of one run may run at a time: 2 or more; None or 0 for the
        platform's default. (With 1, a parent would hold the only place while its children wait for it.)
    :param labels: labels of its runs.
    :param annotations: annotations of its runs.
    :param notifications: who is told of the end of its runs; see ``flyte.notify``.
    :param custom_context: the custom context of its runs.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: an empty name; an input bound to what this automation does not have; two inputs bound to the
        time (a control plane takes one, wire-protocol section 10.1).
    """

    name: str
    automation: Automation | None = None
    description: str = ""
    auto_activate: bool = True
    inputs: dict[str, Any] | None = None
    env_vars: dict[str, str] | None = None
    interruptible: bool | None = None
    overwrite_cache: bool = False
    queue: str | None = None
    max_action_concurrency: int | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    notifications: "NamedRule | Notification | tuple[Notification, ...] | None" = None
    custom_context: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"Trigger: name takes a text, got {self.name!r}")
        if not self.name.strip():
            raise ValueError("Trigger: name is empty; give a name that is unique within the task")
        if not (self.automation is None or isinstance(self.automation, (Cron, FixedRate, OnArtifact))):
            remedy = f"; write flyte.Cron({self.automation!r})" if isinstance(self.automation, str) else ""
            raise TypeError(
                f"{self._label}: automation takes a flyte.Cron, FixedRate or OnArtifact, got "
                f"{self.automation!r}{remedy}"
            )
        for parameter in ("auto_activate", "overwrite_cache"):
            if not isinstance(getattr(self, parameter), bool):
                raise TypeError(f"{self._label}: {parameter} takes True or False, got {getattr(self, parameter)!r}")
        self._check_concurrency()
        for parameter in ("env_vars", "labels", "annotations", "custom_context"):
            self._check_texts(parameter)
        self._check_inputs()
        if self.notifications is not None:
            self._check_notifications()

    @property
    def _label(self) -> str:
        return f"Trigger {self.name!r}"

    def _check_concurrency(self) -> None:
        limit = self.max_action_concurrency
        if limit is None:
            return
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"{self._label}: max_action_concurrency takes a whole number, got {limit!r}")
        if limit < 0 or limit == 1:
            raise ValueError(
                f"{self._label}: max_action_concurrency={limit} is not allowed, a parent holds a place while its "
                "children run; give 2 or more, or 0 for the platform's default"
            )

    def _check_texts(self, parameter: str) -> None:
        texts = getattr(self, parameter)
        if texts is None:
            return
        if not isinstance(texts, Mapping):
            raise TypeError(f"{self._label}: {parameter} takes a dict of texts, got {texts!r}")
        for key, value in texts.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(
                    f"{self._label}: {parameter}[{key!r}] takes a text, got {value!r}; write {str(value)!r}"
                )

    def _check_inputs(self) -> None:
        if self.inputs is None:
            return
        if not isinstance(self.inputs, Mapping):
            raise TypeError(f"{self._label}: inputs takes a dict from input to value, got {self.inputs!r}")
        at_time = []
        for name, value in self.inputs.items():
            if not isinstance(name, str):
                raise TypeError(f"{self._label}: inputs takes names of inputs as keys, got {name!r}")
            if isinstance(value, _TriggerTime):
                at_time.append(name)
                if not isinstance(self.automation, (Cron, FixedRate)):
                    raise ValueError(
                        f"{self._label}: input {name!r} is bound to TriggerTime, which only a schedule has; use "
                        "automation=flyte.Cron(...) or flyte.FixedRate(...)"
                    )
            elif isinstance(value, (_TriggeredArtifact, TriggeredPartition)) and not isinstance(
                self.automation, OnArtifact
            ):
                raise ValueError(
                    f"{self._label}: input {name!r} is bound to {value!r}, which only a trigger on an artifact has; "
                    "use automation=flyte.OnArtifact(...)"
                )
        if len(at_time) > 1:
            raise ValueError(f"{self._label}: inputs {at_time} are all bound to TriggerTime; a trigger fills one input")

    def _check_notifications(self) -> None:
        from .notification import NamedRule, Notification

        given: Any = self.notifications
        several = given if isinstance(given, tuple) else (given,)
        if isinstance(given, NamedRule):
            return
        for one in several:
            if not isinstance(one, Notification):
                raise TypeError(
                    f"{self._label}: notifications takes a notification such as flyte.notify.Email, a tuple of them, "
                    f"or a NamedRule, got {one!r}"
                )

    @classmethod
    def _scheduled(
        cls, expression: str, trigger_time_input_key: str | None, inputs: dict[str, Any] | None, **fields: Any
    ) -> "Trigger":
        bound: dict[str, Any] = {} if trigger_time_input_key is None else {trigger_time_input_key: TriggerTime}
        return cls(automation=Cron(expression), inputs={**bound, **(inputs or {})}, **fields)

    @classmethod
    def hourly(
        cls,
        trigger_time_input_key: str | None = None,
        *,
        name: str = "hourly",
        description: str = "A trigger that runs every hour",
        auto_activate: bool = True,
        inputs: dict[str, Any] | None = None,
        env_vars: dict[str, str] | None = None,
        interruptible: bool | None = None,
        overwrite_cache: bool = False,
        queue: str | None = None,
        max_action_concurrency: int | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        custom_context: Mapping[str, str] | None = None,
    ) -> "Trigger":
        """A trigger that fires every hour, on the hour (UTC).

        :param trigger_time_input_key: the task's input that gets the time it fires at; None for none.
        """
        return cls._scheduled(
            "0 * * * *",
            trigger_time_input_key,
            inputs,
            name=name,
            description=description,
            auto_activate=auto_activate,
            env_vars=env_vars,
            interruptible=interruptible,
            overwrite_cache=overwrite_cache,
            queue=queue,
            max_action_concurrency=max_action_concurrency,
            labels=labels,
            annotations=annotations,
            custom_context=custom_context,
        )

    @classmethod
    def daily(
        cls,
        trigger_time_input_key: str | None = None,
        *,
        name: str = "daily",
        description: str = "A trigger that runs daily at midnight",
        auto_activate: bool = True,
        inputs: dict[str, Any] | None = None,
        env_vars: dict[str, str] | None = None,
        interruptible: bool | None = None,
        overwrite_cache: bool = False,
        queue: str | None = None,
        max_action_concurrency: int | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        custom_context: Mapping[str, str] | None = None,
    ) -> "Trigger":
        """A trigger that fires every day at midnight (UTC).

        :param trigger_time_input_key: the task's input that gets the time it fires at; None for none.
        """
        return cls._scheduled(
            "0 0 * * *",
            trigger_time_input_key,
            inputs,
            name=name,
            description=description,
            auto_activate=auto_activate,
            env_vars=env_vars,
            interruptible=interruptible,
            overwrite_cache=overwrite_cache,
            queue=queue,
            max_action_concurrency=max_action_concurrency,
            labels=labels,
            annotations=annotations,
            custom_context=custom_context,
        )

    @classmethod
    def weekly(
        cls,
        trigger_time_input_key: str | None = None,
        *,
        name: str = "weekly",
        description: str = "A trigger that runs weekly on Sundays at midnight",
        auto_activate: bool = True,
        inputs: dict[str, Any] | None = None,
        env_vars: dict[str, str] | None = None,
        interruptible: bool | None = None,
        overwrite_cache: bool = False,
        queue: str | None = None,
        max_action_concurrency: int | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        custom_context: Mapping[str, str] | None = None,
    ) -> "Trigger":
        """A trigger that fires every Sunday at midnight (UTC).

        :param trigger_time_input_key: the task's input that gets the time it fires at; None for none.
        """
        return cls._scheduled(
            "0 0 * * 0",
            trigger_time_input_key,
            inputs,
            name=name,
            description=description,
            auto_activate=auto_activate,
            env_vars=env_vars,
            interruptible=interruptible,
            overwrite_cache=overwrite_cache,
            queue=queue,
            max_action_concurrency=max_action_concurrency,
            labels=labels,
            annotations=annotations,
            custom_context=custom_context,
        )

    @classmethod
    def monthly(
        cls,
        trigger_time_input_key: str | None = None,
        *,
        name: str = "monthly",
        description: str = "A trigger that runs monthly on the 1st at midnight",
        auto_activate: bool = True,
        inputs: dict[str, Any] | None = None,
        env_vars: dict[str, str] | None = None,
        interruptible: bool | None = None,
        overwrite_cache: bool = False,
        queue: str | None = None,
        max_action_concurrency: int | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        custom_context: Mapping[str, str] | None = None,
    ) -> "Trigger":
        """A trigger that fires on the first of every month at midnight (UTC).

        :param trigger_time_input_key: the task's input that gets the time it fires at; None for none.
        """
        return cls._scheduled(
            "0 0 1 * *",
            trigger_time_input_key,
            inputs,
            name=name,
            description=description,
            auto_activate=auto_activate,
            env_vars=env_vars,
            interruptible=interruptible,
            overwrite_cache=overwrite_cache,
            queue=queue,
            max_action_concurrency=max_action_concurrency,
            labels=labels,
            annotations=annotations,
            custom_context=custom_context,
        )

    @classmethod
    def minutely(
        cls,
        trigger_time_input_key: str | None = None,
        *,
        name: str = "minutely",
        description: str = "A trigger that runs every minute",
        auto_activate: bool = True,
        inputs: dict[str, Any] | None = None,
        env_vars: dict[str, str] | None = None,
        interruptible: bool | None = None,
        overwrite_cache: bool = False,
        queue: str | None = None,
        max_action_concurrency: int | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        custom_context: Mapping[str, str] | None = None,
    ) -> "Trigger":
        """A trigger that fires every minute (UTC).

        :param trigger_time_input_key: the task's input that gets the time it fires at; None for none.
        """
        return cls._scheduled(
            "* * * * *",
            trigger_time_input_key,
            inputs,
            name=name,
            description=description,
            auto_activate=auto_activate,
            env_vars=env_vars,
            interruptible=interruptible,
            overwrite_cache=overwrite_cache,
            queue=queue,
            max_action_concurrency=max_action_concurrency,
            labels=labels,
            annotations=annotations,
            custom_context=custom_context,
        )
