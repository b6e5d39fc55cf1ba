"""The report of the running task: what ``flyte.report.log`` and its neighbours act on.

The attempt of a task enters :func:`reporting`; bodies call the rest.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from typing import Generic, ParamSpec

from flyte._core.context import TaskContext, current
from flyte._core.log import logger
from flyte._core.threads import run_in_thread

from . import _field  # noqa: F401 (it says what ctx().report is)
from ._report import MAIN_TAB, Report, Tab

P = ParamSpec("P")


def current_report() -> Report:
    """The report of the running task, made when it is first asked for.

    Outside a task it is a new report that belongs to nothing, so that code which logs also runs by itself.
    """
    context = current.get()
    if context is None or context.parent is None:  # no run, or a run whose first task has not begun
        return Report("dummy")
    report = context.report
    assert isinstance(report, Report)
    return report


def get_tab(name: str, /, create_if_missing: bool = True) -> Tab:
    """The tab called ``name`` of the running task's report: ``get_tab("Losses").log("<p>...</p>")``.

    :param create_if_missing: add the tab at the end if there is none of this name.
    :raises ValueError: there is no such tab and none is to be made; an empty name.
    """
    return current_report().get_tab(name, create_if_missing)


class ReportFunction(Generic[P]):
    """A function that changes the running task's report; also awaited as ``.aio``.

    Changing a report is done at once. Where the page is written as well, a call blocks, and ``.aio`` leaves it to a
    thread.

    :param change: makes the change and gives the report if it is to be written now.
    """

    def __init__(self, change: Callable[P, Report | None]) -> None:
        self._change = change
        update_wrapper(self, change)
        self.__signature__ = inspect.signature(change).replace(return_annotation=None)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        report = self._change(*args, **kwargs)
        if report is not None:
            report.write()

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """The same for async code."""
        report = self._change(*args, **kwargs)
        if report is not None:
            await run_in_thread(report.write)


@ReportFunction
def log(content: str, do_flush: bool = False) -> Report | None:
    """Add HTML to the first tab of the running task's report. Also ``.aio``.

    The page is written when the task ends, also when it fails, if the task was declared with ``report=True``. Without
    that, and outside a task, logging works and nothing is written.

    :param content: goes into the page as it is; escape what is not HTML with :func:`flyte.report.text`.
    :param do_flush: also write the page now; see :func:`flush`.
    :raises TypeError: the content is not a string.
    """
    report = current_report()
    report.get_tab(MAIN_TAB).log(content)
    return _to_write(report) if do_flush else None


@ReportFunction
def replace(content: str, do_flush: bool = False) -> Report | None:
    """Show HTML in place of all that the first tab of the running task's report holds. Also ``.aio``.

    :param content: as for :func:`log`.
    :param do_flush: also write the page now; see :func:`flush`.
    :raises TypeError: the content is not a string.
    """
    report = current_report()
    report.get_tab(MAIN_TAB).replace(content)
    return _to_write(report) if do_flush else None


@ReportFunction
def flush() -> Report | None:
    """Write the running task's report as it stands, for readers who do not want to wait for the end. Also ``.aio``.

    The file is ``report.html`` below ``flyte.ctx().output_path``, and is replaced in one step. Outside a task nothing
    happens; in a task that was not declared with ``report=True`` nothing is written, and a warning says so.

    :raises OSError: the file cannot be written.
    """
    return _to_write(current_report())


def _to_write(report: Report) -> Report | None:
    context = current.get()
    if report.folder is None and context is not None and context.parent is not None:
        logger.warning(
            "the report of task %r is not written: declare the task with report=True", context.task_context.task_name
        )
    return report if report.folder is not None else None


@contextmanager
def reporting(context: TaskContext) -> Iterator[None]:
    """Write the report of the action when the ``with`` block ends, in whichever way, if something was logged.

    A page that cannot be written is an error in the log: it is not worth a result that took hours.
    """
    report = context.report
    report.folder = context.output_path
    try:
        yield
    finally:
        if report.has_content():
            try:
                report.write()
            except (OSError, ValueError) as error:
                logger.error("the report of task %r could not be written: %s", context.task_name, error)
