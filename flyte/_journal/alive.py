"""Telling whether a process that writes to the journal still lives.

Each holds a lock of the operating system on a file of its own, which the system takes back when the process ends,
however it ends; a process id alone may have gone to somebody else.
"""

import fcntl
import os
import secrets
from pathlib import Path

from flyte._core.home import home_dir

_held: dict[str, tuple[int, int]] = {}
"""Folder -> (process id, open file) of the lock that this process holds there."""
_names: dict[tuple[str, int], str] = {}


def writer_name() -> str:
    """The name that this process writes under; from the first call on it counts as alive.

    :raises OSError: the lock's file cannot be made.
    """
    folder = _folder()
    key = (str(folder), os.getpid())
    name = _names.get(key)
    if name is None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A record lock: unlike flock's it does not go on in a forked child.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[name] = (os.getpid(), descriptor)
        _names[key] = name
    return name


def is_alive(writer: str) -> bool:
    """Whether the process that writes under this name still runs.

    Its file is removed once it is known to be dead; a file that is missing says dead, too.
    """
    holder = _held.get(writer)
    if holder is not None and holder[0] == os.getpid():
        return True
    path = _folder() / Path(writer).name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # nothing is known, and calling a living run dead would be worse
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)


def _folder() -> Path:
    return home_dir() / "local" / "alive"
