"""How to reach a control plane, as plain values: what ``flyte.init`` sets, and what the client is made of when it is
first used. Loads nothing heavy.
"""

from dataclasses import dataclass, field

from flyte._core.ambient import Ambient
from flyte.config import AuthType

from ._endpoint import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long the client waits; no wait is without a limit. All in seconds.

    :param call_s: for the answer of a call, its retries included, unless the call says otherwise.
    :param connect_s: for a connection, the TLS handshake included.
    :param keepalive_every_s: how often a connection that a call waits on is asked whether it is alive.
    :param keepalive_answer_s: how long it may take to say so. A connection that died without a word is noticed within
        the two together. A server that takes this for too often says so ("too many pings"), and gRPC then asks it half
        as often each time.
    :param backoff_first_s: before the first retry; then twice as long each time, with half of it left to chance.
    :param backoff_cap_s: the longest of these.
    :param throttled_s: in total, for a server that asks to slow down; this time does not count for ``call_s``.
    :param login_s: for a person who logs in.
    :param http_s: for one request to the issuer of tokens, and for one command that gives a token.
    """

    call_s: float = 30.0
    connect_s: float = 8.0
    keepalive_every_s: float = 10.0
    keepalive_answer_s: float = 8.0
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 10.0
    throttled_s: float = 120.0
    login_s: float = 300.0
    http_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A control plane and how to get there. Two are the same connection only if they are the same object.

    :param retries: extra attempts of a call that failed for a reason that may pass.
    :param org: default organization.
    :param client_secret: of client credentials.
    :param console_endpoint: host of the web console, if it differs.
    :param headless: no browser: the device flow instead of PKCE.
    """

    endpoint: Endpoint
    insecure: bool = False
    insecure_skip_verify: bool = False
    ca_cert_file_path: str | None = None
    http_proxy_url: str | None = field(default=None, repr=False)
    auth_type: AuthType = "Pkce"
    command: tuple[str, ...] = field(default=(), repr=False)
    proxy_command: tuple[str, ...] = field(default=(), repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    console_endpoint: str | None = None
    headless: bool = False
    disable_keyring: bool = False
    retries: int = 3
    org: str | None = None
    project: str | None = None
    domain: str | None = None
    limits: Limits = field(default_factory=Limits)


configured: Ambient[Connection] = Ambient("flyte_connection")
"""The connection that ``flyte.init`` was given; None if it was given no endpoint."""
