"""Lines of a strip that stands for a text by position: cells in a row, each filled as high as a share of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.report.covered import Mask

EMPTY = "#ebe5d8"
"""Of tokens that could be covered, and are not."""
CELLS = 120
"""Of a line."""
HIGH, GAP, GREEDY = 20, 3, 4
"""Units of the height of a cell, and of the line for greedy decoding beneath it."""


@dataclass(frozen=True, slots=True)
class Swatch:
    """An entry of the legend."""

    id: str
    label: str
    svg: str


def swatch(name: str, fill: str, high: float) -> str:
    """Return the sample of an entry of a legend, filled in a share of its height."""
    height = round(HIGH * high)
    box = f'<rect y="{(HIGH - height) / 2:g}" width="20" height="{height}" fill="{fill}"/>'
    return f'<svg class="swatch" role="img" aria-labelledby="{name}" viewBox="0 0 20 {HIGH}">{box}</svg>'


def strip(areas: str, cells: int, name: str) -> str:
    """Return a line of a part, named by the title of its row."""
    width = f'width="{round(10_000 * max(cells, 1) / CELLS) / 100:g}%"'
    box = f'viewBox="0 0 {max(cells, 1)} {HIGH + GAP + GREEDY}" preserveAspectRatio="none" shape-rendering="crispEdges"'
    return f'<svg class="strip" role="img" aria-labelledby="{name}" {width} {box}>{areas}</svg>'


def heights(mask: Mask, size: int, most: int) -> NDArray[np.int64]:
    """Return how high each cell is filled: never 0 where a token is, never to the top where one is not."""
    cells = -(-len(mask) // size)
    padded = np.zeros(cells * size, bool)
    padded[: len(mask)] = mask
    counts = padded.reshape(cells, size).sum(1)
    sizes = np.full(cells, size)
    sizes[-1:] = len(mask) - size * (cells - 1)
    rounded = np.clip(np.rint(most * counts / np.maximum(sizes, 1)), 1, most - 1).astype(np.int64)
    return np.where(counts == 0, 0, np.where(counts == sizes, most, rounded))


def area(steps: NDArray[np.int64], base: int, fill: str) -> str:
    """Return the area between a base and steps above it, or below it where they are negative, in as few characters."""
    if not steps.any():
        return ""
    ends = [*(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(steps)]
    drawn = "".join(f"V{base - steps[end - 1]}H{end}" for end in ends)
    return f'<path d="M0 {base}{drawn}V{base}" fill="{fill}"/>'
