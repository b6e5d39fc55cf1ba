"""Calling an address that the user gave, to say that a run waits."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flyte._definition.condition import ConditionWebhook

_LONGEST_S = 10.0
_ANSWERING = "{callback_uri}"


async def call_webhook(webhook: ConditionWebhook, answering: str) -> str | None:
    """POST the payload as JSON, and give what went wrong, in words, or None.

    The words name the host, but neither the rest of the address nor the answer: a webhook's path is often its password.

    :param answering: stands in the payload for ``{callback_uri}``.
    """
    import httpx

    payload = _filled(webhook.payload or {}, answering)
    try:
        async with httpx.AsyncClient(timeout=_LONGEST_S) as client, asyncio.timeout(_LONGEST_S):
            (await client.post(webhook.url, json=payload)).raise_for_status()
    except (httpx.InvalidURL, httpx.HTTPError, TimeoutError) as error:
        status = f" {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
        return f"{urlsplit(webhook.url).hostname} could not be called ({type(error).__name__}{status})"
    return None


def _filled(payload: Any, answering: str) -> Any:
    if isinstance(payload, str):
        return payload.replace(_ANSWERING, answering)
    if isinstance(payload, Mapping):
        return {key: _filled(value, answering) for key, value in payload.items()}
    return [_filled(one, answering) for one in payload] if isinstance(payload, list) else payload
