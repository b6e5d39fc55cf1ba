"""A server of Azure Blob Storage on loopback, where its program is installed: ``npm install -g azurite``.

Without it the contract runs over the other stores only.
"""

import base64
import email.utils
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = "azurite-blob"
_ACCOUNT = "devstoreaccount1"
# The key that every Azurite has, as its documentation says.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


@contextmanager
def serve() -> Iterator[dict[str, str]]:
    """A server with a container ``bucket``; gives the environment to reach it."""
    port = _free_port()
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with _running([PROGRAM, *options, "--blobHost", "127.0.0.1", "--blobPort", str(port)], port):
        date, version = email.utils.formatdate(usegmt=True), "2021-08-06"
        signed = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n/{_ACCOUNT}/{_ACCOUNT}/bucket\n"
        code = hmac.new(base64.b64decode(_KEY), f"{signed}restype:container".encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": date,
            "x-ms-version": version,
            "Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(code).decode()}",
        }
        url = f"http://127.0.0.1:{port}/{_ACCOUNT}/bucket?restype=container"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method="PUT"), timeout=20):
            pass
        yield {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}"}


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
