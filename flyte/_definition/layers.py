"""The layers of an image: what each puts in, and a description of it that is the same on every machine.

A description holds what decides the content of the layer: the bytes of files, never their place or time on this
machine; the names of secrets, never their values. `image` makes the tag of it. Files are read when a description is
asked for, not when a layer is made: in a container, where an image is already there, the files are not.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from flyte.errors import ImageBuildError

from .dockerignore import IgnorePatterns, patterns_for
from .secret import Secret, SecretRequest, secrets_from_request

ProjectInstallMode: TypeAlias = Literal["dependencies_only", "install_project"]

Description: TypeAlias = dict[str, Any]
"""What decides a layer's content, in JSON's types; its ``layer`` is a name that never changes its meaning."""

NEVER_COPIED = frozenset({"__pycache__", ".git", ".hg", ".svn", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
"""Folders that differ between machines and belong to no image; a builder leaves them out as well."""


_PIECE_BYTES = 1 << 16


class ImageFileError(ImageBuildError, FileNotFoundError):
    """A file or folder that an image is made of is not there, or cannot be read; it has its first parent's code."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = ImageBuildError.__name__


@dataclass(frozen=True, slots=True)
class Layer:
    """One step that makes an image of another; use one of the classes below."""

    def describe(self) -> Description:
        """What decides the content of the layer.

        :raises flyte.errors.ImageBuildError: a file that it is made of is not there.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement describe()")

    def validate(self) -> None:
        """Check that everything is there that the layer is made of.

        :raises flyte.errors.ImageBuildError: it is not; the message names the file.
        """
        self.describe()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipOption(Layer):
    """How Python packages are looked for.

    :param index_url: index to use instead of PyPI.
    :param extra_index_urls: indexes to use beside it.
    :param pre: whether pre-releases count.
    :param extra_args: further arguments of the installer.
    :param secret_mounts: secrets that are readable while it runs.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] | None = None
    pre: bool = False
    extra_args: str | None = None
    secret_mounts: tuple[str | Secret, ...] | None = None

    def describe_options(self) -> Description:
        """The part of the description that all installers share."""
        return {
            "index_url": self.index_url,
            "extra_index_urls": list(self.extra_index_urls or ()),
            "pre": self.pre,
            "extra_args": self.extra_args,
            "secrets": secret_names(self.secret_mounts),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PipPackages(PipOption):
    """Python packages, by requirement."""

    packages: tuple[str, ...] | None = None

    def describe(self) -> Description:
        return {"layer": "pip", "packages": list(self.packages or ()), **self.describe_options()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements(PipPackages):
    """Python packages, from a requirements file."""

    file: Path

    def describe(self) -> Description:
        return {"layer": "requirements", "file": hash_of_file(self.file), **self.describe_options()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonWheels(PipOption):
    """A Python package, from wheels in a folder of this machine."""

    wheel_dir: Path
    package_name: str

    def describe(self) -> Description:
        wheels = sorted(self.wheel_dir.glob("*.whl")) if self.wheel_dir.is_dir() else []
        if not wheels:
            raise ImageBuildError(
                f"there is no wheel of {self.package_name!r} in {self.wheel_dir}; build one first, such as with "
                "'python -m build --wheel'"
            )
        hashes = {wheel.name: hash_of_file(wheel) for wheel in wheels}
        return {"layer": "wheels", "package": self.package_name, "wheels": hashes, **self.describe_options()}


@dataclass(frozen=True, slots=True)
class UVProject(PipOption):
    """The dependencies of a uv project, or the project itself."""

    pyproject: Path
    uvlock: Path | None = None
    project_install_mode: ProjectInstallMode = "dependencies_only"

    def describe(self) -> Description:
        return {
            "layer": "uv_project",
            **_describe_project(self.pyproject, self.uvlock, self.project_install_mode),
            **self.describe_options(),
        }


@dataclass(frozen=True, slots=True)
class PoetryProject(Layer):
    """The dependencies of a Poetry project, or the project itself."""

    pyproject: Path
    poetry_lock: Path
    extra_args: str | None = None
    project_install_mode: ProjectInstallMode = "dependencies_only"
    secret_mounts: tuple[str | Secret, ...] | None = None

    def describe(self) -> Description:
        return {
            "layer": "poetry_project",
            **_describe_project(self.pyproject, self.poetry_lock, self.project_install_mode),
            "extra_args": self.extra_args,
            "secrets": secret_names(self.secret_mounts),
        }


@dataclass(frozen=True, slots=True)
class UVScript(PipOption):
    """The dependencies that a script names in its header (PEP 723)."""

    script: Path

    def describe(self) -> Description:
        # The body of the script does not come into the layer, so it does not count.
        return {"layer": "uv_script", "header": script_header(self.script), **self.describe_options()}


@dataclass(frozen=True, slots=True)
class AptPackages(Layer):
    """Debian packages."""

    packages: tuple[str, ...]
    secret_mounts: tuple[str | Secret, ...] | None = None

    def describe(self) -> Description:
        return {"layer": "apt", "packages": list(self.packages), "secrets": secret_names(self.secret_mounts)}


@dataclass(frozen=True, slots=True)
class Commands(Layer):
    """Shell commands."""

    commands: tuple[str, ...]
    secret_mounts: tuple[str | Secret, ...] | None = None

    def describe(self) -> Description:
        return {"layer": "commands", "commands": list(self.commands), "secrets": secret_names(self.secret_mounts)}


@dataclass(frozen=True, slots=True)
class Env(Layer):
    """Environment variables; in the order given, as one may use another."""

    env_vars: tuple[tuple[str, str], ...] = ()

    def describe(self) -> Description:
        return {"layer": "env", "variables": [list(pair) for pair in self.env_vars]}


@dataclass(frozen=True, slots=True)
class WorkDir(Layer):
    """The folder that commands start in."""

    workdir: str

    def describe(self) -> Description:
        return {"layer": "workdir", "path": self.workdir}


@dataclass(frozen=True, slots=True)
class DockerIgnore(Layer):
    """The file that says what of copied folders is left out."""

    path: str

    def describe(self) -> Description:
        return {"layer": "dockerignore", "file": hash_of_file(Path(self.path))}

    def patterns(self, folder: Path) -> IgnorePatterns:
        """What it leaves out of ``folder``.

        :raises flyte.errors.ImageBuildError: there is no such file.
        """
        try:
            return patterns_for(Path(self.path), folder)
        except OSError as error:
            raise ImageFileError(
                f"the file {self.path} of the image's recipe cannot be read ({error.strerror})"
            ) from error


@dataclass(frozen=True, slots=True)
class CopyConfig(Layer):
    """A file or folder of this machine.

    :param kind: which of the two.
    :param src: where it is.
    :param dst: where it goes, relative to the work dir unless absolute.
    """

    kind: Literal["file", "folder"]
    src: Path
    dst: str

    def describe(self, ignoring: "DockerIgnore | None" = None) -> Description:
        content: Any = hash_of_file(self.src) if self.kind == "file" else hash_of_folder(self.src, ignoring)
        # A folder's own name is in `dst` where it matters; a file keeps its name.
        name = self.src.name if self.kind == "file" else None
        return {"layer": "copy", "kind": self.kind, "name": name, "dst": self.dst, "content": content}


@dataclass(frozen=True, slots=True)
class Code(Layer):
    """The code of the project, where a run sends none along; what it is follows from the run's root folder.

    :param copy_style: ``"loaded_modules"`` or ``"all"``.
    :param dst: folder it goes to, relative to the work dir unless absolute.
    :param root: the root folder; None until a run or a build says which.
    :param files: of it, where they lie below ``root``.
    """

    copy_style: Literal["loaded_modules", "all"]
    dst: str = "."
    root: Path | None = None
    files: tuple[str, ...] = ()

    def describe(self) -> Description:
        contents = [[name, hash_of_file(self.root / name)] for name in self.files] if self.root is not None else None
        return {"layer": "code", "style": self.copy_style, "dst": self.dst, "files": contents}


def secret_names(mounts: SecretRequest | Iterable[str | Secret] | None) -> list[list[str | None]]:
    """What of secret mounts decides an image: which they are and where they are found."""
    return [
        [secret.key, secret.group, None if secret.mount is None else str(secret.mount), secret.as_env_var]
        for secret in secrets_from_request(mounts)
    ]


def _describe_project(pyproject: Path, lock: Path | None, mode: ProjectInstallMode) -> Description:
    described: Description = {
        "mode": mode,
        "pyproject": hash_of_file(pyproject),
        "lock": None if lock is None else hash_of_file(lock),
    }
    if mode == "install_project":
        described["project"] = hash_of_folder(pyproject.parent)
    return described


def hash_of_file(path: str | Path) -> str:
    """sha256 of the file's bytes, in hex.

    :raises flyte.errors.ImageBuildError: there is no such file.
    """
    import hashlib  # loads OpenSSL, which a program that only declares an image does not need

    try:
        with open(path, "rb", buffering=0) as stream:
            first = stream.read(_PIECE_BYTES)
            if len(first) < _PIECE_BYTES:
                return hashlib.sha256(first).hexdigest()  # most are small, and file_digest costs more than they do
            stream.seek(0)
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ImageFileError(
            f"the file {path} of the image's recipe cannot be read ({error.strerror}); it is looked for from "
            f"{Path.cwd()}"
        ) from error


def hash_of_folder(path: Path, ignoring: DockerIgnore | None = None) -> str:
    """sha256 over the names, bytes and executable bits of the files below ``path``, in hex.

    What is in :data:`NEVER_COPIED`, compiled Python files, and what ``ignoring`` leaves out, do not count.

    :raises flyte.errors.ImageBuildError: there is no such folder, or a file in it cannot be read.
    """
    import hashlib

    if not path.is_dir():
        raise ImageFileError(
            f"the folder {path} of the image's recipe is not there; it is looked for from {Path.cwd()}"
        )
    whole = hashlib.sha256()
    for name, found in _walk(path, ignoring):
        if os.path.islink(found):
            kind, content = "link", os.readlink(found)
        else:
            kind, content = "program" if os.access(found, os.X_OK) else "file", hash_of_file(found)
        # Lengths first, so that no two trees read the same.
        for part in (name, kind, content):
            encoded = part.encode("utf-8", "surrogateescape")
            whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.hexdigest()


def files_below(root: Path, ignoring: DockerIgnore | None = None) -> Iterator[tuple[str, Path]]:
    """The files below ``root`` that belong to an image, and links: their names relative to it, sorted, and paths."""
    return ((name, Path(path)) for name, path in _walk(root, ignoring))


def _walk(root: Path, ignoring: DockerIgnore | None) -> list[tuple[str, str]]:
    patterns = ignoring.patterns(root) if ignoring is not None else None
    found: list[tuple[str, str]] = []
    waiting = [(os.fspath(root), "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:
            continue  # as os.walk: what may not be looked into holds nothing
        for entry in entries:
            name = entry.name
            if name in NEVER_COPIED:
                continue
            relative = prefix + name
            left_out = patterns is not None and patterns.ignores(relative)
            # Links to folders are not walked into; they count as what they point to by name.
            if entry.is_dir(follow_symlinks=False):
                if patterns is None or patterns.takes_back or not left_out:
                    waiting.append((entry.path, f"{relative}/"))
            elif not left_out and not name.endswith((".pyc", ".pyo")) and (entry.is_symlink() or entry.is_file()):
                found.append((relative, entry.path))  # not a pipe or a socket, which has no content to read
    return sorted(found)


# The regular expression that PEP 723 gives as the reference.
_HEADER = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"


def script_header(script: Path) -> str:
    """The text of the ``script`` block in a script's header (PEP 723).

    :raises flyte.errors.ImageBuildError: there is no such file, or not exactly one block in it.
    """
    try:
        text = script.read_text(encoding="utf-8")
    except OSError as error:
        raise ImageFileError(f"the script {script} cannot be read ({error.strerror})") from error
    blocks = [found["content"] for found in re.finditer(_HEADER, text) if found["type"] == "script"]
    if len(blocks) != 1:
        raise ImageBuildError(
            f"the script {script} has {len(blocks)} dependency headers, not one; write it between '# /// script' and "
            "'# ///', each line of it starting with '# ' (PEP 723)"
        )
    return "".join(line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines(keepends=True))
