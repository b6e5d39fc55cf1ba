"""A large file never fills the memory: measured in a process of its own, because a peak cannot be taken back.

``measure_large.py`` beside this file does the same with 10 GiB.
"""

import subprocess
import sys

import pytest

SIZE = {"local": 300 * 1024 * 1024, "s3": 140 * 1024 * 1024}
LIMIT_KIB = 64 * 1024
PROGRAM = """
import asyncio, os, resource, sys
from flyte import storage
from flyte.storage._config import configured

source, target, endpoint = sys.argv[1:]
SIZE = os.path.getsize(source)

async def main():
    await storage.put_stream(b"warm", to_path=storage.join(target, "warm"))
    await storage.get(storage.join(target, "warm"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    there = await storage.put(source, storage.join(target, "large"))
    seen = 0
    async for chunk in storage.get_stream(there):
        seen += len(chunk)
    async with await storage.open(there) as file:
        await file.seek(SIZE // 2)
        seen += len(await file.read(1000))
    back = await storage.get(there)
    assert seen == SIZE + 1000, seen
    assert os.path.getsize(back) == SIZE
    os.unlink(back)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

settings = storage.S3(endpoint=endpoint, access_key_id="key", secret_access_key="secret", region="us-east-1")
with configured.override(settings):
    asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_growth_is_bounded(kind, tmp_path, request):
    endpoint = request.getfixturevalue("s3_endpoint")
    with open(tmp_path / "source", "wb") as file:
        file.truncate(SIZE[kind])  # sparse
    target = str(tmp_path / "store") if kind == "local" else "s3://bucket/memory"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "source"), target, endpoint]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < LIMIT_KIB, f"grew by {int(ended.stdout):,} KiB"
