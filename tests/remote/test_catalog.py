"""Projects, secrets, triggers and users of a real devbox, as objects; sync, and awaited."""

import asyncio
import hashlib
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import flyte
import flyte.remote
from flyte.errors import RemoteTaskNotFoundError, RpcInvalidArgumentError, RuntimeUserError
from flyte.models import ActionPhase

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import timetable

PROGRAMS = Path(__file__).parent / "programs"
pytestmark = pytest.mark.usefixtures("devbox")


@pytest.fixture(autouse=True)
def session() -> None:
    flyte.init(root_dir=PROGRAMS)


# Projects -------------------------------------------------------------------------------------------------------------


def test_a_project_is_made_changed_and_hidden():
    made = flyte.remote.Project.create("tea", "Tea house", "where tea is", {"team": "green"})
    assert (made.id, made.name, made.labels) == ("tea", "Tea house", {"team": "green"})
    assert "development" in made.domains
    changed = flyte.remote.Project.update("tea", description="more tea")
    assert changed.to_dict() == {**made.to_dict(), "description": "more tea"}
    assert [one.id for one in flyte.remote.Project.listall()] == ["flytesnacks", "tea"]
    assert changed.archive().is_archived
    assert [one.id for one in flyte.remote.Project.listall()] == ["flytesnacks"]
    assert [one.id for one in flyte.remote.Project.listall(archived=True)] == ["tea"]
    assert not flyte.remote.Project.get("tea").unarchive().is_archived


def test_projects_that_are_not_there_or_not_possible():
    with pytest.raises(RuntimeUserError, match="there is no project 'nope' at 127"):
        flyte.remote.Project.get("nope")
    with pytest.raises(RuntimeUserError, match="there is no project 'nope'"):
        flyte.remote.Project.update("nope", name="x")
    with pytest.raises(RuntimeUserError, match="there is a project 'flytesnacks' already"):
        flyte.remote.Project.create("flytesnacks", "x")
    with pytest.raises(RpcInvalidArgumentError, match="'Bad Id'"):
        flyte.remote.Project.create("Bad Id", "x")
    with pytest.raises(ValueError, match="state='gone' is not known"):
        flyte.remote.Project.update("flytesnacks", state="gone")


def test_more_projects_than_a_page():
    async def fill() -> list[str]:
        await asyncio.gather(*[flyte.remote.Project.create.aio(f"many-{n}", "x") for n in range(120)])
        return [one.id async for one in flyte.remote.Project.listall.aio()]

    names = asyncio.run(fill())
    assert {f"many-{n}" for n in range(120)} < set(names)
    assert len(names) == len(set(names))


# Secrets --------------------------------------------------------------------------------------------------------------


def test_a_secret_reaches_the_task_and_nobody_else():
    flyte.remote.Secret.create("PASSWORD", "sesame")
    kept = flyte.remote.Secret.get("PASSWORD")
    assert (kept.name, kept.type, kept.project, kept.domain) == ("PASSWORD", "regular", None, None)
    assert "sesame" not in f"{kept!r}{kept.to_json()}{kept._said}"
    run: Any = flyte.with_runcontext(mode="remote").run(timetable.whisper)
    run.wait()
    assert run.outputs()[0] == "emases"
    flyte.remote.Secret.create("PASSWORD", b"other")
    run = flyte.with_runcontext(mode="remote").run(timetable.whisper)
    run.wait()
    assert run.outputs()[0] == "rehto"
    flyte.remote.Secret.delete("PASSWORD")
    for call in (flyte.remote.Secret.get, flyte.remote.Secret.delete):
        with pytest.raises(RuntimeUserError, match="there is no secret 'PASSWORD' of everybody"):
            call("PASSWORD")


def test_a_secret_is_of_the_project_that_is_chosen():
    flyte.remote.Secret.create("ours", "a", type="image_pull")
    flyte.init(project="flytesnacks", domain="development")
    flyte.remote.Secret.create("ours", "b")
    mine = flyte.remote.Secret.get("ours")
    assert (mine.type, mine.project, mine.domain) == ("regular", "flytesnacks", "development")
    assert [one.name for one in flyte.remote.Secret.listall()] == ["ours"]
    flyte.remote.Secret.delete("ours")
    flyte.init()
    assert flyte.remote.Secret.get("ours").type == "image_pull"

    async def names() -> list[str]:
        return [one.name async for one in flyte.remote.Secret.listall.aio(limit=5)]

    assert asyncio.run(names()) == ["ours"]
    with pytest.raises(ValueError, match="type='odd'"):
        flyte.remote.Secret.create("x", "y", type="odd")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is a text or bytes, got int"):
        flyte.remote.Secret.create("x", 7)  # type: ignore[arg-type]
    with pytest.raises(RpcInvalidArgumentError):
        flyte.remote.Secret.create("no spaces please", "y")


# Triggers -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed(devbox_process: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYTE_HOME", str(devbox_process.home))
        flyte.init(root_dir=PROGRAMS)
        flyte.deploy(timetable.env, version="v1")


@pytest.mark.usefixtures("deployed")
def test_a_trigger_is_made_switched_and_deleted():
    found = flyte.remote.Trigger.get(name="morning", task_name="timetable.report_on")
    assert found.automation == "cron 0 6 * * * (Europe/Berlin)"
    assert (found.is_active, found.task_version, found.description) == (False, "v1", "before breakfast")
    assert found.trigger.to_dict() == {key: found.to_dict()[key] for key in found.trigger.to_dict()}
    wanted = flyte.Trigger("often", flyte.FixedRate(30), inputs={"at": flyte.TriggerTime, "who": "Ada"})
    made = flyte.remote.Trigger.create(wanted, "timetable.report_on")
    assert (made.automation, made.is_active, made.id.revision) == ("every 30 min", True, 1)
    assert flyte.remote.Trigger.create(wanted, "timetable.report_on", "v1").id.revision == 2
    listed = list(flyte.remote.Trigger.listall("timetable.report_on"))
    assert [one.name for one in listed] == ["morning", "often"]
    assert [one.name for one in flyte.remote.Trigger.listall(limit=1)] == ["morning"]
    flyte.remote.Trigger.update("often", "timetable.report_on", active=False)
    assert not listed[1].get_details().is_active
    assert "inputs" in listed[1].get_details().to_dict()

    async def end() -> list[str]:
        await flyte.remote.Trigger.delete.aio("often", "timetable.report_on")
        versions = flyte.remote.Trigger.listall.aio("timetable.report_on", task_version="v1")
        return [one.name async for one in versions]

    assert asyncio.run(end()) == ["morning"]


@pytest.mark.usefixtures("deployed")
def test_triggers_that_are_not_there_or_not_possible():
    task = "timetable.report_on"
    missing = f"task '{task}' in project 'flytesnacks', domain 'development' at .* has no trigger 'no'"
    with pytest.raises(RuntimeUserError, match=missing):
        flyte.remote.Trigger.get(name="no", task_name=task)
    with pytest.raises(RuntimeUserError, match=missing):
        flyte.remote.Trigger.update("no", task, active=True)
    with pytest.raises(RuntimeUserError, match=missing):
        flyte.remote.Trigger.delete("no", task)
    with pytest.raises(RemoteTaskNotFoundError, match=r"no task 'timetable\.nope' is deployed"):
        flyte.remote.Trigger.create(flyte.Trigger("t"), "timetable.nope")
    with pytest.raises(TypeError, match=r"takes a flyte\.Trigger, but got str"):
        flyte.remote.Trigger.create("t", task)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at"):
        flyte.remote.Trigger.create(flyte.Trigger("t"), task)
    with pytest.raises(TypeError, match="there is no parameter 'when'"):
        flyte.remote.Trigger.create(
            flyte.Trigger("t", flyte.Cron("0 0 * * *"), inputs={"when": flyte.TriggerTime}), task
        )
    with pytest.raises(ValueError, match="give task_name"):
        flyte.remote.Trigger.listall(task_version="v1")


@pytest.mark.usefixtures("deployed")
def test_a_trigger_fires_with_its_time_and_a_rerun_keeps_it(devbox: Any):
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    wanted = flyte.Trigger("soon", flyte.FixedRate(60, start_time=due), inputs={"at": flyte.TriggerTime, "who": "Ada"})
    flyte.remote.Trigger.create(wanted, "timetable.report_on")
    until = time.monotonic() + 30
    flyte.init(root_dir=PROGRAMS, endpoint=str(devbox.said["endpoint"]), insecure=True)
    while not (found := list(flyte.remote.Run.listall(task_name="timetable.report_on"))):
        assert time.monotonic() < until
        time.sleep(0.1)
    found[0].wait()
    assert found[0].phase is ActionPhase.SUCCEEDED, found[0].error_message
    assert found[0].outputs()[0] == f"{due.isoformat()} Ada"
    flyte.remote.Trigger.delete("soon", "timetable.report_on")
    again: Any = flyte.rerun(found[0].name)
    again.wait()
    assert again.outputs()[0] == f"{due.isoformat()} Ada"
    other: Any = flyte.rerun(found[0].name, at=datetime(2020, 1, 2, tzinfo=UTC))
    other.wait()
    assert other.outputs()[0] == "2020-01-02T00:00:00+00:00 Ada"


# Who ------------------------------------------------------------------------------------------------------------------


def test_who_calls():
    user = flyte.remote.User.get()
    assert user.name() == user.subject() == user.to_dict()["preferred_username"] != ""
    assert asyncio.run(flyte.remote.User.get.aio()).subject() == user.subject()


# Files ----------------------------------------------------------------------------------------------------------------


def test_files_and_folders_are_sent(tmp_path: Path):
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "below" / "a.txt").write_text("tea")
    digest, uri = flyte.remote.upload_file(tmp_path / "folder" / "below" / "a.txt", fname="b.txt")
    assert digest == hashlib.md5(b"tea").hexdigest()
    assert uri.endswith("/b.txt") and Path(uri.removeprefix("file://")).read_text() == "tea"
    folder = asyncio.run(flyte.remote.upload_dir.aio(tmp_path / "folder", prefix="kept"))
    assert folder.endswith("/kept") and Path(folder.removeprefix("file://"), "below", "a.txt").read_text() == "tea"
    with pytest.raises(FileNotFoundError, match="is no file"):
        flyte.remote.upload_file(tmp_path)
    with pytest.raises(NotADirectoryError, match="is no folder"):
        flyte.remote.upload_dir(tmp_path / "none")
    with pytest.raises(NotImplementedError, match="content_type"):
        flyte.remote.upload_file(tmp_path, content_type="text/plain")
