"""Whom a trigger's runs tell of their end: ``flyte.Trigger(..., notifications=flyte.notify.Email(...))``."""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte._definition.notification import Email, NamedDelivery, NamedRule, Notification, Slack, Teams, Webhook

_TABLE: dict[str, str] = dict.fromkeys(
    ("Email", "NamedDelivery", "NamedRule", "Notification", "Slack", "Teams", "Webhook"),
    "flyte._definition.notification",
)

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "Email",
    "NamedDelivery",
    "NamedRule",
    "Notification",
    "Slack",
    "Teams",
    "Webhook",
]
