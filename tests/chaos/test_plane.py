"""Runs on a devbox whose processes are killed and whose connections break: every action ends once, and nothing hangs.

``nox -s chaos`` does the same at every message, and with more kills.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyte._control import remote_children
from flyte.remote import _plane_source
from flyte.remote._connection import Limits
from tests.chaos.wire_proxy import FAULTS

ROOT = Path(__file__).parent.parent.parent


def campaign(*options: str) -> dict[str, Any]:
    # A program of its own: its waits are shorter than those that ship, in the whole process.
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.plane", *options],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    tally: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if tally["violations"] else 0)
    return tally


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_workers_devbox_and_clients():
    tally = campaign("--seed", "5", "kills", "--rounds", "1", "--runs", "4", "--kills", "10")
    assert tally["violations"] == []
    assert sum(tally["kills"].values()) >= 7 and tally["runs"] == 4


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("side", "every"), [("container", 10), ("client", 24)])
def test_connections_that_break_at_a_message(side, every):
    tally = campaign("--seed", "3", "wire", "--side", side, "--every", str(every))
    assert tally["violations"] == []
    assert len(tally["faults"]) >= 3 and set(tally["faults"]) <= set(FAULTS)
    assert tally["runs"] >= 7


def test_the_waits_that_ship_are_at_most_thirty_seconds():
    """The campaigns have shorter ones. What is broken, and what is lost on the way, is noticed after so long."""
    limits = Limits()
    assert limits.keepalive_every_s + limits.keepalive_answer_s + limits.connect_s <= 30
    assert limits.call_s <= 30
    assert remote_children.IDLE_S <= 30 and _plane_source.SILENT_S <= 30
    assert max(*remote_children.ENQUEUE_PAUSE_S, *remote_children.WATCH_PAUSE_S) <= 30
