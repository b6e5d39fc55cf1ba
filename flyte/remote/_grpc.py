"""gRPC, loaded so that its C part does not write on the user's terminal by itself (``I1121 ... Got goaway``).

It reads the variable once, when it is loaded; a value that the user gave stays, and nothing is left in the environment
for child processes. What matters of those lines is in the errors that are raised.
"""

import os

_GIVEN = os.environ.get("GRPC_VERBOSITY")
if _GIVEN is None:
    os.environ["GRPC_VERBOSITY"] = "NONE"

import grpc  # noqa: E402
import grpc.aio  # noqa: E402

if _GIVEN is None:
    os.environ.pop("GRPC_VERBOSITY", None)

__all__ = ["grpc"]
