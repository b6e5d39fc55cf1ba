"""A chronology in a report: one line a step."""

from datetime import datetime
from html import escape
from typing import Any

from ._current import get_tab
from ._report import MAIN_TAB


class Timeline:
    """Steps of the running task, added to its report line by line.

    :param tab_name: the tab that they are added to.
    """

    def __init__(self, tab_name: str = MAIN_TAB) -> None:
        self.tab_name = tab_name

    def heading(self, text: Any) -> None:
        """Begin a part of the chronology.

        :param text: ``str(text)`` is shown, escaped.
        """
        get_tab(self.tab_name).log(f"<h3>{escape(str(text))}</h3>")

    def row(self, *, icon: str = "•", label: Any = "", meta: str = "", detail: str = "", error: Any = None) -> None:
        """Add a step.

        :param icon: a sign before it; escaped, as are ``label`` (what was done), ``meta`` (in a quiet colour, such as
            how long it took) and ``error`` (what went wrong; None: nothing).
        :param detail: more, as HTML: make it with :func:`flyte.report.abbreviate`.
        """
        parts = [escape(str(icon)), f"<b>{escape(str(label))}</b>"]
        if meta:
            parts.append(f'<span class="quiet">{escape(str(meta))}</span>')
        if detail:
            parts.append(f"— {detail}")
        if error is not None:
            parts.append(f'<span class="bad">⚠ {escape(str(error))}</span>')
        get_tab(self.tab_name).log(f'<div class="step">{" ".join(parts)}</div>')


def duration_ms(start_iso: Any, end_iso: Any) -> str:
    """The time between two moments, such as ``"1500 ms"``; empty if they cannot be told.

    :param start_iso: ISO 8601 text or a datetime; likewise ``end_iso``.
    """
    try:
        start, end = (
            moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
            for moment in (start_iso, end_iso)
        )
        return f"{(end - start).total_seconds() * 1000:.0f} ms"
    except (TypeError, ValueError):  # not a moment, or one with a time zone and one without
        return ""
