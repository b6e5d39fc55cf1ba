"""What a user waits for: a devbox to be ready, a hello to be finished, one action of a chain after the other.

Run with ``python tests/devbox/benchmarks/whole.py [ROUNDS]``. Each figure is the median of rounds in which everything
takes its turn, so that what else the machine does falls on all of them.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

LINKS = 20
READY_S, HELLO_S, ABOVE_MS = 2.0, 1.0, 100.0
CHAIN = """
    import time
    import flyte

    env = flyte.TaskEnvironment("chain")

    @env.task
    async def step(x: int) -> int:
        return x + 1

    @env.task
    async def main(links: int) -> float:
        x = await step(0)  # loads gRPC, and connects
        begun = time.perf_counter()
        for _ in range(links):
            x = await step(x)
        return (time.perf_counter() - begun) / links * 1000
"""


class Home:
    """A state folder, and the command in it."""

    def __init__(self, folder: Path, *start: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, "FLYTE_HOME": str(folder / "home"), "NO_COLOR": "1"}
        (folder / "chain.py").write_text(textwrap.dedent(CHAIN))
        self.start = start

    def run(self, *words: str) -> tuple[str, float]:
        """What it prints, and how long it took in seconds."""
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "flyte.cli.main", *words],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, time.perf_counter() - begun

    def chain_ms(self) -> float:
        """Milliseconds from one action of a chain to the next."""
        said, _ = self.run("run", "--remote", "--follow", "chain.py", "main", "--links", str(LINKS))
        return float(json.loads(said.strip().splitlines()[-1]))

    def hello_s(self) -> float:
        """Seconds of the whole process of a one-action hello."""
        return self.run("run", "--remote", "--follow", "chain.py", "step", "--x", "1")[1]


def python_ms() -> float:
    """Milliseconds that a process of bare Python takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    return (time.perf_counter() - begun) * 1000


def main(rounds: int) -> None:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as here:
        homes = {}
        for name, words in {"forked": (), "anew": ("--no-warm",)}.items():
            (Path(here) / name).mkdir()
            homes[name] = Home(Path(here) / name, *words)
        try:
            for _ in range(rounds):
                for name, home in homes.items():
                    found.setdefault(f"ready {name}", []).append(home.run("start", "devbox", *home.start)[1])
                    time.sleep(1.0)  # what it goes on loading is not in the way of what is measured next
                    found.setdefault(f"hello {name}", []).append(home.hello_s())
                    bare = statistics.median(python_ms() for _ in range(5))
                    found.setdefault("bare", []).append(bare)
                    found.setdefault(f"chain {name}", []).append(home.chain_ms())
                    found.setdefault(f"above {name}", []).append(found[f"chain {name}"][-1] - bare)
                    home.run("stop", "devbox")
        finally:
            for home in homes.values():
                home.run("stop", "devbox")
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(f"bare Python: {middle['bare']:.0f} ms a process")
    for name in homes:
        print(f"attempts {name}:")
        print(f"  devbox ready, as a whole process: {middle[f'ready {name}']:.2f} s (at most {READY_S:g})")
        print(f"  flyte run to a finished hello: {middle[f'hello {name}']:.2f} s (at most {HELLO_S:g})")
        print(f"  from one action of a chain to the next: {middle[f'chain {name}']:.0f} ms,")
        print(f"    {middle[f'above {name}']:.0f} ms above bare Python (at most {ABOVE_MS:g})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
