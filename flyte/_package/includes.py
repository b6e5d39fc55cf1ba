"""What environments include beside their code, as the bundle builder takes it.

Called when a bundle is prepared for environments; the files themselves are found by ``files``.
"""

import os
from collections.abc import Iterable
from typing import cast, get_args

from flyte._definition.environment import Environment
from flyte.errors import CodeBundleError

from .files import CopyStyle


def includes_of(envs: Iterable[Environment], root: str, more: Iterable[str] = ()) -> list[str]:
    """What ``envs`` and those they depend on include, as absolute paths and globs, each once.

    :param root: the folder that ``more`` is relative to, and the includes of environments that no file declares.
    :param more: further files, folders and globs.
    :raises CodeBundleError: an include outside of ``root``; names the environment.
    """
    found: dict[str, None] = {}
    top = os.path.abspath(root)
    seen: set[int] = set()
    for env in envs:
        for one in env.closure():
            if id(one) in seen:
                continue
            seen.add(id(one))
            folder = os.path.dirname(one._declared_in) if one._declared_in is not None else top
            for pattern in one.include:
                path = os.path.normpath(os.path.join(folder, pattern))
                if path != top and not path.startswith(top.rstrip(os.sep) + os.sep):
                    raise CodeBundleError(
                        f"environment {one.name!r} includes {pattern!r}, which is {path}, outside of the root {top}; "
                        "choose a root that holds it (root_dir, --root-dir)"
                    )
                found[path] = None
    for pattern in more:
        found[os.path.normpath(os.path.join(top, pattern))] = None
    return list(found)


def root_for(source: str | None, given: str | None = None) -> str:
    """The folder that a program's code travels from.

    :param source: the program's file; None if it has none.
    :param given: what the user asked for; it wins.
    :returns: ``given``; else the current folder if the program is below it; else the folder that its package is in.
    """
    here = os.getcwd()
    if given is not None:
        return os.path.abspath(given)
    if source is None:
        return here
    path = os.path.abspath(source)
    if path.startswith(here.rstrip(os.sep) + os.sep):
        return here
    folder = os.path.dirname(path)
    while os.path.isfile(os.path.join(folder, "__init__.py")) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def style_of(text: str) -> CopyStyle:
    """A copy style by name.

    :raises ValueError: there is none of that name.
    """
    for style in get_args(CopyStyle):
        if text == style:
            return cast(CopyStyle, style)
    raise ValueError(f"copy style {text!r} is not known; it is one of {', '.join(get_args(CopyStyle))}")
