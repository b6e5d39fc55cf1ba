"""Login flows against a real issuer and a real gRPC server with TLS, all on loopback."""

import asyncio
import base64
import datetime
import ipaddress
import json
import logging
import socket
import stat
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyteidl2.auth import auth_service_pb2, auth_service_pb2_grpc, identity_pb2

sys.path.insert(0, str(Path(__file__).parent))  # with importlib's import mode, a test's neighbours are not on the path

from issuer import CLIENT, SECRET, Issuer
from loopback import QUICK, Server, connection_to, fails, serving

import flyte
from flyte import errors
from flyte._core.loop import run_blocking
from flyte._verbs.session import _session
from flyte.remote import _auth_flows as flows
from flyte.remote._auth import Authenticator, authenticator
from flyte.remote._auth_driver import Driver, _read_return
from flyte.remote._auth_metadata import auth_metadata
from flyte.remote._client import Client
from flyte.remote._connection import configured
from flyte.remote._tokens import TokenStore
from flyte.remote._whoami import ask_who

WHO = identity_pb2.UserInfoRequest()
Code = grpc.StatusCode


# Certificates ---------------------------------------------------------------------------------------------------------


def _certificate(name: str, signer: tuple[Any, Any] | None, addresses: list[str]) -> tuple[Any, Any]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )
    if addresses:
        names = [x509.IPAddress(ipaddress.ip_address(a)) if a[0].isdigit() else x509.DNSName(a) for a in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key


def _pem(certificate: Any, key: Any) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An authority, and credentials of a server that it vouches for, once for this machine and once for another."""
    ca = _certificate("the authority", None, [])
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(_pem(*ca)[0])
    made: dict[str, Any] = {"file": str(path)}
    for kind, names in (("here", ["127.0.0.1", "localhost"]), ("elsewhere", ["elsewhere.example.com"])):
        certificate, key = _pem(*_certificate(kind, ca, names))
        made[kind] = grpc.ssl_server_credentials([(key, certificate)])
    return made


# A server that asks for tokens ----------------------------------------------------------------------------------------


class Metadata(auth_service_pb2_grpc.AuthMetadataServiceServicer):
    """Says who gives tokens."""

    def __init__(self, issuer: Issuer, redirect_port: int) -> None:
        self.issuer = issuer
        self.redirect = f"http://localhost:{redirect_port}/callback"
        self.implemented = True
        self.names_endpoints = True
        self.header = ""
        self.token_endpoint = f"{issuer.url}/token"
        self.asked = 0

    async def GetOAuth2Metadata(self, request: Any, context: Any) -> Any:
        self.asked += 1
        if not self.implemented:
            await context.abort(Code.UNIMPLEMENTED, "no")
        said = {"issuer": self.issuer.url}
        if self.names_endpoints:
            said |= {
                "authorization_endpoint": f"{self.issuer.url}/authorize",
                "token_endpoint": self.token_endpoint,
                "device_authorization_endpoint": f"{self.issuer.url}/device",
            }
        return auth_service_pb2.GetOAuth2MetadataResponse(**said)

    async def GetPublicClientConfig(self, request: Any, context: Any) -> Any:
        return auth_service_pb2.GetPublicClientConfigResponse(
            client_id=CLIENT,
            redirect_uri=self.redirect,
            scopes=["all", "offline"],
            authorization_metadata_key=self.header,
            audience=self.issuer.audience,
        )


class Guarded:
    """A server whose UserInfo takes only tokens of its issuer, and what a client needs to get there."""

    def __init__(self, server: Server, issuer: Issuer, metadata: Metadata, authority: dict[str, Any]) -> None:
        self.server, self.issuer, self.metadata, self.authority = server, issuer, metadata, authority
        self.refusals = 0
        self.opened: list[str] = []
        self.told: list[str] = []
        self.browses = True

    def client(self, auth_type: str = "Pkce", now: Any = time.time, **more: Any) -> Client:
        """A client that trusts the authority; its browser follows the issuer's redirect."""
        settings: dict[str, Any] = {
            "insecure": False, "ca_cert_file_path": self.authority["file"], "auth_type": auth_type, **more,
        }  # fmt: skip
        connection = connection_to(self.server.port, **settings)
        driver = Driver(connection, self._open, self.told.append)
        return Client(connection, Authenticator(connection, driver, now))

    def _open(self, url: str) -> bool:
        self.opened.append(url)
        if self.browses:
            threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=5).read()).start()
        return True

    async def guard(self, context: Any) -> None:
        """Refuse a call without a token that is valid."""
        carried = dict(context.invocation_metadata()).get(self.metadata.header or "authorization", "")
        if str(carried).removeprefix("Bearer ") not in self.issuer.valid:
            self.refusals += 1
            await context.abort(Code.UNAUTHENTICATED, f"token {carried} is not valid")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def guarded(authority: dict[str, Any], kind: str = "here") -> AsyncIterator[Guarded]:
    """A :class:`Guarded` while it lasts."""
    with Issuer() as issuer:
        metadata = Metadata(issuer, free_port())
        server = Server(authority[kind])
        server.services.append(
            lambda one: auth_service_pb2_grpc.add_AuthMetadataServiceServicer_to_server(metadata, one)
        )
        made = Guarded(server, issuer, metadata, authority)

        class Script(list[Any]):
            """Guards every call, however many there are."""

            def __bool__(self) -> bool:
                return True

            def pop(self, _index: Any = 0) -> Any:
                return lambda _self, context: made.guard(context)

        server.identity.script = Script()
        async with serving(server):
            yield made


@pytest.fixture
async def plane(authority: dict[str, Any]) -> AsyncIterator[Guarded]:
    async with guarded(authority) as made:
        yield made


@pytest.fixture(autouse=True)
def no_secret_in_logs(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever a test does, no token is logged."""
    caplog.set_level(logging.DEBUG)
    yield
    said = "\n".join(record.getMessage() for record in caplog.records)
    for word in ("at-", "rt-", SECRET, "Bearer"):
        assert word not in said


# TLS ------------------------------------------------------------------------------------------------------------------


async def test_a_server_that_nobody_vouches_for_is_refused(plane):
    one = plane.client("ClientSecret", ca_cert_file_path=None, client_id=CLIENT, client_secret=SECRET)
    with pytest.raises(errors.RpcUnavailableError, match="does not trust its certificate: give ca_cert_file_path"):
        await one.identity.UserInfo(WHO)
    assert plane.issuer.seen == []


async def test_a_certificate_for_another_name_is_refused(authority):
    async with guarded(authority, "elsewhere") as plane:
        one = plane.client("ExternalCommand", command=("echo", "token-of-mine"))
        with pytest.raises(errors.RpcUnavailableError, match="its certificate is for another name"):
            await one.identity.UserInfo(WHO)
        assert plane.server.identity.seen == []


async def test_tls_where_there_is_none():
    async with serving() as server:
        one = Client(connection_to(server.port, insecure=False))
        start = time.monotonic()
        with pytest.raises(errors.RpcUnavailableError, match="does not speak TLS there: connect with insecure=True"):
            await one.identity.UserInfo(WHO)
        assert time.monotonic() - start < 2


async def test_any_certificate_will_do_if_the_user_says_so(authority):
    for kind in ("here", "elsewhere"):
        async with guarded(authority, kind) as plane:
            one = plane.client(
                "ClientSecret",
                ca_cert_file_path=None,
                insecure_skip_verify=True,
                client_id=CLIENT,
                client_secret=SECRET,
            )
            assert (await one.identity.UserInfo(WHO)).name == "Ada"
            await one.close()


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("nothing", "no certificate in PEM form")])
async def test_a_wrong_file_of_authorities(plane, tmp_path, text, said):
    path = tmp_path / "ca.pem"
    if text:
        path.write_text(text)
    with pytest.raises(errors.InitializationError, match=said):
        await plane.client("None", ca_cert_file_path=str(path)).identity.UserInfo(WHO)


# Flows ----------------------------------------------------------------------------------------------------------------


async def test_pkce(plane):
    one = plane.client()
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert len(plane.opened) == 1 and plane.refusals == 1
    assert plane.issuer.grants("authorization_code") == 1
    path = TokenStore(str(one.connection.endpoint)).path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    # Another process finds the tokens and needs no login.
    assert (await plane.client().identity.UserInfo(WHO)).name == "Ada"
    assert len(plane.opened) == 1 and plane.refusals == 1


async def test_pkce_listens_to_the_issuer_alone(plane):
    plane.browses = False
    call = asyncio.create_task(plane.client().identity.UserInfo(WHO))
    while not plane.opened:
        await asyncio.sleep(0.01)

    def get(path: str) -> int:
        try:
            return int(urllib.request.urlopen(plane.metadata.redirect.replace("/callback", path), timeout=5).status)
        except urllib.error.HTTPError as error:
            return error.code

    assert await asyncio.to_thread(get, "/other") == 404
    assert await asyncio.to_thread(get, "/callback?code=mine&state=guess") == 400
    assert not call.done()
    await asyncio.to_thread(lambda: urllib.request.urlopen(plane.opened[0], timeout=5).read())
    assert (await call).name == "Ada"
    with pytest.raises(urllib.error.URLError):  # the listener is gone
        await asyncio.to_thread(lambda: urllib.request.urlopen(plane.metadata.redirect, timeout=5))


async def test_pkce_when_the_port_is_taken(plane):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(plane.metadata.redirect.split(":")[2].split("/")[0])))
        taken.listen()
        with pytest.raises(errors.RpcUnauthenticatedError, match=r"cannot be used .*DeviceFlow"):
            await plane.client().identity.UserInfo(WHO)


async def test_pkce_when_nobody_logs_in(plane):
    plane.browses = False
    with pytest.raises(errors.RpcUnauthenticatedError, match=r"nobody logged in within 0\.3 s"):
        await plane.client(limits=replace(QUICK, login_s=0.3)).identity.UserInfo(WHO)


@pytest.mark.parametrize("more", [{"auth_type": "DeviceFlow"}, {"headless": True}])
async def test_device(plane, more):
    plane.issuer.pending = 3
    one = plane.client(**more)
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert plane.told == [f"To log in, open {plane.issuer.url}/type and enter the code ABCD-EFGH"]
    assert plane.issuer.grants(flows.DEVICE_GRANT) == 4


async def test_client_credentials(plane):
    plane.issuer.audience = "https://flyte"
    one = plane.client("ClientSecret", client_id=CLIENT, client_secret=SECRET, scopes=("mine",))
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert plane.refusals == 0 and plane.issuer.seen[0]["scope"] == "mine"
    plane.issuer.valid.clear()
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert plane.issuer.grants("client_credentials") == 2
    with pytest.raises(errors.RpcUnauthenticatedError, match="invalid_client") as caught:
        await plane.client("ClientSecret", client_id=CLIENT, client_secret="hunter2").identity.UserInfo(WHO)
    assert "hunter2" not in str(caught.value)
    assert not TokenStore(str(one.connection.endpoint)).path.exists()


async def test_an_api_key_all_the_way(plane):
    key = base64.b64encode(f"127.0.0.1:{plane.server.port}:{CLIENT}:{SECRET}:acme".encode()).decode()
    before = _session.get()
    try:
        flyte.init_from_api_key(key, ca_cert_file_path=plane.authority["file"])
        said = await ask_who()
        assert (said["name"], said["org"]) == ("Ada", "acme")
        assert plane.issuer.grants("client_credentials") == 1 and plane.refusals == 0
    finally:
        _session.set_default(before)
        configured.set_default(None)


async def test_a_command(plane, tmp_path):
    plane.issuer.valid.add("at-of-command")
    counter = tmp_path / "runs"
    script = f"open({str(counter)!r}, 'a').write('x'); print('at-of-command')"
    one = plane.client("ExternalCommand", command=(sys.executable, "-c", script))
    for _ in range(3):
        assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert counter.read_text() == "x"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('at-1 at-2')", "not one token on one line"),
        ("pass", "printed nothing"),
        ("import sys; print('at-9'); sys.exit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "did not end within 3 s"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "printed nothing"),
    ],
)
async def test_a_command_that_gives_no_token(plane, script, said):
    with pytest.raises(errors.UnionRpcError, match=said) as caught:
        await plane.client("ExternalCommand", command=(sys.executable, "-c", script)).identity.UserInfo(WHO)
    assert "at-" not in str(caught.value)


async def test_a_proxy_in_front_has_a_token_of_its_own(plane):
    plane.issuer.valid.add("at-x")
    seen: list[dict[str, str]] = plane.server.identity.seen
    script = (sys.executable, "-c", "print('at-x')")
    one = plane.client("ExternalCommand", command=script, proxy_command=(sys.executable, "-c", "print('for-proxy')"))
    await one.identity.UserInfo(WHO)
    assert seen[0]["proxy-authorization"] == "Bearer for-proxy" and seen[0]["authorization"] == "Bearer at-x"


async def test_handed_on_headers():
    async with serving() as server:
        connection = connection_to(server.port, auth_type="Passthrough")
        one = Client(connection, authenticator(connection))
        with auth_metadata(("Authorization", "Bearer mine"), ("x-user", "me")):
            await one.identity.UserInfo(WHO)
        await one.identity.UserInfo(WHO)
        first, second = server.identity.seen
        assert first["authorization"] == "Bearer mine" and first["x-user"] == "me"
        assert "authorization" not in second
        with pytest.raises(TypeError, match="pairs of texts"), auth_metadata(("x", 1)):  # type: ignore[arg-type]
            pass


async def test_plain_text_carries_no_credentials():
    async with serving() as server:
        connection = connection_to(server.port, auth_type="ClientSecret", client_id="a", client_secret="b")
        await Client(connection).identity.UserInfo(WHO)
        assert "authorization" not in server.identity.seen[0]


# Discovery ------------------------------------------------------------------------------------------------------------


async def test_the_header_is_the_servers_choice(plane):
    plane.metadata.header = "Flyte-Authorization".lower()
    assert (await plane.client().identity.UserInfo(WHO)).name == "Ada"
    assert (await plane.client().identity.UserInfo(WHO)).name == "Ada"  # from the store
    assert plane.refusals == 1


async def test_endpoints_from_the_well_known_document_of_the_issuer(plane):
    plane.metadata.names_endpoints = False
    one = plane.client("ClientSecret", client_id=CLIENT, client_secret=SECRET)
    assert (await one.identity.UserInfo(WHO)).name == "Ada"


async def test_a_server_that_says_nothing(plane):
    plane.metadata.implemented = False
    with pytest.raises(errors.RpcUnauthenticatedError, match="does not say where its tokens come from"):
        await plane.client("ClientSecret", client_id=CLIENT, client_secret=SECRET).identity.UserInfo(WHO)


async def test_nothing_secret_goes_over_plain_http(plane):
    plane.metadata.token_endpoint = "http://issuer.example.com/token"
    with pytest.raises(errors.RpcUnauthenticatedError, match="not an https address"):
        await plane.client("ClientSecret", client_id=CLIENT, client_secret=SECRET).identity.UserInfo(WHO)


async def test_an_issuer_that_never_answers(plane):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        plane.metadata.token_endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        one = plane.client("ClientSecret", client_id=CLIENT, client_secret=SECRET, limits=replace(QUICK, http_s=0.5))
        start = time.monotonic()
        with pytest.raises(errors.RpcUnavailableError, match=r"issuer of tokens at 127\.0\.0\.1 cannot be reached"):
            await one.identity.UserInfo(WHO)
        assert time.monotonic() - start < 3


# Refresh --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth_type", ["Pkce", "ClientSecret"])
async def test_one_refresh_for_a_hundred_calls(plane, auth_type):
    one = plane.client(auth_type, client_id=CLIENT, client_secret=SECRET)
    await one.identity.UserInfo(WHO)
    grants = len(plane.issuer.seen)
    plane.issuer.valid.clear()
    plane.issuer.delay_s = 0.1
    names = await asyncio.gather(*(one.identity.UserInfo(WHO) for _ in range(100)))
    assert {said.name for said in names} == {"Ada"}
    assert len(plane.issuer.seen) == grants + 1


async def test_one_login_for_a_hundred_calls(plane):
    one = plane.client()
    await asyncio.gather(*(one.identity.UserInfo(WHO) for _ in range(100)))
    assert len(plane.opened) == 1 and plane.issuer.grants("authorization_code") == 1


async def test_the_store_is_read_once_for_a_hundred_calls(plane, monkeypatch):
    await plane.client().identity.UserInfo(WHO)
    reads = []
    read = TokenStore._read
    monkeypatch.setattr(TokenStore, "_read", lambda self: reads.append(1) or read(self))
    one = plane.client()
    await asyncio.gather(*(one.identity.UserInfo(WHO) for _ in range(100)))
    assert len(reads) == 1 and len(plane.opened) == 1


async def test_one_refresh_for_many_event_loops(plane):
    one = plane.client()
    await one.identity.UserInfo(WHO)
    plane.issuer.valid.clear()
    plane.issuer.delay_s = 0.1

    def ask() -> str:
        return str(run_blocking(lambda: one.identity.UserInfo(WHO)).name)

    assert set(await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(4)))) == {"Ada"}
    assert plane.issuer.grants("refresh_token") == 1


async def test_one_refresh_for_two_processes_that_share_the_tokens(plane):
    first = plane.client()
    await first.identity.UserInfo(WHO)
    second = plane.client()
    await second.identity.UserInfo(WHO)
    plane.issuer.valid.clear()
    plane.issuer.delay_s = 0.1
    await asyncio.gather(first.identity.UserInfo(WHO), second.identity.UserInfo(WHO))
    assert plane.issuer.grants("refresh_token") == 1 and len(plane.opened) == 1


async def test_a_token_is_refreshed_before_it_expires(plane):
    plane.issuer.lasts_s = 600
    moved = [0.0]
    one = plane.client(now=lambda: time.time() + moved[0])
    await one.identity.UserInfo(WHO)
    moved[0] = 560
    await one.identity.UserInfo(WHO)
    assert plane.issuer.grants("refresh_token") == 1 and plane.refusals == 1


async def test_a_token_that_lasts_seconds_is_not_refreshed_at_every_call(plane):
    plane.issuer.lasts_s = 20
    moved = [0.0]
    one = plane.client("ClientSecret", lambda: time.time() + moved[0], client_id=CLIENT, client_secret=SECRET)
    for moment, grants in ((0, 1), (10, 1), (18, 2), (25, 2)):
        moved[0] = moment
        await one.identity.UserInfo(WHO)
        assert plane.issuer.grants("client_credentials") == grants


async def test_a_failed_refresh_does_not_throw_away_what_works(plane):
    plane.issuer.lasts_s = 600
    moved = [0.0]
    one = plane.client(now=lambda: time.time() + moved[0])
    await one.identity.UserInfo(WHO)
    path = TokenStore(str(one.connection.endpoint)).path
    kept = path.read_text()
    moved[0] = 560
    plane.issuer.broken = 503
    for _ in range(3):
        assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert plane.issuer.grants("refresh_token") == 1  # not at every call
    # Now the token itself is not taken any more: the call fails, and the refresh token is still there.
    plane.issuer.valid.clear()
    with pytest.raises(errors.RpcUnavailableError, match="HTTP status 503"):
        await one.identity.UserInfo(WHO)
    assert path.read_text() == kept
    plane.issuer.broken = None
    await asyncio.sleep(2.1)  # the same failure is not asked for again at once
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert len(plane.opened) == 1


async def test_a_refresh_token_that_is_not_taken_leads_to_a_new_login(plane):
    one = plane.client()
    await one.identity.UserInfo(WHO)
    plane.issuer.valid.clear()
    plane.issuer.refresh_tokens.clear()
    assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert len(plane.opened) == 2


async def test_an_issuer_that_keeps_its_refresh_token(plane):
    plane.issuer.rotates = False
    one = plane.client()
    await one.identity.UserInfo(WHO)
    plane.issuer.gives_refresh_token = False
    for _ in range(2):
        plane.issuer.valid.clear()
        assert (await one.identity.UserInfo(WHO)).name == "Ada"
    assert plane.issuer.grants("refresh_token") == 2 and len(plane.opened) == 1


async def test_one_who_stops_waiting_does_not_stop_the_others(plane):
    one = plane.client()
    await one.identity.UserInfo(WHO)
    plane.issuer.valid.clear()
    plane.issuer.delay_s = 0.3
    calls = [asyncio.create_task(one.identity.UserInfo(WHO)) for _ in range(5)]
    await asyncio.sleep(0.15)
    calls[0].cancel()  # the one that refreshes for all
    calls[3].cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [True, False, False, True, False]
    assert {said.name for said in done if not isinstance(said, BaseException)} == {"Ada"}


async def test_a_server_with_a_fault_of_its_own_opens_no_browser(plane):
    plane.server.identity.script = [fails(Code.UNKNOWN, "boom"), fails(Code.PERMISSION_DENIED, "Unauthorized")]
    plane.issuer.gives_refresh_token = False
    one = plane.client()
    for code in ("UNKNOWN", "PERMISSION_DENIED"):
        if code == "PERMISSION_DENIED":
            one.channel.credentials._tokens = flows.Tokens("at-old")  # type: ignore[attr-defined]
        with pytest.raises(errors.UnionRpcError, match=code):
            await one.identity.UserInfo(WHO)
    assert plane.opened == []


async def test_a_token_in_a_servers_words_is_not_repeated(plane):
    plane.issuer.rotates = False
    one = plane.client()
    await one.identity.UserInfo(WHO)

    plane.issuer.valid = frozenset()  # type: ignore[assignment]
    plane.issuer.new_tokens = lambda: {"access_token": "at-never-valid"}  # type: ignore[method-assign]
    with pytest.raises(errors.RpcUnauthenticatedError, match=r"token Bearer \*\*\* is not valid") as caught:
        await one.identity.UserInfo(WHO)
    assert "at-never" not in str(caught.value)


# The store ------------------------------------------------------------------------------------------------------------


async def test_tokens_are_kept_in_a_file_for_the_owner_alone():
    store = TokenStore("h.example.com:81", use_keyring=False)
    assert await store.load() is None
    await store.save(flows.Tokens("a", "r", 12.5, "x-auth", 10.0))
    assert await store.load() == flows.Tokens("a", "r", 12.5, "x-auth", 10.0)
    assert [path.name for path in store.path.parent.iterdir()] == ["h.example.com%3A81.json"]
    store.path.chmod(0o644)
    await store.load()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"access_token": 1}', '{"access_token": "a", "expires_at": "x"}', "\0"]
)
async def test_what_is_no_token_is_as_nothing(text):
    store = TokenStore("h", use_keyring=False)
    store.path.parent.mkdir(parents=True)
    store.path.write_text(text)
    assert await store.load() is None


async def test_a_link_is_not_followed(tmp_path):
    store = TokenStore("h", use_keyring=False)
    store.path.parent.mkdir(parents=True)
    other = tmp_path / "other"
    other.write_text('{"access_token": "a"}')
    store.path.symlink_to(other)
    assert await store.load() is None
    await store.save(flows.Tokens("b"))
    assert not store.path.is_symlink() and other.read_text() == '{"access_token": "a"}'


KEYRING = """
import json, pathlib
PLACE = pathlib.Path({place!r})
def get_password(service, name):
    return json.loads(PLACE.read_text()).get(service + " " + name) if PLACE.exists() else None
def set_password(service, name, text):
    PLACE.write_text(json.dumps({{service + " " + name: text}}))
"""


@pytest.mark.parametrize(
    ("module", "kept_in_file"),
    [
        (KEYRING, False),
        ("def get_password(*a): raise RuntimeError('locked rt-1')\nset_password = get_password", True),
        ("raise OSError('no bus')", True),
        ("import time\ndef get_password(*a): time.sleep(60)\nset_password = get_password", True),
    ],
    ids=["works", "fails", "cannot be loaded", "hangs"],
)
async def test_the_keyring_is_used_if_there_is_one(module, kept_in_file, monkeypatch, tmp_path):
    monkeypatch.setattr("flyte.remote._tokens._KEYRING_S", 0.5)
    (tmp_path / "keyring.py").write_text(
        module.replace("{place!r}", repr(str(tmp_path / "ring"))).replace("{{", "{").replace("}}", "}")
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    store = TokenStore("h.example.com")
    start = time.monotonic()
    await store.save(flows.Tokens("a", "r"))
    assert store.path.exists() is kept_in_file
    assert await TokenStore("h.example.com").load() == flows.Tokens("a", "r")
    assert time.monotonic() - start < 4
    if not kept_in_file:
        assert json.loads(json.loads((tmp_path / "ring").read_text())["h.example.com tokens"])["refresh_token"] == "r"
        assert await TokenStore("h.example.com", use_keyring=False).load() is None
    monkeypatch.delitem(sys.modules, "keyring", raising=False)


async def test_a_folder_that_cannot_be_written_is_no_failure(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path / "file"))
    await TokenStore("h", use_keyring=False).save(flows.Tokens("a"))


# The flows alone ------------------------------------------------------------------------------------------------------

ISSUER = flows.Issuer(
    token_endpoint="https://i/token",
    authorization_endpoint="https://i/auth?tenant=1",
    device_endpoint="https://i/device",
    client_id="c",
    redirect_uri="http://localhost:1/cb",
    scopes=("a", "b"),
    audience="aud",
)


def test_pkce_as_in_rfc_7636():
    flow = flows.log_in_with_browser(ISSUER, lambda: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", lambda: 100.0)
    ask = next(flow)
    assert isinstance(ask, flows.Browse)
    assert "tenant=1&client_id=c&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A1%2Fcb&state=" in ask.url
    # The challenge of appendix B.
    assert "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256" in ask.url
    assert ask.url.endswith("scope=a+b&audience=aud")
    ask = flow.send({"code": "x"})
    assert ask.form["code_verifier"].startswith("dBjf") and ask.form["grant_type"] == "authorization_code"
    with pytest.raises(StopIteration) as end:
        flow.send(flows.Reply(200, {"access_token": "t", "expires_in": 50, "refresh_token": "r"}))
    assert end.value.value == flows.Tokens("t", "r", 150.0, refresh_at=140.0)


def test_a_device_is_asked_at_the_pace_of_the_issuer():
    flow = flows.log_in_with_device(ISSUER, lambda: 0.0)
    next(flow)
    shown = flow.send(flows.Reply(200, {"device_code": "d", "user_code": "u", "verification_uri": "https://v"}))
    assert shown == flows.Show("To log in, open https://v and enter the code u")
    assert flow.send(None) == flows.Pause(5.0)
    flow.send(None)
    assert flow.send(flows.Reply(400, {"error": "slow_down"})) == flows.Pause(10.0)
    flow.send(None)
    assert flow.send(flows.Reply(400, {"error": "authorization_pending"})) == flows.Pause(10.0)
    flow.send(None)
    with pytest.raises(flows.RefusedLogin, match="access_denied"):
        flow.send(flows.Reply(400, {"error": "access_denied"}))


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (500, {}, flows.UnreachableIssuer),
        (429, {}, flows.UnreachableIssuer),
        (404, {}, flows.UnreachableIssuer),
        (503, {"error": "temporarily_unavailable"}, flows.UnreachableIssuer),
        (400, {"error": "invalid_grant", "error_description": "rt-9 is old\x1b[2J"}, flows.RefusedLogin),
        (200, {"access_token": "a b"}, flows.RefusedLogin),
        (200, {"access_token": 7}, flows.RefusedLogin),
        (200, {"access_token": "a", "token_type": "mac"}, flows.RefusedLogin),
        (200, {}, flows.RefusedLogin),
    ],
)
def test_what_an_issuer_may_answer_to_a_refresh(status, document, error):
    flow = flows.refresh(ISSUER, flows.Tokens("at-9", "rt-9"), lambda: 0.0)
    next(flow)
    with pytest.raises(error) as caught:
        flow.send(flows.Reply(status, document))
    assert "rt-9" not in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "redirect", ["https://evil.example.com/cb", "http://evil.example.com:80/cb", "urn:ietf:wg:oauth:2.0:oob"]
)
def test_a_login_comes_back_to_this_machine_only(redirect):
    with pytest.raises(flows.RefusedLogin, match="not on this machine"):
        next(flows.log_in_with_browser(replace(ISSUER, redirect_uri=redirect), lambda: "x", lambda: 0.0))


def test_what_comes_back_is_read_with_care():
    assert _read_return(b"GET /cb?state=s&code=c HTTP/1.1\r\n\r\n", "/cb", "s")[2] == {"state": "s", "code": "c"}
    assert _read_return(b"POST /cb?state=s&code=c HTTP/1.1\r\n\r\n", "/cb", "s")[2] is None
    assert _read_return(b"\xff\xfe\r\n\r\n", "/cb", "s")[2] is None
    status, said, _ = _read_return(b"GET /cb?state=s&error=<script> HTTP/1.1\r\n\r\n", "/cb", "s")
    assert status == "200 OK" and "<script>" not in said


def test_nothing_of_a_flow_shows_a_secret():
    things = [
        flows.Tokens("hunter2", "hunter2"),
        flows.PostForm("https://i", {"code": "hunter2"}, {"authorization": "hunter2"}),
        flows.Browse("https://i?state=hunter2", "http://localhost", "hunter2"),
        flows.RunCommand(("hunter2",)),
        flows.Reply(200, {"access_token": "hunter2"}),
    ]
    assert "hunter2" not in repr(things)
