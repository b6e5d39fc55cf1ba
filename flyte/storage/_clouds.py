"""S3, Google Cloud Storage and Azure through ``obstore``, which is imported by the first use and by nobody else.

Everything is read in ranges of one chunk: a request never outlives its time limit because an object is large, and a
failed one is repeated alone (:mod:`flyte.storage._fetch`). All ranges ask for the version that the first one saw.
Requests that send are repeated by obstore itself.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from datetime import timedelta
from functools import cache, cached_property, lru_cache
from typing import Any

from flyte.storage._config import ABFS, GCS, S3, Storage, configured
from flyte.storage._failures import Changed, missing
from flyte.storage._fetch import Patience, fetch
from flyte.storage._store import CHUNK_BYTES, CONCURRENCY, ObjectInfo
from flyte.storage._uri import Kind, Location

_CONNECT_TIMEOUT_S = 5.0
_TRIES_STALLS = 4
"""Repetitions of one request that sends end after this many stalls in all."""
_WHOLE_TIMES = 10
"""A request of which the answer keeps coming may take this many times as long."""
_PATIENT_STALLS = 4
"""A patient upload gives one request this many stalls: one part of 8 MiB at 0.6 Mbit/s by default."""
_ENVIRONMENT = ("AWS_", "FLYTE_AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "STORAGE_EMULATOR_HOST")


def _obstore() -> Any:
    try:
        import obstore
    except ImportError as error:
        raise ImportError(
            "object stores (s3://, gs://, abfs://) need the package obstore; install it with: "
            "pip install 'flyte[storage]'"
        ) from error
    return obstore


def settings_for(kind: Kind) -> Storage:
    """The settings of this context for a cloud; those of the environment if none were given."""
    classes: dict[Kind, type[Storage]] = {"s3": S3, "gs": GCS, "azure": ABFS}
    present, cls = configured.get(), classes[kind]
    return present if isinstance(present, cls) else cls.auto()


def cloud_store(at: Location) -> "CloudStore":
    """The store of a bucket, with the settings of this context.

    :raises ImportError: obstore is not installed.
    """
    _obstore()
    settings = settings_for(at.kind)
    # Clients read the environment when they are made.
    seen = tuple(sorted(item for item in os.environ.items() if item[0].startswith(_ENVIRONMENT)))
    try:
        return _made(at.kind, at.root, settings, seen)
    except Exception as error:
        raise _failure(at, error) from error


@lru_cache(maxsize=64)
def _made(kind: str, root: str, settings: Storage, _environment: Any) -> "CloudStore":
    store = CloudStore(kind, root, settings)
    _ = store.client  # settings that cannot be are found now
    return store


@cache
def _has_read_timeout() -> bool:
    """Whether this release of obstore knows the option; the first that we take do not."""
    from obstore.store import S3Store

    try:
        S3Store("bucket", region="us-east-1", client_options={"read_timeout": timedelta(seconds=1)})
    except TypeError:
        return False
    return True


def options_for(
    kind: str, settings: Storage, timeout_s: float, retries: int
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What obstore is to know of a cloud: its configuration, options of the HTTP client, and when to repeat.

    :param timeout_s: how long one request may take to be sent and answered.
    :param retries: how often it is repeated.
    """
    client: dict[str, Any] = {
        # Time in which a request is sent and answered, and then each piece of the answer arrives: while a store puts a
        # large object together it says again and again that it is still at it.
        **({"read_timeout": timedelta(seconds=timeout_s)} if _has_read_timeout() else {}),
        "timeout": timedelta(seconds=(_WHOLE_TIMES if _has_read_timeout() else 1) * timeout_s),
        "connect_timeout": timedelta(seconds=min(_CONNECT_TIMEOUT_S, settings.stall.total_seconds())),
    }
    retry = {
        "max_retries": retries,
        "retry_timeout": timedelta(seconds=_TRIES_STALLS * timeout_s),
        "backoff": {
            "init_backoff": min(timedelta(milliseconds=100), settings.backoff),
            "max_backoff": settings.backoff,
        },
    }
    options: dict[str, Any] = {}
    if isinstance(settings, S3):
        own = settings.endpoint or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
        if own and own.startswith("http://"):
            client["allow_http"] = True
        style = settings.addressing_style
        options = {
            "endpoint": settings.endpoint,
            "access_key_id": settings.access_key_id,
            "secret_access_key": settings.secret_access_key,
            "region": settings.region,
            "virtual_hosted_style_request": None if style in (None, "auto") else style == "virtual",
        }
    elif isinstance(settings, ABFS):
        options = {
            "account_name": settings.account_name,
            "account_key": settings.account_key,
            "tenant_id": settings.tenant_id,
            "client_id": settings.client_id,
            "client_secret": settings.client_secret,
        }
    elif kind == "gs" and (emulator := os.environ.get("STORAGE_EMULATOR_HOST")):  # as Google's own libraries read it
        url = emulator if "://" in emulator else f"http://{emulator}"
        if url.startswith("http://"):
            client["allow_http"] = True
        no_account = {"client_email": "", "private_key": "", "private_key_id": ""}
        options["service_account_key"] = json.dumps({"gcs_base_url": url, "disable_oauth": True, **no_account})
    return {name: value for name, value in options.items() if value is not None}, client, retry


def _client(kind: str, root: str, settings: Storage, timeout_s: float, retries: int) -> Any:
    from obstore import store as clients

    options, client, retry = options_for(kind, settings, timeout_s, retries)
    if kind == "azure":
        root, _, host = root.partition("@")
        if host and "account_name" not in options:
            options["account_name"] = host.partition(".")[0]
    if kind == "gs" and "service_account_key" in options:
        # Otherwise an empty token is sent, which not every emulator can read.
        options["credential_provider"] = lambda: {"token": "emulator", "expires_at": None}
    cls = {"s3": clients.S3Store, "gs": clients.GCSStore, "azure": clients.AzureStore}[kind]
    return cls(root, client_options=client, retry_config=retry, **options)


class CloudStore:
    """One bucket or container."""

    def __init__(self, kind: str, root: str, settings: Storage) -> None:
        self._kind, self._root, self._settings = kind, root, settings
        self._patience = Patience.of(settings)
        self.has_opaque_tags = False
        """An ETag that looks like a checksum was found to be none."""

    @property
    def retries(self) -> int:
        """How often a failed request is repeated."""
        return self._settings.retries

    @cached_property
    def client(self) -> Any:
        """obstore's own store object."""
        return _client(self._kind, self._root, self._settings, self._patience.stall_s, self._settings.retries)

    @cached_property
    def _patient(self) -> Any:
        timeout_s = _PATIENT_STALLS * self._patience.stall_s
        return _client(self._kind, self._root, self._settings, timeout_s, self._settings.retries)

    @cached_property
    def _reader(self) -> Any:
        # What is read is watched and repeated here, piece by piece.
        return _client(self._kind, self._root, self._settings, _PATIENT_STALLS * self._patience.stall_s, 0)

    async def stat(self, at: Location) -> ObjectInfo | None:
        """What the store says of an object."""
        if not at.key:
            return None
        try:
            found = await _obstore().head_async(self.client, at.key)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _failure(at, error) from error
        return _info(at.key, found)

    async def read(
        self, at: Location, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES
    ) -> AsyncIterator[bytes]:
        """The bytes of an object; the next ranges are fetched while one is used."""
        info = await self.stat(at)
        if info is None:
            raise missing(at)
        stop = info.size_bytes if end is None else min(end, info.size_bytes)
        under_way: deque[asyncio.Task[bytes]] = deque()
        position = start
        try:
            while position < stop or under_way:
                while position < stop and len(under_way) < CONCURRENCY - 1:
                    after = min(position + chunk_bytes, stop)
                    under_way.append(asyncio.create_task(self._range(at, position, after, info.version)))
                    position = after
                yield await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _range(self, at: Location, start: int, end: int, version: str) -> bytes:
        return bytes(await self.fetch(at, start, end, version))

    async def fetch(
        self, at: Location, start: int, end: int, version: str, attributes: dict[str, str] | None = None
    ) -> bytearray:
        """One range of an object, resumed where its connection breaks or stalls.

        :param version: of the object, as :meth:`stat` gave it; empty to take any.
        :param attributes: given what the store says of the object beside its bytes.
        """

        async def ask(start: int, end: int) -> Any:
            options: dict[str, Any] = {"range": (start, end)}
            if version:
                options["if_match"] = version
            return await _obstore().get_async(self._reader, at.key, options=options)

        return await fetch(at, start, end, ask, lambda error: _failure(at, error), self._patience, attributes)

    async def write(
        self,
        at: Location,
        chunks: AsyncIterable[bytes],
        chunk_bytes: int = CHUNK_BYTES,
        concurrency: int = CONCURRENCY,
        attributes: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> None:
        """Upload an object: in one request if it is small, else in parts that are put together at the end.

        :param attributes: what the store shall keep beside the bytes.
        :param patient: for a slow way up: one part at a time, and more time for each.
        """
        if not at.key:
            raise ValueError(f"{at.uri!r} names no object; write the path in the bucket as well")
        waiting = aiter(chunks)
        first, second = await anext(waiting, b""), await anext(waiting, None)
        source, only = _Source(first, second, waiting), first if second is None else None
        del first, second  # or they would stay until the end
        client = self._patient if patient else self.client
        kept = dict(attributes) if attributes else None
        try:
            if only is not None:
                await _obstore().put_async(client, at.key, only, use_multipart=False, attributes=kept)
            else:
                # Two more are in memory than are on their way: one that is read, and one that is put together.
                at_once = 1 if patient else max(1, concurrency - 2)
                await _obstore().put_async(
                    client, at.key, source, chunk_size=chunk_bytes, max_concurrency=at_once, attributes=kept
                )
        except BaseException as error:
            if source.failure is not None:
                raise source.failure from None
            if not isinstance(error, Exception):
                raise
            raise _failure(at, error) from error

    async def list(self, at: Location) -> AsyncIterator[ObjectInfo]:
        """Every object below a key."""
        try:
            pages = _obstore().list(self.client, f"{at.key}/" if at.key else None, chunk_size=1000)
            async for page in pages:
                for found in page:
                    yield _info(found["path"], found)
        except FileNotFoundError as error:
            raise _failure(at, error) from error
        except GeneratorExit:
            raise
        except Exception as error:
            raise _failure(at, error) from error


def _info(key: str, found: Any) -> ObjectInfo:
    return ObjectInfo(key, found["size"], found.get("e_tag") or "", found["last_modified"].timestamp())


class _Source:
    """The chunks that obstore pulls; keeps the error of whoever makes them, which obstore would only quote."""

    def __init__(self, first: bytes, second: bytes | None, rest: AsyncIterator[bytes]) -> None:
        self._taken = [second, first]
        self._rest = rest
        self.failure: BaseException | None = None

    def __aiter__(self) -> "_Source":
        return self

    async def __anext__(self) -> bytes:
        if self._taken:
            return self._taken.pop() or b""
        try:
            return await anext(self._rest)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.failure = error
            raise


_NO_CREDENTIALS = ("credential", "169.254.169.254", "metadata.google.internal", "missingaccount", "invalidaccesskeyid")
"""What errors say when there is nothing to sign with; the address is where the clouds' machines ask for their role."""
_TIME_IS_UP = ("timedout", "timed out")
_BROKEN = (
    "connection",
    "error sending request",
    "error decoding response body",
    "response body error",
    "incompletemessage",
    "tcp connect",
)


def _failure(at: Location, error: Exception) -> Exception:
    """The public form of what obstore raised."""
    from obstore import exceptions

    text = " ".join(str(error).partition("Debug source")[0].split())[:400]
    lower = " ".join(str(error).split()).lower()
    if isinstance(error, FileNotFoundError) or "404 not found" in lower:
        if "nosuchbucket" in lower or ("bucket" in lower and "does not exist" in lower):
            return FileNotFoundError(f"{at.uri!r}: there is no bucket or container {at.root!r}")
        return missing(at)
    if isinstance(error, exceptions.UnauthenticatedError) or any(sign in lower for sign in _NO_CREDENTIALS):
        return PermissionError(
            f"{at.uri!r}: no valid credentials were found; set them in the environment, or give them to flyte.storage."
            f"{ {'s3': 'S3', 'gs': 'GCS', 'azure': 'ABFS'}[at.kind] } ({text})"
        )
    if isinstance(error, (exceptions.PermissionDeniedError, PermissionError)):
        return PermissionError(f"{at.uri!r}: no permission ({text})")
    if isinstance(error, exceptions.PreconditionError):
        return Changed(f"{at.uri!r} was changed while it was read")
    if isinstance(error, exceptions.InvalidPathError) or "parse path" in lower:
        return ValueError(f"{at.uri!r} is not a key that object stores take ({text})")
    if any(sign in lower for sign in _TIME_IS_UP):
        return TimeoutError(f"{at.uri!r}: no answer in time; see FLYTE_STORAGE_STALL_SECONDS ({text})")
    if any(sign in lower for sign in _BROKEN):
        return ConnectionError(f"{at.uri!r}: the connection broke or was refused ({text})")
    if isinstance(error, (exceptions.BaseError, OSError, ValueError)):
        return OSError(f"{at.uri!r}: {text}")
    return error
