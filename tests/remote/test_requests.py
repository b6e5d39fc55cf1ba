"""Every request that the client and the controller of a container send keeps the rules of its fields, as a stricter
control plane would hold them to: a devbox that does so (`checked_devbox.py`) is asked everything there is to ask.

The other tests on a devbox run against the same; this one sees to it that no call is left out.
"""

import json
import re
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from flyteidl2.auth.auth_service_pb2 import GetOAuth2MetadataRequest, GetPublicClientConfigRequest

import flyte
import flyte.remote
from flyte._core.loop import run_blocking
from flyte.remote._client import SERVICES
from flyte.remote._plane import find_plane
from flyte.remote._plane_streams import lines_as_written
from flyte.remote._source import looking
from flyte.remote._upload import upload_file

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import everything

ROOT = Path(flyte.__file__).parent
PROGRAMS = Path(__file__).parent / "programs"
# Sent only where somebody logs in; they have no fields.
OF_LOGIN = {"GetOAuth2Metadata": GetOAuth2MetadataRequest, "GetPublicClientConfig": GetPublicClientConfigRequest}


# What a variable of the source is called that holds the stub of a service -> the service.
STUBS = {**{name: name for name in SERVICES}, "service": "clusters", "stub": "auth_metadata"}


def called() -> dict[str, str]:
    """Methods whose calls stand in the source -> the full names of their requests."""
    pattern = re.compile(r"\b(" + "|".join(STUBS) + r")\.([A-Z]\w+)\(")
    found = {}
    for path in ROOT.glob("remote/*.py"):
        for stub, method in pattern.findall(path.read_text()):
            module, service = SERVICES[STUBS[stub]]
            described = import_module(f"flyteidl2.{module}_pb2").DESCRIPTOR.services_by_name[service]
            if method != "HasField":
                found[method] = described.methods_by_name[method].input_type.full_name
    return found


async def lines_of(run: Any) -> list[str]:
    return [line.line async for _, line in lines_as_written(run._source, run._entry)]


def until_paused(run: Any) -> None:
    end = time.monotonic() + 30
    while not list(flyte.remote.Condition.listall(run_name=run.name)):
        assert time.monotonic() < end
        time.sleep(0.05)


def ask_everything(tmp_path: Path) -> None:
    away = flyte.with_runcontext(mode="remote", labels={"a": "b"}, env_vars={"K": "V"}, custom_context={"who": "Ada"})
    run: Any = away.run(everything.main, 2)
    until_paused(run)
    flyte.signal(run.name, "go on", True)
    run.wait()
    assert run.outputs() == ("True [0, 2] 3 cancelled",), run.error_message
    with looking(away=True):
        found = flyte.remote.Run.get(run.name)
        assert [one.name for one in flyte.remote.Run.listall(in_phase=("succeeded",), limit=3)] == [run.name]
        actions = list(flyte.remote.Action.listall(run.name))
        assert len(actions) == 6
        flyte.remote.ActionDetails.get(f"{run.name}/a0").inputs()
        assert "doubling" in run_blocking(lambda: lines_of(found))
        assert "all of it" in found.get_report()
        sleeping: Any = away.run(everything.sleep, 60.0)
        flyte.remote.Action.get(run_name=sleeping.name, name="a0").abort()
        sleeping.wait()
        sleeping = away.run(everything.sleep, 60.0)
        sleeping.abort()
        sleeping.wait()
    again: Any = flyte.rerun(run.name, recover=True)
    until_paused(again)
    flyte.signal(again.name, "go on", True)
    again.wait()
    flyte.deploy(everything.env, version="v1")
    assert next(flyte.remote.Task.listall(by_task_env="everything")).name.startswith("everything.")
    task = flyte.remote.Task.get("everything.double", auto_version="latest").fetch()
    flyte.with_runcontext(mode="remote").run(task, x=3).wait()
    (tmp_path / "file").write_text("content")
    run_blocking(lambda: upload_file(find_plane(), tmp_path / "file"))
    keep_house()


def keep_house() -> None:
    """Projects, secrets, triggers and who is there."""
    flyte.remote.Project.create("tea", "Tea", "house", {"a": "b"}).archive()
    list(flyte.remote.Project.listall(sort_by=("name", "asc")))
    for _ in range(2):
        flyte.remote.Secret.create("k", "v")
    list(flyte.remote.Secret.listall())
    flyte.remote.Secret.get("k")
    flyte.remote.Secret.delete("k")
    wanted = flyte.Trigger("t", flyte.Cron("0 0 1 1 *"), inputs={"x": 3}, description="d")
    made = flyte.remote.Trigger.create(wanted, "everything.double").get_details()
    list(flyte.remote.Trigger.listall())
    flyte.remote.Trigger.update("t", made.task_name, active=False)
    flyte.remote.Trigger.delete("t", made.task_name)
    flyte.remote.User.get()


@pytest.mark.timeout(240)
def test_every_request_keeps_the_rules(own_devbox: Any, tmp_path: Path) -> None:
    flyte.init(root_dir=PROGRAMS)
    ask_everything(tmp_path)
    came = [json.loads(line) for line in (own_devbox.home / "requests.jsonl").read_text().splitlines()]
    assert [one for one in came if one["violations"]] == []
    seen = {one["method"] for one in came}
    wanted = called()
    assert len(wanted) > 30
    assert {name for name, request in wanted.items() if request not in seen} == set(OF_LOGIN), "a call was not made"
    for request in OF_LOGIN.values():
        protovalidate.validate(request())


def test_a_broken_rule_is_noticed(own_devbox: Any) -> None:
    from flyteidl2.workflow.run_service_pb2 import AbortRunRequest

    from flyte.errors import RpcInvalidArgumentError

    plane = find_plane()
    with pytest.raises(RpcInvalidArgumentError, match=r"run_id\.org: "):
        run_blocking(lambda: plane.client.runs.AbortRun(AbortRunRequest(run_id={"name": "r"})))
    came = [json.loads(line) for line in (own_devbox.home / "requests.jsonl").read_text().splitlines()]
    assert [one["method"] for one in came if one["violations"]] == ["flyteidl2.workflow.AbortRunRequest"]
