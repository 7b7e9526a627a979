"""How the windows of an audit lie: by copies in training, by how much was copied, by domain.

Counts and rates that the page draws; a pure function of the records, like the evidence it stands beside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

import memaudit.stats as stats
from memaudit.metrics import METRICS
from memaudit.metrics.growth import COPIES, fit_slope, growth_table
from memaudit.records import WindowRecord
from memaudit.runs import parts
from memaudit.runs.extraction_report import CountedDoseRate, Distribution, DistributionGroup, DomainShare
from memaudit.runs.schema import as_record

Records = Sequence[WindowRecord]
Domains = Mapping[str, int]

BINS = 10
SHOWN = ("longest_common", "matched", "edit_similarity")
"""Metrics whose values are distributed; of the first two, ``matched`` where the other is not known of all windows."""


def counted_doses(records: Records) -> list[CountedDoseRate]:
    """Return the verbatim rate by the copies that were counted in the training text, doubling from group to group.

    Held-out windows that do not occur in it are the dose 0. Training windows that do not occur in it show
    nothing of copies (the index is then not one of all the training text) and are left out.

    Returns:
        Per group ``copies`` (the least), ``most``, and the rate; empty where copies were not counted.
    """
    groups: dict[int, list[WindowRecord]] = {}
    for record in records:
        count = record.copies_normalised
        if count is not None and (count > 0) == record.member:
            groups.setdefault(1 << count.bit_length() - 1 if count else 0, []).append(record)
    if not any(groups):
        return []
    return [
        {"copies": least, "most": 2 * least - 1 if least else 0, **_verbatim(groups[least])} for least in sorted(groups)
    ]


def growth(records: Records, seed: int) -> parts.Table | None:
    """Return the slope of the verbatim rate over the copies of the training text, as a table beside published ones.

    Copies are those that were planted, or else those counted, doubling from group to group.

    Returns:
        The table; None with fewer than two different numbers of copies.
    """
    train = [record for record in records if record.member]
    planted = any(record.copies for record in train)
    dosed = [(record, copies) for record in train if (copies := record.copies if planted else _octave(record))]
    x = sorted({copies for _, copies in dosed})
    of = "copies that were planted" if planted else "copies that were counted"
    slope = fit_slope(
        f"This model, {of}",
        x,
        [x.index(copies) for _, copies in dosed],
        [record.document for record, _ in dosed],
        [record.extractable for record, _ in dosed],
        seed,
    )
    return as_record(growth_table(COPIES, [slope]), parts.Table) if slope else None


def _octave(record: WindowRecord) -> float | None:
    """Return the middle of the copies that share a group with a window's, on a logarithmic axis."""
    if not record.copies_normalised:
        return None
    least = 1 << record.copies_normalised.bit_length() - 1
    return math.sqrt(least * (2 * least - 1))


def distributions(records: Records, suffix: int) -> list[Distribution]:
    """Return how many windows of either side fall into each bin of a metric, of all text and of each domain.

    Of a metric that is not known of all windows, those of the random sample.

    Args:
        records: All of the run.
        suffix: Tokens that were asked for; the largest value of a run.

    Returns:
        Per metric ``edges`` (bins + 1, the last bin holds its upper edge) and ``groups``: ``domain`` (None for
        all text), ``train`` and ``heldout`` counts, and the median of either.
    """
    sampled = [record for record in records if record.sampled]
    known = [name for name in SHOWN if sampled and all(getattr(record, name) is not None for record in sampled)]
    if "longest_common" in known:  # the longer run tells more, a sample of windows less
        known.remove("matched" if len(sampled) == len(records) else "longest_common")
    found = [
        _distribution(records if METRICS[name].of == "match" else sampled, name, _edges(name, suffix)) for name in known
    ]
    for each in found if len(sampled) < len(records) else ():
        if METRICS[each["metric"]].of != "match":
            each["sampled"] = True
    return found


def composition(records: Records, domains: Domains) -> list[DomainShare]:
    """Return what the training text is made of, and how much of each part is reproduced.

    Args:
        records: All of the run.
        domains: Documents of each named domain of the training text.

    Returns:
        Per domain its ``documents``; of its windows, ``counted`` have their copies known and ``repeated`` stand in
        the training text more than once; ``train`` is their verbatim rate, None where none was asked.
    """
    rows: list[DomainShare] = []
    for name, documents in sorted(domains.items(), key=lambda item: (-item[1], item[0])):
        group = [record for record in records if record.member and record.domain == name]
        counts = [record.copies_normalised for record in group if record.copies_normalised is not None]
        rows.append(
            {
                "domain": name,
                "documents": documents,
                "counted": len(counts),
                "repeated": sum(count > 1 for count in counts),
                "train": _verbatim(group) if group else None,
            }
        )
    return rows


def _verbatim(records: Records) -> parts.Rate:
    rate = stats.document_rate([record.extractable for record in records], [record.document for record in records])
    return as_record(rate, parts.Rate)


def _edges(name: str, suffix: int) -> list[float]:
    """Return the edges of the bins: whole tokens for a run, tenths for a similarity."""
    if METRICS[name].unit != "tokens":
        return [place / BINS for place in range(BINS + 1)]
    step = max(1, -(-suffix // BINS))
    return [float(edge) for edge in (*range(0, suffix, step), suffix)]


def _distribution(records: Records, name: str, edges: Sequence[float]) -> Distribution:
    metric = METRICS[name]
    groups = [
        _group(domain, [(r.member, getattr(r, name)) for r in group], edges) for domain, group in _by_domain(records)
    ]
    return {"metric": name, "label": metric.label, "unit": metric.unit, "edges": list(edges), "groups": groups}


def _group(domain: str | None, values: Sequence[tuple[bool, float]], edges: Sequence[float]) -> DistributionGroup:
    train, heldout = ([value for member, value in values if member is side] for side in (True, False))
    return {
        "domain": domain,
        "train": np.histogram(train, edges)[0].tolist(),
        "heldout": np.histogram(heldout, edges)[0].tolist(),
        "train_median": float(np.median(train)) if train else None,
        "heldout_median": float(np.median(heldout)) if heldout else None,
    }


def _by_domain(records: Records) -> Iterator[tuple[str | None, Records]]:
    """Yield all records, then those of each domain where there are several."""
    yield None, records
    names = sorted({record.domain for record in records if record.domain is not None})
    for name in names if len(names) > 1 else ():
        yield name, [record for record in records if record.domain == name]
