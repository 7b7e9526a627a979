"""Shapes of SVG pictures that stand inside a page, from numbers and texts; texts are escaped here."""

from __future__ import annotations

import html
from typing import Literal

FONT = "Helvetica, Arial, sans-serif"


def opening(id: str, width: float | str, height: float | str) -> str:
    """Return the start tag of a picture that is named and described by the figure ``id`` around it."""
    names = f'aria-labelledby="{id}-title" aria-describedby="{id}-description"'
    shown = f'font-family="{FONT}" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg role="img" {names} {shown}>'


def box(x: float, x2: float, y: float, y2: float, fill: str, opacity: float = 1.0) -> str:
    """Return a filled rectangle between two corners, whichever of them comes first."""
    left, top = min(x, x2), min(y, y2)
    size = f'width="{_number(abs(x2 - x))}" height="{_number(abs(y2 - y))}"'
    faint = f' fill-opacity="{_number(opacity)}"' if opacity < 1 else ""
    return f'<rect x="{_number(left)}" y="{_number(top)}" {size} fill="{fill}"{faint}/>'


def line(x: float, x2: float, y: float, y2: float, stroke: str, dashes: str | None = None) -> str:
    """Return a straight line; ``dashes`` as in ``stroke-dasharray``."""
    broken = f' stroke-dasharray="{dashes}"' if dashes else ""
    ends = " ".join(f'{name}="{_number(value)}"' for name, value in (("x1", x), ("y1", y), ("x2", x2), ("y2", y2)))
    return f'<line {ends} stroke="{stroke}"{broken}/>'


def label(x: float, y: float, text: str, fill: str, size: int, anchor: Literal["start", "middle"] = "start") -> str:
    """Return a line of text whose middle is at height ``y``, as high as its small letters go."""
    place = f'x="{_number(x)}" y="{_number(y + 0.35 * size)}"'
    middle = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text {place} fill="{fill}" font-size="{size}px"{middle}>{html.escape(text)}</text>'


def _number(value: float) -> str:
    """Return a number to a hundredth of a pixel, in as few characters."""
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"
