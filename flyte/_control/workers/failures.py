"""Failures on their way from one process to another.

The caller gets the class that the body raised, with its attributes, notes and causes, and where in the other process
it happened. Like tasks, and unlike values, an error is pickled: both processes run the same program of one user.
"""

import asyncio
import os
import pickle
import traceback
from typing import Any

from flyte._control.attempt import without_own_frames
from flyte._core.raised import code_of, error_made_from, line_of, read_line
from flyte.errors import RuntimeUserError

_LINKS = 8
"""So many causes of a failure are brought along."""

Failure = tuple[Any, ...]


def dump_failure(error: BaseException, where: str) -> Failure:
    """``error`` as plain values.

    :param where: what its frames are headed with.
    """
    links: list[tuple[str, BaseException]] = []
    link: BaseException | None = error
    while link is not None and len(links) < _LINKS:
        frames = traceback.format_tb(without_own_frames(link.__traceback__))
        if frames and not (isinstance(link, asyncio.CancelledError) and link is not error):
            link.add_note(f"{where}\n{''.join(frames).rstrip()}")
        name = "cause" if link.__cause__ is not None else "context"
        links.append((name, link))
        link = link.__cause__ if link.__cause__ is not None else None if link.__suppress_context__ else link.__context__
    plain = (code_of(error), str(error), [str(n) for n in getattr(error, "__notes__", ())], line_of(error))
    return (plain, [(name, _dumped(each), _inner_state(each)) for name, each in links])


def _inner_state(error: BaseException) -> dict[str, Any]:
    """What built-in exceptions keep outside ``args``, such as the name of a file, as far as it is plain."""
    found: dict[str, Any] = {}
    for cls in type(error).__mro__:
        if cls in (BaseException, Exception):
            break
        for name, member in vars(cls).items():
            if type(member).__name__ == "member_descriptor" and not name.startswith("__"):
                value = getattr(error, name, None)
                if type(value) in (str, int, bytes):
                    found.setdefault(name, value)
    return found


def _dumped(error: BaseException) -> list[bytes]:
    """The pickles of an error, the best first."""
    import cloudpickle

    found = []
    # By reference first: a class must stay the one that an 'except' there names. Where that process does not have its
    # module, as of a program that was typed, the class itself goes along.
    for dumps in (pickle.dumps, cloudpickle.dumps):
        try:
            data: bytes = dumps(error)
            pickle.loads(data)  # noqa: S301 - what cannot be read here cannot be read there
        except Exception:  # the user's class may raise anything
            continue
        found.append(data)
    return found


def load_failure(failure: Failure) -> BaseException:
    """The error that :func:`dump_failure` was given; a :class:`RuntimeUserError` of its words where it cannot be."""
    (code, text, notes, line), links = failure
    first: BaseException | None = None
    above: BaseException | None = None
    name = ""
    for link_name, data, state in links:
        link = _loaded(data)
        for field, value in state.items() if link is not None else ():
            try:
                setattr(link, field, value)
            except (AttributeError, TypeError):  # read-only
                continue
        if link is None and first is None:
            link = _told(line, code, text)
            for note in notes:
                if note not in getattr(link, "__notes__", ()):
                    link.add_note(note)
        if link is None:
            break
        if above is None:
            first = link
        elif name == "cause":
            above.__cause__ = link
        else:
            above.__context__ = link
        above, name = link, link_name
    assert first is not None
    return first


def _told(line: str, code: str, text: str) -> BaseException:
    """An error that no pickle brings, as from a control plane: one that is not made of its ``args``, say."""
    raised = read_line(line)
    made = error_made_from(raised, text, code=code, kind="user") if raised is not None else None
    return made if made is not None else RuntimeUserError(code, text)


def _loaded(pickles: list[bytes]) -> BaseException | None:
    for data in pickles:
        try:
            error = pickle.loads(data)  # noqa: S301 - from a process that this one started, over a private socket
        except Exception:  # its module may not be here
            continue
        if isinstance(error, BaseException):
            return error
    return None


def place_of(task_name: str) -> str:
    """Heading of the frames of a failure in this process."""
    return f"in worker process {os.getpid()}, task {task_name!r}:"
