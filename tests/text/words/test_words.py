"""Words and their hashes against the definition, spelt out in plain Python over the skeleton."""

from __future__ import annotations

import pydoc_data.topics
import random
import re
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.words import words
from memaudit.text.words.folding import Folding
from memaudit.text.words.normalize import fold, normalize
from memaudit.text.words.words import encode_texts, hash_words, spans_of, words_of

UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U0001aff0-\U0001b16f\U00020000-\U0003ffff]"
)
PIECES = [
    *"abz Z09.,-'\"_\n\t \r\x00\x08\x1b\x1c\x7f\x85",
    "\u200b", "\u202e", "\u2066", "\U000e0041", "\u00ad", "\ufeff", "\u034f", "\ufe0f", "\ud800", "\udfff",
    "ａ", "Ｚ", "１", "а", "Ѕ", "ο", "Ά", "é", "e\u0301", "ﬁ", "½", "²", "Ⅷ", "㌖", "㍿", "ﷺ", "ß", "İ", "Ǆ",
    "한", "각",
    "漢", "字", "か", "が", "か\u3099", "ｶﾞ", "ー", "ﾞ", "ก", "กำ", "ก\u0e38\u0e48", "ກ", "က\u1039", "ក\u17d2", "१",
    "क", "\u093c", "\u094d", "\u094d\u093c", "क\u093c", "\u0958", "ि", "\u0f71", "\u0f72", "\u0f74", "\u0f73", "\u05b0",
    "\u064b", "\u0300", "\u0327", "\u3099", "\U000110ba", "\U0001f600", "\U0001d41a", "’",
    "`", "ŉ", "‴", "a'b", "é’é", "—", "\u00a0", "\u3000",
    "a-\n", "é-\r\n", "\u2010", "\uff0d", "¬", "\x02", "\ufffe", "\u2028", "\u2003", "-\n b", "\u00ad\n",
]  # fmt: skip


def words_by_definition(text: str) -> list[tuple[str, int, int]]:
    """Spelling, start and end of every word: fold each character, order the marks, drop what joins, cut."""
    folded = [(character, i) for i, raw in enumerate(text) for character in fold(raw)]
    first = 0
    while first < len(folded):
        last = first + 1
        while last < len(folded) and all(unicodedata.combining(folded[k][0]) for k in (first, last)):
            last += 1
        folded[first:last] = sorted(folded[first:last], key=lambda pair: unicodedata.combining(pair[0]))
        first = last
    joining, behind_letter = joined_lines(text, folded), False
    for k, (character, _) in enumerate(folded):
        if character == "'" and behind_letter and k + 1 < len(folded) and is_spaced_letter(folded[k + 1][0]):
            joining.add(k)
        if unicodedata.category(character)[0] != "M":
            behind_letter = is_spaced_letter(character)
    folded = [pair for k, pair in enumerate(folded) if k not in joining]
    words: list[list[int]] = []
    alone = True
    for k, (character, _) in enumerate(folded):
        kind = unicodedata.category(character)[0]
        follows = bool(words) and words[-1][1] == k
        unspaced = kind in "LN" and UNSPACED.match(character) is not None
        if kind == "M" and follows:
            words[-1][1] = k + 1
        elif kind in "LNM":
            if follows and not unspaced and not alone:
                words[-1][1] = k + 1
            else:
                words.append([k, k + 1])
                alone = unspaced
    return [
        (
            "".join(character for character, _ in folded[first:last]),
            min(i for _, i in folded[first:last]),
            max([i + 1 for _, i in folded[first:last]] + [folded[last][1] if last < len(folded) else len(text)]),
        )
        for first, last in words
    ]


HYPHENS = "-\u00ad\u2010\u2011\ufe63\uff0d\u00ac\x02\ufffe"
LINE_ENDS = "\n\v\f\r\x85\u2028\u2029"
SPACES = "\t \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"


def joined_lines(text: str, folded: list[tuple[str, int]]) -> set[int]:
    """Places of what stands between the letters of a word that is broken behind a hyphen at a line end."""
    joining: set[int] = set()
    places: dict[int, list[int]] = {}
    for k, (_, i) in enumerate(folded):
        places.setdefault(i, []).append(k)
    behind_letter = False
    for i, character in enumerate(text):
        run, ended = list(places.get(i, [])), False
        for j in range(i + 1, len(text) if character in HYPHENS and behind_letter else 0):
            if text[j] in LINE_ENDS + SPACES:
                ended |= text[j] in LINE_ENDS
            elif j in places:
                joining.update(run if ended and is_spaced_letter(folded[places[j][0]][0]) else [])
                break
            run += places.get(j, [])
        for k in places.get(i, []):
            if unicodedata.category(folded[k][0])[0] != "M":
                behind_letter = is_spaced_letter(folded[k][0])
    return joining


def is_spaced_letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L" and not UNSPACED.match(character)


def triples(text: str) -> list[tuple[str, int, int]]:
    words = words_of(text)
    assert len(words) == len(words.hashes) == len(words.texts)
    return list(zip(words.texts, words.starts.tolist(), words.ends.tolist(), strict=True))


def hashes(*texts: str) -> list[list[int]]:
    values, firsts = hash_words(*encode_texts(texts))
    assert values.dtype == np.uint64
    assert firsts.tolist()[0] == 0
    assert firsts.tolist()[-1] == len(values)
    return [values[a:b].tolist() for a, b in pairwise(firsts)]


UNESCAPED = st.text(st.characters(exclude_characters="&%<\\"), max_size=3)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), UNESCAPED)).map("".join)


@given(TEXTS)
@settings(deadline=None, max_examples=300)
def test_words_of_any_text(text):
    assert triples(text) == words_by_definition(text)
    assert words_of(text).hashes.tolist() == hashes(text)[0]


@given(st.lists(TEXTS, max_size=8), st.sampled_from(["", "x" * 70, "plain words, and more of them; " * 5]))
@settings(deadline=None, max_examples=100)
def test_a_text_has_the_same_words_among_others(texts, between):
    texts = [piece for text in texts for piece in (text, between + text)]
    assert hashes(*texts) == [words_of(text).hashes.tolist() for text in texts]


def test_every_character_in_company():
    """All letters, marks and signs but one in 37 of the Han and Hangul: between letters, and among marks."""
    points = [
        point
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) not in {"Cn", "Co", "Cs"}
        and (point % 37 == 0 or not re.match("[一-鿿㐀-䶿가-힣\U00020000-\U0003ffff]", chr(point)))
    ]
    for left, right in (("a", "b"), ("a'", "b"), ("a", "'b"), ("字", "\u3099"), ("क\u094d", "\u093c")):
        texts = [f"{left}{chr(point)}{right}" for point in points if chr(point) != "\\"]
        expected = [[word for word, _, _ in words_by_definition(text)] for text in texts]
        spellings = list({word for words in expected for word in words})
        known = dict(zip(spellings, hashes(*spellings), strict=True))
        assert hashes(*texts) == [[key for word in words for key in known[word]] for words in expected]
        assert len({tuple(keys) for keys in known.values()}) == len(known)


def disguises(text: str) -> list[str]:
    cyrillic = str.maketrans("aeopcyxBHMTK", "аеорсухВНМТК")
    greek = str.maketrans("aveinoptuxABEZIKMOPTX", "ανειηορτυχΑΒΕΖΙΚΜΟΡΤΧ")
    return [
        *(invisible.join(text) for invisible in "\u200b\u00ad\u2060\u202e\ufe0f\U000e0041\x08"),
        text.translate(cyrillic),
        text.translate(greek),
        text.upper(),
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        text.replace(" ", "\r\n\u00a0 "),
        text.replace(",", " ...").replace("'", "\u2019"),
        text.replace("'", ""),
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
        f"\u00ab{text}\u00bb \u2014 ",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Natalia sold clips to 48 of her friends, and doesn't know who has 1/2 of them.",
        "Ses élèves ont reçu cinq œufs à Noël; l'été, ils en mangent deux fois plus.",
        "Straße und Übergröße, schön für Ärzte.",
    ],
)
def test_disguise_and_typography_change_no_word(text):
    assert hashes(*disguises(text)) == [hashes(text)[0]] * len(disguises(text))


def test_the_way_back_leads_to_the_words_as_they_stand():
    text = "«Ca\u00adfe\u0301» and\u200b ＤＯＯＲ, 漢\ufe00字  x½\u200d "
    words = words_of(text)
    spans = [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)]
    assert words.texts == ["cafe", "and", "door", "漢", "字", "x1", "2"]
    assert spans == ["Ca\u00adfe\u0301", "and\u200b", "ＤＯＯＲ", "漢\ufe00", "字", "x½", "½\u200d"]
    assert words.starts.dtype == words.ends.dtype == np.int64


@given(TEXTS)
@settings(deadline=None, max_examples=100)
def test_a_run_of_words_spans_from_its_first_to_its_last(text):
    words = words_of(text)
    runs = [(first, last) for first in range(len(words)) for last in range(first + 1, len(words) + 1)]
    expected = [(int(words.starts[first]), int(words.ends[last - 1])) for first, last in runs]
    assert spans_of(text, runs) == expected


def assert_spelt_everywhere(text: str, expected: str) -> None:
    """Wherever it stands in a block, whether the text goes on, and with no letter of the next text."""
    spelt = words_of(expected).texts
    assert words_of(text).texts == spelt
    for size in range(140):
        assert triples("x" * size + " " + text) == words_by_definition("x" * size + " " + text)
        texts = ["y" * size + " " + text, "t and more of it" * 9]
        assert hashes(*texts) == [words_of(t).hashes.tolist() for t in texts]
        assert words_of(texts[0]).texts[1 if size else 0 :] == spelt


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's Whats", "whats whats"),
        ("don’t donʼt don`t don′t DON＇T don\u200b'\u00adt do\u0301n\x00'\x00t", "dont " * 7),
        ("l'homme aujourd'hui п'ять rock'n'roll o'er'e", "lhomme aujourdhui пять rocknroll oere"),
        ("rock 'n' roll, 'quoted' dogs' `code`", "rock n roll quoted dogs code"),
        ("5'10 5'a a'5 a''b a' b a 'b ½'a", "5 10 5 a a 5 a b a b a b 1 2 a"),
        ("é'é ß'ß क\u093c'ि क'क ि'क", "ee ssss क\u093c ि कक ि क"),
        ("漢'字 n'漢 漢'n か'\u3099 가'나", "漢 字 n 漢 漢 n か \u3099 가나"),
        ("isŉ ŉ 5ŉ a‴b a‴‘b a‘", "isn n 5 n a b a b a"),
    ],
)
def test_an_apostrophe_between_letters_is_nothing(text, expected):
    assert_spelt_everywhere(text, expected)


def test_the_way_back_covers_the_apostrophe():
    text = "«What's» don\u200b’\u00adt 'dogs' o'"
    words = words_of(text)
    assert words.texts == ["whats", "dont", "dogs", "o"]
    assert [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)] == [
        "What's", "don\u200b’\u00adt", "dogs", "o",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exam-\nple exam-\r\n   ple exam- \t\n\n\u00a0ple exam\u2010\u2028ple", "example " * 4),
        ("exam\u00ad\nple exam\u00ad \n ple exam\u00ac\nple exam\x02\r\nple exam\ufffe\nple", "example " * 5),
        ("e\u0301-\n\u200bÉ п-\nя क\u093c-\nक", "ee пя क\u093cक"),
        ("in-\nter-\nna-\ntional don't-\ndon't", "international dontdont"),
        ("well-known well- known well -\nknown well--\nknown well\u2014\nknown", "well known " * 5),
        ("well\u00ad known 5-\na a-\n5 漢-\n字 a-\n漢 漢-\na", "well known 5 a a 5 漢 字 a 漢 漢 a"),
        ("a-\n'b a-\n(b) a'-\nb a-'\nb a\u00ad'\nb", "a b " * 5),
        ("a-\n \u0301b a-\n\u093cb a-\n", "ab a \u093cb a"),
    ],
)
def test_a_hyphen_at_a_line_end_joins_two_letters(text, expected):
    assert_spelt_everywhere(text, expected)


def test_the_way_back_covers_the_line_end():
    text = "an «exam-\r\n  ple», H<sub>2</sub>O\\ncaf%C3%A9<br>of\u00ad\nten -\n"
    words = words_of(text)
    assert words.texts == ["an", "example", "h2o", "cafe", "often"]
    assert [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)] == [
        "an", "exam-\r\n  ple", "H<sub>2</sub>O", "caf%C3%A9", "of\u00ad\nten",
    ]  # fmt: skip


def test_words_are_those_of_the_skeleton():
    for topic in pydoc_data.topics.topics.values():
        text = re.sub(r"[&%<\\]", "", topic)
        skeleton = normalize(re.sub(r"(?<=[^\W\d_])-\n\s*(?=[^\W\d_])", "", text))
        skeleton = re.sub("(?<=[^\\W\\d_])'(?=[^\\W\\d_])", "", skeleton)
        assert words_of(text).texts == re.findall("[^\\W_]+", skeleton)


def test_long_documents_and_long_words():
    """Words across the borders of the buffer, words longer than it, and the last bytes of the arena."""
    chooser = random.Random(7)
    plain = "".join(chooser.choice("abc XYZ,09") for _ in range(100_000))
    mixed = "".join(chooser.choice(PIECES + ["word "] * 40) for _ in range(30_000))
    endless = "x" * 50_000 + " " + "é" * 30_000 + " " + "漢" * 9_000 + "か\u3099" * 9_000
    joined = "".join(chooser.choice(["it's ", "'", "a", "’", "o'o", "x y "]) for _ in range(30_000)) + "'"
    chain = "d'" * 20_000 + "\u200b’" + "é’" * 10_000 + "é"
    texts = [plain, mixed, endless, joined, chain, "", "z"]
    expected = [re.findall("[a-z0-9]+", plain.lower())] + [[w for w, _, _ in words_by_definition(t)] for t in texts[1:]]
    spellings = list({word for words in expected for word in words})
    known = dict(zip(spellings, hashes(*spellings), strict=True))
    assert all(len(keys) == 1 for keys in known.values())
    assert hashes(*texts) == [[known[word][0] for word in words] for words in expected]
    assert [words_of(text).texts for text in texts] == expected


def test_words_of_up_to_eight_bytes_never_share_a_hash():
    texts = [f"{i:x}" for i in range(200_000)]
    values, _ = hash_words(*encode_texts(texts))
    assert len(np.unique(values)) == len(texts)
    assert 0 not in values


@pytest.mark.parametrize("before", ["", "x" * 8, "x" * 16])
def test_long_words_that_differ_in_few_places_do_not_share_a_hash(before):
    """Places whose differences could cancel where each eight bytes are mixed into those before."""
    letters = "abcdefghijklmnopqrst"
    texts = [f"{before}seventy{a}won{b}two{c}" for a in letters for b in letters for c in letters]
    values, _ = hash_words(*encode_texts(texts))
    assert len(np.unique(values)) == len(texts)


def test_characters_are_worked_out_when_they_are_met(monkeypatch):
    """More new ones than kernels can ask for at a time, in one text and in many."""
    characters = [chr(point) for first in (0x4E00, 0xAC00) for point in range(first, first + 5_000)] + ["ﷺ", "é"]
    expected = hashes(*characters, "".join(characters))
    monkeypatch.setattr(words, "FOLDING", Folding())
    assert hashes(*characters) == expected[:-1]
    monkeypatch.setattr(words, "FOLDING", Folding())
    assert hashes("new", "".join(characters))[1] == expected[-1]
    monkeypatch.setattr(words, "FOLDING", Folding())
    assert words_of("".join(characters)).hashes.tolist() == expected[-1]


def test_what_is_no_utf8_is_read_to_its_end_only():
    for size in range(1, 200):
        cut = np.full(size, 0xF4, np.uint8)
        assert len(hash_words(cut, np.array([0, size]))[0]) == 0


def test_no_texts_and_empty_texts():
    assert hashes("", " ", "a") == [[], [], hashes("a")[0]]
    values, firsts = hash_words(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert (len(values), firsts.tolist()) == (0, [0])
    assert words_of("").texts == words_of(" \u200b").texts == []


def test_arrays_from_a_file_are_taken_as_they_are(tmp_path):
    data, offsets = encode_texts(["one two", "three"])
    np.save(tmp_path / "data.npy", data)
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r")
    assert [array.tolist() for array in hash_words(mapped, offsets)] == [a.tolist() for a in hash_words(data, offsets)]


def test_lone_surrogates_are_kept_when_texts_are_encoded():
    data, offsets = encode_texts(["a\ud800", "", "é"])
    assert data.tobytes().decode("utf-8", "surrogatepass") == "a\ud800é"
    assert offsets.tolist() == [0, 4, 4, 6]
