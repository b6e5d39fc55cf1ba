"""What is carried to a container: the code bundle and the context of serialisation."""

import pathlib
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBundle:
    """The user's code, packed and stored somewhere.

    :param computed_version: hash of the archive; the version of what runs from it.
    :param destination: where it is unpacked.
    :param tgz: URI of a tar archive; or
    :param pkl: URI of a pickled task, from a notebook.
    :param downloaded_path: where it lies on this machine once fetched.
    :param files: the files inside, where known.
    :raises ValueError: neither or both of ``tgz`` and ``pkl``.
    """

    computed_version: str
    destination: str = "."
    tgz: str | None = None
    pkl: str | None = None
    downloaded_path: pathlib.Path | None = None
    files: list[str] | None = None

    def __post_init__(self) -> None:
        if (self.tgz is None) == (self.pkl is None):
            raise ValueError("a CodeBundle needs exactly one of tgz and pkl")

    def with_downloaded_path(self, path: pathlib.Path) -> "CodeBundle":
        """The same bundle, lying at ``path``."""
        return replace(self, downloaded_path=path)


@dataclass
class SerializationContext:
    """Under what names and with what code a task is written down for a control plane.

    :param version: version of the task.
    :param input_path: template variable of the inputs' location (wire-protocol section 5.1).
    :param output_path: template variable of the outputs' location.
    :param interpreter_path: Python interpreter in the image.
    :param image_cache: images that are already known, by environment.
    :param root_dir: folder that module names are relative to.
    """

    version: str
    project: str | None = None
    domain: str | None = None
    org: str | None = None
    code_bundle: CodeBundle | None = None
    input_path: str = "{{.input}}"
    output_path: str = "{{.outputPrefix}}"
    interpreter_path: str = "/opt/venv/bin/python"
    image_cache: Any = None
    root_dir: pathlib.Path | None = None

    def get_entrypoint_path(self, interpreter_path: str | None = None) -> str:
        """Path of the ``a0`` program, which is installed beside the interpreter."""
        return str(pathlib.PurePosixPath(interpreter_path or self.interpreter_path).parent / "a0")
