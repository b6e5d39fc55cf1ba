"""Where a run keeps what is large and what is to last, and other answers of a task's context."""

import pathlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupData:
    """The group that calls are made in; shown together and part of their names."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataPath:
    """Where large values of a run are written.

    :param path: a folder or an object-store prefix.
    :param path_rewrite: reads below one prefix that are served from another.
    """

    path: str
    path_rewrite: "PathRewrite | None" = None

    @classmethod
    def from_local_folder(cls, local_folder: str | pathlib.Path | None = None) -> "RawDataPath":
        """Large values go into a folder of this machine, which is made; a new temporary one if none is given.

        :raises ValueError: neither a path nor None.
        """
        if local_folder is None:
            import tempfile

            return cls(path=tempfile.mkdtemp(prefix="flyte-raw-"))
        if not isinstance(local_folder, (str, pathlib.Path)):
            raise ValueError(f"local_folder takes a path, but got {type(local_folder).__name__} {local_folder!r}")
        pathlib.Path(local_folder).mkdir(parents=True, exist_ok=True)
        return cls(path=str(local_folder))

    def get_random_remote_path(self, file_name: str | None = None) -> str:
        """A new place below the path, where nothing is yet.

        :param file_name: of what is put there; without it, the place itself is a file or folder.
        :raises ValueError: the name leads out of the place.
        """
        import secrets

        if file_name is not None and (file_name.startswith("/") or ".." in file_name.split("/") or not file_name):
            raise ValueError(f"file_name={file_name!r} is no name of a file below a folder")
        place = f"{self.path.rstrip('/')}/{secrets.token_hex(16)}"
        return place if file_name is None else f"{place}/{file_name}"


@dataclass(frozen=True, slots=True)
class PathRewrite:
    """Reads below ``old_prefix`` are served from ``new_prefix`` where that exists."""

    old_prefix: str
    new_prefix: str


@dataclass(frozen=True, slots=True)
class CheckpointPaths:
    """Where the previous attempt left its checkpoint, and where this one leaves its own."""

    prev_checkpoint_path: str | None
    checkpoint_path: str | None
