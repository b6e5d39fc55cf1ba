"""A page that a task fills while it runs: ``flyte.report.log("<p>...</p>")`` in a task with ``report=True``.

What is logged is HTML and goes into the page as it is; :func:`text`, :func:`table`, :func:`image` and :func:`figure`
make HTML of values, escaped. The page is one file that needs no network: ``report.html`` below
``flyte.ctx().output_path``.

A face: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from flyte._core.face import lazy_face

if TYPE_CHECKING:
    from flyte.report._current import current_report as current_report
    from flyte.report._current import flush as flush
    from flyte.report._current import get_tab as get_tab
    from flyte.report._current import log as log
    from flyte.report._current import replace as replace
    from flyte.report._fragments import abbreviate as abbreviate
    from flyte.report._fragments import figure as figure
    from flyte.report._fragments import image as image
    from flyte.report._fragments import table as table
    from flyte.report._fragments import text as text
    from flyte.report._report import Report as Report
    from flyte.report._report import Tab as Tab
    from flyte.report._timeline import Timeline as Timeline
    from flyte.report._timeline import duration_ms as duration_ms

_TABLE = {
    "Report": "flyte.report._report",
    "Tab": "flyte.report._report",
    "Timeline": "flyte.report._timeline",
    "abbreviate": "flyte.report._fragments",
    "current_report": "flyte.report._current",
    "duration_ms": "flyte.report._timeline",
    "figure": "flyte.report._fragments",
    "flush": "flyte.report._current",
    "get_tab": "flyte.report._current",
    "image": "flyte.report._fragments",
    "log": "flyte.report._current",
    "replace": "flyte.report._current",
    "table": "flyte.report._fragments",
    "text": "flyte.report._fragments",
}

__getattr__, __dir__ = lazy_face(__name__, _TABLE)

__all__ = [
    "Report",
    "Tab",
    "Timeline",
    "abbreviate",
    "current_report",
    "duration_ms",
    "figure",
    "flush",
    "get_tab",
    "image",
    "log",
    "replace",
    "table",
    "text",
]
