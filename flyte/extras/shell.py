"""A shell script in a container of any image, as a task with typed inputs and outputs.

    sort = create(
        name="sort", image="debian:12-slim", inputs={"table": File, "reverse": bool, "key": int | None},
        outputs={"sorted": File}, flag_aliases={"reverse": "-r", "key": "-k"},
        script="sort {flags.reverse} {flags.key} {inputs.table} > {outputs.sorted}",
    )

``{inputs.x}`` is an input's value, as one word, or the path of a file; ``{flags.x}`` is its flag with the value, and
nothing if there is none; ``{outputs.x}`` is the path to write an output to. Other braces stay as they are.
"""

import fnmatch
import os
import re
import shlex
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flyte._core.face import nearest
from flyte._definition.cache import CacheRequest
from flyte._definition.image import Image
from flyte._definition.resources import Resources
from flyte._definition.secret import SecretRequest
from flyte._definition.task_environment import TaskEnvironment
from flyte.io._dir import Dir
from flyte.io._file import File

from ._container import ContainerTask
from ._container_values import text_of

__all__ = ["FlagSpec", "Glob", "Shell", "Stderr", "Stdout", "create"]

ListMode = Literal["join", "repeat", "comma"]

_INPUTS, _OUTPUTS = "/var/inputs", "/var/outputs"
_REFERENCE = re.compile(r"\{(inputs|flags|outputs)\.(\w+)\}")
_NAME = re.compile(r"[A-Za-z_]\w*")
_SCALARS = (int, float, str, bool)
_Kind = Literal["scalar", "bool", "file", "list"]


@dataclass(frozen=True, slots=True)
class Glob:
    """Several files as one output: those that the script writes into a folder and whose names match.

    On the wire it is a folder; a call of the shell task gives a list of files.
    """

    pattern: str = "*"


@dataclass(frozen=True, slots=True)
class Stdout:
    """What the script writes to standard output, as a file or, if so declared, as a value."""

    type: Any = File


@dataclass(frozen=True, slots=True)
class Stderr:
    """What the script writes to standard error, as a file or, if so declared, as a value."""

    type: Any = File


@dataclass(frozen=True, slots=True)
class FlagSpec:
    """How ``{flags.x}`` is written.

    :param flag: such as ``"--key"``.
    :param list_mode: of several files: ``"join"``: ``-I a b``; ``"repeat"``: ``-I a -I b``; ``"comma"``: ``-I a,b``.
    :param separator: between the files of ``"join"``.
    """

    flag: str
    list_mode: ListMode = "join"
    separator: str = " "


@dataclass(frozen=True, slots=True)
class _Input:
    kind: _Kind
    annotation: Any
    is_optional: bool
    flag: FlagSpec


@dataclass
class Shell:
    """A script that is called like a task: ``await sort(table=file)``; made by :func:`create`.

    :param env: the environment that owns the task, for ``depends_on`` of those that call it.
    """

    task: ContainerTask
    env: TaskEnvironment
    _optional: frozenset[str] = field(repr=False)
    _globs: Mapping[str, str] = field(repr=False)

    def as_task(self) -> ContainerTask:
        """The task itself, whose :class:`Glob` outputs are folders."""
        return self.task

    async def __call__(self, **inputs: Any) -> Any:
        """Run the script; outputs of :class:`Glob` are lists of files."""
        given = {
            name: text_of(value, type(value)) if name in self._optional and value is not None else value
            for name, value in inputs.items()
            if not (name in self._optional and value is None)
        }
        result = await self.task(**given)
        if not self._globs:
            return result
        names = list(self.task.interface.outputs)
        values = result if len(names) > 1 else (result,)
        found = [
            await _matching(value, self._globs[name]) if name in self._globs else value
            for name, value in zip(names, values, strict=True)
        ]
        return tuple(found) if len(found) > 1 else found[0]


async def _matching(folder: Dir[Any], pattern: str) -> list[File[Any]]:
    files = await folder.list_files()
    return sorted((one for one in files if fnmatch.fnmatch(one.name or "", pattern)), key=lambda one: one.path)


def create(
    name: str,
    *,
    image: str | Image,
    script: str,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    flag_aliases: Mapping[str, str | tuple[str, ListMode] | FlagSpec] | None = None,
    defaults: Mapping[str, Any] | None = None,
    shell: str = "/bin/bash",
    debug: bool = False,
    resources: Resources | None = None,
    retries: int = 0,
    timeout: int | None = None,
    cache: CacheRequest = "auto",
    env_vars: dict[str, str] | None = None,
    secrets: SecretRequest | None = None,
    local_logs: bool = True,
) -> Shell:
    """Make a task of a shell script.

    :param name: of the task and, with ``-`` for what is not allowed there, of its environment.
    :param image: has the shell, and no entry point of its own.
    :param script: see the module; do not put quotes around ``{inputs.x}``, which is quoted already.
    :param inputs: name -> ``File``, ``Dir``, ``list[File]``, ``int``, ``float``, ``str``, ``bool``, or one of these
        ``| None``; an empty text counts as none.
    :param outputs: name -> ``File``, ``Dir``, ``int``, ``float``, ``str``, ``bool``, :class:`Glob`, :class:`Stdout` or
        :class:`Stderr`.
    :param flag_aliases: how the flag of an input is written; ``-<name>`` if not given.
    :param defaults: values of inputs that a call leaves out.
    :param shell: a POSIX shell; bash fails a pipe when any of its programs does.
    :param debug: write the whole script to standard error first.
    :param timeout: of one attempt, in seconds.
    :raises TypeError: an input or output of a type that is not in the list.
    :raises ValueError: the script names an input or output that there is not.
    """
    owner = f"shell.create({name!r})"
    aliases = flag_aliases or {}
    known = {key: _input(owner, key, kind, aliases.get(key)) for key, kind in (inputs or {}).items()}
    for given, what in ((aliases, "flag_aliases"), (defaults or {}, "defaults")):
        for key in given:
            if key not in known:
                raise ValueError(f"{owner}: {what} names {key!r}, which is no input{nearest(key, list(known))}")
    declared = {key: _output(owner, key, kind) for key, kind in (outputs or {}).items()}
    scalars = [key for key, one in known.items() if one.kind in ("scalar", "bool")]
    whole = _write(owner, script, known, outputs or {}, scalars, shell)
    if debug:
        whole = f"printf '%s\\n' {shlex.quote(whole)} >&2\n{whole}"
    optional = frozenset(key for key in scalars if known[key].is_optional)
    task = ContainerTask(
        name, image, [shell, "-c", whole, name],
        inputs={key: _declared(key, one, defaults or {}) for key, one in known.items()},
        arguments=[f"{{{{.inputs.{key}}}}}" for key in scalars],
        outputs=declared, local_logs=local_logs, resources=resources, retries=retries, timeout=timeout, cache=cache,
        env_vars=env_vars, secrets=secrets,
    )  # fmt: skip
    env = TaskEnvironment.from_task(re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "shell", task)
    globs = {key: kind.pattern for key, kind in (outputs or {}).items() if isinstance(kind, Glob)}
    return Shell(task, env, optional, globs)


def _input(owner: str, name: str, annotation: Any, alias: str | tuple[str, ListMode] | FlagSpec | None) -> _Input:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{owner}: input {name!r} is no name that a shell's variable can have")
    is_optional, inner = False, annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not type(None)]
        is_optional, inner = True, rest[0] if len(rest) == 1 else annotation
    origin = typing.get_origin(inner) or inner
    args = typing.get_args(inner)
    flag = FlagSpec(f"-{name}") if alias is None else FlagSpec(alias) if isinstance(alias, str) else alias
    flag = FlagSpec(*flag) if isinstance(flag, tuple) else flag
    if flag.list_mode not in typing.get_args(ListMode):
        raise ValueError(
            f"{owner}: flag_aliases[{name!r}] has the mode {flag.list_mode!r}; it is join, repeat or comma"
        )
    if inner in _SCALARS:
        return _Input("bool" if inner is bool else "scalar", inner, is_optional, flag)
    if isinstance(origin, type) and issubclass(origin, File | Dir):
        return _Input("file", annotation, is_optional, flag)
    if origin is list and args and isinstance(args[0], type) and issubclass(args[0], File):
        return _Input("list", annotation, is_optional, flag)
    raise TypeError(
        f"{owner}: input {name!r} is {annotation!r}; it can be File, Dir, list[File], int, float, str, bool, or one of "
        "these | None. What a dict would hold is declared as inputs of their own"
    )


def _declared(name: str, one: _Input, defaults: Mapping[str, Any]) -> Any:
    """The input as the container task has it: what a command line cannot leave out is a text, which may be empty."""
    if one.kind in ("scalar", "bool") and one.is_optional:
        default = defaults.get(name)
        return str, "" if default is None else text_of(default, one.annotation)
    if name in defaults:
        return one.annotation, defaults[name]
    return (one.annotation, None) if one.is_optional else one.annotation


def _output(owner: str, name: str, kind: Any) -> Any:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{owner}: output {name!r} is no name that a shell's variable can have")
    if isinstance(kind, Glob):
        return Dir
    inner = kind.type if isinstance(kind, Stdout | Stderr) else kind
    origin = typing.get_origin(inner) or inner
    if inner in _SCALARS or (isinstance(origin, type) and issubclass(origin, File)):
        return inner
    if inner is kind and isinstance(origin, type) and issubclass(origin, Dir):
        return inner
    raise TypeError(
        f"{owner}: output {name!r} is {kind!r}; it can be File, Dir, int, float, str, bool, Glob(...), Stdout(...) or "
        "Stderr(...)"
    )


# The script ---------------------------------------------------------------------------------------------------------


def _write(
    owner: str, script: str, known: Mapping[str, _Input], outputs: Mapping[str, Any], scalars: list[str], shell: str
) -> str:
    streams = {key: kind for key, kind in outputs.items() if isinstance(kind, Stdout | Stderr)}

    def refer(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind == "outputs":
            if name in streams:
                raise ValueError(f"{owner}: {match.group()} is a stream of the script, which is captured by itself")
            if name not in outputs:
                raise ValueError(f"{owner}: {match.group()} names no output{nearest(name, list(outputs))}")
            return f"{_OUTPUTS}/{name}"
        if name not in known:
            raise ValueError(f"{owner}: {match.group()} names no input{nearest(name, list(known))}")
        return _value(name, known[name]) if kind == "inputs" else _flag(name, known[name])

    body = _REFERENCE.sub(refer, script)
    folders = [key for key, kind in outputs.items() if isinstance(kind, Glob) or _is_folder(kind)]
    lines = [f"mkdir -p {_OUTPUTS}/{key}" for key in folders]
    if os.path.basename(shell) == "bash":
        lines.append("set -o pipefail")
    lines += [f'_VAL_{key}="${{{number}}}"' for number, key in enumerate(scalars, 1)]
    for key, one in known.items():
        lines += _PREPARE[one.kind](key, one)
    redirects = "".join(
        f" {'>' if isinstance(kind, Stdout) else '2>'} {_OUTPUTS}/{key}" for key, kind in streams.items()
    )
    return "\n".join([*lines, "(", body.strip("\n"), f"){redirects}"])


def _is_folder(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Dir)


def _value(name: str, one: _Input) -> str:
    # A path of ours has no character that a shell would split or expand at.
    return f"${{_VAL_{name}}}" if one.kind in ("file", "list") else f'"${{_VAL_{name}}}"'


def _flag(name: str, one: _Input) -> str:
    if one.kind in ("bool", "list"):
        return f"${{_FLAG_{name}}}"
    return f'${{_VAL_{name}:+{one.flag.flag} "${{_VAL_{name}}}"}}'


def _prepare_bool(name: str, one: _Input) -> list[str]:
    return [f'if [ "${{_VAL_{name}}}" = true ]; then _FLAG_{name}={shlex.quote(one.flag.flag)}; else _FLAG_{name}=; fi']


def _prepare_file(name: str, one: _Input) -> list[str]:
    path = f"{_INPUTS}/{name}"
    return [f"if [ -e {path} ]; then _VAL_{name}={path}; else _VAL_{name}=; fi"]


def _prepare_list(name: str, one: _Input) -> list[str]:
    # By number: names would put 10 before 2.
    flag, path = one.flag, f"{_INPUTS}/{name}/$_i"
    between = "," if flag.list_mode == "comma" else f" {flag.flag} " if flag.list_mode == "repeat" else flag.separator
    joined = f"_JOINED_{name}"
    return [
        f"_VAL_{name}=; {joined}=; _i=0",
        f"while [ -e {path} ]; do",
        f'  _VAL_{name}="${{_VAL_{name}}} {path}"',
        f'  {joined}="${{{joined}}}${{{joined}:+{between}}}{path}"',
        "  _i=$((_i + 1))",
        "done",
        f'_FLAG_{name}="${{{joined}:+{flag.flag} }}${{{joined}}}"',
    ]


_PREPARE: Mapping[_Kind, Callable[[str, _Input], list[str]]] = {
    "scalar": lambda name, one: [],
    "bool": _prepare_bool,
    "file": _prepare_file,
    "list": _prepare_list,
}
