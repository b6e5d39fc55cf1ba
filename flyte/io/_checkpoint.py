"""Checkpoints: what a task keeps of its progress, so that the next attempt continues instead of starting again.

A checkpoint is one object: the bytes or the file that was saved, or a gzip tar of a folder. It is written beside its
place and renamed, so a process that is killed while it saves leaves the checkpoint before it. Attempt ``n`` of an
action keeps its own at ``<run_base_dir>/<action>/<n>/_flytecheckpoints`` and continues from the nearest earlier attempt
that left one, or from what the same action left in the run that this run recovers.
"""

import abc
import atexit
import os
import pathlib
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flyte._core.context import TaskContext
from flyte._core.loop import run_blocking
from flyte._core.threads import run_in_thread
from flyte.storage._failures import is_out_of_space, of_system
from flyte.storage._local import replacing
from flyte.storage._transfer import exists, get, list_objects, put, put_stream
from flyte.storage._uri import join, locate

if TYPE_CHECKING:
    import tarfile

_OBJECT = "_flytecheckpoints"
_ATTEMPT = re.compile(rf"(\d+)/{_OBJECT}")
_SKEW_S = 1.0
_REMOTE_SKEW_S = 300.0
"""How far the time of an object may lie before the start of the run that wrote it: a store's clock is not ours."""
_EMPTY_ARCHIVE_BYTES = 128
"""An archive of an empty folder is smaller; a larger file of which nothing can be unpacked is somebody's own data."""


class BaseCheckpoint(abc.ABC):
    """What code that keeps checkpoints may count on; :class:`Checkpoint` is the one that tasks get."""

    @property
    @abc.abstractmethod
    def path(self) -> pathlib.Path:
        """Folder of this machine that a loaded checkpoint is put into."""

    @abc.abstractmethod
    def prev_exists(self) -> bool:
        """Whether there is a checkpoint to continue from."""

    @abc.abstractmethod
    async def load(self) -> pathlib.Path | None:
        """Bring the earlier checkpoint to this machine; None if there is none."""

    @abc.abstractmethod
    async def save(self, data: pathlib.Path | str | bytes) -> None:
        """Keep a file, a folder, or bytes."""

    @abc.abstractmethod
    def load_sync(self) -> pathlib.Path | None:
        """:meth:`load` for code that is not async."""

    @abc.abstractmethod
    def save_sync(self, data: pathlib.Path | str | bytes) -> None:
        """:meth:`save` for code that is not async."""


class Checkpoint(BaseCheckpoint):
    """Saves progress to one place and loads what was saved before from another; tasks get theirs from
    ``flyte.ctx().checkpoint``.

    :param checkpoint_dest: path or URI of the object that :meth:`save` writes.
    :param checkpoint_src: path or URI of the object that :meth:`load` reads; None or empty if there is none.
    :raises ValueError: no destination, or an unknown scheme.
    """

    def __init__(self, checkpoint_dest: str, checkpoint_src: str | None = None) -> None:
        locate(checkpoint_dest)
        self._dest = checkpoint_dest
        # Control planes hand on two quote characters for nothing.
        self._src = None if checkpoint_src in (None, "", '""') else checkpoint_src
        self._folder: str | None = None

    @property
    def path(self) -> pathlib.Path:
        """Folder of this machine that a loaded checkpoint is put into; removed when the process ends, or, for the
        checkpoint of a task, when the attempt is over."""
        path = pathlib.Path(self._workspace(), "files")
        path.mkdir(exist_ok=True)
        return path

    @property
    def remote_destination(self) -> str:
        """Path or URI that :meth:`save` writes."""
        return self._dest

    @property
    def remote_source(self) -> str | None:
        """Path or URI that :meth:`load` reads; None if there is nothing to continue from."""
        return run_blocking(self._find)

    def prev_exists(self) -> bool:
        """Whether there is a checkpoint to continue from."""
        return run_blocking(self._find_existing) is not None

    async def load(self) -> pathlib.Path | None:
        """Bring the earlier checkpoint to this machine, in place of what :attr:`path` holds.

        :return: for a folder :attr:`path` itself; for a file or bytes, ``path / "payload"``; None if there is no
            earlier checkpoint.
        :raises ValueError: an archive that would leave the folder.
        :raises OSError: a damaged archive, or the store cannot be read.
        """
        source = await self._find_existing()
        if source is None:
            return None
        folder = self._workspace()
        fetched = os.path.join(folder, "fetched")
        await get(source, fetched)
        return await run_in_thread(_take_in, source, fetched, folder)

    def load_sync(self) -> pathlib.Path | None:
        """:meth:`load` for code that is not async."""
        return run_blocking(self.load)

    async def save(self, data: pathlib.Path | str | bytes) -> None:
        """Keep a checkpoint; it takes the place of the one before at once and whole, or not at all.

        A file that is itself a gzip tar comes back unpacked, as a folder does.

        :param data: the path of a file or folder, or the bytes themselves.
        :raises FileNotFoundError: there is nothing at the path.
        :raises TypeError: neither a path nor bytes.
        :raises ValueError: the folder holds a link that leads out of it, or something that is no file.
        """
        if isinstance(data, (bytes, bytearray, memoryview)):
            await self._keep_bytes(bytes(data))
            return
        if not isinstance(data, (str, os.PathLike)):
            raise TypeError(f"save() takes bytes or the path of a file or folder, but got {type(data).__name__}")
        path = os.fspath(data)
        kind = await run_in_thread(_kind_of, path)
        if kind == "folder":
            with tempfile.TemporaryDirectory(prefix="packing-", dir=self._workspace()) as packing:
                archive = os.path.join(packing, "archive")
                await run_in_thread(_pack, path, archive)
                await self._keep_file(archive)
        elif kind == "file":
            await self._keep_file(path)
        else:
            raise FileNotFoundError(f"save({path!r}): there is no such file or folder")

    def save_sync(self, data: pathlib.Path | str | bytes) -> None:
        """:meth:`save` for code that is not async."""
        run_blocking(lambda: self.save(data))

    async def _find(self) -> str | None:
        return self._src

    async def _find_existing(self) -> str | None:
        source = await self._find()
        return source if source is not None and await exists(source) else None

    async def _keep_bytes(self, data: bytes) -> None:
        if locate(self._dest).kind == "local":
            await run_in_thread(_write_durably, self._dest, data)
        else:
            await put_stream(data, to_path=self._dest)

    async def _keep_file(self, path: str) -> None:
        if locate(self._dest).kind == "local":
            await run_in_thread(_copy_durably, self._dest, path)
        else:
            await put(path, self._dest)

    def _workspace(self) -> str:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="flyte-checkpoint-")
            atexit.register(shutil.rmtree, self._folder, True)
        return self._folder


class AttemptCheckpoint(Checkpoint):
    """The checkpoint of one attempt of an action; what it continues from is looked up when that is first asked."""

    def __init__(self, context: TaskContext) -> None:
        self._actions_folder = join(context.execution.run_base_dir, context.name)
        super().__init__(join(self._actions_folder, str(context.attempt_number), _OBJECT))
        self._attempt = context.attempt_number
        # A run may have the name of an earlier one, whose checkpoints are not its own.
        skew_s = _SKEW_S if locate(self._dest).kind == "local" else _REMOTE_SKEW_S
        self._since_s = context.execution.start_time.timestamp() - skew_s
        self._recovered_folders = [join(base, context.name) for base in context.execution.recovered_from]
        self._found = False

    async def _find(self) -> str | None:
        if not self._found:
            self._src = await self._look()
            self._found = True
        return self._src

    async def _look(self) -> str | None:
        if self._attempt > 0:
            own = await _latest(self._actions_folder, self._attempt, self._since_s)
            if own is not None:
                return own
        for folder in self._recovered_folders:
            found = await _latest(folder)
            if found is not None:
                return found
        return None

    def _workspace(self) -> str:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="flyte-checkpoint-")
            weakref.finalize(self, shutil.rmtree, self._folder, True)  # a warm worker makes many
        return self._folder


async def _latest(folder: str, before: int | None = None, since_s: float = 0.0) -> str | None:
    """The checkpoint of the latest attempt of an action.

    :param before: only of attempts before this one.
    :param since_s: only if it was written then or later, in seconds since 1970, or nobody knows when.
    """
    found: list[tuple[int, str]] = []
    async for uri, relative, info in list_objects(folder):
        match = _ATTEMPT.fullmatch(relative)
        if match is None or (info.modified_s and info.modified_s < since_s):
            continue
        if before is None or int(match[1]) < before:
            found.append((int(match[1]), uri))
    return max(found)[1] if found else None


def latest_checkpoint(
    root: pathlib.Path, glob_pattern: str = "**/last.ckpt", *, key: Callable[[pathlib.Path], Any] | None = None
) -> pathlib.Path | None:
    """The newest of the checkpoint files that a training framework left below a folder.

    :param root: the folder, such as :meth:`Checkpoint.load` gives.
    :param glob_pattern: which files; the default finds Lightning's.
    :param key: the file for which this is largest is taken; the time of its last change if not given.
    :return: None if no file matches.
    """
    files = [path for path in pathlib.Path(root).glob(glob_pattern) if path.is_file()]
    return max(files, key=key or (lambda path: path.stat().st_mtime), default=None)


def _kind_of(path: str) -> str:
    return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else "nothing"


def _write_durably(place: str, data: bytes) -> None:
    at = locate(place)
    with replacing(at) as part:
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise of_system(at, error) from error


def _copy_durably(place: str, path: str) -> None:
    at = locate(place)
    with replacing(at) as part:
        try:
            shutil.copyfile(path, part)
            descriptor = os.open(part, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            of_source = error.filename == path and not is_out_of_space(error)
            raise of_system(locate(path) if of_source else at, error) from error


def _take_in(source: str, fetched: str, folder: str) -> pathlib.Path:
    """Put what was fetched in place of the files there were, unpacked if it is a folder."""
    fresh, files = os.path.join(folder, "fresh"), os.path.join(folder, "files")
    shutil.rmtree(fresh, ignore_errors=True)
    os.mkdir(fresh)
    unpacked = _unpack(source, fetched, fresh)
    if unpacked:
        os.unlink(fetched)
    else:
        os.replace(fetched, os.path.join(fresh, "payload"))
    shutil.rmtree(files, ignore_errors=True)
    os.replace(fresh, files)
    return pathlib.Path(files) if unpacked else pathlib.Path(files, "payload")


def _pack(folder: str, archive: str) -> None:
    import tarfile

    # Fast rather than small: weights of models hardly shrink.
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for above, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(folders + files):
                path = os.path.join(above, name)
                info = tar.gettarinfo(path, os.path.relpath(path, folder))
                if info is not None and info.islnk():  # a second name of a file that is in the archive already
                    info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.stat(path).st_size
                if info is None or not (info.isreg() or info.isdir() or info.issym()):
                    raise ValueError(f"save({folder!r}): {path!r} is neither a file nor a folder")
                if info.isreg():
                    with open(path, "rb") as file:
                        tar.addfile(info, file)
                else:
                    _check_member(info, set(), f"save({folder!r})")
                    tar.addfile(info)


def _unpack(source: str, archive: str, folder: str) -> bool:
    """Unpack a gzip tar into an empty folder; False if it is something else.

    Links are made last and nothing is written through one, so all of it stays in the folder.
    """
    import tarfile
    import zlib

    with open(archive, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return False
    try:
        opened = tarfile.open(archive, "r:gz")  # noqa: SIM115 (whether it opens is the question)
    except (tarfile.ReadError, OSError, EOFError, zlib.error):
        return False
    try:
        with opened as tar:
            members = tar.getmembers()
            if not members and os.path.getsize(archive) > _EMPTY_ARCHIVE_BYTES:
                return False
            links = {os.path.normpath(member.name) for member in members if member.issym()}
            for member in members:
                _check_member(member, links, repr(source))
            in_order = sorted(members, key=lambda member: member.issym())
            if hasattr(tarfile, "data_filter"):
                tar.extractall(folder, in_order, filter="data")
            else:  # before Python 3.11.4; what it checks has been checked above
                tar.extractall(folder, in_order)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise OSError(f"{source!r} is a damaged checkpoint: {error}") from error
    return True


def _check_member(member: "tarfile.TarInfo", links: set[str], where: str) -> None:
    """Refuse what would leave the folder, judged by the text of its path.

    :param links: paths of the archive's links, which no other path may lead through.
    """
    path = os.path.normpath(member.name)
    parts = path.split("/")
    if member.name.startswith("/") or "\0" in member.name or parts[0] == "..":
        raise ValueError(f"{where}: {member.name!r} would leave the folder of the checkpoint")
    if not (member.isreg() or member.isdir() or member.issym()):
        raise ValueError(f"{where}: {member.name!r} is neither a file, a folder nor a symbolic link")
    if any("/".join(parts[:count]) in links for count in range(1, len(parts))):
        raise ValueError(f"{where}: {member.name!r} leads through a link")
    if member.issym():
        target = os.path.normpath(os.path.join(os.path.dirname(path), member.linkname))
        # Where ".." leads after a name is not in the text: the name may be of another link.
        winding = ".." in member.linkname.lstrip("./").split("/")
        if member.linkname.startswith("/") or target.split("/")[0] == ".." or winding:
            raise ValueError(
                f"{where}: the link {member.name!r} may lead out of the folder, to {member.linkname!r}; "
                "put a copy in its place"
            )
