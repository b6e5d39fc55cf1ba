"""HTTP/1.1 on loopback, as little of it as signed URLs and the Connect protocol need.

What is asked goes to one handler for each method; a handler never sees a socket.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from flyte._core.log import logger

_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
_IDLE_S = 60.0
"""How long a client may say nothing in the middle of a request, or between two."""
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    501: "Not Implemented",
}


class Refused(Exception):
    """A request that is not served; the message says why.

    :param status: of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    :param target: path and query, as they came.
    :param headers: by lower-case name.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def length(self) -> int | None:
        """How many bytes the body has; None where that was not announced."""
        said = self.headers.get("content-length", "")
        return int(said) if said.isdecimal() else None

    async def body(self) -> AsyncIterator[bytes]:
        """The body, in pieces.

        :raises Refused: it is framed in no way that is known here.
        :raises asyncio.IncompleteReadError: the client went away.
        """
        if self.headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := await self._chunk_size():
                async for piece in self._exactly(size):
                    yield piece
                await self._line()
            while await self._line():
                pass  # trailers
        elif self.length is not None:
            async for piece in self._exactly(self.length):
                yield piece
        elif "transfer-encoding" in self.headers or "content-length" in self.headers:
            raise Refused(400, "the length of the body cannot be read")

    async def whole(self, at_most: int) -> bytes:
        """The body, in one piece.

        :param at_most: how many bytes it may have.
        :raises Refused: it has more.
        """
        pieces, size = [], 0
        async for piece in self.body():
            size += len(piece)
            if size > at_most:
                raise Refused(413, f"the body has more than {at_most} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def gone(self) -> None:
        """Return when the client has closed the connection. Only for when the body was read."""
        while await self.reader.read(_CHUNK_BYTES):
            pass

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            async with asyncio.timeout(_IDLE_S):
                piece = await self.reader.read(min(size, _CHUNK_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(piece)
            yield piece

    async def _chunk_size(self) -> int:
        word = (await self._line()).partition(b";")[0].strip()
        if not word or word.strip(b"0123456789abcdefABCDEF"):  # int() would take a sign as well
            raise Refused(400, "the length of a chunk cannot be read")
        return int(word, 16)

    async def _line(self) -> bytes:
        async with asyncio.timeout(_IDLE_S):
            return (await self.reader.readuntil(b"\r\n"))[:-2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told.

    :param body: whole, or in pieces as they come to be known.
    :param keep: whether the connection may be used again; not where the request was not read to its end.
    """

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True


Handler = Callable[[Request], Awaitable[Answer]]


class HttpServer:
    """Listens on loopback.

    :param handlers: by method; any other is refused.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on ``port`` or, if it is 0 or taken, on any."""
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_HEAD_BYTES)
        except OSError:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client went away, or never said anything sensible
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may be used for another."""
        async with asyncio.timeout(_IDLE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, _, rest = first.partition(" ")
        request = Request(method, rest.rpartition(" ")[0], headers, reader, writer)
        keep = headers.get("connection", "").lower() != "close"
        try:
            handler = self._handlers.get(method)
            if handler is None:
                raise Refused(405, f"method {method} is not served")
            answer = await handler(request)
            keep = keep and answer.keep
        except Refused as refused:
            # The body may be there still, unread, so nothing else can come on this connection.
            answer, keep = Answer(refused.status, f"{refused}\n".encode()), False
        except OSError as error:
            logger.warning("a request over HTTP failed: %s", error)
            answer, keep = Answer(500, b"the file could not be read or written\n"), False
        if isinstance(answer.body, bytes):
            writer.write(_head(answer, keep, f"Content-Length: {len(answer.body)}"))
            if method != "HEAD":
                writer.write(answer.body)
            await writer.drain()
            return keep
        # Whether the client has gone is only seen by reading on, so nothing else can come on this connection.
        writer.write(_head(answer, False, "Transfer-Encoding: chunked"))
        await _until_gone(request, _send(answer.body, writer))
        return False


def _head(answer: Answer, keep: bool, framing: str) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}", framing, "X-Content-Type-Options: nosniff"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    lines += [f"Connection: {'keep-alive' if keep else 'close'}", "", ""]
    return "\r\n".join(lines).encode()


async def _send(pieces: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
    async for piece in pieces:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _until_gone(request: Request, sending: Awaitable[None]) -> None:
    """Send, and stop when nobody listens any more."""
    tasks = [asyncio.ensure_future(sending), asyncio.ensure_future(request.gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, OSError):
                logger.error("an answer over HTTP broke off", exc_info=outcome)
