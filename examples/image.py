"""Images: a recipe in Python, the Dockerfile it becomes, and a tag that says what is in it, the same on every machine.

$ python examples/image.py
$ flyte build --dry-run examples/image.py
$ flyte run examples/image.py main --text "a bee and a bear"

Without --dry-run, ``flyte build`` builds it with podman, buildah or Docker; the second time nothing is left to do.
"""

from pathlib import Path

import flyte

image = (
    flyte.Image.from_debian_base(python_version=(3, 12), install_flyte=False, name="words")
    .with_apt_packages("jq")
    .with_source_file(Path(__file__))
    # Built before the line above: code changes often, and then no package is installed again.
    .with_pip_packages("flyte", "humanize>=4")
    .with_env_vars({"GREETING": "Hello"})
)
env = flyte.TaskEnvironment(name="words", image=image)


@env.task
async def main(text: str) -> dict[str, int]:
    """Count words.

    :param text: the text they are in.
    """
    words = text.split()
    return {word: words.count(word) for word in sorted(set(words))}


if __name__ == "__main__":
    # A dry run shows the Dockerfile; it builds nothing, and needs no tool to build with.
    build = flyte.build(image, dry_run=True)
    repository, _, tag = build.uri.partition(":")
    print(f"# {repository}, and a tag of {len(tag)} digits")
    print("one more package, another tag:", image.with_pip_packages("rich").uri != image.uri)
    print("the same recipe, the same tag:", image.clone().uri == image.uri)
