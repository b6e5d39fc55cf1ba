"""House rules that no reader sees at a glance, checked on the source: floors, circles, faces, heavy imports, names.

The tables come first; they are the rules. Below them is the checker, which reads the source as a syntax tree and runs
none of it, and a test that the checker catches each kind of violation.
"""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# An import goes to a lower floor or stays in its room. The longest prefix decides which room a module is in.
FLOORS = {
    "flyte.cli": 11,
    "flyte.testing": 11,
    "flyte._published": 11,  # private paths of another package, which lead to anywhere in this one
    "flyte._verbs": 10,
    "flyte._runtime": 11,
    "flyte._control": 8,
    "flyte.remote": 7,
    "flyte.extras": 7,  # container tasks say on the wire how their values travel, and build their image
    "flyte.devbox": 7,
    "flyte._journal": 6,
    "flyte._wire": 6,
    "flyte._package": 6,
    "flyte.app": 6,
    "flyte.durable": 6,
    "flyte.v1": 6,
    "flyte._definition": 5,
    "flyte.io": 5,
    "flyte.types": 4,
    "flyte.report": 4,
    "flyte.storage": 3,
    "flyte.config": 3,
    "flyte.syncify": 3,
    "flyte._core": 2,
    "flyte.errors": 1,
}

# Faces hand names on, from any floor. Nothing inside imports one.
FACES = {"flyte", "flyte.models", "flyte.extend", "flyte.notify"}
# These are a room and its face in one: the package's `__init__` hands names on, the modules in it are the room.
ROOM_FACES = {
    "flyte.types", "flyte.report", "flyte.io", "flyte.storage", "flyte.remote", "flyte.app", "flyte.extras", "flyte.v1",
    "flyte.testing",
}  # fmt: skip
# Programs for users to read that ship inside the package: they import what a user imports.
USER_PROGRAMS = {"flyte._examples"}

# Only these rooms may name what stands for the wire.
WIRE_PACKAGES = {"flyteidl2", "grpc", "google.protobuf", "google.rpc"}
WIRE_ROOMS = {"flyte.types", "flyte._wire", "flyte.remote", "flyte.devbox"}

# What costs start-up time or memory. Modules reached when one of LIGHT is imported load none of it.
HEAVY = {
    "grpc", "flyteidl2", "google.protobuf", "httpx", "pydantic", "typer", "kubernetes", "obstore", "numpy", "pandas",
    "rich", "msgpack", "cloudpickle", "yaml",
}  # fmt: skip
HEAVY_STANDARD_LIBRARY = {"email", "http", "multiprocessing", "difflib", "platform"}
LIGHT = {*FACES, "flyte.types", "flyte.errors", "flyte._core", "flyte._definition"}

# Rooms that need nothing but Python.
STANDARD_LIBRARY_ONLY = {"flyte._core", "flyte.errors"}
# ... but for one: what a docstring says of a parameter belongs to an interface, and parsing it by hand would be worse
# than a small library that is loaded when somebody asks.
STANDARD_LIBRARY_EXCEPTIONS = {("flyte._core.interface", "docstring_parser")}

# Package as imported -> distribution, where the two differ. The last two are part of what pydantic itself hands on.
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "google": "protobuf",
    "grpc": "grpcio",
    "pydantic_core": "pydantic",
    "typing_extensions": "pydantic",
}

MAX_LINES = 600
MEANINGLESS_NAMES = {"util", "utils", "helper", "helpers", "common", "base", "misc", "manager"}


# The checker ----------------------------------------------------------------------------------------------------------

AT_IMPORT, FOR_ANNOTATION, ON_USE = "at import", "for an annotation", "on use"


@dataclass(frozen=True)
class Import:
    """One import: where it stands, what it names, and when it happens."""

    source: str
    line: int
    target: str
    when: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target} ({self.when})"


def starts_with(module: str, prefixes: set[str]) -> bool:
    return any(module == p or module.startswith(p + ".") for p in prefixes)


class House:
    """The modules of one source tree and the imports between them.

    :param root: folder that holds the package ``flyte``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        for path in sorted((root / "flyte").rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self.imports = [i for module in self.files for i in self._imports_of(module)]

    def _imports_of(self, module: str) -> Iterator[Import]:
        path = self.files[module]
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]

        def visit(node: ast.AST, when: str) -> Iterator[Import]:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(module, node.lineno, alias.name, when)
            elif isinstance(node, ast.ImportFrom):
                origin = node.module or ""
                if node.level:
                    above = package.split(".")[: len(package.split(".")) - node.level + 1]
                    origin = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    inner = f"{origin}.{alias.name}"
                    # What is asked of a package may be a module in it, ours or (google.protobuf) a stranger's.
                    stranger = not starts_with(origin, {"flyte"})
                    yield Import(module, node.lineno, inner if inner in self.files or stranger else origin, when)
            elif isinstance(node, ast.Call) and (name := imported_by_call(node)):
                yield Import(module, node.lineno, name, when)
            if isinstance(node, ast.If) and mentions_type_checking(node.test):
                for child in node.body:
                    yield from visit(child, FOR_ANNOTATION)
                for child in node.orelse:
                    yield from visit(child, when)
                return
            inside = ON_USE if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else when
            for child in ast.iter_child_nodes(node):
                yield from visit(child, inside)

        return visit(ast.parse(path.read_text(), str(path)), AT_IMPORT)

    def first_party(self) -> Iterator[Import]:
        return (i for i in self.imports if starts_with(i.target, {"flyte"}))

    def third_party(self) -> Iterator[Import]:
        return (
            i
            for i in self.imports
            if not starts_with(i.target, {"flyte"}) and i.target.partition(".")[0] not in sys.stdlib_module_names
        )

    def reached_from(self, module: str) -> dict[str, str]:
        """Every module that importing ``module`` executes -> the module whose import brings it in."""
        edges: dict[str, list[str]] = {}
        for i in self.first_party():
            if i.when == AT_IMPORT:
                edges.setdefault(i.source, []).append(i.target)
        seen: dict[str, str] = {}
        waiting = [(module, "")]
        while waiting:
            name, origin = waiting.pop()
            if name in seen or name not in self.files:
                continue
            seen[name] = origin
            # Importing a.b.c executes a and a.b first.
            waiting += [(t, name) for t in [*edges.get(name, []), name.rpartition(".")[0]]]
        return seen


def mentions_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imported_by_call(node: ast.Call) -> str | None:
    """The module that ``import_module("...")`` or ``__import__("...")`` names."""
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    first = node.args[0] if node.args else None
    if name in {"import_module", "__import__"} and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return next((room for n in range(len(parts), 0, -1) if (room := ".".join(parts[:n])) in FLOORS), None)


def check_floors(house: House) -> Iterator[str]:
    for module in house.files:
        if module not in FACES and not starts_with(module, USER_PROGRAMS) and room_of(module) is None:
            yield f"{module} is in no room: add it to FLOORS"
    for i in house.first_party():
        source, target = room_of(i.source), room_of(i.target)
        if source and target and source != target and FLOORS[source] <= FLOORS[target]:
            yield f"{i}: from floor {FLOORS[source]} to floor {FLOORS[target]}"


def check_circles(house: House) -> Iterator[str]:
    """Circles inside a room, of imports at import time and for annotations. Between rooms the floors forbid them."""
    edges: dict[str, set[str]] = {}
    for i in house.first_party():
        if i.when != ON_USE and i.source not in FACES and room_of(i.source) == room_of(i.target):
            edges.setdefault(i.source, set()).add(i.target)

    def path_back(start: str) -> list[str] | None:
        waiting, seen = [[start]], {start}
        while waiting:
            path = waiting.pop(0)
            for step in sorted(edges.get(path[-1], ())):
                if step == start:
                    return [*path, start]
                if step not in seen:
                    seen.add(step)
                    waiting.append([*path, step])
        return None

    circles: dict[frozenset[str], list[str]] = {}
    for start in sorted(edges):
        if path := path_back(start):
            circles.setdefault(frozenset(path), path)
    yield from (f"circle: {' -> '.join(path)}" for path in circles.values())


def check_faces(house: House) -> Iterator[str]:
    for i in house.first_party():
        if i.source in FACES or starts_with(i.source, USER_PROGRAMS):
            continue
        if i.target in FACES or (i.target in ROOM_FACES and i.source != i.target):
            yield f"{i}: a face; import the module that defines the name"


def check_wire(house: House) -> Iterator[str]:
    for i in house.imports:
        if starts_with(i.target, WIRE_PACKAGES) and not starts_with(i.source, WIRE_ROOMS):
            yield f"{i}: only {', '.join(sorted(WIRE_ROOMS))} name it"


def check_standard_library_only(house: House) -> Iterator[str]:
    yield from (
        f"{i}: not standard library"
        for i in house.third_party()
        if starts_with(i.source, STANDARD_LIBRARY_ONLY)
        and (i.source, i.target.partition(".")[0]) not in STANDARD_LIBRARY_EXCEPTIONS
    )


def check_heavy(house: House) -> Iterator[str]:
    for light in sorted(m for m in house.files if m in FACES or starts_with(m, LIGHT - FACES)):
        if light not in LIGHT and room_of(light) == "flyte.types":
            continue  # the room itself works with messages; its face must not
        reached = house.reached_from(light)
        for i in house.imports:
            if i.when == AT_IMPORT and i.source in reached and starts_with(i.target, HEAVY | HEAVY_STANDARD_LIBRARY):
                yield f"{i}: reached by importing {light}; import it where it is used"


def check_declared(house: House, project: Path) -> Iterator[str]:
    table = tomllib.loads(project.read_text())["project"]
    extras = [d for name, group in table.get("optional-dependencies", {}).items() if name != "dev" for d in group]
    declared = {re.split(r"[^A-Za-z0-9._-]", d)[0].lower().replace("-", "_") for d in [*table["dependencies"], *extras]}
    for i in house.third_party():
        package = i.target.partition(".")[0]
        if DISTRIBUTIONS.get(package, package) not in declared:
            yield f"{i}: {package} is not declared in pyproject.toml"


def check_files(house: House) -> Iterator[str]:
    for module, path in house.files.items():
        lines = len(path.read_text().splitlines())
        if lines > MAX_LINES:
            yield f"{module} has {lines} lines, more than {MAX_LINES}: it holds two rooms"
        for part in module.split("."):
            if part.strip("_") in MEANINGLESS_NAMES:
                yield f"{module}: {part!r} says nothing of what the file holds"


CHECKS = [
    check_floors,
    check_circles,
    check_faces,
    check_wire,
    check_standard_library_only,
    check_heavy,
    check_files,
]

# The house ------------------------------------------------------------------------------------------------------------


@cache
def our_house() -> House:
    house = House(ROOT)
    assert len(house.files) > 10, "found no house to check"
    return house


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_rule_holds(check):
    violations = list(check(our_house()))
    assert not violations, "\n" + "\n".join(violations)


def test_every_imported_package_is_declared():
    violations = list(check_declared(our_house(), ROOT / "pyproject.toml"))
    assert not violations, "\n" + "\n".join(violations)


@pytest.mark.parametrize("face", sorted(m for m in FACES | ROOM_FACES if m in our_house().files))
def test_face_hands_on_what_it_lists(face):
    module = importlib.import_module(face)
    assert list(module.__all__) == sorted(set(module.__all__)), f"{face}.__all__ is not sorted, or names one twice"
    assert module.__all__, f"{face} hands on nothing"
    for name in module.__all__:
        value = getattr(module, name)
        home = getattr(value, "__module__", None) if isinstance(value, type) else None
        if home and starts_with(home, {"flyte"}):
            assert not any(part.startswith("_") for part in home.split(".")), (
                f"{face}.{name}.__module__ is {home}, not a public path"
            )
            assert getattr(importlib.import_module(home), name) is value


# The checker itself ---------------------------------------------------------------------------------------------------

VIOLATIONS = {
    check_floors: [
        ("flyte/_core/x.py", "from flyte._verbs.run import run", "floor 2 to floor 10"),
        ("flyte/_core/x.py", "def f():\n    import flyte._verbs.run", "floor 2 to floor 10"),
        ("flyte/_core/x.py", "if TYPE_CHECKING:\n    from .._verbs.run import run", "floor 2 to floor 10"),
        ("flyte/_core/x.py", "import_module('flyte._verbs.run')", "floor 2 to floor 10"),
        ("flyte/remote/x.py", "from flyte.devbox import _plane", "floor 7 to floor 7"),
        ("flyte/elsewhere.py", "", "in no room"),
    ],
    check_circles: [
        ("flyte/_core/x.py", "from . import y", "flyte._core.x -> flyte._core.y -> flyte._core.x"),
        ("flyte/_core/x.py", "if typing.TYPE_CHECKING:\n    from .y import z", "flyte._core.x -> flyte._core.y"),
    ],
    check_faces: [
        ("flyte/_verbs/x.py", "import flyte", "imports flyte (at import): a face"),
        ("flyte/_verbs/x.py", "from flyte import Resources", "imports flyte (at import): a face"),
        ("flyte/_verbs/x.py", "def f():\n    from ..extend import X", "flyte.extend (on use): a face"),
        ("flyte/_verbs/x.py", "from flyte.types import TypeEngine", "flyte.types (at import): a face"),
    ],
    check_wire: [
        ("flyte/_control/x.py", "from flyteidl2.core import literals_pb2", "flyteidl2.core.literals_pb2"),
        ("flyte/_control/x.py", "def f():\n    from google import protobuf", "google.protobuf"),
        ("flyte/_control/x.py", "if TYPE_CHECKING:\n    import grpc.aio", "grpc.aio"),
    ],
    check_standard_library_only: [("flyte/_core/x.py", "def f():\n    import anyio", "anyio")],
    check_heavy: [
        ("flyte/_core/y.py", "class C:\n    import numpy", "imports numpy"),
        ("flyte/_core/y.py", "try:\n    import yaml\nexcept ImportError:\n    pass", "imports yaml"),
        ("flyte/_core/__init__.py", "from email.message import Message", "email"),
    ],
    check_files: [
        ("flyte/_core/x.py", "\n" * (MAX_LINES + 1), "more than 600"),
        ("flyte/_core/_utils.py", "", "'_utils' says nothing"),
    ],
}


def build(root: Path, files: dict[str, str]) -> House:
    sound = {
        "flyte/__init__.py": "from flyte._core.x import A\n",
        "flyte/extend.py": "if TYPE_CHECKING:\n    import numpy\n",
        "flyte/_core/__init__.py": "",
        "flyte/_core/x.py": "def f():\n    from . import y, json\n",
        "flyte/_core/y.py": "from .x import A\n",
        "flyte/_verbs/run.py": "from flyte.types import _engine\nfrom flyte import errors\nimport anyio\n",
        "flyte/devbox/_plane.py": "import grpc\n",
        "flyte/types/__init__.py": "def f():\n    import numpy\n",
        "flyte/types/_engine.py": "import flyteidl2.core\nfrom flyte._core.x import A\n",
        "flyte/errors.py": "from typing import Any\n",
    }
    for name, text in {**sound, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House(root)


def test_a_sound_tree_passes(tmp_path):
    house = build(tmp_path, {})
    assert [v for check in CHECKS for v in check(house)] == []


@pytest.mark.parametrize(
    ("check", "name", "text", "expected"),
    [(check, *case) for check, cases in VIOLATIONS.items() for case in cases],
)
def test_the_checker_catches(check, name, text, expected, tmp_path):
    violations = list(check(build(tmp_path, {name: text})))
    assert any(expected in v for v in violations), f"not caught; it said: {violations}"


def test_every_check_is_itself_checked():
    assert set(VIOLATIONS) == set(CHECKS)


def test_an_undeclared_package_is_caught(tmp_path):
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\ndependencies = ["anyio>=4", "grpcio", "flyteidl2"]\n'
                       '[project.optional-dependencies]\ndev = ["numpy"]\n')  # fmt: skip
    house = build(tmp_path, {"flyte/_verbs/x.py": "import grpc, anyio\n"})
    assert [v.partition(" imports ")[2] for v in check_declared(house, project)] == [
        "numpy (for an annotation): numpy is not declared in pyproject.toml",
        "numpy (on use): numpy is not declared in pyproject.toml",
    ]
