"""What the README says of commands and folders is so."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_ci_runs_the_readmes_test_command():
    commands = [c.strip() for c in blocks("bash")]
    assert len(commands) == 2, "one command runs the main job, one passes the tests"
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_map_names_every_room():
    named = set(re.findall(r"\| `(flyte/[\w./]+?)/?` \|", README))
    rooms = {
        f"flyte/{p.name}"
        for p in (ROOT / "flyte").iterdir()
        if p.is_dir() and list(p.glob("*.py")) and p.name != "__pycache__"
    }
    assert rooms, "found no rooms"
    assert rooms <= named, f"not on the map: {sorted(rooms - named)}"
    assert [n for n in sorted(named) if not (ROOT / n).exists()] == []


def test_the_first_program_runs_as_it_stands(tmp_path):
    program = tmp_path / "squares.py"
    program.write_text(blocks("python")[0])
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "285"
