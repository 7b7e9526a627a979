"""From estimates to a verdict: the policy, the three-valued decision, and findings with stable ids."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from memaudit.stats import Rate, documents_needed, fewest_documents, smallest_p
from memaudit.stats.rounding import p_equals, p_value, percent, stated

Verdict = Literal["found", "clean", "inconclusive"]

EXIT_CODES: dict[Verdict, int] = {"clean": 0, "found": 1, "inconclusive": 3}
CONFIDENCE = 0.95
"""Of the one-sided limits that a rate is judged by."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is tolerated."""

    max_rate: float = 0.01
    """Largest tolerated rate of the primary metric on training text; 0 tolerates no hit."""
    alpha: float = 0.05
    """Level of the test of training text against held-out text."""


@dataclass(frozen=True, slots=True)
class ItemPolicy:
    """How much of a benchmark may be contaminated; where both limits are given, both hold."""

    max_items: int | None = 0
    max_rate: float | None = None
    """Share of the judged items, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Control:
    """A check of the instrument."""

    name: str
    passed: bool | None
    """None where it could not be run, which is not enough for a clean verdict."""
    detail: str
    comparison: bool = False
    """Whether the comparison with held-out text rests on it: where it fails, a difference shows nothing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and why, in plain words."""

    verdict: Verdict
    exit_code: int
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of evidence."""

    id: str
    kind: str
    document: str
    source: str
    metric: str
    score: float
    copies: int | None
    """How often the document was planted in the training text, where the corpus says so."""
    text: str | None
    """None where texts are not shown."""
    copies_exact: int | None = None
    """As in `memaudit.records.WindowRecord`."""
    copies_normalised: int | None = None


OF_ONE_WORK = "of a single work, ask 'memaudit work'"
"""Where the documents are too few to be compared."""


def decide(
    primary_train: Rate,
    primary_p: float | None,
    controls: Sequence[Control],
    complete: bool,
    policy: Policy,
    *,
    heldout: Rate | None = None,
    least_p: float | None = None,
) -> Decision:
    """Judge the primary metric by the policy.

    - found: training text is reproduced more often than held-out text (p <= alpha), the sides can be compared, and
      the one-sided 95% lower limit of its rate exceeds the tolerated rate (any hit does where none is tolerated).
      Another control that failed is reported beside it and takes nothing away.
    - clean: the upper limit lies below the tolerated rate and every control passed.
    - inconclusive: anything else, and every run that is not complete. Where the sides have so few documents that no
      outcome could give p <= alpha, it says that nothing can be tested.

    Args:
        primary_train: Rate of the primary metric on training text.
        primary_p: p-value of training against held-out text; None where there is nothing to compare.
        controls: Checks of the instrument.
        complete: Whether all that was planned has been measured.
        policy: What is tolerated.
        heldout: Rate on held-out text; it changes words alone.
        least_p: The smallest p that these hits could have given; it changes words alone.
    """
    low, high = primary_train.lower(CONFIDENCE), primary_train.upper(CONFIDENCE)
    failed = [_failure(control) for control in controls if not control.passed]
    if low is None or high is None:
        reasons = [*_incomplete(complete), "no training document was measured", *failed]
        return _decision("inconclusive", reasons)
    exceeds = low > policy.max_rate or (policy.max_rate == 0 and primary_train.hits > 0)
    differs = primary_p is not None and primary_p <= policy.alpha
    comparable = all(control.passed for control in controls if control.comparison)
    comparison = _comparison(primary_train, heldout, primary_p, least_p, policy)
    if complete and exceeds and differs and comparable:
        return _decision("found", [_excess(primary_train, low, policy), comparison, *failed])
    below = high < policy.max_rate or policy.max_rate >= 1
    if complete and below and not failed:
        return _decision("clean", [_shortfall(primary_train, high, policy), "every control passed"])
    reasons = [*_incomplete(complete), *failed]
    if exceeds:
        reasons.append(_excess(primary_train, low, policy))
    elif not below:
        reasons.append(_undecided(primary_train, low, high, policy, bool(failed)))
    if exceeds and differs and not comparable:
        reasons.append(f"{comparison}, but the sides differ, and that alone may be why: give held-out text like it")
    elif not differs and (primary_train.hits or _untestable(primary_train, heldout, policy)):
        reasons.append(comparison)
    return _decision("inconclusive", reasons)


def decide_items(found: int, judged: int, policy: ItemPolicy, doubts: Sequence[str]) -> Decision:
    """Judge how many items of a benchmark stand in a corpus.

    Items are counted, not sampled: nothing is estimated. What was found stays found whatever else went
    wrong; *clean* needs that there was nothing to doubt, and at least one judged item.

    Args:
        found: Contaminated items that no baseline accepts.
        judged: Items that could be judged.
        policy: What is tolerated.
        doubts: Why the search was not whole: records skipped, a control that failed, items too short.
    """
    over = []
    if policy.max_items is not None and found > policy.max_items:
        over.append(
            f"{found:,} contaminated {'item' if found == 1 else 'items'}, and {policy.max_items:,} are tolerated"
        )
    if policy.max_rate is not None and found > policy.max_rate * judged:
        items = "item" if judged == 1 else "items"
        over.append(f"{percent(found / judged)} of {judged:,} {items}, and {percent(policy.max_rate)} is tolerated")
    if over:
        return _decision("found", [*over, *doubts])
    if doubts or not judged:
        return _decision("inconclusive", [*doubts, *([] if judged else ["no item could be judged"])])
    items = "item is" if judged == 1 else "items are"
    return _decision("clean", [f"{found:,} of {judged:,} {items} contaminated and not accepted: the policy is met"])


def undecided(reasons: Sequence[str]) -> Decision:
    """Return the decision about a plan of which only a share was done: none, whatever was found."""
    return _decision("inconclusive", list(reasons))


def fingerprint(kind: str, document: str, text: str) -> str:
    """Return the id of a finding: the same for the same text of the same document, wherever it stands.

    Neither line nor path enters, and neither do white space, letter case or the way a character is composed.
    The prefix names the version of this rule.

    Args:
        kind: The rule that made the finding.
        document: Id of the document.
        text: The span that was found.
    """
    span = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    parts = (part.encode("utf-8", "surrogatepass") for part in (kind, document, span))
    digest = hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts))
    return f"v1:{digest.hexdigest()[:32]}"


def _decision(verdict: Verdict, reasons: list[str]) -> Decision:
    return Decision(verdict, EXIT_CODES[verdict], reasons)


def _failure(control: Control) -> str:
    outcome = "could not be run" if control.passed is None else "failed"
    return f"the control '{control.name}' {outcome}: {control.detail}"


def _incomplete(complete: bool) -> list[str]:
    return [] if complete else ["the run is not complete: the same command resumes it"]


def _counted(rate: Rate) -> str:
    documents = f" in {rate.documents} documents" if rate.n != rate.documents else ""
    return f"{rate.hits} of {rate.n} training windows{documents} are hits"


def _excess(rate: Rate, low: float, policy: Policy) -> str:
    if policy.max_rate == 0:
        return f"{_counted(rate)}, and none is tolerated"
    return f"{_counted(rate)}: the rate is at least {percent(low)}, more than the {_limit(policy)} tolerated"


def _shortfall(rate: Rate, high: float, policy: Policy) -> str:
    return f"{_counted(rate)}: the rate is at most {percent(high)}, less than the {_limit(policy)} tolerated"


def _undecided(rate: Rate, low: float, high: float, policy: Policy, failed: bool) -> str:
    """Say why a rate is shown neither to exceed the limit nor to keep it."""
    needed = documents_needed(policy.max_rate, CONFIDENCE)
    if needed is None:
        return f"upper bound {percent(high)}: no number of documents shows a rate of 0; tolerate a small rate"
    bound = f"upper bound {percent(high)} > limit {_limit(policy)}"
    if rate.hits:
        return f"{bound}: {_counted(rate)}, and the rate may be as low as {percent(low)}"
    if failed:
        return f"{bound}; no number of documents makes this clean before every control passes"
    return f"{bound}: {needed} documents needed, and {rate.documents} were measured"


def _comparison(train: Rate, heldout: Rate | None, p: float | None, least: float | None, policy: Policy) -> str:
    """Say what the test of the sides shows; never that they are equal, and where it could show nothing, that."""
    if p is None:
        return "there is no held-out text to compare with"
    if p <= policy.alpha:
        return f"training text is reproduced more often than held-out text ({p_equals(p)})"
    if heldout is not None and _untestable(train, heldout, policy):
        least = smallest_p(train.documents, heldout.documents)
    if least is None or least <= policy.alpha:
        could = "" if least is None else f", and could have been {p_value(least)}"
        return f"that training text is reproduced more often than held-out text is not shown: {p_equals(p)}{could}"
    sizes = [(train.documents, "training"), *([] if heldout is None else [(heldout.documents, "held-out")])]
    counts = " and ".join(f"{n} {side} {'document' if n == 1 else 'documents'}" for n, side in sizes)
    nothing = (
        f"nothing can be tested with {counts}: p cannot be below {p_value(least)} where {policy.alpha:g} is required"
    )
    needed = f"at least {fewest_documents(policy.alpha)} a side are needed; {OF_ONE_WORK}"
    remedy = needed if _untestable(train, heldout, policy) else "too few of them have a hit"
    return f"{nothing}, whatever the model knows; {remedy}"


def _untestable(train: Rate, heldout: Rate | None, policy: Policy) -> bool:
    """Whether a test of so many documents could not reject, whatever their hits."""
    if heldout is None or not heldout.documents:
        return False
    return smallest_p(train.documents, heldout.documents) > policy.alpha


def _limit(policy: Policy) -> str:
    return stated(policy.max_rate)
