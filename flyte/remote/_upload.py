"""Putting bytes where a control plane says: code bundles, and files of the user (wire-protocol section 4.1)."""

import asyncio
import base64
import hashlib
import json
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from flyteidl2.dataproxy.dataproxy_service_pb2 import CreateUploadLocationRequest

from flyte._core.home import home_dir
from flyte._core.log import logger
from flyte._core.threads import run_in_thread
from flyte.errors import InitializationError, RuntimeSystemError

from ._clusters import Operation
from ._plane import Plane

KEPT_S = 24 * 3600.0
"""How long an upload is taken to be there still."""
_PIECE_BYTES = 1 << 20
_RETRIES = 3
_RETRIED = frozenset((408, 429))
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_LONGEST_ASKED_S = 60.0
_NEVER_LONGER_S = 3600


def upload_timeout_s() -> float:
    """How long the bytes of one file may take: ``FLYTE_UPLOAD_TIMEOUT``, default 600.

    :raises InitializationError: the variable holds no positive number.
    """
    word = os.environ.get("FLYTE_UPLOAD_TIMEOUT") or "600"
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InitializationError(
            "InvalidConfigurationError", "user", f"FLYTE_UPLOAD_TIMEOUT={word!r} is not a number of seconds above 0"
        )
    return seconds


async def upload_file(
    plane: Plane,
    path: Path,
    *,
    name: str | None = None,
    folder: str = "",
    project: str | None = None,
    domain: str | None = None,
    remembered: bool = False,
    told: Callable[[int, int], None] | None = None,
) -> str:
    """Put a file where the control plane says; gives the URI that tasks read it by.

    :param name: of the file there.
    :param folder: files with the same one end up beside each other; of its own if not given.
    :param remembered: whether the same content need not be sent again for a day.
    :param told: is told of the bytes that were sent, and of all there are.
    :raises flyte.errors.UnionRpcError: the control plane refuses.
    :raises RuntimeSystemError: the store refuses, or cannot be reached.
    """
    digest, size_bytes = await run_in_thread(_measure, path)
    project, domain = project or plane.project, domain or plane.domain
    memory = _Memory(plane.endpoint) if remembered else None
    key = f"{project}/{domain}/{digest.hex()}/{name or path.name}"
    if memory is not None and (known := memory.find(key)) is not None:
        logger.debug("%s was sent before, to %s", path, known)
        return known
    timeout_s = upload_timeout_s()
    request = CreateUploadLocationRequest(
        project=project,
        domain=domain,
        org=plane.org,
        filename=name or path.name,
        content_md5=digest,
        filename_root=folder,
        add_content_md5_metadata=True,
    )
    request.expires_in.FromSeconds(min(int(timeout_s) + 300, _NEVER_LONGER_S))
    cluster = await plane.client.at_cluster(
        Operation.OPERATION_CREATE_UPLOAD_LOCATION, project_id=plane.project_id(project, domain)
    )
    place = await cluster.data.CreateUploadLocation(request)
    headers = {
        **dict(place.headers),
        "Content-Length": str(size_bytes),
        "Content-MD5": base64.b64encode(digest).decode(),
    }
    if place.native_url.startswith(("abfs://", "abfss://")):
        headers["x-ms-blob-type"] = "BlockBlob"
    await _put(place.signed_url, headers, path, size_bytes, timeout_s, told)
    if memory is not None:
        memory.keep(key, place.native_url)
    return str(place.native_url)


def _measure(path: Path) -> tuple[bytes, int]:
    digest, size_bytes = hashlib.md5(usedforsecurity=False), 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return digest.digest(), size_bytes


async def _put(
    url: str,
    headers: dict[str, str],
    path: Path,
    size_bytes: int,
    timeout_s: float,
    told: Callable[[int, int], None] | None,
) -> None:
    import httpx

    async def pieces() -> AsyncIterator[bytes]:
        sent_bytes = 0
        file: BinaryIO = cast(BinaryIO, await run_in_thread(path.open, "rb"))
        try:
            while piece := await run_in_thread(file.read, _PIECE_BYTES):
                yield piece
                sent_bytes += len(piece)
                if told is not None:
                    told(sent_bytes, size_bytes)
        finally:
            file.close()

    # The signature in the URL is a credential: messages name the host alone.
    where = httpx.URL(url).host
    loopback = where in ("localhost", "127.0.0.1", "::1")
    pause_s = _FIRST_PAUSE_S
    try:
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(timeout=60.0, trust_env=not loopback) as web:
            for attempt in range(_RETRIES + 1):
                asked_s: float | None = None
                try:
                    answer = await web.put(url, headers=headers, content=pieces())
                    if answer.status_code in (200, 201, 204):
                        return
                    why, again = _refusal(answer)
                    asked_s = _asked_s(answer)
                except httpx.TransportError as error:
                    why, again = f"{type(error).__name__}: {error}", True
                if not again or attempt == _RETRIES:
                    raise RuntimeSystemError(
                        "UploadFailed", f"{path.name} could not be sent to {where} after {attempt + 1} attempts: {why}"
                    )
                await asyncio.sleep(asked_s if asked_s is not None else pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    except TimeoutError:
        raise RuntimeSystemError(
            "UploadFailed",
            f"{path.name} ({size_bytes} bytes) was not sent to {where} within {timeout_s:g} s; give it longer with "
            "FLYTE_UPLOAD_TIMEOUT",
        ) from None


def _refusal(answer: Any) -> tuple[str, bool]:
    text = answer.text[:500].strip()
    code = answer.status_code
    again = code in _RETRIED or code >= 500 or (code == 400 and "RequestTimeout" in text)
    return f"{code} {answer.reason_phrase}: {text}", again


def _asked_s(answer: Any) -> float | None:
    word = answer.headers.get("retry-after", "")
    return min(float(word), _LONGEST_ASKED_S) if word.isascii() and word.isdigit() else None


# What was sent before -------------------------------------------------------------------------------------------------

_one_at_a_time = threading.Lock()


class _Memory:
    """What was sent to one control plane in the last day, in a small file of the state folder."""

    def __init__(self, endpoint: str) -> None:
        name = hashlib.md5(endpoint.encode(), usedforsecurity=False).hexdigest()
        self._path = home_dir() / "local" / "uploads" / f"{name}.json"

    def find(self, key: str) -> str | None:
        entry = self._read().get(key)
        if entry is None:
            return None
        uri = entry[0]
        # A control plane of this machine may have been deleted with all that it held.
        if uri.startswith("file://") and not os.path.exists(uri.removeprefix("file://")):
            return None
        return uri

    def keep(self, key: str, uri: str) -> None:
        with _one_at_a_time:
            known = {**self._read(), key: (uri, time.time())}
            unfinished = self._path.with_suffix(f".{os.getpid()}.part")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.write_text(json.dumps(known))
                os.replace(unfinished, self._path)
            except OSError as error:  # without it the next run sends again
                logger.debug("uploads cannot be remembered: %s", error)

    def _read(self) -> dict[str, tuple[str, float]]:
        try:
            known = json.loads(self._path.read_bytes())
            fresh = time.time() - KEPT_S
            return {key: (str(uri), float(at)) for key, (uri, at) in known.items() if at > fresh}
        except (OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged
            return {}
