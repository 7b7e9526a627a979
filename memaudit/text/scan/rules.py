"""The contamination rules of published reports, each a function of what one pass over the corpus found.

Words are those of `memaudit.text.words.words` for every rule, whatever tokens its authors used, so that the rules
differ by their logic alone. A needle too short for a rule has no verdict by it. Every rule is a measurement:
more documents never take back what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.text.scan.kernel import MIN_SPAN
from memaudit.text.scan.patterns import PALM_LENGTH, PILE_LENGTH, Patterns
from memaudit.text.scan.result import Scan

Outcome = tuple[bool | None, float | None]
"""Whether the rule fires, and its score in [0, 1]; both None where the needle is too short for it."""

PALM_SHARE = 0.7
LLAMA_SHARES = 0.2, 0.8
"""Least shares of contaminated words that make an item *not clean* and *dirty*."""
LONGEST_SHARE, LONGEST_LENGTH = 0.5, 8


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was published, or one whose score was."""

    name: str
    label: str
    definition: str
    """In one sentence, as it is computed here."""
    source: str
    """Where it was published."""
    verdict: Callable[[Patterns, Scan, int], Outcome]
    """Called with the needle's number."""
    classes: tuple[tuple[str, str, float], ...] = ()
    """How its authors divide items: name under a score, name from it on, the score; each divides all of them."""

    def count_classes(self, scores: Iterable[float | None]) -> dict[str, int]:
        """Return how many items fall in each class, by their scores; an item without a score is in none."""
        known = [score for score in scores if score is not None]
        counts: dict[str, int] = {}
        for under, over, least in self.classes:
            above = sum(score >= least for score in known)
            counts |= {under: len(known) - above, over: above}
        return counts


def _gpt3(patterns: Patterns, scan: Scan, needle: int) -> Outcome:
    length = patterns.gpt3_lengths[patterns.needles[needle].part]
    return _share(_gram_documents(patterns, scan, needle, length) >= 1, least=0)


def _pile(patterns: Patterns, scan: Scan, needle: int) -> Outcome:
    return _share(_gram_documents(patterns, scan, needle, PILE_LENGTH) >= 1, least=0)


def _palm(patterns: Patterns, scan: Scan, needle: int) -> Outcome:
    return _share(_gram_documents(patterns, scan, needle, PALM_LENGTH) >= 1, least=PALM_SHARE)


def _llama2(patterns: Patterns, scan: Scan, needle: int) -> Outcome:
    if patterns.length(needle) < MIN_SPAN:
        return None, None
    return _share(scan.covered[patterns.offsets[needle] : patterns.offsets[needle + 1]], least=LLAMA_SHARES[1])


def _gpt4(patterns: Patterns, scan: Scan, needle: int) -> Outcome:
    return _share(scan.substrings[list(patterns.substrings.of(needle))], least=0)


def _longest(patterns: Patterns, scan: Scan, needle: int) -> Outcome:
    words, longest = patterns.length(needle), int(scan.longest[needle])
    if words < LONGEST_LENGTH:
        return None, None
    score = longest / words if longest >= LONGEST_LENGTH else 0.0
    return score >= LONGEST_SHARE, score


def _gram_documents(patterns: Patterns, scan: Scan, needle: int, length: int) -> NDArray[np.uint32]:
    """Return the document frequency of the n-gram at each place of a needle; empty if it is shorter."""
    ids = patterns.gram_ids(needle, length)
    return scan.gram_documents[length][ids[ids >= 0]]


def _share(hits: NDArray[np.bool_], least: float) -> Outcome:
    """Return whether the share of hits is over 0 and at least ``least``, and the share."""
    if not len(hits):
        return None, None
    share = int(hits.sum()) / len(hits)
    return share > 0 and share >= least, share


_RULES = (
    Rule(
        name="gpt3",
        label="GPT-3",
        definition=(
            "any n words in a row of the item occur in a document; n is the 5th percentile of the items' lengths in"
            " words, at least 8 and at most 13"
        ),
        source="Brown et al. 2020, Language Models are Few-Shot Learners, appendix C",
        verdict=_gpt3,
    ),
    Rule(
        name="pile13",
        label="Pile 13-gram",
        definition="any 13 words in a row of the item occur in a document",
        source="Gao et al. 2020, The Pile, section 4.1; EleutherAI lm-evaluation-harness, decontamination",
        verdict=_pile,
    ),
    Rule(
        name="palm",
        label="PaLM 8-gram",
        definition="at least 70% of the item's 8-grams, each place counted, occur somewhere in the corpus",
        source="Chowdhery et al. 2022, PaLM: Scaling Language Modeling with Pathways, section 8",
        verdict=_palm,
    ),
    Rule(
        name="llama2",
        label="Llama 2, dirty",
        definition=(
            "at least 80% of the item's words match within spans of more than 10 words shared with a document, which"
            " differ in at most 4 places, none of them among the first 10 words nor the last; not clean from 20% on"
        ),
        source="Touvron et al. 2023, Llama 2: Open Foundation and Fine-Tuned Chat Models, appendix A.6",
        verdict=_llama2,
        classes=(("clean", "not clean", LLAMA_SHARES[0]), ("not dirty", "dirty", LLAMA_SHARES[1])),
    ),
    Rule(
        name="gpt4",
        label="GPT-4",
        definition=(
            "any of three substrings of 50 letters and digits, drawn at random, or all of a text that has no more,"
            " occurs in a document of which only letters and digits are read, case kept; texts of fewer than 20 are"
            " left out by us"
        ),
        source="OpenAI 2023, GPT-4 Technical Report, appendix C",
        verdict=_gpt4,
    ),
    Rule(
        name="longest-match",
        label="Longest match, half",
        definition=(
            "the longest run of words, 8 or more, that occurs in one document is at least half of the item; without a"
            " skip budget"
        ),
        source=(
            "score: Singh et al. 2024, Evaluation data contamination in LLMs: how do we measure it and (when) does it"
            " matter?, section 2, longest-match; the threshold is ours, theirs is chosen for each model and benchmark"
        ),
        verdict=_longest,
    ),
)

RULES = {rule.name: rule for rule in _RULES}
"""All published rules by name."""
