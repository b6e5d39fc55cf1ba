"""What a task in a container needs to call others: a connection to its control plane, and a controller over it."""

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from flyte._control.remote import RemoteController
from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.command import Command
from flyte._core.threads import run_in_thread
from flyte._definition.task import TaskTemplate
from flyte._package.bundle import build_pickled_bundle
from flyte._verbs.connect import init_in_cluster
from flyte.remote._client import Client
from flyte.remote._enqueue import ActionsClient
from flyte.remote._plane import find_plane
from flyte.storage._transfer import put
from flyte.storage._uri import join


def connect(command: Command, bundle: CodeBundle | None) -> tuple[RemoteController, ActionsClient]:
    """The controller of the control plane that the process environment names, and the client that it speaks through.

    :param command: what the container was told to run.
    :param bundle: the code that it runs from.
    :raises flyte.errors.InitializationError: the environment names no control plane.
    """
    init_in_cluster()
    found = find_plane().client
    # The controller repeats by rules of its own, so this client does not.
    client = ActionsClient(Client(found.connection, found.channel.credentials, retried=False))
    sctx = SerializationContext(
        version=command.version,
        project=command.project,
        domain=command.domain,
        org=command.org,
        code_bundle=bundle,
        image_cache=command.image_cache,
        root_dir=Path(command.dest).resolve(),
    )
    pack = _packer(command) if bundle is not None and bundle.pkl is not None else None
    return RemoteController(client, sctx, pack), client


def _packer(command: Command) -> Callable[[TaskTemplate[Any, Any, Any]], Coroutine[Any, Any, CodeBundle]]:
    """A pickled task's children are pickled as well (wire-protocol section 4.1)."""

    async def pack(task: TaskTemplate[Any, Any, Any]) -> CodeBundle:
        with tempfile.TemporaryDirectory(prefix="flyte-pickled-") as folder:
            made = await run_in_thread(build_pickled_bundle, task, folder)
            assert made.pkl is not None
            uri = join(command.run_base_dir, f"{made.computed_version}.pkl.gz")
            await put(made.pkl, uri)
        return CodeBundle(computed_version=made.computed_version, pkl=uri, destination=command.dest)

    return pack
