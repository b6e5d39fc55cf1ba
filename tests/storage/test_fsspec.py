"""The stores as fsspec file systems."""

import subprocess
import sys

import pytest

from flyte import storage
from flyte.storage._config import configured


async def test_what_is_put_is_seen(s3, tmp_path):
    uri = await storage.put_stream(b"hello", to_path=f"{s3}/a/x")
    for found in (storage.get_underlying_filesystem("s3"), storage.get_underlying_filesystem(path=uri)):
        assert found.cat_file(uri) == b"hello"
        assert found.exists(uri) and not found.exists(uri + "y")
        with found.open(f"{s3}/a/y", "wb") as file:
            file.write(b"from fsspec")
    assert b"".join([chunk async for chunk in storage.get_stream(f"{s3}/a/y")]) == b"from fsspec"
    (tmp_path / "x").write_text("x")
    assert storage.get_underlying_filesystem(path=str(tmp_path)).cat_file(str(tmp_path / "x")) == b"x"
    assert storage.get_underlying_filesystem("memory").protocol == "memory"


def test_without_fsspec():
    program = (
        "import sys; sys.modules['fsspec'] = None\n"
        "from flyte import storage\n"
        "try: storage.get_underlying_filesystem('s3')\n"
        "except ImportError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "pip install 'flyte[storage]' fsspec" in ended.stdout


def test_settings_are_handed_on():
    settings = storage.S3(endpoint="http://127.0.0.1:1", region="x", retries=7)
    with configured.override(settings):
        found = storage.get_configured_fsspec_kwargs("s3a", anonymous=True)
    assert found["config"] == {"endpoint": "http://127.0.0.1:1", "region": "x", "skip_signature": True}
    assert found["client_options"]["allow_http"] is True
    assert found["retry_config"]["max_retries"] == 7
    assert storage.get_configured_fsspec_kwargs("file") == storage.get_configured_fsspec_kwargs() == {}


def test_bad_schemes():
    with pytest.raises(ValueError, match="protocol= or path="):
        storage.get_underlying_filesystem()
    for ask in (storage.get_underlying_filesystem, storage.get_configured_fsspec_kwargs):
        with pytest.raises(ValueError, match=r"protocol='ftp' is not one of .*s3"):
            ask("ftp")
