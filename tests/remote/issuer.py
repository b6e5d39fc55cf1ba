"""An issuer of tokens on loopback, as strict as a real one about PKCE, secrets, codes and refresh tokens."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

CLIENT, SECRET = "flyte-client", "a secret/with+signs"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Issuer:
    """Gives opaque tokens; ``valid`` are the access tokens that a server should take."""

    def __init__(self) -> None:
        self.valid: set[str] = set()
        self.refresh_tokens: set[str] = set()
        self.seen: list[dict[str, str]] = []
        self.lasts_s: float | None = 3600
        self.rotates = True
        self.gives_refresh_token = True
        self.delay_s = 0.0
        self.broken: int | None = None
        self.pending = 0
        self.scopes = "all offline"
        self.audience = ""
        self._codes: dict[str, dict[str, str]] = {}
        self._devices: dict[str, int] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> "Issuer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def grants(self, kind: str) -> int:
        """How often a grant of ``kind`` was asked for."""
        return sum(form.get("grant_type") == kind for form in self.seen)

    def new_tokens(self) -> dict[str, Any]:
        """What the token endpoint answers."""
        access, refresh = f"at-{secrets.token_hex(8)}", f"rt-{secrets.token_hex(8)}"
        self.valid.add(access)
        document: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
        if self.lasts_s is not None:
            document["expires_in"] = self.lasts_s
        if self.gives_refresh_token:
            self.refresh_tokens.add(refresh)
            document["refresh_token"] = refresh
        return document

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def reply(self, status: int, document: dict[str, Any], **headers: str) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                target = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(target.query).items()}
                if target.path == "/authorize":
                    assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
                    assert query["client_id"] == CLIENT and query["scope"] == issuer.scopes
                    code = secrets.token_hex(8)
                    issuer._codes[code] = query
                    back = urlencode({"code": code, "state": query["state"]})
                    self.reply(302, {}, location=f"{query['redirect_uri']}?{back}")
                elif target.path == "/.well-known/openid-configuration":
                    self.reply(200, {"token_endpoint": f"{issuer.url}/token"})
                else:
                    self.reply(404, {})

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["content-length"])).decode()
                form = {key: values[0] for key, values in parse_qs(text).items()}
                time.sleep(issuer.delay_s)
                with issuer._lock:
                    issuer.seen.append(form)
                    if issuer.broken is not None:
                        self.reply(issuer.broken, {})
                        return
                    if self.path == "/device":
                        assert form["client_id"] == CLIENT
                        code = secrets.token_hex(8)
                        issuer._devices[code] = issuer.pending
                        said = {"device_code": code, "user_code": "ABCD-EFGH", "verification_uri": f"{issuer.url}/type"}
                        self.reply(200, {**said, "interval": 0.02, "expires_in": 30})
                        return
                    try:
                        document = self.grant(form)
                    except LookupError as error:
                        said = {"error": str(error.args[0]), "error_description": f"not so, {text}"}
                        self.reply(400, said)
                        return
                    self.reply(200, document)

            def grant(self, form: dict[str, str]) -> dict[str, Any]:
                kind = form.get("grant_type")
                if kind == "authorization_code":
                    begun = issuer._codes.pop(form["code"], None)
                    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
                    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                    if (
                        begun is None
                        or begun["code_challenge"] != challenge
                        or begun["redirect_uri"] != form["redirect_uri"]
                        or form["client_id"] != CLIENT
                    ):
                        raise LookupError("invalid_grant")
                elif kind == "refresh_token":
                    if form["refresh_token"] not in issuer.refresh_tokens:
                        raise LookupError("invalid_grant")
                    if issuer.rotates:
                        issuer.refresh_tokens.discard(form["refresh_token"])
                elif kind == "client_credentials":
                    said = base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode()
                    name, _, secret = said.partition(":")
                    if (name, unquote_plus(secret)) != (CLIENT, SECRET):
                        raise LookupError("invalid_client")
                    if form.get("audience", "") != issuer.audience:
                        raise LookupError("invalid_target")
                elif kind == DEVICE_GRANT:
                    issuer._devices[form["device_code"]] -= 1
                    if issuer._devices[form["device_code"]] >= 0:
                        raise LookupError("authorization_pending")
                else:
                    raise LookupError("unsupported_grant_type")
                return issuer.new_tokens()

        return Handler
