"""Dockerfiles of recipes, against golden files; what the builder brings for them is checked too.

To make the golden files anew after a change that is meant, set FLYTE_WRITE_GOLDEN=1.
"""

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest

from flyte import Image, Secret
from flyte._package.dockerfile import order_layers, write_dockerfile
from flyte.errors import ImageBuildError

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "dockerfiles"

_spec = importlib.util.spec_from_file_location("recipes", HERE.parent / "definition" / "golden" / "recipes.py")
recipes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recipes)

NAMES = [*json.loads((HERE.parent / "definition" / "golden" / "image_tags.json").read_text())]
DEBIAN = Image.from_debian_base(python_version=(3, 12), install_flyte=False, name="n")


@pytest.mark.parametrize("name", NAMES)
def test_golden(name, tmp_path):
    recipes.write_files(tmp_path)
    recipe = write_dockerfile(recipes.recipes(tmp_path)[name])
    brought = "".join(f"# {source.name}\n" for source in recipe.sources)
    secrets = "".join(f"# secret {secret.key}\n" for secret in recipe.secrets)
    text = f"{recipe.text}\n# brings:\n{brought}{secrets}"
    path = GOLDEN / f"{re.sub(r'[^a-z]+', '-', name)}.Dockerfile"
    if os.environ.get("FLYTE_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_there_is_a_golden_file_for_every_recipe_and_no_other():
    names = {f"{re.sub(r'[^a-z]+', '-', name)}.Dockerfile" for name in NAMES}
    assert {path.name for path in GOLDEN.iterdir()} == names and len(names) == len(NAMES)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", 'ENV A="plain"'),
        ("two words", 'ENV A="two words"'),
        ('a "b" c', 'ENV A="a \\"b\\" c"'),
        ("/x:$PATH", 'ENV A="/x:$PATH"'),
        (r"\$5 and \n", r'ENV A="\$5 and \\n"'),
        ("", 'ENV A=""'),
    ],
)
def test_values_of_variables(value, line):
    assert line in write_dockerfile(DEBIAN.with_env_vars({"A": value})).text.splitlines()


def test_a_value_of_several_lines_is_refused():
    with pytest.raises(ImageBuildError, match="variable A has more than one line"):
        write_dockerfile(DEBIAN.with_env_vars({"A": "x\nRUN rm -rf /"}))


def test_no_text_becomes_a_step_or_a_word_of_its_own():
    """What a user writes stays within its place: a package's name is one word, a command of two lines one step."""
    image = DEBIAN.with_pip_packages("a; rm -rf /", "b>=1").with_apt_packages("c d").with_commands(["e\nUSER root\nf"])
    text = write_dockerfile(image).text
    assert "uv pip install 'a; rm -rf /' 'b>=1'" in text and " 'c d' &&" in text
    assert 'RUN ["/bin/sh", "-c", "e\\nUSER root\\nf"]' in text.splitlines()
    spaced = DEBIAN.clone(addl_layer=_copy("my file.txt", "to here"))
    assert 'COPY --chown=flyte:flyte ["file-' in write_dockerfile(spaced).text


def _copy(name, dst, content="x"):
    from flyte._definition.layers import CopyConfig

    folder = Path(os.environ["FLYTE_HOME"]).parent
    (folder / name).write_text(content)
    return CopyConfig("file", folder / name, dst)


def test_variables_of_secrets_are_filled_in_where_urls_name_them():
    secret = Secret("index-token")
    image = DEBIAN.with_pip_packages(
        "private @ git+https://$INDEX_TOKEN@host/x", index_url="https://u:${INDEX_TOKEN}@h/$PATH", secret_mounts=secret
    )
    (step,) = [block for block in write_dockerfile(image).text.split("\n\n") if "--index-url" in block]
    name = f"index-token-{secret.stable_hash()[:8]}"
    assert f"--mount=type=secret,id={name},required=true \\\n" in step
    assert f'export INDEX_TOKEN="$(cat /run/secrets/{name})"; uv pip install' in step
    assert """--index-url 'https://u:'"${INDEX_TOKEN}"'@h/$PATH' """ in step
    assert """git+https://'"${INDEX_TOKEN}"'@host/x'""" in step


def test_a_secret_that_is_a_file():
    image = DEBIAN.with_commands(
        ["cat /etc/flyte/secrets/g/k"], Secret("k", group="g", mount=Path("/etc/flyte/secrets"))
    )
    text = write_dockerfile(image).text
    assert "required=true,target=/etc/flyte/secrets/g/k \\\n    cat /etc/flyte/secrets/g/k" in text


def test_python_is_prepared_once_and_only_where_it_is_needed(tmp_path):
    assert "uv" not in write_dockerfile(DEBIAN.with_apt_packages("git").with_commands(["ls"])).text
    text = write_dockerfile(DEBIAN.with_pip_packages("a").with_pip_packages("b", pre=True)).text
    assert text.count("uv venv --python 3.12 /opt/venv") == 1
    other = Image.from_base("x:1").clone(name="n", extendable=True)
    assert "uv venv /opt/venv" in write_dockerfile(other.with_pip_packages("a")).text
    asked = other.clone(python_version=(3, 13))
    assert "uv venv --python 3.13 /opt/venv" in write_dockerfile(asked.with_pip_packages("a")).text


def test_images_with_other_debian_packages_share_the_virtual_environment():
    def before_apt(image):
        text = write_dockerfile(image).text
        return text.index("uv venv") < text.index("--no-install-recommends git")

    assert before_apt(DEBIAN.with_apt_packages("git").with_pip_packages("a"))
    assert not before_apt(DEBIAN.with_apt_packages("git").with_commands(["x"]).with_pip_packages("a"))
    assert not before_apt(DEBIAN.with_env_vars({"PIP_INDEX_URL": "i"}).with_apt_packages("git").with_pip_packages("a"))
    assert "uv venv" not in write_dockerfile(DEBIAN.with_apt_packages("git")).text


def test_packages_come_before_code_where_that_changes_nothing(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "a.py").write_text("")
    (tmp_path / "pip.conf").write_text("")

    def order(image, debian=True):
        return [layer.describe()["layer"] for layer in order_layers(image._layers, debian)]

    code = DEBIAN.with_source_folder(tmp_path / "src").with_source_file(tmp_path / "a.py")
    packages = code.with_pip_packages("a").with_apt_packages("b")
    assert order(packages) == ["apt", "pip", "copy", "copy"]
    assert order(packages, debian=False) == ["copy", "copy", "pip", "apt"]
    mixed = code.with_pip_packages("a", extra_args="--no-deps", secret_mounts="t").with_apt_packages("b")
    assert order(mixed) == ["apt", "copy", "copy", "pip"]
    for kept in (
        DEBIAN.with_pip_packages("a").with_apt_packages("/tmp/b.deb"),
        code.with_pip_packages("./src/own"),
        code.with_pip_packages("a", extra_args="-r src/requirements.txt"),
        code.with_commands(["python a.py"]),
        DEBIAN.with_source_file(tmp_path / "pip.conf").with_pip_packages("a"),
        DEBIAN.with_source_folder(tmp_path / "src", "/etc").with_pip_packages("a"),
        DEBIAN.with_workdir("/").with_source_folder(tmp_path / "src", "etc").with_pip_packages("a"),
        code.with_env_vars({"A": "1"}).with_pip_packages("a"),
    ):
        assert order(kept) == [layer.describe()["layer"] for layer in kept._layers]


def test_names_in_the_context_follow_from_content_alone(tmp_path):
    """So a step whose input has changed reads differently, and one whose input has moved does not."""
    texts = []
    for place in ("one", "two"):
        folder = tmp_path / place / place
        folder.mkdir(parents=True)
        (folder / "x.txt").write_text("same")
        texts.append(write_dockerfile(DEBIAN.with_source_folder(folder, "/app", copy_contents_only=True)).text)
    assert texts[0] == texts[1]
    (folder / "x.txt").write_text("other")
    changed = DEBIAN.with_source_folder(folder, "/app", copy_contents_only=True)
    assert write_dockerfile(changed).text != texts[0]


def test_ordinary_bases_keep_their_user_and_work_dir():
    text = write_dockerfile(Image.from_base("x:1").clone(name="n", extendable=True).with_env_vars({"A": "1"})).text
    assert "flyte:flyte" not in text and "WORKDIR" not in text and text.splitlines()[0] == "FROM x:1"
    with pytest.raises(ImageBuildError, match="no base"):
        write_dockerfile(Image.from_base("").clone(name="n", extendable=True).with_env_vars({"A": "1"}))
