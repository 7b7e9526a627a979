"""Ways to write a passage so that it looks as before, and matches nothing that compares characters."""

from __future__ import annotations

import html
import json
import random
import re
import textwrap
import unicodedata
from collections.abc import Callable
from itertools import count
from pathlib import Path
from pydoc_data.topics import topics
from urllib.parse import quote, quote_plus

from memaudit.audits.contamination.run import contamination

Disguise = Callable[[str], str]
WORDS = 30
"""Words of a passage."""


def _between(*marks: str) -> Disguise:
    """Return what puts invisible characters between the letters, a mark after each letter in turn."""
    return lambda text: "".join(c + (marks[i % len(marks)] if c.isalpha() else "") for i, c in enumerate(text))


def _mapped(letters: str, others: str) -> Disguise:
    table = str.maketrans(dict(zip(letters, others, strict=True)))
    return lambda text: text.translate(table)


def _shifted(upper: int, lower: int) -> Disguise:
    """Return what maps A to Z and a to z to blocks of styled letters."""
    table = {65 + i: chr(upper + i) for i in range(26)} | {97 + i: chr(lower + i) for i in range(26)}
    return lambda text: text.translate({k: v for k, v in table.items() if unicodedata.category(v) != "Cn"})


def _spaced(*marks: str) -> Disguise:
    """Return what puts a mark for every space, each in turn."""

    def change(text: str) -> str:
        turns = count()
        return re.sub(" ", lambda _: marks[next(turns) % len(marks)], text)

    return change


def _hyphenated(*marks: str) -> Disguise:
    """Return what breaks every long word, as a narrow column does, with a mark in turn."""

    def change(text: str) -> str:
        turns = count()
        return re.sub(
            r"([^\W\d_]{3})([^\W\d_]{3,})", lambda word: word[1] + marks[next(turns) % len(marks)] + word[2], text
        )

    return change


def _in_json(text: str) -> str:
    """Return a text as a string of JSON writes it, without the quotes around it."""
    return json.dumps(text)[1:-1]


def _page(text: str) -> str:
    """Return the source of a page that shows a text, a word emphasised now and then and parts of words too."""
    words = [f"<span style='x: y' class=\"w\">{html.escape(word)}</span>" for word in text.split(" ")]
    words[::3] = [f"<em><b>{html.escape(word[:1])}</b>{html.escape(word[1:])}</em>" for word in text.split(" ")[::3]]
    return "<p>" + "<br />".join(words) + "</p>"


def _lines(text: str) -> str:
    return text.replace(" ", "\n")


TWELVE: dict[str, Disguise] = {
    "zero width": _between("\u200b", "\u200c", "\u200d", "\ufeff", "\u2060"),
    "bidi controls": lambda text: " ".join(f"\u202a{word}\u202c\u2066\u2069\u200e" for word in text.split(" ")),
    "tag characters": _between("\U000e0061", "\U000e007f"),
    "Cyrillic": _mapped("aceopxyijsABEKMHOPCTX", "асеорхуіјѕАВЕКМНОРСТХ"),
    "combining marks": _between("\u0301", "\u0336", "\u0489"),
    "soft hyphens": _between("\u00ad"),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "upper case": str.upper,
    "variation selectors": _between("\ufe0f", "\U000e0100"),
    "Hangul fillers": _between("\u3164", "\uffa0", "\u115f"),
    "braille blanks": _between("\u2800"),
}
MORE: dict[str, Disguise] = {
    "Greek": _mapped("aoviABEZHIKMNOPTYX", "αονιΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"),
    "mathematical letters": _shifted(0x1D400, 0x1D41A),
    "monospaced letters": _shifted(0x1D670, 0x1D68A),
    "circled letters": _shifted(0x24B6, 0x24D0),
    "grapheme joiners": _between("\u034f"),
    "invisible operators": _between("\u2062", "\u2063", "\u2064", "\u2061"),
    "musical and Mongolian controls": _between("\U0001d173", "\u180e", "\u180b"),
    "annotations": _between("\ufff9", "\ufffb"),
    "ignorables not yet assigned": _between("\u2065", "\U000e0fff", "\ufff0"),
    "typographic quotes and dashes": _mapped("'\"-", "\u2019\u201d\u2011"),
    "other spaces and line ends": lambda text: text.replace(" ", "\u2003\n"),
    "HTML entities": lambda text: text.replace("e", "&#101;").replace("'", "&apos;").replace('"', "&quot;"),
    "HTML entities, escaped twice": lambda text: text.replace("o", "&amp;#111;").replace(" ", "&amp;nbsp;"),
    "braille blanks for spaces": lambda text: text.replace(" ", "\u2800"),
    "Hangul fillers for spaces": lambda text: text.replace(" ", "\u3164"),
    "all at once": lambda text: _between("\u200b", "\u0301")(_mapped("aceop", "асеор")(text.upper())),
}
SAVED: dict[str, Disguise] = {
    "percent-encoding": lambda text: quote(text, safe=""),
    "percent-encoding, twice": lambda text: quote(quote(_lines(text))),
    "form encoding": quote_plus,
    "%20 for spaces": _spaced("%20", "%0A", "%0d%0a", "%C2%A0"),
    "\\n for spaces": _spaced("\\n"),
    "\\t, \\r\\n, \\\\n and \\xa0 for spaces": _spaced("\\t", "\\r\\n", "\\\\n", "\\xa0", "\\u2003"),
    "JSON": lambda text: _in_json(_lines(text)),
    "JSON in JSON": lambda text: _in_json(_in_json(_lines(text))),
    "strings of Python": lambda text: ascii(f"\u2018{_lines(text)}\u2019"),
    "<br> for spaces": _spaced("<br>", "<br/>", "<BR />", "<br clear='all'>"),
    "other tags for spaces": _spaced("</p>\n<p class='x y'>", "</td><td align=left>", " <b>", "</b> ", "<li>"),
    "source of a page": _page,
    "source of a page, in JSON": lambda text: _in_json(_page(text)).replace("/", "\\/").replace("<", "\\u003c"),
    "source of a page, escaped twice": lambda text: html.escape(html.escape(_page(text))),
    "source of a page, percent-encoded": lambda text: quote(_page(text)),
    "hyphens at line ends": _hyphenated("-\n"),
    "hyphens at line ends, indented": _hyphenated("-\r\n    ", "- \n\t", "-\n\n", "-\u200b\n\u00a0"),
    "other hyphens at line ends": _hyphenated("\u00ad\n", "\u2010\n ", "\u00ac\r\n", "\x02\r\n", "\ufffe\r\n"),
    "hyphens at line ends, escaped": _hyphenated("-\\n", "&shy;<br>", "-%0A", "-\\u000a", "&#x2010;\\r\\n"),
    "narrow lines, hyphenated, in JSON": lambda text: _in_json(
        _hyphenated("-\n")(textwrap.fill(text, 30, break_long_words=False))
    ),
    "hyphens at line ends, full width, zero width": lambda text: "\u200b".join(
        TWELVE["full width"](_hyphenated("-\n")(text))
    ),
}
"""Copies as they are saved in pages, strings and addresses, or set in a column."""
EVERY = TWELVE | MORE | SAVED
ANY_SCRIPT = ("zero width", "bidi controls", "tag characters", "combining marks", "soft hyphens", "no-break spaces",
              "variation selectors", "Hangul fillers", "braille blanks", "grapheme joiners", "invisible operators",
              "other spaces and line ends")  # fmt: skip
"""Those that hide text of every script: they add characters or change white space, and replace no letter."""


def passages(count: int) -> list[str]:
    """Return pieces of English prose that do not overlap."""
    words = " ".join(text for _, text in sorted(topics.items())).split()
    return [" ".join(words[at : at + WORDS]) for at in range(0, count * WORDS, WORDS)]


ALPHABETS = {
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "Hindi": "कखगघचछजझटठडढतथदधनपफबभमयरलवशषसह" + "ािीुूेैोौं्",
    "Turkish": "abcçdefgğhıijklmnoöprsştuüvyz",
    "Chinese": "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生",
    "Japanese": "あいうえおかがきぎくぐけげこごさざしじすずせぜそぞただちぢつづてでとどはばぱひびぴ",
    "Korean": "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호",
    "Russian": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψω",
}


def clean_texts(script: str, count: int, seed: int) -> list[str]:
    """Return texts of one script that share words, as texts of a language do, and no passage."""
    vocabulary = random.Random(script)
    letters = ALPHABETS[script]
    words = ["".join(vocabulary.choices(letters, k=vocabulary.randint(2, 8))) for _ in range(600)]
    lot = random.Random(f"{script} {seed}")
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return [" ".join(lot.choices(words, weights, k=WORDS)) for _ in range(count)]


def found_items(items: list[str], corpus: list[str], folder: Path) -> int:
    """Return how many items the gate finds in a corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "bench.jsonl", [{"id": str(i), "question": text} for i, text in enumerate(items)])
    _write(folder / "corpus.jsonl", [{"text": text} for text in corpus])
    report = contamination(
        str(folder / "bench.jsonl"), str(folder / "corpus.jsonl"), out=folder / "run", formats=(), fields=("question",)
    ).report
    return len(report["findings"])


def hidden_in(passage: str, number: int) -> str:
    """Return a document that holds a passage among other words."""
    return f"Document {number} begins here and goes on. {passage} And this is where document {number} comes to its end."


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
