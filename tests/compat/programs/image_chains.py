"""Images as values."""

from pathlib import Path

import flyte
from transcript import accepted, attempt, show

I = flyte.Image
Path("requirements.txt").write_text("pandas\n")
Path("Dockerfile").write_text("FROM python:3.12\n")
Path("script.py").write_text('# /// script\n# requires-python = ">=3.12"\n# dependencies = ["httpx"]\n# ///\nprint(1)\n')
Path("src").mkdir()
Path("src/a.py").write_text("x = 1\n")
Path("proj").mkdir()
Path("proj/pyproject.toml").write_text('[project]\nname = "p"\nversion = "0.1"\n')
Path("proj/uv.lock").write_text("version = 1\n")
Path("proj/poetry.lock").write_text("")
Path(".dockerignore").write_text("*.pyc\n")


def debian(**fields):
    return I.from_debian_base(python_version=(3, 12), **{"registry": "example.com/me", "name": "img", **fields})


for label, make in {
    "base": lambda: I.from_base("python:3.12"),
    "base ext": lambda: I.from_base("python:3.12").clone(registry="example.com/me", name="x", extendable=True),
    "debian": lambda: debian(),
    "debian arm": lambda: debian(platform=("linux/amd64", "linux/arm64")),
    "dockerfile": lambda: I.from_dockerfile(Path("Dockerfile"), registry="example.com/me", name="d"),
    "dockerfile text": lambda: I.from_dockerfile("Dockerfile", registry="example.com/me", name="d"),
    "ref": lambda: I.from_ref_name("mine"),
    "uv script": lambda: I.from_uv_script("script.py", name="s", registry="example.com/me"),
    "uv script path": lambda: I.from_uv_script(Path("script.py"), name="s", registry="example.com/me", python_version=(3, 12)),
    "secret": lambda: debian(registry_secret="key"),
    "install_flyte": lambda: debian(install_flyte=False),
}.items():
    image = attempt(label, lambda: type(make()).__name__)
    if image:
        image = make()
        attempt("  name", lambda: image.name)
        attempt("  registry", lambda: image.registry)
        attempt("  base_image", lambda: image.base_image if label.startswith("base") else None)
        attempt("  platform", lambda: image.platform)
        attempt("  validate", lambda: image.validate())
        attempt("  uri is text", lambda: type(image.uri).__name__)
chains = {
    "pip": lambda i: i.with_pip_packages("httpx", "pandas==2.2.0"),
    "pip options": lambda i: i.with_pip_packages("x", index_url="https://i", extra_index_urls="https://e", pre=True,
                                                 extra_args="--no-deps"),
    "pip urls": lambda i: i.with_pip_packages("x", extra_index_urls=["https://e", "https://f"]),
    "pip secret": lambda i: i.with_pip_packages("x", secret_mounts=[flyte.Secret("k")]),
    "pip secret text": lambda i: i.with_pip_packages("x", secret_mounts="k"),
    "apt": lambda i: i.with_apt_packages("git", "curl"),
    "commands": lambda i: i.with_commands(["echo 1", "echo 2"]),
    "env": lambda i: i.with_env_vars({"A": "1"}),
    "requirements": lambda i: i.with_requirements("requirements.txt"),
    "requirements path": lambda i: i.with_requirements(Path("requirements.txt")),
    "uv project": lambda i: i.with_uv_project(pyproject_file="proj/pyproject.toml"),
    "uv project lock": lambda i: i.with_uv_project(Path("proj/pyproject.toml"), uvlock=Path("proj/uv.lock")),
    "uv project mode": lambda i: i.with_uv_project("proj/pyproject.toml", project_install_mode="install_project"),
    "poetry": lambda i: i.with_poetry_project("proj/pyproject.toml"),
    "folder": lambda i: i.with_source_folder(Path("src")),
    "folder to": lambda i: i.with_source_folder(Path("src"), "/root/x"),
    "folder contents": lambda i: i.with_source_folder(Path("src"), copy_contents_only=True),
    "file": lambda i: i.with_source_file(Path("src/a.py")),
    "file to": lambda i: i.with_source_file(Path("src/a.py"), "/root"),
    "workdir": lambda i: i.with_workdir("/work"),
    "ignore": lambda i: i.with_dockerignore(Path(".dockerignore")),
    "clone": lambda i: i.clone(name="other", registry="example.com/you"),
    "clone python": lambda i: i.clone(python_version=(3, 11)),
}
plain = debian()
seen = {plain.uri}
for label, change in chains.items():
    made = attempt(label, lambda: type(change(plain)).__name__)
    if made:
        attempt("  same recipe, same address", lambda: change(plain).uri == change(debian()).uri)
        attempt("  new address", lambda: change(plain).uri not in seen)
        attempt("  original untouched", lambda: plain.uri == debian().uri)
        attempt("  prefix", lambda: change(plain).uri.rsplit(":", 1)[0])
for label, make in {
    "layers on dockerfile": lambda: I.from_dockerfile(Path("Dockerfile"), registry="r", name="d").with_pip_packages("x"),
    "layers on plain base": lambda: I.from_base("python:3.12").with_pip_packages("x"),
    "direct": lambda: I(base_image="x"),
    "missing requirements": lambda: debian().with_requirements("nothing.txt"),
    "requirements not txt": lambda: debian().with_requirements("script.py"),
    "missing folder": lambda: debian().with_source_folder(Path("nothing")).uri,
    "missing script": lambda: I.from_uv_script("nothing.py", name="s", registry="r").uri,
    "missing pyproject": lambda: debian().with_uv_project("nothing.toml").uri,
    "registry without name": lambda: I.from_debian_base(registry="r"),
    "name without registry": lambda: I.from_debian_base(name="r").uri.split(":")[0],
    "bad name": lambda: I.from_debian_base(registry="r", name="Bad Name"),
    "bad platform": lambda: I.from_debian_base(platform=("windows",)),
    "clone empty name": lambda: debian().clone(name=""),
    "clone unknown": lambda: debian().clone(colour="red"),
    "commands as text": lambda: debian().with_commands("echo"),
    "env as text": lambda: debian().with_env_vars("A=1"),
    "python 2": lambda: I.from_debian_base(python_version=(2, 7)),
}.items():
    accepted(label, make)
show("auto is image", type(flyte.TaskEnvironment("e").image).__name__)
env = flyte.TaskEnvironment("img", image=debian().with_pip_packages("httpx"))


@env.task
async def f(x: int) -> int:
    return x


show("task image", f.image == env.image)
show("task image type", type(f.image).__name__)
auto = flyte.TaskEnvironment("auto_img").task(f.func)
show("auto image type", type(auto.image).__name__)
named = flyte.TaskEnvironment("named_img", image="example.com/x:1").task(f.func)
show("named image uri", named.image.uri)
show("equal", debian() == debian())
