"""Type checkers see parameters and results through the API (A16): runs them over samples.py."""

import subprocess
import sys
from pathlib import Path

SAMPLES = Path(__file__).with_name("samples.py")
ROOT = SAMPLES.parents[2]


def _check(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command, str(SAMPLES)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_samples_hold_enough():
    text = SAMPLES.read_text()
    assert text.count("assert_type(") >= 30 and text.count("type: ignore[") >= 12


def test_mypy():
    _check("mypy", "--strict", "--warn-unused-ignores")


def test_pyright():
    _check("pyright", "--warnings")
