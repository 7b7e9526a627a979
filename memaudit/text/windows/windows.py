"""Documents to windows: what is asked of the model, drawn alike from training and held-out text.

Windows are cut on the token ids of the whole document. Cutting the string instead and encoding the
pieces changes the tokens at the seam, and a model that knows a text by heart then appears not to.
Every choice depends on the seed and the document's id alone, never on the order of the files.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError, one_line
from memaudit.records import Document, Window
from memaudit.text.tokenize import Encoding, Tokenizer, unknown_parts
from memaudit.text.windows.overlap import OVERLAP_SPAN, Overlap, OverlapGuard

BATCH = 256
"""Documents encoded at a time."""
MAX_WINDOWS_PER_DOCUMENT = 50
RESERVE = 4
"""Times the limit of held-out documents kept where those that overlap are to be replaced."""
NOT_DRAWN = "not drawn: beyond --limit"
NO_COUNTERPART = "not drawn: no counterpart of its domain and length on the other side"
UNKNOWN = "holds text that the tokenizer does not know"
NAMED_PARTS = 3
"""Parts of such text that a message names, the most frequent first."""
LONGEST_PART = 12
"""Characters of such a part that are shown."""
OVERLAPPING = "shares a span with the training text"
MIN_MATCHED = 20
"""Fewer documents with a counterpart than this, or fewer than half, and the sides count as not matched."""

Stratum = tuple[str | None, int]
"""(domain, octave of the length in windows): what a member and its held-out counterparts share."""


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How windows are drawn; lengths in tokens, ``limit`` in windows a side."""

    prefix: int = 50
    suffix: int = 50
    limit: int = 1000
    seed: int = 0
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        for name, least in (("prefix", 0), ("suffix", 1), ("limit", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, not {getattr(self, name)}")

    @property
    def length(self) -> int:
        """Tokens of prefix and suffix together."""
        return self.prefix + self.suffix


@dataclass(frozen=True, slots=True)
class SetAside:
    """Documents that gave no window, counted under the reason."""

    side: str
    reason: str
    count: int


@dataclass(slots=True)
class WindowSet:
    """The windows of an audit and the account of every document that gave none."""

    windows: list[Window]
    """Members first, then held-out; within a side in the order of a seeded shuffle."""
    set_aside: list[SetAside]
    overlaps: list[Overlap]
    matched: bool
    """Whether both sides were drawn with the same shares of every domain and length."""
    matching: str
    """How the sides were matched, in a sentence."""
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    """Ids of the documents of each side, ``train`` and ``heldout``, that were set aside for want of a counterpart."""
    dates: dict[str, list[str]] = field(default_factory=dict)
    """What the documents that were drawn of each side, ``train`` and ``heldout``, say of their dates, where they do."""


class HasDocument(Protocol):
    """What gives the windows of a document."""

    @property
    def document(self) -> Document:
        """The document."""


@dataclass(slots=True)
class Candidate:
    """A document that may give windows."""

    document: Document
    encoding: Encoding


Drawable = TypeVar("Drawable", bound=HasDocument)
Cut = Callable[[Drawable, int, bool], list[Window]]
"""(what was drawn, most windows, whether it is training text) -> its windows."""


@dataclass(slots=True)
class Side(Generic[Drawable]):
    """What one pass over a side keeps: counts per stratum and the ``limit`` lowest draws of each."""

    name: str
    eligible: Counter[Stratum] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    kept: dict[Stratum, list[tuple[int, str, Drawable]]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    """What the vocabulary lacks: in how many of the documents that give no window for it."""
    unmatched: list[str] = field(default_factory=list)
    """Ids of the documents that could have been drawn and have no counterpart, once others were drawn."""

    def keep(self, stratum: Stratum, draw: int, candidate: Drawable, limit: int) -> None:
        """Count a document, and keep it if its draw is among the ``limit`` lowest of its stratum."""
        self.eligible[stratum] += 1
        heap = self.kept.setdefault(stratum, [])
        entry = (-draw, candidate.document.source, candidate)
        if len(heap) < limit:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)

    def lowest(self, stratum: Stratum, count: int) -> list[Drawable]:
        """Return the ``count`` documents of a stratum that the seed draws first."""
        entries = sorted(self.kept.get(stratum, []), key=lambda entry: (-entry[0], entry[1]))
        return [candidate for _, _, candidate in entries[:count]]

    def draw(self, quotas: Mapping[Stratum, int], limit: int) -> list[Drawable]:
        """Return the documents drawn of every stratum and count those that were not, by what kept them out."""
        drawn = [candidate for stratum, count in quotas.items() for candidate in self.lowest(stratum, count)]
        wanted = min(limit, self.eligible.total())
        self.reasons[NOT_DRAWN] += self.eligible.total() - wanted
        self.reasons[NO_COUNTERPART] += wanted - len(drawn)
        known = {candidate.document.id for candidate in drawn}
        others = sorted((-draw, source, each.document.id) for heap in self.kept.values() for draw, source, each in heap)
        self.unmatched = [name for _, _, name in others if name not in known][: wanted - len(drawn)]
        return drawn

    def account(self) -> list[tuple[str, int]]:
        """Return (reason, documents) of all that gave no window; of unknown text its commonest parts are named."""
        named = self.lacking()
        return [
            (f"{reason}: {named}" if reason == UNKNOWN and named else reason, count)
            for reason, count in sorted(self.reasons.items())
            if count
        ]

    def lacking(self) -> str:
        """Return what the vocabulary lacks, escaped: ``'\\r' (in 100 documents)``."""
        shown = [
            f"{one_line(repr(part), LONGEST_PART + 2)} (in {count:,} {'document' if count == 1 else 'documents'})"
            for part, count in self.unknown.most_common(NAMED_PARTS)
        ]
        more = len(self.unknown) - len(shown)
        return ", ".join(shown) + (f" and {more:,} more" if more else "")

    def without_domains(self) -> Side[Drawable]:
        """Return the side with strata of length alone."""
        merged: Side[Drawable] = Side(self.name, reasons=self.reasons, unknown=self.unknown)
        for (domain, octave), entries in self.kept.items():
            merged.eligible[None, octave] += self.eligible[domain, octave]
            merged.kept.setdefault((None, octave), []).extend(entries)
        return merged

    def remove(self, documents: Container[str], reason: str) -> None:
        """Set documents aside that turned out to be of no use."""
        for stratum, entries in self.kept.items():
            stay = [entry for entry in entries if entry[2].document.id not in documents]
            if len(stay) < len(entries):  # what was not kept cannot take their place
                self.eligible[stratum] = len(stay)
            self.reasons[reason] += len(entries) - len(stay)
            self.kept[stratum] = stay


def draw_windows(
    train: Iterable[Document], heldout: Iterable[Document], tokenizer: Tokenizer, options: WindowOptions
) -> WindowSet:
    """Draw windows from both sides with the same shares of every domain and length.

    Each side is read once, in batches; of each stratum only as many documents are kept as could be drawn.

    Raises:
        InputError: A side has no document long enough, or held-out text overlaps with training text
            (unless ``allow_overlap``: then those documents are set aside and listed).
    """
    unknown = tokenizer.unknown_id
    heldout_side = _collect(_encoded(heldout, tokenizer), "heldout", options, unknown)
    candidates = [candidate.document for heap in heldout_side.kept.values() for _, _, candidate in heap]
    guard = OverlapGuard(candidates, tokenizer, min(OVERLAP_SPAN, options.length))
    train_side = _collect(_guarded(train, tokenizer, guard), "train", options, unknown)
    overlaps = sorted(guard.overlaps.values(), key=lambda o: (o.heldout, o.train))
    if overlaps and not options.allow_overlap:
        raise overlap_error(overlaps, f"{len(candidates)} held-out documents", options.length)
    heldout_side.remove(guard.overlaps, OVERLAPPING)
    for side in (train_side, heldout_side):
        asked = f"a window of {options.prefix}+{options.suffix} tokens"
        require_documents(side, asked, "use a shorter --prefix and --suffix, or longer documents")

    def cut(candidate: Candidate, most: int, member: bool) -> list[Window]:
        return cut_document(candidate.document, candidate.encoding, options, most, member, unknown)

    return match_sides(train_side, heldout_side, overlaps, options, cut)


def match_sides(
    train: Side[Drawable], heldout: Side[Drawable], overlaps: list[Overlap], options: WindowOptions, cut: Cut[Drawable]
) -> WindowSet:
    """Draw the same shares of every stratum from both sides and cut the windows of what was drawn."""
    train, heldout, matching = _comparable(train, heldout)
    common = {s: min(n, heldout.eligible[s]) for s, n in train.eligible.items() if heldout.eligible[s]}
    fewest = min(train.eligible.total(), heldout.eligible.total())
    matched = sum(common.values()) >= max(min(MIN_MATCHED, fewest), fewest / 2)
    if not matched:
        matching = (
            f"not matched: {sum(common.values())} of {fewest} documents have a counterpart"
            " of the same domain and length on the other side"
        )
    drawn = {
        side.name: side.draw(_quotas(common if matched else side.eligible, side.eligible, options.limit), options.limit)
        for side in (train, heldout)
    }
    per_document = options.limit // max(len(candidates) for candidates in drawn.values())
    per_document = min(MAX_WINDOWS_PER_DOCUMENT, max(1, per_document))
    windows = [
        window
        for side in (train, heldout)
        for candidate in sorted(drawn[side.name], key=lambda c: draw_number(options.seed, "order", c.document.id))
        for window in cut(candidate, per_document, side.name == "train")
    ]
    set_aside = [SetAside(side.name, *entry) for side in (train, heldout) for entry in side.account()]
    unmatched = {side.name: side.unmatched for side in (train, heldout)}
    dates = {name: [c.document.date for c in some if c.document.date] for name, some in drawn.items()}
    return WindowSet(windows, set_aside, overlaps, matched, matching, unmatched, dates)


def _comparable(train: Side[Drawable], heldout: Side[Drawable]) -> tuple[Side[Drawable], Side[Drawable], str]:
    """Leave domains out of the strata where only one side names them, and say how the sides are matched."""
    named = [any(domain is not None for domain, _ in side.eligible) for side in (train, heldout)]
    if all(named):
        return train, heldout, "matched by domain and length"
    if not any(named):
        return train, heldout, "matched by length"
    sides = train.without_domains(), heldout.without_domains()
    return *sides, "matched by length only: one side names no domains"


def _quotas(shares: Mapping[Stratum, int], available: Mapping[Stratum, int], limit: int) -> dict[Stratum, int]:
    """Return how many documents to draw of each stratum: the most that keeps the shares, within the limit.

    Running totals are rounded, not the strata: many small strata then still add up to the limit.
    """
    scale = min([limit / sum(shares.values()), *(available[s] / count for s, count in shares.items() if count)])
    totals = [0, *(int(scale * total + 1e-9) for total in itertools.accumulate(shares.values()))]
    return {stratum: b - a for stratum, (a, b) in zip(shares, itertools.pairwise(totals), strict=True)}


def cut_document(
    document: Document, encoding: Encoding, options: WindowOptions, most: int, member: bool, unknown: int | None = None
) -> list[Window]:
    """Tile a document with windows from its start and draw at most ``most`` of the tiles, in text order.

    The first tile begins where the document does: there the model has the same context as in training. Tiles
    that hold an unknown token are not asked: the model could not give back the text behind it.
    """
    tiles = _readable_tiles(encoding, options.length, unknown)
    generator = np.random.default_rng(draw_number(options.seed, "place", document.id))
    chosen = np.sort(generator.permutation(tiles)[:most])
    return [_window(document, encoding, int(tile) * options.length, options, member) for tile in chosen]


def _readable_tiles(encoding: Encoding, length: int, unknown: int | None) -> NDArray[np.intp]:
    count = len(encoding) // length
    if unknown is None:
        return np.arange(count)
    return np.flatnonzero(~(encoding.ids[: count * length].reshape(count, length) == unknown).any(axis=1))


def _window(document: Document, encoding: Encoding, start: int, options: WindowOptions, member: bool) -> Window:
    middle, end = start + options.prefix, start + options.length
    first, last = int(encoding.starts[start]), int(encoding.ends[end - 1])
    # The seam in characters: where the suffix's first token begins.
    seam = int(encoding.starts[middle])
    return Window(
        prefix=encoding.ids[start:middle],
        suffix=encoding.ids[middle:end],
        document=document.id,
        source=document.source,
        start=start,
        member=member,
        domain=document.domain,
        copies=document.copies,
        prefix_text=document.text[first:seam],
        suffix_text=document.text[seam:last],
    )


def _encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[Candidate]:
    stream = iter(documents)
    while batch := list(itertools.islice(stream, BATCH)):
        encodings = tokenizer.encode_batch([document.text for document in batch])
        yield from map(Candidate, batch, encodings)


def _guarded(documents: Iterable[Document], tokenizer: Tokenizer, guard: OverlapGuard) -> Iterator[Candidate]:
    stream = _encoded(documents, tokenizer)
    while batch := list(itertools.islice(stream, BATCH)):
        guard.check([c.document for c in batch], [c.encoding.ids for c in batch])
        yield from batch


def _collect(
    candidates: Iterable[Candidate], name: str, options: WindowOptions, unknown: int | None
) -> Side[Candidate]:
    """Count the eligible documents of each stratum and keep those with the lowest draws (a bottom-k sample)."""
    side: Side[Candidate] = Side(name)
    seen: set[bytes] = set()
    for candidate in candidates:
        document, windows = candidate.document, len(candidate.encoding) // options.length
        digest = hashlib.blake2b(document.text.encode("utf-8"), digest_size=16).digest()
        if not windows:
            side.reasons[f"shorter than {options.length} tokens"] += 1
        elif digest in seen:  # the same text twice is no second observation
            side.reasons["a copy of another document"] += 1
        elif not len(_readable_tiles(candidate.encoding, options.length, unknown)):
            side.reasons[UNKNOWN] += 1
            side.unknown.update(unknown_parts(document.text, candidate.encoding, unknown))
        else:
            seen.add(digest)
            stratum = (document.domain, windows.bit_length() - 1)
            most = options.limit * (RESERVE if options.allow_overlap and name == "heldout" else 1)
            side.keep(stratum, draw_number(options.seed, "draw", document.id), candidate, most)
    return side


def draw_number(seed: int, purpose: str, document: str) -> int:
    """Return the number that a seed draws for a document: small ones are taken first."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{document}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def require_documents(side: Side[Drawable], asked: str, hint: str) -> None:
    """Raise InputError if a side gives no window: what was ``asked`` in words, with what may help."""
    if side.eligible.total():
        return
    account = side.account()
    counted = ", ".join(f"{count} {reason}" for reason, count in account) or "no documents"
    hints = []
    if side.reasons.total() > side.reasons[UNKNOWN] or not account:
        hints.append(hint)
    if side.reasons[UNKNOWN]:
        hints.append("the model's vocabulary lacks these characters: take them out of the text")
    raise InputError(f"no {side.name} document gives {asked}: {counted}", "; ".join(hints))


def overlap_error(overlaps: Sequence[Overlap], asked: str, length: int) -> InputError:
    """Return the refusal of held-out text, ``asked`` in words (``60 held-out documents``), in windows of ``length``."""
    first, span = overlaps[0], min(OVERLAP_SPAN, length)
    return InputError(
        f"{len(overlaps)} of {asked} share a span of {span} tokens with"
        f" the training text; first: {first.heldout} with {first.train} ({first.view})",
        "remove them, or --allow-overlap sets them aside and lists them",
    )
