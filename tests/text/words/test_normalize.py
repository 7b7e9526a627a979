"""Disguised and retyped passages share a skeleton; different words keep different ones."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.words.normalize import normalize

PASSAGE = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
CYRILLIC = str.maketrans("aeopcyxisjBHMTKACEOPX", "аеорсухіѕјВНМТКАСЕОРХ")
GREEK = str.maketrans("aveinoptuxyABEZIKMOPTX", "ανειηορτυχγΑΒΕΖΙΚΜΟΡΤΧ")
SMALL_CAPITALS = str.maketrans("abcdefgijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")


def between(character: str):
    return lambda text: character.join(text)


def shifted(first: int):
    def change(text: str) -> str:
        letters = (chr(first + ord(c) - 97) if "a" <= c <= "z" else c for c in text.lower())
        return "".join(letters)

    return change


DISGUISES = {
    "zero width": between("\u200b"),
    "joiner": between("\u200d"),
    "word joiner": between("\u2060"),
    "bidi": lambda text: f"\u202e{text}\u202c\u2066\u2069",
    "tags": between("\U000e0041"),
    "soft hyphen": between("\u00ad"),
    "variation selector": between("\ufe0f"),
    "variation selector supplement": between("\U000e0101"),
    "grapheme joiner": between("\u034f"),
    "hangul filler": between("\u3164"),
    "halfwidth hangul filler": between("\uffa0"),
    "braille blank": between("\u2800"),
    "byte order mark": between("\ufeff"),
    "control": between("\x08"),
    "combining": between("\u0336\u0301"),
    "enclosing": between("\u20dd"),
    "no-break space": lambda text: text.replace(" ", "\u00a0"),
    "ideographic space": lambda text: text.replace(" ", "\u3000"),
    "wrapped": lambda text: text.replace(" ", "\r\n   "),
    "upper": str.upper,
    "fullwidth": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "mathematical": shifted(0x1D41A),
    "circled": shifted(0x24D0),
    "cyrillic": lambda text: text.translate(CYRILLIC),
    "greek": lambda text: text.translate(GREEK),
    "small capitals": lambda text: text.translate(SMALL_CAPITALS),
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_disguises_share_the_skeleton(disguise):
    disguised = disguise(PASSAGE)
    assert disguised != PASSAGE
    skeleton = normalize(disguised)
    assert skeleton == normalize(PASSAGE) == PASSAGE.lower()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("“Don’t” — he said", '"Don\'t" - he said'),
        ("«so»  ‹x›", "\"so\" 'x'"),
        ("word--word", "word—word"),
        ("1–2 ‐ 3 − 4", "1-2 - 3 - 4"),
        ("ﬁne eﬀect …", "fine effect ..."),
        ("Straße CAFÉ naïve", "strasse cafe naive"),
        ("IĞDIR İzmir ılık", "igdir izmir ilik"),
        ("كِتَابٌ كـــتاب", "كتاب كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("ΑΣ ας", "ας ΑΣ"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("한글", unicodedata.normalize("NFD", "한글")),
        ("line one\nline two", "line one line two"),
        ("  \n padded \t", "padded"),
    ],
)
def test_ways_of_writing_share_the_skeleton(one, other):
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("कि", "की"),
        ("कल", "काल"),
        ("क्या", "कया"),
        ("ক", "কু"),
        ("ปา", "ปู"),
        ("มา", "ม้า"),
        ("ບີ", "ບູ"),
        ("བོད", "བད"),
        ("か", "が"),
        ("ハ", "パ"),
        ("მე", "შე"),
        ("ام", "اب"),
        ("日本", "日木"),
        ("한", "하"),
        ("кот", "рот"),
        ("ay", "by"),
        ("1", "l"),
    ],
)
def test_different_words_stay_different(one, other):
    assert normalize(one) != normalize(other)


@pytest.mark.parametrize(
    "alphabet",
    [
        "абвгдежзиклмнопрстуфхцчшщъыьэюя",
        "абвгґдеєжзиіклмнопрстуфхцчшщьюя",
        "абвгдђежзијклљмнњопрстћуфхцчџш",
        "αβγδεζηθικλμνξοπρστυφχψω",
        "abcdefghijklmnopqrstuvwxyzæøłđß",
    ],
)
def test_letters_of_one_alphabet_stay_distinct_and_case_does_not(alphabet):
    skeletons = [normalize(letter) for letter in alphabet]
    assert len(set(skeletons)) == len(alphabet)
    assert [normalize(letter.upper()) for letter in alphabet] == skeletons


def test_hindi_sentence_loses_nothing():
    text = "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है"
    assert normalize(text) == unicodedata.normalize("NFD", text)


ANY_TEXT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(" \t\n\u00a0--—–‘’“”aAéΑаﬁﷺ़゙्ุ่ི́̈̀\u200b\u3164한\u1fef\u1ffd\u0344"),
        st.characters(categories=["Mn", "Mc", "Me", "Cf", "Zs"]),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=100)
@given(ANY_TEXT)
def test_canonically_equal_texts_share_the_skeleton(text):
    skeleton = normalize(text)
    assert normalize(unicodedata.normalize("NFC", text)) == skeleton
    assert normalize(unicodedata.normalize("NFD", text)) == skeleton


@settings(deadline=None, max_examples=100)
@given(ANY_TEXT)
def test_normalising_twice_changes_nothing(text):
    once = normalize(text)
    assert normalize(once) == once
    assert "  " not in once
    assert once == once.strip(" ")


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_the_way_for_ascii_is_the_way_for_all(text):
    fast, general = normalize(text), normalize(text + "\u200b")
    assert general == fast


def test_empty_and_invisible_texts_have_empty_skeletons():
    for text in ["", " ", "\n\t", "\u200b\u200b", " \u200b \u3164"]:
        assert normalize(text) == ""
