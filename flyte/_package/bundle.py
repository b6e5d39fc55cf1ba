"""Building code bundles: the files that travel, as one archive whose name and version follow from its content.

Called when a run or a deployment is prepared. Stores nothing anywhere but in a local folder.
"""

import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from flyte._core.code_bundle import CodeBundle
from flyte._core.home import home_dir
from flyte._core.log import logger
from flyte.errors import CodeBundleError

from .archive import LEVEL, GzipWriter, write_archive
from .download import download_code_bundle as download_code_bundle  # flyte.extend hands it on from here
from .files import ChosenFile, CopyStyle, Selection, choose_files, describe_file, import_folders, loaded_modules
from .ignoring import holds_secret
from .local_imports import Import, LocalModules, certain, glance

_KEY_FILE_BYTES = 256 * 1024  # larger files hold data; a key has a few thousand bytes
_KEPT_BYTES = 64 * 1024 * 1024  # content that is read for the checks and kept for the archive
_PIECE_BYTES = 1 << 20
_FORMAT = 2
_CLOCK_STEP_NS = 50_000_000  # of file times: a file may change again within one step of the kernel's clock


def build_bundle(
    root: str | Path,
    folder: str | Path,
    *,
    style: CopyStyle = "loaded_modules",
    include: Sequence[str] = (),
    allow_secrets: bool = False,
    in_image: Collection[str] = (),
    destination: str = ".",
    state_folder: str | Path | None = None,
) -> CodeBundle:
    """Pack a project into ``folder/fast<digest>.tar.gz``.

    The archive's bytes depend on the files' paths, contents and executable bits only; its version is their md5. If
    nothing has changed since the last call, the archive of then is handed out without reading any file.

    :param root: the folder that module names are relative to.
    :param folder: where the archive is put; made if absent.
    :param style: see :func:`flyte._package.files.choose_files`.
    :param include: further files, folders and globs.
    :param allow_secrets: let files travel that look like secrets.
    :param in_image: top-level modules that the image brings: importing them is no error though they do not travel.
    :param destination: where it is to be unpacked.
    :param state_folder: keeps what is known of the files; default ``local`` in ``$FLYTE_HOME`` or ``~/.flyte``.
    :raises CodeBundleError: nothing to pack, a secret that nobody asked for, a local import that would not travel; no
        archive is made.
    """
    selection, project = examine(
        root, style=style, include=include, allow_secrets=allow_secrets, in_image=in_image, state_folder=state_folder
    )
    where = os.path.abspath(folder)
    archive, version = project.archive(selection, where)
    return CodeBundle(
        computed_version=version, destination=destination, tgz=archive, files=[f.path for f in selection.files]
    )


def examine(
    root: str | Path,
    *,
    style: CopyStyle = "loaded_modules",
    include: Sequence[str] = (),
    allow_secrets: bool = False,
    in_image: Collection[str] = (),
    state_folder: str | Path | None = None,
) -> "tuple[Selection, _Project]":
    """Choose what travels and check it, as :func:`build_bundle` does, but make nothing."""
    selection = choose_files(root, style, include)
    if not selection.files:
        raise CodeBundleError(
            f"nothing to bundle in {selection.root} with copy style {style!r}"
            + ("; give include, or run without a bundle" if style == "none" else "; check root and the ignore files")
        )
    if selection.secrets and not allow_secrets:
        _refuse_secrets([f.path for f in selection.secrets])
    project = _Project(selection.root, state_folder)
    selection = project.check(selection, style, allow_secrets, in_image)
    return selection, project


def _refuse_secrets(paths: list[str]) -> None:
    raise CodeBundleError(
        f"these files look like secrets and would travel with the code: {', '.join(paths)}. Name them in .flyteignore "
        "and use flyte.Secret; or, if they are meant, name each in include of the environment (flyte bundle: "
        "--include, or --allow-secrets for all)"
    )


class _Project:
    """What is known of a project's files from the last time, and what was read this time."""

    def __init__(self, root: str, state_folder: str | Path | None) -> None:
        self._root = root
        state = Path(state_folder or home_dir() / "local")
        self._path = state / "bundles" / f"{hashlib.md5(os.fsencode(root), usedforsecurity=False).hexdigest()}.json"
        self._known: dict[str, Any] = {"format": _FORMAT, "files": {}, "archives": {}}
        try:
            known = json.loads(self._path.read_bytes())
            if isinstance(known, dict) and known.get("format") == _FORMAT:
                self._known = known
        except (OSError, ValueError):  # none yet, or damaged: then everything is read again
            pass
        self._read: dict[str, bytes] = {}
        self._kept_bytes = 0
        self._changed = False
        self._before_ns = time.time_ns()

    def _content(self, file: ChosenFile) -> bytes:
        if (content := self._read.get(file.path)) is None:
            with open(file.source, "rb") as opened:
                content = opened.read()
            if self._kept_bytes + len(content) <= _KEPT_BYTES:
                self._read[file.path] = content
                self._kept_bytes += len(content)
        return content

    def _facts(self, file: ChosenFile) -> tuple[list[Import], bool]:
        """What the file seems to import, and whether it holds a secret."""
        stamp = [file.size_bytes, file.mtime_ns, file.ctime_ns]
        known = self._known["files"].get(file.path)
        if known is not None and known[0] == stamp:
            return [(i[0], i[1], tuple(i[2])) for i in known[1]], known[2]
        is_python = file.path.endswith(".py")
        imports: list[Import] = []
        key = False
        if is_python or file.size_bytes <= _KEY_FILE_BYTES:
            content = self._content(file)
            imports = glance(content) if is_python else []
            key = holds_secret(content)
        self._changed = True
        self._known["files"][file.path] = [stamp, imports, key]
        return imports, key

    def check(self, chosen: Selection, style: CopyStyle, allow_secrets: bool, in_image: Collection[str]) -> Selection:
        """Refuse secrets and imports that would not travel; add what loaded modules import.

        :raises CodeBundleError: naming the files.
        """
        travels = {f.path: f for f in chosen.files}
        modules = LocalModules(self._root, import_folders(self._root))
        waiting = list(chosen.files)
        keys: list[str] = []
        stranded: dict[str, str] = {}
        while waiting:
            file = waiting.pop()
            imports, key = self._facts(file)
            if key and not file.asked_for:
                keys.append(file.path)
            if any(
                path not in travels for statement in imports for path in modules.files_of(file.path, statement)
            ) or any(modules.outside(statement) for statement in imports):
                for statement in certain(self._content(file), guarded=style == "loaded_modules"):
                    if statement[1].partition(".")[0] in in_image and not statement[0]:
                        continue
                    for path in modules.files_of(file.path, statement):
                        if path in travels:
                            continue
                        if style == "loaded_modules":
                            travels[path] = describe_file(self._root, path, f"imported by {file.path}")
                            waiting.append(travels[path])
                        else:
                            stranded[path] = file.path
                for statement in certain(self._content(file), guarded=False):
                    if statement[1].partition(".")[0] not in in_image and not modules.files_of(file.path, statement):
                        outside = modules.outside(statement)
                        if outside is not None:
                            stranded[outside] = file.path
        if keys and not allow_secrets:
            _refuse_secrets(sorted(keys))
        if stranded:
            why = {x.path: x.reason for x in chosen.left_out}
            lines = [
                f"{path}, imported by {importer}: {_reason(path, why)}" for path, importer in sorted(stranded.items())
            ]
            raise CodeBundleError(
                "these local modules are imported but would not travel with the code:\n  "
                + "\n  ".join([*lines, *_remedies(stranded)])
            )
        if len(travels) == len(chosen.files):
            return chosen
        left_out = tuple(x for x in chosen.left_out if x.path not in travels)
        files = Selection(self._root, tuple(travels[p] for p in sorted(travels)), left_out)
        if files.secrets and not allow_secrets:
            _refuse_secrets([f.path for f in files.secrets])
        return files

    def archive(self, selection: Selection, folder: str) -> tuple[str, str]:
        """Path and version of the archive in ``folder``; of the last one if that still holds."""
        fingerprint = _fingerprint(selection, folder)
        made = self._known["archives"].get(fingerprint)
        if made is not None and _stamp(made[0]) == made[2]:
            if self._changed:
                self._keep(selection)
            return made[0], made[1]
        os.makedirs(folder, exist_ok=True)
        unfinished, unfinished_path = tempfile.mkstemp(dir=folder, suffix=".part")
        try:
            with open(unfinished, "wb") as file:
                members = ((f.path, f.executable, f.size_bytes, self._pieces(f)) for f in selection.files)
                digest, version = write_archive(file, members)
            path = os.path.join(folder, f"fast{digest}.tar.gz")
            os.chmod(unfinished_path, 0o644)
            os.replace(unfinished_path, path)
        except (OSError, ValueError) as error:
            os.unlink(unfinished_path)
            raise CodeBundleError(f"cannot bundle {self._root}: {error}") from error
        newest = max(max(f.mtime_ns, f.ctime_ns) for f in selection.files)
        if newest < self._before_ns - _CLOCK_STEP_NS:
            archives = {k: v for k, v in self._known["archives"].items() if k != fingerprint}
            recent = list(archives.items())[-7:]
            self._known["archives"] = {**dict(recent), fingerprint: [path, version, _stamp(path)]}
            self._keep(selection)
        return path, version

    def _pieces(self, file: ChosenFile) -> Iterator[bytes]:
        if (content := self._read.pop(file.path, None)) is not None:
            yield content
            return
        with open(file.source, "rb") as opened:
            while piece := opened.read(_PIECE_BYTES):
                yield piece

    def _keep(self, selection: Selection) -> None:
        there = self._known["files"]
        known = {**self._known, "files": {f.path: there[f.path] for f in selection.files if f.path in there}}
        unfinished = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps(known))
            os.replace(unfinished, self._path)
        except OSError as error:  # without it the next bundle is slower, not wrong
            logger.debug("cannot keep what is known of %s: %s", self._root, error)


def _remedies(stranded: Iterable[str]) -> Iterator[str]:
    are_outside = {os.path.isabs(path) for path in stranded}
    if False in are_outside:
        yield (
            "Name them in include of the environment (flyte bundle: --include), take them in with '!path' in "
            ".flyteignore, or leave out the files that import them"
        )
    if True in are_outside:
        yield (
            "Choose a root that holds what is outside of it (root_dir, --root-dir), or put it below the root"
            " (flyte bundle: or --in-image MODULE, if the image brings it)"
        )


def _reason(path: str, why: dict[str, str]) -> str:
    if os.path.isabs(path):
        return "outside of the root"
    at = path
    while at:
        if at in why:
            return f"left out: {why[at]}"
        at = at.rstrip("/").rpartition("/")[0]
        at = f"{at}/" if at else ""
    return "not chosen"


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _fingerprint(selection: Selection, folder: str) -> str:
    parts = [f"{_FORMAT} {LEVEL} {folder}"]
    parts += [f"{f.path}\0{f.source}\0{f.size_bytes} {f.mtime_ns} {f.ctime_ns} {f.executable}" for f in selection.files]
    return hashlib.md5("\n".join(parts).encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


_BY_VALUE = threading.Lock()  # which modules are pickled by value is state of the process


def build_pickled_bundle(
    task: Any, folder: str | Path, *, root: str | Path | None = None, destination: str = "."
) -> CodeBundle:
    """Pack one task, as a notebook has it, into ``folder/<version>/code_bundle.pkl.gz``.

    :param task: what is pickled, by cloudpickle; local modules that it uses travel inside.
    :param folder: where the pickle is put; made if absent.
    :param root: modules loaded from below it are local; default the working folder.
    :param destination: where it is to be put on the machine that runs it.
    :raises CodeBundleError: something that the task refers to cannot be pickled.
    """
    import sys

    import cloudpickle as untyped

    cloudpickle: Any = untyped

    top = os.path.abspath(root or ".")
    with _BY_VALUE:
        already = cloudpickle.list_registry_pickle_by_value()
        local = [
            sys.modules[name] for _, name in loaded_modules(top) if name != "__main__" and name not in already
            and name.partition(".")[0] != "flyte"
        ]  # fmt: skip
        local = [m for m in local if m.__name__ in sys.modules]
        for module in local:
            cloudpickle.register_pickle_by_value(module)
        try:
            content: bytes = cloudpickle.dumps(task)
        except Exception as error:  # a user's __reduce__ may raise anything
            raise CodeBundleError(f"cannot pickle {task!r}: {type(error).__name__}: {error}") from error
        finally:
            for module in local:
                cloudpickle.unregister_pickle_by_value(module)

    def write(file: BinaryIO) -> str:
        with GzipWriter(file) as packed:
            packed.write(content)
            return packed.close()

    path, version = _put(os.path.abspath(folder), write)
    return CodeBundle(computed_version=version, destination=destination, pkl=path)


def _put(folder: str, write: Callable[[BinaryIO], str]) -> tuple[str, str]:
    os.makedirs(folder, exist_ok=True)
    unfinished, unfinished_path = tempfile.mkstemp(dir=folder, suffix=".part")
    with open(unfinished, "wb") as file:
        version = write(file)
    path = os.path.join(folder, version, "code_bundle.pkl.gz")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.chmod(unfinished_path, 0o644)
    os.replace(unfinished_path, path)
    return path, version
