"""The words of a report, for readers who meet them there for the first time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memaudit.report.endpoint import VERBATIM, VERBATIM_DEFINITION, in_chat

_VERBATIM = "Verbatim, k-extractable"

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "Window",
        "A prefix of a document and its true continuation, the suffix, cut on the tokens of the whole document.",
    ),
    (
        "Held-out text",
        "Text of the same kind that the model was not trained on: what similarity looks like without memorization.",
    ),
    (
        "Greedy decoding",
        "The most probable token is taken at every step: one attempt, the same every time. Sampling makes other"
        " attempts, which may bring out more.",
    ),
    (
        _VERBATIM,
        "A prompt of k tokens of the text makes the model give the next tokens exactly (Carlini et al. 2022).",
    ),
    ("Copies", "Places where the suffix occurs in the training text, whatever its case, punctuation and layout."),
    ("Dose", "Copies that were planted on purpose, so that their number is known; 0 are twins that were never shown."),
    (
        "95% interval",
        "In at least 95 of 100 such audits it would hold the true rate. Windows of one document are not independent, so"
        " each counts for as much as the documents' differences allow: Clopper-Pearson with an effective size, and what"
        " documents that were not drawn may hold.",
    ),
    (
        "p",
        "How often training and held-out text would differ so much if both were reproduced alike: documents are"
        " permuted 9,999 times, their difference is divided by its standard error, and 1 is added to both counts."
        " Holm's correction serves the metrics beside the primary.",
    ),
    (
        "Found, clean, inconclusive",
        "Found: the rate is surely above the policy, and above held-out text like it. Clean: it is surely below the"
        " policy, and every control passed. Inconclusive: too little was measured, or a control failed.",
    ),
    ("Control", "A check of the instrument: whether it would have detected what it looks for."),
)
"""(term, what it means)."""


def words_for(*models: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the words of a page about models: where all were asked by messages, nothing on it is k-extractable."""
    if not models or not all(map(in_chat, models)):
        return GLOSSARY
    return tuple((VERBATIM, VERBATIM_DEFINITION) if term == _VERBATIM else (term, means) for term, means in GLOSSARY)
