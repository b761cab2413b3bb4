"""Small pieces of HTML; every text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

UNKNOWN = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A value to some significant digits without exponent, or a dash when it is unknown."""
    if value is None:
        return UNKNOWN
    if value == 0.0:
        return "0"
    if abs(value) >= 10.0 ** (digits - 1) or (value == round(value) and abs(value) < 1e6):
        return f"{value:.0f}"
    text = f"{value:.{digits}g}"
    return f"{value:.5f}" if "e" in text else text


def percent(value: float | None) -> str:
    """A share with one decimal, or a dash when it is unknown; only all of them are 100 %."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f} %" if value in (0.0, 100.0) else f"{min(max(value, 0.1), 99.9):.1f} %"


def card(label: str, value: str, unit: str = "", detail: str = "", *, bad: bool = False) -> str:
    """A headline number."""
    space = "" if unit.startswith("°") else " "
    small = f"{space}<small>{escape(unit)}</small>" if unit and value != UNKNOWN else ""
    return (
        f'<div class="card{" bad" if bad else ""}"><div class="label">{escape(label)}</div>'
        f'<div class="value">{escape(value)}{small}</div><div class="detail">{escape(detail) or "&nbsp;"}</div></div>'
    )


def bar(share: float | None) -> str:
    """A horizontal bar of a share."""
    return "" if share is None else f'<div class="bar"><span style="width:{min(max(share, 0.0), 100.0):.1f}%"></span></div>'


def chip(colour: str) -> str:
    """A coloured dot."""
    return f'<span class="chip" style="background:{escape(colour)}"></span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str]) -> str:
    """A table of cells that are HTML already; ``classes`` names the style of each column."""
    top = "".join(f'<th class="{style}">{escape(text)}</th>' for text, style in zip(head, classes, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{style}">{cell}</td>' for cell, style in zip(row, classes, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(source: str, alt: str, caption: str = "") -> str:
    """An image given as a ``data:`` address."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="{source}" alt="{escape(alt)}">{below}</figure>'


def page(title: str, style: str, header: str, body: str) -> str:
    """A whole document that loads nothing, and that a browser is told to load nothing for."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n<header><div>{header}</div></header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
