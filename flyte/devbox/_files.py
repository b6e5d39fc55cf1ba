"""Signed uploads and downloads over HTTP.

A URL carries what it allows, until when, and a signature over both; the key never leaves the devbox. PUT stores one
object whose MD5 the URL may name; GET gives one.
"""

import hmac
import os
import secrets
import time
from base64 import b64encode
from hashlib import md5, sha256
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from ._documents import read_document
from ._http import Answer, Refused, Request


class FileServer:
    """Serves signed URLs.

    :param key: what URLs are signed with.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.origin = ""
        """Where URLs point to; known when somebody listens."""

    def upload_url(self, path: Path, content_md5: bytes, expires_at: float) -> str:
        """A URL that takes one object by PUT, and writes it to ``path``."""
        digest = b64encode(content_md5).decode() if content_md5 else ""
        return self._signed("PUT", f"/upload/{quote(path.name)}", {"to": str(path), "md5": digest}, expires_at)

    def download_url(self, uri: str, expires_at: float) -> str:
        """A URL that gives what is at ``uri`` by GET."""
        return self._signed("GET", f"/download/{quote(uri.rpartition('/')[2])}", {"from": uri}, expires_at)

    def _signed(self, method: str, path: str, says: dict[str, str], expires_at: float) -> str:
        says = {**says, "expires": str(round(expires_at))}
        return f"{self.origin}{path}?{urlencode({**says, 'signature': self._sign(method, path, says)})}"

    def _sign(self, method: str, path: str, says: dict[str, str]) -> str:
        text = "\n".join([method, path, *(f"{name}={value}" for name, value in sorted(says.items()))])
        return hmac.new(self._key, text.encode(), sha256).hexdigest()

    def _allowed(self, method: str, target: str) -> dict[str, str]:
        parts = urlsplit(target)
        says = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        signature = says.pop("signature", "")
        wanted = self._sign(method, parts.path, says)
        if not hmac.compare_digest(signature.encode(), wanted.encode()):
            raise Refused(403, "the signature does not fit the URL")
        if int(says["expires"]) < time.time():
            raise Refused(403, "the URL has expired; ask for another")
        return says

    # Requests ---------------------------------------------------------------------------------------------------------

    async def put(self, request: Request) -> Answer:
        """Take one object."""
        await self._take(request, self._allowed("PUT", request.target))
        return Answer()

    async def get(self, request: Request) -> Answer:
        """Give one object."""
        return Answer(body=await self._give(self._allowed("GET", request.target)))

    async def _take(self, request: Request, says: dict[str, str]) -> None:
        if request.length is None:
            raise Refused(411, "an upload needs a Content-Length")
        if says["md5"] and request.headers.get("content-md5", says["md5"]) != says["md5"]:
            raise Refused(400, "Content-MD5 is not what the URL was made for")
        target = Path(says["to"])
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written under another name first, so that nobody ever sees a half of it.
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        digest = md5(usedforsecurity=False)
        try:
            with _new_file(unfinished) as file:
                async for piece in request.body():
                    digest.update(piece)
                    file.write(piece)
            if says["md5"] and b64encode(digest.digest()).decode() != says["md5"]:
                raise Refused(400, "the content does not have the MD5 that was announced")
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)

    async def _give(self, says: dict[str, str]) -> bytes:
        content = await read_document(says["from"])
        if content is None:
            raise Refused(404, "there is no such file")
        return content


def _new_file(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
