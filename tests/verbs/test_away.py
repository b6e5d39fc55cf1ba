"""Deployments and runs of deployed tasks, on a real devbox."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flyte
import flyte.remote
from flyte.errors import DeploymentError, RemoteTaskNotFoundError, RemoteTaskUsageError
from flyte.remote._source import looking

sys.path.insert(0, str(Path(__file__).parents[1] / "remote" / "programs"))

import shop
import warehouse

PROGRAMS = Path(__file__).parents[1] / "remote" / "programs"


@pytest.fixture(scope="module")
def box_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import os
    import time

    home = tmp_path_factory.mktemp("devbox")
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flyte.devbox"],
            env={**os.environ, "FLYTE_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    until = time.monotonic() + 20
    while not (home / "devbox" / "endpoint.json").exists():
        assert time.monotonic() < until and process.poll() is None, (home / "log").read_text()
        time.sleep(0.05)
    yield home
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(autouse=True)
def session(box_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FLYTE_HOME", str(box_home))
    flyte.init(root_dir=PROGRAMS)
    yield
    flyte.init()


def away(**settings: Any) -> Any:
    return flyte.with_runcontext(mode="remote", **settings)


def test_an_environment_and_what_it_depends_on_are_deployed_once():
    (made,) = flyte.deploy(warehouse.env, version="v1")
    assert made.version == "v1"
    assert set(made.environments) == {"warehouse", "shop"}
    names = [task.name for task in made.tasks]
    assert "warehouse.stock" in names and "shop.add" in names
    assert len(names) == len(set(names))
    assert all(task.is_new for task in made.tasks)
    assert made.code_bundle is not None


def test_what_did_not_change_makes_no_new_version():
    first, second = flyte.deploy(shop.env)[0], flyte.deploy(shop.env)[0]
    assert first.version == second.version
    assert len(first.version) <= 63


def test_a_deployed_task_is_run_by_name():
    flyte.deploy(warehouse.env, version="v2")
    task: Any = flyte.remote.Task.get("warehouse.stock", version="v2")
    run: Any = away().run(task, item="tea")
    run.wait()
    assert run.outputs() == ("10 tea",), run.error_message
    run = away().run(task, item="tea", count=3)
    run.wait()
    assert run.outputs() == ("3 tea",)
    with pytest.raises(ValueError, match="item"):
        away().run(task)


def test_the_latest_version_is_found():
    flyte.deploy(warehouse.env, version="older")
    flyte.deploy(warehouse.env, version="newer")
    details = flyte.remote.Task.get("warehouse.stock", auto_version="latest").fetch()
    assert details.version == "newer"
    assert details.required_args == ("item",)
    assert details.default_input_args == ("count",)
    assert details.interface.inputs["count"] == (int, 10)
    assert details.task_type == "python"
    assert details.to_dict()["name"] == "warehouse.stock"
    listed = list(flyte.remote.Task.listall(by_task_name="warehouse.stock"))
    assert {"older", "newer"} <= {task.version for task in listed}
    assert {task.name for task in listed} == {"warehouse.stock"}


def test_what_is_not_deployed_says_so():
    with pytest.raises(RemoteTaskNotFoundError, match=r"no task 'shop\.nothing'"):
        flyte.remote.Task.get("shop.nothing", auto_version="latest").fetch()
    with pytest.raises(RemoteTaskNotFoundError, match="version 'v0'"):
        flyte.remote.Task.get("shop.add", version="v0").fetch()
    with pytest.raises(RemoteTaskUsageError, match="auto_version='current'"):
        flyte.remote.Task.get("shop.add", auto_version="current").fetch()
    with pytest.raises(ValueError, match="version"):
        flyte.remote.Task.get("shop.add")


def test_a_deployed_task_is_not_called_from_outside():
    assert flyte.remote.TaskDetails  # the face has shown the class, so it says its public module
    flyte.deploy(shop.env, version="v3")
    details = flyte.remote.Task.get("shop.add", version="v3").fetch()
    with pytest.raises(RemoteTaskUsageError, match=r"use flyte\.run"):
        details(x=1)
    with pytest.raises(RemoteTaskUsageError, match="by name"):
        details(1)
    with pytest.raises(TypeError, match="runs there only"):
        flyte.with_runcontext(mode="local").run(details, x=1)  # type: ignore[arg-type]


def test_a_deployment_without_tasks_is_refused():
    with pytest.raises(DeploymentError, match="has no tasks"):
        flyte.deploy(flyte.TaskEnvironment(name="empty"))
    with pytest.raises(DeploymentError, match="version"):
        flyte.deploy(shop.env, copy_style="none")


def test_a_dry_run_deploys_nothing():
    (plan,) = flyte.deploy(shop.env, version="dry", dry_run=True)
    assert "shop.add" in [task.name for task in plan.tasks]
    with pytest.raises(RemoteTaskNotFoundError):
        flyte.remote.Task.get("shop.add", version="dry").fetch()


def test_a_run_in_the_remote_list_is_not_in_the_local_history():
    run: Any = away().run(shop.add, 1)
    run.wait()
    with looking(away=True):
        assert flyte.remote.Run.get(run.name).name == run.name
    with looking(away=False), pytest.raises(flyte.errors.RuntimeUserError, match="no run"):
        flyte.remote.Run.get(run.name)


def test_a_deployed_task_is_called_from_a_task():
    flyte.deploy(warehouse.env, version="v4")
    run: Any = away().run(flyte.remote.Task.get("warehouse.ask", version="v4"), item="tea")
    run.wait()
    assert run.error_message == ""
    assert run.outputs() == (["10 tea", "2 tea", "3"],)
    with looking(away=True):
        names = sorted(str(action.task_name) for action in flyte.remote.Action.listall(run.name))
    assert names == ["shop.add", "warehouse.ask", "warehouse.stock", "warehouse.stock"]


def test_a_run_is_run_again_with_other_inputs():
    run: Any = away().run(shop.add, 1, y=5)
    run.wait()
    again: Any = flyte.rerun(run.name)
    again.wait()
    assert again.outputs() == (6,)
    assert again.name != run.name
    other: Any = flyte.rerun(run.name, name="other-one", x=10)
    other.wait()
    assert other.name == "other-one"
    assert other.outputs() == (15,)
    with pytest.raises(flyte.errors.RuntimeUserError, match="has no parameter 'z'"):
        flyte.rerun(run.name, z=1)
    with pytest.raises(flyte.errors.RuntimeUserError, match="there is no run 'never-was'"):
        flyte.rerun("never-was")
