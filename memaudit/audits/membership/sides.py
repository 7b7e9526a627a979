"""The two sides of a membership question: the items of a benchmark, and items of its kind that no model has read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memaudit.audits.benchmark.items import read_benchmark
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.suspects import Suspects, same_words
from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.runs.plans import BenchmarkSide
from memaudit.text.corpus.objects import Listed, specs_of

SHOWN = 20
"""Sources of documents that were set aside which a plan names."""
NO_SIDE: BenchmarkSide = {
    "specs": [],
    "files": [],
    "layout": None,
    "fields": {},
    "items": 0,
    "empty": 0,
    "rejected": 0,
    "first_rejected": [],
    "repeated": 0,
    "set_aside": 0,
    "first_set_aside": [],
}
"""What a plan says of held-out text where there is none."""


@dataclass(frozen=True, slots=True)
class Side:
    """The documents of one side, in the order of their files."""

    documents: list[Document]
    """Each text once: copies of one text are one observation."""
    everything: list[Document]
    """With the copies: whether the order of a file is known is asked of the file as it is."""
    summary: BenchmarkSide
    """What was read and what was left out, as the plan says it."""
    notice: str = ""
    """Which ids repeat and were qualified."""


def read_sides(benchmark: Listed, heldout: Listed, options: MembershipOptions) -> tuple[Side, Side]:
    """Read both sides by the same rules.

    A held-out text that occurs in a suspect, or contains one, is no held-out text: it is set aside and counted.

    Args:
        benchmark: Specs of the suspects.
        heldout: Specs of items that the model cannot have seen; may be empty.
        options: How a record becomes a text.

    Raises:
        InputError: Nothing can be read, or all of the held-out text is the benchmark's own.
    """
    suspects = _read(benchmark, options)
    if not heldout:
        return suspects, Side([], [], NO_SIDE)
    unseen = _read(heldout, options)
    theirs, ours = ([document.text for document in side.documents] for side in (unseen, suspects))
    holding, within = Suspects(ours).stand_in(theirs), Suspects(theirs).standing_in(ours)
    aside = [d for d, *hits in zip(unseen.documents, holding, within, strict=True) if any(hits)]
    if len(aside) == len(unseen.documents):
        raise InputError(
            f"the held-out text occurs in the benchmark, or contains it: all {len(aside):,} of its texts, first"
            f" {aside[0].source}",
            "held-out items must be such as the model cannot have seen",
        )
    gone = {id(document) for document in aside}
    summary: BenchmarkSide = {
        **unseen.summary,
        "set_aside": len(aside),
        "first_set_aside": [document.source for document in aside[:SHOWN]],
    }
    kept = [document for document in unseen.documents if id(document) not in gone]
    return suspects, Side(kept, unseen.everything, summary, unseen.notice)


def _read(specs: Listed, options: MembershipOptions) -> Side:
    told: dict[str, Any] = {
        "id_field": options.id_field,
        "skip_bad": options.skip_bad,
        "max_expand": options.max_expand,
    }
    read = read_benchmark(specs, options.fields or None, **told)
    everything = [Document(item.id, item.whole, item.source) for item in read.items]
    groups = same_words([document.text for document in everything])
    first = {group: number for number, group in reversed(list(enumerate(groups)))}
    documents = [d for number, d in enumerate(everything) if first[groups[number]] == number]
    summary: BenchmarkSide = {
        "specs": specs_of(specs),
        "files": read.files,
        "layout": read.layout,
        "fields": read.fields,
        "items": len(documents),
        "empty": read.empty,
        "rejected": read.rejected,
        "first_rejected": read.first_rejected,
        "repeated": len(everything) - len(documents),
        "set_aside": 0,
        "first_set_aside": [],
    }
    return Side(documents, everything, summary, read.notice)
