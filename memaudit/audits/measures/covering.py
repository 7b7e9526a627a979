"""How much of a document its extractable windows cover, at stride 1, without asking for every window.

A window is ``prefix`` tokens and the ``suffix`` tokens behind them, here named by the place where its suffix
starts. It is extractable if greedy decoding of the prefix gives the suffix; the coverage of a document is the
union of the suffixes of its extractable windows (Cooper et al. 2025, there for whole books).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.needs import check_needs
from memaudit.metrics.surface import NOT_ASKED, covered_by_runs, hits_within, runs_of
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, TokenIds, Window

BoolArray = NDArray[np.bool_]
Int32Array = NDArray[np.int32]
Sweep = Generator[int, int, None]
"""Yields the suffix starts of windows to ask for; is sent how many tokens matched."""

LIKELY = 0.96
"""Share of a window's tokens that must be greedy hits in the tiles around it before the window itself is asked
for (`benchmarks/surface.py` measures what lower and higher ones find and cost)."""
PIECE = 2
"""Suffix lengths searched by one sweep: many short sweeps make batches, each may repeat a window at its edge."""
BATCH = 1024
"""Windows asked for together."""
FEW = 64
"""Documents with no more windows than this are asked for all of them."""
CONTROL = 200
"""One in so many windows that were passed over is asked for after all."""
STRETCH = 10_000
"""Windows of a document that are searched together: a longer one is searched stretch by stretch, each with the tokens
that its windows reach beyond it, so that memory does not grow with the document."""
TOGETHER = 160_000
"""Tokens of stretches that are searched together, so that batches are full."""


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """The coverage of one document."""

    tokens: BoolArray
    """Shape [tokens]: which ones an extractable window covers. Every one was verified with its true prefix."""
    coverable: int
    """Tokens that stand in the suffix of any window: all but the first ``prefix``; 0 for a document without."""
    windows: int
    """Windows that the document has at stride 1."""
    asked: int
    """Windows that the model was asked for; of an n-gram model, those whose tokens say it for all others."""
    control: int
    """Windows drawn from those that were passed over though a token in them is not covered."""
    control_hits: int
    """How many of these were extractable."""

    @property
    def share(self) -> float | None:
        """Covered tokens over all tokens of the document; None where it has no whole window."""
        return int(self.tokens.sum()) / len(self.tokens) if self.coverable else None


@dataclass(slots=True, eq=False)
class _Search:
    """What is known of one document so far."""

    ids: TokenIds
    prefix: int
    suffix: int
    unknown: int | None
    matched: dict[int, int] = field(default_factory=dict)
    """Suffix start -> tokens matched, of every window asked for."""
    control: list[int] = field(default_factory=list)
    covered: BoolArray = field(init=False)
    ranks: Int32Array = field(init=False)
    """Of every token, from the tile that holds it."""

    def __post_init__(self) -> None:
        self.covered = np.zeros(len(self.ids), np.bool_)
        self.ranks = np.full(len(self.ids), NOT_ASKED, np.int32)

    @property
    def last(self) -> int:
        """The last suffix start."""
        return len(self.ids) - self.suffix

    def window(self, start: int) -> Window:
        """Return the window whose suffix starts at ``start``."""
        return Window(self.ids[start - self.prefix : start], self.ids[start : start + self.suffix])

    def tiles(self) -> list[int]:
        """Return suffix starts whose suffixes hold every coverable token."""
        starts = list(range(self.prefix, self.last + 1, self.suffix))
        return starts if not starts or starts[-1] == self.last else [*starts, self.last]

    def read(self, start: int, ranks: Int32Array) -> None:
        """Note the ranks of a window; an unknown token is never given back, whatever its rank."""
        ranks = np.where(self.ids[start : start + self.suffix] == self.unknown, NOT_ASKED, ranks)
        self.ranks[start : start + self.suffix] = ranks
        self.note(start, matched_tokens(ranks))

    def note(self, start: int, matched: int) -> None:
        """Note how many tokens of a window matched."""
        unknown = np.flatnonzero(self.ids[start : start + self.suffix] == self.unknown)
        self.matched[start] = matched = min([matched, *unknown.tolist()])
        if matched == self.suffix:
            self.covered[start : start + self.suffix] = True

    def sweeps(self, likely: float) -> list[Sweep]:
        """Return searches that together go through all windows worth asking for."""
        worth = hits_within(self.ranks, self.suffix) >= likely * self.suffix
        worth[: self.prefix] = False
        worth[list(self.matched)] = True  # those cost nothing
        places = np.flatnonzero(worth)
        step = PIECE * self.suffix
        return [self._sweep(places, first, first + step) for first in range(self.prefix, self.last + 1, step)]

    def _sweep(self, places: NDArray[np.intp], first: int, stop: int) -> Sweep:
        """Ask for the windows of ``places`` in [first, stop) that could cover a token that nothing covers yet.

        A window that differs from the text at a token is taken to stand for its neighbours: those that hold
        the token too are passed over. That is not proven, for their prefixes differ by a few tokens.
        """
        places = places[np.searchsorted(places, first) : np.searchsorted(places, stop)]
        at = 0
        while at < len(places):
            gap = self._next_gap(int(places[at]))
            if gap >= places[at] + self.suffix:  # covered as a whole
                at = int(np.searchsorted(places, gap - self.suffix + 1))
                continue
            # The window that reaches farthest beyond the gap, and if it differs, the one that ends there.
            place = int(np.searchsorted(places, gap, side="right")) - 1
            beyond = 0
            while place >= at:
                start = int(places[place])
                difference = start + (yield start)
                if difference == start + self.suffix:
                    break
                beyond = beyond or difference + 1
                place = int(np.searchsorted(places, difference - self.suffix, side="right")) - 1
            at = int(np.searchsorted(places, max(beyond, int(places[at]) + 1)))

    def edges(self) -> list[Sweep]:
        """Return searches for the true ends of all stretches that are covered so far."""
        failed = np.array(sorted(s for s, matched in self.matched.items() if matched < self.suffix), np.int64)
        found = []
        for first, stop in runs_of(self.covered):
            before, after = failed[failed < first][-1:], failed[failed > stop - self.suffix][:1]
            low = max(self.prefix - 1, first - self.suffix, *before.tolist())
            high = min(self.last + 1, stop, *after.tolist())
            found += [self._bisect(first, low), self._bisect(stop - self.suffix, high)]
        return found

    def _bisect(self, good: int, bad: int) -> Sweep:
        """Ask for windows between one that is extractable and one that is taken not to be."""
        while abs(good - bad) > 1:
            middle = (good + bad) // 2
            matched = yield middle
            good, bad = (middle, bad) if matched == self.suffix else (good, middle)

    def passed_over(self) -> list[int]:
        """Return the windows that were not asked for and could cover a token that nothing covers."""
        inside = hits_within(np.where(self.covered, 0, 1).astype(np.int32), self.suffix) == self.suffix
        starts = range(self.prefix, self.last + 1)
        return [start for start in starts if not inside[start] and start not in self.matched]

    def draw_control(self) -> list[int]:
        """Draw and keep one in `CONTROL` of the windows passed over, at least one; the same at every call."""
        open_ones = self.passed_over()
        count = -(-len(open_ones) // CONTROL)
        self.control = sorted(np.random.default_rng(0).permutation(open_ones)[:count].tolist())
        return self.control

    @property
    def control_hits(self) -> int:
        """Control windows that were extractable."""
        return sum(self.matched[start] == self.suffix for start in self.control)

    def _next_gap(self, start: int) -> int:
        """Return the first token from ``start`` on that nothing covers."""
        gaps = self.covered[start:]
        place = int(np.argmin(gaps)) if len(gaps) else 0
        return start + (place if not len(gaps) or not gaps[place] else len(gaps))


def cover_documents(
    model: LanguageModel,
    texts: Sequence[TokenIds],
    prefix: int,
    suffix: int,
    *,
    exact: bool = False,
    likely: float = LIKELY,
) -> list[Covered]:
    """Return what extractable windows cover of every document, from its first token to its last.

    By default, for documents of more than `FEW` windows: (1) Windows that lie suffix to suffix are scored; they are
    verdicts in themselves, and say of every token whether it is a greedy hit with at least ``prefix`` tokens before
    it. (2) Windows with a share of at least ``likely`` such hits are verified with their own prefixes, as far as they
    could cover a token that no verified window covers, and passed over where a neighbour differed from the text within
    them; the ends of what is covered are found by bisection. So no token is counted that was not verified, and some
    may be missed. (3) One in `CONTROL` of the windows passed over is asked for, and where these cover half a suffix
    of new tokens, all windows are. For a model that looks back no farther than ``prefix`` tokens (an n-gram model)
    the first step alone is exact.

    Args:
        model: A next-token model.
        texts: Token ids, one array per document.
        prefix: Context of a window in tokens.
        suffix: Tokens of a window that must be given back.
        exact: Ask for every window.
        likely: Threshold of step 2, in [0, 1].

    Raises:
        InputError: The model gives no next-token scores from left to right.
    """
    check_needs("coverage", frozenset((Capability.LEFT_TO_RIGHT,)), model)
    covers = [_nothing_yet(len(text), prefix, suffix) for text in texts]
    for group in _groups(_stretches(texts, prefix, suffix)):
        searches = [_Search(ids, prefix, suffix, model.tokenizer.unknown_id) for _, _, ids in group]
        _search(model, searches, exact=exact, likely=likely)
        for (number, first, _), search in zip(group, searches, strict=True):
            covers[number] = _with(covers[number], search, first)
    return covers


def _stretches(texts: Sequence[TokenIds], prefix: int, suffix: int) -> Iterator[tuple[int, int, TokenIds]]:
    """Yield (number of the text, place of the first token, tokens) of every stretch of at most `STRETCH` windows."""
    for number, text in enumerate(texts):
        last = len(text) - suffix
        for first in range(prefix, last + 1, STRETCH):
            stop = min(first + STRETCH, last + 1)
            yield number, first - prefix, np.asarray(text[first - prefix : stop - 1 + suffix], np.int32)


def _groups(stretches: Iterable[tuple[int, int, TokenIds]]) -> Iterator[list[tuple[int, int, TokenIds]]]:
    """Yield stretches in groups of at most `TOGETHER` tokens, or of one."""
    group: list[tuple[int, int, TokenIds]] = []
    for stretch in stretches:
        if group and sum(len(ids) for _, _, ids in group) + len(stretch[2]) > TOGETHER:
            yield group
            group = []
        group.append(stretch)
    if group:
        yield group


def _search(model: LanguageModel, searches: list[_Search], *, exact: bool, likely: float) -> None:
    """Find what is covered in each stretch, all of them together."""
    if not exact and model.reach is not None and all(model.reach <= search.prefix for search in searches):
        _read(model, [(search, start) for search in searches for start in search.tiles()])
        for search in searches:
            search.covered = covered_by_runs(search.ranks, search.suffix)
        return
    long = [search for search in searches if not exact and search.last - search.prefix >= FEW]
    _read(model, [(search, start) for search in long for start in search.tiles()])
    _run(model, [(search, sweep) for search in long for sweep in search.sweeps(likely)])
    _run(model, [(search, sweep) for search in long for sweep in search.edges()])
    known = {id(search): int(search.covered.sum()) for search in long}
    _ask(model, [(search, start) for search in long for start in search.draw_control()])
    # An edge was a few tokens off, or a passage was not seen at all: then nothing here can be relied on.
    whole = [s for s in searches if id(s) not in known or 2 * (s.covered.sum() - known[id(s)]) >= s.suffix]
    _ask(model, [(search, start) for search in whole for start in search.passed_over()])


def _read(model: LanguageModel, asked: Sequence[tuple[_Search, int]]) -> None:
    """Ask for windows by a pass over the whole of each: as quick as a screen where most of them match far."""
    for first in range(0, len(asked), BATCH):
        batch = asked[first : first + BATCH]
        scores = model.score([search.window(start) for search, start in batch])
        for (search, start), part in zip(batch, scores, strict=True):
            search.read(start, part.rank)


def _ask(model: LanguageModel, asked: Sequence[tuple[_Search, int]]) -> None:
    for first in range(0, len(asked), BATCH):
        batch = asked[first : first + BATCH]
        matched = model.screen([search.window(start) for search, start in batch])
        for (search, start), count in zip(batch, matched, strict=True):
            search.note(start, int(count))


def _run(model: LanguageModel, sweeps: list[tuple[_Search, Sweep]]) -> None:
    """Lead all sweeps on, one window each at a time, and ask for these windows together."""
    answers: list[int | None] = [None] * len(sweeps)
    while sweeps:
        wanted = []
        for (search, sweep), answer in zip(sweeps, answers, strict=True):
            start = _until_unknown(search, sweep, answer)
            if start is not None:
                wanted.append((search, sweep, start))
        _read(model, list({(id(s), start): (s, start) for s, _, start in wanted}.values()))
        sweeps = [(search, sweep) for search, sweep, _ in wanted]
        answers = [search.matched[start] for search, _, start in wanted]


def _until_unknown(search: _Search, sweep: Sweep, answer: int | None) -> int | None:
    """Lead one sweep on to the next window that nobody has asked for; None at its end."""
    try:
        start = next(sweep) if answer is None else sweep.send(answer)
        while start in search.matched:
            start = sweep.send(search.matched[start])
    except StopIteration:
        return None
    return start


def _nothing_yet(tokens: int, prefix: int, suffix: int) -> Covered:
    windows = max(0, tokens - suffix - prefix + 1)
    return Covered(np.zeros(tokens, np.bool_), tokens - prefix if windows else 0, windows, 0, 0, 0)


def _with(cover: Covered, search: _Search, first: int) -> Covered:
    """Return a coverage with that of a stretch, which begins at the token ``first``."""
    cover.tokens[first : first + len(search.ids)] |= search.covered
    asked, control = cover.asked + len(search.matched), cover.control + len(search.control)
    return replace(cover, asked=asked, control=control, control_hits=cover.control_hits + search.control_hits)
