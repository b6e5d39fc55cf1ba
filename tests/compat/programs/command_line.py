"""flyte run, with options of each type."""

import os
import subprocess
import sys
from pathlib import Path

Path("flow.py").write_text('''
import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Dict, List, Literal, Optional, Union

from pydantic import BaseModel

import flyte

env = flyte.TaskEnvironment("cmd")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Config:
    a: int
    b: List[str]


class Model(BaseModel):
    a: int
    b: float = 1.5


def said(*values):
    print("BODY " + " ".join(f"{type(v).__name__}:{v!r}" for v in values), flush=True)


@env.task
async def scalars(i: int, f: float, s: str, b: bool = False) -> int:
    """Scalars.

    Args:
        i: the number
    """
    said(i, f, s, b)
    return i


@env.task
async def times(d: datetime, day: date, span: timedelta) -> None:
    said(d, day, span)


@env.task
async def choices(c: Color, k: Literal["x", "y"] = "x") -> None:
    said(c, k)


@env.task
async def colors(c: Color) -> None:
    said(c)


@env.task
async def spans(span: timedelta, when: Optional[datetime] = None) -> None:
    said(span, when)


@env.task
async def containers(xs: List[int], m: Dict[str, float], deep: Dict[str, List[int]] = {}) -> None:
    said(xs, m, deep)


@env.task
async def objects(c: Config, m: Model) -> None:
    said(c, m)


@env.task
async def optional(x: Optional[int] = None, u: Union[int, str] = "d") -> None:
    said(x, u)


@env.task
def sync_with_underscores(first_value: int = 1) -> None:
    said(first_value)


@env.task
async def fails(x: int) -> int:
    raise ValueError("from the body")


@env.task
async def child(x: int) -> int:
    said(x)
    return x


@env.task
async def parent(n: int = 2) -> int:
    return sum([await child(i) for i in range(n)])
''')
Path("value.json").write_text('{"a": 7, "b": ["q"]}')
Path("numbers.json").write_text("[1, 2]")
flyte = str(Path(sys.executable).parent / "flyte")


def call(*arguments):
    done = subprocess.run([flyte, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    print("$ flyte", *arguments)
    lines = sorted(set(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("BODY")))
    for line in lines:
        print("   ", line)
    print("    exit", done.returncode if done.returncode in (0, 1, 2) else "other", flush=True)


R = ("run", "--local", "flow.py")
call(*R, "scalars", "--i", "3", "--f", "1.5", "--s", "text", "--b")
call(*R, "scalars", "--i", "3", "--f", "2", "--s", "", "--no-b")
call(*R, "scalars", "--i", "-3", "--f", "1e3", "--s", "--x")
call(*R, "scalars", "--i", "x", "--f", "1", "--s", "a")
call(*R, "scalars", "--i", "1")
call(*R, "scalars", "--i=1", "--f=1", "--s=a")
call(*R, "times", "--d", "2025-01-02T03:04:05", "--day", "2025-01-02", "--span", "1 day")
call(*R, "times", "--d", "2025-01-02", "--day", "2025-01-02", "--span", "PT1H")
call(*R, "times", "--d", "2025-01-02T03:04:05", "--day", "2025-01-02", "--span", "1h30m")
call(*R, "times", "--d", "2025-01-02 03:04:05", "--day", "2025-01-02", "--span", "01:30:00")
call(*R, "choices", "--c", "RED")
call(*R, "choices", "--c", "red")
call(*R, "choices", "--c", "green")
call(*R, "choices", "--c", "BLUE", "--k", "y")
call(*R, "choices", "--c", "BLUE", "--k", "z")
call(*R, "colors", "--c", "RED")
call(*R, "colors", "--c", "red")
call(*R, "colors", "--c", "green")
for text in ("1 day", "2 hours", "90", "1:30:00", "P1D", "1d", "5m", "1.5"):
    call(*R, "spans", "--span", text)
for text in ("2025-01-02", "2025-01-02T03:04:05Z", "2025-01-02T03:04:05+02:00", "2025-01-02 03:04:05"):
    call(*R, "spans", "--span", "PT1H", "--when", text)
call(*R, "containers", "--xs", "[1, 2]", "--m", '{"a": 1.5}')
call(*R, "containers", "--xs", "[1, 2]", "--m", '{"a": 1.5}', "--deep", '{"k": [3]}')
call(*R, "containers", "--xs", "nonsense", "--m", "{}")
call(*R, "objects", "--c", '{"a": 1, "b": ["x"]}', "--m", '{"a": 2}')
call(*R, "objects", "--c", "value.json", "--m", '{"a": 2}')
call(*R, "optional")
call(*R, "optional", "--x", "3", "--u", "5")
call(*R, "optional", "--u", "word")
call(*R, "sync_with_underscores", "--first_value", "5")
call(*R, "sync_with_underscores", "--first-value", "5")
call(*R, "sync_with_underscores")
call(*R, "fails", "--x", "1")
call(*R, "parent", "--n", "3")
call(*R, "nothing")
call("run", "--local", "absent.py", "x")
call(*R, "scalars", "--help")
call("run", "--help")
call("--help")
call("--version")
call("run", "--local", "--name", "mine", "flow.py", "parent")
call("run", "-p", "proj", "-d", "dev", "--local", "flow.py", "parent")
call("run", "--local", "--project", "proj", "--domain", "dev", "--copy-style", "none", "flow.py", "parent")
call("run", "--local", "--raw-data-path", "raw", "flow.py", "parent")
call("run", "--local", "--env", "A=1", "flow.py", "parent")
call("run", "--local", "--label", "a=b", "flow.py", "parent")
call("run", "--follow", "--local", "flow.py", "parent")
call("-v", "run", "--local", "flow.py", "parent")
call("run", "flow.py", "--project", "proj", "-d", "dev", "--help")
call("run", "--local", "flow.py", "-p", "proj", "--domain", "dev", "parent")
call("run", "--local", "flow.py")
call("run", "--local", "-e", "A=1", "-e", "B=2", "flow.py", "parent")
call("run", "--local", "--root-dir", ".", "flow.py", "parent")
call("run", "--local", "--copy-style", "none", "--version", "v1", "flow.py", "parent")
call("run", "--local", "--image", "x/y:1", "--image", "gpu=x/y:2", "flow.py", "parent")
call("run", "--local", "--service-account", "sa", "--queue", "q", "flow.py", "parent")
call("run", "--local", "--max-action-concurrency", "3", "--no-sync-local-sys-paths", "flow.py", "parent")
call("run", "--local", "--run-project", "a", "--run-domain", "b", "flow.py", "parent")
call("run", "--local", "--label", "a", "flow.py", "parent")
call("run", "--local", "--copy-style", "some", "flow.py", "parent")
call("run", "--local", "--max-action-concurrency", "-1", "flow.py", "parent")
call("run", "--local", "--tracked-strict", "flow.py", "parent")
call("-vvv", "run", "--local", "flow.py", "parent")
call("--org", "o", "--endpoint", "localhost:1", "--insecure", "run", "--local", "flow.py", "parent")
call("--auth-type", "client_secret", "--image-builder", "local", "run", "--local", "flow.py", "parent")
call("--log-format", "json", "--user-log-level", "debug", "--no-progress", "run", "--local", "flow.py", "parent")
call("--config", "absent.yaml", "run", "--local", "flow.py", "parent")
for form in ("table", "json", "table-simple", "json-raw", "other"):
    call("--output-format", form, "run", "--local", "flow.py", "parent")
call("-of", "json", "run", "--local", "flow.py", "parent")
call(*R, "spans", "--span", "3 minutes", "--when", "2025-01-02")
call(*R, "containers", "--xs", "numbers.json", "--m", "{}")
Path("top/flows").mkdir(parents=True)
Path("top/library.py").write_text('print("BODY library of the top")')
Path("top/flows/flow.py").write_text("import library\n" + Path("flow.py").read_text())
call("run", "--local", "--root-dir", "top", "top/flows/flow.py", "parent")
os.chdir("top")
call("run", "--local", "flows/flow.py", "parent")
