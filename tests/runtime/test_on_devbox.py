"""Steps, children and conditions of real actions: processes that a real devbox starts, kills and starts again."""

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

import flyte
import flyte.remote
from flyte.errors import ConditionNotFoundError, RuntimeUserError, TypeTransformerFailedError
from flyte.models import ActionPhase


def marks(folder) -> Counter:
    return Counter((folder / "marks").read_text().split("\n")[:-1])


def finished(run):
    run.wait()
    assert run.phase is ActionPhase.SUCCEEDED, run.error_message
    return run.outputs()[0]


def test_a_parent_that_was_killed_makes_nothing_twice(away, tmp_path):
    begun = time.monotonic()
    said = finished(away.run("parent", str(tmp_path)))
    assert time.monotonic() - begun < 20, "it waited for news that had come before"
    assert said == [
        "[10, 20, 10]",
        "2",
        "[5, 5]",
        "[0, 1, 2]",
        "[0, 1]",
        "NonRecoverableError never again",
        "ValueError once more",
        "30",
    ]
    done = marks(tmp_path)
    assert (tmp_path / "died").exists()
    assert done.pop("stumbles") == 2, "what may be tried again was not"
    assert done.pop("child 1") == 2, "two equal calls are two children"
    assert set(done.values()) == {1}, done
    first, second = (tmp_path / "times").read_text().split()
    assert first == second


def test_a_parent_that_is_told_to_end_leaves_its_children(away, tmp_path):
    """As when its machine is taken away: the next attempt finds the child that still runs."""
    assert finished(away.run("is_told_to_end", str(tmp_path))) == 7
    assert marks(tmp_path) == {"takes_long": 1}


def test_steps_of_a_sync_parent(away, tmp_path):
    assert finished(away.run("sync_parent", str(tmp_path))) == "[1, 1] [2, 2] [0, 1]"
    assert (tmp_path / "died").exists()
    assert set(marks(tmp_path).values()) == {1}


def test_conditions_are_asked_once_and_answered_by_anybody(away, tmp_path):
    """The parent is killed between two answers, and asks for neither again."""
    run = away.run("asks", str(tmp_path))
    until = time.monotonic() + 20
    while not (tmp_path / "asked").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    waiting = {one.name: one for one in flyte.remote.Condition.listall(run_name=run.name)}
    assert [(one.phase, one.expected_type, one.prompt) for one in waiting.values()] == [
        ("paused", bool, "Go on?"),
        ("paused", int, "How many?"),
    ]
    with pytest.raises(TypeTransformerFailedError, match="count"):
        flyte.signal(run.name, "count", "many")
    flyte.signal(run.name, "go", True)
    flyte.signal(run.name, "go", True)
    with pytest.raises(RuntimeUserError, match="takes no answer any more"):
        flyte.signal(run.name, "go", False)
    while (tmp_path / "asked").read_text() != "asked\nasked\n":
        assert time.monotonic() < until
        time.sleep(0.02)
    said = subprocess.run(
        [sys.executable, "-m", "flyte.cli.main", "signal", run.name, "count", "3"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, ""), said
    assert finished(run) == "True 3"
    with pytest.raises(ConditionNotFoundError, match="nothing"):
        flyte.signal(run.name, "nothing", True)


def test_a_recovered_run_makes_no_step_again_and_asks_nobody_again(away, tmp_path):
    """Also when it was recovered before: what the first run did is handed on by each to the next."""
    run = away.run("wishes", str(tmp_path))
    until = time.monotonic() + 20
    while not [one for one in flyte.remote.Condition.listall(run_name=run.name) if one.phase == "paused"]:
        assert time.monotonic() < until
        time.sleep(0.02)
    flyte.signal(run.name, "go", True)
    run.wait()
    assert run.phase is ActionPhase.FAILED and "a wish is open" in run.error_message
    done = marks(tmp_path)
    assert set(done.values()) == {1} and len(done) == 6
    again = flyte.rerun(run.name, recover=True)
    again.wait()
    assert again.phase is ActionPhase.FAILED
    (tmp_path / "given").touch()
    said = finished(last := flyte.rerun(again.name, recover=True))
    assert said.startswith("2 [5, 5] [0, 1, 2] 10 True ")
    assert marks(tmp_path) == done + Counter({"given": 1})
    assert len(set((tmp_path / "times").read_text().split())) == 1, "time was asked for again"
    listed = subprocess.run(
        [sys.executable, "-m", "flyte.cli.main", "-of", "json", "get", "action", last.name, "--remote"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    phases = Counter(one["phase"] for one in json.loads(listed.stdout))
    assert phases == {"recovered": 6, "succeeded": 1}


def test_a_condition_that_nobody_answers(away):
    said = finished(away.run("asks_in_vain"))
    assert said.startswith("nobody answered condition 'late'") and "within its timeout of 0.3 s: Anybody?" in said


def test_an_answer_that_no_control_plane_takes_is_refused(away):
    run = away.run("asks_for_a_list")
    run.wait()
    assert run.phase is ActionPhase.FAILED
    assert "takes only bool, int, float and str" in run.error_message
