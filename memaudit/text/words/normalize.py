"""A skeleton of a text, in which disguises and typography no longer differ.

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

import re
import unicodedata

_RUNS = re.compile(r"([ -])\1+")


def normalize(text: str) -> str:
    """Return the skeleton of a text; normalising a skeleton changes nothing."""
    folded = text.translate(_ASCII_FOLD) if text.isascii() else "".join([_FOLD[character] for character in text])
    # All is decomposed already: NFD puts marks in order, which may have come from other characters.
    return _RUNS.sub(r"\1", unicodedata.normalize("NFD", folded)).strip(" ")


def fold(character: str) -> str:
    """Return one character's part of a skeleton, before marks are put in order and runs shortened."""
    return _FOLD[character]


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
_ASCII_FOLD = {code: _FOLD[chr(code)] for code in range(128)}
