"""Secrets as files: each attempt that asks for some has a folder of its own, for as long as it runs.

They lie apart from what attempts leave, so that one look finds what a devbox that was killed has left behind.
"""

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

VARIABLE = "FLYTE_SECRETS_DEFAULT_DIR"
"""Tells an attempt where its secrets are (wire-protocol section 5.2). In a container that is ``/etc/flyte/secrets``."""


class Mounts:
    """The folders of attempts with secrets, by names that the caller gives.

    :param folder: where they are; made, for its owner only, when the first is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Write the secrets of an attempt, readable by its owner only, and give their folder.

        :param files: content by path inside the folder.
        :raises OSError: they cannot be written; nothing of them is left.
        """
        place = self._folder / name
        self.remove(name)
        try:
            for inside, content in files.items():
                path = place / inside
                for folder in (self._folder, place, path.parent):
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                    file.write(content)
        except BaseException:
            self.remove(name)
            raise
        return place

    def remove(self, name: str) -> None:
        """Remove the secrets of an attempt that has ended; it may have had none."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    def keep(self, names: Collection[str]) -> None:
        """Remove those of all other attempts: an earlier devbox was killed before it could."""
        if self._folder.exists():
            for place in self._folder.iterdir():
                if place.name not in names:
                    self.remove(place.name)
