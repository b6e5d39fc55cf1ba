"""Signed uploads and downloads: a small HTTP/1.1 server on loopback.

A URL carries what it allows, until when, and a signature over both; the key never leaves the devbox. PUT stores one
object whose MD5 the URL may name; GET gives one.
"""

import asyncio
import contextlib
import hmac
import os
import secrets
import time
from base64 import b64encode
from hashlib import md5, sha256
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from flyte._core.log import logger

from ._documents import read_document

_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_IDLE_S = 60.0
"""How long a client may say nothing in the middle of a request, or between two."""
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    500: "Internal Server Error",
}


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FileServer:
    """Serves signed URLs.

    :param key: what URLs are signed with.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._server: asyncio.Server | None = None
        self._origin = ""
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on loopback, on ``port`` or, if it is 0 or taken, on any."""
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_HEAD_BYTES)
        except OSError:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        self._origin = f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def upload_url(self, path: Path, content_md5: bytes, expires_at: float) -> str:
        """A URL that takes one object by PUT, and writes it to ``path``."""
        digest = b64encode(content_md5).decode() if content_md5 else ""
        return self._signed("PUT", f"/upload/{quote(path.name)}", {"to": str(path), "md5": digest}, expires_at)

    def download_url(self, uri: str, expires_at: float) -> str:
        """A URL that gives what is at ``uri`` by GET."""
        return self._signed("GET", f"/download/{quote(uri.rpartition('/')[2])}", {"from": uri}, expires_at)

    def _signed(self, method: str, path: str, says: dict[str, str], expires_at: float) -> str:
        says = {**says, "expires": str(round(expires_at))}
        return f"{self._origin}{path}?{urlencode({**says, 'signature': self._sign(method, path, says)})}"

    def _sign(self, method: str, path: str, says: dict[str, str]) -> str:
        text = "\n".join([method, path, *(f"{name}={value}" for name, value in sorted(says.items()))])
        return hmac.new(self._key, text.encode(), sha256).hexdigest()

    def _allowed(self, method: str, target: str) -> dict[str, str]:
        parts = urlsplit(target)
        says = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        signature = says.pop("signature", "")
        wanted = self._sign("GET" if method == "HEAD" else method, parts.path, says)
        if not hmac.compare_digest(signature.encode(), wanted.encode()):
            raise _Refused(403, "the signature does not fit the URL")
        if int(says["expires"]) < time.time():
            raise _Refused(403, "the URL has expired; ask for another")
        return says

    # Requests ---------------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client went away, or never said anything sensible
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may be used for another."""
        async with asyncio.timeout(_IDLE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, _, rest = first.partition(" ")
        keep = headers.get("connection", "").lower() != "close"
        try:
            says = self._allowed(method, rest.rpartition(" ")[0])
            if method == "PUT":
                if headers.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await self._take(reader, headers, says)
                body = b""
            elif method in ("GET", "HEAD"):
                body = await self._give(says)
            else:
                raise _Refused(405, f"method {method} is not served")
            status = 200
        except _Refused as refused:
            status, body, keep = refused.status, f"{refused}\n".encode(), False
        except OSError as error:
            logger.warning("a request for files failed: %s", error)
            status, body, keep = 500, b"the file could not be read or written\n", False
        answer = [f"HTTP/1.1 {status} {_PHRASES[status]}", f"Content-Length: {len(body)}"]
        answer += ["X-Content-Type-Options: nosniff", f"Connection: {'keep-alive' if keep else 'close'}", "", ""]
        writer.write("\r\n".join(answer).encode() + (b"" if method == "HEAD" else body))
        await writer.drain()
        return keep

    async def _take(self, reader: asyncio.StreamReader, headers: dict[str, str], says: dict[str, str]) -> None:
        length = headers.get("content-length", "")
        if not length.isdigit():
            raise _Refused(411, "an upload needs a Content-Length")
        if says["md5"] and headers.get("content-md5", says["md5"]) != says["md5"]:
            raise _Refused(400, "Content-MD5 is not what the URL was made for")
        target = Path(says["to"])
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name first, so that nobody ever sees a half of it.
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        digest, left = md5(usedforsecurity=False), int(length)
        try:
            with _new_file(unfinished) as file:
                while left:
                    async with asyncio.timeout(_IDLE_S):
                        chunk = await reader.read(min(left, _CHUNK_BYTES))
                    if not chunk:
                        raise asyncio.IncompleteReadError(b"", left)
                    left -= len(chunk)
                    digest.update(chunk)
                    file.write(chunk)
            if says["md5"] and b64encode(digest.digest()).decode() != says["md5"]:
                raise _Refused(400, "the content does not have the MD5 that was announced")
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)

    async def _give(self, says: dict[str, str]) -> bytes:
        content = await read_document(says["from"])
        if content is None:
            raise _Refused(404, "there is no such file")
        return content


def _new_file(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
