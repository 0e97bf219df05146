"""Parts of a page that needs nothing else: tables, figures, cards, and the whole.

The script and the style lie in ``assets``, beside Plotly's bundle ``gl3d``, the smallest that draws
in the plane and in space. All of them are written into the page, which forbids itself the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from thermo_pl.files import strict_json
from thermo_pl.reports.plots import Figure

Tone = Literal["good", "bad", "open"]
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


_ACROSS = ' class="across"'


class Card(NamedTuple):
    """A number that a reader asks for first.

    Attributes:
        label: what it is.
        value: the number with its unit.
        note: what to hold it against.
    """

    label: str
    value: str
    note: str = ""


class Raw(str):
    """HTML that is written into a page as it is; all other text is escaped."""

    __slots__ = ()


class Drawn(NamedTuple):
    """A figure with its place on the page.

    Attributes:
        name: of the element; unique on a page.
        title: what it shows.
        note: how to read it.
        figure: of :func:`thermo_pl.reports.plots.figure`.
        across: whether it takes the whole width.
    """

    name: str
    title: str
    note: str
    figure: Figure
    across: bool = False


def html(text: object) -> Raw:
    """Text as HTML.

    Args:
        text: any; a :class:`Raw` is taken as it is.

    Returns:
        HTML that shows it.
    """
    return text if isinstance(text, Raw) else Raw(escape(str(text)))


def verdict(tone: Tone, headline: str, *lines: str) -> Raw:
    """What a reader is to see first.

    Args:
        tone: whether it is good news.
        headline: a few words.
        *lines: sentences below it.

    Returns:
        A box.
    """
    mark = {"good": "✓", "bad": "✗", "open": "●"}[tone]
    below = "".join(f"<p>{html(line)}</p>" for line in lines if line)
    return Raw(
        f'<section class="verdict {tone}"><strong>{mark} {html(headline)}</strong>{below}</section>'
    )


def cards(shown: Iterable[Card]) -> Raw:
    """Numbers beside each other.

    Args:
        shown: the numbers.

    Returns:
        A grid that wraps.
    """
    parts = (
        f'<div class="card"><small>{html(card.label)}</small><b>{html(card.value)}</b>'
        f"<small>{html(card.note)}</small></div>"
        for card in shown
    )
    return Raw(f'<div class="cards">{"".join(parts)}</div>')


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = ()) -> Raw:
    """A table.

    Args:
        header: of each column; no header if all are empty.
        rows: cells, as text or :class:`Raw`.
        kinds: class of the cells of each column, such as ``number``.

    Returns:
        The table in a box that scrolls sideways.
    """
    kinds = [*kinds, *[""] * (len(header) - len(kinds))]
    head = "".join(
        f'<th class="{kind}">{html(name)}</th>' for name, kind in zip(header, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{html(cell)}</td>' for cell, kind in zip(row, kinds, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return Raw(f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>')


def plots(figures: Iterable[Drawn]) -> Raw:
    """Places for figures, beside each other where there is room.

    Args:
        figures: the figures.

    Returns:
        A grid that wraps; the script draws into it.
    """
    parts = (
        f"<figure{_ACROSS * drawn.across}>"
        f"<figcaption>{html(drawn.title)}<span>{html(drawn.note)}</span></figcaption>"
        f'<div id="{drawn.name}" style="height:{drawn.figure["layout"]["height"]}px"></div>'
        "</figure>"
        for drawn in figures
    )
    return Raw(f'<div class="plots">{"".join(parts)}</div>')


def page(title: str, body: str, figures: Iterable[Drawn], data: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        title: of the window.
        body: HTML.
        figures: those that ``body`` has places for.
        data: what else the script reads: ``path`` and ``frames``.

    Returns:
        HTML without a reference to anything outside it.
    """
    shown = {drawn.name: drawn.figure for drawn in figures}
    content = in_script(strict_json({"figures": shown, **data}))
    style, script = asset("page.css"), asset("page.js")
    library = f"<script>{asset('plotly-gl3d.min.js')}</script>\n" if shown else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n"
        f'</main>\n<script type="application/json" id="page-data">{content}</script>\n'
        f"{library}<script>\n{script}</script>\n</body>\n</html>\n"
    )


def in_script(text: str) -> str:
    """JSON that no script element ends in.

    Args:
        text: JSON.

    Returns:
        The same values; ``<`` as an escape.
    """
    return text.replace("<", "\\u003c")


def asset(name: str) -> str:
    """A file that comes with the package.

    Args:
        name: in ``assets``.

    Returns:
        Its text.
    """
    return (files("thermo_pl.reports") / "assets" / name).read_text(encoding="utf-8")
