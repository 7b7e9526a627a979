"""Text in six scripts for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

ALPHABETS = {
    "latin": "abcdeéñ ",
    "cjk": "的一是不了人我在",
    "thai": "กขคงจาิี่้",
    "arabic": "ابتثجحد َ ",
    "emoji": "😀🎉❤️👍🏽👨‍👩‍👧",
    "code": "ifx=(){};_0 \n\t",
}
"""A few characters of each script, so that random texts share much; marks and joiners among them."""

SAMPLES = {
    "latin": "Voilà, the quick brown fox jumps over the lazy dog at noon",
    "cjk": "床前明月光疑是地上霜舉頭望明月低頭思故鄉",
    "thai": "ภาษาไทยเป็นภาษาที่มีวรรณยุกต์",
    "arabic": "في البدء كانت الكلمة وبقيت مَحفوظة",
    "emoji": "😀🎉👍🏽👨‍👩‍👧🚀🔥🍕🐍",
    "code": "def f(x):\n    return {k: v[0] for k, v in x.items() if k != 'a_b'}\n",
}


def texts(script: str, max_size: int = 30) -> st.SearchStrategy[str]:
    """Random text of one script, possibly empty."""
    return st.text(alphabet=ALPHABETS[script], max_size=max_size)


def pairs(max_size: int = 30) -> st.SearchStrategy[tuple[str, str]]:
    """Two random texts of the same script, any script."""
    same = [st.tuples(texts(name, max_size), texts(name, max_size)) for name in ALPHABETS]
    return st.one_of(*same)


def ids(max_size: int = 60, vocabulary: int = 6) -> st.SearchStrategy[list[int]]:
    """Token ids of so small a vocabulary that repeats and shared runs are common."""
    return st.lists(st.integers(0, vocabulary - 1), max_size=max_size)
