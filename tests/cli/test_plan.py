"""``flyte plan`` and ``flyte deploy --dry-run``: what would be done, what would fail, and the exit code for CI."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from cli_process import command, environment

import flyte

FLOW = """
import flyte
from flyte.extend import ImageBuildEngine

class Builder:
    def get_checkers(self):
        return [Checker()]
    async def build_image(self, image, dry_run, **_):
        raise AssertionError("a plan builds nothing")

class Checker:
    async def image_exists(self, repository, tag, arch=()):
        return f"{repository}:{tag}" if "there" in repository else None

ImageBuildEngine.register("asked", Builder)
flyte.init(image_builder="asked", project="p", domain="d")
base = flyte.Image.from_base("loopback.invalid/base:1")
low = flyte.TaskEnvironment(name="low", image=base.clone(name="there", registry="loopback.invalid", extendable=True)
                            .with_env_vars({"A": "1"}))
env = flyte.TaskEnvironment(
    name="shop", image=base.clone(name="gone", registry="loopback.invalid", extendable=True).with_env_vars({"B": "2"}),
    secrets=[flyte.Secret(key="set-one"), flyte.Secret(key="not-set", group="g")], depends_on=[low], cache="auto",
    resources=flyte.Resources(cpu=2, memory="1Gi"),
)

@low.task
async def lower(x: int) -> int:
    return x

by_hand = flyte.Trigger(name="by-hand", inputs={"at": 3}, auto_activate=False)

@env.task(triggers=(flyte.Trigger.hourly("at"), by_hand), retries=2, timeout=60)
async def main(at: int, label: str = "x") -> list[int]:
    return [at]
"""


@pytest.fixture
def run(tmp_path):
    """Run ``flyte ARGS`` in a folder with ``flow.py``."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "flow.py").write_text(FLOW)

    def start(*args: str, cwd: Path = folder, **env: str):
        variables = environment(FLYTE_HOME=str(tmp_path / "home"), SET_ONE="very secret", **env)
        return subprocess.run(command(*args), cwd=cwd, env=variables, capture_output=True, text=True, timeout=60)

    start.folder = folder
    return start


def document(done):
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_deployment_before_it_is_done(run):
    done = run("deploy", "flow.py", "--dry-run", "--output", "json")
    assert done.returncode == 0, done.stderr
    plan = document(done)
    assert plan["problems"] == []
    assert {(i["environments"][0], i["needs_build"]) for i in plan["images"]} == {("low", False), ("shop", True)}
    assert all(i["uri"].startswith("loopback.invalid/") and i["why"] for i in plan["images"])
    files = plan["files"]
    assert files["count"] == 1 and files["size_bytes"] == len(FLOW) and len(files["version"]) == 32
    tasks = {task["name"]: task for task in plan["tasks"]}
    assert set(tasks) == {"shop.main", "low.lower"}
    main = tasks["shop.main"]
    assert main["inputs"] == {"at": "int", "label": "str"} and main["outputs"] == {"o0": "list[int]"}
    assert main["resources"] == {"cpu": "2", "memory": "1Gi"}
    assert (main["retries"], main["timeout_s"], main["version"]) == (2, 60.0, files["version"])
    assert main["cache_version"] and not tasks["low.lower"]["cache_version"]
    assert main["image"] == next(i["uri"] for i in plan["images"] if i["needs_build"])
    assert [(t["name"], t["is_active"]) for t in plan["triggers"]] == [("hourly", True), ("by-hand", False)]
    assert {s["key"]: s["is_set_here"] for s in plan["secrets"]} == {"set-one": True, "not-set": False}
    assert "very secret" not in done.stdout + done.stderr
    one = document(run("deploy", "flow.py", "low", "--dry-run", "--output", "json", "--version", "v7"))
    assert [(t["name"], t["version"]) for t in one["tasks"]] == [("low.lower", "v7")]


def test_a_deployment_as_text(run):
    done = run("deploy", "flow.py", "--dry-run")
    assert done.returncode == 0, done.stderr
    for words in ("build loopback.invalid/gone:", "keep  loopback.invalid/there:", "code: 1 file,", "no problems",
                  "shop.main(at: int, label: str) -> list[int]  cpu=2, memory=1Gi, retries=2, timeout=60 s, cached as",
                  "shop.main hourly: Cron(", "by-hand: by hand (not active)", "set-one as SET_ONE",
                  "g/not-set as G_NOT_SET, for shop.main: not set on this machine"):  # fmt: skip
        assert words in done.stdout


def test_a_deployment_without_a_control_plane_is_refused(run):
    done = run("deploy", "flow.py")
    assert done.returncode == 1 and "flyte start devbox" in done.stderr and not done.stdout
    env = flyte.TaskEnvironment(name="alone", image="x:1")
    with pytest.raises(flyte.errors.InitializationError, match="flyte start devbox"):
        flyte.deploy(env)
    with pytest.raises(ValueError, match="at least one"):
        flyte.deploy(dry_run=True)
    with pytest.raises(TypeError, match="takes environments"):
        flyte.deploy(3, dry_run=True)


def test_problems_are_all_named_and_set_the_exit_code(run):
    (run.folder / "key.txt").write_text(
        "-----BEGIN PRIVATE " + "KEY-----\n" + "MIIEpAIBAAKCAQEA7bq9f0m2Jd8sC3vX1yZkQ\n"
    )
    more = "\n@env.task\nasync def bad(x: list[int] = None) -> int:\n    return 1\n"
    (run.folder / "flow.py").write_text(FLOW + more)
    done = run("deploy", "flow.py", "--dry-run", "--copy-style", "all", "--output", "json")
    assert done.returncode == 1
    problems = document(done)["problems"]
    assert any("key.txt" in p for p in problems) and any("shop.bad" in p and "'x'" in p for p in problems)
    text = run("deploy", "flow.py", "--dry-run", "--copy-style", "all")
    assert text.returncode == 1 and text.stderr.count("Error: ") == 2 and "no problems" not in text.stdout


def test_a_recipe_that_cannot_be_read_is_one_problem(run, tmp_path):
    """Whatever is asked of it: its tag, its Dockerfile, the tasks that name it."""
    (tmp_path / "project" / "broken.py").write_text(
        "import flyte\nbase = flyte.Image.from_debian_base(name='a')\n"
        "env = flyte.TaskEnvironment('a', image=base.with_requirements('requirements.txt'))\n"
        "@env.task\nasync def main(n: int) -> int:\n    return n\n"
    )
    done = run("plan", "broken.py", "main")
    assert done.returncode == 1
    assert done.stderr.count("requirements.txt of the image's recipe cannot be read") == 1, done.stderr


def test_a_builder_that_cannot_build_is_a_problem(run, tmp_path):
    (tmp_path / "project" / "other.py").write_text(
        "import flyte\nbase = flyte.Image.from_debian_base(name='a', install_flyte=False)\n"
        "env = flyte.TaskEnvironment('a', image=base.with_env_vars({'A': '1'}))\n"
        "@env.task\nasync def main(n: int) -> int:\n    return n\n"
    )
    done = run("--image-builder", "remote", "plan", "other.py", "main")
    assert done.returncode == 1 and "cannot be built by the builder 'remote': that is a service" in done.stderr
    assert run("plan", "other.py", "main").returncode == 0


def test_a_run_before_it_is_started(run):
    def predict(*words: str, **env: str):
        done = run("plan", "--output", "json", "flow.py", "main", *words, **env)
        assert done.returncode == 0, done.stderr
        return document(done)["prediction"]["outcome"]

    assert predict() == "unknown"
    assert predict("--at", "1") == "miss"
    assert not (run.folder.parent / "home" / "local" / "cache.db").exists()  # looking makes nothing
    assert run("run", "flow.py", "main", "--at", "1").returncode == 0
    assert predict("--at", "1") == "hit"
    assert predict("--at", "2") == "miss"
    assert predict("--at", "1", FLYTE_CACHE="off") == "off"
    done = run("plan", "flow.py", "main", "--at", "1")
    assert "cache: hit of shop.main" in done.stdout and "triggers" not in done.stdout
    uncached = document(run("plan", "--output", "json", "flow.py", "lower", "--x", "1"))
    assert uncached["prediction"]["outcome"] == "off"
    assert [t["name"] for t in uncached["tasks"]] == ["low.lower"]


def test_a_container_task_without_an_environment(run):
    (run.folder / "tool.py").write_text(
        "from flyte.extras import ContainerTask\n"
        "count = ContainerTask('count', 'loopback.invalid/tools:1', ['wc'], inputs={'t': str}, outputs={'n': int})\n"
    )
    done = run("plan", "--output", "json", "tool.py", "count", "--t", "a")
    assert done.returncode == 0, done.stderr
    plan = document(done)
    assert [(i["uri"], i["needs_build"], i["environments"]) for i in plan["images"]] == [
        ("loopback.invalid/tools:1", False, ["count"])
    ]
    assert [(t["name"], t["task_type"]) for t in plan["tasks"]] == [("count", "raw-container")]
    assert plan["prediction"]["outcome"] == "off"


def test_a_plan_of_what_is_not_there(run):
    done = run("plan", "flow.py", "mian")
    assert done.returncode == 2 and "has no task 'mian'; did you mean 'main'?" in done.stderr
    done = run("plan", "flow.py", "main", "--at", "many")
    assert done.returncode == 2 and "flyte plan flow.py main" in done.stderr
    listed = run("plan", "flow.py")
    assert listed.returncode == 0 and "main" in listed.stdout


async def test_deploy_is_awaited_too(tmp_path, monkeypatch):
    (tmp_path / "asked_for.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    env = flyte.TaskEnvironment(name="here", image="x:1", include=(str(tmp_path / "asked_for.txt"),))

    (plan,) = await flyte.deploy.aio(env, dry_run=True, copy_style="none")
    assert plan.files is not None and plan.files.count == 1 and plan.problems == []
    assert await asyncio.to_thread(lambda: len(flyte.deploy(env, env, dryrun=True, copy_style="none"))) == 2
