"""Asking registries, over real HTTP on loopback: platforms, logins, and answers that say nothing."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flyte._package.image_checkers import (
    DockerStoreChecker,
    PodmanStoreChecker,
    RegistryChecker,
    Undecided,
    stored_login,
)
from flyte._package.image_reference import Reference, split_repository, split_uri

INDEX = {
    "manifests": [
        {"platform": {"os": "linux", "architecture": "amd64"}},
        {"platform": {"os": "linux", "architecture": "arm64"}},
        {"platform": {"os": "unknown", "architecture": "unknown"}},
    ]
}
BOTH = ("linux/amd64", "linux/arm64")


class Registry:
    """Answers as it is told, and writes down what it was asked."""

    def __init__(self):
        self.answers, self.asked = {}, []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                registry.asked.append((self.path, self.headers.get("Authorization"), self.headers.get("Accept")))
                given = registry.answers.get(self.path.partition("?")[0], (404, {}, {}))
                status, headers, body = given(self.headers) if callable(given) else given
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    server = Registry()
    yield server
    server.close()


async def ask(registry, arch=("linux/amd64",), tag="1"):
    return await RegistryChecker.image_exists(f"{registry.address}/team/app", tag, arch)


async def test_all_platforms_must_be_there(registry):
    registry.answers = {"/v2/team/app/manifests/1": (200, {}, INDEX)}
    uri = f"{registry.address}/team/app:1"
    assert await ask(registry) == await ask(registry, BOTH) == uri
    registry.answers = {"/v2/team/app/manifests/1": (200, {}, {"manifests": INDEX["manifests"][:1]})}
    assert (await ask(registry), await ask(registry, BOTH)) == (uri, None)
    assert await ask(registry, tag="2") is None
    assert "application/vnd.oci.image.index.v1+json" in registry.asked[0][2]


async def test_an_image_for_one_platform_says_which_in_its_configuration(registry):
    registry.answers = {
        "/v2/team/app/manifests/1": (200, {}, {"config": {"digest": "sha256:1"}}),
        "/v2/team/app/blobs/sha256:1": (200, {}, {"os": "linux", "architecture": "arm64"}),
    }
    assert await ask(registry) is None
    assert await ask(registry, ("linux/arm64",)) is not None


@pytest.mark.parametrize(
    "answer", [(500, {}, {}), (403, {}, {}), (200, {}, b"<html>"), (200, {}, {"config": {}}), (401, {}, {})]
)
async def test_answers_that_say_nothing(registry, answer):
    registry.answers = {"/v2/team/app/manifests/1": answer}
    with pytest.raises(Undecided, match=r"127\.0\.0\.1"):
        await ask(registry)


async def test_a_registry_that_is_not_there():
    with pytest.raises(Undecided, match="Connect"):
        await RegistryChecker.image_exists("127.0.0.1:1/app", "1")


async def test_a_token_is_fetched_with_the_stored_login(registry, tmp_path):
    login = base64.b64encode(b"ada:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": login}}}))
    realm = f'Bearer realm="http://{registry.address}/token",service="s",scope="repository:team/app:pull"'

    def manifest(headers):
        if headers.get("Authorization") == "Bearer good":
            return 200, {}, INDEX
        return 401, {"WWW-Authenticate": realm}, {}

    registry.answers = {"/v2/team/app/manifests/1": manifest, "/token": (200, {}, {"token": "good"})}
    assert await ask(registry, BOTH) is not None
    assert registry.asked[1][0] == "/token?service=s&scope=repository%3Ateam%2Fapp%3Apull"
    assert [authorization for _, authorization, _ in registry.asked] == [None, f"Basic {login}", "Bearer good"]
    registry.answers["/token"] = (403, {}, {})
    with pytest.raises(Undecided, match="gave no token") as failed:
        await ask(registry)
    assert login not in str(failed.value)


async def test_a_basic_login(registry, tmp_path):
    login = base64.b64encode(b"ada:secret").decode()

    def manifest(headers):
        right = headers.get("Authorization") == f"Basic {login}"
        return (200, {}, INDEX) if right else (401, {"WWW-Authenticate": 'Basic realm="x"'}, {})

    registry.answers = {"/v2/team/app/manifests/1": manifest}
    with pytest.raises(Undecided, match="asks for a login that is not stored"):
        await ask(registry)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": login}}}))
    assert await ask(registry) is not None


@pytest.mark.parametrize(
    "stored", ["", "[]", '{"auths": {"r.example": {}}}', '{"auths": {"r.example": {"auth": "!"}}}']
)
def test_logins_that_cannot_be_read(tmp_path, monkeypatch, stored):
    (tmp_path / "auth.json").write_text(stored)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert stored_login("r.example") is None


async def test_each_checker_knows_what_it_cannot_know(monkeypatch, tmp_path):
    with pytest.raises(Undecided, match="is in no registry"):
        await RegistryChecker.image_exists("app", "1")
    for checker in (PodmanStoreChecker, DockerStoreChecker):
        with pytest.raises(Undecided, match="is in a registry"):
            await checker.image_exists("r.example/app", "1")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Undecided, match="on PATH"):
            await checker.image_exists("app", "1")


@pytest.mark.parametrize(
    ("text", "code", "found"), [("x", 0, True), ("Error: No such image: app:1", 1, False), ("no daemon", 1, None)]
)
async def test_dockers_own_store(monkeypatch, tmp_path, text, code, found):
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if found is None:
        with pytest.raises(Undecided, match="no daemon"):
            await DockerStoreChecker.image_exists("app", "1")
    else:
        assert await DockerStoreChecker.image_exists("app", "1") == ("app:1" if found else None)


@pytest.mark.parametrize(
    ("uri", "parts", "loopback"),
    [
        ("app:1", ("localhost", "app", "1"), True),
        ("app", ("localhost", "app", "latest"), True),
        ("team/app:1", ("docker.io", "team/app", "1"), False),
        ("localhost/team/app:1", ("localhost", "team/app", "1"), True),
        ("localhost:5000/app:1", ("localhost:5000", "app", "1"), True),
        ("127.0.0.1:5000/a/b:1", ("127.0.0.1:5000", "a/b", "1"), True),
        ("[::1]:5000/a:1", ("[::1]:5000", "a", "1"), True),
        ("r.example/a:1@sha256:0", ("r.example", "a", "1"), False),
        ("r.example:80/a", ("r.example:80", "a", "latest"), False),
    ],
)
def test_parts_of_a_uri(uri, parts, loopback):
    found = split_uri(uri)
    assert found == Reference(*parts) and found.is_loopback is loopback
    assert split_repository(found.repository, found.tag) == found
