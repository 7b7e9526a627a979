"""What the detectors say together: the verdict, the family of tests, and what none of it shows.

A pure function of plan and records: the same run gives the same report however often it was interrupted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from memaudit.audits.comparison.detection import Detection, blind_control
from memaudit.audits.comparison.power import power_of
from memaudit.audits.comparison.verdict import (
    EXIT_CODES,
    adjusted_by_holm,
    decide,
    rejects,
    shown_interval,
    shown_size,
)
from memaudit.audits.detectors.base import AnyDetector
from memaudit.audits.logged import blind_of, measured_plan, section_of
from memaudit.audits.needs import notice_of
from memaudit.audits.server_section import server_sections
from memaudit.audits.subject import AnyMeasure
from memaudit.errors import one_line
from memaudit.findings import Control, Finding, fingerprint
from memaudit.report.endpoint import limit
from memaudit.runs import parts, reports
from memaudit.runs.measured_lines import MembershipLine, UnigramEntropies
from memaudit.runs.options import ComparisonOptions
from memaudit.runs.plans import BenchmarkSide, MembershipDesign, MembershipPlan
from memaudit.runs.report_parts import report_head
from memaudit.runs.reports import AucPower, MembershipReport
from memaudit.runs.schema import as_record, fields_of
from memaudit.sections import ABOUT_DOCUMENTS, Column, Section, Table, Value
from memaudit.stats.rounding import nats, p_equals

Records = Mapping[str, Sequence[Mapping[str, Any]]]
"""Name of a detector -> its records (`memaudit.runs.measured_lines`)."""


def conclude(
    plan: MembershipPlan, detectors: Sequence[AnyDetector], records: Records, beside: Sequence[AnyMeasure] = ()
) -> MembershipReport:
    """Return what report.json holds: the verdict and everything it rests on.

    Args:
        plan: The run's plan.
        detectors: In the order of the report.
        records: All of each detector.
        beside: What is shown and decides nothing.
    """
    options = plan["membership"]
    blind = blind_of(records)
    whole = measured_plan(plan, blind)
    detections = [d for detector in detectors for d in detector.detections(records[detector.name], whole)]
    adjusted = adjusted_by_holm(detections)
    first = next(d for d in detections if d.name == plan["primary"])
    instrument = _instrument(plan, records)
    power = power_of(first, len(detections), instrument, blind, options)
    controls = [*instrument, *_of_sides(first, blind)]
    verdict, reasons = decide(detections, adjusted, first, controls, power, blind, options)
    family = _family(detections, adjusted, plan["primary"], options["alpha"])
    sections = [section_of(detector, records[detector.name], whole) for detector in (*detectors, *beside)]
    shown_controls = [as_record(control, parts.Control) for control in controls]
    server = server_sections(plan["model"], shown_controls)
    return {
        **report_head(plan),
        "kind": "membership",
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "headline": _headline(plan, first),
        "reasons": reasons,
        "primary": first.name,
        "options": _options(options),
        "references": options["references"],
        "null": options["null"],
        "model": plan["model"],
        "benchmark": plan["benchmark"],
        "heldout": plan["heldout"],
        "corpus": _about_text(plan),
        "detections": [_judged(d, adjusted[d.name], options["alpha"]) for d in detections],
        "blind": blind,
        "controls": shown_controls,
        "power": as_record(power, AucPower),
        "limits": [*_limits(plan, verdict), *filter(None, [limit(plan["model"])])],
        "findings": _findings(plan, detections, adjusted, verdict),
        "sections": [*(as_record(section, parts.Section) for section in (family, *sections)), *server],
    }


def _options(design: MembershipDesign) -> ComparisonOptions:
    """Return the options alone, without what the plan says of models beside them."""
    return cast("ComparisonOptions", {name: design[name] for name in fields_of(ComparisonOptions) if name in design})  # type: ignore[literal-required]


def _about_text(plan: MembershipPlan) -> parts.TextDigest:
    """Return what was read of both sides, as every page of sections shows it."""
    sides: tuple[BenchmarkSide, BenchmarkSide] = (plan["benchmark"], plan["heldout"])
    digests = "".join(file["sha256"] for side in sides for file in side["files"])
    return {
        "specs": [spec for side in sides for spec in side["specs"]],
        "units": f"{plan['benchmark']['items']:,} suspects, {plan['heldout']['compared']:,} held-out items compared",
        "sha256": hashlib.sha256(digests.encode()).hexdigest(),
    }


def _instrument(plan: MembershipPlan, records: Records) -> list[Control]:
    """Return the checks of the instrument; what concerns one detector stands beside it."""
    controls = [Control(**control) for control in plan["controls"]]
    texts, scored = (cast("Sequence[Any]", records.get(name, ())) for name in ("text", "membership"))
    return controls + [_against_unigram(text["unigram"], scored) for text in texts]


def _of_sides(first: Detection, blind: parts.BlindBaseline | None) -> list[Control]:
    """Return the checks of the sides, where text alone was asked about them."""
    if blind is None:
        return []
    return [blind_control(blind), *(c for c in first.controls if c.name.endswith("(C3)"))]


def _against_unigram(entropies: UnigramEntropies, records: Sequence[MembershipLine]) -> Control:
    """Check that the model beats the best unigram model of the same tokens, on one side at least."""
    name, passed, details = "beats a unigram model", False, []
    for entropy, member in ((entropies["members"], True), (entropies["heldout"], False)):
        losses = ((r["scores"]["loss"], r["tokens"]) for r in records if r["member"] is member)
        scored = [(loss, count) for loss, count in losses if loss is not None]
        tokens = sum(count for _, count in scored)
        if entropy is None or not tokens:
            continue
        mean = -math.fsum(loss * count for loss, count in scored) / tokens
        passed |= mean < entropy
        label = "suspects" if member else "held-out items"
        details.append(f"{label} {nats(mean)} nats a token, unigram {nats(entropy)}")
    return Control(name, passed if details else None, "; ".join(details) or "no document was scored")


def _headline(plan: MembershipPlan, first: Detection) -> str:
    model, files = one_line(plan["model"]["name"], 80), [f["path"] for f in plan["benchmark"]["files"]]
    about = one_line(files[0], 80) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    asked = f"on {plan['benchmark']['items']:,} items of {about}, {model}"
    if first.p_value is None or first.effect.estimate is None:
        return f"{asked} allows no test by {first.label}"
    return f"{asked} shows {shown_size(first.effect)} by {first.label}, {p_equals(first.p_value)}"


def _family(
    detections: Sequence[Detection], adjusted: Mapping[str, float | None], primary: str, alpha: float
) -> Section:
    rows: list[list[Value]] = []
    for d in detections:
        name = f"{d.label} (primary)" if d.name == primary else d.label
        speaks = "yes" if d.admissible else "no"
        rows.append([name, d.effect.name, shown_interval(d.effect), d.p_value, adjusted[d.name], speaks, d.reason])
    columns = [Column("Detector"), Column("Effect"), Column("Size, 95% interval"), Column("p", "number")]
    columns += [Column("p, Holm", "number"), Column("Admissible"), Column("Test")]
    rejecting = [d for d in detections if rejects(adjusted[d.name], alpha)]
    speaking = sum(d.admissible for d in rejecting)
    return Section(
        "family",
        "All detectors",
        f"Of {len(detections)} declared detectors, {len(rejecting)} reject at a family-wise level of {alpha:g},"
        f" {speaking} of them with their controls",
        "The family and its primary detector were written into the plan before anything was measured. p is one-sided,"
        " adjusted by Holm (1979) over the whole family; a detector is admissible where none of its own controls"
        " fails.",
        [Table("Declared detectors", columns, rows)],
    )


def _judged(detection: Detection, adjusted: float | None, alpha: float) -> reports.Detection:
    said = as_record(detection, reports.DetectorFinding)
    return {**said, "p_holm": adjusted, "speaks": detection.admissible, "rejects": rejects(adjusted, alpha)}


def _findings(
    plan: MembershipPlan, detections: Sequence[Detection], adjusted: Mapping[str, float | None], verdict: str
) -> list[parts.Finding]:
    """Return one finding for every detector whose answer counts as evidence."""
    if verdict != "found":
        return []
    files = plan["benchmark"]["files"]
    about = "\n".join(file["sha256"] for file in files)
    told = [d for d in detections if d.admissible and rejects(adjusted[d.name], plan["membership"]["alpha"])]
    return [
        as_record(
            Finding(
                id=fingerprint("membership", d.name, about),
                kind="membership",
                document=files[0]["path"],
                source=files[0]["path"],
                metric=d.name,
                score=0.0 if d.effect.estimate is None else d.effect.estimate,
                copies=None,
                text=None,
            ),
            parts.Finding,
        )
        for d in told
    ]


def _limits(plan: MembershipPlan, verdict: str) -> list[str]:
    """Say what the run does not show."""
    options, heldout, benchmark = plan["membership"], plan["heldout"], plan["benchmark"]
    limits = [ABOUT_DOCUMENTS.format(units="documents")]
    if heldout["specs"]:
        assigned = "at random, as declared" if options["randomised"] else "by whoever chose the held-out items"
        limits.append(
            f"Which items are suspects was decided {assigned}. What else differs between the sides, and is not seen by"
            " the control of the text, is read as membership."
        )
    if verdict != "found":
        limits.append("No evidence of membership is no evidence of absence: the model may have seen the items.")
    else:
        limits.append("The evidence is about the set: it does not apply to any single item.")
    if benchmark["repeated"]:
        limits.append(f"{benchmark['repeated']:,} items repeat another word for word and were scored once.")
    if heldout["repeated"]:
        limits.append(f"{heldout['repeated']:,} held-out items repeat another and were left out.")
    if heldout["set_aside"]:
        shown = ", ".join(heldout["first_set_aside"][:3])
        limits.append(
            f"{heldout['set_aside']:,} held-out items occur in the benchmark, or contain an item of it, and were set"
            f" aside: {shown}{' and others' if heldout['set_aside'] > 3 else ''}."
        )
    sides: dict[str, BenchmarkSide] = {"benchmark": benchmark, "held-out": heldout}
    for name, side in sides.items():
        counts = {"empty": side["empty"], "rejected": side["rejected"]}
        left_out = [f"{count:,} {kind}" for kind, count in counts.items() if count]
        if left_out:
            limits.append(f"Records of the {name} files that were not used: {' and '.join(left_out)}.")
    if lacking := notice_of(plan["model"].get("lacks", ())):
        limits.append(f"{lacking[0].upper()}{lacking[1:]}.")
    limits += [f"The model's folder sets {each}, which was ignored." for each in plan["model"]["ignored"]]
    return limits
