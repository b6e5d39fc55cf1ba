"""The local modules that chosen files import, found without running them.

Called by the bundle builder. Knows of Python's source and folders, not of bundles.
"""

import ast
import os
import re
import sys
from collections.abc import Iterable
from typing import TypeAlias

Import: TypeAlias = tuple[int, str, tuple[str, ...]]
"""Level (number of leading dots), module, and names after ``import``."""

_WORD = re.compile(rb"import\b")  # without \b before it a search is ten times as fast; what precedes it is looked at
_NAME = re.compile(r"[\w.]+")
_COMMENT = re.compile(rb"#[^\n]*")
_NOT_FOUND = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def glance(content: bytes) -> list[Import]:
    """Imports that ``content`` seems to hold: quick, and text in strings counts too; see :func:`certain`.

    A parse of each file costs about a millisecond for 4 KB (measured 2026-11), too much for thousands of files.
    """
    found: set[Import] = set()
    for match in _WORD.finditer(content):
        start = content.rfind(b"\n", 0, match.start()) + 1
        before = re.split(rb"[;:]", content[start : match.start()])[-1].strip()
        if before and not (before.startswith(b"from") and before[4:5] in (b" ", b"\t", b".")):
            continue
        rest = content[match.end() : match.end() + 4000]
        opening = rest.lstrip(b" \t")
        if opening.startswith(b"("):
            text = _COMMENT.sub(b"", opening[1:]).partition(b")")[0]
        else:
            text = re.split(rb"[;#\n]", rest.replace(b"\\\n", b" "), maxsplit=1)[0]
        names = [m.group() for part in text.decode("utf-8", "replace").split(",") if (m := _NAME.match(part.strip()))]
        if before:
            module = before[4:].decode("utf-8", "replace").replace(" ", "")
            bare = module.lstrip(".")
            found.add((len(module) - len(bare), bare, tuple(names)))
        else:
            found.update((0, name, ()) for name in names)
    return sorted(found)


def certain(content: bytes, guarded: bool) -> list[Import]:
    """Imports that ``content`` really holds and that matter when it runs; none if it is not Python.

    :param guarded: also those whose failure is caught, ``try: import x except ImportError``.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found: list[Import] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif isinstance(node, ast.Try) and not guarded and any(_catches(h.type) for h in node.handlers):
            waiting += [*node.handlers, *node.orelse, *node.finalbody]
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def _catches(kind: ast.expr | None) -> bool:
    return kind is None or any(isinstance(n, ast.Name) and n.id in _NOT_FOUND for n in ast.walk(kind))


class LocalModules:
    """Finds the files of local modules by name, as Python would, below one root.

    :param folders: where Python looks, relative to the root; see :func:`flyte._package.files.import_folders`.
    """

    def __init__(self, root: str, folders: Iterable[str]) -> None:
        self._root = root
        src = ["src"] if os.path.isdir(os.path.join(root, "src")) else []
        self._folders = list(dict.fromkeys([*folders, "", *src]))
        self._listings: dict[str, frozenset[str]] = {}
        self._known: dict[tuple[str, Import], tuple[str, ...]] = {}
        self._outside: list[str] | None = None

    def files_of(self, importer: str, statement: Import) -> tuple[str, ...]:
        """The files below the root, relative to it, that ``statement`` in ``importer`` loads."""
        level, module, names = statement
        folder = importer.rpartition("/")[0] if level else ""
        key = (folder, statement)
        if (found := self._known.get(key)) is None:
            found = self._known[key] = tuple(self._search(folder, level, module, names))
        return found

    def _search(self, folder: str, level: int, module: str, names: tuple[str, ...]) -> list[str]:
        parts = module.split(".") if module else []
        if level:
            steps = folder.split("/") if folder else []
            if level - 1 > len(steps):
                return []
            return self._follow("/".join(steps[: len(steps) - level + 1]), parts, names)
        if not parts or parts[0] in sys.stdlib_module_names:
            return []
        for start in self._folders:
            if found := self._follow(start, parts, names):
                return found
        return []

    def _follow(self, at: str, parts: list[str], names: tuple[str, ...]) -> list[str]:
        found: list[str] = []
        for part in parts:
            inside = f"{at}/{part}" if at else part
            if (package := self._file(inside, "__init__.py")) is not None:
                found.append(package)
            elif (file := self._file(at, f"{part}.py")) is not None:
                return [*found, file]
            elif f"{part}" not in self._listing(at):
                return found
            at = inside
        if not parts and names and (package := self._file(at, "__init__.py")) is not None:
            found.append(package)
        for name in names:
            inside = f"{at}/{name}" if at else name
            file = self._file(inside, "__init__.py") or self._file(at, f"{name}.py")
            if file is not None:
                found.append(file)
        return found

    def _file(self, folder: str, name: str) -> str | None:
        if name not in self._listing(folder):
            return None
        return f"{folder}/{name}" if folder else name

    def _listing(self, folder: str) -> frozenset[str]:
        known = self._listings.get(folder)
        if known is None:
            above, _, name = folder.rpartition("/")
            exists = not folder or name in self._listing(above)
            try:
                known = frozenset(os.listdir(os.path.join(self._root, folder))) if exists else frozenset()
            except OSError:  # a file, or a folder we may not read: Python would not import from it either
                known = frozenset()
            self._listings[folder] = known
        return known

    def outside(self, statement: Import) -> str | None:
        """The file of a local module outside the root that belongs to no installed distribution, if it is one."""
        level, module, _ = statement
        first = module.partition(".")[0]
        if level or not first or first in sys.stdlib_module_names or first == "flyte":
            return None
        if self._outside is None:
            self._outside = _outside_folders(self._root)
        for folder in self._outside:
            for path in (os.path.join(folder, first, "__init__.py"), os.path.join(folder, f"{first}.py")):
                if os.path.isfile(path):
                    return path
        return None


def _outside_folders(root: str) -> list[str]:
    """Folders of ``sys.path`` with the user's own modules that are not below ``root``."""
    real_root = os.path.realpath(root)
    linked: set[str] = set()  # installed in editable mode: listed in a .pth file, and installed by the image as well
    candidates: list[str] = []
    prefixes = [os.path.realpath(p) for p in (sys.prefix, sys.base_prefix)]
    for entry in sys.path:
        real = os.path.realpath(entry or ".")
        if os.path.basename(real) in ("site-packages", "dist-packages"):
            for name in os.listdir(real) if os.path.isdir(real) else ():
                if name.endswith(".pth"):
                    with open(os.path.join(real, name), encoding="utf-8", errors="replace") as file:
                        linked.update(os.path.realpath(os.path.join(real, line.strip())) for line in file)
        elif (
            os.path.isdir(real)
            and not (real + os.sep).startswith(real_root.rstrip("/") + os.sep)
            and not any(real.startswith(os.path.join(p, d)) for p in prefixes for d in ("lib", "lib64", "bin"))
        ):
            candidates.append(real)
    return [c for c in candidates if c not in linked]
