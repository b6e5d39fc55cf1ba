"""State folders of tests: nothing of a test's runs stays in the user's own history or cache."""

import atexit
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from flyte._control import cache
from flyte._journal import alive, writer

_folders: dict[int, Path] = {}


def test_home() -> Path:
    """The state folder that the tests of this process share; removed when the process ends."""
    folder = _folders.get(os.getpid())
    if folder is None:
        folder = _folders[os.getpid()] = new_home()
        atexit.register(remove_home, folder)
    return folder


def new_home() -> Path:
    """A new, empty state folder, in memory where the system offers that."""
    # A database that lives for a few milliseconds need not wait for a disk.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="flyte-test-", dir=memory))


def remove_home(folder: Path) -> None:
    """Close what is open below a state folder, and remove it."""
    kill_writer(folder)
    store = cache._stores.pop(str(folder), None)
    if store is not None:
        store._file.close()
    shutil.rmtree(folder, ignore_errors=True)


def kill_writer(folder: Path) -> None:
    """End the journal's writer as the death of its process would: what it has not committed is lost, and who looks
    for its process finds it dead."""
    dead = writer._writers.pop(str(folder), None)
    if dead is None:
        return
    dead.broken = True  # whatever still holds it writes nothing any more
    try:
        dead._file.close()
    except sqlite3.Error:
        pass
    held = alive._held.pop(dead.name, None)
    for key in [key for key, name in alive._names.items() if name == dead.name]:
        del alive._names[key]
    if held is not None and held[0] == os.getpid():
        os.close(held[1])
