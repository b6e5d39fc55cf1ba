"""Which of a control plane's clusters answers for a resource (wire-protocol section 1.4).

Data, logs and secrets may lie in another place than the control plane itself. It is asked where before the first call
about a resource, and what it says is kept.
"""

import threading
from collections import OrderedDict
from typing import Any

from flyteidl2.cluster.payload_pb2 import SelectClusterRequest

from flyte.errors import RpcUnimplementedError, RuntimeSystemError

from ._endpoint import Endpoint, parse_endpoint

Operation = SelectClusterRequest.Operation
_KEPT = 4096
"""Answers that are kept: a list of 10,000 actions must not make each of them a place in memory for good."""


class Clusters:
    """The answers of one control plane.

    :param own: where the control plane itself is.
    :param insecure: whether it is spoken to without TLS.
    """

    def __init__(self, own: Endpoint, insecure: bool) -> None:
        self._own = own
        self._insecure = insecure
        self._known: OrderedDict[tuple[int, bytes], Endpoint | None] = OrderedDict()
        self._has_one = False
        self._lock = threading.Lock()

    async def find(self, service: Any, operation: int, **resource: Any) -> Endpoint | None:
        """Where to send a call; None for the control plane itself.

        :param service: the stub to ask.
        :param operation: one of :data:`Operation`.
        :param resource: the one resource that the call is about, by its name in ``SelectClusterRequest``.
        :raises UnionRpcError: the control plane could not be asked.
        :raises RuntimeSystemError: ``ClusterNotReached``: it names no endpoint that could be reached.
        """
        if self._has_one:
            return None
        request = SelectClusterRequest(operation=operation, **resource)  # type: ignore[arg-type]
        key = (operation, request.SerializeToString(deterministic=True))
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        try:
            answer = await service.SelectCluster(request)
        except RpcUnimplementedError:
            self._has_one = True
            return None
        found = self._read(answer.cluster_endpoint)
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _read(self, said: str) -> Endpoint | None:
        if not said:
            return None
        try:
            found = parse_endpoint(said)
        except ValueError as error:
            raise RuntimeSystemError(
                "ClusterNotReached", f"the control plane at {self._own} names a cluster that cannot be reached: {error}"
            ) from None
        # Whether TLS is spoken is what this client was told, whatever the scheme says: a token must not leave in clear.
        same = found.address(self._insecure) == self._own.address(self._insecure)
        here = found.is_loopback and self._own.is_loopback and found.port == self._own.port
        return None if same or here else found
