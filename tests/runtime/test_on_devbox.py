"""Steps, children and conditions of real actions: processes that a real devbox starts, kills and starts again."""

from collections import Counter

from flyte.models import ActionPhase


def marks(folder) -> Counter:
    return Counter((folder / "marks").read_text().split("\n")[:-1])


def finished(run):
    run.wait()
    assert run.phase is ActionPhase.SUCCEEDED, run.details().error_info
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


def test_steps_of_a_sync_parent(away, tmp_path):
    assert finished(away.run("sync_parent", str(tmp_path))) == "[1, 1] [2, 2] [0, 1]"
    assert (tmp_path / "died").exists()
    assert set(marks(tmp_path).values()) == {1}


def waits_for(run, name):
    """The action of a condition, when the run has come to it."""
    import flyte.remote

    until = time.monotonic() + 20
    while time.monotonic() < until:
        for action in flyte.remote.Action.listall(run.name):
            if action.phase is ActionPhase.PAUSED and name in str(action.task_name):
                return action
        time.sleep(0.1)
    raise AssertionError(f"run {run.name} never waited for {name!r}")


def test_a_condition_that_nobody_answers(away):
    said = finished(away.run("asks_in_vain"))
    assert said.startswith("nobody answered condition 'late'") and "within its timeout of 0.3 s: Anybody?" in said


def test_an_answer_that_no_control_plane_takes_is_refused(away):
    run = away.run("asks_for_a_list")
    run.wait()
    assert run.phase is ActionPhase.FAILED
    assert "takes only bool, int, float and str" in run.details().error_info.message
