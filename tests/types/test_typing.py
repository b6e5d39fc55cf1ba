"""The public API as mypy sees it, expected errors included (an ignore that is not needed is an error)."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_the_sample_passes_strict_mypy(tmp_path):
    sample = pathlib.Path(__file__).parent / "typing_sample.py"
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", str(sample)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout + result.stderr
