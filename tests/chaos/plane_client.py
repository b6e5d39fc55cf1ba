"""What a client of a control plane does in the campaigns of ``plane.py``, also in processes of its own."""

import asyncio
import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

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


def session(name: str, folder: str, home: str, tries: int) -> str:
    """All that a client does with a run: start it, follow it, read it; and start another one and end it.

    :param tries: how often each is done by a user who is told that the control plane cannot be reached.
    """
    from flyte.remote._connection import Limits

    waits: dict[str, Any] = Limits.__init__.__kwdefaults__
    waits.update(LIMITS)
    assert dataclasses.replace(Limits(), **LIMITS) == Limits()
    with devbox_home(Path(home)):
        try:
            return asyncio.run(_session(name, Path(folder), tries))
        except Exception as error:
            return "".join(traceback.format_exception(error)[-3:])


async def _session(name: str, folder: Path, tries: int) -> str:
    import flyte.remote
    from flyte.errors import RpcTimeoutError, RpcUnavailableError, RuntimeSystemError, RuntimeUserError

    async def done(call: Callable[[], Awaitable[T]]) -> T:
        for _ in range(tries - 1):
            with contextlib.suppress(RpcUnavailableError, RpcTimeoutError, RuntimeSystemError):
                return await call()
        return await call()

    async def started(shape: str, name: str, n: int | None = None) -> Any:
        try:
            return await start(shape, name, folder, n)
        except RuntimeUserError as error:
            if tries == 1 or error.code != "RunAlreadyExistsError":
                raise
            return await flyte.remote.Run.get.aio(name)  # the try before has started it, and did not hear so

    async def watched() -> Any:
        return [details.phase async for details in run.watch()][-1]

    async def printed() -> list[str]:
        return [line async for line in run.get_logs.aio() if "gathered" in line]

    run = await done(lambda: started("gathered", name, 2))
    last, lines = await done(watched), await done(printed)
    await done(lambda: run.wait.aio(quiet=True))
    outputs = (await done(run.outputs.aio))[0]
    other = await done(lambda: started("slow", f"{name}-other"))
    while "began" not in (folder / "marks").read_text():
        await asyncio.sleep(0.02)
    again = await done(lambda: flyte.remote.Run.get.aio(other.name))
    await done(lambda: again.wait.aio(quiet=True, wait_for="running"))
    await done(lambda: again.abort.aio("enough"))
    await done(lambda: other.wait.aio(quiet=True))
    return f"{outputs} {last} {lines} {other.phase}"
