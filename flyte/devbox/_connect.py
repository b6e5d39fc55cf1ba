"""The services again, in the Connect protocol over HTTP/1.1, which is what the published SDK speaks.

Wire-protocol section 2.1 says what goes over the wire. The handlers are the very ones that gRPC calls.
"""

import contextlib
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from flyte._core.log import logger

from ._http import Answer, Request
from ._refusal import Code, Refusal

_LARGEST_BYTES = 256 * 1024 * 1024
"""Of a request: task specs and inputs are far smaller, and it is held in memory."""
_COMPRESSED, _LAST = 1, 2
_HTTP = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "not_found": 404,
    "already_exists": 409,
    "aborted": 409,
    "internal": 500,
    "unimplemented": 501,
}
_CODES = {
    Code.INVALID: "invalid_argument",
    Code.MISSING: "not_found",
    Code.EXISTS: "already_exists",
    Code.PRECONDITION: "failed_precondition",
    Code.ABORTED: "aborted",
}


class _Failed(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def document(self) -> dict[str, str]:
        return {"code": self.code, "message": str(self)}


@dataclass(frozen=True, slots=True)
class _Details(grpc.HandlerCallDetails):
    """Which method is called, as gRPC's own handlers want to be asked."""

    method: str
    invocation_metadata: Any


class _Context:
    """As much of a gRPC context as the services ask for."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of the call."""
        return tuple(self._headers.items())

    def set_code(self, code: grpc.StatusCode) -> None:
        """Nothing: whoever says UNIMPLEMENTED raises as well."""

    def set_details(self, details: str) -> None:
        """Nothing, as above."""


class ConnectServices:
    """Takes services as a gRPC server does, and answers calls of them.

    :param admit: whether a caller that shows this ``authorization`` may call.
    """

    def __init__(self, admit: Callable[[str], bool]) -> None:
        self._admit = admit
        self._handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serve these as well; what ``add_..._to_server`` of a service calls."""
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Nothing: newer stubs say the same twice."""

    async def post(self, request: Request) -> Answer:
        """Answer one call."""
        streamed = request.headers.get("content-type", "").startswith("application/connect+")
        try:
            handler, message = await self._read(request, streamed)
            context = _Context(request.headers)
            if not streamed:
                with _said():
                    answer = await handler.unary_unary(message, context)
                return _unary(request, handler.response_serializer(answer))
        except _Failed as failed:
            body = json.dumps(failed.document).encode()
            if not streamed:
                # Whoever is not admitted is not listened to either: the request was not read.
                kept = failed.code != "unauthenticated"
                return Answer(_HTTP[failed.code], body, {"Content-Type": "application/json"}, kept)
            return Answer(body=_once(_envelope(_LAST, _end(failed))), headers=_STREAM)
        return Answer(body=_messages(handler, message, context), headers=_STREAM)

    async def _read(self, request: Request, streamed: bool) -> tuple[Any, Any]:
        if not self._admit(request.headers.get("authorization", "")):
            raise _Failed(
                "unauthenticated",
                "the devbox wants its token, which lies in devbox/token of FLYTE_HOME; a client that cannot show one "
                "is served by a devbox that was started with --no-token",
            )
        raw = await request.whole(_LARGEST_BYTES)
        handler = self._handler(request)
        if handler is None or handler.request_streaming or handler.response_streaming != streamed:
            raise _Failed("unimplemented", f"the devbox does not serve {request.target}")
        kind = request.headers.get("content-type", "")
        if kind not in ("application/proto", "application/connect+proto"):
            raise _Failed("invalid_argument", f"content-type {kind!r} is not served; use application/proto")
        if streamed:
            flags, raw = _opened(raw)
            packed = request.headers.get("connect-content-encoding", "") if flags & _COMPRESSED else ""
        else:
            packed = request.headers.get("content-encoding", "")
        try:
            return handler, handler.request_deserializer(_unpacked(raw, packed))
        except _Failed:
            raise
        except Exception as error:  # protobuf's DecodeError has no base of its own
            raise _Failed("invalid_argument", f"the request cannot be read: {error}") from None

    def _handler(self, request: Request) -> Any:
        details = _Details(request.target.partition("?")[0], tuple(request.headers.items()))
        return next((found for one in self._handlers if (found := one.service(details)) is not None), None)


_STREAM = {"Content-Type": "application/connect+proto"}


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """What a handler raises, in the protocol's words."""
    try:
        yield
    except Refusal as refusal:
        raise _Failed(_CODES[refusal.code], str(refusal)) from None
    except NotImplementedError:  # what the base class of a service answers
        raise _Failed("unimplemented", "the devbox does not serve this method") from None
    except Exception as error:
        logger.exception("a call over HTTP failed")
        raise _Failed("internal", f"{type(error).__name__}: {error}") from error


async def _messages(handler: Any, message: Any, context: _Context) -> AsyncIterator[bytes]:
    failed = None
    try:
        with _said():
            async for answer in handler.unary_stream(message, context):
                yield _envelope(0, handler.response_serializer(answer))
    except _Failed as error:
        failed = error
    yield _envelope(_LAST, _end(failed))


def _end(failed: _Failed | None) -> bytes:
    return json.dumps({"error": failed.document} if failed is not None else {}).encode()


async def _once(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


def _unary(request: Request, body: bytes) -> Answer:
    headers = {"Content-Type": "application/proto"}
    # On loopback small answers cost more to pack than to send.
    if len(body) > 64 * 1024 and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Answer(200, body, headers)


def _envelope(flags: int, payload: bytes) -> bytes:
    return struct.pack(">BI", flags, len(payload)) + payload


def _opened(raw: bytes) -> tuple[int, bytes]:
    if len(raw) < 5 or len(raw) != 5 + struct.unpack_from(">I", raw, 1)[0]:
        raise _Failed("invalid_argument", "the body is not one message in an envelope")
    return raw[0], raw[5:]


def _unpacked(raw: bytes, packed: str) -> bytes:
    if packed in ("", "identity"):
        return raw
    if packed != "gzip":
        raise _Failed("unimplemented", f"encoding {packed!r} is not served; use gzip or identity")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        message = unpacker.decompress(raw, _LARGEST_BYTES)
    except zlib.error as error:
        raise _Failed("invalid_argument", f"the body is no gzip: {error}") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise _Failed("invalid_argument", f"the body is cut off, or larger than {_LARGEST_BYTES} bytes")
    return message
