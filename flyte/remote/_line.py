"""The line below the channel: what TLS trusts, and gRPC's own channel with its options. Called by `_channel`."""

import os
import socket
import ssl
import tempfile
from dataclasses import dataclass
from typing import Any

from flyte.errors import InitializationError, RpcUnavailableError

from ._connection import Connection
from ._grpc import grpc


@dataclass(frozen=True, slots=True)
class Trust:
    """What a connection with TLS trusts.

    :param server_name: the name to check the certificate for, where that is not the host's.
    """

    credentials: grpc.ChannelCredentials
    server_name: str | None = None


_SYSTEM_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def find_trust(connection: Connection) -> Trust:
    """What TLS trusts. It blocks: it reads files, and asks the server for its certificate where any will do.

    :raises InitializationError: the file of authorities cannot be read, or holds none.
    :raises UnionRpcError: the server shows no certificate.
    """
    if connection.insecure_skip_verify:
        certificate, name = presented_certificate(connection)
        return Trust(grpc.ssl_channel_credentials(certificate), name)
    path = connection.ca_cert_file_path
    if path is not None:
        try:
            with open(path, "rb") as file:
                roots = file.read()
        except OSError as error:
            raise InitializationError(
                "InvalidConfigurationError", "user", f"ca_cert_file_path={path!r} cannot be read: {error.strerror}"
            ) from None
        if b"-----BEGIN CERTIFICATE-----" not in roots:
            raise InitializationError(
                "InvalidConfigurationError", "user", f"ca_cert_file_path={path!r} holds no certificate in PEM form"
            )
        return Trust(grpc.ssl_channel_credentials(roots))
    return Trust(grpc.ssl_channel_credentials(_system_roots()))


def _system_roots() -> bytes | None:
    """The certificates that this machine trusts; None where only gRPC's own are known."""
    if os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        return None
    for path in (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *_SYSTEM_ROOTS):
        try:
            if path:
                with open(path, "rb") as file:
                    return file.read()
        except OSError:
            continue
    return None


def presented_certificate(connection: Connection) -> tuple[bytes, str | None]:
    """The certificate that the server shows, in PEM form, and a name that it is for.

    gRPC cannot skip the check of a certificate, so the one shown is made the one trusted.

    :raises UnionRpcError: the server cannot be reached, or does not speak TLS.
    """
    endpoint, timeout_s = connection.endpoint, connection.limits.connect_s
    address = (endpoint.host.strip("[]"), endpoint.port or 443)

    def shake(context: ssl.SSLContext) -> ssl.SSLSocket:
        raw = socket.create_connection(address, timeout=timeout_s)
        try:
            return context.wrap_socket(raw, server_hostname=address[0])
        except BaseException:
            raw.close()
            raise

    open_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    open_context.check_hostname = False
    open_context.verify_mode = ssl.CERT_NONE
    try:
        with shake(open_context) as shown:
            pem = ssl.DER_cert_to_PEM_cert(shown.getpeercert(binary_form=True) or b"")
        # Python tells what is in a certificate only if it was checked, so it is checked against itself.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(pem)
            file.flush()
            context.load_verify_locations(file.name)
        with shake(context) as shown:
            content: Any = shown.getpeercert() or {}
    except OSError as error:
        raise RpcUnavailableError(
            "UNAVAILABLE",
            f"{endpoint} shows no certificate that can be used: {error}; check the endpoint, and whether it speaks TLS",
        ) from None
    names = [value for kind, value in content.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    names += [value for part in content.get("subject", ()) for kind, value in part if kind == "commonName"]
    return pem.encode(), names[0].replace("*", "any", 1) if names else None


def open_line(connection: Connection, secure: Trust | None) -> grpc.aio.Channel:
    """gRPC's channel for the running event loop; it connects when it is first used."""
    limits = connection.limits
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", round(limits.keepalive_every_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_answer_s * 1000)),
        # The answer is waited for by a timer of HTTP/2's own, 60 s by default; the one above alone closes nothing
        # (observed with grpcio 1.85).
        ("grpc.http2.ping_timeout_ms", round(limits.keepalive_answer_s * 1000)),
        # A quiet stream is asked as often as a busy one.
        ("grpc.http2.max_pings_without_data", 0),
        # How long an attempt to connect may take: gRPC gives it the time until the next one, and at least this.
        ("grpc.min_reconnect_backoff_ms", round(limits.connect_s * 1000)),
        ("grpc.initial_reconnect_backoff_ms", round(min(limits.connect_s, limits.backoff_first_s) * 1000)),
        ("grpc.max_reconnect_backoff_ms", round(limits.connect_s * 1000)),
        # Retries are made here, with a request id and a deadline that go on.
        ("grpc.enable_retries", 0),
        # Each channel has connections of its own: a channel that is given up takes its broken ones along.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if connection.http_proxy_url is not None:
        options.append(("grpc.http_proxy", connection.http_proxy_url))
    elif connection.endpoint.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))
    target = f"dns:///{connection.endpoint.address(connection.insecure)}"
    if secure is None:
        return grpc.aio.insecure_channel(target, options=options)
    if secure.server_name is not None:
        options.append(("grpc.ssl_target_name_override", secure.server_name))
    return grpc.aio.secure_channel(target, secure.credentials, options=options)
