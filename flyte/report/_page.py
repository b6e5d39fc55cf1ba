"""The page: one HTML document of titled tabs, with its styles inside and no script of its own.

The tabs are radio buttons, so that they work by mouse and by keyboard (Tab, then the arrow keys) without a script.
"""

import re
from collections.abc import Mapping
from html import escape

_STYLE = """\
:root { color-scheme: light dark; --text: #1c1e21; --quiet: #5c6370; --back: #ffffff; --raised: #f3f4f6;
  --line: #d5d9e0; --accent: #5b2ee5; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --quiet: #9aa2ae; --back: #15171b; --raised: #212429;
  --line: #3a3f47; --accent: #a892ff; --bad: #ff8a80; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 75rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0 0 1rem; font-size: 1.25rem; }
.flyte-tabs { display: flex; flex-wrap: wrap; }
.flyte-tabs::after { content: ""; order: 1; flex: 0 0 100%; border-top: 1px solid var(--line); }
.flyte-tabs > input { position: absolute; opacity: 0; pointer-events: none; }
.flyte-tabs > label { order: 0; padding: .5rem 1rem; border-bottom: 3px solid transparent; color: var(--quiet);
  cursor: pointer; }
.flyte-tabs > label:hover { color: var(--text); }
.flyte-tabs > input:checked + label { border-color: var(--accent); color: var(--text); font-weight: 600; }
.flyte-tabs > input:focus-visible + label { outline: 2px solid var(--accent); outline-offset: -2px; }
/* A hidden tab keeps its width, which a figure in it needs to draw itself. */
.flyte-tabs > section { order: 2; flex: 0 0 100%; min-width: 0; height: 0; overflow: hidden; visibility: hidden; }
.flyte-tabs > input:checked + label + section { height: auto; overflow-x: auto; padding-top: 1rem;
  visibility: visible; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { padding: .25rem 0; color: var(--quiet); text-align: left; }
th, td { padding: .25rem .75rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--raised); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { padding: .75rem; overflow: auto; background: var(--raised); white-space: pre-wrap; }
img, svg { max-width: 100%; height: auto; }
.quiet { color: var(--quiet); }
.bad { color: var(--bad); }
.step { padding: .25rem 0; border-bottom: 1px solid var(--line); }
@media print { .flyte-tabs { display: block; } .flyte-tabs > label { display: none; }
  .flyte-tabs > section { height: auto !important; overflow: visible; visibility: visible; }
  .flyte-tabs > section::before { content: attr(aria-label); font-weight: 600; } }"""

_LIBRARY_CHARACTERS = 200_000
"""A script at least this long is a library, as figures bring along; that of plotly has some 5 million."""
_SCRIPT = re.compile(r"<script\b[^>]*>", re.IGNORECASE)
_END = "</script>"


def page(title: str, tabs: Mapping[str, str]) -> str:
    """The document.

    :param title: text of the heading.
    :param tabs: name, as text -> HTML. The first is shown at first; one alone is shown without a bar of tabs.
    """
    if not tabs:
        body = '<main><p class="quiet">Nothing was logged.</p></main>'
    elif len(tabs) == 1:
        body = f"<main>\n{next(iter(tabs.values()))}\n</main>"
    else:
        parts = [_tab(number, name, content) for number, (name, content) in enumerate(tabs.items(), 1)]
        body = "\n".join(['<main class="flyte-tabs">', *parts, "</main>"])
    shown = escape(title)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{shown}</title>
<style>
{_STYLE}
</style>
</head>
<body>
<h1>{shown}</h1>
{_each_library_once(body)}
</body>
</html>
"""


def _tab(number: int, name: str, content: str) -> str:
    checked = " checked" if number == 1 else ""
    return (
        f'<input type="radio" name="flyte-tab" id="flyte-tab-{number}"{checked}>'
        f'<label for="flyte-tab-{number}">{escape(name)}</label>\n'
        f'<section aria-label="{escape(name)}">\n{content}\n</section>'
    )


def _each_library_once(body: str) -> str:
    """``body`` without the repetitions of a long script: each figure brings the library that draws it."""
    if len(body) < 2 * _LIBRARY_CHARACTERS:
        return body
    seen: set[str] = set()
    kept: list[str] = []
    done = 0
    start = _SCRIPT.search(body)
    while start is not None:
        end = body.find(_END, start.end()) + len(_END)
        if end < len(_END):  # never closed; a browser takes the rest as its text
            break
        if end - start.start() >= _LIBRARY_CHARACTERS:
            script = body[start.start() : end]
            kept.append(body[done : start.start() if script in seen else end])
            seen.add(script)
            done = end
        start = _SCRIPT.search(body, end)
    return "".join([*kept, body[done:]])
