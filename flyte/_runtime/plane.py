"""The way from a container to its control plane, taken when a task first calls another one.

A task that calls none loads no gRPC and opens no connection.
"""

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.command import Command
from flyte._core.controller import Controller
from flyte._definition.task import TaskTemplate


class PlaneController(Controller):
    """Hands calls to the control plane that the process environment names.

    :param command: what the container was told to run.
    :param bundle: the code that it runs from.
    """

    def __init__(self, command: Command, bundle: CodeBundle | None) -> None:
        self._command = command
        self._bundle = bundle
        self._inner: Any = None
        self._client: Any = None

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run ``task`` as a child of the running action.

        :raises flyte.errors.InitializationError: the environment names no control plane.
        """
        call: Coroutine[Any, Any, Any] = self._connected().submit(task, *args, **kwargs)
        return call

    def _connected(self) -> Any:
        if self._inner is None:
            from flyte._control.remote import RemoteController
            from flyte._verbs.connect import init_in_cluster
            from flyte.remote._client import Client
            from flyte.remote._enqueue import ActionsClient
            from flyte.remote._plane import find_plane

            command, bundle = self._command, self._bundle
            init_in_cluster()
            found = find_plane().client
            # The controller repeats by rules of its own, so this client does not.
            self._client = ActionsClient(Client(found.connection, found.channel.credentials, retried=False))
            sctx = SerializationContext(
                version=command.version,
                project=command.project,
                domain=command.domain,
                org=command.org,
                code_bundle=bundle,
                image_cache=command.image_cache,
                root_dir=Path(command.dest).resolve(),
            )
            pack = self._pack if bundle is not None and bundle.pkl is not None else None
            self._inner = RemoteController(self._client, sctx, pack)
        return self._inner

    async def _pack(self, task: TaskTemplate[Any, Any, Any]) -> CodeBundle:
        """A pickled task's children are pickled as well (wire-protocol section 4.1)."""
        from flyte._core.threads import run_in_thread
        from flyte._package.bundle import build_pickled_bundle
        from flyte.storage._transfer import put
        from flyte.storage._uri import join

        with tempfile.TemporaryDirectory(prefix="flyte-pickled-") as folder:
            made = await run_in_thread(build_pickled_bundle, task, folder)
            assert made.pkl is not None
            uri = join(self._command.run_base_dir, f"{made.computed_version}.pkl.gz")
            await put(made.pkl, uri)
        return CodeBundle(computed_version=made.computed_version, pkl=uri, destination=self._command.dest)

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced function as a step that the control plane knows of."""
        return await self._connected().trace(function, *args, **kwargs)

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a sync traced function as a step."""
        return self._connected().trace_sync(function, *args, **kwargs)

    def trace_async_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced async generator as a step."""
        return self._connected().trace_async_items(function, *args, **kwargs)

    def trace_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced generator as a step."""
        return self._connected().trace_items(function, *args, **kwargs)

    async def condition(self, condition: Any, /) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Let the control plane wait for an answer."""
        wait: Callable[[], Coroutine[Any, Any, Any]] = await self._connected().condition(condition)
        return wait

    async def stop(self) -> None:
        """The action has ended: streams and connection are closed."""
        if self._inner is not None:
            await self._inner.stop()
            await self._client.close()
