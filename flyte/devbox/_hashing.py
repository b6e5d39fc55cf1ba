"""What tells inputs from other inputs, for the cache. Pure."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256

from flyteidl2.task.common_pb2 import Inputs


def hash_inputs(inputs: Inputs, ignored: Iterable[str] = ()) -> str:
    """The hash that ``UploadInputs`` answers with; the wire asks only that it is stable (wire-protocol section 8)."""
    left_out = set(ignored)
    kept = Inputs(literals=[one for one in inputs.literals if one.name not in left_out])
    digest = sha256(kept.SerializeToString(deterministic=True)).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")
