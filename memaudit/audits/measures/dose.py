"""Dose and response: extraction, probability and exposure by the number of copies that were planted.

What `memaudit plant` wrote is asked with ``--train planted.jsonl --heldout twins.jsonl``. Passages and twins were
told apart by lot, so the rate at no copy is what guessing gives, and all above it is what copies did.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

import memaudit.stats as stats
from memaudit.audits.documents import bounds, shown
from memaudit.audits.measures.dose_fitted import fitted_table
from memaudit.audits.subject import Measure, Subject
from memaudit.errors import InputError
from memaudit.metrics.doses import MedianDose, median_dose, rank_correlation
from memaudit.metrics.exposure import expected_exposure, exposure, fitted_exposure
from memaudit.records import Capability, Document, Window
from memaudit.runs.measured_lines import DoseLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import significant
from memaudit.text.planting.canaries import Canary, find_canary
from memaudit.text.planting.planting import about_planted

CANDIDATES = 255
"""Other secrets that each canary's own is compared with: exposure of at most 8 bits."""
WINDOW: Final = "window"
CANARY: Final = "canary"
PASSAGE, TWIN = "passage", "twin"
VARIANTS = ("exact", "fuzzy")


class AskedWindow(NamedTuple):
    """A window whose outcome the audit has."""

    place: int
    kind: str


class AskedCanary(NamedTuple):
    """A canary whose secret is to be ranked."""

    member: bool
    document: Document
    canary: Canary


@dataclass(frozen=True, slots=True)
class _Planted:
    """Documents of one kind and variant, and their twins."""

    kind: str
    variant: str
    doses: dict[int, list[DoseLine]]
    """Records by copies, 0 being the twins, ascending."""

    @property
    def name(self) -> str:
        return f"{'passages' if self.kind == PASSAGE else 'canaries'}, {self.variant} copies"


class Dose:
    """Takes the outcome of every window from the audit, and ranks the secret of every canary."""

    name = "dose"
    needs = frozenset(
        (
            Capability.CONTINUATIONS,
            Capability.LOG_PROBS,
        )
    )
    block = 16

    def items(self, subject: Subject) -> list[AskedWindow | AskedCanary]:
        """Return the windows, then the canaries of both sides.

        Raises:
            InputError: It is not known how often any training document was copied.
        """
        if not any(window.member and window.copies for window in subject.windows):
            raise InputError(
                "no training document states its number of copies",
                "memaudit plant writes planted.jsonl for --train, twins.jsonl for --heldout",
            )
        sides = [(True, document) for document in subject.train] + [(False, d) for d in subject.heldout]
        found = [(member, document, find_canary(document.text)) for member, document in sides]
        canaries = [AskedCanary(m, document, canary) for m, document, canary in found if canary is not None]
        secret = {(asked.member, asked.document.id) for asked in canaries}
        windows = [
            AskedWindow(place, CANARY if (window.member, window.document) in secret else PASSAGE)
            for place, window in enumerate(subject.windows)
        ]
        return [*windows, *(canaries if Capability.LEFT_TO_RIGHT in subject.model.capabilities else [])]

    def measure(self, subject: Subject, items: Sequence[AskedWindow | AskedCanary]) -> list[DoseLine]:
        """Return what the audit says of each window, and the exposure of each canary."""
        return [_expose(subject, i) if isinstance(i, AskedCanary) else _outcome(subject, i) for i in items]

    def section(self, records: Sequence[DoseLine], plan: MeasuredPlan) -> Section:
        """Return rates, probabilities and exposure by copies, and the copies that half of the documents need."""
        windows = _planted([r for r in records if r["type"] == WINDOW])
        canaries = _planted([r for r in records if r["type"] == CANARY])
        medians = {group.name: _median_dose(group) for group in windows}
        tables = [_rates(windows), _half(windows, medians)]
        graphs = [_rate_graph(windows)]
        if canaries:
            tables.append(_exposures(canaries))
            if fitted := fitted_table([(group.name, group.doses) for group in canaries]):
                tables.append(fitted)
            graphs.append(_exposure_graph(canaries))
        return Section(
            self.name,
            "Dose and response",
            _summary(windows, canaries, medians),
            "Passages were planted at numbers of copies drawn at random, and as many twins never. Rates are means over"
            " documents with 95% intervals. ED50 is the number of copies at which half of the"
            " documents are extractable: a logistic fit on log2 copies over planted documents, with a 95% profile"
            " likelihood interval. p_z is the probability of the whole true suffix; Spearman's correlation is that"
            " of copies and log p_z over planted documents. Exposure is log2 of the candidates compared less log2"
            f" of the rank of the true secret among them, ties shared ({CANDIDATES} other secrets drawn by the seed,"
            f" fewer where there are fewer, after the same {plan['options']['prefix']} tokens; Carlini et al. 2019);"
            " intervals are Student's over canaries. Beyond that rank: log2 of one over the share of secrets that a"
            " skew-normal distribution, fitted to the candidates' log-perplexities, puts below the true one's.",
            tables,
            graphs,
            _notes(records, windows, canaries),
        )


def _about(type: Literal["window", "canary"], member: bool, name: str, of: Window | Document, kind: str) -> DoseLine:
    """Return what a record says of its document; held-out documents have no copies, whatever their file says."""
    planted = about_planted(name)
    variant = "exact" if planted is None or planted[1] not in VARIANTS else planted[1]
    return {
        "type": type,
        "member": member,
        "document": name,
        "copies": of.copies if member else 0,
        "kind": kind,
        "variant": variant if member else TWIN,
        "variant_known": planted is not None,
        "source": of.source,
        "domain": of.domain,
    }


def _outcome(subject: Subject, item: AskedWindow) -> DoseLine:
    window, found = subject.windows[item.place], subject.records[item.place]
    return _about(WINDOW, window.member, window.document, window, item.kind) | {
        "extractable": found.extractable,
        "log_p": found.log_prob,
    }


def _expose(subject: Subject, item: AskedCanary) -> DoseLine:
    """Rank the secret of a canary among others in its place."""
    document, canary = item.document, item.canary
    # The candidates depend on seed and canary alone, not on the block.
    digest = hashlib.sha256(f"{subject.options.seed}\0{document.id}".encode("utf-8", "surrogatepass")).digest()
    others = canary.others(CANDIDATES, np.random.default_rng(int.from_bytes(digest[:8], "big")))
    windows = _candidates(subject, canary, [canary.secret, *others])
    own, *rest = (float(scores.log_prob.sum()) for scores in subject.model.score(windows))
    found, fitted = exposure(own, rest, canary.space), fitted_exposure(own, rest, canary.space)
    return _about(CANARY, item.member, document.id, document, CANARY) | {
        "bits": found.bits,
        "limit": found.limit,
        "exact": found.exact,
        "space": canary.space,
        "fitted_bits": fitted.bits,
        "not_fitted": fitted.reason,
    }


def _candidates(subject: Subject, canary: Canary, secrets: Sequence[int]) -> list[Window]:
    """Return the canary with each secret as a window: the secret after at most ``prefix`` tokens before it."""
    windows = []
    for encoding in subject.model.tokenizer.encode_batch([canary.text(secret) for secret in secrets]):
        # A token that holds the space before the secret and its first digit belongs to the secret.
        seam = int(np.searchsorted(encoding.ends, len(canary.carrier), side="right"))
        suffix, room = encoding.ids[seam:], subject.options.prefix
        if subject.model.context_length is not None:
            room = min(room, subject.model.context_length - len(suffix) - 1)
        windows.append(Window(encoding.ids[max(0, seam - max(room, 0)) : seam], suffix))
    return windows


def _planted(records: Sequence[DoseLine]) -> list[_Planted]:
    """Return the records by kind, variant and copies, each kind and variant beside the twins of its kind."""
    groups = []
    for kind, variant in itertools.product((PASSAGE, CANARY), VARIANTS):
        own = [r for r in records if r["kind"] == kind and r["variant"] == variant and r["copies"]]
        twins = [r for r in records if r["kind"] == kind and r["copies"] == 0]
        if own:
            doses = sorted({r["copies"] for r in own if r["copies"]})
            by_dose = {dose: [r for r in own if r["copies"] == dose] for dose in doses}
            groups.append(_Planted(kind, variant, ({0: twins} if twins else {}) | by_dose))
    return groups


def _rate(records: Sequence[DoseLine]) -> stats.Rate:
    return stats.document_rate([r["extractable"] for r in records], [r["document"] for r in records])


def _by_document(records: Sequence[DoseLine], value: Callable[[DoseLine], float]) -> list[float]:
    """Return the mean value of every document, in the order of their names."""
    found: dict[str, list[float]] = {}
    for record in records:
        found.setdefault(record["document"], []).append(value(record))
    return [math.fsum(values) / len(values) for _, values in sorted(found.items())]


def _log_p(record: DoseLine) -> float:
    return -math.inf if record["log_p"] is None else float(record["log_p"])


def _rates(groups: Sequence[_Planted]) -> Table:
    rows: list[list[Value]] = []
    for group in groups:
        for dose, records in group.doses.items():
            rate = _rate(records)
            middle = statistics.median(_by_document(records, _log_p))
            log_p = middle if math.isfinite(middle) else None
            rows.append([group.name, dose, rate.documents, rate.n, rate.rate, bounds(rate), log_p])
    columns = [
        Column("planted"),
        Column("copies", "number"),
        Column("documents", "number"),
        Column("windows", "number"),
        Column("extractable", "share"),
        Column("95% interval", "interval"),
        Column("median log p_z", "number"),
    ]
    return Table("Extraction by copies; 0 are the twins, which were never inserted", columns, rows)


def _median_dose(group: _Planted) -> MedianDose:
    doses = [(dose, records) for dose, records in group.doses.items() if dose]
    shares = [(dose, share) for dose, rs in doses for share in _by_document(rs, lambda r: float(r["extractable"]))]
    return median_dose([dose for dose, _ in shares], [share for _, share in shares])


def _correlations(group: _Planted) -> tuple[float | None, float | None]:
    """Return Spearman's correlation of copies and log p_z over planted documents, and over medians with 0 copies."""
    log_ps = {dose: _by_document(records, _log_p) for dose, records in group.doses.items()}
    pairs = [(dose, value) for dose, values in log_ps.items() if dose for value in values]
    single = rank_correlation([d for d, _ in pairs], [v for _, v in pairs])
    return single, rank_correlation(list(log_ps), [statistics.median(values) for values in log_ps.values()])


def _half(groups: Sequence[_Planted], medians: Mapping[str, MedianDose]) -> Table:
    rows: list[list[Value]] = []
    for group in groups:
        found = medians[group.name]
        count = sum(len({r["document"] for r in records}) for dose, records in group.doses.items() if dose)
        rows.append([group.name, count, found.estimate, found.low, found.high, *_correlations(group), found.note])
    columns = [
        Column("planted"),
        Column("documents", "number"),
        Column("ED50 in copies", "number"),
        Column("95%: from", "number"),
        Column("to", "number"),
        Column("Spearman of copies and log p_z", "number"),
        Column("of copies and the median log p_z", "number"),
        Column("remark"),
    ]
    return Table("Copies at which half of the documents are extractable (ED50)", columns, rows)


def _mean_bits(records: Sequence[DoseLine]) -> tuple[float, float | None, float | None]:
    """Return the mean exposure with Student's 95% interval, cut at what exposure can be; none from a single canary."""
    bits = [float(r["bits"]) for r in records]
    mean = math.fsum(bits) / len(bits)
    if len(bits) < 2:
        return mean, None, None
    margin = float(stdtrit(len(bits) - 1, 0.975)) * statistics.stdev(bits) / math.sqrt(len(bits))
    most = max(float(r["limit"]) for r in records)
    return mean, max(mean - margin, 0.0), min(mean + margin, most)


def _exposures(groups: Sequence[_Planted]) -> Table:
    rows: list[list[Value]] = []
    for group in groups:
        for dose, records in group.doses.items():
            first = sum(r["bits"] >= r["limit"] for r in records)
            rows.append([group.name, dose, len(records), *_mean_bits(records), first / len(records)])
    columns = [
        Column("planted"),
        Column("copies", "number"),
        Column("canaries", "number"),
        Column("mean exposure in bits", "number"),
        Column("95%: from", "number"),
        Column("to", "number"),
        Column("secret ranked first", "share"),
    ]
    record = next(iter(groups[0].doses.values()))[0]
    chance = expected_exposure(round(2 ** record["limit"]))
    limits = f"{significant(record['limit'])} bits at most, {significant(chance)} by chance"
    return Table(f"Exposure of canaries by copies: {limits}", columns, rows)


def _rate_graph(groups: Sequence[_Planted]) -> Graph:
    series = []
    for group in groups:
        rates = {dose: _rate(records) for dose, records in group.doses.items()}
        series.append(Series(group.name, [[float(dose), r.rate, r.low, r.high] for dose, r in rates.items()]))
    return Graph(
        "Extractable documents by copies",
        "Share of documents that greedy decoding continues verbatim, with 95% intervals, over the number of copies in"
        " the training text. At 0 are twins, which were never inserted.",
        "Copies in the training text",
        "Extractable documents",
        series,
        "symlog",
    )


def _exposure_graph(groups: Sequence[_Planted]) -> Graph:
    return Graph(
        "Exposure of canaries by copies",
        "Mean exposure in bits, with 95% intervals, over the number of copies in the training text. At 0 are twins,"
        " whose secrets the model cannot know.",
        "Copies in the training text",
        "Exposure in bits",
        [
            Series(group.name, [[float(dose), *_mean_bits(records)] for dose, records in group.doses.items()])
            for group in groups
        ],
        "symlog",
        y_share=False,
    )


def _summary(windows: Sequence[_Planted], canaries: Sequence[_Planted], medians: Mapping[str, MedianDose]) -> str:
    chosen = [group for group in windows if group.kind == PASSAGE] or list(windows)
    halves = "; ".join(f"{group.name}: {_half_words(medians[group.name])}" for group in chosen)
    none = shown(_rate(chosen[0].doses.get(0, [])))
    sentence = f"Copies after which half of the documents are extractable: {halves}; with no copy, {none} are"
    if canaries:
        group = canaries[0]
        most = max(group.doses)
        means = [(dose, _mean_bits(group.doses[dose])[0]) for dose in (0, most) if dose in group.doses]
        bits = [f"{significant(mean)} bits at {dose:,}" for dose, mean in means]
        sentence += f". Mean exposure of canaries by copies: {', '.join(bits)}"
    return f"{sentence}."


def _half_words(found: MedianDose) -> str:
    limits = f"[{_copies(found.low, '0')}, {_copies(found.high, 'unbounded')}]"
    if found.estimate is not None:
        return f"{_copies(found.estimate, '')} {limits} copies"
    if found.low is None and found.high is None:
        return f"an unknown number of copies: {found.note}"
    bound = f"more than {_copies(found.low, '')}" if found.low else f"fewer than {_copies(found.high, '')}"
    return f"{bound} copies"


def _copies(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else significant(value)


def _notes(records: Sequence[DoseLine], windows: Sequence[_Planted], canaries: Sequence[_Planted]) -> list[str]:
    notes = []
    unknown = len({r["document"] for r in records if r["member"] and r["copies"] is None})
    if unknown:
        notes.append(f"{unknown:,} training documents do not state their number of copies and are left out.")
    unnamed = len({r["document"] for r in records if r["member"] and r["copies"] and not r["variant_known"]})
    if unnamed:
        notes.append(f"{unnamed:,} planted documents have no id of memaudit plant: they count as exact copies.")
    if not any(group.variant == "fuzzy" for group in windows):
        notes.append("No fuzzy copies were planted, or none was measured.")
    if any(0 not in group.doses for group in windows):
        notes.append("Where no twins were measured, the rate at no copy is unknown: nothing shows what guessing gives.")
    if not any(group.kind == CANARY for group in windows):
        notes.append(
            "No canaries were measured, so there is no exposure: none was planted, or all are shorter than a window."
        )
    elif not canaries:
        notes.append("Exposure was not measured: a masked model gives no probability of a secret after its prefix.")
    elif any(not r["exact"] for r in records if r["type"] == CANARY):
        notes.append(
            "Secrets were compared with a sample of their space: a mean at the most that can come out is a lower bound."
            " What the fitted distribution says beyond it is an extrapolation, whose tail nothing has checked."
        )
    if any(group.kind == CANARY for group in windows):
        notes.append("Canaries are random words, harder to learn than text: passages say more about natural text.")
    return notes


DOSE: Measure[AskedWindow | AskedCanary, DoseLine] = Dose()
