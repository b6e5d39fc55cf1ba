"""A report and its tabs, and how the page gets to its file.

Used by :mod:`flyte.report._current`; it must not know of tasks.
"""

import os
import threading
from dataclasses import dataclass, field

MAIN_TAB = "main"
"""The first tab of every report; left out of the page while it is empty (wire-protocol section 5.3)."""
FILE_NAME = "report.html"


@dataclass(slots=True, eq=False)
class Tab:
    """A part of a report that is shown by itself.

    :param name: shown to readers; text, not HTML.
    :param content: pieces of HTML, in the order in which they are shown.
    """

    name: str
    content: list[str] = field(default_factory=list, init=False)

    def log(self, content: str) -> None:
        """Add HTML at the end of the tab.

        :param content: goes into the page as it is, scripts included: escape what is not HTML with
            :func:`flyte.report.text`. It is part of a page, not a whole document.
        :raises TypeError: not a string.
        """
        self.content.append(_checked(content))

    def replace(self, content: str) -> None:
        """Show HTML in place of all that the tab holds; see :meth:`log`.

        :raises TypeError: not a string.
        """
        self.content = [_checked(content)]

    def get_html(self) -> str:
        """The tab's HTML, one piece a line."""
        return "\n".join(self.content)


@dataclass(slots=True, eq=False)
class Report:
    """Tabs of HTML that become one page.

    :param name: of the report; in a task, the action's name.
    :param title: heading and title of the page; the name if empty. Text, not HTML.
    :param folder: where the page is written as ``report.html``; a report without one is never written.
    """

    name: str
    tabs: dict[str, Tab] = field(default_factory=lambda: {MAIN_TAB: Tab(MAIN_TAB)})
    title: str = field(default="", kw_only=True)
    folder: str | None = field(default=None, kw_only=True)
    _writing: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def get_tab(self, name: str, create_if_missing: bool = True) -> Tab:
        """The tab called ``name``.

        :param create_if_missing: add the tab at the end if there is none of this name.
        :raises ValueError: there is no such tab and none is to be made; an empty name.
        :raises TypeError: the name is not a string.
        """
        tab = self.tabs.get(name)
        if tab is not None:
            return tab
        if not isinstance(name, str):
            raise TypeError(f"a tab's name is a string, but got {type(name).__name__} {name!r}")
        if not name.strip():
            raise ValueError("a tab needs a name that is not empty")
        if not create_if_missing:
            raise ValueError(f"the report has no tab {name!r}; it has {', '.join(map(repr, self.tabs))}")
        return self.tabs.setdefault(name, Tab(name))  # two threads may ask at once

    def has_content(self) -> bool:
        """Whether something was logged to any tab."""
        return any(tab.content for tab in list(self.tabs.values()))

    def get_final_report(self) -> str:
        """The page as it stands: one HTML document that needs no network."""
        from ._page import page

        shown = {tab.name: tab.get_html() for tab in list(self.tabs.values()) if tab.content or tab.name != MAIN_TAB}
        return page(self.title or self.name, shown)

    def write(self) -> str | None:
        """Write the page to its file, which is replaced in one step: a reader sees a whole page, old or new.

        :returns: path or URI of the file; None if the report has no folder.
        :raises OSError: the file cannot be written.
        :raises ValueError: the folder is of a kind of storage that is not known.
        """
        if self.folder is None:
            return None
        folder = self.folder.removeprefix("file://")
        if "://" in folder:
            return self._write_away(folder)
        path = os.path.join(folder, FILE_NAME)
        # Rendered under the lock, so that of two writes at once the later one is never the older page.
        with self._writing:
            # A lone surrogate, as in some file names, has no UTF-8 form and must not cost the whole page.
            data = self.get_final_report().encode("utf-8", "xmlcharrefreplace")
            os.makedirs(folder, exist_ok=True)
            part = os.path.join(folder, f".{FILE_NAME}.{os.getpid()}-{id(self):x}")
            try:
                with open(part, "wb") as file:
                    file.write(data)
                os.replace(part, path)
            except BaseException:
                if os.path.exists(part):
                    os.unlink(part)
                raise
        return path

    def _write_away(self, folder: str) -> str:
        """Write the page to an object store, where objects are always replaced in one step."""
        from flyte._core.loop import run_blocking
        from flyte.storage._transfer import put_stream
        from flyte.storage._uri import join

        uri = join(folder, FILE_NAME)
        with self._writing:
            data = self.get_final_report().encode("utf-8", "xmlcharrefreplace")
            run_blocking(lambda: put_stream(data, to_path=uri))
        return uri

    def _repr_html_(self) -> str:
        # A notebook shows the page in a frame of its own, where its styles meet no others.
        from html import escape

        return f'<iframe style="width:100%;height:32rem;border:0" srcdoc="{escape(self.get_final_report())}"></iframe>'


def _checked(content: str) -> str:
    if not isinstance(content, str):
        raise TypeError(
            f"a report takes a string of HTML, but got {type(content).__name__}; make one with flyte.report.text(), "
            "table(), image() or figure()"
        )
    return content
