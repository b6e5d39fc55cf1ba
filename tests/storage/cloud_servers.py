"""Servers of Azure and Google Cloud Storage on loopback, where their programs are installed.

``azurite-blob`` comes from npm (``npm install -g azurite``), ``fake-gcs-server`` from Go
(``go install github.com/fsouza/fake-gcs-server@v1.47.8``). Without them the contract runs over the other stores only.
"""

import base64
import email.utils
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAMS = {"azure": "azurite-blob", "gs": "fake-gcs-server"}
_ACCOUNT = "devstoreaccount1"
# The key that every Azurite has, as its documentation says.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def installed(kind: str) -> bool:
    return shutil.which(PROGRAMS[kind]) is not None


@contextmanager
def azure_server() -> Iterator[dict[str, str]]:
    """A server with a container ``bucket``; gives the environment to reach it."""
    port = _free_port()
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with _running(["azurite-blob", *options, "--blobHost", "127.0.0.1", "--blobPort", str(port)], port):
        date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
        signed = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n/{_ACCOUNT}/{_ACCOUNT}/bucket\n"
        code = hmac.new(base64.b64decode(_KEY), f"{signed}restype:container".encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(code).decode()}",
        }
        _send("PUT", f"http://127.0.0.1:{port}/{_ACCOUNT}/bucket?restype=container", headers)
        yield {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}"}


@contextmanager
def gcs_server() -> Iterator[dict[str, str]]:
    """A server with a bucket ``bucket``; gives the environment to reach it."""
    port = _free_port()
    address = f"127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with _running(["fake-gcs-server", *options, "-public-host", address], port):
        body = json.dumps({"name": "bucket"}).encode()
        _send("POST", f"http://{address}/storage/v1/b?project=test", {"Content-Type": "application/json"}, body)
        yield {"STORAGE_EMULATOR_HOST": address}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert isinstance(port, int)
        return port


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert server.poll() is None and time.monotonic() < until, f"{command[0]} does not start"
                    time.sleep(0.05)
            yield
        finally:
            server.terminate()


def _send(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=20):
        pass
