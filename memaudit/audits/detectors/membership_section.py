"""What the scores of documents say together: detectors beside their controls, low error rates, the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memaudit.audits.comparison.detection import Detection, Sides
from memaudit.metrics.roc import MIN_ABOVE, roc_points, tpr_at
from memaudit.records import Capability, capabilities_in
from memaudit.runs.measured_lines import MembershipLine
from memaudit.runs.plans import MeasuredPlan, MembershipDesign
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import auc_with, p_equals, percent

LOW_RATES = (0.01, 0.001)
MAX_CURVES = 5
"""Beside the diagonal."""
OUTCOMES = {True: "holds", False: "fails", None: "not made"}


def section_of(
    detections: Sequence[Detection],
    primary: str,
    curves: Mapping[str, Sides],
    records: Sequence[MembershipLine],
    plan: MeasuredPlan,
) -> Section:
    """Return the section of the scores.

    Args:
        detections: One a score.
        primary: Name of the one that was named before anything was measured.
        curves: Values of the primary score, by the model that gave them; the one that is asked first.
        records: One a document.
        plan: Of the run.
    """
    [first] = [detection for detection in detections if detection.name == primary]
    options = plan["membership"]
    return Section(
        "membership",
        "Scores of whole documents",
        _summary(first, options["alpha"]),
        f"Of each document the first {options['tokens']:,} tokens are scored; higher means more likely seen."
        f" {_how_read(plan)} Suspects are tested against held-out documents, one value a document. A detector is"
        " admissible only where its controls hold: text alone does not distinguish the sides (C1), the model does so"
        " better than models that saw neither (C2), held-out documents do not differ among themselves (C3). AUC:"
        " share of pairs in which the suspect scores higher, with DeLong's 95% interval.",
        [_matrix(detections, primary), _details(detections), *_low_rates(curves["the model"], first)],
        _graphs(curves, first),
        _notes(detections, records, options),
    )


def _summary(detection: Detection, alpha: float) -> str:
    effect = detection.effect
    if detection.p_value is None or effect.estimate is None:
        return f"{detection.label} (primary): no test: {detection.reason}"
    failed = [control.name for control in detection.controls if control.passed is False]
    speaks = (
        "" if not failed or detection.p_value > alpha else f"; no evidence, for a control fails: {', '.join(failed)}"
    )
    return (
        f"{detection.label} (primary), {detection.members:,} suspects against {detection.heldout:,} held-out documents:"
        f" AUC {auc_with(effect.estimate, effect.low, effect.high)}, {p_equals(detection.p_value)}{speaks}"
    )


def _how_read(plan: MeasuredPlan) -> str:
    if Capability.LEFT_TO_RIGHT in capabilities_in(plan["model"]):
        return "Log-probabilities are those of a token given the text before it."
    masks = plan["membership"]["masks"]
    if masks is None:
        return "Log p of a token is that with it alone masked: the pseudo-log-likelihood (Salazar et al. 2020)."
    return f"An approximation: log p of a token is its mean over {masks} random maskings of 15% of the tokens."


def _matrix(detections: Sequence[Detection], primary: str) -> Table:
    controls = list(dict.fromkeys(control.name for detection in detections for control in detection.controls))
    rows: list[list[Value]] = []
    for detection in detections:
        outcomes = {control.name: OUTCOMES[control.passed] for control in detection.controls}
        name = f"{detection.label} (primary)" if detection.name == primary else detection.label
        speaks = "yes" if detection.admissible else "no"
        rows.append([name, detection.p_value, *(outcomes.get(c, OUTCOMES[None]) for c in controls), speaks])
    columns = [Column("Score"), Column("p, one-sided", "number"), *map(Column, controls), Column("Admissible")]
    return Table("Detectors and their controls", columns, rows)


def _details(detections: Sequence[Detection]) -> Table:
    rows: list[list[Value]] = []
    for d in detections:
        limits: Value = None if d.effect.low is None or d.effect.high is None else [d.effect.low, d.effect.high]
        rows.append(
            [d.label, d.effect.estimate, limits, d.effect_size, d.members, d.heldout, d.undefined, d.definition]
        )
    columns = [Column("Score"), Column("AUC", "share"), Column("95% interval", "interval")]
    columns += [Column(name, "number") for name in ("Cohen's d", "Suspects", "Held-out", "Too short")]
    return Table("Effects", [*columns, Column("Definition")], rows)


def _low_rates(sides: Sides, detection: Detection) -> list[Table]:
    """Return how many suspects score above nearly all held-out documents, where there are enough of those."""
    rows: list[list[Value]] = []
    for rate in LOW_RATES:
        found = tpr_at(sides.members, sides.heldout, rate)
        if found is not None:
            rows.append([percent(rate), found.tpr, [found.low, found.high], found.hits, found.members])
    if not rows:
        return []
    columns = [Column("Held-out documents above, at most"), Column("Suspects above", "share")]
    columns += [Column("95% interval", "interval"), Column("Number", "number"), Column("Of", "number")]
    return [Table(f"{detection.label}: true positive rates at low false positive rates", columns, rows)]


def _graphs(curves: Mapping[str, Sides], detection: Detection) -> list[Graph]:
    series = []
    for name, sides in list(curves.items())[:MAX_CURVES]:
        if len(sides.members) and len(sides.heldout):
            points = [(x, y) for x, y in roc_points(sides.members, sides.heldout) if x > 0 and y > 0]
            series.append(Series(name, [[x, y, None, None] for x, y in points]))
    if not series:
        return []
    least = min((point[0] for line in series for point in line.points if point[0] is not None), default=1.0)
    diagonal: list[list[float | None]] = [[least, least, None, None], [1.0, 1.0, None, None]]
    return [
        Graph(
            f"ROC curve: {detection.label}",
            "Share of suspects above a threshold over the share of held-out documents above it, both on logarithmic"
            " scales; on the diagonal the score is uninformative.",
            "Held-out documents above",
            "Suspects above",
            [*series, Series("guessing", diagonal)],
            x_scale="log",
            x_share=True,
            y_scale="log",
        )
    ]


def _notes(detections: Sequence[Detection], records: Sequence[MembershipLine], options: MembershipDesign) -> list[str]:
    heldout = max((detection.heldout for detection in detections), default=0)
    notes = [
        "No difference here does not show that the model has not seen the documents: only that none was seen above the"
        " null at this power.",
    ]
    scarce = [percent(rate) for rate in LOW_RATES if heldout * rate < MIN_ABOVE]
    if scarce:
        notes.append(
            f"{heldout:,} held-out documents are too few for false positive rates of {' and '.join(scarce)}: at least"
            f" {MIN_ABOVE} of them must be allowed above."
        )
    cut = sum(record["tokens"] >= options["tokens"] for record in records)
    if cut:
        notes.append(f"{cut:,} of {len(records):,} documents reach the {options['tokens']:,} tokens that are scored.")
    if any(detection.undefined for detection in detections):
        notes.append("Documents without a token to score are left out; the table counts them.")
    if options.get("set_apart"):
        notes.append(f"{options['set_apart']:,} held-out documents were set apart to train references on.")
    if options.get("excluded"):
        notes.append(f"References were not trained on {options['excluded']:,} documents that contain a compared one.")
    return notes
