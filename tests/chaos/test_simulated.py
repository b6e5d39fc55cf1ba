"""Our own workflows of many shapes under simulated crashes and interleavings, with a fixed number of seeds."""

import importlib.util
import sys
from pathlib import Path

import pytest

from flyte.testing import SimulatedRun, simulate

SEED = 20_260
RUNS = 60


def load():
    spec = importlib.util.spec_from_file_location("chaos_workflows", Path(__file__).with_name("workflows.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos_workflows"] = module
    spec.loader.exec_module(module)
    return module


workflows = load()


@pytest.mark.parametrize("shape", sorted(workflows.SHAPES))
def test_recovery_redoes_nothing_that_was_seen_and_every_run_ends(shape):
    seen: list[SimulatedRun] = []
    simulate(workflows.SHAPES[shape], seed=SEED, runs=RUNS, check=seen.append)
    assert len(seen) == RUNS + 1
    assert sum(run.crashes for run in seen) > RUNS
