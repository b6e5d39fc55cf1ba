"""Puts and gets one large file, to S3's server on loopback and to a folder, and prints time and memory.

$ python tests/storage/measure_large.py            # 10 GiB; needs 40 GiB of disk and about ten minutes
$ python tests/storage/measure_large.py --gib 1 --kind s3

Memory is the growth of the client's resident set over what it is after a transfer of a few bytes. S3's server is moto
in a process of its own, and is what limits the speed. Not part of the tests: they measure smaller files.
"""

import argparse
import asyncio
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from flyte import storage
from flyte.storage._config import configured

BLOCK_BYTES = 64 * 1024 * 1024


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def s3_server():
    program = [sys.executable, str(Path(__file__).with_name("s3_server.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=20):
            pass
        # moto says nothing while it puts the parts together, unlike S3, and is slow at it.
        patient = timedelta(minutes=10)
        yield storage.S3(endpoint=endpoint, access_key_id="key", secret_access_key="secret", stall=patient)
        server.stdin.close()
        server.wait(20)


async def measure(kind: str, source: Path, place: str) -> None:
    await storage.put_stream(b"warm", to_path=storage.join(place, "warm"))
    await storage.get(storage.join(place, "warm"))
    before, size_mib = peak_mib(), source.stat().st_size / 1024 / 1024
    back = source.with_name("back")
    for name, transfer in (
        ("put", lambda: storage.put(str(source), storage.join(place, "large"))),
        ("get", lambda: storage.get(storage.join(place, "large"), back)),
    ):
        began = time.perf_counter()
        await transfer()
        took = time.perf_counter() - began
        grown = peak_mib() - before
        print(
            f"{kind:5} {name}: {took:7.1f} s, {size_mib / took:6.0f} MiB/s, memory grew by {grown:.0f} MiB", flush=True
        )
    with open(source, "rb") as one, open(back, "rb") as other:
        same = hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()
    back.unlink()
    if not same:
        sys.exit("what came back is not what was put")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=10)
    parser.add_argument("--kind", choices=["s3", "local"], help="only one of them")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flyte-measure-"))
    os.environ["TMPDIR"] = str(folder)  # where the server keeps its parts
    try:
        source, left = folder / "source", int(arguments.gib * 1024**3)
        with open(source, "wb") as file:
            while left > 0:
                left -= file.write(os.urandom(min(BLOCK_BYTES, left)))
        # Each kind in a process of its own: a peak cannot be taken back, and what is written above counts as well.
        for kind in [arguments.kind] if arguments.kind else ["local", "s3"]:
            if os.fork() == 0:
                if kind == "local":
                    asyncio.run(measure(kind, source, str(folder / "store")))
                else:
                    with s3_server() as settings, configured.override(settings):
                        asyncio.run(measure(kind, source, "s3://bucket/measured"))
                os._exit(0)
            if os.wait()[1] != 0:
                sys.exit(1)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
