"""flyte.build and flyte.build_images: which images environments have, and that each is built once."""

import asyncio

import pytest

import flyte
from flyte import Image
from flyte._core.image_cache import ImageCache
from flyte._package import image_engine
from flyte._verbs import session as session_module
from flyte.errors import ImageBuildError
from flyte.extend import ImageBuildEngine

BASE = Image.from_base("x:1").clone(name="app", registry="r.example", extendable=True)


class Recording:
    def __init__(self):
        self.built, self.running, self.most, self.fails = [], 0, 0, ()

    async def build_image(self, image, dry_run):
        self.built.append(image.uri)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        if image.uri in self.fails:
            raise ImageBuildError(f"no {image.uri}")

    def get_checkers(self):
        return [self]

    async def image_exists(self, repository, tag, arch):
        return None


@pytest.fixture
def builder(monkeypatch):
    monkeypatch.setattr(session_module._session, "_default", None)
    monkeypatch.setattr(image_engine, "_registered", type(image_engine._registered)("image builder"))
    made = Recording()
    ImageBuildEngine.register("recording", made)
    flyte.init(image_builder="recording", images={"known": "r.example/known:1"})
    return made


def test_build_is_blocking_and_says_what_it_did(builder):
    image = BASE.with_env_vars({"A": "build"})
    result = flyte.build(image)
    assert result == result.uri == image.uri and result.built and isinstance(result, flyte.ImageBuild)
    assert result.remote_run is None and result.build_run is None
    assert not flyte.build(image).built and flyte.build(image, force=True).built
    with pytest.raises(TypeError, match=r"flyte\.build takes a flyte\.Image, but got str 'x:1'"):
        flyte.build("x:1")


def test_images_of_environments_and_of_those_they_depend_on(builder):
    shared = BASE.with_env_vars({"A": "shared"})
    leaf = flyte.TaskEnvironment("leaf", image=shared)
    other = flyte.TaskEnvironment("other", image=shared, depends_on=[leaf])
    plain = flyte.TaskEnvironment("plain", image="y:2")
    auto = flyte.TaskEnvironment("auto")
    named = flyte.TaskEnvironment("named", image=Image.from_ref_name("known"))
    top = flyte.TaskEnvironment("top", image=None, depends_on=[plain, auto, named])
    cache = flyte.build_images(other, top)
    assert cache == ImageCache(
        {
            "other": shared.uri,
            "leaf": shared.uri,
            "plain": "y:2",
            "auto": Image.default().uri,
            "named": "r.example/known:1",
        }
    )
    assert builder.built == [shared.uri]


def test_a_seed_is_not_looked_at(builder):
    env = flyte.TaskEnvironment("seeded", image=BASE.with_env_vars({"A": "seed"}))
    runs = {"seeded": {"name": "r"}}
    cache = flyte.build_images(env, seed_cache=ImageCache({"seeded": "r.example/app:old", "gone": "z:1"}, runs))
    assert cache == ImageCache({"seeded": "r.example/app:old", "gone": "z:1"}, runs) and builder.built == []


async def test_few_builds_at_once_and_the_first_failure_is_raised(builder):
    images = [BASE.with_env_vars({"A": f"many {number}"}) for number in range(9)]
    envs = [flyte.TaskEnvironment(f"e{number}", image=image) for number, image in enumerate(images)]
    await flyte.build_images.aio(*envs)
    assert len(builder.built) == 9 and builder.most == 4
    broken = BASE.with_env_vars({"A": "broken"})
    builder.fails = (broken.uri,)
    with pytest.raises(ImageBuildError, match=f"no {broken.uri}"):
        await flyte.build_images.aio(flyte.TaskEnvironment("broken", image=broken))


def test_what_cannot_be_known(builder):
    with pytest.raises(
        ImageBuildError, match=r"'mine' is known by name only, and flyte.init\(images=...\) names known"
    ):
        flyte.build(Image.from_ref_name("mine"))
    with pytest.raises(TypeError, match="takes environments, but got str"):
        flyte.build_images("env")
    first = flyte.TaskEnvironment("same", image="a:1")
    with pytest.raises(ValueError, match="two environments are called 'same'"):
        flyte.build_images(first, flyte.TaskEnvironment("same", image="b:1"))
    flyte.init(image_builder="nobody")
    with pytest.raises(ValueError, match="there is no image builder 'nobody'"):
        flyte.build(BASE.with_env_vars({"A": "nobody"}))


def test_code_comes_into_the_image_where_it_does_not_travel(builder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("1")
    env = flyte.TaskEnvironment("code", image=BASE.with_code_bundle("all", "/code"))

    def uri(style):
        return flyte.build_images(env, copy_style=style).image_lookup["code"]

    travels, inside = uri("loaded_modules"), uri("none")
    assert travels == BASE.uri != inside and flyte.build(env.image) == BASE.uri
    (tmp_path / "a.py").write_text("2")
    assert uri("none") != inside and uri("all") == travels
    (tmp_path / ".env").write_text("TOKEN=1")
    with pytest.raises(ImageBuildError, match=r"\.env below .* may hold secrets"):
        uri("none")
    with pytest.raises(ValueError, match="copy_style='none' is not known"):
        BASE.with_code_bundle("none")
