"""Who is told when a run reaches a phase: e-mail, chat, web hooks. Sent by a control plane, never by this process."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flyte._core.identity import ActionPhase

HTTPMethod: TypeAlias = Literal["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"]

_METHODS = ("POST", "PUT", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT")
_PHASES = (ActionPhase.SUCCEEDED, ActionPhase.FAILED, ActionPhase.ABORTED, ActionPhase.TIMED_OUT)
_DEFAULT_TITLE = "Run {{.Run.Name}} {{.Phase}}"
_DEFAULT_BODY = (
    "Run: {{.Run.Name}}\nProject/Domain: {{.Run.Project}}/{{.Run.Domain}}\nPhase: {{.Phase}}\nError: {{.Error}}\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is sent when a run reaches a phase; use one of the classes below.

    :param on_phase: the phase, or several, that it is sent on: SUCCEEDED, FAILED, ABORTED, TIMED_OUT.
    :raises TypeError: not a phase.
    :raises ValueError: no phase, or another one.
    """

    on_phase: ActionPhase | tuple[ActionPhase, ...]

    def __post_init__(self) -> None:
        phases: Any = tuple(self.on_phase) if isinstance(self.on_phase, (tuple, list)) else (self.on_phase,)
        if not phases:
            raise ValueError(f"{type(self).__name__}: on_phase=() is empty; name the phases that it is sent on")
        for phase in phases:
            if not isinstance(phase, ActionPhase):
                raise TypeError(f"{type(self).__name__}: on_phase takes flyte.models.ActionPhase values, got {phase!r}")
            if phase not in _PHASES:
                raise ValueError(
                    f"{type(self).__name__}: nothing is sent on_phase={phase}; use one of "
                    f"{', '.join(known.name for known in _PHASES)}"
                )
        object.__setattr__(self, "on_phase", phases)


def _text(owner: object, parameter: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{type(owner).__name__}: {parameter} takes a text, got {value!r}")
    if not value:
        raise ValueError(f"{type(owner).__name__}: {parameter}='' is empty")


def _addresses(owner: object, parameter: str, value: object) -> None:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{type(owner).__name__}: {parameter} takes a tuple of addresses, got {value!r}")
    object.__setattr__(owner, parameter, tuple(value))
    for address in value:
        if not isinstance(address, str) or "@" not in address:
            raise ValueError(f"{type(owner).__name__}: {parameter} has {address!r}, which is not an e-mail address")


def _address_of_web(owner: object, parameter: str, value: object) -> None:
    _text(owner, parameter, value)
    if not str(value).startswith(("https://", "http://")):
        raise ValueError(f"{type(owner).__name__}: {parameter} must be an address that starts with https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(Notification):
    """An e-mail. Texts may hold template variables such as ``{{.Run.Name}}``.

    :param recipients: addresses it is sent to, at least one.
    :param html_body: the body in HTML, beside the plain one.
    """

    recipients: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    subject: str = _DEFAULT_TITLE
    body: str = _DEFAULT_BODY
    html_body: str | None = None

    def __post_init__(self) -> None:
        Notification.__post_init__(self)
        for parameter in ("recipients", "cc", "bcc"):
            _addresses(self, parameter, getattr(self, parameter))
        if not self.recipients:
            raise ValueError("Email: recipients=() is empty; give at least one address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack(Notification):
    """A message to a Slack channel.

    :param webhook_url: the channel's incoming web hook; not shown, as it lets anybody write there.
    :param message: text; None for the platform's.
    :param blocks: Slack's block layout, instead of a text.
    """

    webhook_url: str
    message: str | None = None
    blocks: tuple[dict[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        Notification.__post_init__(self)
        _address_of_web(self, "webhook_url", self.webhook_url)

    def __repr__(self) -> str:
        return f"Slack(on_phase={self.on_phase!r}, message={self.message!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Teams(Notification):
    """A message to a Microsoft Teams channel.

    :param webhook_url: the channel's incoming web hook; not shown, as it lets anybody write there.
    :param card: an adaptive card, instead of title and message.
    """

    webhook_url: str
    title: str = _DEFAULT_TITLE
    message: str | None = None
    card: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        Notification.__post_init__(self)
        _address_of_web(self, "webhook_url", self.webhook_url)

    def __repr__(self) -> str:
        return f"Teams(on_phase={self.on_phase!r}, title={self.title!r}, message={self.message!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Notification):
    """An HTTP request.

    :param url: where to.
    :param headers: headers of the request; not shown, as they may hold a token.
    :param body: sent as JSON.
    """

    url: str
    method: HTTPMethod = "POST"
    headers: dict[str, str] | None = None
    body: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        Notification.__post_init__(self)
        _address_of_web(self, "url", self.url)
        if self.method not in _METHODS:
            raise ValueError(f"Webhook: method={self.method!r} is not one of {', '.join(_METHODS)}")

    def __repr__(self) -> str:
        return f"Webhook(on_phase={self.on_phase!r}, method={self.method!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDelivery(Notification):
    """A delivery that the control plane knows by name.

    :param name: its name.
    """

    name: str

    def __post_init__(self) -> None:
        Notification.__post_init__(self)
        _text(self, "name", self.name)


@dataclass(frozen=True, slots=True)
class NamedRule:
    """A rule, of phases and deliveries, that the control plane knows by name.

    :param name: its name.
    """

    name: str

    def __post_init__(self) -> None:
        _text(self, "name", self.name)
