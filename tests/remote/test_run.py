"""Runs on a real devbox: started, followed and looked at by the client, whose tasks run as processes."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import flyte
import flyte.remote
from flyte.errors import ActionAbortedError, InitializationError, RuntimeUserError
from flyte.io import File
from flyte.models import ActionPhase

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import shop

pytestmark = pytest.mark.usefixtures("devbox")


@pytest.fixture(autouse=True)
def session() -> None:
    flyte.init(root_dir=Path(__file__).parent / "programs")


def away(**settings: Any) -> Any:
    return flyte.with_runcontext(mode="remote", **settings)


def test_a_leaf_task_gives_its_result():
    run: Any = away().run(shop.add, 3)
    assert isinstance(run, flyte.remote.Run)
    assert run.url.endswith(f"/v2/domain/development/project/flytesnacks/runs/{run.name}")
    run.wait()
    assert run.phase is ActionPhase.SUCCEEDED
    assert run.done()
    assert run.task_name == "shop.add"
    assert (run.raw_phase, run.action.raw_phase) == (5, 5)
    with pytest.raises(NotImplementedError, match="not available in this version"):
        run.download_code()
    assert run.outputs() == (5,)
    assert run.outputs().o0 == 5
    assert dict(run.inputs()) == {"x": 3, "y": 2}
    assert list(run.get_logs()) == ["adding 3 and 2"]


def test_outputs_come_as_the_task_declares_them():
    run: Any = away().run(shop.describe, shop.Order("tea", 2))
    run.wait()
    order, text = run.outputs()
    assert order == shop.Order("tea", 3)
    assert text == "TEA"
    looked_up = looked_up_run(run.name)
    assert looked_up.outputs()[0].count == 3
    assert looked_up.inputs()["order"].item == "tea"


def looked_up_run(name: str) -> Any:
    from flyte.remote._source import looking

    with looking(away=True):
        return flyte.remote.Run.get(name)


def test_variables_and_custom_context_reach_the_task():
    run: Any = away(env_vars={"COLOR": "red"}, custom_context={"who": "me"}).run(shop.surroundings, "COLOR")
    run.wait()
    assert run.outputs()[0] == {"variable": "red", "custom": "me", "mode": "remote", "run": run.name}


def test_a_failure_has_its_class_and_the_users_traceback():
    run: Any = away().run(shop.fail, "out of tea")
    run.wait()
    assert run.phase is ActionPhase.FAILED
    assert run.error_message == "out of tea"
    with pytest.raises(ValueError, match="out of tea") as caught:
        run.raise_for_status()
    assert isinstance(caught.value, RuntimeUserError)
    notes = "\n".join(caught.value.__notes__)
    assert "shop.py" in notes
    assert "raise ValueError(message)" in notes
    assert "flyte/_control" not in notes
    details = run.details().action_details
    assert details.error_info.kind == "user"
    assert run.outputs() == ()


def test_a_failure_of_a_class_of_the_users_own_is_of_that_class():
    run: Any = away().run(shop.fail_own, "no tea")
    run.wait()
    with pytest.raises(shop.OutOfStockError, match="no tea") as caught:
        run.raise_for_status()
    assert caught.value.code == "OutOfStockError" and isinstance(caught.value, RuntimeUserError)


def test_a_failure_of_a_class_that_is_not_here_says_its_name(monkeypatch):
    run: Any = away().run(shop.fail_own, "no tea")
    run.wait()
    monkeypatch.delattr(shop, "OutOfStockError")
    with pytest.raises(RuntimeUserError, match="OutOfStockError: no tea") as caught:
        run.raise_for_status()
    assert caught.value.code == "OutOfStockError"


def test_a_name_is_taken_once():
    run: Any = away(name="just-once").run(shop.add, 1)
    assert run.name == "just-once"
    with pytest.raises(RuntimeUserError, match="there is a run 'just-once' already") as caught:
        away(name="just-once").run(shop.add, 1)
    assert caught.value.code == "RunAlreadyExistsError"
    run.wait()


def test_arguments_are_checked_before_anything_is_sent():
    with pytest.raises(ValueError, match=r"task 'shop\.add' is missing the required argument x: int"):
        away().run(shop.add)
    with pytest.raises(TypeError):
        away().run(shop.add, x="three")
    with pytest.raises(ValueError, match="workers="):
        flyte.with_runcontext(mode="remote", workers=2)


def test_a_run_is_aborted():
    run: Any = away().run(shop.sleep, 60.0)
    run.wait(wait_for="running")
    began = time.monotonic()
    run.abort("enough")
    run.wait()
    assert time.monotonic() - began < 10
    assert run.phase is ActionPhase.ABORTED
    with pytest.raises(ActionAbortedError, match="enough"):
        run.raise_for_status()


def test_watch_shows_each_change():
    run: Any = away().run(shop.block, 0.5)

    async def watch() -> list[ActionPhase]:
        return [details.phase async for details in run.watch()]

    seen = asyncio.run(watch())
    assert seen[-1] is ActionPhase.SUCCEEDED
    assert ActionPhase.RUNNING in seen


def test_runs_are_listed_the_newest_first():
    from flyte.remote._source import looking

    first: Any = away().run(shop.add, 1)
    second: Any = away(labels={"team": "tea"}).run(shop.fail, "x")
    first.wait()
    second.wait()
    with looking(away=True):
        names = [run.name for run in flyte.remote.Run.listall(limit=2)]
        assert names == [second.name, first.name]
        failed = list(flyte.remote.Run.listall(in_phase=("failed",), task_name="fail", limit=50))
        assert second.name in [run.name for run in failed]
        assert {run.phase for run in failed} == {ActionPhase.FAILED}
        assert [run.name for run in flyte.remote.Run.listall(with_labels={"team": "tea"})] == [second.name]
        assert flyte.remote.Run.get("last").name == second.name
        with pytest.raises(RuntimeUserError, match="there is no run 'nothing-here'"):
            flyte.remote.Run.get("nothing-here")


def test_a_file_of_this_machine_is_read_there(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_text("dear all\nbye\n")
    run: Any = away().run(shop.first_line, File.from_local_sync(str(path)))
    run.wait()
    assert run.outputs() == ("dear all",), run.error_message


def test_a_report_is_fetched():
    run: Any = away().run(shop.report, "hello")
    run.wait()
    assert "<p>hello</p>" in run.get_report()
    plain: Any = away().run(shop.add, 1)
    plain.wait()
    with pytest.raises(FileNotFoundError, match="report=True"):
        plain.get_report()


def test_code_that_did_not_change_is_sent_once(devbox: Any, monkeypatch: pytest.MonkeyPatch):
    import flyte.remote._upload as upload

    sent: list[str] = []
    put = upload._put

    async def count(url: str, *rest: Any) -> None:
        sent.append(url)
        await put(url, *rest)

    monkeypatch.setattr(upload, "_put", count)
    away().run(shop.add, 1).wait()
    before = len(sent)
    away().run(shop.add, 2).wait()
    assert len(sent) == before <= 1


def test_without_a_control_plane_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    with pytest.raises(InitializationError, match="flyte start devbox"):
        away().run(shop.add, 1)


def test_an_endpoint_makes_remote_the_default(devbox: Any):
    flyte.init(
        root_dir=Path(__file__).parent / "programs", endpoint=str(devbox.said["endpoint"]), insecure=True,
        project="flytesnacks", domain="development",
    )  # fmt: skip
    try:
        run: Any = flyte.run(shop.add, 4)
        assert isinstance(run, flyte.remote.Run)
        run.wait()
        assert run.outputs() == (6,)
        assert flyte.remote.Run.get(run.name).outputs() == (6,)
        here = flyte.with_runcontext(mode="local").run(shop.add, 4)
        assert here.result == 6
    finally:
        flyte.init()


def test_a_run_from_async_code():
    async def main() -> Any:
        run: Any = await away().run.aio(shop.add, 5)
        await run.wait.aio()
        return await run.outputs.aio()

    assert asyncio.run(main()) == (7,)


def test_a_typed_task_travels_as_a_pickle():
    source = "async def typed(x: int) -> int:\n    return x * 100\n"
    space: dict[str, Any] = {}
    exec(compile(source, "<typed>", "exec"), space)
    env = flyte.TaskEnvironment(name="typed")
    run: Any = away().run(env.task(space["typed"]), 2)
    run.wait()
    assert run.outputs() == (200,), run.error_message


@pytest.mark.timeout(90)
def test_waiting_survives_the_death_of_the_control_plane(own_devbox: Any):
    run: Any = away().run(shop.block, 4.0)
    run.wait(wait_for="running")

    async def disturb() -> None:
        waiting = asyncio.create_task(run.wait.aio())
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_devbox.kill)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(own_devbox.start)
        await asyncio.wait_for(waiting, 60)

    asyncio.run(disturb())
    assert run.phase is ActionPhase.SUCCEEDED
    assert run.outputs() == ("awake",)


def test_the_token_is_nowhere_to_be_read(devbox: Any):
    token = (devbox.home / "devbox" / "token").read_text()
    from flyte.remote._plane import find_plane, running_devbox

    assert token not in repr(running_devbox())
    assert token not in repr(find_plane())
    assert os.stat(devbox.home / "devbox" / "token").st_mode & 0o077 == 0


def test_a_devbox_that_is_just_being_started_again_is_known_by_its_token(tmp_path: Any, monkeypatch: Any):
    """A container may make its client while its devbox is down, and has no other."""
    from flyte.remote._plane import find_plane

    (tmp_path / "devbox").mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    said = {"endpoint": "dns:///127.0.0.1:4711", "pid": ended.pid}
    (tmp_path / "devbox" / "endpoint.json").write_text(json.dumps(said))
    (tmp_path / "devbox" / "token").write_text("its-token")
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path))
    flyte.init(endpoint="127.0.0.1:4711", insecure=True)
    plane = find_plane()
    assert plane.is_devbox and plane.client.channel.credentials.has_any()
    flyte.init()
    with pytest.raises(flyte.errors.InitializationError, match="no devbox runs"):
        find_plane()
