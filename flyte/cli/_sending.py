"""Progress of code that is sent to a control plane: a line on standard error, and on a terminal a count of bytes."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_APPEARS_AFTER_S = 0.3
_REDRAWN_EVERY_S = 0.1


@contextmanager
def sending(shown: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """What is told of the bytes that were sent, and of all there are; None if nothing is to be shown."""
    if not shown:
        yield None
        return
    began = drawn = time.monotonic()
    is_open = False

    def tell(sent_bytes: int, all_bytes: int) -> None:
        nonlocal drawn, is_open
        now = time.monotonic()
        done = sent_bytes >= all_bytes
        if now - began < _APPEARS_AFTER_S or (now - drawn < _REDRAWN_EVERY_S and not done):
            return
        drawn = now
        unit, name = (1e6, "MB") if all_bytes >= 1e6 else (1e3, "kB")
        line = f"sending code: {sent_bytes / unit:.1f} of {all_bytes / unit:.1f} {name}"
        if sys.stderr.isatty():
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
            is_open = True
        elif done:
            print(line, file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if is_open:
            print(file=sys.stderr, flush=True)
