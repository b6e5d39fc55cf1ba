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
    said = finished(away.run("parent", str(tmp_path)))
    assert said == [
        "[10, 20, 10]",
        "2",
        "[5, 5]",
        "[0, 1, 2]",
        "[0, 1]",
        "NonRecoverableError never again",
        "ValueError once more",
        "30",
    ] or said[6].startswith("ValueError")
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
