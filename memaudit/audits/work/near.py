"""Windows of whole works within a few edits: a lower bound of the probability that a sample comes near the suffix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from memaudit.audits.documents import about_window
from memaudit.audits.measures.near_verbatim import BEAMS, BRANCHES, EDITS
from memaudit.audits.measures.probability import finite
from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.texts import WholeWork
from memaudit.metrics.probability import THRESHOLDS
from memaudit.models.base import LanguageModel
from memaudit.models.beam import near_texts
from memaudit.records import Window
from memaudit.runs.directory import RunDirectory
from memaudit.runs.measured_lines import NearVerbatimLine
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import percent

BLOCK = 8
"""Windows searched and logged together."""


def drawn_windows(works: Sequence[WholeWork], options: WorkOptions) -> list[Window]:
    """Return the windows of every work that the seed draws, in order."""
    found = []
    for work in works:
        generator = np.random.default_rng([options.seed, 2, work.number])
        for place in sorted(generator.permutation(work.windows)[: options.near_verbatim].tolist()):
            found.append(work.window(place))
    return found


def measure_near(
    model: LanguageModel, windows: Sequence[Window], options: WorkOptions, run: RunDirectory, first: int
) -> list[NearVerbatimLine]:
    """Search near the suffixes of windows as far as the log lacks them; return what it holds then.

    Args:
        model: With next-token distributions.
        windows: Their suffixes are equally long.
        options: Say how samples are drawn.
        run: Its log grows.
        first: Index of the first line.
    """
    blocks = [range(at, min(at + BLOCK, len(windows))) for at in range(0, len(windows), BLOCK)]
    for block in blocks:
        if not run.pending([range(first + block.start, first + block.stop)]):
            continue
        some = [windows[place] for place in block]
        found = near_texts(model, some, options.decoding, edits=EDITS, beams=BEAMS, branches=BRANCHES)
        run.append(
            [
                {
                    "index": first + place,
                    "measure": "near-verbatim",
                    **about_window(window),
                    "sampled": True,
                    "log_bounds": [finite(near.log_bound(edits)) for edits in range(EDITS + 1)],
                    "found": len(near.texts),
                }
                for place, window, near in zip(block, some, found, strict=True)
            ]
        )
    lines: list[NearVerbatimLine] = [run.records[first + place] for place in range(len(windows))]  # type: ignore[misc]
    return lines


def near_section(lines: Sequence[NearVerbatimLine]) -> Section:
    """Return, of every work, how many of its windows come near their suffixes."""
    least, rows = THRESHOLDS[0], list[list[Value]]()
    for document in dict.fromkeys(line["document"] for line in lines):
        own = [line for line in lines if line["document"] == document]
        bounds = [[_bound(line, edits) for edits in range(EDITS + 1)] for line in own]
        reach = [sum(bound[edits] >= least for bound in bounds) / len(own) for edits in range(EDITS + 1)]
        rows.append([f"{document}{'' if own[0]['member'] else ' (control)'}", len(own), *reach])
    columns = [Column("Work"), Column("Windows", "number"), Column("Verbatim", "share")]
    columns += [Column(f"Within {edits} {'edit' if edits == 1 else 'edits'}", "share") for edits in range(1, EDITS + 1)]
    asked = [line for line in lines if line["member"]]
    verbatim, near = (sum(_bound(line, edits) >= least for line in asked) for edits in (0, EDITS))
    come = "comes" if near == 1 else "come"
    return Section(
        "near-verbatim",
        "Near-verbatim",
        f"Of {len(asked):,} windows drawn of the works, {near:,} {come} within {EDITS} edits of their suffix with"
        f" a probability of {percent(least)} or more, {verbatim:,} word for word.",
        f"A beam search of {BEAMS} beams that keeps only beginnings which can still end within {EDITS} token edits"
        " (Levenshtein) of the true suffix; the probabilities of the texts found add up to a lower bound (after Cooper"
        " et al. 2026).",
        [Table(f"Windows whose bound is {percent(least)} or more", columns, rows)],
        notes=["A lower bound: texts that the search did not find are not counted."],
    )


def _bound(line: NearVerbatimLine, edits: int) -> float:
    value = line["log_bounds"][edits]
    return 0.0 if value is None else math.exp(min(0.0, value))
