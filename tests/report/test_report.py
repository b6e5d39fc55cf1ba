"""Reports and tabs by themselves, and their file."""

import asyncio
import os
import threading

import pytest

import flyte.report


@pytest.fixture
def report(tmp_path):
    return flyte.report.Report("r", folder=str(tmp_path / "a" / "b"))


class TestTabs:
    def test_the_first_is_called_main(self, report):
        assert list(report.tabs) == ["main"] and not report.has_content()

    def test_a_tab_is_made_once(self, report):
        tab = report.get_tab("losses")
        assert report.get_tab("losses") is tab and list(report.tabs) == ["main", "losses"]
        assert not report.has_content()
        tab.log("<p>1</p>")
        assert report.has_content()

    def test_a_missing_tab_is_named_with_those_that_are_there(self, report):
        report.get_tab("losses")
        with pytest.raises(ValueError, match="no tab 'loses'; it has 'main', 'losses'"):
            report.get_tab("loses", create_if_missing=False)
        assert list(report.tabs) == ["main", "losses"]

    def test_names_are_checked(self, report):
        with pytest.raises(ValueError, match="not empty"):
            report.get_tab(" ")
        with pytest.raises(TypeError, match="int 5"):
            report.get_tab(5)

    def test_log_adds_and_replace_replaces(self):
        tab = flyte.report.Tab("t")
        tab.log("<p>1</p>")
        tab.log("<p>2</p>")
        assert tab.get_html() == "<p>1</p>\n<p>2</p>"
        tab.replace("<p>3</p>")
        tab.log("<p>4</p>")
        assert tab.get_html() == "<p>3</p>\n<p>4</p>"

    def test_only_text_is_taken_and_that_at_once(self):
        tab = flyte.report.Tab("t")
        for change in (tab.log, tab.replace):
            with pytest.raises(TypeError, match="string of HTML, but got int"):
                change(5)
        assert tab.content == []

    def test_threads_that_ask_for_the_same_tab_get_the_same(self, report):
        together = threading.Barrier(8)

        def work():
            together.wait(10)
            for i in range(200):
                report.get_tab(f"t{i}").log("x")

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [len(tab.content) for name, tab in report.tabs.items() if name != "main"] == [8] * 200


class TestFile:
    def test_a_report_without_a_folder_is_not_written(self):
        assert flyte.report.Report("r").write() is None

    def test_it_is_replaced_in_one_step(self, report):
        """A reader that opened the old page reads on in the old page, and nothing else is left in the folder."""
        report.get_tab("main").log("<p>old</p>")
        path = report.write()
        with open(path, encoding="utf-8") as old:
            report.get_tab("main").replace("<p>new</p>")
            assert report.write() == path
            assert "<p>old</p>" in old.read()
        with open(path, encoding="utf-8") as new:
            assert "<p>new</p>" in new.read()
        assert os.listdir(report.folder) == ["report.html"]

    def test_what_has_no_utf8_form_does_not_cost_the_page(self, report):
        report.get_tab("main").log(flyte.report.text(os.fsdecode(b"caf\xe9") + " grün"))
        with open(report.write(), encoding="utf-8") as file:
            assert "<pre>caf&#56553; grün</pre>" in file.read()

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(NotADirectoryError):
            flyte.report.Report("r", folder=str(tmp_path / "file" / "a0")).write()

    def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(self, report):
        os.makedirs(os.path.join(report.folder, "report.html"))
        with pytest.raises(OSError):
            report.write()
        assert os.listdir(report.folder) == ["report.html"]

    def test_an_object_store_is_a_folder(self):
        from flyte.storage._transfer import get_stream

        report = flyte.report.Report("r", folder="memory://reports/a0")
        report.get_tab("main").log("<p>first</p>")
        report.write()
        report.get_tab("main").replace("<p>second</p>")

        async def read() -> bytes:
            report.write()  # also on an event loop
            return b"".join([chunk async for chunk in get_stream("memory://reports/a0/report.html")])

        page = asyncio.run(read())
        assert b"<p>second</p>" in page and b"<p>first</p>" not in page

    def test_a_storage_that_is_not_known_is_said(self):
        with pytest.raises(ValueError, match="nowhere"):
            flyte.report.Report("r", folder="nowhere://bucket/a0").write()

    def test_a_file_uri_is_a_folder(self, tmp_path):
        assert flyte.report.Report("r", folder=f"file://{tmp_path}").write() == str(tmp_path / "report.html")


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(report):
    report.get_tab("main").log('<p class="x">1</p>')
    shown = report._repr_html_()
    assert shown.startswith("<iframe ") and "&lt;p class=&quot;x&quot;&gt;1&lt;/p&gt;" in shown
