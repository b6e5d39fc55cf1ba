"""Errors as the journal keeps them: JSON, without anything secret."""

import json
import os
import traceback
from typing import Any

from flyte._core.raised import code_of, kind_of, line_of

from .redaction import redact

_TRACEBACK_CHARACTERS = 20_000


_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_EXAMPLES = os.path.join(_OWN, "_examples") + os.sep


def fault_document(error: BaseException) -> str:
    """An error as JSON: ``type``, ``code``, ``kind``, ``message``, ``traceback`` and ``raised``."""
    message = str(error)
    text = "".join(_without_own_frames(traceback.TracebackException.from_exception(error, limit=-60)).format())
    if len(text) > _TRACEBACK_CHARACTERS:
        text = "...\n" + text[-_TRACEBACK_CHARACTERS:]
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "code": code_of(error),
        "kind": kind_of(error, "user"),
        "message": redact(message),
        "traceback": redact(text),
        "raised": redact(line_of(error)),
    }
    return json.dumps(document, default=str)


def _without_own_frames(told: traceback.TracebackException) -> traceback.TracebackException:
    """``told`` as a reader wants it: their own code, without what lies between."""
    link: traceback.TracebackException | None = told
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        kept = [f for f in link.stack if not f.filename.startswith(_OWN) or f.filename.startswith(_EXAMPLES)]
        link.stack = traceback.StackSummary.from_list(kept)
        link = link.__cause__ or link.__context__
    return told
