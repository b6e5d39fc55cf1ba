"""Values as the files that a container without flyte reads and writes.

Called by container tasks. A simple value is a text file under the name of the input or output; a file or folder is
itself; what is neither is JSON.
"""

import asyncio
import datetime
import json
import os
import re
import shutil
import types
import typing
from collections.abc import Mapping
from typing import Any

from flyte._core.interface import NativeInterface
from flyte._wire.raw_container import FileLayout, MetadataFormat, literal_map
from flyte.errors import RuntimeUserError
from flyte.io._dir import Dir
from flyte.io._file import File

INPUT = re.compile(r"\{\{\s*\.inputs\.([^}\s]+)\s*\}\}", re.IGNORECASE)
"""What a control plane replaces by an input's value, spelled as it does."""

_SUFFIX = {"JSON": "json", "YAML": "yaml", "PROTO": "pb"}


def substitute(text: str, texts: Mapping[str, str]) -> str:
    """``text`` with the values of inputs in place of ``{{.inputs.name}}``."""
    return INPUT.sub(lambda match: texts[match.group(1)], text)


async def stage_inputs(
    interface: NativeInterface,
    values: Mapping[str, Any],
    folder: str,
    seen_as: str,
    metadata_format: MetadataFormat,
    layout: FileLayout,
) -> dict[str, str]:
    """Write the inputs into ``folder``, each under its name, and all together into ``inputs.json`` (or .yaml, .pb).

    :param seen_as: where the container sees the folder.
    :returns: what stands for each input on a command line: its text, or for files and folders their path.
    """
    texts: dict[str, str] = {}
    for name, (annotation, _) in interface.inputs.items():
        value = values[name]
        path = os.path.join(folder, name)
        if value is None:
            texts[name] = ""
            continue
        inside = await _stage(value, path, layout)
        if inside is not None:
            texts[name] = f"{seen_as}/{name}{inside}"
        else:
            texts[name] = text_of(value, annotation)
            await asyncio.to_thread(_write, path, texts[name].encode())
    if metadata_format == "PROTO":
        content = await literal_map(interface, values)
    else:
        plain = {name: _plain(values[name], annotation) for name, (annotation, _) in interface.inputs.items()}
        # JSON is YAML as well.
        content = json.dumps(plain, ensure_ascii=False, indent=2).encode()
    await asyncio.to_thread(_write, os.path.join(folder, f"inputs.{_SUFFIX[metadata_format]}"), content)
    return texts


async def _stage(value: Any, path: str, layout: FileLayout) -> str | None:
    """Bring a file, folder or list of files to ``path``; its path below that, None if it is something else."""
    if isinstance(value, File):
        if layout == "DIRECT":
            await value.download(path)
            return ""
        os.makedirs(path)
        name = os.path.basename(value.name or "") or "file"
        await value.download(os.path.join(path, name))
        return f"/{name}"
    if isinstance(value, Dir):
        os.makedirs(path)
        await value.download(path)
        return ""
    if isinstance(value, list) and value and all(isinstance(one, File) for one in value):
        os.makedirs(path)
        for index, one in enumerate(value):
            await _stage(one, os.path.join(path, str(index)), layout)
        return ""
    return None


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def text_of(value: Any, annotation: Any) -> str:
    """A value as text, as a control plane writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds():g}s"
    return json.dumps(_plain(value, annotation), ensure_ascii=False)


def _plain(value: Any, annotation: Any) -> Any:
    if isinstance(value, File | Dir):
        return value.path
    if isinstance(value, datetime.datetime | datetime.timedelta):
        return text_of(value, annotation)
    from pydantic import TypeAdapter

    return TypeAdapter(annotation).dump_python(value, mode="json")


async def read_outputs(task_name: str, interface: NativeInterface, folder: str) -> Any:
    """What the container wrote into ``folder``, by the declared types; None, one value, or a tuple.

    :raises RuntimeUserError: an output that is not there, or is not of its type.
    """
    found: list[Any] = []
    for name, annotation in interface.outputs.items():
        path = os.path.join(folder, name)
        kind, optional = _declared(annotation)
        if not os.path.lexists(path):  # noqa: ASYNC240 - a folder of this machine
            if optional:
                found.append(None)
                continue
            there = ", ".join(sorted(os.listdir(folder))) or "nothing"
            raise RuntimeUserError(
                "ContainerOutputMissing",
                f"task {task_name!r}: the container did not write output {name!r}; it is read from the file {name!r} "
                f"in its output folder, which holds {there}",
            )
        _refuse_links(task_name, name, path, folder)
        try:
            found.append(await _read(path, kind))
        except (ValueError, TypeError, OSError) as error:
            raise RuntimeUserError(
                "ContainerOutputInvalid",
                f"task {task_name!r}: output {name!r} is not what its type says ({annotation!r}): {error}",
            ) from error
    return found[0] if len(found) == 1 else tuple(found) if found else None


def _refuse_links(task_name: str, name: str, path: str, folder: str) -> None:
    # A link that the container made would be followed on this machine.
    top = os.path.realpath(folder)
    paths = [path, *(os.path.join(at, n) for at, folders, files in os.walk(path) for n in (*folders, *files))]
    for one in paths:
        if os.path.islink(one) and not os.path.realpath(one).startswith(top + os.sep):
            raise RuntimeUserError(
                "ContainerOutputInvalid",
                f"task {task_name!r}: output {name!r} holds a link that leads out of the output folder; write the file",
            )


def _declared(annotation: Any) -> tuple[Any, bool]:
    """The type without ``| None``, and whether it had it."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return annotation, False


async def _read(path: str, kind: Any) -> Any:
    origin = typing.get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, File):
        return await kind.from_local(path)
    if isinstance(origin, type) and issubclass(origin, Dir):
        return await kind.from_local(path)
    args = typing.get_args(kind)
    if origin is list and args and isinstance(args[0], type) and issubclass(args[0], File):
        names = sorted(await asyncio.to_thread(os.listdir, path))
        return [await args[0].from_local(os.path.join(path, name)) for name in names]
    return value_of(await asyncio.to_thread(_read_text, path), kind)


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def value_of(text: str, kind: Any) -> Any:
    """The value of a declared type that a text file holds.

    :raises ValueError: it holds something else.
    """
    if kind is str:
        return text.removesuffix("\n")  # what echo and print put at the end
    stripped = text.strip()
    if kind is bool:
        if stripped.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{stripped[:80]!r} is not true or false")
        return stripped.lower() in ("true", "1")
    if kind is int or kind is float:
        return kind(stripped)
    if kind is datetime.datetime:
        return datetime.datetime.fromisoformat(stripped)
    if kind is datetime.timedelta:
        return datetime.timedelta(seconds=float(stripped.removesuffix("s")))
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_json(stripped)


def remove_folder(path: str) -> None:
    """Remove what a container wrote; what belongs to another user there may stay."""
    shutil.rmtree(path, ignore_errors=True)
