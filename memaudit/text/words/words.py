"""The words of a text: what copying it cannot change by disguise, typography or layout.

Escapes and tags are resolved and blanks that set words apart are spaces first (`memaudit.text.words.visible_text`).
A word is a longest run of letters, digits and kept marks of the skeleton (`memaudit.text.words.normalize`);
anything else separates. Characters of the scripts that set no spaces (Han, kana, Thai, Lao, Myanmar,
Khmer) are one word each, with the kept marks that follow them. What the skeleton drops neither
separates nor shows, and no more does an apostrophe directly between two letters, with their marks, of
other scripts: "What's" is "Whats", but "dogs' 5'10" is three words. Nor does a hyphen between them that
white space with a line end in it follows: a typesetter breaks "exam-ple" there. A hyphen of the text's own
that comes to stand at a line end joins too, as nothing tells it apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK, read_only
from memaudit.text.words.folding import FOLDING
from memaudit.text.words.markup import markup_table
from memaudit.text.words.span_kernels import find_edges, hash_spans
from memaudit.text.words.visible_text import documents_as_seen, text_as_seen
from memaudit.text.words.word_kernels import ALONE_END, SLACK, fold_text, hash_documents

Places = NDArray[np.int32]

_SPACE = re.compile(r"\s")
_AROUND = 4096
"""Characters on each side of a cut that may be read with it: more than the longest tag, escaped as often as is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words of one text and where each is."""

    hashes: NDArray[np.uint64]
    """Shape [words]: equal for equal words, never 0."""
    starts: NDArray[np.int64]
    """Shape [words]: character of the raw text at which each begins."""
    ends: NDArray[np.int64]
    """Shape [words]: end of each, exclusive, with the characters after it that the skeleton drops."""
    texts: list[str]
    """Spelling of each in the skeleton."""

    def __len__(self) -> int:
        return len(self.texts)


def words_of(text: str) -> Words:
    """Return the words of one text with the way back to it."""
    buffer, places, sources, edges = _cut(text)
    used, count = len(places) - 1, len(edges) // 2
    hashes = np.empty(count, np.uint64)
    hash_spans(buffer, edges, count, hashes, 0)
    first, last = (extreme.reduceat(places, edges)[::2] for extreme in (np.minimum, np.maximum))
    following = places[edges[1::2]]
    if sources is not None:
        first, last, following = sources[first], sources[last], sources[following]
    ends = np.maximum(_behind(sources, last), following)
    texts = [word for word in buffer[:used].tobytes().decode().split("\0") if word]
    return Words(hashes, first.astype(np.int64), ends.astype(np.int64), texts)


def spans_of(text: str, runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the characters ``[start, end)`` of runs of words ``[first, last)``: a part of `words_of`, sooner."""
    _, places, sources, edges = _cut(text)
    spans = []
    for first, last in runs:
        begin, end = edges[2 * first : 2 * first + 2].tolist()
        start = min(places[begin:end].tolist())
        begin, end = edges[2 * last - 2 : 2 * last].tolist()
        inner, following = max(places[begin:end].tolist()), int(places[end])
        if sources is not None:
            start, inner, following = (sources[place] for place in (start, inner, following))
        spans.append((int(start), int(max(_behind(sources, inner), following))))
    return spans


def hash_words(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of the words of many texts.

    Args:
        data: UTF-8 of the texts, end to end; other bytes do no harm, but what words they make is not defined.
        offsets: Shape [texts + 1]: text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.

    Returns:
        Hashes (never 0; those of `words_of`), shape [words], and where each text's begin, shape [texts + 1].
    """
    data, offsets, escaped = read_only(data, np.uint8), read_only(offsets, np.int64), True
    hashes, firsts, text = np.empty(len(data) // 4 + BLOCK, np.uint64), np.zeros(len(offsets), np.int64), 0
    while text < len(offsets) - 1:
        hashes, text = hash_documents(data, offsets, FOLDING.table, markup_table(), escaped, hashes, firsts, text)
        if not FOLDING.fill_wanted() and text < len(offsets) - 1:
            data, offsets = documents_as_seen(data, offsets)
            data, offsets, escaped = read_only(data, np.uint8), read_only(offsets, np.int64), False
    return hashes[: firsts[-1]], firsts


def cut_places(text: str, size: int) -> list[int]:
    """Return where to cut a long text into pieces that have its words, one piece after another; 0 comes first.

    A piece is about ``size`` characters long, longer where every white space stands within a tag or a broken word.
    """
    places = [0]
    while len(text) - places[-1] > 2 * size:
        found = (space.start() for space in _SPACE.finditer(text, places[-1] + size))
        place = next((place for place in found if _parts_words(text, place)), len(text))
        if place == len(text):
            break
        places.append(place)
    return places


def _parts_words(text: str, place: int) -> bool:
    """Return whether the words around a place are those before it and those behind it."""
    around = text[max(0, place - _AROUND) : place + _AROUND]
    middle = min(place, _AROUND)
    counts = [len(words_of(part)) for part in (around, around[:middle], around[middle:])]
    return counts[0] == counts[1] + counts[2]


def encode_texts(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return texts as UTF-8, end to end, and where each begins, shape [texts + 1]; lone surrogates are kept."""
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return np.frombuffer(bytearray().join(pieces), np.uint8), offsets


def _behind(sources: Places | None, raw: Any) -> Any:
    """Return where what comes from characters of the raw text, one or many, ends."""
    return raw + 1 if sources is None else sources[np.searchsorted(sources, raw, side="right")]


def _cut(text: str) -> tuple[NDArray[np.uint8], Places, Places | None, Places]:
    """Return the folded bytes of a text as it is seen, the character of each, their sources, and edges of words."""
    seen, sources = text_as_seen(encode_texts([text])[0])
    data = read_only(seen, np.uint8)
    characters = len(text) if sources is None else len(sources) - 2
    while True:
        buffer, places = _fold_all(data, characters)
        if not FOLDING.fill_wanted():
            break
    edges = np.empty(len(places) + 1, np.int32)
    count = find_edges(buffer, len(places) - 1, edges)
    return buffer, places, sources, edges[: 2 * count]


def _fold_all(data: NDArray[np.uint8], characters: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the folded bytes of a text, with slack, and the character each comes from, then ``characters``."""
    size = 2 * len(data) + SLACK
    buffer, origins = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    state = np.array([-1, -1, -1, 0, 0, 0])
    at, used = fold_text(data, 0, len(data), buffer, 0, FOLDING.table, state, origins)
    while at < len(data):
        buffer, origins = (np.append(a, np.zeros(size, a.dtype)) for a in (buffer, origins))
        at, used = fold_text(data, at, len(data), buffer, used, FOLDING.table, state, origins)
    origins[used] = characters
    if state[ALONE_END] == used:
        origins[used - 1] = characters
    return buffer, origins[: used + 1]
