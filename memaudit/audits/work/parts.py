"""The parts of a work: chapters by the headings that its text has, by a rule of the user's, or of equal length.

A line is a heading where a blank line stands before it and it says so: ``CHAPTER IV``, ``Letter 2``, ``Глава 3``,
``第四章``, ``VII. THE ADVENTURE OF THE BLUE CARBUNCLE``, ``# Markdown``, a numeral alone, a short line in capitals. One
rule is chosen for a work, the one that most lines follow; numbers must rise one by one, so that a sentence that begins
with "Chapter 5" is none. Headings close behind one another that come again later are a table of contents, and are no
parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memaudit.errors import InputError
from memaudit.text.tokenize import Encoding

FEWEST = 2
"""Headings that make a rule."""
FEWEST_CAPITALS = 4
"""The same of lines in capitals, which may be anything."""
GAP = 200
"""Characters of text between two headings, below which they stand close behind one another."""
CONTENTS = 4
"""Headings close behind one another that make a table of contents, where they come again."""
EQUAL = 2000
"""Tokens of a part of a work without headings, unless that makes more than `MOST_EQUAL`."""
MOST_EQUAL = 24
SKIPPED = 3
"""Steps by which the numbers of neighbouring headings may differ: one may be misspelt."""
LONGEST_TITLE = 100
HEADER, LICENCE, FRONT = "Header of Project Gutenberg", "Licence of Project Gutenberg", "Front matter"

_WORDS = (
    "CHAPTER LETTER BOOK PART VOLUME ACT SCENE CANTO ADVENTURE STAVE SECTION STORY"
    " CHAPITRE LIVRE PARTIE ACTE SCÈNE KAPITEL BUCH TEIL AKT SZENE CAPÍTULO CAPITULO LIBRO PARTE ACTO ESCENA CAPITOLO"
    " ATTO SCENA ГЛАВА КНИГА ЧАСТЬ"
)
_COUNTERS = "章 回 卷 部 篇 幕"
"""Of Chinese and Japanese headings, as 第一章."""
_FAMILIES = (*_WORDS.split(), *_COUNTERS.split())
_ALONE = "PREFACE PROLOGUE INTRODUCTION EPILOGUE CONCLUSION POSTSCRIPT AFTERWORD FOREWORD APPENDIX"
_ROMAN = r"(?=[IVXLC])(?:C{0,3})(?:XC|XL|L?X{0,4})(?:IX|IV|V?I{0,4})"
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth"
    " fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_TENS = "ten twenty thirty forty fifty sixty seventy eighty ninety"
_SPELT = {word: number for words in (_UNITS, _ORDINALS) for number, word in enumerate(words.split())} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), 1)
}
_BELOW_TEN = [*_UNITS.split()[1:10], *_ORDINALS.split()[1:10]]
_SPELT_PATTERN = rf"(?:{'|'.join(sorted(_SPELT, key=len, reverse=True))})(?:[- ](?:{'|'.join(_BELOW_TEN)})\b)?"
_NUMBER = rf"(?:\d{{1,3}}|{_ROMAN}|(?i:{_SPELT_PATTERN}))"
_NAMED = re.compile(
    rf"(?P<word>{'|'.join(f'{w}|{w.title()}' for w in _WORDS.split())})\s+(?:(?i:the)\s+)?(?P<number>{_NUMBER})"
    r"(?=$|[\s.:,;—–\-\]])"
)
_HAN_DIGITS = "零一二三四五六七八九"
_COUNTED = re.compile(
    rf"第(?P<number>\d{{1,3}}|[{_HAN_DIGITS}〇十百]{{1,7}})(?P<word>[{_COUNTERS.replace(' ', '')}])(?=$|[\s:：、.．])"
)
_NUMBERED = re.compile(rf"(?P<number>\d{{1,3}}|{_ROMAN})\.\s+(?=\S)")
_NUMERAL = re.compile(rf"(?P<number>{_ROMAN})\.?$")
_MARKDOWN = re.compile(r"(?P<marks>#{1,6})\s+\S")
_SPECIAL = re.compile(rf"(?:{'|'.join(f'{w}|{w.title()}' for w in _ALONE.split())})\.?$")
_STARTS = re.compile(r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG[^\n]*|^\*END\*? ?THE SMALL PRINT[^\n]*", re.M)
_ENDS = re.compile(r"^\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|^End of (?:the |this )?Project Gutenberg", re.M)


@dataclass(frozen=True, slots=True)
class Heading:
    """Where a part begins."""

    token: int
    title: str


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that may be a heading."""

    place: int
    """Of its first character."""
    end: int
    title: str
    family: str
    """Which headings it may belong to: ``CHAPTER``, ``numbered``, ``numeral``, ``#``, ``capitals``, ``alone``."""
    number: int | None = None

    @property
    def label(self) -> tuple[str, int | str]:
        """What it says: in a table of contents the same as above the text."""
        return (self.family, self.title.casefold() if self.number is None else self.number)


def parts_of(text: str, encoding: Encoding, rule: str | None) -> list[Heading]:
    """Return where the parts of a work begin, in order; the first begins at its first token.

    Args:
        text: Of the work.
        encoding: Its tokens.
        rule: A regular expression that is searched in every line; a number of tokens; None: headings are looked for,
            and a work without is cut into parts of equal length.

    Raises:
        InputError: No line matches.
    """
    tokens = len(encoding)
    if rule is not None and rule.isdecimal():
        return _equal(tokens, int(rule))
    if rule is not None:
        found = [(start, _title(line)) for start, line in _lines(text) if line.strip() and re.search(rule, line)]
        if not found:
            raise InputError(f"--parts: no line matches {rule}")
    else:
        found = _headings(text)
    if found and not text[: found[0][0]].strip():
        found[0] = (0, found[0][1])  # blank lines are no front matter
    return _on_tokens(found, encoding) if found else _equal(tokens, max(EQUAL, -(-tokens // MOST_EQUAL)))


def _on_tokens(found: Sequence[tuple[int, str]], encoding: Encoding) -> list[Heading]:
    """Return headings at tokens; what stands before the first one is a part of its own."""
    titles: dict[int, str] = {}
    for place, title in found:
        token = int(np.searchsorted(encoding.starts, place))
        if token < len(encoding):
            titles[token] = title  # of two at one token the inner one
    if not titles or min(titles):
        titles[0] = FRONT
    return [Heading(token, titles[token]) for token in sorted(titles)]


def _equal(tokens: int, length: int) -> list[Heading]:
    firsts = range(0, max(1, tokens), length)
    return [Heading(first, f"Tokens {first + 1:,} to {min(first + length, tokens):,}") for first in firsts]


def _headings(text: str) -> list[tuple[int, str]]:
    """Return the places and titles of all parts; empty for a text without headings."""
    first, last = _body(text)
    lines = [line for line in _candidates(text, first, last) if line.place >= first]
    chosen = _chosen(_without_contents(text, lines))
    if not chosen:
        return []
    found = [(line.place, line.title) for line in chosen]
    if text[first : found[0][0]].strip():
        found = [(_next_character(text, first), FRONT), *found]
    if first:
        found = [(0, HEADER), *found]
    if last < len(text):
        found.append((last, LICENCE))
    return found


def _body(text: str) -> tuple[int, int]:
    """Return where the work itself begins and ends in a text of Project Gutenberg, by its marks."""
    starts = list(_STARTS.finditer(text))
    first = starts[-1].end() if starts and starts[-1].end() < len(text) / 2 else 0
    ends = [match.start() for match in _ENDS.finditer(text) if match.start() > max(first, len(text) / 2)]
    return first, min(ends, default=len(text))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield every line with the place of its first character."""
    place = 0
    for line in text.splitlines(keepends=True):
        yield place, line
        place += len(line)


def _candidates(text: str, first: int, last: int) -> Iterator[_Line]:
    """Yield the lines of the body that may be headings."""
    lines = [(place, line) for place, line in _lines(text) if first <= place < last]
    blank = [True, *(not line.strip() for _, line in lines), True]
    for number, (place, line) in enumerate(lines):
        if not line.strip() or not blank[number]:
            continue
        found = _read_line(line.strip(), apart=blank[number + 2])
        if found is None:
            continue
        family, value = found
        title = _title(line)
        if family in _FAMILIES and len(title.split()) <= FEWEST:
            title = _with_next(title, [line for _, line in lines[number + 1 : number + 5]])
        start = place + len(line) - len(line.lstrip())
        yield _Line(start, start + len(line.strip()), title, family, value)


def _read_line(line: str, *, apart: bool) -> tuple[str, int | None] | None:
    """Return the family and number of a heading; None for another line. ``apart``: whether a blank line follows."""
    if match := _NAMED.match(line) or _COUNTED.match(line):
        return match["word"].upper(), _value(match["number"])
    if match := _MARKDOWN.match(line):
        return match["marks"], None
    if not apart or len(line) > LONGEST_TITLE:
        return None
    if _SPECIAL.match(line):
        return "alone", None
    if match := _NUMERAL.match(line):
        return "numeral", _value(match["number"])
    capitals = line.isupper() and sum(character.isalpha() for character in line) >= FEWEST_CAPITALS
    if capitals and (match := _NUMBERED.match(line)):
        return "numbered", _value(match["number"])
    return ("capitals", None) if capitals and len(line.split()) <= 8 else None


def _without_contents(text: str, lines: Sequence[_Line]) -> list[_Line]:
    """Return the lines without those of a table of contents."""
    last = {line.label: line.place for line in lines}
    runs: list[list[_Line]] = []
    for line in lines:
        if runs and len(text[runs[-1][-1].end : line.place].strip()) < GAP:
            runs[-1].append(line)
        else:
            runs.append([line])
    # The first true heading may stand close behind the last line of the table, which it repeats.
    listed = {line.place for run in runs if len(run) >= CONTENTS for line in run if last[line.label] > line.place}
    return [line for line in lines if line.place not in listed]


def _chosen(lines: Sequence[_Line]) -> list[_Line]:
    """Return the headings of the rule that most lines follow; of rules that as many follow, the more explicit."""
    named = _named(lines)
    marks = [line for line in lines if line.family.startswith("#")]
    rules = [
        named,
        marks,
        _rising([line for line in lines if line.family == "numbered"]),
        _rising([line for line in lines if line.family == "numeral"]),
    ]
    best = max(rules, key=len)
    if named and len(best) >= FEWEST:  # a numeral alone may divide a chapter
        best = named if len(named) >= FEWEST or best in rules[2:] else best
    if len(best) < FEWEST:
        capitals = [line for line in lines if line.family == "capitals"]
        return capitals if len(capitals) >= FEWEST_CAPITALS else []
    alone = [line for line in lines if line.family == "alone"]
    return sorted([*best, *alone], key=lambda line: line.place)


def _named(lines: Sequence[_Line]) -> list[_Line]:
    """Return ``CHAPTER 1`` and such, with the numbered lines that go on counting where they stop."""
    families = []
    for word in _FAMILIES:
        family = _rising([line for line in lines if line.family == word])
        if family:
            behind = [line for line in lines if line.family == "numbered" and line.place > family[-1].place]
            families.append(_rising([*family, *behind]))
    main = [line.place for line in max(families, key=len, default=[])]
    once = {line.place: line for family in families if not _inside_one(family, main) for line in family}
    return [once[place] for place in sorted(once)]


def _inside_one(family: Sequence[_Line], main: Sequence[int]) -> bool:
    """Whether all headings stand within one chapter, which they divide, and not before the first or behind the last."""
    between = {int(np.searchsorted(main, line.place, side="right")) for line in family}
    return len(between) == 1 and not between & {0, len(main)}


def _rising(lines: Sequence[_Line]) -> list[_Line]:
    """Return the lines whose numbers go on from the one before, or begin again at 1."""
    kept: list[_Line] = []
    for line in lines:
        before = (kept[-1].number or 0) if kept else 0
        if line.number == 1 or (line.number is not None and before < line.number <= before + SKIPPED):
            kept.append(line)
    return kept


def _value(number: str) -> int | None:
    """Return a number in digits, Roman numerals, words or Chinese numerals."""
    if number.isdecimal():
        return int(number)
    if number[0] in f"{_HAN_DIGITS}〇十百":
        return _han_value(number)
    words = number.casefold().replace("-", " ").split()
    if all(word in _SPELT for word in words):
        return sum(_SPELT[word] for word in words)
    values = ["IVXLC".index(letter) for letter in number.upper()]
    worth = [(1, 5, 10, 50, 100)[value] for value in values]
    return sum(-one if one < following else one for one, following in zip(worth, [*worth[1:], 0], strict=True))


def _han_value(number: str) -> int:
    """Return a number in Chinese numerals, up to 999: 二十一, 一百零三, 一〇."""
    total, digits = 0, ""
    for sign in number.replace("〇", "零"):
        if sign in "十百":
            total += int(digits or "1") * (10 if sign == "十" else 100)
            digits = ""
        else:
            digits += str(_HAN_DIGITS.index(sign))
    return total + int(digits or "0")


def _with_next(title: str, following: Sequence[str]) -> str:
    """Return a bare ``CHAPTER I`` with the title that stands below it alone."""
    for place, line in enumerate(following):
        if line.strip():
            alone = place + 1 < len(following) and not following[place + 1].strip()
            short = len(line.split()) <= 8 and not line.strip().endswith((",", ";"))
            return (
                f"{title}. {_title(line)}"
                if alone and short and _read_line(line.strip(), apart=True) is None
                else title
            )
    return title


def _title(line: str) -> str:
    return " ".join(line.strip().lstrip("#").split())[:LONGEST_TITLE]


def _next_character(text: str, place: int) -> int:
    while place < len(text) - 1 and text[place].isspace():
        place += 1
    return place
