"""A devbox whose attempts are run by the published SDK's ``a0``: ``python box.py PATH/TO/a0``.

That runtime speaks the Connect protocol, so its attempts are told the address of that.
"""

import asyncio
import sys
from typing import Any

from flyte.devbox import _plane
from flyte.devbox.executors import process
from flyte.devbox.executors.executor import Order

BECOME = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"


class PublishedRuntime(process.ProcessExecutor):
    """Starts another program than ours for ``a0``."""

    def start(self, order: Order) -> str:
        box: Any = devbox
        order.env["_U_EP_OVERRIDE"] = f"localhost:{box._http.port}"
        return super().start(order)


process._PROGRAMS["a0"] = ("-c", BECOME, sys.argv[1])
devbox = _plane.Devbox(executor=PublishedRuntime(warm=False), guarded=False)
asyncio.run(_plane.serve(devbox))
