"""Credentials of calls: finds the issuer, logs in when the server asks for it, refreshes, and keeps what works.

One refresh is under way at a time, however many calls, event loops and threads need it, and other processes that share
the stored tokens wait for it too. What fails throws nothing away: tokens are replaced by others, never by nothing.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from flyte._core.log import logger
from flyte.errors import RpcUnauthenticatedError, RpcUnavailableError, UnionRpcError

from ._auth_driver import Driver, new_secret
from ._auth_flows import (
    Flow,
    Issuer,
    RefusedLogin,
    Tokens,
    UnreachableIssuer,
    check_address,
    log_in_with_browser,
    log_in_with_client_secret,
    log_in_with_command,
    log_in_with_device,
    refresh,
)
from ._auth_metadata import handed_on
from ._channel import Channel, Credentials, Headers, NoCredentials
from ._connection import Connection
from ._tokens import TokenStore

_SAME_FAILURE_S = 2.0
_NOT_AGAIN_S = 10.0  # an issuer that does not answer must not slow down every call that has a good token
_PERSONAL = ("Pkce", "DeviceFlow")
_HEADER = re.compile(r"[0-9a-z_.-]+")
_DEFAULT_REDIRECT = "http://localhost:53593/callback"


def authenticator(connection: Connection) -> Credentials:
    """What the calls over ``connection`` carry."""
    if connection.auth_type == "Passthrough":
        return HandedOn()
    if connection.insecure:
        return NoCredentials()
    return Authenticator(connection)


class HandedOn:
    """The headers of the surrounding ``flyte.remote.auth_metadata``."""

    async def headers(self) -> Headers:
        """They, now."""
        return handed_on()

    async def renew(self, refused: Headers, may_ask: bool) -> bool:
        """They are the caller's to renew."""
        return False

    def has_any(self) -> bool:
        """Whether there are any."""
        return bool(handed_on())


class Authenticator:
    """The tokens of one connection.

    :param connection: the control plane and the way to authenticate.
    :param driver: does what flows ask for.
    :param now: seconds since the epoch.
    """

    def __init__(
        self, connection: Connection, driver: Driver | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._connection = connection
        self._driver = driver or Driver(connection)
        self._now = now
        self._store = TokenStore(str(connection.endpoint), use_keyring=not connection.disable_keyring)
        self._issuer: Issuer | None = None
        self._loaded = False
        self._tokens: Tokens | None = None
        self._proxy: Tokens | None = None
        self._flights: dict[str, _Flight] = {}
        self._failed: dict[str, tuple[str | None, float, UnionRpcError]] = {}
        self._failed_early_at = float("-inf")
        self._lock = threading.Lock()

    @property
    def way(self) -> str:
        """How to log in."""
        return (
            "DeviceFlow"
            if self._connection.headless and self._connection.auth_type == "Pkce"
            else self._connection.auth_type
        )

    def has_any(self) -> bool:
        """Whether there is a token at all."""
        return self._tokens is not None

    async def headers(self) -> Headers:
        """The headers that a call carries now.

        Where a person logs in, a call goes without a token first, for the server may not ask for one.

        :raises UnionRpcError: a token is needed and there is none to be had.
        """
        headers: list[tuple[str, str]] = []
        if self._connection.proxy_command:
            proxy = self._proxy or await self._fly("proxy", None, True)
            headers.append(("proxy-authorization", f"Bearer {proxy.access_token}"))
        tokens = await self._current()
        if tokens is not None:
            headers.append((tokens.header, f"Bearer {tokens.access_token}"))
        return headers

    async def _current(self) -> Tokens | None:
        if self.way == "None":
            return None
        tokens = self._tokens
        if tokens is None and self.way in _PERSONAL:
            await self._load()
            tokens = self._tokens
            if tokens is None:
                return None
        if tokens is None:
            return await self._fly("login", None, True)
        if (
            tokens.refresh_at is not None
            and tokens.refresh_at < self._now()
            and time.monotonic() - self._failed_early_at > _NOT_AGAIN_S
        ):
            try:
                # Nobody is asked before the server has said that it wants it.
                return await self._fly("login", tokens.access_token, False)
            except UnionRpcError as error:
                # The one that is there may still be good; if not, the server says so.
                self._failed_early_at = time.monotonic()
                logger.debug("a token that expires soon could not be refreshed: %s", error)
        return tokens

    async def renew(self, refused: Headers, may_ask: bool) -> bool:
        """Get other tokens than those that the server refused.

        :raises UnionRpcError: there are none to be had.
        """
        carried = {value.removeprefix("Bearer ") for _, value in refused}
        if self._connection.proxy_command and self._proxy is not None and self._proxy.access_token in carried:
            await self._fly("proxy", self._proxy.access_token, True)
        if self.way == "None":
            return False
        stale = self._tokens.access_token if self._tokens is not None else None
        if stale is not None and stale not in carried:
            return True  # renewed meanwhile, for another call
        if not may_ask and stale is None:
            return False
        try:
            await self._fly("login", stale, may_ask)
        except UnionRpcError:
            if may_ask:
                raise
            return False  # what the server said is the better message
        return True

    # One at a time.

    async def _load(self) -> None:
        """Read the tokens of an earlier process, once."""
        while not self._loaded:
            mine = _Flight(False)
            with self._lock:
                flight = self._flights.setdefault("load", mine)
            if flight is not mine:
                await flight.wait()
                continue
            try:
                stored = await self._store.load()
                with self._lock:
                    self._tokens, self._loaded = self._tokens or stored, True
            finally:
                with self._lock:
                    del self._flights["load"]
                mine.end(None)

    async def _fly(self, what: str, stale: str | None, may_ask: bool) -> Tokens:
        """Other tokens than ``stale``, from whoever gets them first."""
        while True:
            with self._lock:
                have = self._tokens if what == "login" else self._proxy
                if have is not None and have.access_token != stale:
                    return have
                failed = self._failed.get(what)
                if failed is not None and failed[0] == stale and time.monotonic() - failed[1] < _SAME_FAILURE_S:
                    raise type(failed[2])(failed[2].code, str(failed[2]))
                flight = self._flights.get(what)
                mine = _Flight(may_ask)
                if flight is None:
                    self._flights[what] = mine
            if flight is not None:
                failure = await flight.wait()
                if failure is not None and not (may_ask and not flight.may_ask):
                    raise type(failure)(failure.code, str(failure))
                continue
            failure = None
            try:
                tokens = await self._acquire(what, stale, may_ask)
                with self._lock:
                    if what == "login":
                        self._tokens = tokens
                    else:
                        self._proxy = tokens
                    self._failed.pop(what, None)
                return tokens
            except UnionRpcError as error:
                failure = error
                if may_ask:
                    with self._lock:
                        self._failed[what] = (stale, time.monotonic(), error)
                raise
            finally:
                with self._lock:
                    del self._flights[what]
                # Without a failure the others look again: there are tokens, or this call was cancelled and one of
                # them tries itself.
                mine.end(failure)

    async def _acquire(self, what: str, stale: str | None, may_ask: bool) -> Tokens:
        connection = self._connection
        try:
            if what == "proxy":
                return await self._driver.run(log_in_with_command(connection.proxy_command))
            if self.way == "ExternalCommand":
                return await self._driver.run(log_in_with_command(connection.command, await self._header()))
            if self.way == "ClientSecret":
                issuer = await self._find_issuer()
                flow = log_in_with_client_secret(issuer, connection.client_secret or "", self._now)
                return await self._driver.run(flow)
            async with self._store.exclusively(connection.limits.http_s):
                return await self._log_in(stale, may_ask)
        except RefusedLogin as error:
            raise RpcUnauthenticatedError(
                "UNAUTHENTICATED", f"no login at {connection.endpoint} ({self.way}): {error}"
            ) from None
        except UnreachableIssuer as error:
            raise RpcUnavailableError(
                "UNAVAILABLE", f"no login at {connection.endpoint} ({self.way}): {error}; try again"
            ) from None

    async def _log_in(self, stale: str | None, may_ask: bool) -> Tokens:
        stored = await self._store.load()
        if stored is not None and stored.access_token != stale and not self._has_expired(stored):
            return stored  # another process was faster
        base = stored or self._tokens
        issuer = await self._find_issuer()
        if base is not None and base.refresh_token:
            try:
                tokens = await self._driver.run(refresh(issuer, base, self._now))
                await self._store.save(tokens)
                return tokens
            except RefusedLogin as error:
                if not may_ask:
                    raise
                logger.debug("the refresh token is not taken (%s): a new login", error.error)
        if not may_ask:
            raise RefusedLogin("login_required", "a person has to log in again")
        flow: Flow
        if self.way == "DeviceFlow":
            flow = log_in_with_device(issuer, self._now)
        else:
            flow = log_in_with_browser(issuer, new_secret, self._now)
        tokens = await self._driver.run(flow)
        await self._store.save(tokens)
        return tokens

    def _has_expired(self, tokens: Tokens) -> bool:
        return tokens.expires_at is not None and tokens.expires_at <= self._now()

    # Discovery.

    async def _header(self) -> str:
        """The header that carries the token; a server that does not say takes the usual one."""
        try:
            return (await self._find_issuer(needs_issuer=False)).header
        except (RefusedLogin, UnreachableIssuer, UnionRpcError):
            return "authorization"

    async def _find_issuer(self, needs_issuer: bool = True) -> Issuer:
        """Who gives tokens: what the server says, and where the connection says something, that.

        :raises RefusedLogin: neither says enough.
        :raises UnionRpcError: the server cannot be asked.
        """
        if self._issuer is None:
            self._issuer = await self._discover(needs_issuer)
        return self._issuer

    async def _discover(self, needs_issuer: bool) -> Issuer:
        from flyteidl2.auth import auth_service_pb2, auth_service_pb2_grpc

        connection = self._connection
        limit_s = connection.limits.http_s
        channel = Channel(connection)
        stub: Any = auth_service_pb2_grpc.AuthMetadataServiceStub(channel)  # type: ignore[no-untyped-call]
        try:
            server, client = await asyncio.gather(
                _or_none(stub.GetOAuth2Metadata(auth_service_pb2.GetOAuth2MetadataRequest(), timeout=limit_s)),
                _or_none(stub.GetPublicClientConfig(auth_service_pb2.GetPublicClientConfigRequest(), timeout=limit_s)),
            )
        finally:
            await channel.close()
        found = {
            name: str(getattr(server, name, ""))
            for name in ("issuer", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint")
        }
        scopes = tuple(client.scopes) if client is not None and client.scopes else ()
        if not found["token_endpoint"] and needs_issuer:
            found.update(await self._read_well_known(found["issuer"]))
        if not found["token_endpoint"] and needs_issuer:
            raise RefusedLogin(
                "discovery",
                "the control plane does not say where its tokens come from; check the endpoint, or use another way to "
                "authenticate (admin.authType)",
            )
        header = (getattr(client, "authorization_metadata_key", "") or "authorization").lower()
        if not _HEADER.fullmatch(header) or header.endswith("-bin"):
            raise RefusedLogin("discovery", f"the control plane asks for the header {header!r}, which cannot be sent")
        issuer = Issuer(
            token_endpoint=found["token_endpoint"],
            authorization_endpoint=found["authorization_endpoint"],
            device_endpoint=found["device_authorization_endpoint"],
            client_id=connection.client_id or str(getattr(client, "client_id", "")),
            redirect_uri=getattr(client, "redirect_uri", "") or _DEFAULT_REDIRECT,
            scopes=connection.scopes or scopes,
            audience=connection.audience or str(getattr(client, "audience", "")),
            header=header,
        )
        if needs_issuer:
            check_address(issuer.token_endpoint, "token endpoint")
            if not issuer.client_id:
                raise RefusedLogin("discovery", "the control plane names no client; give client_id (admin.clientId)")
        return issuer

    async def _read_well_known(self, issuer: str) -> dict[str, str]:
        """The endpoints from the document of RFC 8414, at the control plane or at the issuer that it names."""
        root = self._connection.endpoint.url(insecure=False)
        for place in (root, issuer.rstrip("/")):
            if not place:
                continue
            check_address(place, "issuer")
            for name in ("oauth-authorization-server", "openid-configuration"):
                try:
                    said = await self._driver.read_document(f"{place}/.well-known/{name}")
                except UnreachableIssuer:
                    if place != root:
                        raise
                    break  # many a control plane speaks gRPC alone
                if said is not None and isinstance(said.get("token_endpoint"), str):
                    keys = ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint")
                    return {key: str(said.get(key) or "") for key in keys}
        return {}


class _Flight:
    """One attempt to get tokens, which others wait for; they may be on other event loops."""

    def __init__(self, may_ask: bool) -> None:
        self.may_ask = may_ask
        self._done: Future[UnionRpcError | None] = Future()
        self._done.set_running_or_notify_cancel()  # so that one who stops waiting does not cancel it for all

    async def wait(self) -> UnionRpcError | None:
        """Wait for its end; what it failed with."""
        return await asyncio.shield(asyncio.wrap_future(self._done))

    def end(self, failure: UnionRpcError | None) -> None:
        """It is over."""
        self._done.set_result(failure)


async def _or_none(call: Any) -> Any:
    """What the server answers; None if it does not have that."""
    try:
        return await call
    except UnionRpcError as error:
        if error.code in ("UNIMPLEMENTED", "NOT_FOUND", "UNKNOWN", "UNAUTHENTICATED", "PERMISSION_DENIED"):
            return None
        raise
