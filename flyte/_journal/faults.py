"""Errors as the journal keeps them: JSON, without anything secret."""

import json
import traceback
from typing import Any

from .redaction import redact

_TRACEBACK_CHARACTERS = 20_000


def fault_document(error: BaseException) -> str:
    """An error as JSON: ``type``, ``code``, ``kind``, ``message`` and ``traceback``."""
    message = str(error)
    text = "".join(traceback.format_exception(error, limit=-30))
    if len(text) > _TRACEBACK_CHARACTERS:
        text = "...\n" + text[-_TRACEBACK_CHARACTERS:]
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "code": getattr(error, "code", type(error).__name__),
        "kind": getattr(error, "kind", "user"),
        "message": redact(message),
        "traceback": redact(text),
    }
    return json.dumps(document, default=str)
