"""The stores that the contract runs over: a folder, memory, and S3 as a server of its own on loopback."""

import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte.storage import S3
from flyte.storage._config import configured


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


@pytest.fixture(params=["local", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh folder of each kind of storage."""
    if request.param == "local":
        return str(tmp_path / "store")
    if request.param == "file":
        return f"file://{tmp_path}/store"
    if request.param == "memory":
        return f"memory://{secrets.token_hex(6)}"
    return request.getfixturevalue("s3")
