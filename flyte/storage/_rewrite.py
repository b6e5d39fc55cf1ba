"""Reading from where an operator has mounted what lies elsewhere: ``_F_PATH_REWRITE`` (wire-protocol section 5.2).

``_F_PATH_REWRITE=s3://bucket/data->/mnt/data`` reads ``s3://bucket/data/x`` from ``/mnt/data/x`` where that exists.
What is written goes where it is said.
"""

import asyncio
import os

from flyte.storage._store import store_for
from flyte.storage._uri import Location, locate

VARIABLE = "_F_PATH_REWRITE"


async def locate_to_read(path: str | os.PathLike[str]) -> Location:
    """Where to read a path or URI from.

    :raises ValueError: as for :func:`flyte.storage._uri.locate`; or the variable is not of the form ``old->new``.
    """
    said = os.environ.get(VARIABLE)
    if not said:
        return locate(path)
    old, arrow, new = said.partition("->")
    if not (arrow and old and new):
        raise ValueError(f"{VARIABLE}={said!r} is not of the form old->new, two prefixes of paths or URIs")
    text, prefix = os.fspath(path), old.rstrip("/")
    if text == prefix or text.startswith(f"{prefix}/"):
        mounted = locate(new.rstrip("/") + text[len(prefix) :])
        if await is_there(mounted):
            return mounted
    return locate(path)


async def is_there(at: Location) -> bool:
    """Whether there is a file, a folder, an object, or a prefix under which there are objects."""
    if at.kind == "local":
        return await asyncio.to_thread(os.path.exists, at.key)
    store = store_for(at)
    if await store.stat(at) is not None:
        return True
    async for _ in store.list(at):
        return True
    return False
