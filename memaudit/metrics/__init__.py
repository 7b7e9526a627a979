"""What is measured of a continuation: the name, meaning and threshold of every metric.

The names are the fields of `memaudit.records.WindowRecord` where it carries the value. The functions stand
in `verbatim`, `fuzzy` and `likelihood`: ids and strings in, numbers and spans out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from memaudit.records import Capabilities, Capability

PRIMARY = "extractable"
"""The one metric that decides a verdict, named before anything is measured."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as a report explains it."""

    name: str
    label: str
    definition: str
    """Formula and source."""
    unit: str = "share"
    low: float | None = 0.0
    """Smallest possible value, or None where there is no such limit."""
    high: float | None = 1.0
    """Largest possible value, or None where there is no such limit."""
    more_is_memorized: bool = True
    """Direction: whether larger values mean more memorization."""
    symmetric: bool | None = True
    """Whether reference and continuation may change places; None for metrics of one sequence."""
    threshold: float | None = None
    """A window is a hit at this value, or None for metrics that are only averaged."""
    threshold_included: bool = True
    needs: Capabilities = frozenset((Capability.CONTINUATIONS,))
    """What a model must give for it."""

    def hit(self, value: float | None) -> bool | None:
        """Return whether ``value`` reaches the threshold; None where either is undefined."""
        if value is None or self.threshold is None:
            return None
        return value >= self.threshold if self.threshold_included else value > self.threshold


def _by_name(*metrics: Metric) -> Mapping[str, Metric]:
    return MappingProxyType({metric.name: metric for metric in metrics})


METRICS = _by_name(
    Metric(
        "extractable",
        "Verbatim (k-extractable)",
        "Greedy decoding of a prefix of k training tokens gives the whole true suffix, token for token"
        " (Carlini et al. 2022, definition 3.1).",
        symmetric=None,
        threshold=1.0,
    ),
    Metric(
        "matched",
        "Tokens matched before the first difference",
        "Number of suffix tokens that greedy decoding gives before its first wrong one.",
        unit="tokens",
        high=None,
        symmetric=None,
    ),
    Metric(
        "extraction_strength",
        "Extraction strength",
        "1 - k / n for the smallest k such that the last n - k of n suffix tokens follow greedily once the"
        " first k are given; 0 where not even the last one does (after Carlini et al. 2021).",
        symmetric=None,
        needs=frozenset((Capability.LEFT_TO_RIGHT,)),
    ),
    Metric(
        "longest_common",
        "Longest common run",
        "Length of the longest run of tokens that stands in both the continuation and the true suffix."
        " No threshold: how long a telling run is depends on whether tokens are characters or words.",
        unit="tokens",
        high=None,
    ),
    Metric(
        "edit_similarity",
        "Edit similarity",
        "1 - Levenshtein distance / longer length, on token ids. Hit at 0.9 or more: at most 10% of the"
        " suffix edited, the approximate memorization of the Gemma report (Gemma Team 2024).",
        threshold=0.9,
    ),
    Metric(
        "edit_similarity_text",
        "Edit similarity of the text",
        "1 - Levenshtein distance / longer length, on characters.",
    ),
    Metric(
        "rouge_l",
        "ROUGE-L",
        "2 LCS / (n + m) with LCS the longest common subsequence of token ids: the F-measure of Lin 2004."
        " Hit at 0.8 or more, the threshold of CopyBench (Chen et al. 2024), there on words.",
        threshold=0.8,
    ),
    Metric(
        "rouge_l_text",
        "ROUGE-L of the words",
        "2 LCS / (n + m) on lower-case words without stemming (Lin 2004); characters count as words in"
        " scripts that put no spaces between words, and so do symbols.",
    ),
    Metric(
        "bleu",
        "BLEU",
        "Sentence BLEU of token ids up to 4-grams (Papineni et al. 2002), orders longer than the"
        " continuation left out, the k-th order without a match counted as 1 / 2^k matches (NIST). Hit above"
        " 0.75 (Ippolito et al. 2022).",
        symmetric=False,
        threshold=0.75,
        threshold_included=False,
    ),
    Metric(
        "bits_per_byte",
        "Bits per byte",
        "-log2 p(suffix | prefix) / bytes of the suffix in UTF-8: comparable between vocabularies.",
        unit="bits per byte",
        high=None,
        more_is_memorized=False,
        symmetric=None,
        needs=frozenset((Capability.LOG_PROBS,)),
    ),
    Metric(
        "mean_log_prob",
        "Mean log-probability",
        "Mean of ln p(token | what stands before it) over the suffix tokens.",
        unit="nats per token",
        low=None,
        high=0.0,
        symmetric=None,
        needs=frozenset((Capability.LOG_PROBS,)),
    ),
)
