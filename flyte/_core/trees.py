"""Trees of processes: what belongs to a worker, how much memory it has, and its end.

Where there is no ``/proc`` (macOS), a tree is its process group, and memory is not known.
"""

import os
import signal

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """Processes below ``pid``, however they were started; without itself."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{parent}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    children = [int(word) for word in file.read().split()]
            except OSError:  # it has ended
                continue
            found += children
            waiting += children
    return found


def resident_bytes(pid: int) -> int:
    """Memory that ``pid`` and what it started have in use; 0 where that is not known."""
    total = 0
    for each in (pid, *descendants(pid)):
        try:
            with open(f"/proc/{each}/statm") as file:
                total += int(file.read().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            continue
    return total


def end_tree(pid: int, how: signal.Signals) -> None:
    """Send ``how`` to ``pid``, its process group, and what it started in groups of their own."""
    for each in descendants(pid):
        try:
            if os.getpgid(each) != pid:
                os.kill(each, how)
        except (ProcessLookupError, PermissionError):
            continue
    # Last, because the caller may be in that group itself.
    try:
        os.killpg(pid, how)
    except (ProcessLookupError, PermissionError):
        pass


def processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def machine_bytes() -> int:
    """Memory of this machine, or of the container that this process is in, if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(name) as file:
                total = min(total, int(file.read()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return total
