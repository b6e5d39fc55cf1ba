"""Who the control plane takes the caller for."""

from typing import Any

from ._client import Client
from ._plane import find_client


async def ask_who(of: Client | None = None) -> dict[str, Any]:
    """The caller as plain values: ``endpoint``, ``subject``, ``name``, ``email``, ... and ``claims``.

    :param of: the client to ask with; if not given, that of the configured control plane, else of the devbox.
    :raises InitializationError: no control plane is configured.
    :raises UnionRpcError: it could not be asked.
    """
    from flyteidl2.auth.identity_pb2 import UserInfoRequest
    from google.protobuf.json_format import MessageToDict

    one = of or find_client()[0]
    said = await one.identity.UserInfo(UserInfoRequest())
    return {
        "endpoint": str(one.connection.endpoint),
        "org": one.connection.org,
        "subject": said.subject,
        "name": said.name,
        "preferred_username": said.preferred_username,
        "given_name": said.given_name,
        "family_name": said.family_name,
        "email": said.email,
        "claims": MessageToDict(said.additional_claims) if said.HasField("additional_claims") else {},
    }
