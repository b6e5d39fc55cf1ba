"""What packing a project's code costs: scenarios S9, S9_git and S9_loaded, and S9_again, a second bundle of what has
not changed. ``compare.py`` runs them side by side with the published package.

One process measures one scenario, and prints one line of JSON: medians of some first bundles, and of second ones.
``--system peer`` measures the published package with the same project, in its own environment:

    python tests/benchmarks/measure_bundle.py S9 2000 --repeat 5
    PYTHON_OF_THE_OTHER tests/benchmarks/measure_bundle.py S9 2000 --repeat 5 --system peer
"""

import argparse
import asyncio
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

# Copy style, and whether the project is a git repository.
SCENARIOS = {
    "S9": ("all", False),
    "S9_git": ("all", True),
    "S9_loaded": ("loaded_modules", True),
    "S9_again": ("all", True),
}


def make_project(root: Path, files: int, size_bytes: int = 4096) -> None:
    """Python files in packages of 50, whose text compresses as code does."""
    chance = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz_"
    words = ["v" + "".join(chance.choice(letters) for _ in range(chance.randint(3, 11))) + str(k) for k in range(4000)]
    for i in range(files):
        folder = root / f"pkg_{i // 50:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        lines, length = [], 0
        while length < size_bytes:
            w = chance.sample(words, 4)
            line = f"def {w[0]}_{len(lines)}({w[1]}=None, {w[2]}={chance.randint(0, 9999)}): return {w[2]!r}  # {w[3]}"
            lines.append(line)
            length += len(line) + 1
        (folder / ("__init__.py" if i % 50 == 0 else f"mod_{i:05d}.py")).write_text("\n".join(lines) + "\n")


def commit(root: Path) -> None:
    """Make it a git repository."""
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    name = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for words in (["init", "-q"], ["add", "-A"], [*name, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=root, env=env, check=True, capture_output=True)


def load(root: Path) -> None:
    """Import every module of it."""
    sys.path.insert(0, str(root))
    for path in sorted(root.glob("pkg_*/*.py")):
        importlib.import_module(path.parent.name if path.stem == "__init__" else f"{path.parent.name}.{path.stem}")


def bundle_ours(root: Path, folder: Path, style: str, state: Path) -> str:
    """The archive."""
    from flyte._package.bundle import build_bundle

    made = build_bundle(root, folder, style=style, state_folder=state)  # type: ignore[arg-type]
    assert made.tgz is not None
    return made.tgz


def bundle_peer(root: Path, folder: Path, style: str, state: Path) -> str:
    """The archive, by the function that the published package calls for a run."""
    code_bundle = importlib.import_module("flyte._code_bundle")
    folder.mkdir(parents=True, exist_ok=True)
    coroutine = code_bundle.build_code_bundle(from_dir=root, dryrun=True, copy_bundle_to=folder, copy_style=style)
    return str(asyncio.run(coroutine).tgz)


def main() -> None:
    """Measure one scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("files", type=int, nargs="?", default=2000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--system", choices=("ours", "peer"), default=os.environ.get("BENCHMARK_SYSTEM", "ours"))
    given = parser.parse_args()
    style, is_repository = SCENARIOS[given.scenario]
    bundle = bundle_ours if given.system == "ours" else bundle_peer
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        os.environ["HOME"] = os.environ["FLYTE_HOME"] = str(top / "home")
        root = top / "project"
        make_project(root, given.files)
        if is_repository:
            commit(root)
        if style == "loaded_modules":
            load(root)
        os.chdir(root)
        if given.system == "peer":
            import flyte

            flyte.init(root_dir=root)
        time.sleep(0.2)  # what changed within one step of the file clock is not remembered
        bundle(root, top / "warm", style, top / "state of warm-up")  # imports, and the files into the machine's memory
        fresh_s, again_s = [], []
        for i in range(given.repeat):
            began = time.perf_counter()
            archive = bundle(root, top / f"out {i}", style, top / f"state {i}")
            fresh_s.append(time.perf_counter() - began)
            began = time.perf_counter()
            assert bundle(root, top / f"out {i}", style, top / f"state {i}")
            again_s.append(time.perf_counter() - began)
        with tarfile.open(archive) as tar:
            assert sum(member.endswith(".py") for member in tar.getnames()) == given.files
        os.chdir("/")
        first, again = statistics.median(fresh_s), statistics.median(again_s)
        result = {
            "seconds": again if given.scenario == "S9_again" else first,
            "items": given.files,
            "growth_kb": None,
            "first_s": first,
            "again_s": again,
            "archive_bytes": os.path.getsize(archive),
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
