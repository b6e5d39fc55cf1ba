"""What a ``.dockerignore`` file leaves out of copied folders, as Docker reads such files.

Unlike ``.gitignore``, a pattern is anchored: ``data`` is the one at the top, ``**/data`` any. The last pattern that
matches a path or a folder above it decides.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from flyte.errors import ImageBuildError


class IgnorePatterns:
    """The patterns of one file, for paths below one folder.

    :param lines: of the file.
    :param below: folder that asked paths are in, relative to the one that the patterns are relative to.
    :raises flyte.errors.ImageBuildError: a pattern that is none.
    """

    __slots__ = ("_below", "_rules", "takes_back")

    def __init__(self, lines: Iterable[str], below: str = "") -> None:
        self._below = f"{below}/" if below else ""
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in lines:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            taken_back = text.startswith("!")
            pattern = "/".join(part for part in text.removeprefix("!").strip().split("/") if part not in ("", "."))
            if pattern:
                try:
                    self._rules.append((taken_back, re.compile(_expression(pattern), re.DOTALL)))
                except re.error:
                    raise ImageBuildError(
                        f"{pattern!r} is not a pattern of a .dockerignore file: a range in its brackets runs backwards"
                    ) from None
        self.takes_back = any(taken_back for taken_back, _ in self._rules)

    def ignores(self, path: str) -> bool:
        """Whether a file or folder is left out.

        :param path: with ``/`` between its parts.
        """
        left_out = False
        for taken_back, expression in self._rules:
            if taken_back == left_out and expression.fullmatch(self._below + path):
                left_out = not taken_back
        return left_out


def _expression(pattern: str) -> str:
    found, at = "", 0
    while at < len(pattern):
        one = pattern[at]
        if pattern.startswith("**/", at):
            found, at = found + "(?:.*/)?", at + 3
        elif pattern.startswith("**", at):
            found, at = found + ".*", at + 2
        elif one == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = re.sub(r"[^\w^-]|(?<=-)-", lambda one: "\\" + one.group(), pattern[at + 1 : end])
            found, at = f"{found}[{inner}]", end + 1
        elif one == "\\" and at + 1 < len(pattern):
            found, at = found + re.escape(pattern[at + 1]), at + 2
        else:
            found, at = found + {"*": "[^/]*", "?": "[^/]"}.get(one, re.escape(one)), at + 1
    # What matches a folder leaves out all that is in it.
    return f"{found}(?:/.*)?"


def patterns_for(file: Path, folder: Path) -> IgnorePatterns:
    """The patterns of ``file`` for what is below ``folder``.

    They are relative to the file's own folder where ``folder`` is in it, as in a Docker build of that folder; else to
    ``folder``.
    """
    lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    home, copied = file.resolve().parent, folder.resolve()
    return IgnorePatterns(lines, copied.relative_to(home).as_posix() if home in copied.parents else "")
