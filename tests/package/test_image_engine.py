"""The engine's decisions, with builders and checkers that only count; real builds are in test_builds.py."""

import asyncio
import dataclasses
import inspect
import pickle
import subprocess
import threading

import pytest

import flyte
from flyte import Image
from flyte._definition.layers import PipPackages
from flyte._package import image_engine
from flyte._package.image_build import watch_builds
from flyte.errors import ImageBuildError
from flyte.extend import ImageBuildEngine

IMAGE = Image.from_debian_base(name="app", registry="registry.example/team", platform=("linux/amd64",))


class Counting:
    """A builder whose images are there or not, as it is told; it counts what it is asked."""

    def __init__(self, there=(None,), fails=None, takes_s=0.0, checkers=None):
        self.there, self.fails, self.takes_s = list(there), fails, takes_s
        self.asked, self.built, self.dry = [], [], []
        self.checkers = [self] if checkers is None else checkers

    async def image_exists(self, repository, tag, arch=("linux/amd64",)):
        self.asked.append((repository, tag, arch))
        await asyncio.sleep(self.takes_s)
        found = self.there[0] if len(self.there) == 1 else self.there.pop(0)
        if isinstance(found, Exception):
            raise found
        return f"{repository}:{tag}" if found else None

    async def build_image(self, image, dry_run, wait=True, force=False):
        (self.dry if dry_run else self.built).append(image.uri)
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise self.fails
        return image.uri

    def get_checkers(self):
        return self.checkers


def test_the_signature_is_the_documented_one():
    """IB1"""
    parameters = inspect.signature(ImageBuildEngine.build).parameters
    assert list(parameters) == ["image", "builder", "dry_run", "force"]
    assert [p.default for p in parameters.values()][1:] == [None, False, False]
    assert inspect.iscoroutinefunction(ImageBuildEngine.build)


async def test_the_result_is_the_uri_and_says_what_was_done():
    """IB2, D6"""
    builder = Counting()
    image = IMAGE.with_pip_packages("ib2")
    result = await ImageBuildEngine.build(image, builder)
    assert isinstance(result, str) and result == image.uri == result.uri
    assert result.built and "there is no such tag" in result.why
    assert builder.asked == [("registry.example/team/app", image.uri.rpartition(":")[2], ("linux/amd64",))]
    copy = pickle.loads(pickle.dumps(result))
    assert (copy, copy.uri, copy.built, copy.why) == (result, result.uri, True, result.why)


async def test_an_image_that_is_there_is_not_built():
    """IB3"""
    builder = Counting(there=[True])
    result = await ImageBuildEngine.build(IMAGE.with_pip_packages("ib3"), builder)
    assert builder.built == [] and not result.built and result.why == "it is there already"


@pytest.mark.parametrize("concurrently", [False, True])
async def test_latest_is_built_each_time_and_never_looked_for(concurrently):
    """IB4, IB14"""
    builder = Counting(there=[True], takes_s=0.01)
    image = dataclasses.replace(IMAGE.with_pip_packages("ib4"), _tag="latest")
    assert image.uri == "registry.example/team/app:latest"
    if concurrently:
        await asyncio.gather(*(ImageBuildEngine.build(image, builder) for _ in range(2)))
    else:
        for _ in range(2):
            result = await ImageBuildEngine.build(image, builder)
            assert result.why == "an image tagged latest is always built"
    assert len(builder.built) == 2 and builder.asked == []


async def test_force_builds_without_looking_also_what_was_built_before():
    """IB5, IB14"""
    builder = Counting(there=[True])
    image = IMAGE.with_pip_packages("ib5")
    await ImageBuildEngine.build(image, builder)
    assert (len(builder.asked), builder.built) == (1, [])
    result = await ImageBuildEngine.build(image, builder, force=True)
    assert (len(builder.asked), builder.built, result.why) == (1, [image.uri], "forced")


async def test_a_dry_run_builds_nothing_and_is_not_swallowed():
    """IB6, IB14"""
    builder = Counting(there=[True])
    image = IMAGE.with_pip_packages("ib6")
    await ImageBuildEngine.build(image, builder)
    for force in (False, True):
        result = await ImageBuildEngine.build(image, builder, dry_run=True, force=force)
        assert result == image.uri and not result.built
    assert (builder.dry, builder.built, len(builder.asked)) == ([image.uri] * 2, [], 1)


async def test_dry_runs_of_builders_that_come_with_flyte(capsys, monkeypatch):
    """IB7: the local one shows the Dockerfile, the remote one submits nothing; neither needs a program."""
    monkeypatch.setenv("PATH", "")
    image = IMAGE.with_pip_packages("ib7")
    result = await ImageBuildEngine.build(image, "local", dry_run=True)
    assert result.dockerfile.startswith("FROM ghcr.io/flyteorg/flyte:py")
    assert result.dockerfile in capsys.readouterr().out
    events = []
    with watch_builds(events.append):
        await ImageBuildEngine.build(image, "local", dry_run=True)
    assert [(event.kind, event.text) for event in events] == [("shown", result.dockerfile)]
    assert "uv pip install ib7" in (await ImageBuildEngine.build(image, "remote", dry_run=True)).dockerfile
    assert capsys.readouterr().out == ""
    with pytest.raises(ImageBuildError, match="that is a service of hosted control planes"):
        await ImageBuildEngine.build(image, "remote", force=True)


async def test_builders_are_found_by_name(monkeypatch):
    """IB8, IB9: an unknown name lists those that are there; a registered builder is one of them."""
    with pytest.raises(ValueError, match=r"no image builder 'locall'; did you mean 'local'\?; there are local, "):
        await ImageBuildEngine.build(IMAGE, "locall")
    monkeypatch.setattr(image_engine, "_registered", type(image_engine._registered)("image builder"))
    made = []

    class Registered(Counting):
        def __init__(self):
            made.append(self)
            super().__init__()

    ImageBuildEngine.register("mine", Registered)
    for package in ("ib9-a", "ib9-b"):
        await ImageBuildEngine.build(IMAGE.with_pip_packages(package), "mine")
    assert len(made) == 1 and len(made[0].built) == 2
    with pytest.raises(ValueError, match="already an image builder 'local'"):
        ImageBuildEngine.register("local", Registered)
    with pytest.raises(ValueError, match="another image builder is already registered for 'mine'"):
        ImageBuildEngine.register("mine", Counting)
    ImageBuildEngine.register("broken", object())
    with pytest.raises(TypeError, match="has no method build_image"):
        await ImageBuildEngine.build(IMAGE, "broken")
    monkeypatch.setenv("FLYTE_IMAGE_BUILDER", "mine")
    await ImageBuildEngine.build(IMAGE.with_pip_packages("ib9-c"))
    monkeypatch.setenv("FLYTE_IMAGE_BUILDER", "broken")
    with image_engine.configured_builder.override("mine"):
        await ImageBuildEngine.build(IMAGE.with_pip_packages("ib9-d"))
    assert len(made[0].built) == 4


async def test_a_builder_of_an_installed_package(tmp_path, monkeypatch):
    """IB9: by entry point."""
    info = tmp_path / "their_builder-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-builder\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[flyte.plugins.image_builders]\ntheirs = their_builder:Builder\n")
    (tmp_path / "their_builder.py").write_text(
        "class Builder:\n"
        "    async def build_image(self, image, dry_run):\n"
        "        return 'theirs/' + image.name + ':1'\n"
        "    def get_checkers(self):\n"
        "        return [Never]\n"
        "class Never:\n"
        "    async def image_exists(self, repository, tag, arch):\n"
        "        return None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "theirs" in image_engine.builder_names()
    result = await ImageBuildEngine.build(IMAGE.with_pip_packages("ib10"), "theirs")
    assert (result, result.uri, result.built) == ("theirs/app:1", "theirs/app:1", True)


@pytest.mark.parametrize("kind", [staticmethod, classmethod, None])
async def test_checkers_are_classes_or_objects(kind):
    """IB10"""
    asked = []

    async def exists(*given):
        asked.append(given[-3:])

    checker = type("Checker", (), {"image_exists": exists if kind is None else kind(exists)})
    builder = Counting(checkers=[checker])
    await ImageBuildEngine.build(IMAGE.with_pip_packages(f"ib10-{kind}"), builder)
    assert len(asked) == len(builder.built) == 1 and asked[0][0] == "registry.example/team/app"


async def test_a_checker_that_cannot_know_is_skipped(caplog):
    """IB11: and if none can, the image is taken to be there, which the user sees."""
    broken = Counting(there=[OSError("no route")])
    image = IMAGE.with_pip_packages("ib11")
    builder = Counting(checkers=[broken, there := Counting(there=[True])])
    await ImageBuildEngine.build(image, builder)
    assert (len(broken.asked), len(there.asked), builder.built) == (1, 1, [])
    builder = Counting(checkers=[broken, broken])
    for _ in range(2):
        caplog.clear()
        result = await ImageBuildEngine.build(image, builder)
        assert result == image.uri and builder.built == [] and "taken to be there" in result.why
        # What is only guessed is asked anew the next time.
        assert "no route" in caplog.text and "flyte build --force" in caplog.text
    assert len(broken.asked) == 5


@pytest.mark.parametrize("image", [Image.from_base("x:1"), Image.from_base("x:latest"), Image.from_debian_base()])
@pytest.mark.parametrize("options", [{}, {"force": True}, {"dry_run": True}])
async def test_a_base_without_layers_is_never_built_nor_looked_for(image, options):
    """IB12"""
    builder = Counting()
    result = await ImageBuildEngine.build(image, builder, **options)
    assert result == image.base_image and (builder.asked, builder.built, builder.dry) == ([], [], [])


async def test_a_base_under_another_name_is_built():
    builder = Counting()
    await ImageBuildEngine.build(Image.from_base("x:1").clone(name="y"), builder)
    assert len(builder.built) == 1


async def test_ten_at_once_make_one_check_and_one_build():
    """IB13"""
    builder = Counting(takes_s=0.02)
    image = IMAGE.with_pip_packages("ib13")
    results = await asyncio.gather(*(ImageBuildEngine.build(image, builder) for _ in range(10)))
    assert set(results) == {image.uri} and (len(builder.asked), len(builder.built)) == (1, 1)
    await ImageBuildEngine.build(image.clone(), builder)
    assert (len(builder.asked), len(builder.built)) == (1, 1)


def test_ten_threads_make_one_build():
    """IB13: a loop in each thread."""
    builder = Counting(takes_s=0.05)
    image = IMAGE.with_pip_packages("ib13-threads")
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(ImageBuildEngine.build(image, builder))))
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert results == [image.uri] * 10 and len(builder.built) == 1


async def test_if_the_one_that_builds_is_cancelled_another_does():
    """IB13: nobody waits for ever."""
    builder = Counting(takes_s=0.05)
    image = IMAGE.with_pip_packages("ib13-cancelled")
    first, second = (asyncio.create_task(ImageBuildEngine.build(image, builder)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    async with asyncio.timeout(10):
        assert await second == image.uri
    assert first.cancelled() and len(builder.built) == 1


async def test_one_that_no_longer_waits_stops_nobody():
    builder = Counting(takes_s=0.05)
    image = IMAGE.with_pip_packages("ib13-gone")
    first, second = (asyncio.create_task(ImageBuildEngine.build(image, builder)) for _ in range(2))
    await asyncio.sleep(0.01)
    second.cancel()
    assert await first == image.uri and len(builder.built) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImageBuildError("step 3 failed:\nE: no such package"), r"E: no such package"),
        (RuntimeError("disk full"), r"could not be built by 'Counting': RuntimeError: disk full"),
        (
            subprocess.CalledProcessError(1, ["x"], stderr=b"line 1\nE: broken"),
            r"(?s)the end of its log:\nline 1\nE: broken",
        ),
    ],
)
async def test_a_failed_build(error, said):
    """IB15: the error has the end of the log, reaches all who wait, and is not remembered."""
    builder = Counting(fails=error, takes_s=0.01)
    image = IMAGE.with_pip_packages(f"ib15-{type(error).__name__}")
    results = await asyncio.gather(*(ImageBuildEngine.build(image, builder) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ImageBuildError] * 3 and len(builder.built) == 1
    with pytest.raises(ImageBuildError, match=said):
        raise results[0]
    builder.fails = None
    assert (await ImageBuildEngine.build(image, builder)).built


@pytest.mark.parametrize("name", ["local", "local-docker", "local-podman"])
async def test_without_a_program_the_remedy_is_said_at_once(name, monkeypatch, tmp_path):
    """IB16"""
    monkeypatch.setenv("PATH", str(tmp_path))
    image = Image.from_debian_base(name="ib16").with_pip_packages(name)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ImageBuildError, match="on PATH; install"):
        await ImageBuildEngine.build(image, name)
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_layer_of_a_kind_that_nobody_knows():
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Mine(PipPackages):
        pass

    with pytest.raises(ImageBuildError, match="layer of type Mine cannot be built"):
        await ImageBuildEngine.build(IMAGE.clone(addl_layer=Mine(packages=("x",))), "local", dry_run=True)


async def test_the_builder_of_the_session_is_used():
    try:
        flyte.init(image_builder="nobody")
        with pytest.raises(ValueError, match="nobody"):
            await ImageBuildEngine.build(Image.from_debian_base(name="x").with_pip_packages("six"))
    finally:
        flyte.init()
    assert image_engine.configured_builder.get() is None
