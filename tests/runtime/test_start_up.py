"""What ``a0`` loads. Counted in modules by a fresh interpreter, because times differ between machines."""

import subprocess
import sys

from flyte._runtime.preload import MODULES


def test_what_is_preloaded_can_be_forked():
    """Nothing that is preloaded starts a thread or an event loop, or opens a file."""
    code = (
        "import os, sys, threading\n"
        "from flyte._runtime.preload import preload\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "preload()\n"
        "print(threading.active_count(), set(os.listdir('/proc/self/fd')) - before)\n"
        f"print([name for name in {MODULES!r} if name not in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["1 set()", "[]"], done.stderr
