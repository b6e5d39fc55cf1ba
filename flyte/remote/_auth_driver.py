"""Does what login flows ask for: HTTP with httpx, a browser and its way back, commands, waits. Each has a deadline."""

import asyncio
import contextlib
import hmac
import secrets
import ssl
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flyte._core.log import logger

from ._auth_flows import (
    Browse,
    Flow,
    Pause,
    PostForm,
    RefusedLogin,
    Reply,
    RunCommand,
    Show,
    Tokens,
    UnreachableIssuer,
)
from ._connection import Connection

_LARGEST_REPLY_BYTES = 1 << 20
_LARGEST_REQUEST_BYTES = 16 << 10
_REQUEST_S = 5.0  # for a browser to send the few lines of its request
_PAGE = "<!doctype html><title>flyte</title><p>{}</p>"


def _write_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Driver:
    """Runs flows for one connection.

    :param open_browser: opens an address, and says whether it did.
    :param show: tells a person something.
    """

    def __init__(
        self,
        connection: Connection,
        open_browser: Callable[[str], bool] = webbrowser.open,
        show: Callable[[str], None] = _write_line,
    ) -> None:
        self._connection = connection
        self._open_browser = open_browser
        self._show = show

    async def run(self, flow: Flow) -> Tokens:
        """Run ``flow`` to its end and give its tokens.

        :raises RefusedLogin: there are none to be had so.
        :raises UnreachableIssuer: the issuer did not answer in time.
        """
        try:
            async with asyncio.timeout(self._connection.limits.login_s):
                result: Any = None
                while True:
                    try:
                        ask = flow.send(result)
                    except StopIteration as end:
                        tokens: Tokens = end.value
                        return tokens
                    result = await self._do(ask)
        except TimeoutError:
            raise RefusedLogin(
                "timeout", f"nobody logged in within {self._connection.limits.login_s:g} s; try again"
            ) from None
        finally:
            flow.close()

    async def _do(self, ask: Any) -> Any:
        match ask:
            case PostForm():
                return await self._post(ask)
            case Browse():
                return await self._browse(ask)
            case RunCommand():
                return await self._run_command(ask.words)
            case Pause():
                await asyncio.sleep(ask.delay_s)
            case Show():
                self._show(ask.text)
        return None

    # HTTP.

    async def _post(self, ask: PostForm) -> Reply:
        status, document = await self._request("POST", ask.url, data=dict(ask.form), headers=dict(ask.headers))
        return Reply(status, document)

    async def read_document(self, url: str) -> Mapping[str, Any] | None:
        """The JSON document at ``url``; None if there is none.

        :raises UnreachableIssuer: nobody answers there.
        """
        status, document = await self._request("GET", url)
        return document if status == 200 and document else None

    async def _request(self, method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
        import httpx

        connection = self._connection
        verify: Any = True
        if connection.insecure_skip_verify:
            verify = False
        elif connection.ca_cert_file_path is not None:
            verify = ssl.create_default_context(cafile=connection.ca_cert_file_path)
        host = urlsplit(url).hostname or ""
        here = host in ("localhost", "127.0.0.1", "::1")
        try:
            async with (
                asyncio.timeout(connection.limits.http_s),
                httpx.AsyncClient(
                    verify=verify,
                    proxy=None if here else connection.http_proxy_url,
                    trust_env=not here,
                    timeout=connection.limits.http_s,
                ) as http,
                http.stream(method, url, **more) as response,
            ):
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > _LARGEST_REPLY_BYTES:
                        raise UnreachableIssuer(f"{host} answered with more than {_LARGEST_REPLY_BYTES} bytes")
                return response.status_code, _document(body)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, TimeoutError, OSError) as error:
            # The kind of failure is enough, and what httpx quotes may be part of a request.
            raise UnreachableIssuer(
                f"the issuer of tokens at {host} cannot be reached ({type(error).__name__})"
            ) from None

    # The browser.

    async def _browse(self, ask: Browse) -> dict[str, str]:
        redirect = urlsplit(ask.redirect_uri)
        back: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        async with self._listening(redirect.port or 80, redirect.path or "/", ask.state, back):
            self._show(f"To log in, open {ask.url}")
            try:
                opened = await asyncio.to_thread(self._open_browser, ask.url)
            except webbrowser.Error:
                opened = False
            if not opened:
                logger.info("no browser could be opened; open the address yourself")
            return await back

    @asynccontextmanager
    async def _listening(
        self, port: int, path: str, state: str, back: "asyncio.Future[dict[str, str]]"
    ) -> AsyncIterator[None]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with asyncio.timeout(_REQUEST_S):
                    status, said, query = _read_return(await reader.readuntil(b"\r\n\r\n"), path, state)
                    page = _PAGE.format(said)
                    writer.write(
                        f"HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\n"
                        f"content-length: {len(page)}\r\nconnection: close\r\n\r\n{page}".encode()
                    )
                    await writer.drain()
                if query is not None and not back.done():
                    back.set_result(query)
            except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass
            finally:
                writer.close()

        servers = []
        try:
            servers.append(await asyncio.start_server(serve, "127.0.0.1", port, limit=_LARGEST_REQUEST_BYTES))
            with contextlib.suppress(OSError):  # a browser may take localhost for ::1, where there is IPv6
                servers.append(await asyncio.start_server(serve, "::1", port, limit=_LARGEST_REQUEST_BYTES))
        except OSError as error:
            raise RefusedLogin(
                "redirect_uri",
                f"port {port} of this machine, where the login comes back, cannot be used ({error.strerror}); end what "
                "uses it, or use DeviceFlow",
            ) from None
        try:
            yield
        finally:
            for server in servers:
                server.close()

    # Commands.

    async def _run_command(self, words: tuple[str, ...]) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise RefusedLogin("command", f"the token command {words[0]!r} cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(self._connection.limits.http_s):
                output, _ = await process.communicate()
        except TimeoutError:
            raise UnreachableIssuer(
                f"the token command {words[0]!r} did not end within {self._connection.limits.http_s:g} s"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.shield(process.wait())
        if process.returncode:
            raise UnreachableIssuer(f"the token command {words[0]!r} ended with exit code {process.returncode}")
        try:
            return output.decode()
        except UnicodeDecodeError:
            return ""


def new_secret() -> str:
    """A random text of 86 letters for a state or a verifier (RFC 7636 asks for 43 to 128)."""
    return secrets.token_urlsafe(64)


def _document(body: bytes) -> dict[str, Any]:
    import json

    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _read_return(request: bytes, path: str, state: str) -> tuple[str, str, dict[str, str] | None]:
    """Status and text of the answer, and the query if this is the browser's way back."""
    method, _, rest = request.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    target = urlsplit(rest.partition(" ")[0])
    query = dict(parse_qsl(target.query))
    if method != "GET" or target.path != path:
        return "404 Not Found", "Nothing is here.", None
    # Anybody on this machine, and any page in the browser, can call this address; only the issuer knows the state.
    if not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
        return "400 Bad Request", "This is not the login that was begun.", None
    if query.get("error"):
        return "200 OK", "The login was refused. You can close this page.", query
    return "200 OK", "You are logged in. You can close this page.", query
