"""Type-I error and power of the verdict about whole works, with the scores of an n-gram model.

The model has read quotations that everybody knows, and one novel. Works that it has not read hold such quotations, in
stretches that are dense with them and stretches that are not, from none to many pages long, or ever more and ever less
often; every control work is another of the same source. Every window of 50 + 50 tokens at stride 10 is scored, and what
follows is the verdict of an audit. Power: works that are learnt as a whole, in half, in 3 of 12 chapters, in 5% in
many places.

python benchmarks/type_one_works.py [--quick]
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from common import Report
from numpy.typing import NDArray

from memaudit.audits.work.blocks import WorkHits, against_controls, differ
from memaudit.audits.work.judgement import Judgement, judge_hits
from memaudit.findings import Policy
from memaudit.models.ngram import NgramModel
from memaudit.records import TokenIds, Window
from memaudit.stats import clopper_pearson
from memaudit.text.tokenize import train_tokenizer

PREFIX, SUFFIX, STRIDE, THRESHOLD, ORDER = 50, 50, 10, 0.5, 6
WORDS, QUOTATIONS, NOVEL = 400, 300, 100_000
DENSE = 0.25
"""Share of a work that is dense with quotations."""
STRETCHES = {"slow": -1, "8000": 8000, "4000": 4000, "2000": 2000, "500": 500, "none": 0}
"""Tokens of a stretch that is dense, mean; none: all is alike; slow: as a wave."""
SLOW = 50_000
"""Tokens in which the rate of quotations rises and falls once."""
RATES = {"many": 0.004, "few": 0.0006}
"""Quotations that begin at a token of what is dense."""
DESIGNS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (5_000, (100_000,)),
    (20_000, (20_000,)),
    (20_000, (20_000,) * 3),
    (20_000, (5_000, 20_000, 40_000)),
    (40_000, (40_000,)),
    (100_000, (20_000,)),
    (100_000, (100_000,)),
)
"""Tokens of the work and of each control work."""
LONGEST = 1500
"""Tokens of the longest quotation."""
SURPRISE = -1e3
"""Log p of a token that no window may hold which reaches the threshold."""
COMPARED = 400_000
"""Tokens of the text that is scored whole, to compare."""
HIGHEST = 0.064
Hits = NDArray[np.bool_]


def reaching(log_p: NDArray[np.float64]) -> Hits:
    """Return which windows reach the threshold, by the log p of every token of a work."""
    sums = np.concatenate([[0.0], np.cumsum(log_p[PREFIX:])])
    hits: Hits = (sums[SUFFIX:] - sums[:-SUFFIX])[::STRIDE] >= math.log(THRESHOLD)
    return hits


@dataclass(frozen=True)
class Source:
    """Texts that the model has read, and the model."""

    model: NgramModel
    ids: TokenIds
    chances: NDArray[np.float64]
    quotations: list[TokenIds]
    novel: TokenIds

    def unread(self, tokens: int, rng: np.random.Generator) -> TokenIds:
        """Return text that the model has not read."""
        return self.ids[rng.choice(len(self.ids), tokens, p=self.chances)]

    def hits(self, text: TokenIds) -> Hits:
        """Return which windows reach the threshold: one pass, for no context is longer than the prefix."""
        log_p = self.model.score([Window(text[:PREFIX], text[PREFIX:])]).log_prob
        return reaching(np.concatenate([np.full(PREFIX, SURPRISE), np.maximum(log_p, SURPRISE)]))

    @cached_property
    def profiles(self) -> list[NDArray[np.float64]]:
        """Log p of every token of every quotation in other text."""
        before = self.unread(PREFIX, np.random.default_rng(0))
        scores = self.model.score([Window(before, quotation) for quotation in self.quotations])
        found = [np.maximum(own.log_prob, SURPRISE) for own in scores]
        for own in found:
            own[0] = SURPRISE
        return found


def source(rng: np.random.Generator) -> Source:
    """Return quotations of 80 to 1,500 tokens, a novel, and a model that has read them."""
    names = [f"w{i}" for i in range(WORDS)]
    tokenizer = train_tokenizer("word", [" ".join(names)])
    ids = np.array([encoding.ids[0] for encoding in tokenizer.encode_batch(names)], np.int32)
    chances = 1 / np.arange(1, WORDS + 1)
    chances /= chances.sum()
    drawn = [
        ids[rng.choice(WORDS, n, p=chances)] for n in np.clip(rng.exponential(250, QUOTATIONS), 80, LONGEST).astype(int)
    ]
    novel = ids[rng.choice(WORDS, NOVEL, p=chances)]
    model = NgramModel.train([*drawn, novel], tokenizer, order=ORDER, smoothing="mle")
    return Source(model, ids, chances, drawn, novel)


def dense(stretch: int, tokens: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return by token how dense a text is with quotations, in [0, 1]; it begins anywhere in a stretch or a wave."""
    if stretch == 0:
        return np.full(tokens, DENSE)
    if stretch < 0:
        wave: NDArray[np.float64] = 1 + np.sin((np.arange(tokens) + rng.integers(SLOW)) * 2 * math.pi / SLOW)
        return wave * DENSE
    first = int(rng.integers(20 * stretch))
    count = (tokens + first) // stretch + 100
    lengths = np.stack([rng.exponential(stretch, count), rng.exponential(stretch * (1 - DENSE) / DENSE, count)])
    bounds = np.cumsum(np.maximum(lengths.T.ravel(), 1).astype(int))
    inside: NDArray[np.float64] = np.searchsorted(bounds, np.arange(first, first + tokens), side="right") % 2 == 0
    return inside.astype(np.float64)


def places(read: Source, stretch: int, rate: float, tokens: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return where quotations begin in a text, and which; the first may have begun before it."""
    where = dense(stretch, LONGEST + tokens, rng)
    begun = np.flatnonzero(rng.random(len(where)) < rate * where) - LONGEST
    return [(int(place), int(rng.integers(len(read.quotations)))) for place in begun]


def windows_of(read: Source, placed: Sequence[tuple[int, int]], tokens: int) -> Hits:
    """Return the windows of a work that the model has not read, with quotations, each as probable as by itself.

    No window reaches the threshold that holds the first token of a quotation, what follows a seam, or other text; see
    `agreement`.
    """
    log_p = np.full(tokens, SURPRISE)
    for place, which in placed:
        known = read.profiles[which][max(0, -place) : tokens - place]
        start = max(0, place)
        log_p[start : start + len(known)] = known
        log_p[start + len(known) : start + len(known) + 1] = SURPRISE
    return reaching(log_p)


def text_of(read: Source, placed: Sequence[tuple[int, int]], tokens: int, rng: np.random.Generator) -> TokenIds:
    """Return such a work as text."""
    text = read.unread(tokens, rng)
    for place, which in placed:
        known = read.quotations[which][max(0, -place) : tokens - place]
        text[max(0, place) : max(0, place) + len(known)] = known
    return text


def null_work(read: Source, stretch: int, rate: float, tokens: int, rng: np.random.Generator) -> Hits:
    """Return the windows of a work of its own."""
    return windows_of(read, places(read, stretch, rate, tokens, rng), tokens)


def judged(work: Hits, controls: Sequence[Hits], seed: int) -> Judgement:
    """Return the verdict about a work."""
    works = [WorkHits(f"control {i}", True, hits, STRIDE) for i, hits in enumerate(controls)]
    return judge_hits([WorkHits("work", False, work, STRIDE), *works], Policy(), seed=seed)


def p_value(work: Hits, controls: Sequence[Hits], seed: int) -> float | None:
    """Return p of a work as `judge_hits` has it, without what does not enter it."""
    others = [WorkHits(f"control {i}", True, hits, STRIDE) for i, hits in enumerate(controls)]
    asked = [WorkHits("work", False, work, STRIDE)]
    return against_controls(asked, others, Policy(), seed, apart=differ(others, seed)).p


def told(rejected: int, of: int) -> str:
    """Return the interval of a share."""
    limits = clopper_pearson(rejected, of)
    assert limits is not None
    return f"95% interval {limits.low:.3f} to {limits.high:.3f}, {of} works"


def null_works(read: Source, what: str, works: int) -> list[tuple[str, int, str]]:
    """Return how many null works of each design are found, with a note; ``what`` names dependence and rate.

    Every work and every control work is drawn by itself.
    """
    dependence, often = what.split(", ")
    stretch, rate, rng = STRETCHES[dependence], RATES[often], np.random.default_rng([20_270, *map(ord, what)])
    rows = []
    for length, others in DESIGNS:
        rejected = found = untested = 0
        share = 0.0
        for seed in range(works):
            work, *controls = (null_work(read, stretch, rate, n, rng) for n in (length, *others))
            p = p_value(work, controls, seed)
            assert seed or p == judged(work, controls, seed).test["p_value"]
            rejected, untested = rejected + (p is not None and p <= 0.05), untested + (p is None)
            found += p is not None and p <= 0.05 and work.mean() > Policy().max_rate
            share += work.mean() / works
        sides = f"{length // 1000}k against {' + '.join(f'{n // 1000}k' for n in others)}"
        note = f"{told(rejected, works)}; {found} found, {untested} could not be tested; {share:.1%} are hits"
        rows.append((f"stretches: {dependence}, {often} quotations: {sides}", rejected, note))
    return rows


def agreement(read: Source) -> tuple[int, int]:
    """Return how many windows of a text are as they are when all of it is scored, and how many there are."""
    rng = np.random.default_rng(20_271)
    placed = places(read, STRETCHES["2000"], RATES["many"], COMPARED, rng)
    scored = read.hits(text_of(read, placed, COMPARED, rng))
    return int((scored == windows_of(read, placed, COMPARED)).sum()), len(scored)


def learnt(read: Source, parts: Sequence[tuple[float, float]], tokens: int, rng: np.random.Generator) -> Hits:
    """Return the windows of a work of which parts, from and to, stand in the novel that the model has read."""
    text = read.unread(tokens, rng)
    first = int(rng.integers(0, NOVEL - tokens + 1))
    for start, stop in parts:
        here = slice(int(start * tokens), int(stop * tokens))
        text[here] = read.novel[first : first + tokens][here]
    return read.hits(text)


@dataclass(frozen=True)
class Case:
    """A work of which the model knows parts, beside so many control works of the same length."""

    name: str
    tokens: int
    parts: list[tuple[float, float]]
    controls: int
    goal: float | None
    """Least share that is found; 0: no more."""


def cases() -> list[Case]:
    """Return what power is measured of."""
    three, row = [(i / 12, (i + 1) / 12) for i in (0, 5, 10)], [(2 / 12, 5 / 12)]
    many = [(place / 20 + 0.01, place / 20 + 0.0145) for place in range(20)]
    return [
        Case("all of it", 40_000, [(0, 1)], 1, 0.8),
        *(Case("half of it", 40_000, [(0, 0.5)], n, None) for n in (1, 2)),
        *(Case("3 of 12 chapters, apart", 40_000, three, n, goal) for n, goal in ((1, None), (2, 0.8))),
        Case("3 of 12 chapters, apart", 100_000, three, 1, 0.8),
        *(Case("3 of 12 chapters in a row", n, row, 2, None) for n in (40_000, 100_000)),
        Case("9% in 20 places, 4% of windows", 40_000, many, 1, 0.8),
        *(Case("none of it", n, [], 1, 0.0) for n in (40_000, 100_000)),
    ]


def known_works(read: Source, case: Case, rate: float, works: int) -> tuple[int, int]:
    """Return how many works of a case are found, and how many are clean."""
    rng = np.random.default_rng([20_269, case.tokens, case.controls, *map(ord, case.name)])
    verdicts = []
    for seed in range(works):
        work = learnt(read, case.parts, case.tokens, rng)
        controls = [null_work(read, 0, rate, case.tokens, rng) for _ in range(case.controls)]
        verdicts.append(judged(work, controls, seed).verdict)
    return verdicts.count("found"), verdicts.count("clean")


def power(report: Report, read: Source, works: int, pool: Executor) -> None:
    """Add how often works are found that the model knows in part, beside control works with few quotations or none."""
    for often, rate in {"no": 0.0, "few": 0.00005}.items():
        run = partial(known_works, read, rate=rate, works=works)
        for case, (found, clean) in zip(cases(), pool.map(run, cases()), strict=True):
            controls = "1 control work" if case.controls == 1 else f"{case.controls} control works"
            what = f"{case.name} of {case.tokens // 1000}k learnt, {controls} as long, {often} quotations"
            report.add(what, found / works, unit="found", goal=case.goal, at_most=case.goal == 0,
                       note=f"{told(found, works)}; {clean} clean")  # fmt: skip


def type_one(report: Report, read: Source, works: int, pool: Executor) -> None:
    """Add how often null works are found, by dependence, rate and lengths."""
    settings = [f"{dependence}, {often}" for dependence in STRETCHES for often in RATES]
    for rows in pool.map(partial(null_works, read, works=works), settings):
        for what, rejected, note in rows:
            report.add(what, rejected / works, unit="p <= .05", goal=HIGHEST, at_most=True, note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 works a setting; keeps nothing")
    given = parser.parse_args()
    report, read = Report("type_one_works"), source(np.random.default_rng(20_265))
    same, windows = agreement(read)
    report.add("windows that are as they are when the whole text is scored", same / windows, unit="of windows",
               goal=0.999, note=f"{same:,} of {windows:,}")  # fmt: skip
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        type_one(report, read, 20 if given.quick else 500, pool)
        power(report, read, 10 if given.quick else 50, pool)
    if not given.quick:
        report.finish()


if __name__ == "__main__":
    main()
