"""What only object stores have: settings, credentials, keys that no file system takes; and a missing obstore."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flyte import storage
from flyte.storage._config import configured
from flyte.storage._transfer import list_objects


@pytest.mark.parametrize("scheme", ["s3", "gs", "abfs", "az"])
def test_without_obstore(scheme):
    program = (
        "import sys; sys.modules['obstore'] = None\n"
        "from flyte import storage\n"
        f"try: storage.exists_sync('{scheme}://bucket/x')\n"
        "except ImportError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "pip install 'flyte[storage]'" in ended.stdout


async def test_a_missing_bucket_is_named(s3, tmp_path):
    uri = "s3://no-such-bucket/x"
    for operation in (
        storage.exists(uri),
        storage.get(uri, tmp_path / "x"),
        storage.put_stream(b"x", to_path=uri),
    ):
        with pytest.raises(FileNotFoundError, match=r"s3://no-such-bucket/x.*no bucket or container 'no-such-bucket'"):
            await operation


async def test_no_credentials(monkeypatch, s3_endpoint):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "FLYTE_AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    # Where a machine of the cloud asks for its role nobody listens here.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9/169.254.169.254")
    with configured.override(storage.S3(endpoint=s3_endpoint, region="us-east-1", retries=0)):
        with pytest.raises(PermissionError, match=r"s3://bucket/x.*no valid credentials.*flyte\.storage\.S3"):
            await storage.exists("s3://bucket/x")


async def test_settings_come_from_the_environment(s3, s3_endpoint, monkeypatch):
    await storage.put_stream(b"x", to_path=f"{s3}/x")
    monkeypatch.setenv("FLYTE_AWS_ENDPOINT", s3_endpoint)
    monkeypatch.setenv("FLYTE_AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("FLYTE_AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("FLYTE_STORAGE_RETRIES", "7")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert storage.S3.auto().retries == 7
    with configured.override(storage.GCS()):  # settings of another cloud say nothing of this one
        assert await storage.exists(f"{s3}/x")


def test_bad_settings(monkeypatch):
    with pytest.raises(ValueError, match="retries=-1"):
        storage.S3(retries=-1)
    with pytest.raises(ValueError, match="addressing_style='dns'"):
        storage.S3(addressing_style="dns")
    monkeypatch.setenv("FLYTE_STORAGE_RETRIES", "many")
    with pytest.raises(ValueError, match="FLYTE_STORAGE_RETRIES='many'"):
        storage.GCS.auto()


def test_no_secret_is_shown():
    assert "hush" not in repr(storage.S3(access_key_id="hush", secret_access_key="hush"))
    assert "hush" not in repr(storage.ABFS(account_key="hush", client_secret="hush"))


async def test_a_key_that_leads_outside_is_refused(s3_endpoint, s3, tmp_path):
    import urllib.request

    # The server takes any key; a client other than ours wrote this one.
    url = f"{s3_endpoint}/{s3.removeprefix('s3://')}/folder/%2E%2E/%2E%2E/escaped"
    with urllib.request.urlopen(urllib.request.Request(url, data=b"x", method="PUT"), timeout=20):
        pass
    with pytest.raises((ValueError, OSError)) as caught:
        await storage.get(f"{s3}/folder", tmp_path / "a" / "b", recursive=True)
    assert f"{s3}/folder" in str(caught.value)
    assert not (tmp_path / "escaped").exists()
    with pytest.raises((ValueError, OSError)):
        _ = [found async for found in list_objects(f"{s3}/folder")]


async def test_an_object_that_changes_while_it_is_read(s3):
    uri = f"{s3}/x"
    await storage.put_stream(b"a" * 50_000, to_path=uri)
    chunks = storage.get_stream(uri, chunk_size=1000)
    assert await anext(chunks) == b"a" * 1000
    await storage.put_stream(b"b" * 50_000, to_path=uri)
    with pytest.raises(OSError, match=r"/x' was changed while it was read"):
        _ = [chunk async for chunk in chunks]


async def test_no_permission():
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings = storage.S3(
        endpoint=f"http://127.0.0.1:{server.server_port}", access_key_id="k", secret_access_key="s", retries=0
    )
    try:
        with configured.override(settings):
            for operation in (storage.exists("s3://bucket/x"), storage.put_stream(b"x", to_path="s3://bucket/x")):
                with pytest.raises(PermissionError, match=r"s3://bucket/x': no permission"):
                    await operation
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
