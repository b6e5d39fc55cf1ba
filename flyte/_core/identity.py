"""Names of runs and actions, and the phases of an action; pure.

The name of a child action is derived from what is called and with what, never from the order in which calls happen
to arrive, so a replayed parent finds its children again (wire-protocol section 6.2).
"""

import enum
import os
import re
from binascii import b2a_base64
from dataclasses import dataclass, replace
from hashlib import md5, sha256

ROOT_ACTION = "a0"
"""Name of a run's first action (wire-protocol section 1.1)."""

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_DIGITS_6, _DIGITS_12 = 36**6, 36**12
_RUN_NAME = r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?"


class ActionPhase(str, enum.Enum):
    """Where an action stands; the values are those of the wire's ``common.ActionPhase``, in lower case."""

    QUEUED = "queued"
    WAITING_FOR_RESOURCES = "waiting_for_resources"
    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    TIMED_OUT = "timed_out"
    RECOVERED = "recovered"

    @property
    def is_terminal(self) -> bool:
        """Whether the action will not change any more."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    (ActionPhase.SUCCEEDED, ActionPhase.FAILED, ActionPhase.ABORTED, ActionPhase.TIMED_OUT, ActionPhase.RECOVERED)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionID:
    """Full identity of an action; state is keyed by all of it, never by the bare name.

    :param name: name of the action, unique in its run.
    :param run_name: the run it belongs to; a run's own id has the same name in both.
    """

    name: str
    run_name: str | None = None
    project: str | None = None
    domain: str | None = None
    org: str | None = None

    def __post_init__(self) -> None:
        if self.run_name is None:
            object.__setattr__(self, "run_name", self.name)

    @classmethod
    def create_random(cls) -> "ActionID":
        """A new id that no other has."""
        return cls(name=random_run_name())

    def new_sub_action(self, name: str | None = None) -> "ActionID":
        """The id of another action of the same run; with a random name if none is given."""
        return replace(self, name=name or random_run_name())

    def new_sub_action_from(
        self, task_call_seq: int, task_hash: str, input_hash: str, group: str | None = None
    ) -> "ActionID":
        """The id of a child action; see :func:`child_name`."""
        return replace(self, name=child_name(self.name, input_hash, task_hash, task_call_seq, group))

    def unique_id_str(self, salt: str | None = None) -> str:
        """All parts of the id in one string, followed by ``salt``."""
        parts = (self.project, self.domain, self.run_name, self.name, salt)
        return "-".join(part for part in parts if part)


def hash_data(data: bytes) -> str:
    """Padded standard base64 of the SHA-256 of ``data`` (wire-protocol section 6.2)."""
    return b2a_base64(sha256(data).digest(), newline=False).decode("ascii")


def child_name(parent: str, inputs_hash: str, identity: str, sequence: int, group: str | None = None) -> str:
    """Deterministic name of a child action: at most 25 characters of 0-9a-z.

    :param parent: name of the action that makes the call.
    :param inputs_hash: :func:`hash_data` of the inputs' canonical bytes; empty when there are no inputs.
    :param identity: hash of what is called (task name, interface, version).
    :param sequence: 1 for the first equal call of this parent, 2 for the second, ...
    :param group: name of the group the call is made in, if any.
    """
    text = f"{parent}-{inputs_hash}-{identity}-{sequence}"
    if group:
        text = f"{text}-{group}"
    return base36(md5(text.encode("utf-8"), usedforsecurity=False).digest())


def base36(digest: bytes) -> str:
    """``digest``, of at most 16 bytes, as a big-endian integer in base 36, without leading zeros."""
    # Written out, with two digits at a time and few divisions of a long number: this is a tenth of what a call costs.
    number = int.from_bytes(digest, "big")
    number, last = divmod(number, _DIGITS_12)
    first, middle = divmod(number, _DIGITS_12)
    middle_1, middle_2 = divmod(middle, _DIGITS_6)
    last_1, last_2 = divmod(last, _DIGITS_6)
    rest, c = divmod(middle_1, 1296)
    a, b = divmod(rest, 1296)
    rest, f = divmod(middle_2, 1296)
    d, e = divmod(rest, 1296)
    rest, i = divmod(last_1, 1296)
    g, h = divmod(rest, 1296)
    rest, m = divmod(last_2, 1296)
    j, k = divmod(rest, 1296)
    p = _PAIRS
    text = f"{p[first]}{p[a]}{p[b]}{p[c]}{p[d]}{p[e]}{p[f]}{p[g]}{p[h]}{p[i]}{p[j]}{p[k]}{p[m]}"
    return text.lstrip("0") or "0"


def random_run_name() -> str:
    """A new run's name: ``r`` and 19 random characters, as a control plane makes them (wire-protocol 11.3)."""
    return "r" + "".join([_ALPHABET[byte % 36] for byte in os.urandom(19)])


def check_run_name(name: str) -> str:
    """``name`` if a control plane would take it as a run's name.

    :raises ValueError: it is longer than 30 characters or not a lowercase DNS label (wire-protocol section 4.3).
    """
    if not re.fullmatch(_RUN_NAME, name):
        raise ValueError(
            f"name={name!r} is not a valid run name: use at most 30 lowercase letters, digits and '-', "
            "starting with a letter and not ending in '-'"
        )
    return name
