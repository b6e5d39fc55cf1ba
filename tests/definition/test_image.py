"""Images as values: what can be put on what, and tags that are the same everywhere."""

import importlib.util
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyte
from flyte import Image, Secret
from flyte._core.version import VERSION
from flyte._definition.layers import PipPackages
from flyte.errors import ImageBuildError

HERE = Path(__file__).parent
PROGRAM = HERE / "golden" / "recipes.py"
GOLDEN = json.loads((HERE / "golden" / "image_tags.json").read_text())

_spec = importlib.util.spec_from_file_location("recipes", PROGRAM)
recipes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recipes)

BASE = Image.from_debian_base(name="n")


@pytest.fixture
def folder(tmp_path):
    recipes.write_files(tmp_path)
    return tmp_path


# Tags -----------------------------------------------------------------------------------------------------------------


def test_tags_are_pinned(folder):
    """X17: the same recipe gives the same tag, from release to release."""
    assert {name: image.uri for name, image in recipes.recipes(folder).items()} == GOLDEN


def test_recipes_that_differ_have_tags_that_differ():
    """X17: a different recipe gives a different tag."""
    tags = [uri.rpartition(":")[2] for uri in GOLDEN.values()]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r"[0-9a-f]{32}", tag) for tag in tags)


@pytest.mark.parametrize("seed", ["0", "1", "4321"])
def test_tags_in_another_process_and_folder(seed, tmp_path):
    """X17: neither the hash seed nor the place of the files comes into a tag."""
    root = tmp_path / f"elsewhere-{seed}"
    environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE.parents[1]), "PATH": os.environ["PATH"]}
    command = [sys.executable, str(PROGRAM), str(root)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == GOLDEN


def test_tag_does_not_depend_on_the_running_python(monkeypatch):
    """X17: on a base that is given, the Python that runs here does not count."""

    def tag():
        return Image.from_base("b:1").clone(name="n", extendable=True).with_pip_packages("x").uri

    here = tag()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert tag() == here
    assert Image.from_debian_base().uri.endswith(f":py3.99-v{VERSION}")


@pytest.mark.parametrize(
    ("name", "file", "counts"),
    [
        ("requirements", "requirements.txt", True),
        ("dockerfile", "Dockerfile", True),
        ("uv project", "project/pyproject.toml", True),
        ("uv project", "project/uv.lock", True),
        ("uv project", "project/src/p.py", False),
        ("uv project, installed", "project/src/p.py", True),
        ("uv project, installed", "project/__pycache__/p.pyc", False),
        ("poetry project", "project/poetry.lock", True),
        ("dockerignore", ".dockerignore", True),
        ("file", "source/a.py", True),
        ("folder", "source/sub/b.py", True),
        ("folder", "source/sub/new.py", True),
        ("folder", "requirements.txt", False),
        ("folder", "source/__pycache__/a.pyc", False),
        ("folder", "source/__pycache__/a.nbi", False),
        ("folder", "source/.git/HEAD", False),
    ],
)
def test_what_of_files_counts(folder, name, file, counts):
    """X17: the bytes that come into an image come into its tag, and nothing else does."""
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed\n")
    assert (recipes.recipes(folder)[name].uri != GOLDEN[name]) is counts


def test_of_a_script_the_header_counts(folder):
    """X17: the body of a uv script is not part of the image."""
    script = folder / "script.py"
    script.write_text(script.read_text() + "print(2)\n")
    assert recipes.recipes(folder)["uv script"].uri == GOLDEN["uv script"]
    script.write_text(script.read_text().replace("pandas", "polars"))
    assert recipes.recipes(folder)["uv script"].uri != GOLDEN["uv script"]


def test_file_times_do_not_count(folder):
    """X17: a fresh checkout has other times and the same tag; a program that loses its bit has another."""
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    assert recipes.recipes(folder)["folder"].uri == GOLDEN["folder"]
    (folder / "source/a.py").chmod(0o755)
    assert recipes.recipes(folder)["folder"].uri != GOLDEN["folder"]


def test_names_and_contents_cannot_be_mistaken_for_each_other(tmp_path):
    """X17: two trees whose names and bytes, run together, read the same have each their own tag."""
    uris = []
    for number, (name, text) in enumerate([("a", "bc"), ("ab", "c")]):
        root = tmp_path / str(number) / "source"
        root.mkdir(parents=True)
        (root / name).write_text(text)
        uris.append(BASE.with_source_folder(root).uri)
    assert len(set(uris)) == 2


def test_links_count_by_what_they_point_to(tmp_path):
    """X17: a link in a folder is not followed, even around in a circle."""
    root = tmp_path / "source"
    root.mkdir()
    (root / "loop").symlink_to(root)
    (root / "gone").symlink_to("nowhere")
    one = BASE.with_source_folder(root).uri
    (root / "gone").unlink()
    (root / "gone").symlink_to("elsewhere")
    assert BASE.with_source_folder(root).uri != one


packages = st.lists(st.text("abc[]=<>., ", min_size=1).filter(str.strip), min_size=1, max_size=4)


@given(packages, packages)
def test_tags_tell_packages_apart(one, other):
    """X17: tags are equal exactly if the recipes are."""
    images = [BASE.with_pip_packages(*several) for several in (one, other)]
    assert (images[0].uri == images[1].uri) is (one == other) is (images[0] == images[1])


@given(st.lists(st.sampled_from(["pip", "apt", "commands", "workdir", "env"]), max_size=4))
def test_kinds_of_layers_are_told_apart(kinds):
    """X17: the same text in layers of other kinds, or in another order, is another image."""
    add = {
        "pip": lambda image: image.with_pip_packages("x"),
        "apt": lambda image: image.with_apt_packages("x"),
        "commands": lambda image: image.with_commands(["x"]),
        "workdir": lambda image: image.with_workdir("x"),
        "env": lambda image: image.with_env_vars({"x": "x"}),
    }
    image, backwards = BASE, BASE
    for kind in kinds:
        image = add[kind](image)
    for kind in reversed(kinds):
        backwards = add[kind](backwards)
    assert (image.uri == backwards.uri) is (kinds == kinds[::-1])


# Starting -------------------------------------------------------------------------------------------------------------


def test_auto_image():
    """F6, wire-protocol section 9: the default image of this Python with flyte installed."""
    image = Image.default()
    major, minor = sys.version_info[:2]
    assert image.uri == f"ghcr.io/flyteorg/flyte:py{major}.{minor}-v{VERSION}"
    assert image.platform == ("linux/amd64", "linux/arm64")
    assert image == Image.from_debian_base()
    env = flyte.TaskEnvironment("auto_image")

    @env.task
    async def work() -> None: ...

    assert work.image == image


def test_from_debian_base():
    """X17: Python and flyte version say the base; what is renamed is another image."""
    older = Image.from_debian_base((3, 10), "2.0.0")
    assert (older.uri, older.python_version) == ("ghcr.io/flyteorg/flyte:py3.10-v2.0.0", (3, 10))
    renamed = Image.from_debian_base(registry="registry.example/team/", name="x")
    assert re.fullmatch(r"registry\.example/team/x:[0-9a-f]{32}", renamed.uri)
    assert re.fullmatch(
        r"registry\.example/flyte:[0-9a-f]{32}", Image.from_debian_base(registry="registry.example").uri
    )
    assert re.fullmatch(r"flyte:[0-9a-f]{32}", Image.from_debian_base().with_pip_packages("x").uri)
    assert Image.from_debian_base(platform=("linux/amd64",)).platform == ("linux/amd64",)


def test_from_base():
    """X17: an image that is there keeps its own URI, until it is extended under a name."""
    image = Image.from_base("python:3.12")
    assert image.uri == "python:3.12" == image.clone().uri
    with pytest.raises(ValueError, match=re.escape("'python:3.12', which is not extendable; use clone(name=...")):
        image.with_pip_packages("x")
    with pytest.raises(ValueError, match="has no name for what is made of it"):
        image.clone(extendable=True).with_pip_packages("x")
    with pytest.raises(ImageBuildError, match=r"has no name; give one with clone\(name=...\)"):
        _ = image.clone(registry="registry.example").uri
    made = image.clone(name="x", registry="registry.example", extendable=True).with_pip_packages("x")
    assert re.fullmatch(r"registry\.example/x:[0-9a-f]{32}", made.uri)


@pytest.mark.parametrize("missing", ["", None])
def test_from_base_of_nothing(missing):
    """X17: an unset variable is told of when the URI is asked for, not where the file is only imported."""
    image = Image.from_base(missing)
    with pytest.raises(ImageBuildError, match=re.escape(f"the image has no base (got {missing!r})")):
        _ = image.uri


def test_from_dockerfile(folder):
    """X17: no layers on a dockerfile image, however it is asked for."""
    image = Image.from_dockerfile(folder / "Dockerfile", registry="registry.example", name="d")
    image.validate()
    assert image.uri.startswith("registry.example/d:")
    for extend in (
        lambda: image.with_pip_packages("x"),
        lambda: image.with_pip_packages(),
        lambda: image.clone(extendable=True),
        lambda: image.clone(base_image="python:3.12"),
        lambda: image.clone(addl_layer=PipPackages(packages=("x",))),
    ):
        with pytest.raises(ValueError, match="its Dockerfile says what is in it"):
            extend()
    gone = Image.from_dockerfile("gone", "registry.example", "d")
    for use in (gone.validate, lambda: gone.uri):
        with pytest.raises(ImageBuildError, match="gone"):
            use()


def test_from_uv_script(folder):
    """X17: a script's own dependencies; a missing or bad header is told of when the image is asked for."""
    image = Image.from_uv_script(folder / "script.py", name="s")
    image.validate()
    assert image.with_apt_packages("git").uri != image.uri
    for name, text, message in (
        ("gone.py", None, "cannot be read"),
        ("none.py", "print(1)\n", "has 0 dependency headers"),
        ("two.py", "# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n", "has 2 dependency headers"),
    ):
        if text is not None:
            (folder / name).write_text(text)
        with pytest.raises(ImageBuildError, match=message):
            Image.from_uv_script(folder / name, name="s").validate()


def test_from_ref_name():
    """X17: an image known by name has no URI of its own."""
    assert Image.from_ref_name() == Image.from_ref_name("default")
    with pytest.raises(
        ImageBuildError, match=re.escape("'mine' is known by name only; say which it is with flyte.init")
    ):
        _ = Image.from_ref_name("mine").uri
    with pytest.raises(ValueError, match="not extendable"):
        Image.from_ref_name("mine").with_pip_packages("x")
    with pytest.raises(ValueError, match="from_ref_name"):
        Image.from_ref_name("")


def test_not_made_directly():
    """X17: as in the published package, only from_... makes an image."""
    for arguments in ({}, {"base_image": "x"}):
        with pytest.raises(TypeError, match="not made directly"):
            Image(**arguments)


# Changing -------------------------------------------------------------------------------------------------------------


def test_immutable():
    """X17: each change gives another image; the first stays as it was."""
    before = (BASE.uri, BASE)
    assert BASE.with_pip_packages("x") != BASE
    assert (BASE.uri, BASE) == before
    with pytest.raises(AttributeError):
        BASE.name = "other"
    assert {BASE.with_pip_packages("x"): 1}[BASE.with_pip_packages("x")] == 1
    assert pickle.loads(pickle.dumps(BASE.with_pip_packages("x"))) == BASE.with_pip_packages("x")


def test_clone():
    """X17: what is given changes, what is not stays."""
    image = BASE.with_pip_packages("x")
    copy = image.clone(registry="registry.example", registry_secret="push", name="m", platform="linux/arm64")
    assert copy.uri.startswith("registry.example/m:")
    assert (copy.platform, copy.base_image, image.platform) == (("linux/arm64",), image.base_image, BASE.platform)
    assert copy.clone() == copy
    assert copy.clone(extendable=False).extendable is False
    assert image.clone(addl_layer=PipPackages(packages=("y",))) == image.with_pip_packages("y")
    assert image.clone(registry_secret=Secret("push")).uri == image.uri


@pytest.mark.parametrize(
    "add",
    [
        lambda image: image.with_pip_packages(),
        lambda image: image.with_apt_packages(),
        lambda image: image.with_commands([]),
        lambda image: image.with_env_vars({}),
        lambda image: image.with_source_file([]),
    ],
)
def test_adding_nothing(add):
    """X17: computed lists may be empty."""
    assert add(BASE) is BASE


def test_secrets_of_a_build_count_by_name():
    """X17: another secret is another recipe; no value is anywhere to be found."""
    images = [BASE.with_commands(["x"], secret_mounts=s) for s in (None, "a", "b", Secret("a", group="g"))]
    assert len({image.uri for image in images}) == 4
    assert images[1].uri == BASE.with_commands(["x"], secret_mounts=[Secret("a")]).uri


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Image.from_debian_base(platform=("linux/arm",)), ValueError, "did you mean 'linux/arm64'?"),
        (lambda: Image.from_debian_base(platform=()), ValueError, "platform="),
        (lambda: Image.from_debian_base(python_version=(3, 9)), ValueError, "python_version=(3, 9) is too old"),
        (
            lambda: Image.from_debian_base(python_version="3.12"),
            TypeError,
            "takes two numbers such as (3, 12), got '3.12'",
        ),
        (lambda: Image.from_debian_base(name="Bad Name!"), ValueError, "name='Bad Name!' is not an image's name"),
        (lambda: BASE.clone(name="UPPER"), ValueError, "use lower-case letters"),
        (lambda: BASE.clone(registry="https://registry.example"), ValueError, "without a scheme"),
        (lambda: BASE.clone(registry=""), ValueError, "registry='' is not a registry"),
        (lambda: Image.from_base(3), TypeError, "image_uri takes a text"),
        (lambda: BASE.with_pip_packages(3), TypeError, "Image.with_pip_packages: packages takes texts, got 3"),
        (lambda: BASE.with_pip_packages(["a"]), TypeError, "packages takes texts, got ['a']"),
        (lambda: BASE.with_pip_packages(" "), ValueError, "packages has an empty text"),
        (lambda: BASE.with_commands("ls"), TypeError, "commands takes a list of commands, got a text; write ['ls']"),
        (lambda: BASE.with_env_vars({"A": 1}), TypeError, "'A' takes a text, got 1; write '1'"),
        (lambda: BASE.with_env_vars({"1A": "x"}), ValueError, "'1A' is not a variable's name"),
        (lambda: BASE.with_env_vars(["A"]), TypeError, "env_vars takes a dict"),
        (lambda: BASE.with_workdir(""), ValueError, "workdir has an empty text"),
        (lambda: BASE.with_requirements("r.toml"), ValueError, "file='r.toml' is not a .txt file"),
        (lambda: BASE.with_requirements(3), TypeError, "Image.with_requirements: file takes a path, got 3"),
        (
            lambda: BASE.with_uv_project("pyproject.toml", project_install_mode="all"),
            ValueError,
            "Image.with_uv_project: project_install_mode='all' is not known",
        ),
        (lambda: BASE.with_source_folder(""), TypeError, "src takes a path"),
    ],
)
def test_refused(make, error, message):
    """X17: each with parameter, value and remedy."""
    with pytest.raises(error, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: BASE.with_requirements("gone.txt"),
        lambda: BASE.with_uv_project("gone/pyproject.toml"),
        lambda: BASE.with_poetry_project("gone/pyproject.toml"),
        lambda: BASE.with_source_file(Path("gone.py")),
        lambda: BASE.with_source_folder(Path("gone")),
        lambda: BASE.with_dockerignore(Path("gone")),
        lambda: BASE.with_local_v2().clone(addl_layer=PipPackages(packages=("x",))).with_source_folder(Path("gone")),
    ],
)
def test_files_that_are_not_there(make, tmp_path, monkeypatch):
    """X17: declaring needs no files, as in a container; validate() and uri name what is missing."""
    monkeypatch.chdir(tmp_path)
    image = make()
    for use in (image.validate, lambda: image.uri):
        with pytest.raises(ImageBuildError, match=r"gone|wheel"):
            use()


def test_wheels(tmp_path):
    """X17: a package from wheels; their names and bytes count."""
    from flyte._definition.layers import PythonWheels

    image = BASE.clone(addl_layer=PythonWheels(wheel_dir=tmp_path, package_name="p"))
    with pytest.raises(ImageBuildError, match="there is no wheel of 'p'"):
        image.validate()
    (tmp_path / "p-1-py3-none-any.whl").write_bytes(b"1")
    first = image.uri
    (tmp_path / "p-1-py3-none-any.whl").write_bytes(b"2")
    assert image.clone().uri != first


def test_documented_methods():
    """X17: every documented method is there, with the parameters of 2.12.1 in their order."""
    documented = {
        "from_debian_base": "python_version flyte_version install_flyte registry registry_secret name platform",
        "from_base": "image_uri",
        "from_dockerfile": "file registry name platform",
        "from_uv_script": "script name registry registry_secret python_version index_url extra_index_urls pre "
        "extra_args platform secret_mounts",
        "from_ref_name": "name",
        "with_pip_packages": "packages index_url extra_index_urls pre extra_args secret_mounts",
        "with_apt_packages": "packages secret_mounts",
        "with_commands": "commands secret_mounts",
        "with_env_vars": "env_vars",
        "with_requirements": "file index_url extra_index_urls pre extra_args secret_mounts",
        "with_uv_project": "pyproject_file uvlock index_url extra_index_urls pre extra_args secret_mounts "
        "project_install_mode",
        "with_poetry_project": "pyproject_file poetry_lock extra_args secret_mounts project_install_mode",
        "with_source_folder": "src dst copy_contents_only",
        "with_source_file": "src dst",
        "with_workdir": "workdir",
        "with_dockerignore": "path",
        "with_local_v2": "",
        "with_code_bundle": "copy_style dst",
        "clone": "registry registry_secret name base_image python_version addl_layer extendable platform",
        "validate": "",
    }
    for name, parameters in documented.items():
        found = [p for p in inspect.signature(getattr(Image, name)).parameters if p != "self"]
        assert found == parameters.split(), name


def test_declaring_reads_no_file_and_loads_no_hash():
    """Start-up: an image that is only declared costs neither OpenSSL nor a look at the disk."""
    program = (
        "import sys, flyte\n"
        "def watch(event, args):\n"
        "    if event == 'open' and 'gone' in str(args[0]): print('read', args[0])\n"
        "sys.addaudithook(watch)\n"
        "had = 'hashlib' in sys.modules\n"
        "flyte.Image.from_debian_base().with_pip_packages('x').with_requirements('gone.txt')\n"
        "print(had, 'hashlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    had, has = done.stdout.split()
    assert has == had


@pytest.mark.parametrize(
    "call",
    [
        lambda: BASE.with_local_v2_plugins("x"),
        lambda: BASE.with_local_rs_controller(),
        lambda: BASE.with_pixi_project("pixi.toml"),
        lambda: Image.from_pixi_script("script.py", name="n"),
    ],
)
def test_what_is_not_here_says_so(call):
    """X17: a method of 2.12.1 that is not here makes no image that lacks something."""
    with pytest.raises(NotImplementedError, match="is not available in this version of flyte"):
        call()
