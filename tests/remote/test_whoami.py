"""The initializers, and ``flyte whoami`` as a process of its own against a real server."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # with importlib's import mode, a test's neighbours are not on the path

from loopback import Server, fails, serving

import flyte
from flyte import errors
from flyte._verbs.session import session
from flyte.config import Config, PlatformConfig, TaskConfig
from flyte.extend import is_initialized
from flyte.remote._connection import configured


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """No configuration of this machine, and the process as it was afterwards."""
    from flyte._verbs.session import _session

    for name in list(os.environ):
        if name.startswith(("FLYTE_", "UCTL_", "FLYTECTL_", "_U_")) and name != "FLYTE_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = _session.get()
    yield
    _session.set_default(before)
    configured.set_default(None)


def key_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# init -----------------------------------------------------------------------------------------------------------------


def test_init_with_an_endpoint_connects_to_nothing():
    flyte.init(endpoint="dns:///acme.flyte.example.com/", project="p", rpc_retries=1)
    connection = configured.get()
    assert connection is not None and str(connection.endpoint) == "acme.flyte.example.com"
    assert (connection.org, connection.project, connection.retries, connection.auth_type) == ("acme", "p", 1, "Pkce")
    assert session().org == "acme" and session().endpoint == "acme.flyte.example.com"
    assert flyte.is_control_plane_available() and is_initialized()
    flyte.init()
    assert configured.get() is None and not flyte.is_control_plane_available()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"endpoint": "ftp://x"}, "write it as host"),
        ({"endpoint": "x", "auth_type": "magic"}, "no way to authenticate"),
        ({"endpoint": "x", "auth_type": "ExternalCommand"}, "needs command="),
        ({"endpoint": "x", "auth_type": "ClientSecret"}, "needs client_id and"),
        ({"endpoint": "x", "rpc_retries": -1}, "rpc_retries=-1 must be"),
    ],
)
def test_what_cannot_be_is_said_at_once(options, said):
    with pytest.raises(ValueError, match=said):
        flyte.init(**options)
    assert configured.get() is None


def test_a_command_is_a_list_of_words():
    with pytest.raises(TypeError, match=r"command=...\) takes a list of words"):
        flyte.init(endpoint="x", command="mint --now")


def test_init_from_config(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "admin: {endpoint: 'dns:///h.example.com:81', insecure: true, rpcRetries: 7}\n"
        "task: {org: o, project: p, domain: d}\n"
        "console: {endpoint: c.example.com}\n"
        "image: {builder: remote, image_refs: {a: 'b:1'}}\n"
    )
    flyte.init_from_config(file, project="mine", images=("x=y:2", "z:3"))
    connection = configured.get()
    assert connection is not None and connection.insecure and connection.retries == 7
    assert str(connection.endpoint) == "h.example.com:81" and connection.console_endpoint == "c.example.com"
    assert (session().org, session().project, session().domain) == ("o", "mine", "d")
    assert session().images == {"a": "b:1", "x": "y:2", "default": "z:3"} and session().image_builder == "remote"
    flyte.init_from_config(Config(platform=PlatformConfig(endpoint="k"), task=TaskConfig(project="q")))
    assert session().project == "q" and session().endpoint == "k"
    with pytest.raises(errors.InitializationError, match="does not exist"):
        flyte.init_from_config(tmp_path / "nope.yaml")
    with pytest.raises(TypeError, match=r"takes a path or a flyte\.config\.Config"):
        flyte.init_from_config(12)
    with pytest.raises(ValueError, match="NAME=URI"):
        flyte.init_from_config(file, images=("x=",))
    asyncio.run(flyte.init_from_config.aio(file))
    assert session().project == "p"


@pytest.mark.parametrize("endpoint", ["h.example.com", "h.example.com:81", "dns:///h.example.com:81"])
def test_init_from_api_key(monkeypatch, endpoint):
    key = key_of(f"{endpoint}:me:s3cret:None")
    flyte.init_from_api_key(key, project="p")
    connection = configured.get()
    assert connection is not None
    assert str(connection.endpoint) == endpoint.removeprefix("dns:///")
    assert (connection.auth_type, connection.client_id, connection.client_secret) == ("ClientSecret", "me", "s3cret")
    assert connection.org == "h"
    assert "s3cret" not in repr(connection) + repr(session()) and key not in repr(session())
    monkeypatch.setenv("FLYTE_API_KEY", key_of("other.example.com:me:s:acme").rstrip("="))
    flyte.init_from_api_key()
    assert session().endpoint == "other.example.com" and session().org == "acme"


@pytest.mark.parametrize(
    "key", ["hunter2!", key_of("hunter2"), key_of("a:hunter2:c"), "aHVudGVyMg\xff", key_of("::hunter2:")]
)
def test_a_broken_api_key_is_refused_and_not_repeated(key):
    with pytest.raises(errors.InitializationError, match="the API key") as caught:
        flyte.init_from_api_key(key)
    assert "hunter2" not in str(caught.value) and key not in str(caught.value)


def test_no_api_key_at_all():
    with pytest.raises(errors.InitializationError, match="FLYTE_API_KEY"):
        flyte.init_from_api_key()


def test_init_in_cluster(monkeypatch, tmp_path):
    (tmp_path / "config.yaml").write_text("admin: {endpoint: of-the-user.example.com}")
    assert flyte.init_in_cluster(project="p") == {"endpoint": "host.docker.internal:8090", "insecure": True}
    monkeypatch.setenv("_U_EP_OVERRIDE", "flyte.ns:8090")
    monkeypatch.setenv("_U_ORG_NAME", "acme")
    monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_PROJECT", "p1")
    monkeypatch.setenv("FLYTE_INTERNAL_EXECUTION_DOMAIN", "d1")
    key = key_of("of-the-key:me:s:None")
    monkeypatch.setenv("_UNION_EAGER_API_KEY", key)
    assert flyte.init_in_cluster() == {"endpoint": "flyte.ns:8090", "insecure": False, "api_key": key}
    assert (session().org, session().project, session().domain) == ("acme", "p1", "d1")
    connection = configured.get()
    assert connection is not None and connection.auth_type == "ClientSecret"
    monkeypatch.setenv("FLYTE_AUTH_TYPE", "ExternalCommand")
    monkeypatch.setenv("FLYTE_AUTH_COMMAND", "mint --quiet")
    monkeypatch.setenv("_U_INSECURE_SKIP_VERIFY", "true")
    given = flyte.init_in_cluster(endpoint="e")
    assert given == {
        "endpoint": "e",
        "insecure": False,
        "insecure_skip_verify": True,
        "auth_type": "ExternalCommand",
        "command": ["mint", "--quiet"],
    }
    mounted = tmp_path / "mounted.yaml"
    mounted.write_text("admin: {authType: DeviceFlow}")
    monkeypatch.setenv("UCTL_CONFIG", str(mounted))
    monkeypatch.delenv("FLYTE_AUTH_TYPE")
    flyte.init_in_cluster()
    connection = configured.get()
    assert connection is not None and connection.auth_type == "DeviceFlow"


def test_calls_of_init_in_many_threads_do_not_mix():
    def configure(number: int) -> None:
        for _ in range(20):
            flyte.init(endpoint=f"h{number}.flyte.example.com", project=f"p{number}")

    threads = [threading.Thread(target=configure, args=(number,)) for number in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    connection = configured.get()
    assert connection is not None and session().endpoint == str(connection.endpoint)
    number = connection.endpoint.host.split(".")[0][1:]
    assert (session().project, session().org, connection.project) == (f"p{number}", f"h{number}", f"p{number}")


def test_init_passthrough(monkeypatch):
    with pytest.raises(errors.InitializationError, match="_U_EP_OVERRIDE"):
        flyte.init_passthrough()
    assert flyte.init_passthrough("localhost:1") == {"endpoint": "localhost:1", "insecure": False}
    monkeypatch.setenv("_U_EP_OVERRIDE", "x:2")
    monkeypatch.setenv("_U_INSECURE", "true")
    assert flyte.init_passthrough() == {"endpoint": "x:2", "insecure": True}
    connection = configured.get()
    assert connection is not None and connection.auth_type == "Passthrough"


def test_initializers_load_neither_grpc_nor_httpx():
    code = (
        "import sys, flyte; flyte.init(endpoint='x.example.com'); flyte.init_passthrough('localhost:1');"
        "print([m for m in ('grpc', 'httpx', 'yaml', 'flyteidl2', 'google.protobuf', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# whoami ---------------------------------------------------------------------------------------------------------------


async def flyte_command(*args: str, **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flyte.cli.main", *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **env},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


def place_of(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


async def test_whoami_says_who_you_are():
    async with serving() as server:
        code, out, err = await flyte_command("--endpoint", place_of(server), "--insecure", "whoami")
        assert (code, err) == (0, "")
        facts = dict(line.split(":", 1) for line in out.splitlines())
        assert facts["name"].strip() == "Ada" and facts["email"].strip() == "ada@example.com"
        assert facts["endpoint"].strip() == place_of(server)
        env = {"FLYTE_ADMIN_ENDPOINT": place_of(server), "FLYTE_ADMIN_INSECURE": "true"}
        code, out, err = await flyte_command("whoami", "--output", "json", **env)
        assert (code, err) == (0, "") and json.loads(out)["subject"] == "u-1"


async def test_an_endpoint_does_not_get_the_credentials_of_another(tmp_path):
    async with serving() as server, serving() as other:
        (tmp_path / "config.yaml").write_text(
            f"admin: {{endpoint: '{place_of(server)}', insecure: true, authType: ExternalCommand, command: [echo, t]}}"
        )
        code, out, _ = await flyte_command("whoami")
        assert code == 0 and place_of(server) in out
        code, out, _ = await flyte_command("--endpoint", f"dns:///{place_of(server)}", "whoami")
        assert code == 0 and place_of(server) in out
        # The rest of the file, insecure included, is not for the other one.
        code, _, _ = await flyte_command("--endpoint", place_of(other), "whoami")
        assert code == 1 and not other.identity.seen
        assert (await flyte_command("--endpoint", place_of(other), "--insecure", "whoami"))[0] == 0
        assert "authorization" not in other.identity.seen[0]


async def test_whoami_says_what_went_wrong():
    import grpc

    async with serving() as server:
        server.identity.script = [fails(grpc.StatusCode.PERMISSION_DENIED, "not you")] * 2
        code, out, err = await flyte_command("--endpoint", place_of(server), "--insecure", "whoami")
        assert (code, out) == (1, "") and "PERMISSION_DENIED: not you" in err and "Traceback" not in err
        code, out, err = await flyte_command("--endpoint", place_of(server), "--insecure", "whoami", "--output", "json")
        said = json.loads(out)["error"]
        assert (code, said["code"], said["type"]) == (1, "PERMISSION_DENIED", "RpcPermissionDeniedError")
    code, out, err = await flyte_command("whoami")
    assert code == 1 and "no control plane is configured, and no devbox runs on this machine" in err


async def test_whoami_at_the_devbox():
    code, _, err = await flyte_command("start", "devbox", "--port", "0")
    assert code == 0, err
    try:
        code, out, err = await flyte_command("whoami", "--output", "json")
        assert code == 0, err
        assert json.loads(out)["endpoint"].startswith("127.0.0.1:") and json.loads(out)["subject"]
    finally:
        await flyte_command("stop", "devbox")
