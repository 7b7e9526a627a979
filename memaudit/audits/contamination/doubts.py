"""What a search does not show: why *clean* would claim more than was looked at, and what was not looked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memaudit.audits.benchmark.items import Benchmark
from memaudit.audits.benchmark.layouts import ALL, BOTH
from memaudit.audits.contamination.judgement import JudgedItem
from memaudit.findings import Control
from memaudit.report.wording import counted
from memaudit.runs.plans import ContaminationPlan
from memaudit.stats.rounding import percent
from memaudit.text.scan.patterns import SEED, Patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.scripts import SCRIPTS, count_scripts
from memaudit.text.words.words import encode_texts

MAX_UNJUDGED = 0.5
"""Where more of the items than this cannot be judged, nothing was shown about the benchmark."""
MAIN_SCRIPT, FOREIGN_SCRIPT = 0.5, 0.01
"""A benchmark with more than this share of its letters in a script that makes less than that of a corpus's letters is
not looked for there."""
PARTIAL = "only a share of the corpus was read: merge the other shares, or run the same command without --shard"
UNJUDGED = {
    "short": f"fewer than {SEED} words in every part",
    "generic": "too generic to judge: made of words that occur in any corpus",
}
"""Why an item cannot be judged."""
NOT_LOOKED_FOR = (
    "Not looked for: paraphrases and translations, the same text in another script, and disguises that no rule here"
    " undoes. Matching is by words: a text that keeps few of them in order is not found."
)
_WHY = {
    "generic": "it shares only stock phrases with the most similar document",
    "boilerplate": "a part of it that occurs there whole is boilerplate of the benchmark",
    "choice": "only its answer occurs there, and it is one of the item's choices",
    "short": "short texts must occur there word for word, up to a typo",
    "little": "the most similar document holds {share} of its own words",
    "other": "what occurs there is another item of the benchmark, word for word",
}
_CUTS = {"line": re.compile(r"\n"), "paragraph": re.compile(r"\n\s*\n"), "block": re.compile(r"\n\s*\n")}
"""Where a text may be cut that is not searched whole."""


def search_gaps(scan: Scan, controls: Sequence[Control], *, complete: bool) -> list[str]:
    """Say what of the corpus was not searched: then no item is clean that was not found."""
    gaps = []
    if not complete:
        gaps.append(PARTIAL)
    gaps += [f"the control '{c.name}' did not pass: {c.detail}" for c in controls if not c.passed]
    if scan.rejected:
        skipped = counted(scan.rejected, "record of the corpus was", "records of the corpus were")
        gaps.append(f"{skipped} skipped, first {scan.first_rejected[0]}")
    if not scan.documents:
        gaps.append("no document of the corpus was read")
    return gaps


def benchmark_gaps(items: Sequence[JudgedItem], benchmark: Benchmark, scan: Scan) -> list[str]:
    """Say what of the benchmark was not looked for."""
    gaps = []
    if benchmark.rejected:
        skipped = counted(benchmark.rejected, "record of the benchmark was", "records of the benchmark were")
        gaps.append(f"{skipped} skipped, first {benchmark.first_rejected[0]}")
    gaps += _foreign_script(benchmark, scan)
    if templated := sum(item.verdict == "undecided" and item.templated and item.most_rules for item in items):
        which = counted(templated, "item fills in a template", "items fill in a template")
        gaps.append(f"{which} that others share, and most published rules flag: an edited copy would look the same")
    unjudged = sum(item.verdict == "not judged" for item in items)
    if unjudged + benchmark.empty > MAX_UNJUDGED * (len(items) + benchmark.empty):
        generic = sum(item.unjudged == "generic" for item in items)
        which = "too generic" if generic == unjudged else "too short" if not generic else "too short or too generic"
        gaps.append(f"{unjudged:,} of {counted(len(items), 'item is', 'items are')} {which} to judge")
    return gaps


def _foreign_script(benchmark: Benchmark, scan: Scan) -> list[str]:
    """Say that a benchmark is written in a script that the corpus hardly holds: a translation would not be found."""
    ours = count_scripts(*encode_texts(["\n".join(i.parts.values()) for i in benchmark.items]), sample=1 << 16)
    main = int(ours.argmax())
    letters = int(scan.scripts.sum())
    if not letters or ours[main] <= MAIN_SCRIPT * ours.sum() or scan.scripts[main] >= FOREIGN_SCRIPT * letters:
        return []
    share = percent(int(scan.scripts[main]) / letters)
    written = f"the benchmark is written in {SCRIPTS[main]} letters, {share} of the letters of the corpus are"
    return [f"{written}: a translation, or the text in another script, was not looked for"]


def why_spared(judged: JudgedItem, patterns: Patterns, scan: Scan) -> str:
    """Say why our rule does not flag an item."""
    if judged.unjudged:
        return UNJUDGED[judged.unjudged]
    if judged.matches:
        best = judged.matches[0]
        return _WHY[best.why].format(share=percent(best.similarity))
    needles = [place for place, needle in enumerate(patterns.needles) if needle.item == judged.place]
    longest = max((int(scan.longest[place]) for place in needles), default=0)
    return f"no document holds enough of its own words; its longest shared run has {longest:,}"


def limits_of(items: Sequence[JudgedItem], plan: ContaminationPlan) -> list[str]:
    """Say what the search does not show."""
    limits = [
        NOT_LOOKED_FOR,
        "Nor is a text whose words are reordered, reversed, joined without spaces, written with digits for letters,"
        " with a mark between every few of them, or letter-spaced (h e l l o).",
        "An item that was found occurs in the corpus; whether a model was trained on that document, and remembers"
        " it, is another question.",
        "Text that many items of the benchmark share, and test phrasing, flag no item.",
    ]
    for why, reason in UNJUDGED.items():
        if count := sum(item.unjudged == why for item in items):
            limits.append(f"{counted(count, 'item was', 'items were')} not judged: {reason}.")
    limits += _cut_in_two(items, plan)
    return limits


def _cut_in_two(items: Sequence[JudgedItem], plan: ContaminationPlan) -> list[str]:
    """Say how many items can be missed because text files were not searched whole."""
    split = plan["options"]["split"]
    if split not in _CUTS or plan["corpus"]["indices"]:
        return []
    apart = [[text.strip() for name, text in i.item.parts.items() if name not in (BOTH, ALL)] for i in items]
    count = sum(any(_CUTS[split].search(text) for text in texts) for texts in apart)
    spans = counted(count, "item spans more than one, and", "items span more than one, and")
    said = f"Text files were searched piece by piece (--split {split}): {spans} can be missed there."
    return [f"{said} Without --split, files are searched whole."] if count else []
