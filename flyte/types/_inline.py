"""How much travels inside a message, and which values are then stored apart (`_offload` stores them); pure."""

from collections.abc import Sequence

INLINE_BYTES = 10 * 1024 * 1024
"""How many bytes of a call's values travel inside a message; the largest of what goes beyond is stored apart."""


def positions_apart(sizes: Sequence[int]) -> list[int]:
    """Which of the values of one message are stored apart: the largest, until the others fit.

    :param sizes: canonical bytes of each.
    """
    left = sum(sizes)
    apart = []
    for position in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        if left <= INLINE_BYTES:
            break
        left -= sizes[position]
        apart.append(position)
    return apart


def digest_of(data: bytes | memoryview) -> str:
    """What stands for the canonical bytes of a value that is stored apart, in hashes of a call's inputs."""
    from hashlib import sha256  # which few calls need: most values fit

    return sha256(data).hexdigest()
