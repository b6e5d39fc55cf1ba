"""The benchmarks do the work they say and would notice if it were wrong. Nothing here is timed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


compare = load("compare")
measure = load("measure")

SCENARIOS = sorted({name.partition(":")[0] for name in compare.TARGETS if not name.startswith(("S8", "S9"))})
BUNDLES = sorted({name.partition(":")[0] for name in compare.TARGETS if name.startswith("S9")})


def drive(driver: str, scenario: str, n: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / driver), scenario, str(n)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_work_gives_the_right_answer(scenario, tmp_path):
    done = drive("work_flyte.py", scenario, 3, tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["items"] == (40 if scenario == "S3" else 1 if scenario.startswith("S5") else 3)
    assert result["seconds"] > 0


@pytest.mark.parametrize("scenario", BUNDLES)
def test_projects_are_bundled(scenario, tmp_path):
    done = drive(compare.BUNDLES, scenario, 60, tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["items"] == 60
    assert result["seconds"] == result["again_s" if scenario == "S9_again" else "first_s"] > 0


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s not in compare.NOT_IN_ASYNCIO])
def test_the_limit_does_the_same_work(scenario, tmp_path):
    done = drive("work_asyncio.py", scenario, 3, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shape", ["gathered", "chained"])
def test_recovery_is_measured_from_a_run_that_was_killed(shape, tmp_path):
    program = [sys.executable, str(FOLDER / "measure_recovery.py"), "--json", "--reps", "1", "--actions", "20"]
    done = subprocess.run(
        [*program, "--shape", shape], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    ((name, (seconds,)),) = json.loads(done.stdout).items()
    assert name == shape and seconds > 0


def test_a_wrong_answer_is_no_result():
    work = measure.Work(lambda n: n + 1, lambda n: n)
    with pytest.raises(SystemExit, match="wrong answer for n=5: 6"):
        measure.measure(work, 5)


def test_an_unknown_scenario_names_those_there_are(tmp_path):
    done = drive("work_asyncio.py", "S99", 3, tmp_path)
    assert done.returncode == 1
    assert "S10, S2" in done.stderr


@pytest.mark.parametrize(
    ("share", "seconds", "words", "met"),
    [
        (1 / 25, 9.0, "met", True),
        (1 / 18, 9.0, "met, not yet the aim", True),
        (1 / 14, 9.0, "MISSED", False),
        (1 / 14, 0.05, "met, not yet the aim", True),
    ],
)
def test_targets_are_judged(share, seconds, words, met):
    target = compare.Target(1 / 15, aim=1 / 20, or_seconds=0.06)
    assert compare.judge(target, share, seconds) == (words, met)


def test_the_ratio_pairs_neighbouring_runs():
    ours = compare.Cell([{"seconds": s} for s in (1.0, 10.0, 2.0)])
    peer = compare.Cell([{"seconds": s} for s in (10.0, 100.0, 10.0)])
    assert compare.ratio(ours, peer) == pytest.approx(0.1)


def test_a_failure_fails_the_gate():
    sound = compare.Cell([{"seconds": 1.0, "items": 1, "growth_kb": 1}])
    cells = {"ours": compare.Cell(failure="exit code 1"), "peer": sound}
    words, met = compare.row("S1:100", cells)
    assert (words[-1], met) == ("FAILED", False)
