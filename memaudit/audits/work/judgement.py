"""Whether works are had back more than control works of the same kind, which the model cannot have seen: the verdict.

The null hypothesis: windows of a work reach the threshold as often as those of control works do. One work is no sample
of works, and its windows are none either. So works are cut into blocks, longer than the stretches in which hits come by
chance: blocks are exchanged between the works and the control works, and where the control works differ from one
another more than their blocks explain, works are what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.work.blocks import (
    REACHES,
    SHORTEST,
    Tested,
    WorkHits,
    adjusted,
    against_controls,
    detectable,
    differ,
)
from memaudit.findings import CONFIDENCE, EXIT_CODES, Control, Policy, Verdict
from memaudit.metrics.probability import THRESHOLDS
from memaudit.runs.options import WorkOptions
from memaudit.runs.work_report import TestedWork, WorkMeasured, WorkTest
from memaudit.stats.blocks import (
    block_length,
    block_means,
    blocks_needed,
    correlation_at,
    mean_interval,
    page_means,
    share_interval,
)
from memaudit.stats.rounding import correlation, count, p_equals, percent, stated

CONTROLS_UNSEEN = "control works are not had back"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict about works, and all that it rests on."""

    verdict: Verdict
    reasons: list[str]
    test: WorkTest
    controls: list[Control]
    """Those that were given, and what control works say of themselves."""
    method: str
    limits: list[str]
    """What the test does not show."""

    @property
    def exit_code(self) -> int:
        """Return the exit code of the verdict."""
        return EXIT_CODES[self.verdict]


def judge(works: Sequence[WorkMeasured], options: WorkOptions, controls: Sequence[Control]) -> Judgement:
    """Return the verdict about works by the windows that reach the threshold of the options.

    Args:
        works: Those in question and the control works; windows of text that both sides hold are not compared.
        options: With the threshold, what is tolerated, the level and the seed.
        controls: Checks of the instrument.
    """
    level = 1 + THRESHOLDS.index(options["threshold"])
    hits = [WorkHits(work["name"], work["control"], _hits(work, level), options["stride"]) for work in works]
    return judge_hits(hits, Policy(options["max_rate"], options["alpha"]), controls, seed=options["seed"])


def _hits(work: WorkMeasured, level: int) -> NDArray[np.bool_]:
    """Return which windows reach a level; those of text that both sides hold are left out."""
    shared = work.get("shared") or "0" * len(work["levels"])
    return np.array([int(d) >= level for d, own in zip(work["levels"], shared, strict=True) if own == "0"], np.bool_)


def judge_hits(works: Sequence[WorkHits], policy: Policy, controls: Sequence[Control] = (), *, seed: int) -> Judgement:
    """Return the verdict about works.

    - found: a work, or all of them together, is had back more than the control works (p <= alpha, adjusted by Holm
      where there are several), and more of its windows reach the threshold than are tolerated. All of its windows are
      known: that share is no estimate.
    - clean: the one-sided 95% upper limit of every work lies at or below what is tolerated, and every control passed.
    - inconclusive: anything else.

    Args:
        works: Those that are asked about and the control works, in any order.
        policy: What is tolerated.
        controls: Checks of the instrument.
        seed: Fixes what is drawn.
    """
    asked = [work for work in works if not work.control and len(work.hits)]
    others = [work for work in works if work.control and len(work.hits)]
    apart = differ(others, seed)
    each = [against_controls([work], others, policy, seed, apart=apart) for work in asked]
    together = (
        each[0] if len(each) == 1 else against_controls(asked, others, policy, seed, apart=apart) if each else None
    )
    checks = [*controls, _unseen(others, policy)]
    # Several works share the level, and all of them together are one test more.
    tests = each if len(each) < 2 or together is None else [*each, together]
    p_holm = adjusted(tests)
    rows = [_row(*row, others) for row in zip(asked, each, p_holm, strict=False)]
    test = _test(asked, others, together, rows, policy, seed, apart=apart)
    verdict, reasons = _decide(test, list(zip(tests, p_holm, strict=True)), checks, policy)
    return Judgement(verdict, reasons, test, checks, _method(test, others), _limits(test, others))


def _unseen(others: Sequence[WorkHits], policy: Policy) -> Control:
    """Check that control works are hardly had back: else they were read too, or any text like them is."""
    if not others:
        return Control(CONTROLS_UNSEEN, True, "no control work was given")
    hits, windows = sum(int(w.hits.sum()) for w in others), sum(len(w.hits) for w in others)
    detail = f"{hits:,} of {windows:,} windows of control works reach the threshold"
    lows = [interval.low for w in others if (interval := share_interval(w.hits, w.stride, confidence=0.9))]
    failed = max(lows) > policy.max_rate
    return Control(CONTROLS_UNSEEN, not failed, detail + (": were they trained on?" if failed else ""))


def _row(work: WorkHits, tested: Tested, p_holm: float | None, others: Sequence[WorkHits]) -> TestedWork:
    pages = [page_means(other.hits, other.stride) for other in others]
    length = max(block_length([page_means(work.hits, work.stride)]), block_length(pages))
    interval = share_interval(work.hits, work.stride, length, confidence=2 * CONFIDENCE - 1)
    assert interval is not None, "a work without windows is not tested"
    return {
        "name": work.name,
        "share": tested.share,
        "upper": interval.high,
        "block_tokens": length,
        "blocks": tested.counts[0],
        "p_value": tested.p,
        "p_holm": p_holm,
    }


def _test(
    asked: Sequence[WorkHits],
    others: Sequence[WorkHits],
    together: Tested | None,
    rows: list[TestedWork],
    policy: Policy,
    seed: int,
    *,
    apart: bool,
) -> WorkTest:
    """Return what the report says of the test: of all works together, then of each."""
    pages = [page_means(work.hits, work.stride) for work in (*asked, *others)]
    # Works that are too short one by one may be long enough together.
    possible = together is not None and any(p is not None for p in (together.p, *(row["p_value"] for row in rows)))
    difference = _difference(asked, others)
    return {
        "possible": possible,
        "why_not": None if possible else _why_not(together, policy),
        "estimate": None if difference is None else difference.estimate,
        "low": None if difference is None else difference.low,
        "high": None if difference is None else difference.high,
        "p_value": None if together is None else together.p,
        "block_tokens": None if together is None else round(together.length),
        "blocks": [0, 0] if together is None else together.counts,
        "dependence": correlation_at(pages, 1),
        "unit": "works" if apart else "blocks",
        "detectable": None
        if together is None or together.p is None
        else detectable(together, policy, seed, apart=apart),
        "works": rows,
    }


def _difference(asked: Sequence[WorkHits], others: Sequence[WorkHits]) -> stats.Difference | None:
    """Return the difference of the shares with its interval: limits of both sides, squared and added (MOVER)."""
    if not asked or not others:
        return None
    (ours, one), (theirs, other) = _share(asked), _share(others)
    below, above = math.hypot(ours - one.low, other.high - theirs), math.hypot(one.high - ours, theirs - other.low)
    return stats.Difference(ours - theirs, max(-1.0, ours - theirs - below), min(1.0, ours - theirs + above))


def _share(works: Sequence[WorkHits]) -> tuple[float, stats.Interval]:
    """Return the share of the windows of some works that reach the threshold, with its interval by blocks."""
    pages = [page_means(work.hits, work.stride) for work in works]
    length = block_length(pages)
    blocks = [block_means(work.hits, work.blocks_of(length)) for work in works]
    interval = mean_interval(np.concatenate(blocks), sum(map(len, pages)))
    assert interval is not None, "works have windows"
    return sum(int(work.hits.sum()) for work in works) / sum(len(work.hits) for work in works), interval


def _decide(
    test: WorkTest, tests: Sequence[tuple[Tested, float | None]], checks: Sequence[Control], policy: Policy
) -> tuple[Verdict, list[str]]:
    """Return the verdict and why."""
    failed = [
        f"the control '{check.name}' {'could not be run' if check.passed is None else 'failed'}: {check.detail}"
        for check in checks
        if not check.passed
    ]
    comparable = all(check.passed for check in checks if check.comparison)
    above = [(tested, p) for tested, p in tests if p is not None and p <= policy.alpha]
    found = [_excess(tested, p, policy) for tested, p in above if tested.share > policy.max_rate]
    if found and comparable:
        return "found", [*found, *failed]
    bounds = [_bound(row, policy) for row in test["works"]]
    within = [row["upper"] <= policy.max_rate for row in test["works"]]
    if within and all(within) and not failed:
        return "clean", [*bounds, "every control passed"]
    reasons = [*failed, *found, *(bound for bound, kept in zip(bounds, within, strict=True) if not kept)]
    if test["why_not"] is not None:
        reasons.append(f"nothing can be tested: {test['why_not']}")
    elif not above:
        reasons.append(_not_shown(tests, test["detectable"], policy))
    return "inconclusive", reasons


def _excess(tested: Tested, p: float, policy: Policy) -> str:
    return (
        f"{tested.name}: {percent(tested.share)} of the windows reach the threshold, more than the"
        f" {stated(policy.max_rate)} tolerated, and more than in the control works ({p_equals(p)})"
    )


def _bound(row: TestedWork, policy: Policy) -> str:
    """Say how many windows may reach the threshold, and where that is too many, what would show that fewer do."""
    share = (
        f"{row['name']}: {percent(row['share'])} of the windows reach the threshold, at most {percent(row['upper'])}"
    )
    if row["upper"] <= policy.max_rate:
        return f"{share}, no more than the {stated(policy.max_rate)} tolerated"
    limit = f"{share} at 95% confidence, and {stated(policy.max_rate)} is tolerated"
    needed = stats.documents_needed(policy.max_rate)
    if row["share"] or needed is None:
        return limit
    tokens = count(needed * row["block_tokens"])
    return f"{limit}: a text of {tokens} tokens without a hit is needed, or a larger limit"


def _not_shown(tests: Sequence[tuple[Tested, float | None]], detectable: float | None, policy: Policy) -> str:
    least = min(p for _, p in tests if p is not None)
    told = f"it is not shown that more can be had back than of the control works: {p_equals(least)} > {policy.alpha:g}"
    if detectable is None:
        return f"{told}; no share would be found with a power of 80%: more text of control works is needed"
    return f"{told}; a share of {percent(detectable)}, in whole blocks, would be found with a power of 80%"


def _why_not(tested: Tested | None, policy: Policy) -> str:
    """Say why nothing can be tested, and what would change that."""
    if tested is None:
        return "no work has a window"
    n, m = tested.counts
    if not m:
        return (
            "no control work was given. One of the same author, time or genre is needed that the model cannot have"
            " read: without it nothing says how often windows of a work that was never seen reach the threshold"
        )
    needed = blocks_needed(n, policy.alpha)
    return (
        f"hits come in stretches, so blocks of {count(tested.length)} tokens are compared, and {_blocks(n)} against"
        f" {m:,} of control works cannot give a p of {policy.alpha:g}; {needed:,} are needed,"
        f" {count(needed * tested.length)} tokens"
    )


def _blocks(n: int) -> str:
    return f"{n:,} {'block' if n == 1 else 'blocks'}"


def _method(test: WorkTest, others: Sequence[WorkHits]) -> str:
    """Say what was tested and how."""
    if not test["possible"]:
        return f"Nothing was tested: {test['why_not']}."
    ours, theirs = test["blocks"]
    works = "" if len(test["works"]) == 1 else " Works are tested one by one and all together, adjusted by Holm (1979)."
    unit = (
        " The control works differ from one another more than their blocks explain, so p is no smaller than that of"
        f" works against {len(others)} control works (Crawford & Howell 1998)."
        if test["unit"] == "works"
        else ""
    )
    dependence = (
        "" if test["dependence"] is None else f" Neighbouring pages correlate by {correlation(test['dependence'])}."
    )
    return (
        "Null hypothesis: windows of a work reach the threshold as often as those of the control works."
        f" Texts are cut into blocks of {count(test['block_tokens'] or 0)} tokens: no less than {SHORTEST:,}, and"
        f" {REACHES} times as far as pages of control works depend on each other (Politis & White 2004).{dependence}"
        f" {_blocks(ours)} of works and {theirs:,} of control works are permuted with a studentised statistic (Janssen"
        " 1997); p is no smaller than that of Student's t of few blocks (Ibragimov & Mueller 2016) with the correlation"
        f" that is left between neighbours.{unit}{works}"
    )


def _limits(test: WorkTest, others: Sequence[WorkHits]) -> list[str]:
    """Return what the test does not show."""
    limits = []
    if test["possible"]:
        limits.append(
            "Blocks are taken to be longer than anything that a model gives back of a work that it has not seen: a"
            " quotation, a licence, a poem. Control works show this only as far as they hold such text."
        )
    if len(others) == 1:
        limits.append(
            "There is one control work: how much works of its kind differ from one another cannot be seen, and its"
            " blocks stand for those of all."
        )
    return limits
