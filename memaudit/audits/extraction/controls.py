"""Checks of the instrument itself. A verdict of *clean* needs every one of them to pass."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from memaudit.findings import Control
from memaudit.metrics.likelihood import unigram_entropy
from memaudit.records import Capabilities, Capability, WindowRecord, not_given
from memaudit.stats import Rate, document_rate
from memaudit.stats.rounding import nats
from memaudit.text.corpus.dates import parse_date
from memaudit.text.windows.windows import WindowSet

BEATS_UNIGRAM = "beats a unigram model"
FOREIGN = (
    "the model predicts neither text better than the frequencies of their own tokens do: either these texts are"
    " foreign to it (name text that it was trained on), or its weights, configuration or tokenizer are not those of"
    " its training; more documents help with neither"
)
REPRODUCTION = "reproduces what it knows"
UNSEEN = "held-out text was not learnt"
ENDED = "continues the text"
LIKELIHOOD: Capabilities = frozenset((Capability.LOG_PROBS,))
MIN_DATED = 20
APART = 0.2
"""Share of documents by which the sides may differ before or after any day."""
KNOWN = 1.0
"""Nats a token by which known text is likelier than unseen text of the same kind; what generalises stays far below."""


def check_matching(drawn: WindowSet) -> Control:
    """Check that train and held-out windows were drawn with the same lengths and domains."""
    return Control("matched held-out text", drawn.matched, drawn.matching, comparison=True)


def check_dates(drawn: WindowSet) -> list[Control]:
    """Check that training and held-out text are of the same time, where documents say when they appeared.

    What is written of changes with time: a model may know the words of one time better and have read neither text.
    The times differ where the Kolmogorov-Smirnov distance of the days is `APART` or more, and that by no chance (p at
    most .01, Smirnov 1948).

    Returns:
        The control; none where no document has a date. Dates that cannot be compared are counted and fail nothing.
    """
    said = {side: drawn.dates.get(side, []) for side in ("train", "heldout")}
    if not any(said.values()):
        return []
    train, heldout = (np.sort(np.array(list(_days(dates)), np.int64)) for dates in said.values())
    name = "sides are of the same time"
    if min(len(train), len(heldout)) < MIN_DATED:
        counts = f"{len(train)} training and {len(heldout)} held-out documents have a date that can be read"
        return [Control(name, True, f"not compared: {counts}, {MIN_DATED} of each are needed")]
    from scipy.stats import ks_2samp  # half a second to import

    apart = ks_2samp(train, heldout, method="asymp")
    middles = [datetime.date.fromordinal(int(side[len(side) // 2])).isoformat() for side in (train, heldout)]
    detail = f"median day {middles[0]} of training text, {middles[1]} of held-out text"
    if apart.statistic < APART or apart.pvalue > 0.01:
        return [Control(name, True, detail)]
    later = "of different times" if middles[0] == middles[1] else "newer" if middles[1] > middles[0] else "older"
    detail = f"held-out text is {later} than training text ({detail}): what differs may be the time, not what was read"
    return [Control(name, False, detail)]


def _days(dates: Iterable[str]) -> Iterator[int]:
    """Yield the middle day of every date that can be read."""
    for date in dates:
        if period := parse_date(date):
            yield (period.first.toordinal() + period.last.toordinal()) // 2


def check_against_unigram(records: Sequence[WindowRecord], gives: Capabilities) -> Control:
    """Check that the model beats the best unigram model of the same tokens, on one side at least.

    The positive control: a heavily overfit model passes on the training text, one that generalises on
    both, a broken one on neither. The unigram model is fitted to all suffixes of a side, and so to the very tokens it
    is compared on.
    """
    if lacking := not_given(LIKELIHOOD, gives):
        return Control(BEATS_UNIGRAM, None, f"not checked: {lacking}, so nothing shows that it knows such text at all")
    details = []
    passed = False
    for name, member in (("training", True), ("held-out", False)):
        side = [record for record in records if record.member == member]
        if not side:
            continue
        sampled = [record for record in side if record.sampled]
        tokens, fitted = (np.concatenate([record.suffix_ids for record in some]) for some in (sampled, side))
        unigram = unigram_entropy(tokens, fitted)
        log_probs = [record.log_prob for record in sampled]
        if any(value is None for value in log_probs):
            details.append(f"{name} text holds tokens that the model thinks impossible")
            continue
        model = -sum(value for value in log_probs if value is not None) / len(tokens)
        passed |= model < unigram
        details.append(f"{name} text {nats(model)} nats a token, unigram {nats(unigram)}")
    return Control(BEATS_UNIGRAM, passed, "; ".join([*details, *([] if passed else [FOREIGN])]))


def check_reproduction(records: Sequence[WindowRecord], max_rate: float, gives: Capabilities) -> Control:
    """Check that training text is not known far better than it is reproduced.

    A model that finds its training text likelier than matched held-out text by a nat a token and reproduces no more of
    it than is tolerated has learnt it, but something between it and us (a tokenizer, a configuration, damaged weights)
    keeps it from saying so. Windows that hold tokens of no probability are left out.
    """
    if lacking := not_given(LIKELIHOOD, gives):
        return Control(REPRODUCTION, None, f"not checked: {lacking}, so it may know text that it does not write")
    members = [r.extractable for r in records if r.member]
    gap = _likelier(records)
    if gap is None:
        return Control(REPRODUCTION, True, "no likelihoods of both sides to compare")
    passed = gap < KNOWN or float(np.mean(members)) > max_rate
    likelier = f"training text is likelier than held-out text by {nats(gap)} nats a token"
    return Control(REPRODUCTION, passed, likelier + ("" if passed else f", and {sum(members)} windows are reproduced"))


def likelihoods_apart(records: Sequence[WindowRecord]) -> bool:
    """Whether one side is likelier than the other by `KNOWN`, so that one that reproduces nothing is not *clean*."""
    gap = _likelier(records)
    return gap is not None and abs(gap) >= KNOWN


def _likelier(records: Sequence[WindowRecord]) -> float | None:
    """Return by how many nats a token training text is likelier than held-out text; None without one of them."""
    known, unseen = (
        [r.log_prob / len(r.suffix_ids) for r in records if r.member == member and r.log_prob is not None]
        for member in (True, False)
    )
    return float(np.mean(known) - np.mean(unseen)) if known and unseen else None


def check_unseen(records: Sequence[WindowRecord], max_rate: float) -> Control:
    """Check that held-out text is not what the model learnt: sides that were swapped, or text that it saw after all."""
    unseen = [record for record in records if not record.member]
    if not unseen:
        return Control(UNSEEN, True, "no held-out text was given")
    rate = document_rate([r.extractable for r in unseen], [r.document for r in unseen])
    reproduced = reproduced_unseen(rate, max_rate)
    gap = -(_likelier(records) or 0.0)
    detail = f"{rate.hits} of {rate.n} held-out windows are reproduced"
    if gap >= KNOWN:
        detail += f"; they are likelier than training text by {nats(gap)} nats a token"
    failed = reproduced or gap >= KNOWN
    return Control(UNSEEN, not failed, detail + (": was it trained on, are the sides swapped?" if failed else ""))


def reproduced_unseen(rate: Rate, max_rate: float) -> bool:
    """Whether held-out text is reproduced more often than is tolerated, by the lower limit of its rate."""
    return (rate.lower() or 0.0) > max_rate


def _says_nothing(record: WindowRecord) -> bool:
    """Whether the model ended a text, or a reply before anything in it differed from the true one."""
    if record.turns is None or record.continuation_ids is None:
        return bool(record.ended)
    return bool(record.ended) and record.matched >= len(record.continuation_ids)


def check_ended(records: Sequence[WindowRecord]) -> Control:
    """Check that the model continues most training windows: one that ends the text shows nothing of what it knows.

    Counted are the windows that were asked, ended at any token: more than half of them, and there is no *clean*. Those
    outside the random sample are not: they are asked no further than their hits take. A reply is an answer of its own
    length: one that the model ended after it had differed shows what the model says, and is not counted.
    """
    asked = [record for record in records if record.member and record.sampled and record.ended is not None]
    if not asked:
        return Control(
            ENDED, True, "not checked: a masked model ends no text, and neither does one without an end token"
        )
    ended = sum(map(_says_nothing, asked))
    tokens = max(len(record.suffix_ids) for record in asked)
    detail = f"the model ends the text within {tokens} tokens in {ended} of {len(asked)} training windows"
    failed = 2 * ended > len(asked)
    return Control(ENDED, not failed, detail + (": nothing shows how it would continue" if failed else ""))
