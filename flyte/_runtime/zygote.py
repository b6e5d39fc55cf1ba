"""A process that has loaded what every attempt needs, and becomes an attempt by forking: ``python -m`` this module.

A devbox starts it, because loading Python and the SDK takes an attempt longer than all the rest of it. What is forked
is the same as a new process in all that its code can see, but for the seed of ``hash()``, which all forks of one zygote
have in common, and for the command line that ``ps`` shows. The zygote has one thread, no event loop and no gRPC,
none of which survives a fork, and it learns nothing of the attempts (see :mod:`flyte._core.zygote`).
"""

import contextlib
import gc
import os
import runpy
import select
import signal
import site
import socket
import sys
import threading
import time
import traceback

from flyte._core.zygote import ATTEMPT, ENDED, READY, STALE, News, Work, asked, say_number

from .preload import preload

_TOLD_WITHIN_S = 10.0
"""How long a new process waits to be told what it is."""

_UNFIT = ("grpc", "multiprocessing", "numpy")
"""Packages whose state would be shared, or broken, after a fork."""


def main(descriptor: int) -> int:
    """Serve the devbox at the other end of ``descriptor`` until it is gone; in each fork, run its attempt."""
    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder, which every attempt has of its own
    preload()
    _check_fit()
    line = socket.socket(fileno=descriptor)
    files = _files()
    gc.collect()
    gc.freeze()  # pages of objects that no collection touches stay shared
    line.send(News(READY).pack())
    found = _serve(line, files)
    if found is None:
        return 0
    try:
        _become(*found)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    runpy.run_module(ATTEMPT, run_name="__main__", alter_sys=True)
    return 0


def _check_fit() -> None:
    found = [name for name in _UNFIT if name in sys.modules]
    if found:
        raise RuntimeError(f"a zygote must not load {', '.join(found)}")
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"a zygote must have one thread, this has {threads}")


def _serve(line: socket.socket, files: dict[str, tuple[int, int]]) -> tuple[int, int] | None:
    """Fork as asked; None when the devbox is gone, birth socket and log of its attempt in a fork."""
    running: dict[int, tuple[int, int]] = {}
    waiting = select.poll()
    waiting.register(line.fileno(), select.POLLIN)
    while True:
        for descriptor, _ in waiting.poll():
            if descriptor in running:
                waiting.unregister(descriptor)
                number, pid = running.pop(descriptor)
                os.close(descriptor)
                if not _say(line, _end_of(number, pid)):
                    return None
                continue
            try:
                request = asked(line)
            except ConnectionError:
                request = None
            if request is None:
                return None
            number, birth, log = request
            if _files(list(files)) != files:
                _say(line, News(STALE))
                return None
            pid = os.fork()
            if pid == 0:
                line.detach()  # its number will be another file's
                return birth, log
            os.close(birth)
            os.close(log)
            try:
                watched = os.pidfd_open(pid)
            except OSError:  # no room for another descriptor: one that cannot be watched must not run
                os.kill(pid, signal.SIGKILL)
                if not _say(line, _end_of(number, pid)):
                    return None
                continue
            running[watched] = (number, pid)
            waiting.register(watched, select.POLLIN)


def _end_of(number: int, pid: int) -> News:
    _, status, usage = os.wait4(pid, 0)
    return News(ENDED, number, os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024)


def _say(line: socket.socket, news: News) -> bool:
    try:
        line.send(news.pack())
    except OSError:
        return False
    return True


def _files(known: list[str] | None = None) -> dict[str, tuple[int, int]]:
    """What has been loaded of packages, and where packages are installed: when changed, and how long.

    A fork of something else than what lies there now would mix two releases, as soon as it loads the rest.
    """
    if known is None:
        library = os.path.dirname(os.__file__)
        packages = site.getsitepackages()
        paths = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
        known = [p for p in paths if p and (not p.startswith(library + os.sep) or p.startswith(tuple(packages)))]
        known += packages
    found = {}
    for path in known:
        try:
            said = os.stat(path)
        except OSError:
            found[path] = (0, 0)
        else:
            found[path] = (said.st_mtime_ns, said.st_size)
    return found


def _become(birth: int, log: int) -> None:
    """Make this fork what a new process would be."""
    os.setsid()
    os.dup2(log, 1)
    os.dup2(log, 2)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != birth:
            with contextlib.suppress(OSError):  # what the list itself was read from
                os.close(int(name))
    with socket.socket(fileno=birth) as told:
        told.settimeout(_TOLD_WITHIN_S)
        try:
            say_number(told, os.getpid())
            work = Work.receive(told)
        except OSError:
            work = None
    if work is None:
        # The devbox has not noted it down, or is gone: for whoever sees it, it was interrupted before it began.
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
    os.environ.clear()
    os.environ.update(work.environ)
    time.tzset()
    os.chdir(work.work_dir)
    if not sys.flags.safe_path:
        sys.path.insert(0, os.getcwd())
    sys.argv[:] = ["-m", *work.argv]
    sys.orig_argv[:] = [sys.executable, "-m", ATTEMPT, *work.argv]
    # What was found out once, and is another now. The number of the main thread Python forgets in a fork.
    if "tempfile" in sys.modules:
        vars(sys.modules["tempfile"])["tempdir"] = None
    main_thread = vars(threading.main_thread())
    if "_native_id" in main_thread:
        main_thread["_native_id"] = threading.get_native_id()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
