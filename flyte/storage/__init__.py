"""Files and objects by URI: local files, S3, Google Cloud Storage, Azure and memory behind one seam, and whatever
:func:`register_store` adds.

A face: names are resolved on first use. The clouds need ``pip install 'flyte[storage]'``.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.storage._checksum import checksum as checksum
    from flyte.storage._config import ABFS as ABFS
    from flyte.storage._config import GCS as GCS
    from flyte.storage._config import S3 as S3
    from flyte.storage._config import Storage as Storage
    from flyte.storage._fsspec import get_configured_fsspec_kwargs as get_configured_fsspec_kwargs
    from flyte.storage._fsspec import get_underlying_filesystem as get_underlying_filesystem
    from flyte.storage._store import ObjectInfo as ObjectInfo
    from flyte.storage._store import ObjectStore as ObjectStore
    from flyte.storage._store import register_store as register_store
    from flyte.storage._streams import AsyncReadableFile as AsyncReadableFile
    from flyte.storage._streams import AsyncWritableFile as AsyncWritableFile
    from flyte.storage._transfer import exists as exists
    from flyte.storage._transfer import exists_sync as exists_sync
    from flyte.storage._transfer import get as get
    from flyte.storage._transfer import get_random_local_directory as get_random_local_directory
    from flyte.storage._transfer import get_random_local_path as get_random_local_path
    from flyte.storage._transfer import get_stream as get_stream
    from flyte.storage._transfer import open as open
    from flyte.storage._transfer import put as put
    from flyte.storage._transfer import put_stream as put_stream
    from flyte.storage._uri import Location as Location
    from flyte.storage._uri import is_remote as is_remote
    from flyte.storage._uri import join as join

_TABLE = {
    "ABFS": "flyte.storage._config",
    "AsyncReadableFile": "flyte.storage._streams",
    "AsyncWritableFile": "flyte.storage._streams",
    "GCS": "flyte.storage._config",
    "Location": "flyte.storage._uri",
    "ObjectInfo": "flyte.storage._store",
    "ObjectStore": "flyte.storage._store",
    "S3": "flyte.storage._config",
    "Storage": "flyte.storage._config",
    "checksum": "flyte.storage._checksum",
    "exists": "flyte.storage._transfer",
    "exists_sync": "flyte.storage._transfer",
    "get": "flyte.storage._transfer",
    "get_configured_fsspec_kwargs": "flyte.storage._fsspec",
    "get_random_local_directory": "flyte.storage._transfer",
    "get_random_local_path": "flyte.storage._transfer",
    "get_stream": "flyte.storage._transfer",
    "get_underlying_filesystem": "flyte.storage._fsspec",
    "is_remote": "flyte.storage._uri",
    "join": "flyte.storage._uri",
    "open": "flyte.storage._transfer",
    "put": "flyte.storage._transfer",
    "put_stream": "flyte.storage._transfer",
    "register_store": "flyte.storage._store",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "ABFS",
    "AsyncReadableFile",
    "AsyncWritableFile",
    "GCS",
    "Location",
    "ObjectInfo",
    "ObjectStore",
    "S3",
    "Storage",
    "checksum",
    "exists",
    "exists_sync",
    "get",
    "get_configured_fsspec_kwargs",
    "get_random_local_directory",
    "get_random_local_path",
    "get_stream",
    "get_underlying_filesystem",
    "is_remote",
    "join",
    "open",
    "put",
    "put_stream",
    "register_store",
]
