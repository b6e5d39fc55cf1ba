"""Large inputs and outputs: files named by their content, so that equal values are kept once."""

import os
import time
from hashlib import sha256
from pathlib import Path

from flyte._core.home import home_dir

from .schema import INLINE_BYTES

_MARK = "sha256:"
YOUNG_S = 60.0


def keep(data: bytes) -> bytes | str:
    """What stands for ``data`` in a column: the bytes themselves, or where they are kept if they are many.

    :raises OSError: they cannot be written.
    """
    if len(data) <= INLINE_BYTES:
        return data
    digest = sha256(data).hexdigest()
    path = _path(digest)
    try:
        os.utime(path)  # a deletion that goes on elsewhere leaves alone what is as young as this
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody sees a file that is half written.
        partial = path.with_name(f"{digest}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            partial.write_bytes(data)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return _MARK + digest


def fetch(kept: bytes | str) -> bytes:
    """The bytes that :func:`keep` was given.

    :raises OSError: their file is gone.
    :raises ValueError: it is damaged.
    """
    if isinstance(kept, bytes):
        return kept
    digest = hash_of(kept)
    assert digest is not None
    data = _path(digest).read_bytes()
    if sha256(data).hexdigest() != digest:
        raise ValueError(f"the stored value {digest} is damaged")
    return data


def hash_of(kept: bytes | str | None) -> str | None:
    """The hash that a value in a file of its own is named by; None for one that is not."""
    return kept.removeprefix(_MARK) if isinstance(kept, str) else None


def remove(digest: str) -> None:
    """Remove the file of a value that nothing refers to any more.

    One that was kept a moment ago stays: whoever kept it may not have written yet that they did.
    """
    path = _path(digest)
    try:
        if time.time() - path.stat().st_mtime > YOUNG_S:
            path.unlink()
    except FileNotFoundError:
        pass


def _path(digest: str) -> Path:
    name = Path(digest).name  # what stands in the file cannot lead out of the folder
    return home_dir() / "local" / "values" / name[:2] / name
