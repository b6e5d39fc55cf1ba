"""Where a control plane is: the forms that an endpoint may be written in. Loads nothing heavy."""

import re
from dataclasses import dataclass

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_LOOPBACK = ("localhost", "[::1]")
_FORMS = "write it as host, host:port or dns:///host:port"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A control plane's host and port.

    :param host: a name or an address; an IPv6 address stands in brackets.
    :param port: None for the default, 443 with TLS and 80 without.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def address(self, insecure: bool) -> str:
        """Host and port, with the default port filled in."""
        return f"{self.host}:{self.port or (80 if insecure else 443)}"

    def url(self, insecure: bool) -> str:
        """The root of what it serves over HTTP."""
        return f"{'http' if insecure else 'https'}://{self}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        return self.host in _LOOPBACK or self.host.startswith("127.")

    @property
    def organization(self) -> str | None:
        """The first label of a host of three or more, which is the organization unless one is configured."""
        labels = self.host.split(".")
        if self.host.startswith("[") or len(labels) < 3 or labels[-1].isdigit():
            return None
        return labels[0]


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that ``text`` names: ``host``, ``host:port``, or either after ``dns:///``, ``http://``, ``https://``.

    The scheme does not decide about TLS; ``insecure`` does.

    :raises ValueError: another form.
    """
    rest = text.strip()
    scheme, separator, after = rest.partition("://")
    if separator:
        if scheme.lower() not in ("dns", "http", "https"):
            raise ValueError(f"endpoint {text!r} has the scheme {scheme!r}; {_FORMS}")
        rest = after.removeprefix("/") if scheme.lower() == "dns" else after
    rest = rest.rstrip("/")
    if "@" in rest:
        # What stands before it would be a password, so the text is not repeated.
        raise ValueError(f"an endpoint takes no user or password; {_FORMS}")
    host, colon, port = rest, "", ""
    if not rest.endswith("]"):
        host, colon, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
    if not _HOST.fullmatch(host) or (colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"endpoint {text!r} is no host or host:port; {_FORMS}")
    return Endpoint(host, int(port) if colon else None)
