"""A task's interface as a typer command: one option for each parameter.

typer makes a command of a function's signature, so a function with the right signature is put together here
(decision K8). Called by `_run`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from ._options import was_given

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter
    from typer._click.formatting import HelpFormatter

    from flyte._core.interface import NativeInterface

    from ._values import Reader


class _AsGiven:
    """Stands in for typer's own conversion, which would import pydantic to make a string of a string."""

    def coerce(self, value: Any, param: "Parameter", ctx: "Context") -> Any:
        return () if value is None and param.multiple else value


_AS_GIVEN = _AsGiven()


def _keep_text(params: "list[Parameter]") -> "list[Parameter]":
    # Every option of ours is text, a list of texts, or a flag. If typer renames this private attribute, its own
    # conversion of these takes over again, which gives the same values and only takes longer.
    for param in params:
        param._runtime_param = _AS_GIVEN  # type: ignore[attr-defined]
    return params


class TextGroup(TyperGroup):
    """A group whose options stay text."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """The parameters, and ``--help``."""
        return _keep_text(super().get_params(ctx))


class _NamedContext(typer.Context):
    """Says the user's own file and task in usage lines."""

    @property
    def command_path(self) -> str:
        above = self.parent
        target = above.params.get("target") if above is not None else None
        return f"flyte run {target} {self.info_name}" if target else super().command_path


class TaskCommand(TyperCommand):
    """Runs one task; its options are the task's parameters."""

    context_class = _NamedContext
    interface: "NativeInterface | None" = None

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """The parameters, and ``--help``."""
        return _keep_text(super().get_params(ctx))

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Read the options; what cannot be read is refused in words that name the task's own parameters."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            option, above = getattr(error, "option_name", None), ctx.parent
            unknown = type(error).__name__ == "NoSuchOption"
            if unknown and above is not None and option in _spellings(above.command.get_params(above)):
                ctx.fail(f"{option} is an option of 'flyte run': put it before {above.params.get('target')!r}")
            if type(error).__name__ == "MissingParameter":
                # Options that were given are read first, so what is not here yet was not given.
                missing = [p for p in self.params if p.required and ctx.params.get(p.name) is None]
                ctx.fail("missing " + ", ".join(" / ".join((*p.opts, *p.secondary_opts)) + _form(p) for p in missing))
            raise

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Add what the docstring says: it is parsed only when somebody asks for help."""
        docstring = self.interface.docstring if self.interface is not None else None
        if docstring is not None:
            texts = [docstring.short_description, docstring.long_description]
            self.help = "\n\n".join(text for text in texts if text) or None
            described = docstring.input_descriptions
            for param in self.params:
                said = described.get(param.name, "").strip().replace("\n", " ")
                hint = getattr(param, "help", "") or ""
                param.help = " ".join(text for text in (said, hint) if text)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def _spellings(params: "list[Parameter]") -> set[str]:
    return {option for param in params for option in (*param.opts, *param.secondary_opts)}


def _form(param: "Parameter") -> str:
    return f" {param.metavar}" if param.metavar else ""


def with_dashes(option: str) -> str:
    """``my_param`` as ``my-param``; both are accepted on the command line."""
    return option.replace("_", "-")


def task_command(name: str, interface: "NativeInterface", run: Callable[[dict[str, Any]], None]) -> "Command":
    """The command that reads the parameters of ``interface`` and calls ``run`` with those that were given.

    :param name: of the command.
    """
    from ._values import reader_of

    readers = {parameter: reader_of(annotation) for parameter, (annotation, _) in interface.inputs.items()}

    def call(_context_: typer.Context, **values: Any) -> None:
        given = {key: value for key, value in values.items() if was_given(_context_, key)}
        for key, reader in readers.items():
            if key not in given and reader.optional and not interface.has_default(key):
                given[key] = None
        # What was given comes in the order of the command line; the interface's own order reads better in errors.
        run({key: given[key] for key in readers if key in given})

    command = _command_of(
        name, call, {key: _option(key, readers[key], *interface.inputs[key]) for key in interface.inputs}
    )
    command.interface = interface
    return command


def outline_command(name: str, parameters: list[str]) -> "Command":
    """The command of a task of which only the names of its parameters are known; for shell completion."""

    def call(_context_: typer.Context, **values: Any) -> None:
        raise AssertionError("a command made for completion is never run")

    return _command_of(name, call, {key: typer.Option(None, f"--{with_dashes(key)}") for key in parameters})


def _command_of(name: str, call: Callable[..., None], options: Mapping[str, Any]) -> TaskCommand:
    parameters = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=_annotation(option))
        for key, option in options.items()
    ]
    context = inspect.Parameter("_context_", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    call.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in (context, *parameters)}
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name, cls=TaskCommand, context_settings={"token_normalize_func": with_dashes})(call)
    command = typer.main.get_command(app)
    assert isinstance(command, TaskCommand)
    return command


def _annotation(option: Any) -> type:
    return bool if any("/" in declared for declared in option.param_decls or ()) else str


def _option(name: str, reader: "Reader", _annotation: Any, default: Any) -> Any:
    from ._values import text_of

    option = with_dashes(name)
    required = default is inspect.Parameter.empty and not reader.optional
    if reader.is_flag:
        value = ... if required else (None if default is inspect.Parameter.empty else default)
        return typer.Option(value, f"--{option}/--no-{option}", show_default=value is not None)
    shown = None if default is inspect.Parameter.empty or default is None else text_of(default)
    return typer.Option(
        ... if required else shown,
        f"--{option}",
        metavar=reader.metavar,
        callback=_checked(reader),
        help=f"({reader.hint})" if reader.hint else None,
        show_default=shown is not None,
        autocompletion=_completion(reader) if reader.choices else None,
    )


def _checked(reader: "Reader") -> Callable[..., Any]:
    from ._values import BadValue

    def read(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> Any:
        if value is None or ctx.resilient_parsing or not was_given(ctx, param.name):
            return None
        try:
            return reader.read(value)
        except BadValue as error:
            raise typer.BadParameter(str(error)) from None

    return read


def _completion(reader: "Reader") -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in reader.choices if choice.startswith(incomplete)]

    return complete
