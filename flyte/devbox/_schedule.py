"""When triggers fire. Pure: moments in, moments out."""

from flyteidl2.task.common_pb2 import TriggerAutomationSpec, TriggerAutomationSpecType

from ._refusal import Code, Refusal


def check_schedule(name: str, automation: TriggerAutomationSpec) -> None:
    """Look at a schedule before it is kept.

    :raises Refusal: it is none.
    """
    if automation.type == TriggerAutomationSpecType.TYPE_SCHEDULE and not automation.schedule.WhichOneof("expression"):
        raise Refusal(Code.INVALID, f"trigger {name!r}: the schedule has neither a rate nor a cron expression")
