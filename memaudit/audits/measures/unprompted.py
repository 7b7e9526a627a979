"""What a model writes by itself: samples of it, unprompted and after a few tokens, looked up in the training text.

Windows ask for passages that were drawn. A text that the model gives to whoever asks for nothing, as a licence that
stood in every file of its training, may lie in none of them. Samples as a first look at what a model gives away are
those of Carlini et al. 2021; every run is looked up in the whole training text (Liu et al. 2025, OLMoTrace).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import bounds, mean_share, shown
from memaudit.audits.measures.probability import decoding_of
from memaudit.audits.subject import Measure, Subject
from memaudit.errors import ModelError
from memaudit.models.decoding import before_end
from memaudit.models.sampling import continuation_text, continue_long
from memaudit.records import MAX_NAMED, Capability, TokenIds, Window
from memaudit.report.wording import counted
from memaudit.runs.measured_lines import UnpromptedLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Section, Table, Value
from memaudit.text.index.trace import trace
from memaudit.text.words.words import words_of

MOST = 100
"""Samples, half of them unprompted."""
EVERY = 16
"""Windows for each sample, so that all samples together take a small share of an audit's time ..."""
FEW, EVERY_OF_FEW = 8, 8
"""... of a small audit so many samples, as long as there are as many windows for each."""
LENGTH = 64
"""Tokens of a sample; the context slides where the model reads fewer at once."""
BEGUN = 3
"""Tokens of a short prompt."""
RUN = 8
"""Words of a run that counts: shorter ones occur anywhere."""
EXCERPT = 300
"""Characters of a run that are kept."""
SHOWN_DOCUMENTS = 10
NOTHING, SHORT, NULL = "unprompted", "short prompt", "held-out text"
TITLES = {
    NOTHING: "Unprompted",
    SHORT: f"After the first {BEGUN} tokens of a window",
    NULL: "Held-out text itself",
}


class Asked(NamedTuple):
    """One sample to be taken, or a piece of held-out text to compare samples with."""

    number: int
    way: str
    ids: TokenIds
    """The prompt, or the text."""
    document: str


class Unprompted:
    """One line a sample, then as many of held-out text."""

    name = "unprompted"
    needs = frozenset((Capability.WRITING,))
    block = 50

    def items(self, subject: Subject) -> list[Asked]:
        """Return unprompted samples, samples after short prompts, and pieces of held-out text as long as these.

        Prompts are the beginnings of held-out windows, which give nothing of the training text away; of training
        windows where no other windows are known.
        """
        count = samples_of(len(subject.windows))
        heldout = [window for window in subject.windows if not window.member]
        starts = _one_a_document(heldout or subject.windows)
        if not (count and starts):
            return []
        begun = [starts[i % len(starts)] for i in range(count)]
        nothing = 0 if subject.model.tokenizer.bos_id is not None else 1
        ways = [(NOTHING, nothing)] * (count - count // 2) + [(SHORT, BEGUN)] * (count // 2)
        asked = [(way, window.prefix[:size], window) for (way, size), window in zip(ways, begun, strict=True)]
        asked += [(NULL, _compared(window), window) for window in _one_a_document(heldout)[:count]]
        return [Asked(number, way, ids, window.document) for number, (way, ids, window) in enumerate(asked)]

    def measure(self, subject: Subject, items: Sequence[Asked]) -> list[UnpromptedLine]:
        """Sample the continuations of a block and look them up."""
        samples = [item for item in items if item.way != NULL]
        decode, refused = subject.model.tokenizer.decode, ""
        texts = {item.number: decode(item.ids) for item in items if item.way == NULL}
        try:
            texts |= _sampled(subject, samples) if samples else {}
        except ModelError as error:  # another's, that cannot sample: the windows are measured nevertheless
            refused = error.message
        return [
            _line(subject, item, texts[item.number]) if item.number in texts else {**_nothing(item), "refused": refused}
            for item in items
        ]

    def section(self, records: Sequence[UnpromptedLine], plan: MeasuredPlan) -> Section:
        """Return the share of samples with a run of training text, beside held-out text, and where it is from."""
        refused = next((r["refused"] for r in records if "refused" in r), None)
        records = [r for r in records if "refused" not in r]
        ways = {way: group for way in TITLES if (group := [r for r in records if r["way"] == way])}
        decoding = decoding_of(plan)
        samples = [r for r in records if r["way"] != NULL]
        bare = plan["model"].get("start_token", 0) is None
        unprompted = "after a first token, since nothing stands before a text" if bare else "unprompted"
        compared = "the beginnings of held-out conversations" if "chat" in plan else "held-out windows"
        return Section(
            self.name,
            "What the model writes by itself",
            _summary(ways, samples) if refused is None else f"Not measured: {refused}",
            f"Samples of at most {LENGTH} tokens ({decoding}), until the model ends the text: half of them"
            f" {unprompted}, half after the first {BEGUN} tokens of held-out windows, which give nothing of the"
            " training text away."
            f" Every run of {RUN} words or more that occurs in the training text, word for word after normalisation,"
            f" is looked up in all of it, as are {compared} of the same length: such runs are what any text of"
            " this kind shares with the training text. Intervals are exact, over samples.",
            [_rates(ways), *_sources(samples)] if samples else [],
            notes=_notes(samples),
        )


def samples_of(windows: int) -> int:
    """Return how many samples are taken beside so many windows of both sides: at most `MOST`."""
    return min(MOST, max(windows // EVERY, min(FEW, windows // EVERY_OF_FEW)))


def _one_a_document(windows: Sequence[Window]) -> list[Window]:
    return list({window.document: window for window in reversed(windows)}.values())[::-1]


def _compared(window: Window) -> TokenIds:
    """Return the tokens of a window that samples are compared with.

    A conversation begins as samples of it do, with a system prompt that all may share. Anywhere else in it that prompt
    would be missed in one, or counted in the other.
    """
    ids = np.concatenate([window.prefix, window.suffix])
    return ids[-LENGTH:] if window.turns is None else ids[:LENGTH]


def _sampled(subject: Subject, samples: Sequence[Asked]) -> dict[int, str]:
    """Return what the model writes after each prompt, by the number of the sample."""
    # Equal prompts of one call get streams of their own; the block's number keeps those of other blocks apart.
    decoding = dataclasses.replace(subject.decoding, seed=subject.decoding.seed + samples[0].number)
    said = continue_long(subject.model, [item.ids for item in samples], LENGTH, decoding)
    own = [before_end(ids, subject.model.end_ids) for ids in said]
    pairs = zip(samples, own, strict=True)
    return {item.number: continuation_text(subject.model.tokenizer, item.ids, ids) for item, ids in pairs}


def _nothing(item: Asked) -> UnpromptedLine:
    return {"way": item.way, "document": item.document, "words": 0, "copied": 0, "longest": 0}


def _line(subject: Subject, item: Asked, text: str) -> UnpromptedLine:
    assert subject.index is not None, "copies are counted"
    line = _nothing(item)
    line["words"] = len(words_of(text))
    if line["words"] < RUN:
        return line
    found = trace(subject.index, text, min_words=RUN)
    spans = [span for passage in found["passages"] for span in passage["spans"]]
    line["copied"] = found["covered_words"]
    if spans:
        longest = max(spans, key=lambda span: (span["words"], span["rarity"]))
        line["longest"] = longest["words"]
        line["excerpt"] = _excerpt(text[longest["start"] : longest["end"]])
        line["count"], line["documents"] = longest["count"], longest["documents"]
        line["held_by"] = [_named(source) for source in longest["sources"][:MAX_NAMED]]
    return line


def _excerpt(run: str) -> str:
    folded = " ".join(run.split())
    return folded if len(folded) <= EXCERPT else f"{folded[: EXCERPT - 1]}…"


def _named(source: Mapping[str, str]) -> str:
    """Return a document of the training text as windows name those that hold their suffixes."""
    id, place = source["document"], source["source"]
    return place if id == place else f"{id} ({place})"


def _rate(group: Sequence[UnpromptedLine]) -> stats.Rate:
    return stats.document_rate([r["longest"] >= RUN for r in group], [r["document"] for r in group])


def _summary(ways: Mapping[str, Sequence[UnpromptedLine]], samples: Sequence[UnpromptedLine]) -> str:
    if not samples:
        return "No sample was taken: the audit has too few windows"
    parts = []
    for way, group in ways.items():
        hits = sum(r["longest"] >= RUN for r in group)
        parts.append(f"{TITLES[way].lower()}: {hits} of {len(group)} ({shown(_rate(group))})")
    told = f"Texts with a run of {RUN} words or more that occurs in the training text: {'; '.join(parts)}"
    longest = max(samples, key=lambda r: r["longest"])
    if longest["longest"] < RUN:
        return told
    words, places, first = longest["longest"], counted(longest["count"], "place"), longest["held_by"][0]
    return f"{told}. The longest run, of {words} words, occurs at {places}, first in {first}"


def _rates(ways: Mapping[str, Sequence[UnpromptedLine]]) -> Table:
    rows: list[list[Value]] = []
    for way, group in ways.items():
        rate = _rate(group)
        share = mean_share([r["copied"] / max(1, r["words"]) for r in group]).rate
        rows.append([TITLES[way], rate.n, rate.hits, rate.rate, bounds(rate), share, max(r["longest"] for r in group)])
    columns = [Column("Text"), Column("Texts", "number"), Column("With a run", "number"), Column("Share", "share")]
    columns += [Column("95% interval", "interval"), Column("Words in runs", "share"), Column("Longest run", "number")]
    return Table(f"Runs of {RUN} words or more that occur in the training text", columns, rows)


def _sources(samples: Sequence[UnpromptedLine]) -> list[Table]:
    """Return where in the training text samples are from, the documents of most samples first."""
    held: defaultdict[str, list[UnpromptedLine]] = defaultdict(list)
    for line in samples:
        if line["longest"] >= RUN:
            held[line["held_by"][0]].append(line)
    ranked = sorted(held.items(), key=lambda item: (-len(item[1]), -max(r["longest"] for r in item[1]), item[0]))
    rows: list[list[Value]] = []
    for name, lines in ranked[:SHOWN_DOCUMENTS]:
        line = max(lines, key=lambda r: r["longest"])
        rows.append([name, len(lines), line["longest"], line["count"], line["documents"], line["excerpt"]])
    columns = [Column("First document that holds it"), Column("Samples", "number"), Column("Words", "number")]
    columns += [Column("Places", "number"), Column("Documents", "number"), Column("Longest run", "excerpt")]
    return [Table("Where in the training text it stands", columns, rows)] if rows else []


def _notes(samples: Sequence[UnpromptedLine]) -> list[str]:
    left = len({r["held_by"][0] for r in samples if r["longest"] >= RUN}) - SHOWN_DOCUMENTS
    notes = [f"{counted(left, 'more document')} in the log of the run."] if left > 0 else []
    return [*notes, "So few samples show what a model writes often; the verdict does not rest on them."]


UNPROMPTED: Measure[Asked, UnpromptedLine] = Unprompted()
