"""A skeleton of a text, in which disguises and typography no longer differ, with the way back.

Two spellings of a passage that look alike, or that differ by what nobody sees, have one skeleton:

1. every character is decomposed (NFKD), so full width, ligatures and styled letters become plain ones;
2. what does not print is dropped: controls, format and default-ignorable characters (zero width, bidi,
   variation selectors, tags, fillers), the blank braille pattern, and the Arabic tatweel;
3. marks that decorate a letter are dropped: accents, stress, Arabic and Hebrew points. Marks that spell
   are kept, for without them words of Hindi, Thai, Tibetan or Japanese would become one another: those
   of combining class 0 (vowel signs, medials), 7 to 9 (nukta, kana voicing, virama) and the classes that
   Unicode reserves for the vowels and tones of Telugu, Thai, Lao and Tibetan;
4. case is folded, then letters that look like another script's letter, quotes, and dashes;
5. a run of white space is one space and a run of dashes one dash; none stands at either end.

A letter of Cyrillic, Greek or Armenian is folded to the Latin letter that its small form looks like, or
else its capital (Cyrillic в: В looks like B). The fold is a property of the letter alone, not of its
neighbours, so a passage all of lookalikes is unmasked too; and no two letters of the Russian, Ukrainian,
Serbian or Greek alphabet share a target, so text in these languages keeps its words apart. Hangul is
spelt in jamo and Arabic hamza carriers lose their hamza in a skeleton; it is there for matching, never
for display.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Codes = TypeVar("Codes", NDArray[np.uint8], NDArray[np.uint32])


@dataclass(frozen=True, slots=True, eq=False)
class Normalized:
    """The skeleton of a text and where each of its characters comes from."""

    text: str
    starts: NDArray[np.int64]
    """Shape [len(text)]: index in the raw text of the character that each one comes from."""
    raw_length: int

    def raw_span(self, first: int, last: int) -> tuple[int, int]:
        """Return the raw ``[start, end)`` of ``text[first:last]``, with what was dropped in it and after it.

        Args:
            first: First character of the span, at least 0.
            last: End of the span, exclusive, over ``first``.
        """
        start = int(self.starts[first:last].min())
        inner = int(self.starts[first:last].max()) + 1
        following = int(self.starts[last]) if last < len(self.text) else self.raw_length
        return start, max(inner, following)


def normalize(text: str) -> Normalized:
    """Return the skeleton of a text; normalising a skeleton changes nothing."""
    if text.isascii():
        codes = np.frombuffer(text.encode(), dtype=np.uint8)
        folded = _ASCII_FOLD[codes]
        kept = np.flatnonzero(folded)
        folded, starts = _collapsed(folded[kept], kept)
        return Normalized(folded.tobytes().decode(), starts, len(text))
    pieces = [_FOLD[character] for character in text]
    folded_text = "".join(pieces)
    lengths = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
    starts = np.repeat(np.arange(len(text)), lengths)
    if not unicodedata.is_normalized("NFD", folded_text):
        folded_text, starts = _ordered_marks(folded_text, starts)
    points = np.frombuffer(folded_text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    points, starts = _collapsed(points, starts)
    return Normalized(points.tobytes().decode("utf-32-le", "surrogatepass"), starts, len(text))


def fold(character: str) -> str:
    """Return one character's part of a skeleton, before marks are put in order and runs shortened."""
    return _FOLD[character]


def _collapsed(codes: Codes, starts: NDArray[np.int64]) -> tuple[Codes, NDArray[np.int64]]:
    """Shorten runs of spaces and of dashes to one, and drop the spaces at both ends."""
    run = (codes == _SPACE) | (codes == _DASH)
    keep = np.ones(len(codes), dtype=bool)
    keep[1:] = ~(run[1:] & (codes[1:] == codes[:-1]))
    if len(codes):
        keep[0] = codes[0] != _SPACE
        ends_in_space = codes[-1] == _SPACE
        codes, starts = codes[keep], starts[keep]
        if ends_in_space and len(codes):
            codes, starts = codes[:-1], starts[:-1]
    return codes, starts


def _ordered_marks(text: str, starts: NDArray[np.int64]) -> tuple[str, NDArray[np.int64]]:
    """Put runs of marks into canonical order, in which they may have come from other characters."""
    order = list(range(len(text)))
    classes = [unicodedata.combining(character) for character in text]
    first = 0
    while first < len(text):
        last = first + 1
        if classes[first]:
            while last < len(text) and classes[last]:
                last += 1
            order[first:last] = sorted(order[first:last], key=classes.__getitem__)
        first = last
    return "".join(text[i] for i in order), starts[order]


class _Fold(dict[str, str]):
    """Character to its part of the skeleton, worked out when it is first met."""

    def __missing__(self, character: str) -> str:
        folded = ""
        for canonical in unicodedata.normalize("NFD", character):
            lookalike = _LOOKALIKES.get(canonical, canonical)
            folded += "".join(map(_fold_plain, unicodedata.normalize("NFKD", lookalike)))
        self[character] = folded
        return folded


def _fold_plain(character: str) -> str:
    """Fold one character that has no decomposition."""
    if character.isspace():
        return " "
    if _is_dropped(character):
        return ""
    plain = unicodedata.normalize("NFKD", character.casefold())
    return "".join(_LOOKALIKES.get(c, c) for c in plain if not _is_dropped(c))


def _is_dropped(character: str) -> bool:
    category = unicodedata.category(character)
    if category in {"Mn", "Mc"}:
        spells = unicodedata.combining(character) in _SPELLING_CLASSES
        return not spells or _is_ignorable(character)
    return category in {"Cc", "Cf", "Me"} or _is_ignorable(character)


def _is_ignorable(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _IGNORABLE)


_SPELLING_CLASSES = {0, 7, 8, 9, 84, 91, 103, 107, 118, 122, 129, 130, 132}

# Default_Ignorable_Code_Point of the Unicode Character Database where the category alone does not tell,
# then two characters that show nothing of their own: blank braille and the Arabic stretcher.
_IGNORABLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
    (0x2800, 0x2800),
    (0x0640, 0x0640),
)


def _pairs(originals: str, targets: str) -> dict[str, str]:
    return dict(zip(originals, targets, strict=True))


_LOOKALIKES = {
    **_pairs("авекмнорстухѕіјһԁԛԝѵӏԍ", "abekmhopctyxsijhdqwvlg"),
    **_pairs("αβγεζηικμνορτυχωϲϳ", "abyeznikmvoptuxwcj"),
    **_pairs("ıȷɑɡɩʟᴀʙᴄᴅᴇꜰɢʜɪᴊᴋᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "ijagilabcdefghijkmnoprstuvwyz"),
    **_pairs("օոսհցզ", "onuhgq"),
    **dict.fromkeys("‘’‚‛‹›`´ʹʻʼʽˈˊˋ′‵＇ꞌ", "'"),
    **dict.fromkeys("“”„‟«»〝〞〟″‶", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃﹘﹣－‧⸺⸻", "-"),
}
_FOLD = _Fold()
_ASCII_FOLD = np.array([ord(_FOLD[chr(code)] or "\0") for code in range(128)], dtype=np.uint8)
"""Skeleton of every ASCII character; 0 for those that are dropped."""
_SPACE, _DASH = ord(" "), ord("-")
