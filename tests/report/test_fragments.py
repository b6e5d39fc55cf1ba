"""HTML of values: what comes from a value is shown as text, and wrong arguments are named."""

import base64
import zlib
from html.parser import HTMLParser

import pytest

import flyte.report

EVIL = """<script>alert("x")</script>'&"""


def png(width: int = 3, height: int = 2) -> bytes:
    """A real PNG file, all black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(1 + width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Read(HTMLParser):
    """The tags, texts and attributes of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


@pytest.mark.parametrize(
    "html",
    [
        flyte.report.text(EVIL),
        flyte.report.abbreviate(EVIL),
        flyte.report.abbreviate(EVIL, limit=5),
        flyte.report.table([{EVIL: EVIL}], caption=EVIL),
        flyte.report.table([[EVIL]], columns=[EVIL]),
        flyte.report.image(png(), alt=EVIL, mime=f'x" onerror="{EVIL}'),
    ],
)
def test_what_comes_from_a_value_makes_no_tag(html):
    read = Read(html)
    assert "script" not in read.tags
    assert all(set(attributes) <= {"class", "scope", "src", "alt"} for attributes in read.attributes)
    assert EVIL in "".join(read.texts) or read.attributes[0]["alt"] == EVIL


def test_text_keeps_lines_and_spaces():
    assert flyte.report.text("a\n  b <") == "<pre>a\n  b &lt;</pre>"


class TestAbbreviate:
    def test_short_values_are_shown_as_they_are(self):
        assert flyte.report.abbreviate("a<b") == "a&lt;b"
        assert flyte.report.abbreviate(5) == "5"
        assert flyte.report.abbreviate(None) == ""

    def test_long_values_are_folded_up_and_whole(self):
        value = "".join(chr(ord("a") + i % 26) for i in range(310))
        read = Read(flyte.report.abbreviate(value))
        assert read.tags == ["details", "summary", "pre"]
        assert read.texts == [f"{value[:300]}… (+10)", value]

    def test_what_is_too_long_for_a_browser_is_cut_and_says_so(self):
        assert "… and 5 characters more" in flyte.report.abbreviate("x" * 100_005)


class TestTable:
    def cells(self, html: str) -> list[str]:
        return Read(html).texts

    def test_of_dicts(self):
        html = flyte.report.table([{"a": 1, "b": "x"}, {"a": 2.5, "c": None}])
        assert self.cells(html) == ["a", "b", "c", "1", "x", "2.5"]
        assert html.count("<td></td>") == 3

    def test_chosen_columns(self):
        assert self.cells(flyte.report.table([{"a": 1, "b": 2}], ["b"])) == ["b", "2"]
        with pytest.raises(ValueError, match="no row has the column 'z'; there are 'a', 'b'"):
            flyte.report.table([{"a": 1, "b": 2}], ["b", "z"])

    def test_of_rows(self):
        assert self.cells(flyte.report.table([(1, 2), [3, 4]], ["a", "b"])) == ["a", "b", "1", "2", "3", "4"]
        assert "<th" not in flyte.report.table([(1, 2)])

    def test_of_nothing(self):
        assert self.cells(flyte.report.table([])) == []
        assert self.cells(flyte.report.table([], ["a"])) == ["a"]

    def test_only_numbers_are_set_as_numbers(self):
        assert flyte.report.table([[1, 0.5, True, "1"]]).count('class="number"') == 2

    def test_long_ones_are_cut_and_say_so(self):
        html = flyte.report.table(([i] for i in range(1001)), caption="squares")
        assert html.count("<tr>") == 1000 and "squares (first 1,000 of 1,001 rows)" in html
        assert flyte.report.table([[i] for i in range(4)], max_rows=3).count("<tr>") == 3
        assert "first" not in flyte.report.table([[i] for i in range(3)], max_rows=3)

    @pytest.mark.parametrize("rows", ["ab", b"ab", {"a": 1}, 5])
    def test_something_else_is_refused(self, rows):
        with pytest.raises(TypeError, match=f"table takes .*{type(rows).__name__}"):
            flyte.report.table(rows)

    @pytest.mark.parametrize("rows", [[{"a": 1}, [1]], [[1], {"a": 1}], [[1], "ab"], [[1], 2]])
    def test_rows_of_another_kind_are_refused(self, rows):
        with pytest.raises(TypeError, match="row 2 is not"):
            flyte.report.table(rows)

    def test_rows_of_another_length_are_refused(self):
        with pytest.raises(ValueError, match="row 2 has 1 cells, but there are 2 columns"):
            flyte.report.table([[1, 2], [3]])
        with pytest.raises(ValueError, match="row 1 has 2 cells, but there are 1 columns"):
            flyte.report.table([[1, 2]], ["a"])
        with pytest.raises(ValueError, match="max_rows=0"):
            flyte.report.table([], max_rows=0)


class TestImage:
    def test_bytes_and_a_path_give_the_same(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(png())
        expected = f'<img src="data:image/png;base64,{base64.b64encode(png()).decode()}" alt="black" width="9">'
        for source in (png(), bytearray(png()), path, str(path)):
            assert flyte.report.image(source, alt="black", width_px=9) == expected

    @pytest.mark.parametrize(
        ("data", "mime"),
        [
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x1cftypavif", "image/avif"),
            (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
            (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg/>', "image/svg+xml"),
        ],
    )
    def test_the_format_is_known_by_the_first_bytes(self, data, mime):
        assert f"data:{mime};base64," in flyte.report.image(data)

    def test_what_cannot_be_shown_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"4 bytes.*mime="):
            flyte.report.image(b"abcd")
        with pytest.raises(TypeError, match="NoneType"):
            flyte.report.image(None)
        with pytest.raises(FileNotFoundError):
            flyte.report.image(tmp_path / "missing.png")
        with pytest.raises(ValueError, match="width_px=0"):
            flyte.report.image(png(), width_px=0)


class Drawing:
    """What matplotlib's figures have: ``savefig``."""

    def savefig(self, file, *, format, dpi, bbox_inches):
        assert (format, bbox_inches) == ("png", "tight")
        file.write(png(width=dpi, height=2))


class Interactive:
    """What plotly's figures have: ``to_html`` and ``to_plotly_json``."""

    library = f"<script>/* {'x' * 300_000} */</script>"

    def __init__(self, name: str) -> None:
        self.name = name

    def to_plotly_json(self):
        return {}

    def to_html(self, full_html, include_plotlyjs):
        assert not full_html and include_plotlyjs is True
        return f"<div>{self.library}<script>draw({self.name})</script></div>"


class TestFigure:
    def test_of_the_kind_of_matplotlib_is_an_image_of_its_size_on_paper(self):
        html = flyte.report.figure(Drawing(), alt="a line")
        assert html.startswith('<img src="data:image/png;base64,') and html.endswith('alt="a line" width="96">')

    def test_axes_stand_for_their_figure(self):
        class Axes:
            figure = Drawing()

        assert flyte.report.figure(Axes()) == flyte.report.figure(Drawing())

    def test_of_the_kind_of_plotly_brings_its_library_once_a_page(self):
        report = flyte.report.Report("r")
        for name in ("one", "two", "three"):
            report.get_tab(name).log(flyte.report.figure(Interactive(name)))
        page = report.get_final_report()
        assert page.count(Interactive.library) == 1
        assert page.index(Interactive.library) < page.index("draw(one)") < page.index("draw(two)")
        assert page.count("draw(") == 3

    def test_something_else_is_refused(self):
        with pytest.raises(TypeError, match="matplotlib or plotly, but got str"):
            flyte.report.figure("a plot")

    def test_of_matplotlib_itself(self):
        matplotlib = pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
        figure = matplotlib.Figure()
        axes = figure.subplots()
        axes.plot([1, 2, 3])
        assert flyte.report.figure(axes).startswith('<img src="data:image/png;base64,')

    def test_of_plotly_itself(self):
        plotly = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
        report = flyte.report.Report("r")
        for name in ("one", "two"):
            report.get_tab(name).log(flyte.report.figure(plotly.Figure(plotly.Scatter(y=[1, 2]))))
        page = report.get_final_report()
        one = len(flyte.report.figure(plotly.Figure(plotly.Scatter(y=[1, 2]))))
        assert page.count("Plotly.newPlot(") >= 2 and len(page) < 1.5 * one
