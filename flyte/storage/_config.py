"""How a store is reached: endpoints, credentials, retries.

Values only; :mod:`flyte.storage._clouds` turns them into clients. What is not set here is looked up by the client in
the usual places of its cloud (environment variables, profiles, the machine's own role).
"""

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from flyte._core.ambient import Ambient


@dataclass(frozen=True)
class Storage:
    """What all stores have in common.

    :param retries: how often a failed request is repeated, 0 or more.
    :param backoff: the longest pause between two attempts.
    :param enable_debug: kept for compatibility; has no effect.
    :param attach_execution_metadata: kept for compatibility; has no effect.
    :param stall: how long nothing may move before a request is given up and repeated; default 30 s. Requests that send,
        of 8 MiB, have this time in all; a file that is too slow for it is sent again with four times as much.
    :raises ValueError: a negative number or pause, or no time at all.
    """

    retries: int = 3
    backoff: datetime.timedelta = datetime.timedelta(seconds=5)
    enable_debug: bool = False
    attach_execution_metadata: bool = True
    stall: datetime.timedelta = field(default=datetime.timedelta(seconds=30), kw_only=True)

    _FROM_ENVIRONMENT: ClassVar[Mapping[str, str]] = {}
    """Field -> environment variable that sets it, as in the published API (2.12.1)."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries={self.retries!r} is negative; 0 means one attempt")
        if self.backoff < datetime.timedelta(0):
            raise ValueError(f"backoff={self.backoff!r} is negative")
        if self.stall <= datetime.timedelta(0):
            raise ValueError(f"stall={self.stall!r} leaves no time for anything to move")

    @classmethod
    def auto(cls) -> Self:
        """The settings that environment variables give."""
        return cls(**cls._found())

    @classmethod
    def _found(cls) -> dict[str, Any]:
        found: dict[str, Any] = {
            f: value for f, name in cls._FROM_ENVIRONMENT.items() if (value := os.environ.get(name))
        }
        if retries := os.environ.get("FLYTE_STORAGE_RETRIES"):
            if not retries.isdecimal():
                raise ValueError(f"FLYTE_STORAGE_RETRIES={retries!r} is not a number of retries, 0 or more")
            found["retries"] = int(retries)
        for name, variable in (("backoff", "FLYTE_STORAGE_BACKOFF_SECONDS"), ("stall", "FLYTE_STORAGE_STALL_SECONDS")):
            if text := os.environ.get(variable):
                try:
                    found[name] = datetime.timedelta(seconds=float(text))
                except (ValueError, OverflowError) as error:
                    raise ValueError(f"{variable}={text!r} is not a number of seconds") from error
        return found


@dataclass(frozen=True)
class S3(Storage):
    """Amazon S3, and what speaks its protocol.

    :param endpoint: URL of the server; None for Amazon's own. ``http://`` is accepted for servers nearby.
    :param access_key_id: with ``secret_access_key``, what requests are signed with; None to look in the usual places.
    :param region: name of the region; None for ``AWS_REGION`` or the client's default.
    :param addressing_style: ``"path"`` or ``"virtual"``; None for path where there is an endpoint of one's own.
    """

    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    region: str | None = None
    addressing_style: str | None = None

    _FROM_ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "endpoint": "FLYTE_AWS_ENDPOINT",
        "access_key_id": "FLYTE_AWS_ACCESS_KEY_ID",
        "secret_access_key": "FLYTE_AWS_SECRET_ACCESS_KEY",
        "addressing_style": "FLYTE_AWS_S3_ADDRESSING_STYLE",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.addressing_style not in (None, "path", "virtual", "auto"):
            raise ValueError(f"addressing_style={self.addressing_style!r} is not one of 'path', 'virtual' and 'auto'")

    @classmethod
    def auto(cls, region: str | None = None) -> Self:
        """The settings that environment variables give.

        :param region: name of the region; None to leave it to the client.
        """
        return cls(**cls._found(), region=region)

    def __repr__(self) -> str:
        # No secret in any log.
        return f"S3(endpoint={self.endpoint!r}, region={self.region!r}, retries={self.retries!r})"


@dataclass(frozen=True)
class GCS(Storage):
    """Google Cloud Storage; credentials come from the usual places of that cloud."""


@dataclass(frozen=True)
class ABFS(Storage):
    """Azure Blob Storage.

    :param account_name: the storage account; None where the URI or the environment names it.
    :param account_key: its key; None to use the three below, or the usual places.
    :param tenant_id: with the next two, a service principal.
    """

    account_name: str | None = None
    account_key: str | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = None

    _FROM_ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        "account_name": "AZURE_STORAGE_ACCOUNT_NAME",
        "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
        "tenant_id": "AZURE_TENANT_ID",
        "client_id": "AZURE_CLIENT_ID",
        "client_secret": "AZURE_CLIENT_SECRET",
    }

    def __repr__(self) -> str:
        return f"ABFS(account_name={self.account_name!r}, retries={self.retries!r})"


configured: Ambient[Storage] = Ambient("flyte_storage")
"""The settings of this process or context; a session sets them. Without them each store uses its ``auto()``."""
