"""Ways in which a copy of a passage differs from the passage: edits, layouts and disguises.

Each takes the passage, a source of randomness and a vocabulary of other words, and returns the copy.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence

Edit = Callable[[str, random.Random, Sequence[str]], str]

_CYRILLIC = str.maketrans("aeopcyxisjABEKMHOPCTX", "аеорсухіѕјАВЕКМНОРСТХ")
_GREEK = str.maketrans("avinoptuxABEZHIKMNOPTX", "ανιηορτυχΑΒΕΖΗΙΚΜΝΟΡΤΧ")
_FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_UNPUNCTUATED = str.maketrans("", "", string.punctuation)
_BREAKS = (" ", " ", "  ", "\n", "\n    ", "\t", "\r\n")
_DASHES = "‐‑–—"


def spacing(text: str, rng: random.Random, words: Sequence[str]) -> str:
    """Change white space, case and separators, and no word."""
    del words
    text = re.sub(r"[,;:/-]", lambda m: rng.choice((m[0], f" {m[0]} ", ";", " - ")), text)
    text = rng.choice((str.upper, str.lower, str.title, str.swapcase, str))(text)
    return re.sub(r"\s+", lambda _: rng.choice(_BREAKS), text)


def edited(text: str, rng: random.Random, words: Sequence[str]) -> str:
    """Substitute, delete or insert a word at a tenth of the places."""
    copy: list[str] = text.split()
    for place in sorted(rng.sample(range(len(copy)), round(len(copy) / 10)), reverse=True):
        kind = rng.choice(("substitute", "delete", "insert"))
        if kind == "substitute":
            copy[place] = rng.choice(words)
        elif kind == "delete":
            del copy[place]
        else:
            copy.insert(place, rng.choice(words))
    return " ".join(copy)


def typographic(text: str, rng: random.Random, words: Sequence[str]) -> str:
    """Set as a typesetter would: curly quotes, no-break spaces, ligatures, soft hyphens, dashes."""
    del words
    text = re.sub(r'"([^"]*)"', "“\\1”", text).replace("'", "’").replace('"', "”")
    text = text.replace("ffi", "ﬃ").replace("fi", "ﬁ").replace("fl", "ﬂ")
    text = re.sub("-+", lambda _: rng.choice(_DASHES), text)
    text = re.sub(r"\w{7,}", lambda m: f"{m[0][:4]}\u00ad{m[0][4:]}" if rng.random() < 0.5 else m[0], text)
    return re.sub(" ", lambda _: "\u00a0" if rng.random() < 0.3 else " ", text)


def rewrapped(text: str) -> str:
    """Break into lines of eight words."""
    split = text.split()
    return "\n".join(" ".join(split[first : first + 8]) for first in range(0, len(split), 8))


def diluted(times: int) -> Edit:
    """Return the edit that puts ``times`` as many other words around the passage, in the same paragraph."""

    def dilute(text: str, rng: random.Random, words: Sequence[str]) -> str:
        filler = rng.choices(words, k=times * len(text.split()))
        before = rng.randrange(len(filler) + 1)
        return " ".join([*filler[:before], text, *filler[before:]])

    return dilute


def plain(copy: Callable[[str], str]) -> Edit:
    """Return the edit that depends on nothing but the passage."""

    def edit(text: str, rng: random.Random, words: Sequence[str]) -> str:
        del rng, words
        return copy(text)

    return edit


def bidi(text: str, rng: random.Random, words: Sequence[str]) -> str:
    """Put directional controls around and inside of words."""
    del words
    return (
        "\u202a" + re.sub(r"\w(?=\w)", lambda m: m[0] + rng.choice(("", "", "\u200e", "\u2068\u2069")), text) + "\u202c"
    )


PLANTED: dict[str, Edit] = {
    "verbatim": plain(str),
    "spacing": spacing,
    "edited": edited,
    "short": plain(str),
    "unicode": typographic,
}
EXTRA: dict[str, Edit] = {
    "rewrapped": plain(rewrapped),
    "diluted 1x": diluted(1),
    "diluted 3x": diluted(3),
    "zero width": plain("\u200b".join),
    "bidi": bidi,
    "tags": plain("\U000e0041".join),
    "cyrillic": plain(lambda text: text.translate(_CYRILLIC)),
    "greek": plain(lambda text: text.translate(_GREEK)),
    "fullwidth": plain(lambda text: text.translate(_FULLWIDTH)),
    "upper": plain(str.upper),
    "unpunctuated": plain(lambda text: text.translate(_UNPUNCTUATED)),
}
