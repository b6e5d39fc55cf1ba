"""The stores that the contract runs over: a folder, memory, S3 and Google Cloud Storage as a server on loopback,
the store that an example registers, and Azure where its server is installed."""

import importlib.util
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from flyte.storage import S3, ObjectStore
from flyte.storage._config import configured
from tests.storage import azure_server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    program = [sys.executable, str(Path(__file__).with_name("s3_server.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin is not None and server.stdout is not None
        port = int(server.stdout.readline())
        endpoint = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=20) as made:
            assert made.status == 200
        yield endpoint
        server.stdin.close()
        server.wait(timeout=20)


@pytest.fixture
def s3(s3_endpoint: str) -> Iterator[str]:
    """A fresh prefix in a bucket, with the settings to reach it in force."""
    settings = S3(endpoint=s3_endpoint, access_key_id="key", secret_access_key="secret", region="us-east-1", retries=1)
    with configured.override(settings):
        yield f"s3://bucket/{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def azure_environment() -> Iterator[dict[str, str]]:
    with azure_server.serve() as environment:
        yield environment


@pytest.fixture(scope="session")
def gs_environment(s3_endpoint: str) -> dict[str, str]:
    """Google's store is spoken to in the form of S3's XML, so the S3 server serves it; only who signs differs."""
    return {"STORAGE_EMULATOR_HOST": s3_endpoint}


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_store.py"
PLACES = ["local", "file", "memory", "s3", "gs", "shelf", *(["azure"] if azure_server.installed() else [])]


@pytest.fixture(scope="session")
def shelf() -> type[ObjectStore]:
    """The store of the example, which registers it."""
    spec = importlib.util.spec_from_file_location("own_store", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(type[ObjectStore], module.Shelf)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh folder of each kind of storage."""
    kind = str(request.param)
    if kind == "local":
        return str(tmp_path / "store")
    if kind == "file":
        return f"file://{tmp_path}/store"
    if kind == "memory":
        return f"memory://{secrets.token_hex(6)}"
    if kind == "shelf":
        request.getfixturevalue("shelf")
        return f"shelf://{secrets.token_hex(6)}/some"
    if kind == "s3":
        return str(request.getfixturevalue("s3"))
    for name, value in request.getfixturevalue(f"{kind}_environment").items():
        monkeypatch.setenv(name, value)
    return f"{'abfs' if kind == 'azure' else kind}://bucket/{secrets.token_hex(6)}"
