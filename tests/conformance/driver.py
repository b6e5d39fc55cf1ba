"""Runs programs in one mode, and writes down what can be seen of each: ``driver.py MODE FOLDER AT_ONCE [NAME ...]``.

Both modes are looked at in the same way, so what was written can be compared as it stands. One JSON document for each
program, ``FOLDER/NAME.json``, appears when the program has ended.
"""

import asyncio
import dataclasses
import enum
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from conformance_programs import programs

import flyte
import flyte.remote
from flyte.models import ActionPhase

HERE = Path(__file__).parent
PATIENCE_S = 60.0


def shown(value: Any) -> Any:
    """A value with its type, as JSON: equal if and only if the values are."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if value is None or (isinstance(value, (bool, int, str)) and type(value) in (bool, int, str)):
        return [name, value]
    if isinstance(value, enum.Enum):
        return [name, value.name]
    if isinstance(value, (set, frozenset)):
        return [name, sorted((shown(one) for one in value), key=repr)]
    if isinstance(value, (list, tuple)):
        return [name, [shown(one) for one in value]]
    if isinstance(value, dict):
        return [name, [[shown(key), shown(one)] for key, one in value.items()]]
    if dataclasses.is_dataclass(value):
        return [name, [[one.name, shown(getattr(value, one.name))] for one in dataclasses.fields(value)]]
    if hasattr(type(value), "model_fields"):
        return [name, [[one, shown(getattr(value, one))] for one in type(value).model_fields]]
    return [name, repr(value)]


async def answer(run: str, answers: dict[str, Any]) -> None:
    """Answer each condition as soon as the run waits for it."""
    left = dict(answers)
    until = time.monotonic() + PATIENCE_S
    while left and time.monotonic() < until:
        await asyncio.sleep(0.1)
        try:
            waiting = [one async for one in flyte.remote.Action.listall.aio(run) if one.phase is ActionPhase.PAUSED]
        except flyte.errors.RuntimeUserError:
            continue  # it has not begun
        for name in [name for name in left if any(name in str(one.task_name) for one in waiting)]:
            await flyte.signal.aio(run, name, left.pop(name))


async def observe(name: str, program: Any, mode: Any) -> dict[str, Any]:
    """Run a program, and describe the run."""
    outputs: Any = None
    raised: BaseException | None = None
    run_name = ""
    for number in range(program.times):
        run_name = f"p{number}-{name.replace('_', '-')}"[:30].rstrip("-")
        context = flyte.with_runcontext(mode=mode, name=run_name, **program.settings)
        clerk = asyncio.create_task(answer(run_name, program.answers))
        try:
            run: Any = await context.run.aio(program.task, **program.args)
            await run.wait.aio()
            if run.phase is ActionPhase.SUCCEEDED:
                outputs = shown(tuple(await run.outputs.aio()))
        except Exception as error:
            raised = error
        finally:
            clerk.cancel()
    try:
        seen = await flyte.remote.Run.get.aio(run_name)
    except flyte.errors.RuntimeUserError:
        # No run was made: what was raised is all there is.
        return {"refused": raised and [type(raised).__name__, str(raised)]}
    by_name = [one async for one in flyte.remote.Action.listall.aio(run_name)]
    if not by_name:
        return {"refused": raised and [type(raised).__name__, str(raised)]}
    actions: dict[str, Any] = {}
    for action in by_name:
        details = await action.details.aio()
        document = details.to_dict()
        fault = details.error_info or details.abort_info
        actions[action.name] = {
            "task": action.task_name,
            "parent": document["parent"],
            "group": document["group"],
            "phase": action.phase.value,
            "attempts": document["attempts"],
            "cache": document["cache"],
            "error": [fault.type, fault.code, fault.kind, fault.message] if fault is not None else None,
        }
    status = None
    try:
        await seen.raise_for_status.aio()
    except Exception as error:
        status = [type(error).__name__, getattr(error, "code", None), str(error)]
    if program.in_any_order:
        actions = {
            "names": sorted(actions),
            "seen": sorted(actions.values(), key=repr),
        }
    return {"phase": seen.phase.value, "outputs": outputs, "status": status, "actions": actions}


async def main(mode: str, folder: Path, at_once: int, names: list[str]) -> None:
    """Run the programs called ``names``, ``at_once`` at a time."""
    endpoint = None
    if mode == "remote":
        said = Path(os.environ["FLYTE_HOME"]) / "devbox" / "endpoint.json"
        endpoint = json.loads(said.read_bytes())["endpoint"]
    flyte.init(root_dir=HERE, endpoint=endpoint, insecure=endpoint is not None)
    every = programs()
    places = asyncio.Semaphore(at_once)

    async def one(name: str) -> None:
        async with places:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    said = await observe(name, every[name], mode)
            except Exception:
                said = {"lost": traceback.format_exc()}
            unfinished = folder / f"{name}.part"
            unfinished.write_text(json.dumps(said))
            os.replace(unfinished, folder / f"{name}.json")

    await asyncio.gather(*map(one, names or list(every)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
