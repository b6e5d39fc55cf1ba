"""The page: its structure, and how a real browser shows it."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

import flyte.report

GOLDEN = Path(__file__).parent / "golden"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pages() -> dict[str, flyte.report.Report]:
    tabs = flyte.report.Report("a0", title="train <&> test")
    tabs.get_tab("main").log("<p>hello</p>")
    tabs.get_tab('los"ses').log(flyte.report.table([{"epoch": 1, "loss": 0.5}], caption="<losses>"))
    tabs.get_tab("empty")
    one = flyte.report.Report("one")
    one.get_tab("only").log("<p>alone</p>")
    return {"tabs": tabs, "one": one, "nothing": flyte.report.Report("nothing")}


def without_style(page: str) -> str:
    """The styles are for the eye; the structure is what programs rely on."""
    return re.sub(r"<style>.*?</style>", "<style></style>", page, flags=re.DOTALL)


@pytest.mark.parametrize("name", sorted(pages()))
def test_the_structure_is_as_recorded(name):
    """Set REPORT_GOLDEN=write to record it anew, and read the difference before it is committed."""
    path = GOLDEN / f"{name}.html"
    structure = without_style(pages()[name].get_final_report())
    if os.environ.get("REPORT_GOLDEN") == "write":
        path.write_text(structure, encoding="utf-8")
    assert structure == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(pages()))
def test_it_is_well_formed_and_needs_no_network_and_no_script(name):
    page = pages()[name].get_final_report()
    opened: list[str] = []

    class Check(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in {"script", "link", "iframe"}
            assert not {"src", "href", "onclick"} & {key for key, _ in attrs}
            if tag not in {"meta", "input"}:
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Check().feed(page)
    assert not opened
    assert "url(" not in page and "@import" not in page


def test_the_empty_first_tab_is_left_out():
    report = flyte.report.Report("r")
    for name in ("b", "a"):
        report.get_tab(name).log(name)
    assert re.findall(r"<label [^>]*>(.*?)</label>", report.get_final_report()) == ["b", "a"]
    report.get_tab("main").log("first")
    assert re.findall(r"<label [^>]*>(.*?)</label>", report.get_final_report()) == ["main", "b", "a"]


def test_only_a_repeated_library_is_left_out():
    """Short scripts may be meant to run twice; what is never closed, or differs, stays as it is."""
    library, other = (f"<script>/* {letter * 300_000} */</script>" for letter in "ab")
    short = "<script>again()</script>"
    report = flyte.report.Report("r")
    for piece in (library, short, "<p>1</p>", other, library, short, "<p>2</p>", library, "<script>open"):
        report.get_tab("main").log(piece)
    expected = [library, short, "<p>1</p>", other, "", short, "<p>2</p>", "", "<script>open"]
    assert "<main>\n" + "\n".join(expected) + "\n</main>" in report.get_final_report()


def test_exactly_the_first_tab_is_open_and_each_button_has_its_label():
    page = pages()["tabs"].get_final_report()
    buttons = re.findall(r'<input type="radio" name="flyte-tab" id="(\S+)"( checked)?>', page)
    assert [checked for _, checked in buttons] == [" checked", "", ""]
    assert re.findall(r'<label for="(\S+)">', page) == [name for name, _ in buttons]


def test_what_a_browser_shows(tmp_path):
    """The layout as Chromium computes it: the chosen tab is shown whole, the others not at all."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    report = pages()["tabs"]
    report.get_tab("probe").log(
        "<p>probe</p><pre id='out'></pre><script>addEventListener('load', () => {"
        "const whole = s => getComputedStyle(s).visibility === 'visible' && 0 < s.scrollHeight"
        " && s.scrollHeight <= s.clientHeight;"
        "const shown = () => [...document.querySelectorAll('.flyte-tabs > section')].map(whole);"
        "const before = shown(); document.getElementById('flyte-tab-2').click();"
        "document.getElementById('out').textContent = JSON.stringify([before, shown()]);});</script>"
    )
    path = tmp_path / "report.html"
    path.write_text(report.get_final_report(), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '<pre id="out">[[true,false,false,false],[false,true,false,false]]</pre>' in done.stdout
