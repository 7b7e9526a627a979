"""What a reconstruction comes to: the verdict, what it rests on, the report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

from memaudit.audits.reconstruction.aligned import Aligned
from memaudit.audits.reconstruction.matching import LEASTS
from memaudit.audits.reconstruction.procedure import Course
from memaudit.audits.reconstruction.section import LIMITS, sections_of
from memaudit.audits.server_section import server_sections
from memaudit.report.endpoint import limit
from memaudit.report.wording import counted
from memaudit.runs import parts
from memaudit.runs.plans import ReconstructionPlan
from memaudit.runs.reconstruction import PlannedWork
from memaudit.runs.reconstruction_report import (
    GivenPiece,
    ReconstructedWork,
    ReconstructionReport,
    ReconstructionVerdict,
)
from memaudit.runs.report_parts import report_head
from memaudit.runs.schema import as_record
from memaudit.stats.rounding import percent

EXIT_CODES: dict[ReconstructionVerdict, int] = {"found": 1, "inconclusive": 3}


def conclude(plan: ReconstructionPlan, courses: Sequence[Course]) -> ReconstructionReport:
    """Return the report: the same plan and the same writing give the same report.

    Args:
        plan: As `memaudit.audits.reconstruction.run` makes it.
        courses: Of its works, in order.
    """
    works = [_work(planned, Aligned(course)) for planned, course in zip(plan["works"], courses, strict=True)]
    verdict, reasons = decide(works)
    digests = "".join(work["sha256"] for work in works)
    return {
        **report_head(plan),
        "kind": "reconstruction",
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "headline": headline(works),
        "reasons": reasons,
        "controls": plan["controls"],
        "limits": [*LIMITS, *filter(None, [limit(plan["model"])])],
        "model": plan["model"],
        "corpus": {
            "specs": [*plan["texts"]["specs"], *plan["heldout"]["specs"]],
            "units": _units(works),
            "sha256": hashlib.sha256(digests.encode()).hexdigest(),
        },
        "texts": plan["texts"],
        "heldout": plan["heldout"],
        "options": plan["options"],
        "piece": plan["piece"],
        "works": works,
        "sections": [
            *(as_record(section, parts.Section) for section in sections_of(works, plan["options"])),
            *server_sections(plan["model"], plan["controls"]),
        ],
    }


def decide(works: Sequence[ReconstructedWork]) -> tuple[ReconstructionVerdict, list[str]]:
    """Return the verdict and why.

    - found: the model wrote a passage of at least 100 words of a work by itself, and none of a control work. A
      hundred words in order are no matter of chance: even at two choices a word there are 2^100 texts.
    - inconclusive: anything else. A model that does not write a work when asked in one way may know it; and where a
      control work is written too, being written does not tell one from the other.
    """
    least = LEASTS[0]
    asked, controls = ([work for work in works if work["control"] == control] for control in (False, True))
    had = [work for work in asked if work["recall"][0]["words"]]
    seen = [work for work in controls if work["recall"][0]["words"]]
    if not had:
        return "inconclusive", [
            f"no passage of {least} words or more was written without help",
            "that a model does not write a work when asked in one way does not show that it does not know the work",
        ]
    if seen:
        names = ", ".join(work["name"] for work in seen)
        return "inconclusive", [
            f"a passage of {least} words or more of a control work was written too: {names}",
            "either the model has seen that work, or it shares text with those in question, as a licence: cut what they"
            " share, or choose another control work",
        ]
    passage = max((passage for work in had for passage in work["passages"]), key=lambda passage: passage["words"])
    run = f"its longest unbroken run {passage['longest_run']:,}"
    run = "in one unbroken run" if passage["longest_run"] == passage["words"] else run
    reasons = [f"the longest passage has {passage['words']:,} words, {run}, none of which the model was given"]
    if controls:
        works_seen = counted(len(controls), "control work")
        reasons.append(f"the same procedure gave no passage of {least} words or more of {works_seen}")
    else:
        reasons.append(
            "no control work was given: what the same procedure gives of a work that the model cannot have seen is not"
            " known here; a hundred words in a row are no matter of chance"
        )
    return "found", reasons


def headline(works: Sequence[ReconstructedWork]) -> str:
    """Return the answer in one sentence: of all works in question together."""
    asked, controls = ([work for work in works if work["control"] == control] for control in (False, True))
    words, written = sum(work["words"] for work in asked), sum(work["recall"][0]["words"] for work in asked)
    longest = max(work["recall"][0]["longest"] for work in asked)
    what = asked[0]["name"] if len(asked) == 1 else f"{len(asked)} works"
    told = sum(work["help_tokens"] for work in asked)
    said = f"{percent(written / words) if words else 'nothing'} of {what} was had back ({written:,} of {words:,} words"
    said += f" in passages of at least {LEASTS[0]}, the longest {longest:,})" if written else ")"
    said += f", given {told:,} tokens of {sum(work['tokens'] for work in asked):,}"
    if controls:
        rest, all_ = sum(work["recall"][0]["words"] for work in controls), sum(work["words"] for work in controls)
        said += f"; of control works {percent(rest / all_) if all_ else 'nothing'}"
    return said


def _units(works: Sequence[ReconstructedWork]) -> str:
    asked = sum(not work["control"] for work in works)
    return f"{counted(asked, 'whole work')}, {counted(len(works) - asked, 'control work')}"


def _work(planned: PlannedWork, aligned: Aligned) -> ReconstructedWork:
    """Return what became of one work."""
    course = aligned.course
    side_by_side, left_out = aligned.side_by_side()
    told = sum(len(stretch.given) for stretch in course.stretches)
    return {
        **planned,
        "recall": [aligned.recall(least) for least in LEASTS],
        "passages": aligned.found(),
        "given": [_given(aligned, number) for number in range(len(course.stretches))],
        "generated": course.generated,
        "written": course.written,
        "written_words": sum(map(len, aligned.words)),
        "help_tokens": told,
        "help_share": told / course.work.tokens,
        "help_words": int(aligned.given.sum()),
        "diverged": aligned.diverged(),
        "side_by_side": side_by_side,
        "side_left_out": left_out,
    }


def _given(aligned: Aligned, number: int) -> GivenPiece:
    stretch, work = aligned.course.stretches[number], aligned.course.work
    return {
        "token": stretch.given.start,
        "tokens": len(stretch.given),
        "place": work.place(work.words_in(stretch.given)),
        "probe": None if stretch.probe is None else asdict(stretch.probe),  # type: ignore[typeddict-item]
        "written": stretch.tokens,
        "words": len(aligned.words[number]),
        "alike": aligned.alike(number),
        "stop": stretch.stop,
    }
