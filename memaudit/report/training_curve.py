"""Memorization over a training: the curve that audits during it draw, and so do audits of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memaudit.runs import parts
from memaudit.sections import Graph, Series
from memaudit.stats.rounding import percent

TITLE = "Verbatim reproduction over training"
TRAIN, HELDOUT = "training text", "held-out text"


@dataclass(frozen=True, slots=True)
class AtStep:
    """What one audit found at one step."""

    step: int
    train: parts.Rate
    heldout: parts.Rate


def curve_graph(lines: Mapping[str, Sequence[tuple[int, parts.Rate]]]) -> Graph:
    """Return the graph of rates over steps.

    Args:
        lines: What is audited -> the steps and what was found there, in the order of the steps.
    """
    return Graph(
        "Reproduced over steps",
        "Share of documents whose windows are reproduced verbatim, by the steps of training, with 95% intervals.",
        "steps of training",
        "documents",
        [
            Series(name, [[float(step), rate["rate"], rate["low"], rate["high"]] for step, rate in points])
            for name, points in lines.items()
            if points
        ],
    )


def curve_sentence(first: AtStep, last: AtStep, when: str = "") -> str:
    """Return what the last audit found, beside the first.

    Args:
        first: The first audit.
        last: The last one.
        when: Which model was audited last, where that is not the one of the last step.
    """
    sides = f"{_counted(last.train)} training and {_counted(last.heldout)} held-out windows"
    when = when or f"at step {last.step:,} the model"
    return f"{when} reproduces {sides}; at step {first.step:,}, {_counted(first.train)}"


def _counted(rate: parts.Rate) -> str:
    return f"{rate['hits']} of {rate['n']} ({percent(rate['rate'])})"
