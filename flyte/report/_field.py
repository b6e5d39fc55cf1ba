"""What ``flyte.ctx().report`` is; the report is not loaded before somebody asks for it."""

from typing import TYPE_CHECKING

from flyte._core.context import TaskContext, makers

if TYPE_CHECKING:
    from flyte.report._report import Report


def _report(context: TaskContext) -> "Report":
    from flyte.report._report import Report

    return Report(context.name, title=f"{context.task_name} · run {context.execution.run_name} · {context.name}")


makers.register("report", _report)
