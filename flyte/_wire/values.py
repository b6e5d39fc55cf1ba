"""Arguments and results as the messages that they travel in, and the hash of arguments (wire-protocol 4.2, 6.2)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flyteidl2.core.literals_pb2 import KeyValuePair, Literal
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral, Outputs
from google.protobuf.message import DecodeError

from flyte._core.interface import NativeInterface
from flyte.errors import RuntimeDataValidationError, TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._hashing import canonical_bytes

KICKOFF_KEY = "_u_kickoff_time_input_arg"
"""Key, in the context of inputs, of the parameter that the runtime gives the time that the trigger fired at."""
_RESERVED = frozenset((KICKOFF_KEY, "_u_produced_artifacts"))
"""Keys of that context that are not the user's (wire-protocol section 4.2)."""


async def inputs_from(
    interface: NativeInterface,
    arguments: Mapping[str, Any],
    *,
    task_name: str = "",
    context: Mapping[str, str] | None = None,
) -> Inputs:
    """The message of a call's arguments, in the order of the parameters.

    Defaults are filled in here: a control plane fills them in on one of its paths only (wire-protocol section 4.2).

    :param interface: parameters of the task.
    :param arguments: values by name.
    :param task_name: for errors.
    :param context: custom context, and what the runtime has to know beside the values.
    :raises ValueError: a required argument is missing.
    :raises TypeError: an argument that is no parameter, or does not fit.
    """
    owner = f"task {task_name!r} " if task_name else "the call "
    try:
        values = interface.bind((), dict(arguments))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}{error}") from None
    return Inputs(
        literals=await _named(interface.get_input_types(), values, task_name, "parameter"),
        context=[KeyValuePair(key=key, value=value) for key, value in (context or {}).items()],
    )


def parse_inputs(data: bytes, where: str) -> Inputs:
    """The message of a call's arguments.

    :param where: what the bytes were read from, for errors.
    :raises RuntimeDataValidationError: they are damaged.
    """
    try:
        return Inputs.FromString(data)
    except DecodeError as error:
        raise RuntimeDataValidationError("inputs", f"cannot be read from {where}: {error}") from error


async def arguments_from(interface: NativeInterface, inputs: Inputs, *, task_name: str = "") -> dict[str, Any]:
    """The arguments of a call, by name and in the order of the parameters; what is not sent has its default.

    :raises RuntimeDataValidationError: a value of another type, one that no parameter takes, or one missing.
    """
    sent = {one.name: one.value for one in inputs.literals}
    for name in sent:
        if name not in interface.inputs:
            raise RuntimeDataValidationError(name, f"was sent, but is no parameter{interface.nearest(name)}", task_name)
    arguments: dict[str, Any] = {}
    for name, (annotation, default) in interface.inputs.items():
        if name in sent:
            arguments[name] = await _decode(annotation, sent[name], name, task_name)
        elif interface.has_default(name):
            arguments[name] = default
        else:
            raise RuntimeDataValidationError(name, "was not sent, and has no default", task_name)
    return arguments


def kickoff_of(inputs: Inputs) -> str | None:
    """Name of the parameter that is to get the time that a trigger fired at; None if none is."""
    return next((pair.value for pair in inputs.context if pair.key == KICKOFF_KEY), None)


async def fill_kickoff(interface: NativeInterface, inputs: Inputs, at: datetime | None, *, task_name: str = "") -> None:
    """Add the time that a trigger fired at, where a parameter is to get it (wire-protocol section 10.1).

    It takes the place of the parameter's default, which a control plane may have filled in.

    :param at: when the run was started; None if the control plane did not say.
    :raises RuntimeDataValidationError: there is no such parameter, it takes no time, or there is no time to give.
    """
    name = kickoff_of(inputs)
    if name is None:
        return
    others = [one for one in inputs.literals if one.name != name]
    if name not in interface.inputs:
        raise RuntimeDataValidationError(name, "was to get its trigger's time, but is no parameter", task_name)
    if at is None:
        if len(others) < len(inputs.literals) or interface.has_default(name):
            return
        raise RuntimeDataValidationError(
            name, "gets the time that its trigger fired at, which the control plane did not say", task_name
        )
    try:
        literal = await codec_for(interface.inputs[name][0]).encode_async(at)
    except TypeTransformerFailedError as error:
        raise RuntimeDataValidationError(name, error, task_name) from error.__cause__
    del inputs.literals[:]
    inputs.literals.extend([*others, NamedLiteral(name=name, value=literal)])
    forget_kickoff(inputs)


def forget_kickoff(inputs: Inputs) -> None:
    """No parameter is to get the time any more: it has its value."""
    kept = [pair for pair in inputs.context if pair.key != KICKOFF_KEY]
    del inputs.context[:]
    inputs.context.extend(kept)


def context_of(inputs: Inputs) -> dict[str, str]:
    """The custom context beside the arguments, without what the protocol itself keeps there."""
    return {pair.key: pair.value for pair in inputs.context if pair.key not in _RESERVED}


async def outputs_from(interface: NativeInterface, result: Any, *, task_name: str = "") -> Outputs:
    """The message of what a task returned: one value, or a tuple of as many as the interface names.

    :raises RuntimeDataValidationError: it is not what the annotation says.
    """
    names = list(interface.outputs)
    if len(names) == 1 and interface.output_class is None:
        values: Sequence[Any] = (result,)
    elif not names:
        values = ()
        if result is not None:
            raise RuntimeDataValidationError(
                "return", f"returned a {type(result).__name__}, but its function declares no result", task_name
            )
    elif isinstance(result, (tuple, list)) and len(result) == len(names):
        values = result
    else:
        got = f"{len(result)} values" if isinstance(result, (tuple, list)) else f"a {type(result).__name__}"
        raise RuntimeDataValidationError("return", f"must be {len(names)} values ({', '.join(names)}), but is {got}")
    try:
        return Outputs(literals=await _named(interface.outputs, values, task_name, "result"))
    except TypeTransformerFailedError as error:
        raise RuntimeDataValidationError("return", error, task_name) from error.__cause__


async def result_from(interface: NativeInterface, outputs: Outputs, *, task_name: str = "") -> Any:
    """What a caller gets: None, the one result, a NamedTuple or a tuple, by the names of the results.

    :raises RuntimeDataValidationError: a value of another type, or one that is missing.
    """
    sent = {one.name: one.value for one in outputs.literals}
    values = []
    for name, annotation in interface.outputs.items():
        if name not in sent:
            raise RuntimeDataValidationError(name, "is missing among the results", task_name)
        values.append(await _decode(annotation, sent[name], name, task_name))
    if interface.output_class is not None:
        return interface.output_class(*values)
    if len(values) == 1:
        return values[0]
    return tuple(values) if values else None


def inputs_hash(inputs: Inputs, ignored: Iterable[str] = ()) -> str:
    """The hash of arguments; empty when there are none (wire-protocol section 6.2).

    :param ignored: names of arguments that make no difference.
    """
    left_out = frozenset(ignored)
    kept = [one for one in inputs.literals if one.name not in left_out]
    if not kept:
        return ""
    from flyte._core.identity import hash_data  # which the runtime of a task that calls no other does not need

    return hash_data(b"".join(b"%b:%b;" % (one.name.encode(), canonical_bytes(one.value)) for one in kept))


async def _named(
    annotations: Mapping[str, Any], values: Sequence[Any], task_name: str, kind: str
) -> list[NamedLiteral]:
    owner = f"task {task_name!r}: " if task_name else ""
    found = []
    for (name, annotation), value in zip(annotations.items(), values, strict=True):
        try:
            literal = await codec_for(annotation).encode_async(value)
        except TypeTransformerFailedError as error:
            raise type(error)(f"{owner}{kind} {name!r}: {error}") from error.__cause__
        found.append(NamedLiteral(name=name, value=literal))
    return found


async def _decode(annotation: Any, literal: Literal, name: str, task_name: str) -> Any:
    try:
        return await codec_for(annotation).decode_async(literal)
    except TypeTransformerFailedError as error:
        raise RuntimeDataValidationError(name, error, task_name) from error.__cause__
