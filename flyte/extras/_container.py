"""ContainerTask: any image as a task, without flyte in it.

A control plane puts the inputs into the container's files and takes the outputs out of them. A run in this process does
the same with podman or docker.
"""

import asyncio
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from flyte._core.code_bundle import SerializationContext
from flyte._core.interface import NativeInterface
from flyte._definition.cache import Cache, cache_from_request
from flyte._definition.image import Image
from flyte._definition.secret import secrets_from_request
from flyte._definition.task import TaskTemplate
from flyte._package.image_engine import ImageBuildEngine, is_there_by_itself
from flyte._wire.raw_container import FileLayout, MetadataFormat, data_loading_config

from ._container_values import INPUT, read_outputs, remove_folder, stage_inputs, substitute
from ._engine import Limits, Mount, run_container


@dataclass(kw_only=True, eq=False, init=False)
class ContainerTask(TaskTemplate[Any, Any, Any]):
    """A task that runs a command in a container of any image.

    Inputs lie as files in ``input_data_dir``, each under its name: text for simple values, files and folders as
    themselves, JSON for the rest; all of them together in ``inputs.json``. ``{{.inputs.name}}`` in the command stands
    for the value of an input, or for the path of a file. What the command writes to ``output_data_dir`` under an
    output's name is that output, read by its type.

    On this machine it runs in podman or docker, whichever is there (``FLYTE_CONTAINER_ENGINE`` names another); what
    the container writes is shown, ``resources`` limit its cores and memory, and the container is removed when the run
    ends, fails, takes longer than its timeout, or is cancelled.

    :param name: name of the task.
    :param image: an image, or the URI of one; a recipe is built when it is needed.
    :param command: the command, a list of words; a shell is used only if one is named in it.
    :param inputs: name -> type, or name -> (type, default).
    :param arguments: further words after the command.
    :param outputs: name -> type.
    :param input_data_dir: absolute path in the container.
    :param output_data_dir: absolute path in the container.
    :param metadata_format: form of the file of all inputs: ``"JSON"``, ``"YAML"`` or ``"PROTO"``.
    :param local_logs: whether what the container writes is shown in a run on this machine.
    :param file_input_layout: ``"DIRECT"``: a file is named after its input; ``"NAMED_DIR"``: it keeps its own name, in
        a folder named after its input.
    :param kwargs: further fields of :class:`flyte.TaskTemplate`, such as ``resources``, ``timeout``, ``env_vars``; the
        cache is off unless it is asked for.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: a folder that is not absolute, an unknown format, or ``{{.inputs.name}}`` of no input.
    """

    command: list[str]
    arguments: list[str]
    input_data_dir: str
    output_data_dir: str
    metadata_format: MetadataFormat
    local_logs: bool
    file_input_layout: FileLayout

    def __init__(
        self,
        name: str,
        image: str | Image,
        command: list[str],
        inputs: Mapping[str, Any] | None = None,
        arguments: list[str] | None = None,
        outputs: Mapping[str, Any] | None = None,
        input_data_dir: str | pathlib.Path = "/var/inputs",
        output_data_dir: str | pathlib.Path = "/var/outputs",
        metadata_format: MetadataFormat = "JSON",
        local_logs: bool = True,
        file_input_layout: FileLayout = "DIRECT",
        **kwargs: Any,
    ) -> None:
        owner = f"ContainerTask({name!r})"
        self.command = _words(owner, "command", command)
        self.arguments = _words(owner, "arguments", arguments or [])
        self.input_data_dir = _absolute(owner, "input_data_dir", input_data_dir)
        self.output_data_dir = _absolute(owner, "output_data_dir", output_data_dir)
        self.metadata_format = _one_of(owner, "metadata_format", metadata_format, get_args(MetadataFormat))
        self.file_input_layout = _one_of(owner, "file_input_layout", file_input_layout, get_args(FileLayout))
        self.local_logs = local_logs
        # override() makes a copy from all fields, the interface among them.
        interface = kwargs.pop("interface", None) or NativeInterface.from_types(inputs or {}, outputs or {})
        kwargs.setdefault("task_type", "raw-container")
        kwargs["cache"] = cache_from_request(kwargs.get("cache", "disable"))
        for word in (*self.command, *self.arguments):
            for match in INPUT.finditer(word):
                if match.group(1) not in interface.inputs:
                    raise ValueError(
                        f"{owner}: {match.group()!r} in its command names no input{interface.nearest(match.group(1))}"
                    )
        super().__init__(name=name, image=image, interface=interface, **kwargs)
        if isinstance(self.cache, Cache) and self.cache.is_enabled() and self.cache.version_override is None:
            # There is no function whose source could be the version.
            self.cache = Cache(
                "override", version_override=self.definition_version, serialize=self.cache.serialize,
                ignored_inputs=self.cache.ignored_inputs, salt=self.cache.salt, max_age=self.cache.max_age,
            )  # fmt: skip

    @property
    def definition_version(self) -> str:
        """A hash of what runs: the image, the command, and where values are; sha256 in hex."""
        image = self.image.uri if isinstance(self.image, Image) else self.image
        parts = [image, self.command, self.arguments, self.input_data_dir, self.output_data_dir, self.metadata_format,
                 self.file_input_layout]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def container_args(
        self,
        sctx: SerializationContext | None = None,
        *,
        serialize_context: SerializationContext | None = None,
    ) -> list[str]:
        """The command and the arguments, with ``{{.inputs.name}}`` left for the control plane."""
        return [*self.command, *self.arguments]

    def data_loading_config(self, sctx: SerializationContext) -> Any:
        """Where the control plane puts inputs and takes outputs from: a ``DataLoadingConfig`` of flyteidl2."""
        return data_loading_config(
            self.input_data_dir, self.output_data_dir, self.metadata_format, self.file_input_layout
        )

    def forward(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run the container, as :meth:`execute` does."""
        return self.execute(*args, **kwargs)

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the container on this machine, and give its outputs.

        :raises flyte.errors.OOMError: the container was killed, and its resources limit its memory.
        :raises flyte.errors.RuntimeUserError: there is neither podman nor docker; the container could not be started,
            failed, or did not write its outputs. The message has the exit code and the end of its standard error.
        """
        values = dict(zip(self.interface.inputs, self.interface.bind(args, kwargs), strict=True))
        image = await self._image()
        folder = tempfile.mkdtemp(prefix="flyte-container-")
        try:
            inputs, outputs = os.path.join(folder, "inputs"), os.path.join(folder, "outputs")
            os.mkdir(inputs)
            os.mkdir(outputs)
            texts = await stage_inputs(
                self.interface, values, inputs, self.input_data_dir, self.metadata_format, self.file_input_layout
            )
            # The image may run its program as any user.
            os.chmod(outputs, 0o777)
            os.chmod(inputs, 0o755)
            os.chmod(folder, 0o711)
            await run_container(
                self.name,
                image,
                [substitute(word, texts) for word in self.container_args()],
                [Mount(inputs, self.input_data_dir), Mount(outputs, self.output_data_dir)],
                self._variables(),
                _show if self.local_logs else None,
                self._limits(),
                folder,
            )
            return await read_outputs(self.name, self.interface, outputs)
        finally:
            # Not awaited when cancelled, but done all the same.
            await asyncio.shield(asyncio.to_thread(remove_folder, folder))

    async def _image(self) -> str:
        assert isinstance(self.image, Image)
        if is_there_by_itself(self.image):
            return self.image.uri
        return str(await ImageBuildEngine.build(self.image))

    def _limits(self) -> Limits:
        if self.resources is None:
            return Limits()
        cpus, memory = self.resources.cpu_range(), self.resources.memory_range()
        return Limits(cpus[1] if cpus else None, memory[1] if memory else None)

    def _variables(self) -> dict[str, str]:
        variables = dict(self.env_vars or {})
        for secret in secrets_from_request(self.secrets):
            # Inside a run they are in the environment of the body.
            value = os.environ.get(secret.env_var_name)
            if value is not None:
                variables[secret.env_var_name] = value
        return variables


def _show(line: str, is_error: bool) -> None:
    stream = sys.stderr if is_error else sys.stdout
    stream.write(f"{line}\n")


def _words(owner: str, field_name: str, given: Sequence[str]) -> list[str]:
    if isinstance(given, str) or not isinstance(given, list | tuple):
        raise TypeError(f"{owner}: {field_name} takes a list of words, such as ['ls', '-l'], but got {given!r}")
    for word in given:
        if not isinstance(word, str):
            raise TypeError(f"{owner}: {field_name} takes words, but holds {word!r}; write {str(word)!r}")
    return list(given)


def _absolute(owner: str, field_name: str, given: str | pathlib.Path) -> str:
    text = str(given)
    if not text.startswith("/") or ":" in text or ".." in text.split("/") or text == "/":
        raise ValueError(f"{owner}: {field_name} takes an absolute path in the container, but got {text!r}")
    return text.rstrip("/")


def _one_of(owner: str, field_name: str, given: Any, choices: tuple[str, ...]) -> Any:
    if given not in choices:
        raise ValueError(f"{owner}: {field_name} takes {', '.join(map(repr, choices))}, but got {given!r}")
    return given
