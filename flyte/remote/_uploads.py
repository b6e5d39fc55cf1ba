"""Files and folders of this machine, put where tasks on the control plane can read them."""

import hashlib
from pathlib import Path

from flyte._core.threads import run_in_thread
from flyte.syncify import syncify

from ._launch import upload_folder
from ._plane import find_plane
from ._upload import upload_file as send_file


@syncify
async def upload_file(
    fp: Path, verify: bool = True, fname: str | None = None, content_type: str | None = None
) -> tuple[str, str]:
    """Send a file; gives its MD5 in hexadecimal, and the URI that tasks read it by. Also ``.aio``.

    :param verify: must be True: the certificate of the store is checked.
    :param fname: name of the file there; its own if not given.
    :param content_type: must be None: the store is told of no type.
    :raises NotImplementedError: another ``verify`` or ``content_type``.
    :raises FileNotFoundError: there is no such file.
    :raises flyte.errors.UnionRpcError: the control plane refuses.
    :raises flyte.errors.RuntimeSystemError: the store refuses, or cannot be reached.
    """
    _refuse("upload_file", verify=verify is not True, content_type=content_type is not None)
    path = Path(fp)
    if not await run_in_thread(path.is_file):
        raise FileNotFoundError(f"upload_file: {str(path)!r} is no file")
    digest = await run_in_thread(_md5, path)
    return digest, await send_file(find_plane(), path, name=fname)


@syncify
async def upload_dir(dir_path: Path, verify: bool = True, prefix: str | None = None) -> str:
    """Send a folder with all files below it; gives the URI that tasks read it by. Also ``.aio``.

    :param verify: must be True: the certificate of the store is checked.
    :param prefix: name of the folder there; one of its own if not given.
    :raises NotImplementedError: another ``verify``.
    :raises NotADirectoryError: there is no such folder.
    :raises flyte.errors.RuntimeUserError: ``LocalDataError``: it holds no files.
    :raises flyte.errors.UnionRpcError: the control plane refuses.
    :raises flyte.errors.RuntimeSystemError: the store refuses, or cannot be reached.
    """
    _refuse("upload_dir", verify=verify is not True)
    folder = Path(dir_path)
    if not await run_in_thread(folder.is_dir):
        raise NotADirectoryError(f"upload_dir: {str(folder)!r} is no folder")
    return await upload_folder(find_plane(), folder, prefix)


def _refuse(what: str, **given: bool) -> None:
    for name, is_given in given.items():
        if is_given:
            raise NotImplementedError(f"{what}({name}=...) is not available in this version of flyte")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
