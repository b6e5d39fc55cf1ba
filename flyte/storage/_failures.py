"""What went wrong with an object, in Python's own exceptions; each message names the URI."""

import errno

from flyte.storage._uri import Location


class Changed(OSError):
    """The object is not the one that the transfer began with."""


class Damaged(OSError):
    """What arrived is not what the store's checksum says."""


def missing(at: Location) -> FileNotFoundError:
    """There is no such object."""
    return FileNotFoundError(f"{at.uri!r}: there is no such file or object")


def is_folder(at: Location, remedy: str) -> IsADirectoryError:
    """A folder was found where one object is needed."""
    return IsADirectoryError(f"{at.uri!r} is a folder; {remedy}")


def of_system(at: Location, error: OSError) -> OSError:
    """What the operating system said, as the same class."""
    if isinstance(error, FileNotFoundError):
        return missing(at)
    if isinstance(error, PermissionError):
        return PermissionError(f"{at.uri!r}: no permission ({error.strerror or error})")
    if isinstance(error, IsADirectoryError):
        return is_folder(at, "pass recursive=True, or use Dir")
    if error.errno is None:
        return type(error)(f"{at.uri!r}: {error}")
    said = error.strerror or str(error)
    if is_out_of_space(error):
        said += "; free some space, or name a folder on another device"
    return OSError(error.errno, f"{at.uri!r}: {said}")


def is_out_of_space(error: BaseException) -> bool:
    """Whether a device is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_space(at: Location, needed_bytes: int, free_bytes: int) -> OSError:
    """The device is too small for what is to come."""
    return OSError(
        errno.ENOSPC,
        f"{at.uri!r}: no space left on device: {needed_bytes:,} bytes are to come and {free_bytes:,} are free; "
        "free some space, or name a folder on another device",
    )
