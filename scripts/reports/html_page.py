"""Self-contained HTML pages: pictures and videos are embedded, for light and dark mode; without scripts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure


def _theme(surface: str, ink: str, faint: str, colours: Sequence[str]) -> Any:
    theme: dict[str, Any] = dict.fromkeys(["figure.facecolor", "axes.facecolor", "legend.facecolor"], surface)
    theme |= dict.fromkeys(["text.color", "axes.labelcolor", "xtick.color", "ytick.color"], ink)
    theme |= dict.fromkeys(["axes.edgecolor", "grid.color", "legend.edgecolor"], faint)
    theme |= dict.fromkeys(["axes.spines.top", "axes.spines.right"], False)
    theme |= {"axes.grid": True, "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titlesize": 11}
    return theme | {"axes.prop_cycle": cycler(color=colours)}


LIGHT = _theme("#ffffff", "#1f2733", "#d5dbe3", ["#0b62c4", "#c24e00", "#0a7d55", "#7a3eb1"])
DARK = _theme("#171c24", "#e3e8ef", "#3a4452", ["#6cb6ff", "#ffa657", "#6fdcab", "#d2a8ff"])

PAGE = Template("""<!doctype html><html lang="en"><head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>$title</title><style>
:root { --page: #f3f5f8; --card: #fff; --ink: #1f2733; --soft: #566273; --line: #d5dbe3; --mark: #0b62c4 }
@media (prefers-color-scheme: dark) {
 :root { --page: #0e1217; --card: #171c24; --ink: #e3e8ef; --soft: #a3afbf; --line: #2f3947; --mark: #6cb6ff } }
* { box-sizing: border-box } main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 } h2 { font-size: 1.2rem; margin: 0 0 .35rem }
p { margin: 0 0 1rem; color: var(--soft) } section { margin-top: 1.25rem; padding: 1.3rem 1.5rem }
section, .tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 12px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 1.5rem 0 0 }
.tiles div { border-top: 4px solid var(--mark); padding: 1rem 1.2rem } dt { font-weight: 600 }
dd { margin: 0; color: var(--soft); line-height: 1.4 } .big { font-size: 2rem; font-weight: 700; color: var(--ink) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto } .wide + .wide { margin-top: 1.25rem } img, video { display: block; width: 100% }
th, td { padding: .45rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child { text-align: left; padding-left: 0; font-weight: 500; white-space: normal }
thead th { color: var(--soft); font-size: .85rem } tbody tr:last-child > * { border-bottom: 0 }
.plain td { text-align: left; white-space: normal; overflow-wrap: anywhere } .first td:nth-child(2) { font-weight: 700 }
code { font-size: .85em; color: var(--soft); white-space: nowrap }
html { color-scheme: light dark } img { min-width: 36rem; height: auto } video { max-width: 30rem; border-radius: 8px }
.large { max-width: 100% } @media (max-width: 40rem) { .plain td:nth-child(3) { display: none } }
</style></head><body><main>
<header><h1>$title</h1><p>$lead</p>
</header>
$body
</main></body></html>
""")


def write_page(path: Path, title: str, lead: str, sections: Iterable[str]) -> Path:
    """Write a page of sections, and return its path.

    Args:
        path: the HTML file.
        title: its title.
        lead: a sentence below the title.
        sections: HTML of the sections.
    """
    from ...envs.storage.file_access import write_atomically

    text = PAGE.substitute(title=html.escape(title), lead=html.escape(lead), body="\n".join(sections))
    write_atomically(path, text.encode("utf-8"))
    return path


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return headline figures: for each a title, the figure and a sentence, all HTML."""
    parts = (
        f'<div><dt>{title}</dt><dd class="big">{value}</dd><dd>{words}</dd></div>' for title, value, words in figures
    )
    return f'<dl class="tiles">{"".join(parts)}</dl>'


def video(path: Path, label: str, style: str = "") -> str:
    """Return a video that plays by itself and repeats."""
    source = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    about = html.escape(label)
    return (
        f'<video class="{style}" controls loop muted autoplay playsinline aria-label="{about}" src="{source}"></video>'
    )


def picture(draw: Callable[[Figure], None], height: float, alt: str, width: float = 10) -> str:
    """Return a matplotlib drawing as two PNG images, for light and dark mode.

    Args:
        draw: draws on an empty figure.
        height: height in inches.
        alt: description for readers who do not see it.
        width: width in inches.
    """
    sources = []
    for theme in (LIGHT, DARK):
        with matplotlib.rc_context(theme), io.BytesIO() as file:
            figure = Figure(figsize=(width, height), layout="constrained")
            draw(figure)
            figure.savefig(file, dpi=150, format="png")
            sources.append(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")
    dark = f'<source media="(prefers-color-scheme: dark)" srcset="{sources[1]}">'
    image = f'<img src="{sources[0]}" alt="{html.escape(alt)}" width="{width * 100:.0f}" height="{height * 100:.0f}">'
    return f'<div class="wide" tabindex="0"><picture>{dark}{image}</picture></div>'


def section(title: str, lead: str, content: str) -> str:
    """Return a section: a heading, a leading sentence and the content, all HTML."""
    return f"<section><h2>{title}</h2>{lead and f'<p>{lead}</p>'}{content}</section>"


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], look: str = "") -> str:
    """Return a table of HTML cells; the first cell of each row is its heading."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = (f'<tr><th scope="row">{first}</th><td>{"</td><td>".join(rest)}</td></tr>' for first, rest in rows)
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide" tabindex="0"><table class="{look}">{top}<tbody>{"".join(lines)}</tbody></table></div>'
