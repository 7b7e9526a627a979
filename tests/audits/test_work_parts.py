"""Parts of works: headings of many kinds, tables of contents, and that parts are a partition."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.audits.work.parts import FRONT, HEADER, LICENCE, Heading, parts_of
from memaudit.errors import InputError
from memaudit.text.tokenize import train_tokenizer

NOVELS = Path(__file__).parents[3] / "shared" / "data" / "corpora" / "gutenberg-editions"
TOKENIZER = train_tokenizer("char", [])
PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 6

ORDINALS = """FIRST SECOND THIRD FOURTH FIFTH SIXTH SEVENTH EIGHTH NINTH TENTH ELEVENTH TWELFTH THIRTEENTH FOURTEENTH
FIFTEENTH SIXTEENTH SEVENTEENTH EIGHTEENTH NINETEENTH TWENTIETH TWENTY-FIRST TWENTY-SECOND TWENTY-THIRD"""
CARDINALS = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty twenty-one twenty-two twenty-three"""


def found(text: str, rule: str | None = None) -> list[Heading]:
    [encoding] = TOKENIZER.encode_batch([text])
    return parts_of(text, encoding, rule)


def titles(text: str, rule: str | None = None) -> list[str]:
    return [heading.title for heading in found(text, rule)]


def book(*headings: str) -> str:
    return "".join(f"{heading}\n\n{PROSE}\n\n" for heading in headings)


@pytest.mark.parametrize(
    "headings",
    [
        ["CHAPTER I", "CHAPTER II", "CHAPTER III"],
        ["Глава 1. Начало", "Глава 2. Дорога", "Глава 3. Дом"],
        ["CHAPITRE I. Le départ", "CHAPITRE II. Le retour", "CHAPITRE III. La fin"],
        ["Capítulo I. La partida", "Capítulo II. El camino"],
        ["第一章 春天", "第二章 夏天", "第三章 秋天", "第4章 冬天"],
        ["Chapter 1. Loomings", "Chapter 2. The Carpet-Bag", "Chapter 3"],
        ["CHAPTER ONE", "CHAPTER TWO"],
        ["Chapter the First", "Chapter the Second"],
        [f"CHAPTER THE {number}" for number in ORDINALS.split()],
        [f"Chapter {number.title()}" for number in CARDINALS.split()],
        ["ACT I", "SCENE I. A street", "SCENE II. The same", "ACT II", "SCENE I. A hall"],
        ["BOOK ONE", "CHAPTER I", "CHAPTER II", "BOOK TWO", "CHAPTER I", "CHAPTER II"],
        ["I", "II", "III", "IV"],
        ["I. THE RED-HEADED LEAGUE", "II. A CASE OF IDENTITY", "III. THE FIVE ORANGE PIPS"],
        ["A LONG WAY", "THE OTHER SIDE", "HOME AGAIN", "THE END OF IT"],
        ["Letter 1", "Letter 2", "Chapter 1", "Chapter 2", "Chapter 3", "Epilogue"],
    ],
    ids=lambda headings: headings[0],
)
def test_headings_of_many_kinds(headings: list[str]) -> None:
    assert titles(book(*headings)) == headings


def test_chinese_numerals_count_on() -> None:
    """None of these would be a heading if its numeral were read wrongly: numbers must rise by three at most."""
    digits = " 一二三四五六七八九"

    def numeral(n: int) -> str:
        tens, ones = n // 10 % 10, n % 10
        if n >= 100:
            return f"一百{digits[tens] + '十' if tens else '零' if ones else ''}{digits[ones].strip()}"
        return f"{digits[tens] if tens > 1 else ''}{'十' if tens else ''}{digits[ones].strip()}"

    headings = [f"第{numeral(n)}回 上路" for n in range(1, 113)]
    assert titles(book(*headings)) == headings


def test_blank_lines_before_the_first_heading_are_no_front_matter() -> None:
    text = "\n\n" + book("Chapter 1. Loomings", "Chapter 2. The Carpet-Bag")
    first = found(text)[0]
    assert (first.token, first.title) == (0, "Chapter 1. Loomings")
    assert titles(text, "^Chapter") == titles(text)


def test_markdown() -> None:
    assert titles(book("# One", "# Two", "# Three")) == ["One", "Two", "Three"]


def test_a_table_of_contents_makes_no_parts() -> None:
    names = [f"CHAPTER {number}. The {name}" for number, name in enumerate(("First", "Second", "Third", "Last"), 1)]
    text = "THE BOOK\n\nCONTENTS\n\n" + "\n\n".join(names) + "\n\n" + book(*names)
    assert titles(text) == [FRONT, *names]
    assert found(text)[1].token > text.index(PROSE[:20]) - 40


def test_sentences_are_no_headings() -> None:
    text = book("CHAPTER I", "CHAPTER II") + f"Chapter 7 of that book is dull.\n\n{PROSE}"
    assert titles(text) == ["CHAPTER I", "CHAPTER II"]
    assert titles(PROSE) == [f"Tokens 1 to {len(PROSE):,}"]


def test_a_division_of_one_chapter_makes_no_parts() -> None:
    text = book("CHAPTER 1", "CHAPTER 2", "BOOK I. The Folio", "BOOK II. The Octavo", "CHAPTER 3", "CHAPTER 4")
    assert titles(text) == ["CHAPTER 1", "CHAPTER 2", "CHAPTER 3", "CHAPTER 4"]


def test_a_bare_heading_takes_the_title_below_it() -> None:
    assert titles(book("CHAPTER I\n\nDown the Hole", "CHAPTER II\nThe Pool")) == [
        "CHAPTER I. Down the Hole",
        "CHAPTER II. The Pool",
    ]


def test_header_and_licence_are_parts_of_their_own() -> None:
    head = "*** START OF THIS PROJECT GUTENBERG EBOOK A BOOK ***\n\nA BOOK\n\n"
    tail = "End of the Project Gutenberg EBook of A Book\n\nLicence.\n"
    assert titles(f"Title: A Book\n\n{head}{book('CHAPTER I', 'CHAPTER II')}{tail}") == [
        HEADER,
        FRONT,
        "CHAPTER I",
        "CHAPTER II",
        LICENCE,
    ]


def test_rules_of_the_user() -> None:
    text = book("== one ==", "== two ==")
    assert titles(text, r"^== \w+ ==$") == ["== one ==", "== two =="]
    assert [heading.token for heading in found(text, "100")] == list(range(0, len(text), 100))
    with pytest.raises(InputError, match="no line matches"):
        found(text, "CHAPTER")


LINES = st.lists(
    st.sampled_from(["CHAPTER I", "CHAPTER II", "Chapter 3", "I", "II", "A TITLE", "# A", "", "", "words of prose\n"]),
    max_size=60,
)


@given(LINES)
def test_parts_are_a_partition(lines: list[str]) -> None:
    text = "\n".join(lines) or "x"
    tokens = [heading.token for heading in found(text)]
    assert tokens[0] == 0
    assert tokens == sorted(set(tokens))
    assert max(tokens) < max(1, len(text))


@pytest.mark.skipif(not NOVELS.is_dir(), reason="the novels of ../shared are not there")
@pytest.mark.parametrize(
    ("file", "pattern", "count"),
    [
        ("alice-s-adventures-in-wonderland--11-0", "CHAPTER", 12),
        ("pride-and-prejudice--1342-0", "Chapter", 61),
        ("frankenstein--84-0", "Chapter", 24),
        ("frankenstein--84-0", "Letter", 4),
        ("moby-dick--or-the-whale--2701-0", "CHAPTER", 135),
        ("moby-dick--or-the-whale--2701-0", "Epilogue", 1),
        ("the-adventures-of-sherlock-holmes--1661", r"ADVENTURE|[VIX]+\. THE ADVENTURE", 12),
    ],
)
def test_chapters_of_novels(file: str, pattern: str, count: int) -> None:
    text = gzip.decompress((NOVELS / f"{file}.txt.gz").read_bytes()).decode("utf-8")
    named = [title for title in titles(text) if title not in (FRONT, HEADER, LICENCE)]
    assert sum(bool(re.match(pattern, title)) for title in named) == count
    assert len(named) == {"frankenstein--84-0": 28, "moby-dick--or-the-whale--2701-0": 136}.get(file, count)
