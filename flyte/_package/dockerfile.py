"""An image's recipe as the text of a Dockerfile, with what the build has to bring; pure but for the hashes of files.

Called by the builders. Names in the build's context hold a digest of what is behind them, so that a step whose input
has changed reads differently, whatever a builder takes into account for its layer cache.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte._core.face import nearest
from flyte._definition.image import Image
from flyte._definition.layers import (
    AptPackages,
    Code,
    Commands,
    CopyConfig,
    DockerIgnore,
    Env,
    Layer,
    PipOption,
    PipPackages,
    PoetryProject,
    PythonWheels,
    Requirements,
    UVProject,
    UVScript,
    WorkDir,
    script_header,
)
from flyte._definition.secret import Secret, secrets_from_request
from flyte.errors import ImageBuildError

IMAGE_ID = "_F_IMG_ID"
"""Variable of a built image that holds its own URI (wire-protocol section 9)."""
VIRTUAL_ENV = "/opt/venv"
USER = "flyte"
HOME = "/home/flyte"
_BROUGHT = "/tmp/flyte-build"  # in the image that is built, where the context's files are mounted
_PIP_CACHE = "--mount=type=cache,id=flyte-pip,target=/root/.cache/pip"
_UV_CACHE = "--mount=type=cache,id=flyte-uv,target=/root/.cache/uv"
_APT_CACHE = "--mount=type=cache,id=flyte-apt,sharing=locked,target=/var/cache/apt"
_APT_INSTALL = (
    "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 "
    "--no-install-recommends"
)
_APT_CLEAN = "rm -rf /var/lib/apt/lists/*"
# The bases of Image.from_debian_base(); what runs in them is not root.
_DEBIAN_BASE = re.compile(r"(ghcr\.io/flyteorg/flyte|python):(py)?3\.\d+.*")


@dataclass(frozen=True, slots=True)
class Source:
    """Something that the build's context holds.

    :param name: where it lies in the context, relative, with ``/``.
    :param path: the file or folder of this machine.
    :param text: or what the file says.
    :param ignoring: what of the folder is left out.
    """

    name: str
    path: Path | None = None
    text: str | None = None
    ignoring: DockerIgnore | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a builder needs.

    :param text: of the Dockerfile.
    :param sources: what the context holds beside it.
    :param secrets: what is mounted while some steps run, by :func:`secret_id`.
    :param context: the folder that is the context as it stands, for an image that has its own Dockerfile.
    """

    text: str
    sources: tuple[Source, ...] = ()
    secrets: tuple[Secret, ...] = ()
    context: Path | None = None


def write_dockerfile(image: Image) -> Recipe:
    """The recipe of ``image`` as a Dockerfile.

    :raises flyte.errors.ImageBuildError: a file that it is made of is not there, or something that a Dockerfile cannot
        say.
    """
    if image.dockerfile is not None:
        image.validate()
        return Recipe(image.dockerfile.read_text(encoding="utf-8"), context=image.dockerfile.resolve().parent)
    writer = _Writer(image)
    layers = order_layers(image._layers, writer.debian)
    if writer.debian and _needs_python_first(layers):
        writer.prepare_python()
    for layer in layers:
        write = _WRITERS.get(type(layer))
        if write is None:
            known = [kind.__name__ for kind in _WRITERS]
            raise ImageBuildError(
                f"a layer of type {type(layer).__name__} cannot be built{nearest(type(layer).__name__, known)}; "
                f"there are {', '.join(known)}"
            )
        write(writer, layer)
    return writer.finish()


def secret_id(secret: Secret) -> str:
    """What a secret is called in the Dockerfile and for the builder; its key, and enough to tell it from others."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', secret.key)}-{secret.stable_hash()[:8]}"


def is_debian_base(image: Image) -> bool:
    """Whether the image stands on one of the bases of ``Image.from_debian_base``."""
    return _DEBIAN_BASE.fullmatch(image.base_image or "") is not None


def order_layers(layers: Sequence[Layer], debian: bool) -> list[Layer]:
    """The layers in the order that they are built in: packages before copied code, where that makes no difference.

    Code changes often and packages take long, so a change of code should not install packages again, nor one of Python
    packages those of Debian, which never need them. Only packages that are named are moved, and over code only where it
    is folders and Python files that go below the work dir, where no installer looks.
    """
    if not debian or any(isinstance(layer, WorkDir) for layer in layers):
        return list(layers)
    ordered: list[Layer] = []
    for layer in layers:
        at = len(ordered)
        if _is_named_packages(layer):
            while at and (_is_code(ordered[at - 1]) or (type(layer) is AptPackages and _is_pip(ordered[at - 1]))):
                at -= 1
        ordered.insert(at, layer)
    return ordered


def _is_named_packages(layer: Layer) -> bool:
    if type(layer) is AptPackages:
        return not any("/" in package for package in layer.packages)
    if type(layer) is PipPackages:
        return not layer.extra_args and not any(re.search(r"[/\\]|^\.", package) for package in layer.packages or ())
    return False


def _is_pip(layer: Layer) -> bool:
    return isinstance(layer, (PipPackages, UVScript))


def _needs_python_first(layers: Sequence[Layer]) -> bool:
    """Whether the virtual environment may come before Debian's packages, so that images with others share it."""
    for layer in layers:
        if isinstance(layer, (PipOption, PoetryProject)):
            return True
        if not isinstance(layer, AptPackages):
            break  # it may say where Python's packages come from
    return False


def _is_code(layer: Layer) -> bool:
    if isinstance(layer, (CopyConfig, Code)) and layer.dst.startswith(("/", "~", "$")):
        return False
    if isinstance(layer, CopyConfig):
        return layer.kind == "folder" or layer.src.suffix == ".py"
    return isinstance(layer, Code)


class _Writer:
    def __init__(self, image: Image) -> None:
        self.image = image
        self.debian = is_debian_base(image)
        self.sources: dict[str, Source] = {}
        self.secrets: dict[str, Secret] = {}
        self.ignoring = next((layer for layer in reversed(image._layers) if isinstance(layer, DockerIgnore)), None)
        self._has_python = False
        self.blocks = [f"FROM {image.base_image}", "USER root"]
        if self.debian:
            self.run(f"id -u {USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {USER}")
            self.blocks.append(f"WORKDIR {HOME}")

    def finish(self) -> Recipe:
        if self.debian:
            self.blocks.append(f"USER {USER}")
        # Last, as it differs with every recipe.
        self.blocks.append(f"ENV {IMAGE_ID}={self.image.uri}")
        text = "\n\n".join(self.blocks) + "\n"
        return Recipe(text, tuple(self.sources.values()), tuple(self.secrets.values()))

    def bring(self, source: Source) -> str:
        self.sources[source.name] = source
        return source.name

    def run(self, command: str, mounts: Iterable[str] = (), secrets: Any = None) -> None:
        options, exports = list(mounts), ""
        for secret in secrets_from_request(secrets):
            name = secret_id(secret)
            self.secrets[name] = secret
            path = f"/run/secrets/{name}"
            target = ""
            if secret.mount is not None:
                path = "/".join(part for part in (str(secret.mount), secret.group, secret.key) if part)
                target = f",target={path}"
            options.append(f"--mount=type=secret,id={name},required=true{target}")
            if secret.as_env_var:
                exports += f'export {secret.as_env_var}="$(cat {path})"; '
        command = exports + command
        # A step is one line of shell; more than one line is passed as a word.
        step = json.dumps(["/bin/sh", "-c", command]) if "\n" in command else command
        self.blocks.append("RUN " + " \\\n    ".join([*options, step]))

    def copy(self, source: str, target: str) -> None:
        owner = f"--chown={USER}:{USER} " if self.debian else ""
        plain = re.fullmatch(r"[^\s\"\[\]]+", source + target) is not None
        self.blocks.append(f"COPY {owner}" + (f"{source} {target}" if plain else json.dumps([source, target])))

    def prepare_python(self) -> None:
        """A virtual environment and uv, which installs into it; once, and only what the base has not."""
        if self._has_python:
            return
        self._has_python = True
        self.blocks.append(
            f"ENV VIRTUAL_ENV={VIRTUAL_ENV} UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_INSTALL_DIR=/opt/python "
            f"PATH={VIRTUAL_ENV}/bin:$PATH"
        )
        major, minor = self.image.python_version
        version = f" --python {major}.{minor}" if self.debian or self.image._python_asked else ""
        own = "/opt/uv"
        self.run(
            "if ! command -v uv >/dev/null; then "
            f"python3 -m venv {own} 2>/dev/null || {{ rm -rf {own} && command -v apt-get >/dev/null && "
            f"{_APT_INSTALL} python3-venv && {_APT_CLEAN} && python3 -m venv {own}; }} || "
            "{ echo 'flyte: the base has neither uv nor a Python 3 with venv; put one of them into it' >&2; exit 1; }; "
            f"{own}/bin/python -m pip install 'uv>=0.5' && ln -s {own}/bin/uv /usr/local/bin/uv; fi && "
            f"{{ [ -x {VIRTUAL_ENV}/bin/python ] || uv venv{version} {VIRTUAL_ENV}; }}",
            [_PIP_CACHE, _UV_CACHE],
        )


# One for each kind of layer -------------------------------------------------------------------------------------------


def _apt(writer: _Writer, layer: AptPackages) -> None:
    packages = " ".join(shlex.quote(package) for package in layer.packages)
    writer.run(f"{_APT_INSTALL} {packages} && {_APT_CLEAN}", [_APT_CACHE], layer.secret_mounts)


def _pip(writer: _Writer, layer: PipPackages) -> None:
    variables = _variables(layer.secret_mounts)
    _install(writer, layer, " ".join(_quote(package, variables) for package in layer.packages or ()))


def _requirements(writer: _Writer, layer: Requirements) -> None:
    source = writer.bring(Source(f"requirements-{layer.describe()['file'][:12]}/requirements.txt", layer.file))
    target = f"{_BROUGHT}/requirements.txt"
    _install(writer, layer, f"--requirement {target}", [_bind(source, target)])


def _script(writer: _Writer, layer: UVScript) -> None:
    header = script_header(layer.script)
    lines = "".join(f"# {line}\n" if line else "#\n" for line in header.splitlines())
    # The header alone, as nothing else of the script counts.
    source = writer.bring(Source(f"script-{_digest(header)}/script.py", text=f"# /// script\n{lines}# ///\n"))
    target = f"{_BROUGHT}/script.py"
    _install(writer, layer, f"--requirement {target}", [_bind(source, target)])


def _wheels(writer: _Writer, layer: PythonWheels) -> None:
    wheels = layer.describe()["wheels"]
    folder = f"wheels-{_digest(wheels)}"
    for name in wheels:
        writer.bring(Source(f"{folder}/{name}", layer.wheel_dir / name))
    target = f"{_BROUGHT}/wheels"
    # First the wheel itself, whatever an index has under its name; then what it depends on.
    package = shlex.quote(layer.package_name)
    writer.prepare_python()
    writer.run(
        f"uv pip install --no-index --find-links {target} --no-deps --prerelease=allow --reinstall-package {package} "
        f"{package}",
        [_UV_CACHE, _bind(folder, target)],
    )
    _install(writer, layer, f"--find-links {target} {package}", [_bind(folder, target)])


def _install(writer: _Writer, layer: PipOption, what: str, mounts: Sequence[str] = ()) -> None:
    variables = _variables(layer.secret_mounts)
    writer.prepare_python()
    command = ["uv pip install", *_index_options(layer, variables)]
    command += ["--prerelease=allow"] if layer.pre else []
    command += [layer.extra_args] if layer.extra_args else []
    writer.run(" ".join([*command, what]), [_UV_CACHE, *mounts], layer.secret_mounts)


def _index_options(layer: PipOption, variables: Sequence[str]) -> list[str]:
    options = [f"--index-url {_quote(layer.index_url, variables)}"] if layer.index_url else []
    return options + [f"--extra-index-url {_quote(url, variables)}" for url in layer.extra_index_urls or ()]


def _uv_project(writer: _Writer, layer: UVProject) -> None:
    writer.prepare_python()
    options = _index_options(layer, _variables(layer.secret_mounts))
    options += ["--prerelease=allow"] if layer.pre else []
    extra = layer.extra_args or ""
    # A lock file says which packages; without one they are looked for anew.
    with_project = layer.project_install_mode == "install_project"
    if layer.uvlock is not None:
        # What the lock says, even where the project's own files, which decide whether it is up to date, are not here.
        strict = "" if {"--locked", "--frozen"} & set(extra.split()) else "--frozen "
        skipped = "" if with_project else "--no-install-project "
        install = f"UV_PROJECT_ENVIRONMENT={VIRTUAL_ENV} uv sync --inexact --no-dev {strict}{skipped}"
    else:
        install = "uv pip install . " if with_project else "uv pip install --requirement pyproject.toml "
    command = " ".join([install.strip(), *options, *([extra] if extra else [])])
    locks = {"uv.lock": layer.uvlock} if layer.uvlock is not None else {}
    _install_project(writer, layer, layer.pyproject, locks, with_project, command, layer.secret_mounts)


def _poetry_project(writer: _Writer, layer: PoetryProject) -> None:
    writer.prepare_python()
    with_project = layer.project_install_mode == "install_project"
    extra = layer.extra_args or ""
    groups = {"--only", "--with", "--without", "--all-groups", "--only-root"}
    # Poetry itself is thrown away with the step, so compiling it is for nothing.
    variables = "POETRY_VIRTUALENVS_CREATE=false UV_COMPILE_BYTECODE=0"
    command = f"{variables} uv tool run --from 'poetry>=2' poetry install --no-interaction"
    command += "" if with_project else " --no-root"
    command += "" if any(word.split("=")[0] in groups for word in extra.split()) else " --only main"
    command += f" {extra}" if extra else ""
    locks = {"poetry.lock": layer.poetry_lock}
    _install_project(writer, layer, layer.pyproject, locks, with_project, command, layer.secret_mounts)


def _install_project(
    writer: _Writer,
    layer: Layer,
    pyproject: Path,
    locks: dict[str, Path],
    with_project: bool,
    command: str,
    secrets: Any,
) -> None:
    described = layer.describe()
    digest = _digest([described["pyproject"], described["lock"], described.get("project")])
    folder = f"project-{digest}"
    if with_project:
        # It stays in the image, as an installed project may be linked to where it lies.
        writer.bring(Source(folder, pyproject.parent, ignoring=writer.ignoring))
        target = f"/opt/project-{digest}"
        writer.copy(f"{folder}/", f"{target}/")
        if any(path.resolve().parent != pyproject.resolve().parent for path in locks.values()):
            for name, path in locks.items():
                writer.copy(writer.bring(Source(f"lock-{digest}/{name}", path)), f"{target}/{name}")
        writer.run(f"cd {target} && {command}", [_UV_CACHE, _PIP_CACHE], secrets)
        return
    for name, path in {"pyproject.toml": pyproject, **locks}.items():
        writer.bring(Source(f"{folder}/{name}", path))
    mounted, work = f"{_BROUGHT}/project", f"{_BROUGHT}-project"
    # Installers write beside the project's file, and what is mounted cannot be written to.
    writer.run(
        f"cp -r {mounted} {work} && cd {work} && {command} && cd / && rm -rf {work}",
        [_UV_CACHE, _PIP_CACHE, _bind(folder, mounted)],
        secrets,
    )


def _commands(writer: _Writer, layer: Commands) -> None:
    for command in layer.commands:
        writer.run(command, secrets=layer.secret_mounts)


def _env(writer: _Writer, layer: Env) -> None:
    pairs = []
    for name, value in layer.env_vars:
        if "\n" in value or "\r" in value:
            raise ImageBuildError(
                f"the image's environment variable {name} has more than one line, which a Dockerfile cannot say; set "
                "it on the task's environment with env_vars"
            )
        # $ stays, as one variable may use another; a backslash before it keeps it as it is.
        escaped = re.sub(r'\\(?!\$)|"', lambda found: "\\" + found.group(), value)
        pairs.append(f'{name}="{escaped}"')
    # One line each: within one ENV, a variable does not see those beside it.
    writer.blocks.append("\n".join(f"ENV {pair}" for pair in pairs))


def _workdir(writer: _Writer, layer: WorkDir) -> None:
    path = layer.workdir
    if writer.debian and re.fullmatch(r"[A-Za-z0-9_./-]+", path):
        # A folder that WORKDIR makes belongs to root, and whoever runs in it could not write to it.
        writer.run(f"[ -e {path} ] || {{ mkdir -p {path} && chown {USER}:{USER} {path}; }}")
    writer.blocks.append(f"WORKDIR {path}")


def _copy(writer: _Writer, layer: CopyConfig) -> None:
    content = layer.describe(writer.ignoring)["content"][:12]
    into = _folder(layer.dst)
    if layer.kind == "file":
        source = writer.bring(Source(f"file-{content}/{layer.src.name}", layer.src))
        writer.copy(source, into)
    else:
        writer.bring(Source(f"folder-{content}", layer.src, ignoring=writer.ignoring))
        writer.copy(f"folder-{content}/", into)


def _code(writer: _Writer, layer: Code) -> None:
    if layer.root is None:
        return  # the code travels beside the image
    folder = f"code-{_digest(layer.describe()['files'])}"
    for name in layer.files:
        writer.bring(Source(f"{folder}/{name}", layer.root / name))
    if layer.files:
        writer.copy(f"{folder}/", _folder(layer.dst))


def _dockerignore(_writer: _Writer, _layer: DockerIgnore) -> None:
    """Nothing: it says what of folders goes into the context."""


_WRITERS: dict[type[Layer], Callable[[_Writer, Any], None]] = {
    AptPackages: _apt,
    Code: _code,
    Commands: _commands,
    CopyConfig: _copy,
    DockerIgnore: _dockerignore,
    Env: _env,
    PipPackages: _pip,
    PoetryProject: _poetry_project,
    PythonWheels: _wheels,
    Requirements: _requirements,
    UVProject: _uv_project,
    UVScript: _script,
    WorkDir: _workdir,
}


def _folder(path: str) -> str:
    return (path or ".").rstrip("/") + "/"


def _bind(source: str, target: str) -> str:
    return f"--mount=type=bind,source={source},target={target}"


def _variables(secrets: Any) -> list[str]:
    return [secret.as_env_var for secret in secrets_from_request(secrets) if secret.as_env_var]


def _quote(text: str, variables: Sequence[str]) -> str:
    """``text`` as one word of the shell, in which the variables of secrets, and no others, are filled in."""
    found = shlex.quote(text)
    for name in variables:
        value = f"'\"${{{name}}}\"'"
        found = re.sub(rf"\$\{{{name}\}}|\${name}(?![A-Za-z0-9_])", value, found)
    return found


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
