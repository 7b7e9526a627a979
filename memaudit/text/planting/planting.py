"""The dose kit: passages and canaries in a training corpus at known numbers of copies, and twins in none.

A passage is planted as it is, or fuzzily: each copy with a few words replaced, so that no two are alike and the
passage itself occurs nowhere (Mosaic memory, Shilov et al. 2024). Seed and text decide everything, so that the
same command writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.planting.canaries import FIXED_WORDS, MAX_DIGITS, balanced, draw_canaries, find_canary
from memaudit.text.words.words import encode_texts, hash_words, words_of

Kind = Literal["passage", "canary"]
Variant = Literal["exact", "fuzzy", "twin"]

DOSES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
VOCABULARY = 1000
"""Words of the corpus, the most frequent, that canaries and changes are made of."""
MIN_WORDS = 50
LOOKED_AT = 2000
"""Documents, drawn by the seed, whose words are counted for the vocabulary."""
BATCH = 256
"""Documents whose words are hashed together."""
SHARED_WORDS = 13
"""A passage that shares so many words in a row with any other text is left out: twins must be unseen."""
MAX_MARKS = 20
"""A passage with more marks in a row, no word between, is left out: rules and tables look alike everywhere."""
MAX_COPIES = 1_000_000
"""Of all passages and canaries together: the planted corpus is held in memory."""
_ID = re.compile(r"(?:^|#)(passage|canary):(exact|fuzzy|twin):\d+$")
_DRAWN = re.compile(rf"(?:(?:[^\w\s]|_)\s*){{{MAX_MARKS + 1}}}")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class PlantOptions:
    """What is planted, and how often."""

    doses: tuple[int, ...] = DOSES
    """Numbers of copies; beside them there are always twins with none."""
    per_dose: int = 12
    """Passages of each variant at each dose."""
    canaries: int = 12
    """Canaries of each variant at each dose."""
    words: int = 100
    """Of a passage or canary; characters where a script sets no spaces."""
    changed: int = 4
    """Words replaced in each copy of a fuzzy passage; 0 leaves this variant out."""
    digits: int = 6
    """Of a canary's secret."""
    seed: int = 0

    def __post_init__(self) -> None:
        doses = self.doses
        if not doses or min(doses) < 1 or len(set(doses)) < len(doses):
            raise InputError(
                f"doses must be different whole numbers from 1 on, not {','.join(map(str, doses)) or 'none'}",
                "twins with 0 copies are always there",
            )
        for name, least in (("per_dose", 0), ("canaries", 0), ("words", 1), ("changed", 0), ("digits", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if not self.per_dose and not self.canaries:
            raise InputError("nothing to plant", "give --per-dose or --canaries")
        if self.copies > MAX_COPIES:
            problem = f"the doses make {self.copies:,} copies in all; at most {MAX_COPIES:,} are planted"
            raise InputError(problem, "lower --doses, --per-dose or --canaries")
        if self.digits > MAX_DIGITS:
            raise InputError(f"--digits must be at most {MAX_DIGITS}, not {self.digits}")
        least = max(self.changed, 1)
        if self.keys < least if self.canaries else self.words < least:
            needed = least + (FIXED_WORDS + self.digits) * bool(self.canaries)
            raise InputError(f"--words {self.words}: too short to change {self.changed}", f"give at least {needed}")

    @property
    def keys(self) -> int:
        """Random words of a canary."""
        return self.words - FIXED_WORDS - self.digits

    @property
    def copies(self) -> int:
        """Copies of all passages and canaries."""
        return sum(dose for _, dose in self.groups) * (self.per_dose + self.canaries)

    @property
    def groups(self) -> list[tuple[Variant, int]]:
        """Variants and doses, each a group of passages."""
        variants: list[Variant] = ["exact", "fuzzy"] if self.changed else ["exact"]
        return [(variant, dose) for dose in sorted(self.doses) for variant in variants]


@dataclass(frozen=True, slots=True)
class DoseKit:
    """A planted corpus."""

    planted: list[Document]
    """Each passage and canary once, as it was before any change, ``copies`` telling how often it was planted."""
    twins: list[Document]
    """As many again that were never planted; ``copies`` is 0."""
    training: list[Document]
    """Background and all copies, in an order drawn by the seed."""
    origins: dict[str, str]
    """Where each passage was cut from, by its id."""
    vocabulary: list[str]
    """Words that canaries and changes were drawn from."""
    held_back: int
    """Documents taken out of the background, passages cut from them."""
    not_unique: int
    """Passages left out because they share words with other text, or hold rules and tables."""
    copied_words: int
    """Words of all copies."""


def about_planted(document: str) -> tuple[Kind, Variant] | None:
    """Return what the id of a planted document says of it, None for an id that is not from here."""
    match = _ID.search(document)
    return None if match is None else (match[1], match[2])  # type: ignore[return-value]


def plant_doses(
    background: Sequence[Document], options: PlantOptions, passages: Sequence[Document] | None = None
) -> DoseKit:
    """Plant passages and canaries in a corpus.

    Args:
        background: The corpus.
        options: How much of what.
        passages: Documents to cut passages from; by default some of the background, which are then taken out.

    Raises:
        InputError: Too little text for so many passages, or for the words of canaries.
    """
    rngs = [np.random.default_rng([options.seed, purpose]) for purpose in range(5)]
    words = _vocabulary(background, rngs[0])
    cut, taken, not_unique = _cut_passages(background, options, passages, rngs[1])
    kept = [document for i, document in enumerate(background) if i not in taken]
    if not kept:
        raise InputError(
            f"all {len(background):,} documents would be held back for passages, and none left to train on",
            "give more text, --passages SPEC, fewer --doses or a smaller --per-dose",
        )
    needed = len(options.groups) * options.per_dose
    drawn = balanced(cut, 2 * needed, rngs[2]) if needed else []
    count = 2 * len(options.groups) * options.canaries
    canaries = draw_canaries(count, words, options.keys, options.digits, rngs[3]) if count else []
    secrets = [Document("", canary.text(), "drawn at random", "canary") for canary in canaries]
    planted: list[Document] = []
    twins: list[Document] = []
    origins: dict[str, str] = {}
    kinds: list[tuple[Kind, list[Document], int]] = [
        ("passage", drawn, options.per_dose),
        ("canary", secrets, options.canaries),
    ]
    for kind, documents, per_dose in kinds:
        for place, document in enumerate(documents):
            inserted = place < len(documents) // 2
            variant, dose = options.groups[place // per_dose] if inserted else ("twin", 0)
            name = f"{kind}:{variant}:{place}"
            origins[name] = document.source
            (planted if inserted else twins).append(dataclasses.replace(document, id=name, source=name, copies=dose))
    copies = [copy for document in planted for copy in _copies(document, words, options.changed, rngs[4])]
    training = [*kept, *copies]
    order = rngs[4].permutation(len(training))
    return DoseKit(
        planted,
        twins,
        [training[i] for i in order],
        origins,
        words if canaries or options.changed else [],
        len(taken),
        not_unique,
        len(copies) * options.words,
    )


def _copies(
    document: Document, vocabulary: Sequence[str], changed: int, rng: np.random.Generator
) -> Iterator[Document]:
    """Yield the copies of a passage: all alike, or each changed at places of its own, a canary's secret never."""
    about = about_planted(document.id)
    for _ in range(document.copies or 0):
        if about is not None and about[1] == "fuzzy":
            yield dataclasses.replace(document, text=change_words(document.text, vocabulary, changed, rng))
        else:
            yield document


def change_words(text: str, vocabulary: Sequence[str], count: int, rng: np.random.Generator) -> str:
    """Return a text with ``count`` words at random places replaced by other words, of a canary none of its format."""
    words, canary = words_of(text), find_canary(text)
    first, last = (0, len(words)) if canary is None else (FIXED_WORDS - 1, len(words) - canary.digits - 1)
    places = first + rng.permutation(last - first)[:count]
    pieces, end = [], 0
    for place in sorted(places):
        other = words.texts[place]
        while other == words.texts[place]:
            other = vocabulary[int(rng.integers(len(vocabulary)))]
        pieces += [text[end : int(words.starts[place])], other]
        end = int(words.ends[place])
    return "".join([*pieces, text[end:]])


def _vocabulary(documents: Sequence[Document], rng: np.random.Generator) -> list[str]:
    """Return the most frequent words of some of the documents, in the order of their frequency."""
    counts: Counter[str] = Counter()
    for i in rng.permutation(len(documents))[:LOOKED_AT]:
        counts.update(word for word in words_of(documents[i].text).texts if word.isalpha())
    words = sorted(counts, key=lambda word: (-counts[word], word))[:VOCABULARY]
    if len(words) < MIN_WORDS:
        problem = f"the background has {len(words)} different words, {MIN_WORDS} are needed to draw from"
        raise InputError(problem, "give more text")
    return words


def _cut_passages(
    background: Sequence[Document],
    options: PlantOptions,
    given: Sequence[Document] | None,
    rng: np.random.Generator,
) -> tuple[list[Document], set[int], int]:
    """Cut passages that share no words with other text; documents in random order, until there are enough.

    Returns:
        Passages, the places of the background that they take out, and how many passages were left out.
    """
    if not options.per_dose:
        return [], set(), 0
    source = background if given is None else given
    repeated = _repeated_grams([*background, *(given or ())], min(SHARED_WORDS, options.words))
    by_domain: dict[str | None, list[int]] = defaultdict(list)
    for place, document in enumerate(source):
        by_domain[document.domain].append(place)
    share = -(-2 * len(options.groups) * options.per_dose // len(by_domain))
    passages: list[Document] = []
    taken: set[int] = set()
    not_unique = 0
    for domain, places in sorted(by_domain.items(), key=lambda item: item[0] or ""):
        found = 0
        for place in rng.permutation(places):
            if found >= share:
                break
            tiles = list(_tiles(source[place], options.words))
            unique = [tile for tile in tiles if _is_unique(tile, options.words, repeated)]
            not_unique += len(tiles) - len(unique)
            passages += unique
            found += len(unique)
            if unique:
                taken.add(int(place))
        if found < share:
            name = "the text" if domain is None else f"the domain '{domain}'"
            raise InputError(
                f"planting needs {share:,} passages of {options.words} words that occur nowhere else, of every domain;"
                f" {name} has {found:,}",
                "give more text, fewer --doses, or a smaller --per-dose or --words",
            )
    return passages, taken if given is None else set(), not_unique


def _tiles(document: Document, length: int) -> Iterator[Document]:
    """Yield the whole stretches of ``length`` words of a document, from its start on."""
    words = words_of(document.text)
    for first in range(0, len(words) - length + 1, length):
        start, end = int(words.starts[first]), int(words.ends[first + length - 1])
        yield dataclasses.replace(document, text=document.text[start:end], source=f"{document.source} word {first}")


def _is_unique(tile: Document, length: int, repeated: NDArray[np.uint64]) -> bool:
    return _DRAWN.search(tile.text) is None and not np.isin(_grams_of(tile, length), repeated).any()


def _grams_of(document: Document, length: int) -> NDArray[np.uint64]:
    return _grams([document], min(SHARED_WORDS, length))


def _repeated_grams(documents: Sequence[Document], length: int) -> NDArray[np.uint64]:
    """Return the hashes of all runs of ``length`` words that occur more than once in the documents."""
    grams = [_grams(documents[first : first + BATCH], length) for first in range(0, len(documents), BATCH)]
    values, counts = np.unique(np.concatenate(grams), return_counts=True)
    return values[counts > 1]


def _grams(documents: Sequence[Document], length: int) -> NDArray[np.uint64]:
    """Return a hash of every run of ``length`` words; none reaches from one document into the next."""
    hashes, firsts = hash_words(*encode_texts([document.text for document in documents]))
    count = len(hashes) - length + 1
    if count < 1:
        return np.empty(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for k in range(length):
        total = total * _FACTOR + hashes[k : k + count]
    ends = np.repeat(firsts[1:], np.diff(firsts))[:count]
    return total[np.arange(count) + length <= ends]
