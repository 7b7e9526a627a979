"""The first line about whole works."""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.metrics.probability import THRESHOLDS
from memaudit.runs.work_report import WorkMeasured, WorkPart
from memaudit.stats.rounding import percent, samples, stated

MOST = 0.5
"""Share of what can be had back that the named parts hold together."""
NAMED = 4
"""Parts that are named at most."""
LONGEST_NUMBER = 9
"""Characters of ``LXXXVIII`` and of numbers in words."""
SAID = {
    "found": "more than the control works explain",
    "clean": "within what is tolerated",
    "inconclusive": "inconclusive",
}


def headline(works: Sequence[WorkMeasured], threshold: float, verdict: str) -> str:
    """Return what can be had back, where and at what cost, of the works and of the control works, and the verdict."""
    asked = [work for work in works if not work["control"]]
    others = [work for work in works if work["control"]]
    place = THRESHOLDS.index(threshold)
    name = asked[0]["name"] if len(asked) == 1 else f"{len(asked)} works"
    told = [f"{shares(asked)} of {name} can be had back at p >= {' / '.join(map(stated, THRESHOLDS))}"]
    if where := _where(asked, place):
        told[0] += f", most of it in {where}"
    passages = [passage for work in asked for passage in work["longest"]]
    if passages:
        longest = max(passages, key=lambda passage: passage["tokens"])
        words = longest["words"] or 0
        told.append(
            f"the longest passage at p >= {stated(threshold)} has {longest['tokens']:,} tokens,"
            f" {words:,} {'word' if words == 1 else 'words'}"
        )
        costs = [work["costs"][place] for work in asked]
        drawn, tokens = (sum(cost[what] for cost in costs) for what in ("samples", "tokens"))
        told.append(
            f"it takes {samples(drawn)} samples, {samples(tokens)} tokens in all, for an even chance of each window"
            f" behind the {percent(share_of(asked, place))}"
        )
    if others:
        told.append(f"of the control works {shares(others)}")
    else:
        told.append("nothing can be tested without a control work")
    return f"{'; '.join(told)}: {SAID[verdict]}"


def shares(works: Sequence[WorkMeasured]) -> str:
    """Return the shares of all tokens that can be had back at every threshold: ``12.3% / 9.1% / 4.0% / 2% / 1%``."""
    return " / ".join(percent(share_of(works, place)) for place in range(len(THRESHOLDS)))


def share_of(works: Sequence[WorkMeasured], place: int) -> float | None:
    """Return the share of all tokens of works that can be had back at a threshold, by its place."""
    tokens = sum(work["tokens"] for work in works)
    return sum(work["reached"][1 + place]["tokens"] for work in works) / tokens if tokens else None


def _where(works: Sequence[WorkMeasured], place: int) -> str:
    """Name the parts that hold most of what can be had back, the fullest first; empty where that says nothing."""
    held = [
        (part["reached"][1 + place]["tokens"], heading_of(number, part))
        for work in works
        for number, part in enumerate(work["parts"], 1)
    ]
    total, some, named = sum(tokens for tokens, _ in held), 0, list[str]()
    for tokens, title in sorted(held, key=lambda pair: -pair[0]):
        if not tokens or some > MOST * total or len(named) == NAMED:
            break
        some += tokens
        named.append(title)
    return ", ".join(named) if some > MOST * total and 2 * len(named) <= len(held) else ""


def heading_of(number: int, part: WorkPart) -> str:
    """Return what a part is called where no more than ``CHAPTER IV`` of the text may stand: else by its number."""
    words = part["title"].partition(".")[0].split()
    return " ".join(words) if len(words) == 2 and len(words[1]) <= LONGEST_NUMBER else f"part {number}"
