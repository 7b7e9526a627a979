"""How much of a true continuation is reproduced with small changes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import LCSseq, Levenshtein

from memaudit.metrics.base import Metric, written
from memaudit.metrics.ceilings import bleu_ceiling, edit_similarity_ceiling, rouge_l_ceiling
from memaudit.metrics.ngrams import BLEU_ORDER, bleu_of, matching_ngrams
from memaudit.metrics.sequences import Tokens, as_codes

_SCRIPTS_WITHOUT_SPACES = (
    "CJK",
    "IDEOGRAPHIC",
    "HIRAGANA",
    "KATAKANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
)
"""How the Unicode names of letters begin in scripts that do not separate words."""


def edit_similarity(a: Tokens, b: Tokens) -> float | None:
    """Return 1 - Levenshtein distance / longer length, on token ids or on characters.

    Symmetric.

    Returns:
        A share in [0, 1], 1 for equal sequences; None where one is empty.
    """
    if not len(a) or not len(b):
        return None
    return Levenshtein.normalized_similarity(_hashable(a), _hashable(b))


def rouge_l(a: Tokens, b: Tokens) -> float | None:
    """Return ROUGE-L, 2 LCS / (len(a) + len(b)) with LCS the longest common subsequence.

    Symmetric: the F-measure of precision and recall with equal weight (Lin 2004).

    Returns:
        A share in [0, 1], 1 for equal sequences; None where one is empty.
    """
    if not len(a) or not len(b):
        return None
    return 2 * LCSseq.similarity(_hashable(a), _hashable(b)) / (len(a) + len(b))


def rouge_l_text(reference: str, candidate: str) -> float | None:
    """Return ROUGE-L of the words of two texts; None where one of them has no word.

    Equal to rouge_score's rougeL without stemming on ASCII text, and defined for every script: see `words`.
    """
    numbers: dict[str, int] = {}
    sides = [[numbers.setdefault(word, len(numbers)) for word in words(t)] for t in (reference, candidate)]
    return rouge_l(*sides)


def words(text: str) -> list[str]:
    """Return the lower-case words of a text in any script.

    A word is a run of letters, digits and the marks on them. In scripts that put no spaces between words
    every character is a word, and so is every symbol outside ASCII, such as an emoji. Everything else
    (white space, punctuation, ASCII symbols) only separates.
    """
    return text.lower().translate(_SPACED).split()


class _Spaced(dict[int, str]):
    """Translation table that sets spaces where words end; filled with the characters it meets."""

    def __missing__(self, code: int) -> str:
        self[code] = spaced = _spaced(chr(code))
        return spaced


def _spaced(character: str) -> str:
    category = unicodedata.category(character)
    if character.isascii():
        return character if character.isalnum() else " "
    name = unicodedata.name(character, "").removeprefix("HALFWIDTH ")
    if category == "Cf" or name.startswith("VARIATION SELECTOR"):
        return ""
    if category[0] in "ZP" or category == "Cc":
        return " "
    if category[0] in "SC" or name.startswith(_SCRIPTS_WITHOUT_SPACES):
        return f" {character} "
    return character


_SPACED = _Spaced()


def bleu(reference: Tokens, candidate: Tokens) -> float | None:
    """Return sentence BLEU up to 4-grams of a candidate against one reference.

    Papineni et al. 2002 with the settings of sacrebleu's ``sentence_bleu``: smoothing ``exp`` (the k-th order
    that has no match counts as 1 / 2^k matches, as in NIST's mteval and nltk's ``method3``) and effective
    order (orders longer than the candidate are left out, so that equal sequences of any length give 1).
    Divided by 100. Not symmetric: precision, and a penalty for candidates that are shorter.

    Returns:
        A share in [0, 1]; 0 where no token matches, None where one sequence is empty.
    """
    if not len(reference) or not len(candidate):
        return None
    matches = matching_ngrams(as_codes(reference), as_codes(candidate), BLEU_ORDER)
    return bleu_of(matches, len(reference), len(candidate))


def _hashable(tokens: Tokens) -> str | Sequence[int]:
    # rapidfuzz reads lists of Python integers three times as fast as numpy rows.
    return tokens.tolist() if isinstance(tokens, np.ndarray) else tokens


EDIT_SIMILARITY = Metric(
    "edit_similarity",
    "Edit similarity",
    "1 - Levenshtein distance / longer length, on token ids. Hit at 0.9 or more: at most 10% of the"
    " suffix edited, the approximate memorization of the Gemma report (Gemma Team 2024).",
    lambda outcome: edit_similarity(outcome.true, written(outcome)),
    threshold=0.9,
    ceiling=edit_similarity_ceiling,
)
EDIT_SIMILARITY_TEXT = Metric(
    "edit_similarity_text",
    "Edit similarity of the text",
    "1 - Levenshtein distance / longer length, on characters.",
    lambda outcome: edit_similarity(outcome.true_text, outcome.text or ""),
)
ROUGE_L = Metric(
    "rouge_l",
    "ROUGE-L",
    "2 LCS / (n + m) with LCS the longest common subsequence of token ids: the F-measure of Lin 2004."
    " Hit at 0.8 or more, the threshold of CopyBench (Chen et al. 2024), there on words.",
    lambda outcome: rouge_l(outcome.true, written(outcome)),
    threshold=0.8,
    ceiling=rouge_l_ceiling,
)
ROUGE_L_TEXT = Metric(
    "rouge_l_text",
    "ROUGE-L of the words",
    "2 LCS / (n + m) on lower-case words without stemming (Lin 2004); characters count as words in"
    " scripts that put no spaces between words, and so do symbols.",
    lambda outcome: rouge_l_text(outcome.true_text, outcome.text or ""),
)
BLEU = Metric(
    "bleu",
    "BLEU",
    "Sentence BLEU of token ids up to 4-grams (Papineni et al. 2002), orders longer than the"
    " continuation left out, the k-th order without a match counted as 1 / 2^k matches (NIST). Hit above"
    " 0.75 (Ippolito et al. 2022).",
    lambda outcome: bleu(outcome.true, written(outcome)),
    symmetric=False,
    threshold=0.75,
    threshold_included=False,
    ceiling=bleu_ceiling,
)
