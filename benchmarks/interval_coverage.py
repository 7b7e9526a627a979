"""Do intervals of a rate cover it, and are they short? Windows in documents, by how alike those of a document are.

Documents differ as a beta distribution says, with a given correlation within them; or a few are recited throughout and
the others now and then, which no document that was drawn need show. Ours stands beside other ways from documents to an
interval. What is close to its goal with few replicates is measured again with many.

python benchmarks/interval_coverage.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from common import Report
from numpy.typing import NDArray
from scipy.special import betaincinv, betaln, ndtri, stdtrit

from memaudit.records import FloatArray
from memaudit.stats import Rate, documents_needed
from memaudit.stats.rates import effective_size

Kind = Literal["beta", "throughout"]
MIXED = (1, 2, 5, 12, 25)
DOCUMENTS = (20, 100, 400)
WINDOWS = (1, 5, 25, MIXED)
CORRELATIONS = (0.0, 0.1, 0.3, 0.5)
RATES = (0.01, 0.05, 0.2, 0.5)
LIMIT = 0.01
ASKED = (50, 100, 200, 300, 400, 600, 1000)
FIRST, AGAIN = 2000, (8000, 30_000)
COVERED, WRONG = 0.945, 0.05
CLOSE = 0.01, 0.002
"""To a goal: then more replicates are drawn."""
POWER = 0.8


@dataclass(frozen=True)
class Cell:
    """Documents, their windows, and how hits are spread over them."""

    kind: Kind
    documents: int
    windows: int | tuple[int, ...]
    correlation: float
    """Of hits within documents; with ``throughout``, the share of the rate that is documents recited throughout."""
    rate: float

    @property
    def name(self) -> str:
        """Say the cell in words."""
        m = "1 to 25" if isinstance(self.windows, tuple) else self.windows
        return f"{self.kind} {self.correlation:g}, {self.documents} x {m}, rate {self.rate:g}"

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Return the windows of every document."""
        return np.resize(np.array(self.windows), self.documents)

    def draw(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Return shares of hits, shape [count, documents]."""
        shape = (count, self.documents)
        if self.kind == "throughout":
            whole = self.rate * self.correlation
            p = np.where(rng.random(shape) < whole, 1.0, (self.rate - whole) / (1 - whole))
        elif self.correlation:
            spread = 1 / self.correlation - 1
            p = rng.beta(self.rate * spread, (1 - self.rate) * spread, shape)
        else:
            p = np.full(shape, self.rate)
        drawn: FloatArray = rng.binomial(self.sizes, p) / self.sizes
        return drawn


def grid(documents: Sequence[int], rates: Sequence[float]) -> Iterator[Cell]:
    """Yield every cell; where windows have no correlation, both kinds are one."""
    for n, m, rho, rate in itertools.product(documents, WINDOWS, CORRELATIONS, rates):
        if m != 1 or not rho:
            yield Cell("beta", n, m, rho, rate)
            if rho:
                yield Cell("throughout", n, m, rho, rate)


def sizes_of(shares: FloatArray, windows: NDArray[np.int64]) -> FloatArray:
    """Return the effective size of every replicate, as `memaudit.stats.rates.effective_size` does of one."""
    documents, most = len(windows), float(windows.sum())
    p, spread = shares.mean(axis=1), shares.var(axis=1, ddof=1)
    ratio = float(stdtrit(most - 1, 0.975) / stdtrit(documents - 1, 0.975)) if most > documents else 1.0
    size = p * (1 - p) * documents / np.where(spread > 0, spread, np.inf) * ratio**2
    size = np.clip(np.where(spread > 0, size, most), documents, most)
    return np.where((p > 0) & (p < 1), size, float(documents))


Limits = Callable[[FloatArray, NDArray[np.int64], float], tuple[FloatArray, FloatArray]]
"""(shares, windows, tail) -> both limits of every replicate."""


def ours(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return the limits that a report shows; of a few replicates it is asserted that they are the package's."""
    documents, p = len(windows), shares.mean(axis=1)
    unseen = 1 - tail ** (1 / documents)
    (low, high), (least, most) = by_size(shares, windows, tail), by_documents(shares, windows, tail)
    low = np.maximum(least, p - np.hypot(p - low, unseen * p))
    high = np.minimum(most, p + np.hypot(high - p, unseen * (1 - p)))
    for row in range(min(5, len(shares))):
        size = effective_size(shares[row], int(windows.sum()))
        rate = Rate(0, int(windows.sum()), documents, float(p[row]), None, None, size)
        assert np.allclose([low[row], high[row]], [rate.lower(1 - tail), rate.upper(1 - tail)], atol=1e-9)
    return low, high


def exact(rate: FloatArray, size: FloatArray, tail: float) -> tuple[FloatArray, FloatArray]:
    """Return Clopper & Pearson's limits."""
    hits = rate * size
    low = np.where(hits > 1e-9, betaincinv(np.maximum(hits, 1e-9), size - hits + 1, tail), 0.0)
    high = np.where(size - hits > 1e-9, betaincinv(hits + 1, np.maximum(size - hits, 1e-9), 1 - tail), 1.0)
    return low, high


def by_documents(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return Clopper & Pearson's limits with documents as the sample."""
    return exact(shares.mean(axis=1), np.full(len(shares), float(len(windows))), tail)


def by_size(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return Korn & Graubard's limits."""
    return exact(shares.mean(axis=1), sizes_of(shares, windows), tail)


def wilson(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's limits with the effective size (Franco et al. 2019)."""
    p, n, z = shares.mean(axis=1), sizes_of(shares, windows), float(ndtri(1 - tail))
    middle, reach = (p + z**2 / 2 / n), z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    return (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n)


def jeffreys(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return Jeffreys's limits with the effective size."""
    p, n = shares.mean(axis=1), sizes_of(shares, windows)
    low, high = (betaincinv(p * n + 0.5, n - p * n + 0.5, q) for q in (tail, 1 - tail))
    return np.where(p > 0, low, 0.0), np.where(p < 1, high, 1.0)


def floored(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return Korn & Graubard's limits, no closer than those of documents without a hit (or a miss)."""
    low, high = by_size(shares, windows, tail)
    least = 1 - tail ** (1 / len(windows))
    return np.minimum(low, 1 - least), np.maximum(high, least)


def beta_binomial(shares: FloatArray, windows: NDArray[np.int64], tail: float) -> tuple[FloatArray, FloatArray]:
    """Return limits whose size rests on the likelihood of the correlation: its posterior mean and one sd more."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    rho = (nodes + 1) / 2
    p = shares.mean(axis=1)
    inside = np.clip(p, 1e-9, 1 - 1e-9)[:, None]
    a, b = inside * (1 / rho - 1), (1 - inside) * (1 / rho - 1)
    logs = np.zeros((len(shares), len(rho)))
    for m in np.unique(windows[windows > 1]):
        hits = np.rint(shares[:, windows == m] * m)
        for k in range(m + 1):
            count = (hits == k).sum(axis=1)
            logs += count[:, None] * (betaln(a + k, b + m - k) - betaln(a, b))
    posterior = np.exp(logs - logs.max(axis=1, keepdims=True)) * weights
    posterior /= posterior.sum(axis=1, keepdims=True)
    variance = ((1 + (windows[:, None] - 1) * rho) / windows[:, None]).mean(axis=0)
    mean = posterior @ variance
    deviation = np.sqrt(np.maximum(posterior @ variance**2 - mean**2, 0.0))
    known = (p > 0) & (p < 1)
    size = len(windows) / np.where(known, np.minimum(mean + deviation, 1.0), 1.0)
    return exact(p, np.minimum(size, sizes_of(shares, windows)), tail)


METHODS: dict[str, Limits] = {
    "ours": ours,
    "Clopper-Pearson, documents": by_documents,
    "Korn-Graubard": by_size,
    "Wilson, effective size": wilson,
    "Jeffreys, effective size": jeffreys,
    "Korn-Graubard, at least documents without a hit": floored,
    "beta-binomial size": beta_binomial,
}


@dataclass(frozen=True)
class Measured:
    """Of one method in one cell."""

    covered: float
    width: float
    below: float
    """Share of one-sided 95% upper limits below the rate."""
    above: float
    """Share of one-sided 95% lower limits above it."""


def measured(cell: Cell, methods: Mapping[str, Limits], count: int) -> dict[str, Measured]:
    """Return how methods do in the same replicates of a cell."""
    rng = np.random.default_rng([count, *map(ord, cell.name)])
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in methods}
    for at in range(0, count, 1000):
        shares, windows = cell.draw(min(1000, count - at), rng), cell.sizes
        for name, limits in methods.items():
            low, high = limits(shares, windows, 0.025)
            lower, upper = limits(shares, windows, 0.05)
            inside = (low <= cell.rate) & (cell.rate <= high)
            parts = inside.mean(), (high - low).mean(), (upper < cell.rate).mean(), (lower > cell.rate).mean()
            found[name].append(tuple(map(float, parts)))
    return {name: Measured(*map(float, np.mean(parts, axis=0))) for name, parts in found.items()}


def of_ours(cell: Cell, count: int) -> Measured:
    """Return how ours does."""
    return measured(cell, {"ours": ours}, count)["ours"]


def of_intervals(report: Report, documents: Sequence[int]) -> None:
    """Add coverage and width of every method, worst and on average over the grid."""
    cells = list(grid(documents, RATES))
    first = [measured(cell, METHODS, FIRST) for cell in cells]
    table = {name: [one[name] for one in first] for name in METHODS}
    for close, count in zip(CLOSE, AGAIN, strict=True):
        again = [i for i, one in enumerate(table["ours"]) if one.covered < COVERED + close]
        for i in again:
            table["ours"][i] = of_ours(cells[i], count)
        report.add(f"cells of {len(cells)} in which ours was measured {count:,} times", len(again), unit="")
    noise = 3.5 * np.sqrt(COVERED * (1 - COVERED) / FIRST)
    valid = [name for name, all_of in table.items() if min(one.covered for one in all_of) >= COVERED - noise]
    for kind in ("beta", "throughout"):
        chosen = [i for i, cell in enumerate(cells) if cell.kind == kind]
        for name, all_of in table.items():
            worst = min(chosen, key=lambda i: all_of[i].covered)
            width = np.mean([all_of[i].width / table["Clopper-Pearson, documents"][i].width for i in chosen])
            note = f"{cells[worst].name}; mean width {width:.3f} of Clopper-Pearson's on documents"
            report.add(f"{kind}, {name}: least coverage", all_of[worst].covered, unit="",
                       goal=COVERED if name == "ours" else None, note=note)  # fmt: skip
    for what in ("below", "above"):
        errors = [getattr(one, what) for one in table["ours"]]
        worst = int(np.argmax(errors))
        many = getattr(of_ours(cells[worst], AGAIN[1]), what)
        report.add(f"ours: one-sided limits {what} or above the rate at most", many, unit="", note=cells[worst].name)
    ratios = {
        name: float(np.mean([b.width / a.width for a, b in zip(table[name], table["ours"], strict=True)]))
        for name in valid
    }
    shortest = max(ratios, key=lambda name: ratios[name])
    report.add("mean width of ours in those of the shortest valid method", ratios[shortest], goal=1.15, at_most=True,
               note=f"{shortest}; covering everywhere: {', '.join(valid)}")  # fmt: skip


def of_clean(report: Report) -> None:
    """Add how often a model at the very limit is called clean, worst over the grid."""
    cells = list(grid(ASKED, (LIMIT,)))
    methods = {name: METHODS[name] for name in ("ours", "Korn-Graubard", "beta-binomial size")}
    first = [measured(cell, methods, FIRST) for cell in cells]
    table = {name: [one[name].below for one in first] for name in methods}
    for close, count in zip(CLOSE, AGAIN, strict=True):
        again = [i for i, wrong in enumerate(table["ours"]) if wrong > WRONG - close]
        for i in again:
            table["ours"][i] = of_ours(cells[i], count).below
    for name, wrong in table.items():
        worst = int(np.argmax(wrong))
        report.add(f"clean at the limit of 1%, {name}: most", wrong[worst], unit="",
                   goal=WRONG if name == "ours" else None, at_most=True,
                   note=f"{cells[worst].name}; {len(cells)} cells")  # fmt: skip


def of_need(report: Report) -> None:
    """Add the documents that *clean* below 1% needs, by the true rate: with windows counted, and without."""
    steps = [int(300 * 1.05**i) for i in range(48)]
    for windows, correlation, rate in itertools.product((5, 25), (0.0, 0.3), (0.0, 0.001, 0.002, 0.005)):

        @cache
        def clean(n: int, limits: Limits, m: int = windows, rho: float = correlation, p: float = rate) -> float:
            cell = Cell("beta", n, m, rho if p else 0.0, p)
            upper = limits(cell.draw(400, np.random.default_rng(n)), cell.sizes, 0.05)[1]
            return float((upper < LIMIT).mean())

        needed = [next((n for n in steps if clean(n, limits) >= POWER), 0) for limits in (by_documents, ours)]
        if not rate:
            needed = [documents_needed(LIMIT) or 0] * 2
        what = f"documents to be clean, true rate {rate:g}, {windows} windows, correlation {correlation:g}"
        report.add(what, needed[1], unit="documents", note=f"{needed[0]} by Clopper-Pearson on documents")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 documents; keeps nothing")
    given = parser.parse_args()
    report = Report("interval_coverage")
    of_intervals(report, (50,) if given.quick else DOCUMENTS)
    of_clean(report)
    of_need(report)
    if not given.quick:
        report.finish()


if __name__ == "__main__":
    main()
