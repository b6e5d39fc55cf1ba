"""How long images take: to decide on, to build cold, and to build after a small change.

    python tests/benchmarks/measure_images.py [--base URI] [--builder NAME]

The base must have Python 3 with venv, or uv; with podman it may be an image of this machine's store. Cold builds
are another recipe each time: a variable with the time in it comes before the first layer. Downloads are as
warm as the builder's cache mounts. Decisions are measured in new processes, without the interpreter's start.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flyte import Image
from flyte._package.image_build import watch_builds
from flyte.extend import ImageBuildEngine

FILES = 2_000

DECIDE = """
import asyncio, sys, time
from pathlib import Path
from flyte import Image
from flyte.extend import ImageBuildEngine
from flyte._package import build_records, image_checkers
base, builder, folder, stamp = sys.argv[1:]
image = (Image.from_base(base).clone(name="measured", extendable=True).with_env_vars({"STAMP": stamp})
         .with_pip_packages("iniconfig==2.0.0").with_source_folder(Path(folder), "/app", copy_contents_only=True))
began = time.perf_counter()
result = asyncio.run(ImageBuildEngine.build(image, builder))
print((time.perf_counter() - began) * 1000, int(result.built))
"""


def recipe(base: str, folder: Path, stamp: str, package: str = "iniconfig==2.0.0") -> Image:
    image = Image.from_base(base).clone(name="measured", extendable=True).with_env_vars({"STAMP": stamp})
    return image.with_pip_packages(package).with_source_folder(folder, "/app", copy_contents_only=True)


async def timed(image: Image, builder: str) -> tuple[float, int]:
    """Seconds of a build, and how many steps came from the cache."""
    lines: list[str] = []
    began = time.perf_counter()
    with watch_builds(lambda event: lines.append(event.text)):
        result = await ImageBuildEngine.build(image, builder)
    assert result.built, result.why
    return time.perf_counter() - began, sum("Using cache" in line or " CACHED" in line for line in lines)


def decide(base: str, builder: str, folder: Path, stamp: str, rounds: int = 7) -> float:
    """Milliseconds until it is known that nothing has changed, in a new process; the median."""
    found = []
    for _ in range(rounds):
        argv = [sys.executable, "-c", DECIDE, base, builder, str(folder), stamp]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
        milliseconds, built = done.stdout.split()
        assert built == "0", "it was built again"
        found.append(float(milliseconds))
    return statistics.median(found)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="python:3.11-slim-bookworm")
    parser.add_argument("--builder", default="local-podman")
    options = parser.parse_args()
    stamp = str(time.time_ns())
    with tempfile.TemporaryDirectory() as made:
        small, large = Path(made, "small"), Path(made, "large")
        for folder, count in ((small, 20), (large, FILES)):
            folder.mkdir()
            for number in range(count):
                (folder / f"module_{number}.py").write_text(f"x = {number}\n" * 50)
        figures: dict[str, float] = {}
        cold, _ = await timed(recipe(options.base, small, stamp), options.builder)
        figures["cold build, s"] = round(cold, 2)
        package, kept = await timed(recipe(options.base, small, stamp, "iniconfig==2.1.0"), options.builder)
        figures["one package changed, s"] = round(package, 2)
        figures["one package changed, steps from the cache"] = kept
        (small / "module_0.py").write_text("x = -1\n")
        code, kept = await timed(recipe(options.base, small, stamp), options.builder)
        figures["code changed, s"] = round(code, 2)
        figures["code changed, steps from the cache"] = kept
        figures["decision, unchanged, 20 files, ms"] = round(decide(options.base, options.builder, small, stamp), 2)
        whole, _ = await timed(recipe(options.base, large, stamp), options.builder)
        figures[f"code changed, {FILES} files, s"] = round(whole, 2)
        figures[f"decision, unchanged, {FILES} files, ms"] = round(
            decide(options.base, options.builder, large, stamp), 2
        )
    print(json.dumps(figures, indent=4))


if __name__ == "__main__":
    asyncio.run(main())
