"""Rates, copies, verdicts and texts as people can read them; `memaudit.stats.rounding` puts numbers into words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypedDict

from memaudit.errors import one_line
from memaudit.families import label_of
from memaudit.records import MAX_COMPARED, Decoding
from memaudit.report.endpoint import in_chat
from memaudit.runs.contamination_report import RuleEstimate
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.parts import DescribedModel, Difference
from memaudit.runs.plans import ChatDescription
from memaudit.stats import rounding
from memaudit.stats.rounding import NONE, percent

_HIDDEN = re.compile(
    # Controls but tab and newline, bidirectional and other invisible formatting, line separators, tag
    # characters, surrogates, noncharacters ...
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
    # ... and joiners, where there is no script or emoji on both sides that could need them.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)

OWN_TEMPLATE = "the model's own"
"""Where a chat template is from that comes with the model."""
BEYOND_LIMIT = "not drawn: beyond --limit"
"""Why a document gave no window that says nothing of it: more were there than were to be asked."""
SYMBOLS = {"found": "●", "clean": "○", "no-evidence": "◌", "inconclusive": "◐", "confounded": "⊘"}
"""Full, empty, dotted, half, crossed: told apart by shape, in colour or not."""
VERDICTS = {
    "found": "Found",
    "clean": "Clean",
    "no-evidence": "No evidence",
    "inconclusive": "Inconclusive",
    "confounded": "Confounded",
}


class Bounds(TypedDict):
    """An interval of shares; None where there is none."""

    low: float | None
    high: float | None


class Hits(TypedDict):
    """How many of how many."""

    hits: int
    n: int


class Sampled(TypedDict):
    """Options of a run that draws samples."""

    temperature: float
    top_k: int | None
    top_p: float | None


class InWords(TypedDict):
    """Where something stands among the words of a work; None where it has none."""

    word: int | None
    """From 0."""
    words: int | None


def visible_parts(text: str) -> Iterator[tuple[str, bool]]:
    r"""Yield a text in pieces: (piece, False) as it stands, (``\x1b``, True) for a character nobody sees."""
    last = 0
    for match in _HIDDEN.finditer(text):
        if match.start() > last:
            yield text[last : match.start()], False
        yield "".join(f"\\u{ord(c):04x}" if c.isprintable() else one_line(c) for c in match.group()), True
        last = match.end()
    if last < len(text):
        yield text[last:], False


def visible(text: str) -> str:
    r"""Return a text with its invisible and unwritable characters as ``\x1b`` or ``\u202e``."""
    return "".join(piece for piece, _ in visible_parts(text))


def interval(rate: Bounds) -> str:
    """Return the bounds of a rate as ``[1.2%, 3.4%]``."""
    low, high = rate["low"], rate["high"]
    return NONE if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def points(difference: Difference | None) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return NONE if difference is None else rounding.points(difference["estimate"])


def point_interval(difference: Difference | None) -> str:
    """Return the bounds of a difference in percentage points."""
    return NONE if difference is None else rounding.points_between(difference["low"], difference["high"])


def hits(rate: Hits) -> str:
    """Return ``12 of 100``."""
    return f"{rate['hits']:,} of {rate['n']:,}"


def classes(estimate: RuleEstimate) -> str:
    """Return ``7 clean, 5 not clean``, the items in each class of a rule that has more than two; or nothing."""
    return ", ".join(f"{entry['count']:,} {entry['name']}" for entry in estimate["classes"])


def between(least: int, most: int | None) -> str:
    """Return a range of counts as ``2``, ``3–4`` or ``257 or more``."""
    if most is None:
        return f"{least:,} or more"
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def copies(exact: int | None, normalised: int | None) -> str | None:
    """Say how often a span occurs in the training text that was indexed; None where that was not counted."""
    if exact is None or normalised is None:
        return None
    if not normalised:
        return "does not occur in the index of the training text"
    times = "once" if normalised == 1 else f"{normalised:,} times"
    least = "at least " if normalised > MAX_COMPARED else ""
    return f"occurs {times} in training, {least}{exact:,} exact"


def counted(count: int, one: str, many: str = "") -> str:
    """Return ``1 entry`` or ``2 entries``; the plural is formed with an s where none is given."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def sampled(options: Sampled) -> str:
    """Return how samples are drawn: ``temperature 1, top-k 40``."""
    return Decoding(options["temperature"], options["top_k"], options["top_p"]).in_words


def word_range(place: InWords) -> str:
    """Return which words of a work a place takes, the first being word 1: ``1,204–1,260``."""
    first, words = place["word"], place["words"]
    return NONE if first is None or words is None else between(first + 1, first + max(words, 1))


def question(report: ExtractionReport) -> str:
    """Return what an extraction audit asks of a model."""
    suffix = report["options"]["suffix"]
    if chat := report.get("chat"):
        return (
            f"Given a conversation up to a reply, does the model give the first {suffix} tokens of that reply verbatim?"
            f" Replies of at least {chat['least']} tokens are tested; one shorter than {suffix} must be given whole."
        )
    if answers := report.get("answers"):
        return (
            f"Given their prompts, do the answers reproduce the true text verbatim? Compared are {answers['tokens']}."
        )
    prefix = report["options"]["prefix"]
    if in_chat(report["model"]):
        return (
            f"Given {prefix} tokens of a document as a message, does the model answer with the next {suffix} verbatim?"
        )
    return f"Given {prefix} tokens of a document, does the model reproduce the next {suffix} verbatim?"


def decoding(report: ExtractionReport) -> str:
    """Return how an extraction audit decoded, and how often it asked."""
    if answers := report.get("answers"):
        return f"not ours, and not known; {counted(answers['attempts'], 'attempt')} a prompt"
    if "endpoint" in report["model"]:
        return "greedy, by the server; one attempt a window"
    return "greedy, ours; one attempt a window"


def chat(described: ChatDescription) -> str:
    """Say how conversations were written for the model, and which replies were not asked for."""
    if described["sha256"] is None:
        written = "prompt and answer joined, without a chat template"
    else:
        whose = described["template"] if described["template"] == OWN_TEMPLATE else f"that of {described['template']}"
        written = f"rendered by a chat template, {whose}, sha256 {described['sha256'][:12]}"
    left = sum(entry["count"] for entry in described["left_out"])
    return f"conversations: {written}" + (f"; {counted(left, 'reply', 'replies')} not tested" if left else "")


def family(name: str) -> str:
    """Return the name by which people know a family of models."""
    return label_of(name)


def mean_similarity(reports: Iterable[ExtractionReport]) -> str:
    """Return what the mean similarity in a table of doses is of, where the rate beside it is of all windows."""
    sampled = any("sampled" in mean for report in reports for mean in report.get("means", ()))
    return "mean edit similarity" + (" of a random sample of the windows" if sampled else "")


def asked_with(model: DescribedModel) -> str:
    """Say in a sentence what stands before a text; empty of what is no model of ours, or older than this sentence."""
    omitted, given = "".join(model.get("omitted", ())), model.get("frame_text")
    each = "Each window, prompt or document is given"
    if omitted:
        return f"{each} without a start token: its ids alone, {omitted} left out."
    if given and all(given):
        return f"{each} between the tokens {given[0]} and {given[1]}, wherever in a text it begins."
    if given:
        return f"{each} with the model's start token {given[0]} before it, wherever in a text it begins."
    known = "frame" in model and not any(model["frame"])
    return f"{each} as its ids alone, no start token before it." if known else ""
