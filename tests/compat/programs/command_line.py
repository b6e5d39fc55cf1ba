"""flyte run, with options of each type."""

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
