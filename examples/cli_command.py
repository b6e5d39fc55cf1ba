"""A command of your own for ``flyte``: a function, and an entry point in the package that brings it.

$ python examples/cli_command.py
$ flyte run examples/cli_command.py main --text "a bee"
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import flyte

env = flyte.TaskEnvironment(name="words")


@env.task
async def main(text: str) -> int:
    return len(text.split())


def count_words(text: str, loud: bool = False) -> None:
    """Count words. Named in pyproject.toml, below [project.entry-points."flyte.plugins.cli.commands"]."""
    print(f"{flyte.run(main, text=text).result} words{'!' if loud else ''}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # stands for an installed package: what pip writes of its entry point
        (info := Path(folder, "counting-1.0.dist-info")).mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[flyte.plugins.cli.commands]\ncount-words = cli_command:count_words\n")
        path = os.pathsep.join([folder, str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "flyte.cli.main", "count-words", "a bee and a bear", "--loud"]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True)
