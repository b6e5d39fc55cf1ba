"""Transfers over a connection that is cut, reset, silent or wrong: they go on, or end in time and say why."""

import asyncio
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta

import boto3
import pytest

from flyte import storage
from flyte.storage._config import configured
from flyte.storage._download import _compare
from flyte.storage._local import PART
from tests.storage.chaos_proxy import ChaosProxy, Fault

pytestmark = pytest.mark.timeout(60)
MIB = 1024 * 1024
LARGE = random.Random(2).randbytes(40 * MIB + 11)


@pytest.fixture
def proxy(s3_endpoint):
    with ChaosProxy(s3_endpoint) as proxy:
        yield proxy


def through(proxy, *, stall_s=1.0, retries=3):
    settings = storage.S3(
        endpoint=proxy.endpoint,
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        retries=retries,
        backoff=timedelta(milliseconds=200),
        stall=timedelta(seconds=stall_s),
    )
    return configured.override(settings)


def client_of(endpoint):
    """Somebody else's client of S3."""
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )


@pytest.fixture
async def large(s3, tmp_path):
    (tmp_path / "source").write_bytes(LARGE)
    return await storage.put(str(tmp_path / "source"), f"{s3}/large")


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
async def test_a_download_goes_on(kind, proxy, large, tmp_path):
    proxy.faults += [Fault(kind, after) for after in (10_000, MIB, 3 * MIB, 5 * MIB, 7 * MIB)]
    began = time.monotonic()
    with through(proxy):
        await storage.get(large, tmp_path / "target")
    assert not proxy.faults
    assert (tmp_path / "target").read_bytes() == LARGE
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]
    # Only what was missing was asked for again; what was on its way when a connection broke is lost.
    assert proxy.moved["down"] < len(LARGE) + 8 * MIB
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
async def test_reading_goes_on(kind, proxy, large):
    proxy.faults += [Fault(kind, after) for after in (10_000, MIB)]
    with through(proxy):
        digest = hashlib.sha256()
        async for chunk in storage.get_stream(large):
            digest.update(chunk)
    assert not proxy.faults
    assert digest.digest() == hashlib.sha256(LARGE).digest()


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
async def test_an_upload_goes_on(kind, proxy, s3, tmp_path):
    (tmp_path / "source").write_bytes(LARGE)
    proxy.faults += [Fault(kind, after, "up") for after in (500, MIB, 2 * MIB)]
    with through(proxy):
        await storage.put(str(tmp_path / "source"), f"{s3}/x")
    assert not proxy.faults
    assert await storage.checksum(f"{s3}/x") == hashlib.sha256(LARGE).hexdigest()


async def test_a_silent_server_is_given_up(proxy, large, tmp_path):
    for operation in (
        lambda: storage.exists(large),
        lambda: storage.get(large, tmp_path / "target"),
        lambda: storage.put(str(tmp_path / "source"), large + "-2"),
        lambda: storage.put_stream(b"x", to_path=large + "-3"),
    ):
        proxy.faults[:] = [Fault("stall", 0, "up") for _ in range(100)]
        began = time.monotonic()
        with through(proxy, stall_s=0.3, retries=1), pytest.raises(TimeoutError, match="large"):
            await operation()
        assert time.monotonic() - began < 8
    assert sorted(os.listdir(tmp_path)) == ["source"]


async def test_a_server_that_is_gone(large, s3_endpoint, tmp_path):
    with ChaosProxy(s3_endpoint) as proxy:
        pass
    with through(proxy, retries=1):
        for operation in (storage.get(large, tmp_path / "target"), storage.put_stream(b"x", to_path=large)):
            with pytest.raises(ConnectionError, match=r"large.*connection"):
                await operation


async def test_a_body_that_never_comes_is_given_up(proxy, large, tmp_path):
    with through(proxy, stall_s=0.3, retries=2):
        assert await storage.exists(large)
        proxy.faults += [Fault("stall", 2000) for _ in range(100)]
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"large'.*nothing arrived for 0\.3 s.*FLYTE_STORAGE_STALL_SECONDS"):
            await storage.get(large, tmp_path / "target")
        assert time.monotonic() - began < 10
    assert not (tmp_path / "target").exists()


# Another call goes on -------------------------------------------------------------------------------------------------


async def break_off(proxy, large, target, parts=2):
    """Stop when some parts of an object are here; gives the names of what waits beside the target."""

    def are_here():
        return any(r.read_text().count('"part"') >= parts for r in target.parent.glob(f".*.record{PART}"))

    with through(proxy):
        getting = asyncio.create_task(storage.get(large, target))
        while not are_here():
            await asyncio.sleep(0.005)
            assert not getting.done()
        getting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await getting
    proxy.moved["down"] = 0
    assert not target.exists()
    return sorted(name for name in os.listdir(target.parent) if name.endswith(PART))


async def test_a_second_call_goes_on(proxy, large, tmp_path, caplog):
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    assert len(await break_off(proxy, large, target)) == 2
    assert [name async for name in names_in(target.parent)] == []
    with through(proxy), caplog.at_level(logging.INFO, "flyte"):
        await storage.get(large, target)
    assert target.read_bytes() == LARGE
    assert os.listdir(target.parent) == ["target"]
    assert proxy.moved["down"] < len(LARGE) - 8 * MIB
    assert "of 6 parts are here already" in caplog.text


async def names_in(folder):
    from flyte.storage._transfer import list_objects

    async for _, relative, _ in list_objects(str(folder)):
        yield relative


async def test_what_is_damaged_here_is_fetched_again(proxy, large, tmp_path):
    part, record = await break_off(proxy, large, tmp_path / "target", parts=3)
    assert "record" in record or "record" in part
    data = next(n for n in (part, record) if "record" not in n)
    with open(tmp_path / data, "r+b") as file:
        for start in range(0, len(LARGE), 8 * MIB):
            file.seek(start + 5)
            file.write(b"damaged")
    with open(tmp_path / next(n for n in (part, record) if "record" in n), "ab") as file:
        file.write(b'{"part": 99, "sha256": 1}\n{"par')
    await storage.get(large, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == LARGE


async def test_another_version_is_fetched_from_the_beginning(proxy, large, tmp_path):
    assert await break_off(proxy, large, tmp_path / "target")
    other = LARGE[::-1]
    (tmp_path / "source").write_bytes(other)
    await storage.put(str(tmp_path / "source"), large)
    await storage.get(large, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == other
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


async def test_two_calls_at_once_do_not_disturb_each_other(large, tmp_path):
    await asyncio.gather(*[storage.get(large, tmp_path / "target") for _ in range(3)])
    assert (tmp_path / "target").read_bytes() == LARGE
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


async def test_nothing_waits_at_a_random_place(proxy, large, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with through(proxy, stall_s=0.3, retries=0):
        proxy.faults += [Fault("cut", 4 * MIB)]
        with pytest.raises(ConnectionError, match="large"):
            await storage.get(large)
    assert not [p for p in (tmp_path / "temporary").rglob("*") if p.is_file()]


KILLED = """
import asyncio, sys
from flyte import storage
from flyte.storage._config import configured
uri, target, endpoint = sys.argv[1:]
settings = storage.S3(endpoint=endpoint, access_key_id="key", secret_access_key="secret", region="us-east-1")
with configured.override(settings):
    asyncio.run(storage.put(target, uri) if target.endswith("source") else storage.get(uri, target))
"""


def killed_when(proxy, way, moved, *arguments):
    command = [sys.executable, "-c", KILLED, *map(str, arguments), proxy.endpoint]
    with subprocess.Popen(command) as process:
        while proxy.moved[way] < moved:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    proxy.moved[way] = 0


async def test_a_killed_download_is_gone_on_with(proxy, large, tmp_path):
    proxy.faults += [Fault("stall", 2 * MIB), Fault("stall", 6 * MIB)]  # two parts never end
    killed_when(proxy, "down", 26 * MIB, large, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    with through(proxy):
        await storage.get(large, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == LARGE
    assert proxy.moved["down"] < len(LARGE) - 7 * MIB
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


async def test_a_killed_upload_leaves_nothing_to_be_seen(proxy, s3, tmp_path):
    (tmp_path / "source").write_bytes(LARGE)
    uri = f"{s3}/x"
    killed_when(proxy, "up", 20 * MIB, uri, tmp_path / "source")
    assert not await storage.exists(uri)
    await storage.put(str(tmp_path / "source"), uri)
    assert await storage.checksum(uri) == hashlib.sha256(LARGE).hexdigest()


async def test_an_upload_that_fails_gives_its_parts_back(proxy, s3, s3_endpoint, tmp_path, caplog):
    (tmp_path / "source").write_bytes(LARGE)
    client = client_of(s3_endpoint)
    with through(proxy, stall_s=2, retries=1):
        proxy.faults += [Fault("reset", MIB, "up") for _ in range(30)]
        with pytest.raises(ConnectionError, match=f"{s3}/x"):
            await storage.put(str(tmp_path / "source"), f"{s3}/x")
    assert "starts again from the beginning" in caplog.text
    assert not await storage.exists(f"{s3}/x")
    prefix = s3.removeprefix("s3://bucket/")
    # What could be given back was; the reset hits that request as well only while faults are left.
    proxy.faults.clear()
    left = [u for u in client.list_multipart_uploads(Bucket="bucket").get("Uploads", []) if u["Key"].startswith(prefix)]
    assert left == []


# Checksums and space --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100_000, 20 * MIB])
async def test_a_changed_byte_is_noticed(size, proxy, s3, tmp_path):
    (tmp_path / "source").write_bytes(LARGE[:size])
    uri = await storage.put(str(tmp_path / "source"), f"{s3}/x")
    with through(proxy):
        assert await storage.exists(uri)
        proxy.faults += [Fault("flip", 90_000)]
        with pytest.raises(OSError, match=r"/x'.*SHA-256.*but the store says"):
            await storage.get(uri, tmp_path / "target")
        assert not proxy.faults
        assert os.listdir(tmp_path) == ["source"]
        await storage.get(uri, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == LARGE[:size]


async def test_a_file_that_changes_while_it_is_uploaded(s3, tmp_path, monkeypatch):
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    from flyte.storage import _upload

    digest = _upload._digest

    def digest_and_change(source):
        found = digest(source)
        with open(path, "r+b") as file:
            file.seek(30 * MIB)
            file.write(b"changed")
        return found

    monkeypatch.setattr(_upload, "_digest", digest_and_change)
    with pytest.raises(OSError, match=r"source' was changed while it was uploaded"):
        await storage.put(str(path), f"{s3}/x")
    assert not await storage.exists(f"{s3}/x")


@pytest.mark.parametrize("size", [100_000, 20 * MIB])
async def test_the_md5_of_others_objects_is_held_against_them(size, proxy, s3, s3_endpoint, tmp_path):
    """An object of another client has no SHA-256, but S3 says the MD5 of one that was sent in one piece."""
    uri = f"{s3}/x"
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client_of(s3_endpoint).put_object(Bucket=bucket, Key=key, Body=LARGE[:size])
    with through(proxy):
        proxy.faults += [Fault("flip", 90_000)]
        with pytest.raises(OSError, match=r"/x'.*MD5.*but the store says"):
            await storage.get(uri, tmp_path / "target")
        assert not proxy.faults
        assert os.listdir(tmp_path) == []
        await storage.get(uri, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == LARGE[:size]


async def test_a_tag_that_is_no_checksum(s3, tmp_path):
    """As buckets that are encrypted with a key of their own have: the bytes are the same each time they are read."""
    from flyte.storage._clouds import cloud_store
    from flyte.storage._uri import locate

    uri = await storage.put_stream(LARGE[:100_000], to_path=f"{s3}/x")
    store = cloud_store(locate(uri))
    info = await store.stat(locate(uri))
    assert info is not None
    opaque = info._replace(version='"0123456789abcdef0123456789abcdef"')
    await _compare(store, locate(uri), opaque, {}, lambda name: hashlib.new(name, LARGE[:100_000]).hexdigest())
    assert store.has_opaque_tags
    store.has_opaque_tags = False
    with pytest.raises(OSError, match="MD5"):
        await _compare(store, locate(uri), opaque, {}, lambda name: hashlib.new(name, b"other").hexdigest())


async def test_objects_of_others_have_no_checksum(s3, tmp_path):
    await storage.put_stream(LARGE, to_path=f"{s3}/x")
    await storage.get(f"{s3}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == LARGE


async def test_a_device_that_is_too_small(large, tmp_path, monkeypatch):
    usage = os.statvfs(tmp_path)
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(usage.f_frsize, 0, 1000))
    with pytest.raises(OSError, match=r"target': no space left on device: 41,943,051 bytes are to come") as caught:
        await storage.get(large, tmp_path / "target")
    assert caught.value.errno == 28
    assert os.listdir(tmp_path) == ["source"]


async def test_a_device_that_fills_up(large, tmp_path):
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root may mount a small device")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small device cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        (small / "other").write_bytes(bytes(MIB))
        with pytest.raises(OSError, match=r"small/target': no space left on device") as caught:
            await storage.get(large, small / "target")
        assert caught.value.errno == 28
        assert os.listdir(small) == ["other"]
        with pytest.raises(OSError, match=r"small/x'.*[Nn]o space left on device; free some space"):
            await storage.put(str(tmp_path / "source"), str(small / "x"))
        assert os.listdir(small) == ["other"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_settings_of_time(monkeypatch):
    with pytest.raises(ValueError, match="stall="):
        storage.S3(stall=timedelta(0))
    monkeypatch.setenv("FLYTE_STORAGE_STALL_SECONDS", "2.5")
    assert storage.S3.auto().stall == timedelta(seconds=2.5)
    monkeypatch.setenv("FLYTE_STORAGE_STALL_SECONDS", "soon")
    with pytest.raises(ValueError, match="FLYTE_STORAGE_STALL_SECONDS='soon'"):
        storage.GCS.auto()
    assert storage.S3().stall <= timedelta(seconds=30)
