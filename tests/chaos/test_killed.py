"""Processes that are killed at random moments, then recovered: nothing that was seen runs again, and every run ends.

``nox -s chaos`` does the same with 1,000 kills and more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).with_name("kill.py")
SEED = 20_260
KILLS = 250


def campaign(*options: str) -> dict:
    # A program of its own, because a process with threads, such as this one, is not to be forked.
    done = subprocess.run(
        [sys.executable, "-W", "error", str(KILL), *options],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "random"},
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    tally = json.loads(done.stdout)
    assert done.returncode == (1 if tally["violations"] else 0)
    return tally


@pytest.mark.slow
def test_nothing_that_was_seen_runs_again_however_a_process_is_killed(tmp_path):
    tally = campaign("--kills", str(KILLS), "--seed", str(SEED), "--keep", str(tmp_path))
    assert tally["violations"] == []
    assert tally["kills"] >= KILLS
    assert KILLS / 5 < tally["timed"] < KILLS  # both ways of killing have had their share
    assert len(tally["by_shape"]) == 15  # each shape was hit
    assert tally["recovered"] > KILLS / 2  # and there was something to recover


@pytest.mark.slow
def test_neither_where_many_processes_share_one_journal():
    tally = campaign("--kills", "120", "--seed", str(SEED), "--crowd", "6")
    assert tally["violations"] == []
    assert tally["kills"] >= 120
    assert tally["recovered"] > 60


def test_the_campaign_finds_out_when_nothing_is_recovered():
    tally = campaign("--kills", "20", "--seed", "1", "--forgetful")
    assert any("ran again after it was seen" in violation for violation in tally["violations"])
