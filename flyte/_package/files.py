"""Which files of a project travel in its code bundle, and why.

Called by the bundle builder and by ``flyte bundle --explain``. Reads names and sizes only, never contents.
"""

import contextlib
import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from flyte.errors import CodeBundleError

from .ignoring import (
    IgnoreRules,
    file_left_out,
    folder_left_out,
    has_secret_name,
    is_installed,
    is_pattern,
    rules_above,
)

CopyStyle = Literal["loaded_modules", "all", "none"]


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """One file that travels.

    :param path: where it lies in the bundle, relative, with ``/``.
    :param source: where it lies on this machine.
    :param reason: why it was chosen.
    :param asked_for: it was named itself, so secrets in it are meant.
    :param leads_to: where it really lies, if a link leads there.
    """

    path: str
    source: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    executable: bool
    reason: str
    asked_for: bool = False
    leads_to: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder (its path ends with ``/``) that does not travel, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What goes into a bundle, what does not, and why.

    :param root: the folder that paths are relative to.
    :param files: sorted by path.
    :param left_out: sorted by path; a folder stands for all below it.
    """

    root: str
    files: tuple[ChosenFile, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files, uncompressed."""
        return sum(f.size_bytes for f in self.files)

    @property
    def secrets(self) -> tuple[ChosenFile, ...]:
        """The files whose names say that they hold secrets, unless named themselves; a bundle refuses them."""
        return tuple(
            f
            for f in self.files
            if not f.asked_for
            and (
                has_secret_name(f.path)
                or (f.leads_to is not None and has_secret_name("/".join(f.leads_to.split(os.sep)[-2:])))
            )
        )

    def largest(self, count: int = 10) -> tuple[ChosenFile, ...]:
        """The ``count`` largest files, largest first."""
        return tuple(sorted(self.files, key=lambda f: (-f.size_bytes, f.path))[:count])

    def explain(self) -> str:
        """All of it as text: files with reasons, the ten largest, what was left out, what would be refused."""
        lines = [f"{len(self.files)} files, {self.size_bytes:,} bytes, from {self.root}"]
        lines += [f"  {f.path}  {f.size_bytes:,} bytes  ({f.reason})" for f in self.files]
        lines += ["largest:", *(f"  {f.size_bytes:,} bytes  {f.path}" for f in self.largest())]
        lines += ["left out:", *(f"  {x.path}  ({x.reason})" for x in self.left_out)]
        if secrets := self.secrets:
            lines += ["refused, may hold secrets:", *(f"  {f.path}" for f in secrets)]
        return "\n".join(lines)


def choose_files(root: str | Path, style: CopyStyle = "loaded_modules", include: Sequence[str] = ()) -> Selection:
    """Choose what travels.

    :param root: the folder that module names are relative to.
    :param style: ``"loaded_modules"``: the modules this process has loaded from below ``root``; ``"all"``: all files
        below it that neither ``.gitignore`` nor ``.flyteignore`` names; ``"none"``: only what ``include`` names.
    :param include: further files, folders and globs, relative to ``root`` or absolute below it. Ignore files do not
        apply to them, and a file that is named itself may hold secrets.
    :raises ValueError: an unknown style.
    :raises CodeBundleError: no such root; an include that is outside it or names nothing; an unreadable ignore file.
    """
    if style not in get_args(CopyStyle):
        raise ValueError(f"copy style {style!r} is not known; it is one of {', '.join(get_args(CopyStyle))}")
    if isinstance(include, str):
        raise TypeError(f"include takes a list of paths, but got the string {include!r}")
    top = os.path.abspath(root)
    if not os.path.isdir(top):
        raise CodeBundleError(f"cannot bundle {top}: it is not a folder; give the folder that the code is in")
    chosen: dict[str, ChosenFile] = {}
    left_out: list[LeftOut] = []
    try:
        if style == "all":
            rules, above = rules_above(top)
            _walk(top, "", rules, above, chosen, left_out, "in the project", (os.path.realpath(top),))
        elif style == "loaded_modules":
            for path, module in loaded_modules(top):
                with contextlib.suppress(FileNotFoundError):  # loaded from an archive, or deleted since
                    chosen[path] = describe_file(top, path, f"module {module} is loaded")
        for pattern in include:
            _include(top, pattern, chosen, left_out)
    except (OSError, ValueError) as error:
        raise CodeBundleError(f"cannot bundle {top}: {error}") from error
    files = tuple(chosen[path] for path in sorted(chosen))
    return Selection(top, files, tuple(sorted({x for x in left_out if x.path not in chosen}, key=lambda x: x.path)))


def explain_left_out(selection: Selection) -> tuple[LeftOut, ...]:
    """What is below the root and does not travel, and why, whatever the copy style: for a reader.

    Where only loaded modules or included files travel, the project's other files are left out for that reason.
    """
    everything = choose_files(selection.root, "all")
    found = {x.path: x for x in (*everything.left_out, *selection.left_out)}
    taken = {f.path for f in selection.files}
    for file in everything.files:
        if file.path not in taken:
            module = file.path.endswith(".py")
            found[file.path] = LeftOut(file.path, "not a loaded module" if module else "neither a module nor included")
    return tuple(found[path] for path in sorted(found) if path not in taken)


def describe_file(root: str, path: str, reason: str, asked_for: bool = False) -> ChosenFile:
    """The file at ``path`` below ``root``, links followed.

    :raises OSError: there is none.
    """
    source = os.path.join(root, *path.split("/"))
    status = os.lstat(source)
    if is_linked := stat.S_ISLNK(status.st_mode):
        status = os.stat(source)
    return _chosen(path, source, status, reason, is_linked, asked_for)


def _chosen(
    path: str, source: str, s: os.stat_result, reason: str, is_linked: bool, asked_for: bool = False
) -> ChosenFile:
    executable = bool(s.st_mode & stat.S_IXUSR)
    leads_to = os.path.realpath(source) if is_linked else None
    return ChosenFile(path, source, s.st_size, s.st_mtime_ns, s.st_ctime_ns, executable, reason, asked_for, leads_to)


def _walk(
    folder: str,
    prefix: str,
    rules: IgnoreRules,
    above: str,
    chosen: dict[str, ChosenFile],
    left_out: list[LeftOut],
    reason: str,
    chain: tuple[str, ...],
) -> None:
    """Add what is below ``folder``.

    :param prefix: the folder, relative to the root, ending with ``/``; empty for the root.
    :param above: the root relative to what ``rules`` are relative to.
    :param chain: real paths of the folders above, where a link leads in a circle if it leads back to one.
    """
    through_link = bool(prefix) and not f"{chain[-1]}/".endswith(f"/{prefix}")
    with os.scandir(folder) as listing:
        entries = {e.name: e for e in listing}
    rules = rules.enter(folder, above + prefix, {*entries}) if reason == "in the project" else rules
    for name, entry in entries.items():
        path = prefix + name
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:  # links that lead to each other
            left_out.append(LeftOut(path, f"a link that leads nowhere: {error.strerror}"))
            continue
        if is_folder:
            if why := folder_left_out(name, entry.path) or rules.ignoring(f"{above}{path}/"):
                left_out.append(LeftOut(f"{path}/", why))
                continue
            deeper = chain
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
                if any(real == c or c.startswith(real.rstrip("/") + "/") for c in chain):
                    left_out.append(LeftOut(f"{path}/", "a link that leads back to a folder it is in"))
                    continue
                deeper = (*chain, real)
            else:
                deeper = (*chain, os.path.join(chain[-1], name))
            _walk(entry.path, f"{path}/", rules, above, chosen, left_out, reason, deeper)
        elif is_file:
            if why := file_left_out(name) or rules.ignoring(above + path):
                left_out.append(LeftOut(path, why))
            elif path not in chosen:
                chosen[path] = _chosen(path, entry.path, entry.stat(), reason, through_link or entry.is_symlink())
        else:
            broken = entry.is_symlink() and not os.path.exists(entry.path)
            left_out.append(LeftOut(path, "a link that leads nowhere" if broken else "neither a file nor a folder"))


def _include(root: str, pattern: str, chosen: dict[str, ChosenFile], left_out: list[LeftOut]) -> None:
    asked = os.path.normpath(os.path.join(root, pattern))
    if asked != root and not asked.startswith(root.rstrip("/") + os.sep):
        raise ValueError(f"include {pattern!r} is outside of it; choose a root that holds both")
    literal = not is_pattern(pattern) or os.path.exists(asked)
    found = [asked] if literal else sorted(glob.glob(asked, recursive=True, include_hidden=True))
    if not found or not os.path.exists(found[0]):
        raise ValueError(f"include {pattern!r} names no file; it is relative to the root")
    shown = os.path.relpath(asked, root) if os.path.isabs(pattern) else pattern
    for source in found:
        path = os.path.relpath(source, root).replace(os.sep, "/")
        reason = f"include {shown!r}"
        if os.path.isdir(source):
            prefix = "" if path == "." else f"{path}/"
            if literal or not folder_left_out(os.path.basename(source), source):
                _walk(source, prefix, IgnoreRules(), "", chosen, left_out, reason, (os.path.realpath(source),))
        elif os.path.isfile(source) and (literal or not file_left_out(os.path.basename(source))):
            chosen[path] = describe_file(root, path, reason, asked_for=literal)


def loaded_modules(root: str) -> Iterator[tuple[str, str]]:
    """Path and name of each module loaded from below ``root`` that is neither installed nor Python's own."""
    real_root = os.path.realpath(root)
    real_folders: dict[str, str] = {}
    environments: dict[str, bool] = {}
    prefixes = tuple({root.rstrip("/") + os.sep, real_root.rstrip("/") + os.sep})
    for name, module in list(sys.modules.items()):
        # Through __dict__, so that no lazy module is made to load what nobody asked for.
        file = getattr(module, "__dict__", {}).get("__file__")
        if not isinstance(file, str):
            continue
        source = file if file.startswith("/") and "/." not in file and "//" not in file else os.path.abspath(file)
        if not source.startswith(prefixes):
            folder, base = os.path.split(source)
            if folder not in real_folders:
                real_folders[folder] = os.path.realpath(folder)
            source = os.path.join(real_folders[folder], base)
            if not source.startswith(prefixes):
                continue
        inside = next(source[len(p) :] for p in prefixes if source.startswith(p))
        if is_installed(source):
            continue
        first = inside.partition(os.sep)[0]
        if first not in environments:
            environments[first] = _in_virtual_environment(root, inside)
        if environments[first]:
            continue
        yield inside.replace(os.sep, "/"), name


def _in_virtual_environment(root: str, inside: str) -> bool:
    first = os.path.join(root, inside.partition(os.sep)[0])
    return os.path.exists(os.path.join(first, "pyvenv.cfg"))


def system_paths(root: str | Path, entries: Iterable[str] | None = None) -> str:
    """The value of ``_F_SYS_PATH``: folders of ``sys.path`` below ``root`` as ``./relative``, joined by colons.

    The root itself is not among them: it is put on ``sys.path`` where the bundle is unpacked (wire-protocol 4.1).

    :param entries: instead of ``sys.path``.
    :raises CodeBundleError: a folder with a colon in its name, which the value cannot carry.
    """
    found = [f"./{inside}" for inside in import_folders(root, entries) if inside]
    if bad := next((f for f in found if ":" in f), None):
        raise CodeBundleError(f"sys.path has the folder {bad!r}: a colon cannot be carried; rename the folder")
    return ":".join(found)


def import_folders(root: str | Path, entries: Iterable[str] | None = None) -> list[str]:
    """Folders of ``sys.path`` at or below ``root``, relative to it with ``/``, in their order, each once."""
    real_root = os.path.realpath(root)
    found: dict[str, None] = {}
    for entry in sys.path if entries is None else entries:
        real = os.path.realpath(entry or ".")
        if (real == real_root or real.startswith(real_root.rstrip("/") + os.sep)) and os.path.isdir(real):
            inside = os.path.relpath(real, real_root).replace(os.sep, "/")
            if inside == ".":
                found[""] = None
            elif not is_installed(real) and not _in_virtual_environment(real_root, inside):
                found[inside] = None
    return list(found)
