"""No wait without a deadline: what blocks a thread in `flyte/` says how long, or is named here with what ends it.

What is awaited can be cancelled, and is bounded by the limits of the task or of the call that awaits it; those waits
are proven by faults: test_broken_connections (storage), test_writer (a busy journal), test_channel and test_remote
(a control plane that is silent, gone or restarted), test_workers (a worker that died).
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Methods and functions that block until somebody else does something.
BLOCKING = {
    "wait", "join", "acquire", "communicate", "recv", "accept", "select", "flock", "lockf", "check_output",
    "check_call", "input",
}  # fmt: skip
# What is handed to one of these is awaited, and for so long.
BOUNDING = {"wait_for", "ensure_future", "create_task", "shield"}
MODULES_OF_RUN = {"subprocess"}
NAMES_OF_LIMITS = {"timeout", "timeout_s", "blocking", "wait_s", "limit_s"}
# Calls of these names that wait for nothing: text and paths.
HARMLESS_OWNERS = {"os.path", "path", "posixpath", "string", "str", "shlex"}

# Where a thread waits without a limit, how often, and what ends the wait.
MEANT = {
    "flyte/_control/prompt.py": (
        1,
        "a question on the terminal: woken through a pipe by the answer, or by the run's end",
    ),
    "flyte/_control/workers/history.py": (1, "a worker and its run: the socket ends when either does"),
    "flyte/_control/workers/program.py": (
        2,
        "the event loop of a worker: woken by its channel, which ends with the run",
    ),
    "flyte/_control/workers/relay.py": (
        1,
        "a body gets its slot back: granted in turn, and the channel ends with the run",
    ),
    "flyte/_control/workers/warden.py": (1, "a process that was just killed with SIGKILL"),
    "flyte/_core/zygote.py": (1, "a birth socket: its own limit, set by whoever has either end"),
    "flyte/_core/loop.py": (1, "flyte.run in a thread: as long as the run, whose own limits apply; Ctrl-C ends it"),
    "flyte/_definition/task.py": (1, "a sync body calls a task: as long as that call, whose own limits apply"),
    "flyte/devbox/executors/zygote.py": (1, "a read of a socket that does not block"),
    "flyte/extras/_engine.py": (1, "a process that was just killed with SIGKILL"),
    "flyte/testing/_loop.py": (4, "polls that return at once, or in a moment"),
    "flyte/testing/_process.py": (1, "a simulated process is set up; both ends are threads of the one simulation"),
    "flyte/testing/_run.py": (1, "a wait under the manual clock, which reports what nothing can ever end"),
}


def calls_without_limit(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in BOUNDING:
            awaited |= {id(argument) for argument in node.args}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in awaited:
            continue
        name, owner = "", ""
        if isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, ast.unparse(node.func.value)
        elif isinstance(node.func, ast.Name):
            name = node.func.id
        blocks = (
            name in BLOCKING or (name == "run" and owner in MODULES_OF_RUN) or (name, owner) == ("result", "future")
        )
        if not blocks or owner in HARMLESS_OWNERS:
            continue
        if name == "join" and (
            (isinstance(node.func, ast.Attribute) and _is_text(node.func.value)) or node.args or not owner
        ):
            continue  # "".join(...), join(folder, name)
        if name in ("flock", "lockf") and any(flag in ast.unparse(node) for flag in ("LOCK_NB", "LOCK_UN")):
            continue
        if name in ("acquire", "wait", "result", "communicate") and node.args:
            continue
        if name == "select" and (len(node.args) == 4 or owner in ("self._table", "self._frame", "plan")):
            continue  # with a limit; or columns of a table
        if _has_limit(node):
            continue
        found.append((node.lineno, ast.unparse(node)))
    return found


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, (ast.Constant, ast.JoinedStr)) or (isinstance(node, ast.Name) and node.id in ("sep",))


def _has_limit(node: ast.Call) -> bool:
    return any(keyword.arg in NAMES_OF_LIMITS for keyword in node.keywords)


def test_waits():
    offenders = {}
    for path in sorted((ROOT / "flyte").rglob("*.py")):
        found = calls_without_limit(path)
        allowed = MEANT.get(path.relative_to(ROOT).as_posix(), (0, ""))[0]
        if len(found) != allowed:
            offenders[path.relative_to(ROOT).as_posix()] = found
    for name, found in offenders.items():
        print(name, *found, sep="\n    ")
    assert not offenders


def test_every_exception_has_its_reason_and_its_file():
    for name, (count, reason) in MEANT.items():
        assert (ROOT / name).exists() and count > 0 and len(reason) > 20, name


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("thread.join()", True),
        ("thread.join(timeout=3)", False),
        ("future.result()", True),
        ("future.result(3)", False),
        ("', '.join(names)", False),
        ("subprocess.run(['x'])", True),
        ("subprocess.run(['x'], timeout=3)", False),
        ("fcntl.lockf(fd, fcntl.LOCK_EX)", True),
        ("fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)", False),
        ("async def f():\n    await event.wait()", False),
    ],
)
def test_the_check_sees_a_wait(tmp_path, source, caught):
    (tmp_path / "module.py").write_text(source)
    assert bool(calls_without_limit(tmp_path / "module.py")) == caught
