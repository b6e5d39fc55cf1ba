"""Errors that cross a task call, and what a parent may catch."""

import asyncio

import flyte
import flyte.errors
from transcript import attempt, show

env = flyte.TaskEnvironment("errs")


class Own(Exception):
    pass


class WithArguments(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.a = a


KINDS = {
    "value": lambda: ValueError("bad"), "key": lambda: KeyError("k"), "own": lambda: Own("mine"),
    "arguments": lambda: WithArguments(1, 2), "empty": lambda: RuntimeError(), "group": lambda: ExceptionGroup("g", [ValueError("x")]),
    "assertion": lambda: AssertionError("a"), "zero": lambda: ZeroDivisionError("z"),
    "user": lambda: flyte.errors.RuntimeUserError("MyCode", "said"),
    "system": lambda: flyte.errors.RuntimeSystemError("SysCode", "said"),
    "oom": lambda: flyte.errors.OOMError("oom"), "timeout": lambda: asyncio.TimeoutError("t"),
    "custom": lambda: flyte.errors.CustomError("Cc", "mm"),
    "interrupted": lambda: flyte.errors.TaskInterruptedError("i"),
    "retries": lambda: flyte.errors.RetriesExhaustedError("r"),
}


@env.task
async def fail(kind: str) -> int:
    raise KINDS[kind]()


@env.task
def sync_fail(kind: str) -> int:
    raise KINDS[kind]()


@env.task
async def describe(kind: str) -> str:
    try:
        await fail(kind)
    except flyte.errors.RuntimeUserError as e:
        return f"user {e.code} {e.kind} {'mine' in str(e) or 'bad' in str(e)}"
    except flyte.errors.RuntimeSystemError as e:
        return f"system {e.code} {e.kind}"
    except flyte.errors.BaseRuntimeError as e:
        return f"base {e.code} {e.kind}"
    return "none"


@env.task
def sync_describe(kind: str) -> str:
    try:
        sync_fail(kind)
    except flyte.errors.BaseRuntimeError as e:
        return f"{e.code} {e.kind}"
    return "none"


@env.task
async def aio_describe(kind: str) -> str:
    try:
        await sync_fail.aio(kind)
    except flyte.errors.BaseRuntimeError as e:
        return f"{e.code} {e.kind}"
    return "none"


@env.task
async def middle(kind: str) -> int:
    return await fail(kind)


@env.task
async def deep(kind: str) -> str:
    try:
        await middle(kind)
    except flyte.errors.RuntimeUserError as e:
        return e.code
    return "none"


@env.task
async def rewrap(kind: str) -> int:
    try:
        return await fail(kind)
    except flyte.errors.RuntimeUserError as e:
        raise Own("wrapped") from e


@env.task
async def fallback(kind: str) -> int:
    try:
        return await fail(kind)
    except Exception:
        return 7


for kind in KINDS:
    attempt(f"describe {kind}", lambda: flyte.run(describe, kind).outputs()[0])
    attempt("  sync", lambda: flyte.run(sync_describe, kind).outputs()[0])
    attempt("  aio", lambda: flyte.run(aio_describe, kind).outputs()[0])
    attempt("  run", lambda: flyte.run(fail, kind).outputs()[0])
    attempt("  fallback", lambda: flyte.run(fallback, kind).outputs()[0])
for kind in ("value", "own", "user"):
    attempt(f"deep {kind}", lambda: flyte.run(deep, kind).outputs()[0])
    attempt(f"middle {kind}", lambda: flyte.run(middle, kind).outputs()[0])
attempt("rewrap", lambda: flyte.run(rewrap, "value").outputs()[0])
attempt("outside", lambda: fail("value"))
attempt("outside sync", lambda: sync_fail("value"))
attempt("outside sync message", lambda: sync_fail("own"))
try:
    flyte.run(fail, "own")
except Exception as e:
    show("message has text", "mine" in str(e))
    show("is user error", isinstance(e, flyte.errors.RuntimeUserError))
    show("code", e.code)
    show("kind", e.kind)
