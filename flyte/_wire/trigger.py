"""Triggers as a control plane knows them (wire-protocol section 10.1): when they fire, with what, and who is told."""

import html
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.notification import definition_pb2 as delivery
from flyteidl2.task import common_pb2, run_pb2
from flyteidl2.task.task_definition_pb2 import TaskTrigger, TaskTriggerSpec
from google.protobuf.wrappers_pb2 import BoolValue

from flyte._core.interface import NativeInterface
from flyte._definition.notification import Email, NamedDelivery, NamedRule, Notification, Slack, Teams, Webhook
from flyte._definition.task import TaskTemplate
from flyte._definition.trigger import (
    Cron,
    FixedRate,
    OnArtifact,
    Trigger,
    TriggeredArtifact,
    TriggeredPartition,
    TriggerTime,
)
from flyte.errors import DeploymentError

from .identity import check_length
from .values import KICKOFF_KEY, inputs_from


async def task_trigger(task: TaskTemplate[Any, Any, Any], trigger: Trigger) -> TaskTrigger:
    """A trigger of a task, with its inputs; the task's defaults are among them.

    :raises flyte.errors.DeploymentError: a field that the protocol has no place for.
    :raises ValueError: the trigger leaves out a required parameter.
    :raises TypeError: it gives one that the task does not have, or a value that does not fit.
    """
    where = f"task {task.name!r}, trigger {trigger.name!r}"
    check_length(task.name, "its trigger's name", trigger.name, 255)
    given = dict(trigger.inputs or {})
    bound = {name: value for name, value in given.items() if _is_bound(value)}
    for name in bound:
        if name not in task.interface.inputs:
            raise TypeError(f"{where}: there is no parameter {name!r}{task.interface.nearest(name)}")
    # What the control plane or the runtime fills in is left out.
    rest = NativeInterface(
        {name: value for name, value in task.interface.inputs.items() if name not in bound}, task.interface.outputs
    )
    context = dict(trigger.custom_context or {})
    kickoff = next((name for name, value in bound.items() if value is TriggerTime), None)
    if kickoff is not None:
        context[KICKOFF_KEY] = kickoff
    values = {name: value for name, value in given.items() if name not in bound}
    inputs = await inputs_from(rest, values, task_name=f"{task.name}, trigger {trigger.name}", context=context)
    spec = TaskTriggerSpec(
        active=trigger.auto_activate, description=trigger.description, inputs=inputs, run_spec=_run_spec(where, trigger)
    )
    return TaskTrigger(name=trigger.name, spec=spec, automation_spec=_automation(where, trigger, kickoff, bound))


def _is_bound(value: Any) -> bool:
    return value is TriggerTime or value is TriggeredArtifact or isinstance(value, TriggeredPartition)


def _automation(
    where: str, trigger: Trigger, kickoff: str | None, bound: Mapping[str, Any]
) -> common_pb2.TriggerAutomationSpec:
    automation = trigger.automation
    if automation is None:
        return common_pb2.TriggerAutomationSpec(type=common_pb2.TYPE_NONE)
    if isinstance(automation, OnArtifact):
        return common_pb2.TriggerAutomationSpec(
            type=common_pb2.TYPE_ARTIFACT, artifact=_artifact(where, automation, bound)
        )
    schedule = common_pb2.Schedule(kickoff_time_input_arg=kickoff or "")
    if isinstance(automation, Cron):
        schedule.cron.CopyFrom(common_pb2.Cron(expression=automation.expression, timezone=automation.timezone))
    else:
        schedule.rate.CopyFrom(_rate(automation))
    return common_pb2.TriggerAutomationSpec(type=common_pb2.TYPE_SCHEDULE, schedule=schedule)


def _rate(automation: FixedRate) -> common_pb2.FixedRate:
    rate = common_pb2.FixedRate(value=automation.interval_minutes, unit=common_pb2.FIXED_RATE_UNIT_MINUTE)
    start: datetime | None = automation.start_time
    if start is not None:
        rate.start_time.FromDatetime(start if start.tzinfo is not None else start.replace(tzinfo=UTC))
    return rate


def _artifact(where: str, automation: OnArtifact, bound: Mapping[str, Any]) -> common_pb2.ArtifactTrigger:
    message = common_pb2.ArtifactTrigger(
        artifact_name=automation.name, version=automation.version or "", partitions=automation.partitions
    )
    for name, value in bound.items():
        if value is TriggeredArtifact:
            if message.input_arg:
                raise DeploymentError(
                    f"{where}: inputs {message.input_arg!r} and {name!r} are both bound to TriggeredArtifact; a "
                    "control plane fills one"
                )
            message.input_arg = name
        elif isinstance(value, TriggeredPartition):
            if value.key in message.partition_input_args:
                raise DeploymentError(
                    f"{where}: two inputs are bound to TriggeredPartition({value.key!r}); a control plane fills one"
                )
            message.partition_input_args[value.key] = name
    return message


def _run_spec(where: str, trigger: Trigger) -> run_pb2.RunSpec:
    spec = run_pb2.RunSpec(queue=trigger.queue or "", max_action_concurrency=trigger.max_action_concurrency or 0)
    if trigger.labels:
        spec.labels.values.update(trigger.labels)
    if trigger.annotations:
        spec.annotations.values.update(trigger.annotations)
    if trigger.env_vars:
        spec.envs.values.extend(KeyValuePair(key=key, value=value) for key, value in trigger.env_vars.items())
    if trigger.interruptible is not None:
        spec.interruptible.CopyFrom(BoolValue(value=trigger.interruptible))
    if trigger.overwrite_cache:
        spec.overwrite_cache = True  # what older control planes read
        spec.cache_config.overwrite_cache = True
    notifications = trigger.notifications
    if isinstance(notifications, NamedRule):
        spec.notification_rule_name = notifications.name
    elif notifications:
        several = notifications if isinstance(notifications, tuple) else (notifications,)
        spec.notification_rules.rules.extend(_rule(where, one) for one in several)
    return spec


# Who is told --------------------------------------------------------------------------------------------------------


def _rule(where: str, notification: Notification) -> run_pb2.InlineRule:
    phases: Any = notification.on_phase  # a tuple, once checked
    rule = run_pb2.InlineRule(on_phases=[f"ACTION_PHASE_{phase.name}" for phase in dict.fromkeys(phases)])
    match notification:
        case NamedDelivery():
            rule.delivery_config_name = notification.name
        case Email():
            rule.delivery_template.email.CopyFrom(_email(notification))
        case Slack():
            text = notification.message or "Run {{.Run.Name}} {{.Phase}}"
            body: Any = {"text": text} if notification.blocks is None else {"blocks": list(notification.blocks)}
            rule.delivery_template.webhook.CopyFrom(_post(where, notification.webhook_url, body))
        case Teams():
            body = notification.card or {
                "title": notification.title,
                "text": notification.message or notification.title,
            }
            rule.delivery_template.webhook.CopyFrom(_post(where, notification.webhook_url, body))
        case Webhook():
            rule.delivery_template.webhook.CopyFrom(
                _post(where, notification.url, notification.body, notification.method, notification.headers)
            )
        case _:
            raise DeploymentError(
                f"{where}: notifications has a {type(notification).__name__}, which a control plane has no form for; "
                "use one of flyte.notify"
            )
    return rule


def _email(notification: Email) -> delivery.EmailDeliveryTemplate:
    def people(addresses: tuple[str, ...]) -> list[delivery.EmailRecipient]:
        return [delivery.EmailRecipient(address=address) for address in addresses]

    # The protocol asks for HTML; a plain text becomes it as it is.
    as_html = notification.html_body or f"<pre>{html.escape(notification.body, quote=False)}</pre>"
    return delivery.EmailDeliveryTemplate(
        to=people(notification.recipients),
        cc=people(notification.cc),
        bcc=people(notification.bcc),
        inline=delivery.InlineEmailTemplate(
            subject=notification.subject, html_template=as_html, text_template=notification.body
        ),
    )


def _post(
    where: str, url: str, body: Any, method: str = "POST", headers: Mapping[str, str] | None = None
) -> delivery.WebhookDeliveryTemplate:
    if len(url) > 2000:
        raise DeploymentError(f"{where}: a web hook's address has {len(url)} characters; a control plane takes 2000")
    for key, value in (headers or {}).items():
        # The value is not shown: it may hold a token.
        if not 1 <= len(key) <= 20 or not 1 <= len(value) <= 50:
            raise DeploymentError(
                f"{where}: header {key!r} of a web hook is too long: a control plane takes names of 1 to 20 and values "
                "of 1 to 50 characters; use a flyte.notify.NamedDelivery"
            )
    if headers is not None and len(headers) > 20:
        raise DeploymentError(f"{where}: a web hook has {len(headers)} headers; a control plane takes 20")
    return delivery.WebhookDeliveryTemplate(
        url=url,
        method=f"HTTP_METHOD_{method}",
        headers=headers,
        body_template="" if body is None else json.dumps(body),
    )
