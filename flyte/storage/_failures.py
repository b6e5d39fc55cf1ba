"""What went wrong with an object, in Python's own exceptions; each message names the URI."""

from flyte.storage._uri import Location


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
    return type(error)(f"{at.uri!r}: {error.strerror or error}")
