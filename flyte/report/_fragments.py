"""HTML of values, to be logged: text, tables, images, figures. Everything that comes from a value is escaped.

No plotting library is imported: a figure is known by its methods.
"""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

_LONGEST = 100_000
"""Characters of a value that :func:`abbreviate` keeps; beyond that a browser becomes slow for one value."""
_DPI = 144
"""Of an embedded matplotlib figure: one and a half times the 96 of a CSS inch, so that it is sharp on most screens."""

# First bytes of a file -> media type; the registered magic numbers of the formats that browsers show.
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
}


def text(value: Any) -> str:
    """HTML that shows a value as text, lines and spaces kept.

    :param value: anything; ``str(value)`` is shown, escaped.
    """
    return f"<pre>{escape(str(value))}</pre>"


def abbreviate(value: Any, limit: int = 300) -> str:
    """HTML of a value in a line: short ones as they are, longer ones folded up under their beginning.

    :param value: ``str(value)`` is shown, escaped; of None nothing.
    :param limit: characters that are shown unfolded. Unfolded by the reader, up to 100,000 are.
    """
    shown = "" if value is None else str(value)
    if len(shown) <= limit:
        return escape(shown)
    rest = len(shown) - _LONGEST
    cut = f"\n… and {rest:,} characters more" if rest > 0 else ""
    return (
        f"<details><summary>{escape(shown[:limit])}… (+{len(shown) - limit:,})</summary>"
        f"<pre>{escape(shown[:_LONGEST])}{cut}</pre></details>"
    )


def table(
    rows: Iterable[Mapping[str, Any]] | Iterable[Sequence[Any]],
    columns: Sequence[str] | None = None,
    *,
    caption: str = "",
    max_rows: int = 1000,
) -> str:
    """HTML of a table: ``log(table([{"epoch": 1, "loss": 0.5}, ...]))``.

    :param rows: dicts, or sequences of cells. A cell shows ``str(value)``, escaped; None and missing keys are empty.
    :param columns: of dicts: which keys, in which order; all in the order of their appearance if not given. Of
        sequences: the headings.
    :param caption: text above the table.
    :param max_rows: rows that are shown, at least 1; the caption says how many there are.
    :raises TypeError: rows of another type, or of both.
    :raises ValueError: a row with another number of cells than the first or than the columns; a column that no row has.
    """
    if max_rows < 1:
        raise ValueError(f"max_rows={max_rows!r} must be at least 1")
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable) or hasattr(rows, "iloc"):
        raise TypeError(
            f"table takes an iterable of dicts or of sequences, but got {type(rows).__name__}; of a pandas data frame "
            "pass df.to_dict('records')"
        )
    every: list[Any] = list(rows)
    dicts = bool(every) and isinstance(every[0], Mapping)
    for number, row in enumerate(every, 1):
        if isinstance(row, Mapping) is not dicts or isinstance(row, (str, bytes)) or not isinstance(row, Iterable):
            expected = "a dict" if dicts else "a sequence of cells"
            raise TypeError(f"row {number} is not {expected} like the first, but {type(row).__name__} {row!r:.80}")
    if dicts:
        columns, every = _cells_of_dicts(every, columns)
    else:
        every = [list(row) for row in every]
        width = len(columns) if columns is not None else len(every[0]) if every else 0
        for number, row in enumerate(every, 1):
            if len(row) != width:
                raise ValueError(f"row {number} has {len(row)} cells, but there are {width} columns")
    if len(every) > max_rows:
        caption = f"{caption} (first {max_rows:,} of {len(every):,} rows)".strip()
    parts = ["<table>"]
    if caption:
        parts.append(f"<caption>{escape(caption)}</caption>")
    if columns:
        headings = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in columns)
        parts.append(f"<thead><tr>{headings}</tr></thead>")
    body = (f"<tr>{''.join(map(_cell, row))}</tr>" for row in islice(every, max_rows))
    return "\n".join([*parts, "<tbody>", *body, "</tbody>", "</table>"])


def _cells_of_dicts(
    rows: list[Mapping[Any, Any]], columns: Sequence[str] | None
) -> tuple[Sequence[str], list[list[Any]]]:
    present = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns or ():
        if column not in present:
            raise ValueError(f"no row has the column {column!r}; there are {', '.join(map(repr, present))}")
    chosen = present if columns is None else columns
    return chosen, [[row.get(column) for column in chosen] for row in rows]


def _cell(value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    shown = "" if value is None else escape(str(value))
    return f'<td class="number">{shown}</td>' if number else f"<td>{shown}</td>"


def image(
    source: bytes | str | os.PathLike[str], *, alt: str = "", width_px: int | None = None, mime: str | None = None
) -> str:
    """HTML of an image that is part of the page itself.

    :param source: the image's bytes, or the path of its file: PNG, JPEG, GIF, WebP, AVIF, BMP or SVG.
    :param alt: what it shows, in words, for readers who cannot see it.
    :param width_px: width in CSS pixels, at least 1; the image's own if not given, at most that of the page.
    :param mime: media type such as ``"image/png"``; known by the first bytes if not given.
    :raises ValueError: the first bytes tell no format and ``mime`` is not given; a width below 1.
    :raises TypeError: neither bytes nor a path.
    :raises OSError: the file cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, origin = bytes(source), f"{len(source):,} bytes"
    elif isinstance(source, (str, os.PathLike)):
        data, origin = Path(source).read_bytes(), str(source)
    else:
        raise TypeError(f"image takes bytes or the path of a file, but got {type(source).__name__}")
    mime = mime or _media_type(data)
    if mime is None:
        raise ValueError(f"image({origin}) is of no format known by its first bytes; name it with mime='image/...'")
    if width_px is not None and width_px < 1:
        raise ValueError(f"width_px={width_px!r} must be at least 1")
    width = f' width="{int(width_px)}"' if width_px is not None else ""
    encoded = base64.b64encode(data).decode("ascii")
    return f'<img src="data:{escape(mime)};base64,{encoded}" alt="{escape(alt)}"{width}>'


def _media_type(data: bytes) -> str | None:
    for magic, mime in _MAGIC.items():
        if data.startswith(magic):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    start = data[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in data):
        return "image/svg+xml"
    return None


def figure(figure: Any, *, alt: str = "") -> str:
    """HTML of a plot that is part of the page itself.

    :param figure: of matplotlib (also its axes, and what is drawn on them, as by seaborn): shown as an image. Of
        plotly: stays interactive; it brings its library of 5 MB, which the page holds once for all its figures.
    :param alt: what the image shows, in words.
    :raises TypeError: something else.
    """
    if callable(getattr(figure, "to_plotly_json", None)) and callable(getattr(figure, "to_html", None)):
        return str(figure.to_html(full_html=False, include_plotlyjs=True))
    drawn = figure if hasattr(figure, "savefig") else getattr(figure, "figure", None)
    if not callable(getattr(drawn, "savefig", None)):
        raise TypeError(f"figure takes a figure of matplotlib or plotly, but got {type(figure).__name__}")
    buffer = BytesIO()
    drawn.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight")  # type: ignore[union-attr]
    data = buffer.getvalue()
    # Bytes 16 to 20 of a PNG file are its width in pixels (RFC 2083, section 3.2 and 4.1.1).
    return image(data, alt=alt, width_px=max(1, round(int.from_bytes(data[16:20], "big") * 96 / _DPI)))
