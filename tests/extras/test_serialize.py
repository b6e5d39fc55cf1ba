"""TaskSpecs without a control plane, and tasks that sleep there."""

import datetime
from pathlib import Path

import pytest

import flyte
from flyte._wire.task import task_spec
from flyte.errors import DeploymentError
from flyte.extras import Sleep, SleepTask, serialize, serialize_env
from flyte.models import SerializationContext

env = flyte.TaskEnvironment(name="plain", image="example.com/app:1")
resting = flyte.TaskEnvironment(name="resting", image="example.com/app:1", plugin_config=Sleep())


@env.task
async def double(x: int = 2) -> int:
    """Twice."""
    return 2 * x


@env.task
async def half(x: float) -> float:
    return x / 2


@resting.task
async def rest(duration: datetime.timedelta) -> str:
    return f"rested {duration}"


def test_one_task(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    spec = serialize(double)
    assert spec.task_template.id.version == "serialized" and spec.task_template.id.name == "plain.double"
    assert list(spec.task_template.container.args)[-4:] == ["mod", "test_serialize", "instance", "double"]
    assert spec.default_inputs[0].parameter.default.scalar.primitive.integer == 2
    assert spec.documentation.short_description == "Twice."


def test_a_context_of_ones_own():
    context = SerializationContext(version="v7", project="p", domain="d", root_dir=Path(__file__).parent)
    assert serialize(double, context) == task_spec(double, context, deploy=True)


def test_all_tasks_of_an_environment(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    assert [spec.task_template.id.name for spec in serialize_env(env)] == ["plain.double", "plain.half"]


def test_what_a_container_could_not_find_is_an_error(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeploymentError, match="not under root_dir"):
        serialize(double)


def test_sleep_is_left_to_the_control_plane(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    assert isinstance(rest, SleepTask)
    template = serialize(rest).task_template
    assert template.type == "core-sleep" and template.interface.inputs.variables[0].key == "duration"
    assert flyte.run(rest, duration=datetime.timedelta(seconds=1)).outputs()[0] == "rested 0:00:01"
