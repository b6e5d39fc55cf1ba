"""What a client of a control plane does in the campaigns of ``plane.py``, also in processes of its own."""

import asyncio
import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).resolve().parent / "plane_programs"
sys.path[:0] = [str(PROGRAMS)]

ANSWER = 4
LIMITS: dict[str, float] = {
    "call_s": 10.0,
    "connect_s": 1.0,
    "keepalive_every_s": 0.5,
    "keepalive_answer_s": 1.0,
    "backoff_first_s": 0.05,
    "backoff_cap_s": 0.4,
}
"""Waits of the client and of the controller, so that a connection that died is noticed in 1.5 s instead of 18."""


def environ(home: Path) -> dict[str, str]:
    """The environment of a program that uses the devbox of ``home``."""
    return {**os.environ, "FLYTE_HOME": str(home), "FLYTE_JOURNAL": "off"}


@contextlib.contextmanager
def devbox_home(home: Path) -> Iterator[None]:
    """Use the devbox of ``home`` in this process."""
    import flyte
    from flyte.devbox._lifecycle import read_endpoint

    before = os.environ.get("FLYTE_HOME")
    os.environ["FLYTE_HOME"] = str(home)
    try:
        said = read_endpoint(home / "devbox")
        assert said is not None
        flyte.init(root_dir=PROGRAMS, endpoint=said["endpoint"], insecure=True)
        yield
    finally:
        if before is None:
            del os.environ["FLYTE_HOME"]
        else:
            os.environ["FLYTE_HOME"] = before


async def start(shape: str, name: str, folder: Path, n: int | None = None, **env_vars: str) -> Any:
    """Start a run of a shape."""
    import shapes

    import flyte

    context = flyte.with_runcontext(mode="remote", name=name, env_vars={"CHAOS_FOLDER": str(folder), **env_vars})
    arguments = () if n is None else (n,)
    return await context.run.aio(getattr(shapes, shape), *arguments)


def session(name: str, folder: str, home: str) -> str:
    """All that a client does with a run: start it, follow it, read it; and start another one and end it."""
    from flyte.remote._connection import Limits

    waits: dict[str, Any] = Limits.__init__.__kwdefaults__
    waits.update(LIMITS)
    assert dataclasses.replace(Limits(), **LIMITS) == Limits()
    with devbox_home(Path(home)):
        try:
            return asyncio.run(_session(name, Path(folder)))
        except Exception as error:
            return "".join(traceback.format_exception(error)[-3:])


async def _session(name: str, folder: Path) -> str:
    import flyte.remote

    run = await start("gathered", name, folder, 2)
    seen = [details.phase async for details in run.watch()]
    lines = [line async for line in run.get_logs.aio()]
    await run.wait.aio(quiet=True)
    outputs = (await run.outputs.aio())[0]
    other = await start("slow", f"{name}-other", folder)
    again = await flyte.remote.Run.get.aio(other.name)
    while "began" not in (folder / "marks").read_text():
        await asyncio.sleep(0.02)
    await again.wait.aio(quiet=True, wait_for="running")
    await again.abort.aio("enough")
    await other.wait.aio(quiet=True)
    return f"{outputs} {seen[-1]} {[str(line) for line in lines if 'gathered' in str(line)]} {other.phase}"
