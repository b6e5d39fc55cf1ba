"""Recipes whose tags are pinned in ``image_tags.json``; run as a program it prints the tags as JSON.

    python recipes.py FOLDER > image_tags.json

FOLDER is where the files of the recipes are written; it does not come into any tag. A tag that changes makes every user
build that image anew, so the pinned tags change only on purpose.
"""

import json
import sys
from pathlib import Path

from flyte import Image, Secret

FILES = {
    "requirements.txt": "pandas==2.2.0\n",
    "Dockerfile": "FROM python:3.12\n",
    "project/pyproject.toml": '[project]\nname = "p"\n',
    "project/uv.lock": "version = 1\n",
    "project/poetry.lock": "# lock\n",
    "project/src/p.py": "x = 1\n",
    "project/__pycache__/p.pyc": "differs between machines",
    "script.py": "# /// script\n# dependencies = ['pandas']\n# ///\nprint(1)\n",
    "source/a.py": "a = 1\n",
    "source/sub/b.py": "b = 2\n",
    ".dockerignore": "*.log\n",
}


def write_files(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def recipes(folder: Path) -> dict[str, Image]:
    """Each kind of base and layer once. Versions are given, so that no recipe depends on what runs here."""
    base = Image.from_debian_base(
        python_version=(3, 12), flyte_version="2.0.0", registry="registry.example/team", name="n"
    )
    other = Image.from_base("python:3.12-slim").clone(name="other", extendable=True)
    return {
        "renamed": base,
        "without flyte": Image.from_debian_base(python_version=(3, 12), install_flyte=False),
        "one platform": base.clone(platform="linux/arm64"),
        "python asked": base.clone(python_version=(3, 13)),
        "other base": base.clone(base_image="python:3.12"),
        "no registry": other,
        "dockerfile": Image.from_dockerfile(folder / "Dockerfile", registry="registry.example/team", name="d"),
        "uv script": Image.from_uv_script(folder / "script.py", name="s", python_version=(3, 12)),
        "pip": base.with_pip_packages("pandas>=2", "numpy"),
        "pip, options": base.with_pip_packages(
            "pandas",
            index_url="https://index.example/simple",
            extra_index_urls=["https://extra.example/simple"],
            pre=True,
            extra_args="--no-deps",
            secret_mounts=[Secret("token", group="pypi"), "key"],
        ),
        "requirements": base.with_requirements(folder / "requirements.txt"),
        "apt": base.with_apt_packages("git", "curl"),
        "commands": base.with_commands(["echo a", "echo b"]),
        "env": base.with_env_vars({"B": "1", "A": "$B"}),
        "workdir": base.with_workdir("/app"),
        "dockerignore": base.with_dockerignore(folder / ".dockerignore"),
        "file": base.with_source_file(folder / "source/a.py", "/app"),
        "files": base.with_source_file([folder / "source/a.py", folder / "script.py"]),
        "folder": base.with_source_folder(folder / "source"),
        "folder, contents": base.with_source_folder(folder / "source", "/app", copy_contents_only=True),
        "uv project": base.with_uv_project(folder / "project/pyproject.toml"),
        "uv project, installed": base.with_uv_project(
            folder / "project/pyproject.toml", project_install_mode="install_project"
        ),
        "poetry project": base.with_poetry_project(folder / "project/pyproject.toml"),
        "several": base.with_apt_packages("git").with_pip_packages("pandas").with_env_vars({"A": "1"}),
        "several, other order": base.with_env_vars({"A": "1"}).with_pip_packages("pandas").with_apt_packages("git"),
        "on another base": other.with_pip_packages("pandas>=2", "numpy"),
    }


if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_files(root)
    json.dump({name: image.uri for name, image in recipes(root).items()}, sys.stdout, indent=4)
    sys.stdout.write("\n")
