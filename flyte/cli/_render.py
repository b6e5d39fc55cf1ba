"""What the command writes of results and failures: readable text for people, JSON for machines.

Called by `_run` and `main`. It knows nothing of typer.
"""

import asyncio
import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TextIO

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_EXAMPLES = os.path.join(_PACKAGE, "_examples") + os.sep
_IMPORTLIB = ("<frozen importlib", os.path.dirname(importlib.__file__) + os.sep)
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep


# Results --------------------------------------------------------------------------------------------------------------


def json_text(value: Any) -> str:
    """``value`` as one line of JSON, in the form that an option of the same type reads back."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        pass
    # Dataclasses, models, dates, enums, bytes, sets, NaN: pydantic's rules, which also read them.
    from pydantic_core import to_json

    return to_json(value, inf_nan_mode="strings", bytes_mode="base64", fallback=repr).decode()


def run_document(
    run: str | None,
    phase: str | None,
    outputs: Mapping[str, Any] | None,
    duration_s: float,
    error: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``--output json`` prints; ``"error"`` is there only if something failed.

    :param run: name of the run; None if it never began.
    :param phase: as in ``flyte.models.ActionPhase``, in lower case; None if the command line was at fault.
    """
    document = {"run": run, "phase": phase, "outputs": outputs, "duration_s": round(duration_s, 6)}
    return document if error is None else {**document, "error": error}


def print_json(document: Mapping[str, Any]) -> None:
    """Write ``document`` as one line of JSON to standard output."""
    print(json_text(document), flush=True)


def print_outputs(outputs: Mapping[str, Any]) -> None:
    """Write results for a reader to standard output; nothing if there are none.

    One result is written as it is; several with their names.
    """
    if len(outputs) == 1:
        _print_value(next(iter(outputs.values())))
        return
    for name, value in outputs.items():
        _print_value(value, f"{name}: ")


def _print_value(value: Any, label: str = "") -> None:
    text = value if isinstance(value, str) else repr(value)
    # What fits on a line needs no layout, and importing rich for it would take longer than many a run.
    if isinstance(value, str) or len(text) + len(label) <= 100:
        print(f"{label}{text}", flush=True)
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.pretty import Pretty

        console = Console()
        if label:
            console.print(label.rstrip(), highlight=False)
        console.print(Pretty(value))
    else:
        from pprint import pformat

        print(f"{label}\n{pformat(value)}" if label else pformat(value), flush=True)


# Failures -------------------------------------------------------------------------------------------------------------


def traceback_text(error: BaseException, verbose: bool = False) -> str:
    """The traceback of ``error`` as Python prints it, with the user's frames only.

    :param verbose: keep the frames of this package too.
    """
    if not verbose:
        for one in _linked(error, set()):
            one.__traceback__ = users_frames(one.__traceback__)
    return "".join(traceback.format_exception(error))


def _linked(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    yield from _linked(error.__cause__, seen)
    yield from _linked(error.__context__, seen)
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _linked(part, seen)


def users_frames(trace: TracebackType | None) -> TracebackType | None:
    """``trace`` without the frames of this package, of the import machinery, and of the event loop that we started."""
    kept: list[TracebackType] = []
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        # The loop's frames between two of the user's tell which of its functions they called; before the first they
        # are ours.
        if not _is_ours(filename) and (kept or not filename.startswith(_ASYNCIO)):
            kept.append(trace)
        trace = trace.tb_next
    result: TracebackType | None = None
    for link in reversed(kept):
        result = TracebackType(result, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return result


def _is_ours(filename: str) -> bool:
    if filename.startswith(_PACKAGE):
        return not filename.startswith(_EXAMPLES)  # those are programs as a user writes them
    return filename.startswith(_IMPORTLIB)


def failure_document(error: BaseException, verbose: bool = False) -> dict[str, Any]:
    """The failure as the value of ``"error"`` in ``--output json``."""
    return {
        "type": type(error).__name__,
        "code": getattr(error, "code", type(error).__name__),
        "kind": getattr(error, "kind", "user"),
        "message": str(error),
        "notes": list(getattr(error, "__notes__", ())),
        "traceback": traceback_text(error, verbose),
    }


def counted(count: int, noun: str) -> str:
    """``1 file``, ``1,200 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def write_error(message: str, stream: TextIO | None = None) -> None:
    """One line ``Error: ...`` to standard error."""
    print(f"Error: {message}", file=stream or sys.stderr, flush=True)
