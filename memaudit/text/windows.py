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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from memaudit.errors import InputError
from memaudit.records import Document, Window
from memaudit.text.overlap import Overlap, OverlapGuard
from memaudit.text.tokenize import Encoding, Tokenizer

BATCH = 256
"""Documents encoded at a time."""
MOST_WINDOWS_PER_DOCUMENT = 50
FEWEST_MATCHED = 20
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
        for name, least in (("prefix", 0), ("suffix", 1), ("limit", 1)):
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


@dataclass(slots=True)
class _Candidate:
    document: Document
    encoding: Encoding


@dataclass(slots=True)
class _Side:
    """What one pass over a side keeps: counts per stratum and the ``limit`` lowest draws of each."""

    name: str
    eligible: Counter[Stratum] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    kept: dict[Stratum, list[tuple[int, str, _Candidate]]] = field(default_factory=dict)

    def drawn(self, stratum: Stratum, count: int) -> list[_Candidate]:
        """Return the ``count`` documents of a stratum that the seed draws first."""
        lowest = sorted(self.kept.get(stratum, []), key=lambda entry: (-entry[0], entry[1]))
        return [candidate for _, _, candidate in lowest[:count]]

    def remove(self, documents: Mapping[str, Overlap]) -> None:
        """Set documents aside that turned out to overlap with the training text."""
        for stratum, entries in self.kept.items():
            stay = [entry for entry in entries if entry[2].document.id not in documents]
            self.eligible[stratum] -= len(entries) - len(stay)
            self.reasons["shares a span with the training text"] += len(entries) - len(stay)
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
    heldout_side = _collect(_encoded(heldout, tokenizer), "heldout", options)
    candidates = [c.document for s in heldout_side.kept for c in heldout_side.drawn(s, options.limit)]
    guard = OverlapGuard(candidates, tokenizer, min(50, options.length))
    train_side = _collect(_guarded(train, tokenizer, guard), "train", options)
    overlaps = sorted(guard.overlaps.values(), key=lambda o: (o.heldout, o.train))
    if overlaps and not options.allow_overlap:
        raise _overlap_error(overlaps, len(candidates), options)
    heldout_side.remove(guard.overlaps)
    for side in (train_side, heldout_side):
        _require_documents(side, options)
    return _match(train_side, heldout_side, overlaps, options)


def _match(train: _Side, heldout: _Side, overlaps: list[Overlap], options: WindowOptions) -> WindowSet:
    train_counts, heldout_counts, matching = _comparable(train.eligible, heldout.eligible)
    common = {s: min(train_counts[s], heldout_counts[s]) for s in train_counts if heldout_counts[s]}
    fewest = min(sum(train_counts.values()), sum(heldout_counts.values()))
    matched = sum(common.values()) >= max(min(FEWEST_MATCHED, fewest), fewest / 2)
    if not matched:
        matching = (
            f"not matched: {sum(common.values())} of {fewest} documents have a counterpart"
            " of the same domain and length on the other side"
        )
    quotas = {
        side.name: _quotas(common, counts, options.limit) if matched else _quotas(counts, counts, options.limit)
        for side, counts in ((train, train_counts), (heldout, heldout_counts))
    }
    most = max(sum(q.values()) for q in quotas.values())
    per_document = min(MOST_WINDOWS_PER_DOCUMENT, max(1, options.limit // most))
    windows = [
        window
        for side, counts in ((train, train_counts), (heldout, heldout_counts))
        for window in _cut_side(side, quotas[side.name], counts, per_document, options)
    ]
    set_aside = [
        SetAside(side.name, reason, count)
        for side in (train, heldout)
        for reason, count in sorted(side.reasons.items())
        if count
    ]
    return WindowSet(windows, set_aside, overlaps, matched, matching)


def _comparable(train: Counter[Stratum], heldout: Counter[Stratum]) -> tuple[Counter[Stratum], Counter[Stratum], str]:
    """Drop domains from the strata where only one side names them."""
    named = [any(domain is not None for domain, _ in side) for side in (train, heldout)]
    if all(named):
        return train, heldout, "matched by domain and length"
    if not any(named):
        return train, heldout, "matched by length"
    return (
        _without_domains(train),
        _without_domains(heldout),
        "matched by length only: one side names no domains",
    )


def _without_domains(counts: Counter[Stratum]) -> Counter[Stratum]:
    merged: Counter[Stratum] = Counter()
    for (_, octave), count in counts.items():
        merged[None, octave] += count
    return merged


def _quotas(shares: Mapping[Stratum, int], available: Mapping[Stratum, int], limit: int) -> dict[Stratum, int]:
    """Return how many documents to draw of each stratum: the most that keeps the shares, within the limit."""
    total = sum(shares.values())
    scale = min([limit / total, *(available[s] / count for s, count in shares.items() if count)])
    return {stratum: int(scale * count + 1e-9) for stratum, count in sorted(shares.items(), key=_by_name)}


def _by_name(entry: tuple[Stratum, int]) -> tuple[str, int]:
    (domain, octave), _ = entry
    return domain or "", octave


def _cut_side(
    side: _Side,
    quotas: Mapping[Stratum, int],
    counts: Mapping[Stratum, int],
    per_document: int,
    options: WindowOptions,
) -> Iterator[Window]:
    if set(counts) != set(side.eligible):
        side.kept = _merged(side.kept)
    drawn = [c for stratum, count in quotas.items() for c in side.drawn(stratum, count)]
    side.reasons["not drawn: enough others, or no counterpart of its domain and length"] += sum(counts.values()) - len(
        drawn
    )
    drawn.sort(key=lambda c: _draw(options.seed, "order", c.document.id))
    for candidate in drawn:
        yield from cut_document(candidate.document, candidate.encoding, options, per_document, side.name == "train")


def _merged(
    kept: dict[Stratum, list[tuple[int, str, _Candidate]]],
) -> dict[Stratum, list[tuple[int, str, _Candidate]]]:
    merged: dict[Stratum, list[tuple[int, str, _Candidate]]] = {}
    for (_, octave), entries in kept.items():
        merged.setdefault((None, octave), []).extend(entries)
    return merged


def cut_document(
    document: Document, encoding: Encoding, options: WindowOptions, most: int, member: bool
) -> list[Window]:
    """Tile a document with windows from its start and draw at most ``most`` of the tiles, in text order.

    The first tile begins where the document does: there the model stands as it stood in training.
    """
    tiles = len(encoding) // options.length
    generator = np.random.default_rng(_draw(options.seed, "place", document.id))
    chosen = np.sort(generator.permutation(tiles)[:most])
    return [_window(document, encoding, int(tile) * options.length, options, member) for tile in chosen]


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


def _encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[_Candidate]:
    stream = iter(documents)
    while batch := list(itertools.islice(stream, BATCH)):
        encodings = tokenizer.encode_batch([document.text for document in batch])
        yield from map(_Candidate, batch, encodings)


def _guarded(documents: Iterable[Document], tokenizer: Tokenizer, guard: OverlapGuard) -> Iterator[_Candidate]:
    stream = _encoded(documents, tokenizer)
    while batch := list(itertools.islice(stream, BATCH)):
        guard.check([c.document for c in batch], [c.encoding.ids for c in batch])
        yield from batch


def _collect(candidates: Iterable[_Candidate], name: str, options: WindowOptions) -> _Side:
    """Count the eligible documents of each stratum and keep those with the lowest draws (a bottom-k sample)."""
    side = _Side(name)
    for candidate in candidates:
        windows = len(candidate.encoding) // options.length
        if not windows:
            side.reasons[f"shorter than {options.length} tokens"] += 1
            continue
        stratum = (candidate.document.domain, windows.bit_length() - 1)
        side.eligible[stratum] += 1
        heap = side.kept.setdefault(stratum, [])
        entry = (-_draw(options.seed, "draw", candidate.document.id), candidate.document.id, candidate)
        if len(heap) < options.limit:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
    return side


def _draw(seed: int, purpose: str, document: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{document}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def _require_documents(side: _Side, options: WindowOptions) -> None:
    if sum(side.eligible.values()):
        return
    counted = ", ".join(f"{count} {reason}" for reason, count in side.reasons.items()) or "no documents"
    raise InputError(
        f"no {side.name} document gives a window of {options.prefix}+{options.suffix} tokens: {counted}",
        "use a shorter --prefix and --suffix, or longer documents",
    )


def _overlap_error(overlaps: list[Overlap], documents: int, options: WindowOptions) -> InputError:
    first = overlaps[0]
    return InputError(
        f"{len(overlaps)} of {documents} held-out documents share a span of {min(50, options.length)} tokens with"
        f" the training text; first: {first.heldout} with {first.train} ({first.view})",
        "remove them, or --allow-overlap sets them aside and lists them",
    )
