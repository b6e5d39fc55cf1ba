"""What a devbox and its zygote say to each other; standard library only, no processes here.

A zygote is a small process that has loaded what every attempt needs, and becomes an attempt by forking. Two kinds of
sockets join them. On the **line**, one for each zygote, the devbox asks for an attempt and is told how each has ended.
With each request travel two descriptors: the attempt's own **birth** socket, and the file that takes what it prints. On
the former the new process says its number, and is then told what to run. So nothing of an attempt, and no secret of it,
is ever in the zygote, and a process that the devbox has not noted down does not begin.
"""

import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROGRAM = "flyte._runtime.zygote"
"""Module of the zygote, started with ``python -m``."""
ATTEMPT = "flyte._runtime.entrypoint"
"""Module that an attempt runs."""

READY, ENDED, STALE = 1, 2, 3
"""What a zygote says: it can be asked; an attempt has ended; what it has loaded has changed, and it ends."""

_NEWS = struct.Struct("!BQiQ")
_REQUEST = struct.Struct("!Q")
_NUMBER = struct.Struct("!Q")
_LIMIT = 16_000_000
"""Bytes that an order has at most. An environment and a command of this length no system would start."""

# What an interpreter, the C library or something that a zygote has loaded reads once, when it starts.
_AT_START = (
    *("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "OPENSSL_", "PROTOCOL_BUFFERS_", "COVERAGE_", "ASAN_"),
    *("HOME", "LOCPATH", "NLSPATH"),
)


@dataclass(frozen=True, slots=True)
class News:
    """What a zygote says.

    :param what: READY, ENDED or STALE.
    :param number: of the attempt that has ended, as it was asked for.
    :param code: its exit code, a signal as a negative number.
    :param peak_bytes: the most memory that it had in use; 0 if that is not known.
    """

    what: int
    number: int = 0
    code: int = 0
    peak_bytes: int = 0

    def pack(self) -> bytes:
        """As it travels, in one packet."""
        return _NEWS.pack(self.what, self.number, self.code, self.peak_bytes)

    @classmethod
    def unpack(cls, packet: bytes) -> "News":
        """What :meth:`pack` gave."""
        return cls(*_NEWS.unpack(packet))


@dataclass(frozen=True, slots=True)
class Work:
    """What a new process is to be.

    :param argv: arguments of the attempt, without its program.
    :param environ: its whole environment.
    :param work_dir: where it starts.
    """

    argv: Sequence[str]
    environ: Mapping[str, str]
    work_dir: str

    def pack(self) -> bytes:
        """As it travels, with its length before it.

        :raises ValueError: it is longer than any system would take.
        """
        # Text that is no UTF-8 is kept as it is, because JSON writes what stands for it in ASCII.
        body = json.dumps([list(self.argv), dict(self.environ), self.work_dir]).encode()
        if len(body) > _LIMIT:
            raise ValueError(f"the command and environment of an attempt are {len(body)} bytes, more than can be sent")
        return _NUMBER.pack(len(body)) + body

    @classmethod
    def receive(cls, birth: socket.socket) -> "Work | None":
        """What is sent on a birth socket; None if it ends before all of it has come.

        :raises TimeoutError: it does not come within the socket's own limit.
        """
        head = _exactly(birth, _NUMBER.size)
        if head is None:
            return None
        body = _exactly(birth, min(_NUMBER.unpack(head)[0], _LIMIT))
        if body is None:
            return None
        argv, environ, work_dir = json.loads(body)
        return cls(argv, environ, work_dir)


def ask(line: socket.socket, number: int, birth: socket.socket, log: int) -> None:
    """Ask a zygote for an attempt.

    :param number: what its end will be told by.
    :param birth: the attempt's end of its socket.
    :param log: descriptor of the file that takes what it prints.
    """
    socket.send_fds(line, [_REQUEST.pack(number)], [birth.fileno(), log])


def asked(line: socket.socket) -> tuple[int, int, int] | None:
    """The next request: number, birth socket and log; None if the devbox is gone."""
    packet, descriptors, _, _ = socket.recv_fds(line, _REQUEST.size, 2)
    if len(packet) != _REQUEST.size or len(descriptors) != 2:
        for descriptor in descriptors:
            os.close(descriptor)
        return None
    return _REQUEST.unpack(packet)[0], descriptors[0], descriptors[1]


def say_number(birth: socket.socket, pid: int) -> None:
    """The new process says which it is."""
    birth.sendall(_NUMBER.pack(pid))


def hear_number(birth: socket.socket) -> int | None:
    """Which process was made; None if none was.

    :raises TimeoutError: it does not come within the socket's own limit.
    """
    data = _exactly(birth, _NUMBER.size)
    return None if data is None else int(_NUMBER.unpack(data)[0])


def _exactly(birth: socket.socket, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = birth.recv(min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def acts_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that act only when an interpreter starts, so that a fork cannot have others than its zygote."""
    return {name: value for name, value in environ.items() if name.startswith(_AT_START)}
