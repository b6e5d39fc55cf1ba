"""Where tokens are kept between processes: the keyring of the operating system, else a file that only its owner reads.

The keyring is used if the optional package ``keyring`` is installed and has one; it may ask the user, or hang, so it
is given a few seconds and asked in a thread that nothing waits for.
"""

import asyncio
import contextlib
import importlib
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from flyte._core.home import home_dir
from flyte._core.log import logger

from ._auth_flows import Tokens

T = TypeVar("T")
_KEY = "tokens"
_KEYRING_S = 5.0
_LARGEST_BYTES = 256 << 10


class TokenStore:
    """The tokens of one control plane.

    :param endpoint: its host and port, without a scheme.
    :param use_keyring: whether the keyring may be used.
    """

    def __init__(self, endpoint: str, use_keyring: bool = True) -> None:
        self._endpoint = endpoint
        self._use_keyring = use_keyring

    @property
    def path(self) -> Path:
        """The file, where there is no keyring."""
        return home_dir() / "tokens" / f"{quote(self._endpoint, safe='')}.json"

    async def load(self) -> Tokens | None:
        """The tokens that were kept; None if there are none that can be read."""
        text = await self._ask_keyring(lambda keyring: keyring.get_password(self._endpoint, _KEY))
        if not isinstance(text, str):
            text = await asyncio.to_thread(self._read)
        return _parse(text) if text else None

    async def save(self, tokens: Tokens) -> None:
        """Keep ``tokens``; what was kept before stays until these are written."""
        text = json.dumps(
            {
                "access_token": tokens.access_token,
                "refresh_token": tokens.refresh_token,
                "expires_at": tokens.expires_at,
                "header": tokens.header,
                "refresh_at": tokens.refresh_at,
            }
        )

        def keep(keyring: Any) -> bool:
            keyring.set_password(self._endpoint, _KEY, text)
            return True

        if await self._ask_keyring(keep):
            # Else an older file would be found where the keyring is locked one day.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.path.unlink)
            return
        try:
            await asyncio.to_thread(self._write, text)
        except OSError as error:
            # They still serve this process.
            logger.warning("the tokens cannot be kept in %s: %s", self.path, error.strerror)

    async def _ask_keyring(self, ask: Callable[[Any], T]) -> T | None:
        if not self._use_keyring:
            return None
        try:
            return await _in_passing(lambda: ask(importlib.import_module("keyring")), _KEYRING_S)
        except ImportError:
            pass
        except TimeoutError:
            logger.info("the keyring did not answer within %g s; a file is used", _KEYRING_S)
        except Exception as error:
            # Backends raise what they like; its text may hold what was to be stored.
            logger.debug("the keyring cannot be used (%s); a file is used", type(error).__name__)
        self._use_keyring = False
        return None

    def _read(self) -> str | None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, encoding="utf-8") as file:
                if os.fstat(descriptor).st_mode & 0o077:
                    os.fchmod(descriptor, 0o600)
                    logger.warning("others could read %s; now only you can", self.path)
                return file.read(_LARGEST_BYTES)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("the tokens in %s cannot be read: %s", self.path, getattr(error, "strerror", "no text"))
            return None

    def _write(self, text: str) -> None:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = folder / f".{secrets.token_hex(8)}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(new, self.path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    @asynccontextmanager
    async def exclusively(self, at_most_s: float) -> AsyncIterator[None]:
        """Keep other processes from refreshing at the same time: a refresh token may be good for one use only.

        :param at_most_s: how long to wait for another process, before going on without.
        """
        descriptor = None
        try:
            descriptor = await self._lock(at_most_s)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    async def _lock(self, at_most_s: float) -> int | None:
        try:
            import fcntl
        except ImportError:  # not on this operating system
            return None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return None
        until = asyncio.get_running_loop().time() + at_most_s
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return descriptor
                except OSError:
                    if asyncio.get_running_loop().time() > until:
                        return descriptor
                await asyncio.sleep(0.05)
        except BaseException:
            os.close(descriptor)
            raise


def _parse(text: str) -> Tokens | None:
    try:
        said = json.loads(text)
        access, refresh, expires_at = said["access_token"], said.get("refresh_token"), said.get("expires_at")
        header, refresh_at = said.get("header", "authorization"), said.get("refresh_at", expires_at)
        if (
            isinstance(access, str)
            and access
            and isinstance(refresh, str | None)
            and isinstance(expires_at, int | float | None)
            and isinstance(refresh_at, int | float | None)
            and isinstance(header, str)
        ):
            return Tokens(access, refresh or None, expires_at, header, refresh_at)
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    logger.warning("the tokens that were kept cannot be read; log in again")
    return None


async def _in_passing(work: Callable[[], T], timeout_s: float) -> T:
    """Run ``work`` in a thread that does not keep the process alive.

    :raises TimeoutError: it took too long; the thread is left behind.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="flyte-keyring", daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await asyncio.shield(asyncio.wrap_future(done))
