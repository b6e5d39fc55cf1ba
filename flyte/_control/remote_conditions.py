"""Conditions of an action of a control plane (wire-protocol section 6.7): the control plane waits for the answer."""

from collections.abc import Callable, Coroutine
from typing import Any

from flyte._core.context import TaskContext
from flyte._core.identity import ActionPhase
from flyte._core.verdict import condition_text
from flyte._definition.condition import Condition
from flyte._wire.actions import answer_from, enqueue_condition, failure_of_child
from flyte.errors import (
    ActionAbortedError,
    ConditionAlreadyExistsError,
    ConditionTimedoutError,
    RuntimeSystemError,
)
from flyte.storage._transfer import put_stream
from flyte.storage._uri import join

from .ledger import Child
from .remote_children import Actions, Family, enqueue


async def begin_condition(
    condition: Condition[Any],
    parent: TaskContext,
    asked: dict[str, Child],
    actions: Actions,
    family_of: Callable[[TaskContext], Family],
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Register ``condition`` with the control plane; what is given back waits for its value.

    One that the control plane knows already, from before the action was started again, is not asked for anew.

    :param parent: whoever asks.
    :param asked: the conditions that the action has come to, the last of each name.
    :raises TypeError: the answer is of a type that a control plane does not take.
    :raises flyte.errors.ConditionAlreadyExistsError: the action waits for one of that name.
    :raises flyte.errors.RuntimeSystemError: the control plane refuses it.
    """
    execution, name = parent.execution, condition.name
    if name in asked and not asked[name].has_ended:
        raise ConditionAlreadyExistsError(
            f"run {execution.run_name} already waits for a condition {name!r}; give this one another name"
        )
    # The condition's name stands for both what is called and its inputs (wire-protocol section 6.2).
    context = TaskContext(
        execution, parent, name, None, (name, name, parent.calls.next_sequence(name, name, parent.group))
    )
    inputs_uri = join(execution.run_base_dir, context.name, "inputs.pb")
    webhook = condition.webhook
    request = enqueue_condition(
        name=name,
        data_type=condition.data_type,
        prompt=condition.prompt,
        prompt_type=condition.prompt_type,
        description=condition.description,
        timeout_s=condition.timeout_s,
        webhook=(webhook.url, webhook.payload) if webhook is not None else None,
        action=context.action,
        parent=parent.task_context.name,
        group=parent.group,
        input_uri=inputs_uri,
        run_base_dir=execution.run_base_dir,
    )
    family = family_of(parent.task_context)
    child = asked[name] = family.ledger.child(context.name)
    try:
        await family.know()
        if not child.is_known:
            await put_stream(b"", to_path=inputs_uri)
            await enqueue(actions, execution, f"condition {name!r}", request)
    except BaseException:
        del asked[name]
        raise

    async def wait() -> Any:
        # Who waits may give up, as with asyncio.timeout(), and wait again later.
        await family.end_of(child)
        return _value_of(condition, context, child)

    return wait


def _value_of(condition: Condition[Any], context: TaskContext, child: Child) -> Any:
    where = f"in condition {condition.name!r}, action {context.name} of run {context.execution.run_name}"
    match child.phase:
        case ActionPhase.SUCCEEDED | ActionPhase.RECOVERED:
            if child.value is None:
                raise RuntimeSystemError(
                    "NoAnswer",
                    f"condition {condition.name!r} is answered, but the control plane does not say with what",
                )
            return answer_from(child.value, condition.data_type, condition.name)
        case ActionPhase.TIMED_OUT:
            run, limit_s = context.execution.run_name, condition.timeout_s or 0.0
            error: Exception = ConditionTimedoutError(condition_text(condition.name, run, limit_s, condition.prompt))
        case ActionPhase.ABORTED:
            error = ActionAbortedError(f"condition {condition.name!r} was aborted")
        case _:
            assert child.phase is not None
            error = failure_of_child(child.phase, child.error, context.name)
    error.add_note(where)
    raise error
