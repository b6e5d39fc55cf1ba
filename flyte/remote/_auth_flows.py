"""Login flows as generators without I/O: each yields what is to be done, gets the result, and returns tokens.

They read no clock and no randomness; `_auth_driver` does what they ask for. Sources: RFC 6749 (OAuth 2.0), RFC 7636
(PKCE), RFC 8628 (device grant), RFC 8252 (native apps).
"""

import base64
import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
EARLY_S = 60.0
"""Tokens are refreshed this long before they expire, so that a call that takes its time still carries a good one; those
that last less than five times as long, in the last fifth of their time."""
_LONGEST_S = 10 * 365 * 86400.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_TOKEN = re.compile(r"[!-~]+")  # anything else cannot stand in a header


class RefusedLogin(Exception):
    """The issuer, or what it says, does not lead to a token.

    :param error: code of RFC 6749, such as ``"invalid_grant"``.
    """

    def __init__(self, error: str, said: str) -> None:
        super().__init__(said)
        self.error = error


class UnreachableIssuer(Exception):
    """The issuer did not answer, or not in a way that says anything about the credentials."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login gives.

    :param expires_at: seconds since the epoch; None if the issuer does not say.
    :param header: name of the header that carries the access token.
    :param refresh_at: when to ask for others, some time before; None if the issuer does not say.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    header: str = "authorization"
    refresh_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who gives tokens, and how this client introduces itself.

    :param header: name of the header that carries the access token.
    """

    token_endpoint: str
    authorization_endpoint: str = ""
    device_endpoint: str = ""
    client_id: str = ""
    redirect_uri: str = ""
    scopes: tuple[str, ...] = ()
    audience: str = ""
    header: str = "authorization"


# What a flow asks for -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PostForm:
    """Send a form. The result is the :class:`Reply`."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Browse:
    """Let a person log in with a browser, and listen on the loopback address for the way back.

    The result is the query of the request to ``redirect_uri`` that has the right ``state``.
    """

    url: str = field(repr=False)
    redirect_uri: str
    state: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Show:
    """Tell a person something."""

    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command. The result is what it wrote to its standard output."""

    words: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a form: its status, and its JSON document, empty if it is none."""

    status: int
    document: Mapping[str, Any] = field(repr=False)


Ask = PostForm | Browse | Show | Pause | RunCommand
Flow = Generator[Ask, Any, Tokens]
Now = Callable[[], float]


# Checks ---------------------------------------------------------------------------------------------------------------


def check_address(url: str, what: str) -> str:
    """``url`` if secrets may be sent there: over TLS, or to this machine.

    :raises RefusedLogin: they may not.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url
    raise RefusedLogin("insecure_address", f"the {what} {url!r} is not an https address, so nothing is sent there")


def _tokens_of(reply: Reply, issuer: Issuer, now: float, secrets: tuple[str, ...], old: Tokens | None = None) -> Tokens:
    document = reply.document
    if reply.status >= 500 or reply.status == 429 or (reply.status >= 400 and not document.get("error")):
        raise UnreachableIssuer(f"the issuer of tokens answered with HTTP status {reply.status}")
    if reply.status >= 400 or document.get("error"):
        raise _refusal(document, secrets)
    access, kind = document.get("access_token"), document.get("token_type", "bearer")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise RefusedLogin("no_token", "the issuer answered without a token that can stand in a header")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise RefusedLogin("token_type", "the issuer gave a token that is no bearer token")
    refresh, lasts_s = document.get("refresh_token"), document.get("expires_in")
    if isinstance(lasts_s, bool) or not isinstance(lasts_s, (int, float)) or not 0 < lasts_s < _LONGEST_S:
        lasts_s = None
    return Tokens(
        access_token=access,
        # An issuer that gives no other refresh token means the old one to be used again (RFC 6749, section 6).
        refresh_token=refresh if isinstance(refresh, str) and refresh else (old.refresh_token if old else None),
        expires_at=now + lasts_s if lasts_s is not None else None,
        header=issuer.header,
        refresh_at=now + lasts_s - min(EARLY_S, lasts_s / 5) if lasts_s is not None else None,
    )


def _refusal(document: Mapping[str, Any], secrets: tuple[str, ...]) -> RefusedLogin:
    error, description = str(document.get("error") or "refused"), str(document.get("error_description") or "")
    said = f"{error}: {description}" if description else error
    for secret in secrets:
        said = said.replace(secret, "***") if len(secret) > 3 else said
    return RefusedLogin(error, f"the issuer of tokens refused: {_plain(said)}")


def _plain(text: str) -> str:
    """What an issuer says, without what would move the cursor of a terminal, and not too much of it."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:500])


def _wishes(issuer: Issuer) -> dict[str, str]:
    wishes = {"scope": " ".join(issuer.scopes), "audience": issuer.audience}
    return {name: value for name, value in wishes.items() if value}


# Flows ----------------------------------------------------------------------------------------------------------------


def log_in_with_browser(issuer: Issuer, secret: Callable[[], str], now: Now) -> Flow:
    """Authorization code with PKCE (S256) and a redirect to this machine.

    :param secret: gives a new random text of at least 43 letters that may stand in a URL.
    """
    redirect = urlsplit(issuer.redirect_uri)
    if redirect.scheme != "http" or redirect.hostname not in _LOOPBACK:
        raise RefusedLogin(
            "redirect_uri", f"the redirect address {issuer.redirect_uri!r} is not on this machine; use DeviceFlow"
        )
    if not issuer.authorization_endpoint:
        raise RefusedLogin("discovery", "the control plane names no page to log in at; use another admin.authType")
    check_address(issuer.token_endpoint, "token endpoint")
    state, verifier = secret(), secret()
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": issuer.client_id,
        "response_type": "code",
        "redirect_uri": issuer.redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **_wishes(issuer),
    }
    page = check_address(issuer.authorization_endpoint, "login page")
    back = yield Browse(f"{page}{'&' if '?' in page else '?'}{urlencode(query)}", issuer.redirect_uri, state)
    if back.get("error") or not back.get("code"):
        raise _refusal(back, (verifier, state))
    form = {
        "grant_type": "authorization_code",
        "code": back["code"],
        "code_verifier": verifier,
        "redirect_uri": issuer.redirect_uri,
        "client_id": issuer.client_id,
    }
    reply = yield PostForm(issuer.token_endpoint, form)
    return _tokens_of(reply, issuer, now(), (verifier, back["code"]))


def log_in_with_device(issuer: Issuer, now: Now) -> Flow:
    """A code that a person types in on another device."""
    if not issuer.device_endpoint:
        raise RefusedLogin("discovery", "the control plane has no device login; use another admin.authType")
    check_address(issuer.token_endpoint, "token endpoint")
    form = {"client_id": issuer.client_id, **_wishes(issuer)}
    reply = yield PostForm(check_address(issuer.device_endpoint, "device login"), form)
    said = reply.document
    if reply.status >= 500:
        raise UnreachableIssuer(f"the issuer of tokens answered with HTTP status {reply.status}")
    if reply.status >= 400 or not all(isinstance(said.get(key), str) for key in ("device_code", "user_code")):
        raise _refusal(said, ())
    code = said["device_code"]
    page = str(said.get("verification_uri_complete") or said.get("verification_uri") or said.get("verification_url"))
    yield Show(_plain(f"To log in, open {page} and enter the code {said['user_code']}"))
    every_s = _seconds(said.get("interval"), 5.0)
    left_s = _seconds(said.get("expires_in"), 600.0)
    while left_s > 0:
        yield Pause(every_s)
        left_s -= every_s
        form = {"grant_type": DEVICE_GRANT, "device_code": code, "client_id": issuer.client_id}
        reply = yield PostForm(issuer.token_endpoint, form)
        error = reply.document.get("error")
        if error == "slow_down":
            every_s += 5.0
        elif error != "authorization_pending":
            return _tokens_of(reply, issuer, now(), (code,))
    raise RefusedLogin("expired_token", "nobody entered the code in time; try again")


def _seconds(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and value > 0 else default


def log_in_with_client_secret(issuer: Issuer, client_secret: str, now: Now) -> Flow:
    """Client credentials: no person is needed."""
    basic = base64.b64encode(f"{issuer.client_id}:{quote_plus(client_secret)}".encode()).decode()
    form = {"grant_type": "client_credentials", **_wishes(issuer)}
    address = check_address(issuer.token_endpoint, "token endpoint")
    reply = yield PostForm(address, form, {"authorization": f"Basic {basic}"})
    return _tokens_of(reply, issuer, now(), (client_secret, basic))


def log_in_with_command(words: tuple[str, ...], header: str = "authorization") -> Flow:
    """Whatever a command prints."""
    output = yield RunCommand(words)
    token = output.strip()
    if not _TOKEN.fullmatch(token):
        reason = "nothing" if not token else "something that is not one token on one line"
        raise RefusedLogin("command", f"the token command {words[0]!r} printed {reason}")
    return Tokens(token, header=header)


def refresh(issuer: Issuer, old: Tokens, now: Now) -> Flow:
    """New tokens for a refresh token.

    :raises RefusedLogin: the refresh token is not taken any more; log in again.
    """
    assert old.refresh_token is not None
    form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token, "client_id": issuer.client_id}
    if issuer.scopes:
        form["scope"] = " ".join(issuer.scopes)
    reply = yield PostForm(check_address(issuer.token_endpoint, "token endpoint"), form)
    return _tokens_of(reply, issuer, now(), (old.refresh_token, old.access_token), old)
