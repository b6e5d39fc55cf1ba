"""The command line of a task's container, written and parsed in one place; pure (wire-protocol section 5.1).

Definitions write it when a task is translated for a control plane, whose executor fills in the template variables; the
``a0`` program reads it in the container. It knows nothing of tasks, of storage and of the process it runs in.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .code_bundle import CodeBundle
    from .image_cache import ImageCache

PROGRAM = "a0"
"""The program that runs a task in its container; it is found on PATH, as the container's command is empty."""

DEFAULT_RESOLVER = "flyte._internal.resolvers.default.DefaultTaskResolver"
"""What finds a task again from ``mod <module> instance <variable>``.

It is the published SDK's name for it (wire-protocol section 5.1), so that an image which holds that SDK runs our tasks
as well; in ours, ``flyte._runtime.loader.DefaultTaskResolver`` answers to it.
"""

INPUT = "{{.input}}"
OUTPUT_PREFIX = "{{.outputPrefix}}"

# As the executor spells them; what it does not know is left as it is.
_VARIABLE = r"\{\{\s*\.\w+\s*\}\}"
_TRUE = frozenset(("1", "true", "yes", "on"))


def container_args(
    *,
    version: str,
    input_path: str = INPUT,
    output_path: str = OUTPUT_PREFIX,
    image_cache: "ImageCache | None" = None,
    code_bundle: "CodeBundle | None" = None,
    resolver: str = DEFAULT_RESOLVER,
    loader_args: Sequence[str] = (),
) -> list[str]:
    """The whole command of a task's container, with template variables where the executor fills something in.

    :param version: version of the task.
    :param input_path: where the inputs are.
    :param output_path: prefix of where outputs, error and report go.
    :param image_cache: images that tasks called from this one run in.
    :param code_bundle: the code to fetch first; None if it is in the image.
    :param resolver: import path of what finds the task; not used for a pickled task.
    :param loader_args: what the resolver finds it by; not used for a pickled task.
    """
    args = [
        PROGRAM,
        *("--inputs", input_path),
        *("--outputs-path", output_path),
        *("--version", version),
        *("--raw-data-path", "{{.rawOutputDataPrefix}}"),
        *("--checkpoint-path", "{{.checkpointOutputPrefix}}"),
        *("--prev-checkpoint", "{{.prevCheckpointPrefix}}"),
        *("--run-name", "{{.runName}}"),
        *("--name", "{{.actionName}}"),
        *("--run-start-time", "{{.runStartTime}}"),
    ]
    if image_cache is not None and (image_cache.image_lookup or image_cache.build_run_ids):
        args += ["--image-cache", image_cache.to_transport()]
    if code_bundle is not None:
        kind, uri = ("--tgz", code_bundle.tgz) if code_bundle.tgz is not None else ("--pkl", code_bundle.pkl)
        args += [kind, uri or "", "--dest", code_bundle.destination]
        if kind == "--pkl":
            return args
    args += ["--resolver", resolver]
    if any(word.startswith("-") for word in loader_args):
        args.append("--")
    return [*args, *loader_args]


class Command(NamedTuple):
    """What a container was told to run. What is None was not said, or its template variable was left unfilled.

    :param inputs: URI of the inputs.
    :param outputs_path: prefix of where outputs, error and report go.
    :param version: version of the task.
    :param run_base_dir: prefix of the run, under which its actions are.
    :param org: organisation.
    :param run_name: the run.
    :param name: the action.
    :param raw_data_path: prefix of where large values are written.
    :param checkpoint_path: where this attempt keeps its checkpoint.
    :param prev_checkpoint: where the attempt before kept its own; None for the first.
    :param run_start_time: when the run was started, in RFC 3339.
    :param image_cache: images that are known.
    :param tgz: URI of the code's archive; or
    :param pkl: URI of the pickled task.
    :param dest: folder that the code is unpacked into.
    :param resolver: import path of what finds the task.
    :param resolver_args: what it finds it by.
    :param project: project of the run.
    :param domain: domain of the run.
    :param debug: wait for a debugger.
    :param interactive_mode: the run was started from a notebook.
    """

    inputs: str
    outputs_path: str
    version: str
    run_base_dir: str
    org: str
    run_name: str
    name: str
    raw_data_path: str | None = None
    checkpoint_path: str | None = None
    prev_checkpoint: str | None = None
    run_start_time: str | None = None
    image_cache: "ImageCache | None" = None
    tgz: str | None = None
    pkl: str | None = None
    dest: str = "."
    resolver: str | None = None
    resolver_args: tuple[str, ...] = ()
    project: str | None = None
    domain: str | None = None
    debug: bool = False
    interactive_mode: bool = False


class _Option(NamedTuple):
    name: str
    short: str | None = None
    variable: str | None = None
    required: bool = False
    flag: bool = False


_OPTIONS = {
    "inputs": _Option("--inputs", "-i", required=True),
    "outputs_path": _Option("--outputs-path", "-o", required=True),
    "version": _Option("--version", "-v", required=True),
    "run_base_dir": _Option("--run-base-dir", variable="_U_RUN_BASE", required=True),
    "org": _Option("--org", variable="_U_ORG_NAME", required=True),
    "run_name": _Option("--run-name", variable="RUN_NAME", required=True),
    "name": _Option("--name", variable="ACTION_NAME", required=True),
    "raw_data_path": _Option("--raw-data-path", "-r"),
    "checkpoint_path": _Option("--checkpoint-path", "-c"),
    "prev_checkpoint": _Option("--prev-checkpoint", "-p"),
    "run_start_time": _Option("--run-start-time"),
    "image_cache": _Option("--image-cache"),
    "tgz": _Option("--tgz"),
    "pkl": _Option("--pkl"),
    "dest": _Option("--dest"),
    "resolver": _Option("--resolver"),
    "project": _Option("--project", variable="FLYTE_INTERNAL_EXECUTION_PROJECT"),
    "domain": _Option("--domain", variable="FLYTE_INTERNAL_EXECUTION_DOMAIN"),
    "debug": _Option("--debug", variable="_F_E_VS", flag=True),
    "interactive_mode": _Option("--interactive-mode", flag=True),
}
_FIELD_OF = {word: name for name, option in _OPTIONS.items() for word in (option.name, option.short) if word}


def parse_container_args(argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """What a container was told to run.

    :param argv: the program and its arguments, as :func:`container_args` gives them and ``sys.argv`` holds them.
    :param environ: the process environment, which says what the arguments do not.
    :raises ValueError: an option that does not exist, has no value or is missing, or both kinds of code bundle.
    """
    given, words = _split(argv[1:])
    values: dict[str, Any] = {}
    for name, option in _OPTIONS.items():
        value = given.get(name)
        if value is None and option.variable is not None:
            value = _said(environ.get(option.variable))
        if option.flag:
            values[name] = value is not None and value.strip().lower() in _TRUE
        elif value is not None:
            values[name] = value
        elif option.required:
            where = f", nor is the environment variable {option.variable} set" if option.variable else ""
            raise ValueError(f"{PROGRAM}: {option.name} is not given{where}; a control plane sets it")
    if "tgz" in values and "pkl" in values:
        raise ValueError(f"{PROGRAM}: both --tgz and --pkl are given; the code comes from one of them")
    if words and "resolver" not in values:
        raise ValueError(f"{PROGRAM}: the words {' '.join(words)!r} are for a resolver, but --resolver is not given")
    if "image_cache" in values:
        from .image_cache import ImageCache

        values["image_cache"] = ImageCache.from_transport(values["image_cache"])
    return Command(**values, resolver_args=tuple(words))


def _split(args: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options by field, and the words that belong to none."""
    given: dict[str, str] = {}
    words: list[str] = []
    waiting = list(reversed(args))
    while waiting:
        word = waiting.pop()
        if word == "--":
            words += reversed(waiting)
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            continue
        key, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        field_name = _FIELD_OF.get(key)
        if field_name is None:
            raise ValueError(f"{PROGRAM}: there is no option {key}; known are {', '.join(sorted(_FIELD_OF))}")
        if _OPTIONS[field_name].flag:
            given[field_name] = value if equals else "1"
            continue
        if not equals:
            if not waiting:
                raise ValueError(f"{PROGRAM}: {key} has no value; it is the last word")
            value = waiting.pop()
        said = _said(value)
        if said is not None:
            given[field_name] = said
    return given, words


def _said(value: str | None) -> str | None:
    # The executor fills in two quote characters where there is nothing, and leaves alone what it does not know.
    if value is None or value in ("", '""', "''") or (value.startswith("{{") and re.fullmatch(_VARIABLE, value)):
        return None
    return value
