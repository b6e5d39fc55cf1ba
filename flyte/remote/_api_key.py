"""API keys: an endpoint, a client's id and secret, and an organization in one text. Loads nothing heavy."""

import base64
import binascii
from dataclasses import dataclass, field

from flyte.errors import InitializationError


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What an API key says."""

    endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    org: str | None


def parse_api_key(text: str) -> ApiKey:
    """The parts of a key, which is the base64 form of ``endpoint:client_id:client_secret:org``.

    The endpoint may itself have a port or a scheme: the last three colons divide. An organization that is empty or
    ``None`` is not set.

    :raises InitializationError: it has another form; the message does not repeat the key.
    """
    packed = text.strip()
    try:
        # Padding is often lost on the way through a shell, and both alphabets are in use.
        padded = packed + "=" * (-len(packed) % 4)
        decoded = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _refuse("is not base64 of a text") from None
    parts = decoded.rsplit(":", 3)
    if len(parts) != 4 or not all(parts[:3]):
        raise _refuse("does not hold endpoint, client id, client secret and organization")
    endpoint, client_id, secret, org = parts
    return ApiKey(endpoint, client_id, secret, None if org in ("", "None") else org)


def _refuse(reason: str) -> InitializationError:
    return InitializationError(
        "InvalidApiKeyError", "user", f"the API key {reason}; copy it again as it was shown when it was made"
    )
