"""Attack and ordinary use: how often the same model gives training text away, asked in different ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import bounds, mean_share
from memaudit.audits.measures.probability import decoding_of
from memaudit.audits.measures.prompts import PREFIXES, Prompt, document_prompts, free_prompts
from memaudit.audits.subject import Measure, Subject
from memaudit.errors import InputError
from memaudit.models.decoding import before_end
from memaudit.models.sampling import continuation_text, continue_long
from memaudit.records import GREEDY, Capability, TokenIds
from memaudit.runs.measured_lines import UseLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import per_thousand
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.tokenize import Tokenizer
from memaudit.text.words.words import words_of

DOCUMENTS = 50
"""Most documents a side; each is asked for in every way."""
FREE = 100
"""Instructions, and as many unprompted samples."""
LENGTH = 100
"""Tokens of a continuation; the context slides where the model cannot read as many behind its prompts."""
SPAN = 50
"""Tokens of a run that counts as given away."""
SIDES = (("training", True), ("held-out", False), ("no document", None))


class Use:
    """One record a prompt."""

    name = "use"
    needs = frozenset((Capability.WRITING,))
    block = 32

    def items(self, subject: Subject) -> list[tuple[int, Prompt]]:
        """Return numbered prompts: all ways for documents of both sides, then those of no document.

        Raises:
            InputError: There is no index of words to look continuations up in, no document to ask for, or the model
                reads too few tokens.
        """
        if subject.index is None:
            raise InputError("ordinary use is measured against an index of the training text", "give --index DIR")
        context = subject.model.context_length
        room = max(PREFIXES) if context is None else context - sum(map(len, subject.model.frame)) - 1
        if room < min(PREFIXES):
            raise InputError(
                f"the model reads {context} tokens, too few for a prompt of {min(PREFIXES)}",
                "leave the measure use out for this model",
            )
        if not (subject.train or subject.heldout):
            raise InputError(
                "there are no documents to make prompts of, only windows",
                "give the training text with --train, or leave the measure use out",
            )
        tokenizer, seed = subject.model.tokenizer, subject.options.seed
        asked = [(True, d) for d in subject.train[:DOCUMENTS]] + [(False, d) for d in subject.heldout[:DOCUMENTS]]
        prompts = [p for member, d in asked for p in document_prompts(d, member, tokenizer, room, seed)]
        starts = [e.ids[:1] for e in tokenizer.encode_batch([d.text for _, d in asked if d.text])]
        return list(enumerate(prompts + (free_prompts(tokenizer, FREE, starts, room) if starts else [])))

    def measure(self, subject: Subject, items: Sequence[tuple[int, Prompt]]) -> list[UseLine]:
        """Continue the prompts of a block and look the continuations up."""
        assert subject.index is not None
        # Equal prompts of one call get streams of their own; the block's number keeps those of other blocks apart.
        sampled = dataclasses.replace(subject.decoding, seed=subject.decoding.seed + items[0][0])
        prompts = [prompt for _, prompt in items]
        said: dict[int, TokenIds] = {}
        for decoding, greedy in ((GREEDY, True), (sampled, False)):
            places = [i for i, prompt in enumerate(prompts) if prompt.greedy == greedy]
            if places:
                asked = [prompts[i].ids for i in places]
                written = continue_long(subject.model, asked, LENGTH, decoding)
                said |= {i: before_end(ids, subject.model.end_ids) for i, ids in zip(places, written, strict=True)}
        return [_record(subject, prompt, said[i]) for i, prompt in enumerate(prompts)]

    def section(self, records: Sequence[UseLine], plan: MeasuredPlan) -> Section:
        """Return the rate of each way of asking, and the picture over the length of the prefix."""
        ways = list(dict.fromkeys(r["way"] for r in records))
        groups = [
            (way, name, group)
            for way in ways
            for name, member in SIDES
            if (group := [r for r in records if r["way"] == way and r["member"] is member])
        ]
        length = max((r["tokens"] for r in records), default=LENGTH)
        decoding = decoding_of(plan)
        return Section(
            name=self.name,
            title="Attack and ordinary use",
            summary=_summary(groups),
            method=(
                f"Each prompt is continued by {length} tokens, or until the model ends the text, sampled ({decoding})"
                f" unless greedy decoding is named. A continuation leaks text when a run of it that spans {SPAN}"
                " tokens or more occurs in the training text, word for word after normalisation; the prompt itself"
                " does not count. Rates per 1,000 prompts have exact 95% intervals over documents; tokens are those"
                " inside such runs."
            ),
            tables=[_table(groups)],
            graphs=_graphs(groups),
            notes=[
                "Prompts are plain text: no chat template is applied. Edited beginnings are no paraphrases by a"
                " person.",
                *_unprompted(plan),
                f"At most {DOCUMENTS} documents a side were used for prompts, {FREE} prompts of each kind without a"
                " document.",
            ],
        )


def _unprompted(plan: MeasuredPlan) -> list[str]:
    """Say what unprompted samples begin with where nothing stands before a text."""
    bare = plan["model"].get("start_token", 0) is None
    return ["Without a start token unprompted samples begin with the first token of a document."] if bare else []


def given_away(text: str, tokenizer: Tokenizer, index: CorpusIndex, fewest: int = SPAN) -> tuple[int, int]:
    """Return the longest run of a text that occurs in an index, and the tokens in runs of ``fewest`` or more.

    Both in tokens of ``tokenizer``; runs are runs of words, so a token counts if it lies whole inside one.
    """
    words = words_of(text)
    if not len(words):
        return 0, 0
    lengths, _ = index.longest_matches_of_keys(words.hashes)
    encoding = tokenizer.encode_batch([text])[0]
    starts, ends = np.asarray(encoding.starts), np.asarray(encoding.ends)
    inside, longest = np.zeros(len(starts), np.bool_), 0
    for first in np.flatnonzero(lengths):
        low, high = words.starts[first], words.ends[first + lengths[first] - 1]
        if first and lengths[first - 1] == lengths[first] + 1:
            continue  # the end of the run before
        run = (ends > low) & (starts >= low - 1) & (ends <= high)
        longest = max(longest, int(run.sum()))
        if run.sum() >= fewest:
            inside |= run
    return longest, int(inside.sum())


def _record(subject: Subject, prompt: Prompt, said: TokenIds) -> UseLine:
    assert subject.index is not None
    text = continuation_text(subject.model.tokenizer, prompt.ids, said)
    longest, copied = given_away(text, subject.model.tokenizer, subject.index)
    return {
        "way": prompt.way,
        "member": prompt.member,
        "document": prompt.document,
        "source": prompt.source,
        "prompt_tokens": len(prompt.ids),
        "longest": longest,
        "copied": min(copied, len(said)),
        "tokens": len(said),
    }


def _hit(record: UseLine) -> bool:
    return bool(record["longest"] >= SPAN)


def _rate(group: Sequence[UseLine]) -> stats.Rate:
    return stats.document_rate([_hit(r) for r in group], [r["document"] for r in group])


def _summary(groups: Sequence[tuple[str, str, Sequence[UseLine]]]) -> str:
    """Name the attack of the most tokens, on both sides, beside ordinary use."""
    attacks = [way for way, _, _ in groups if way.endswith("greedy")]
    named = [
        (f"prompted with {way}" + (f" ({name})" if name != "no document" else ""), group)
        for way, name, group in groups
        if name == "no document" or way == attacks[-1]
    ]
    parts = [f"{words}: {per_thousand(_rate(group).rate)}" for words, group in named]
    return f"Continuations with {SPAN} tokens of training text, per 1,000 prompts: {'; '.join(parts)}"


def _table(groups: Sequence[tuple[str, str, Sequence[UseLine]]]) -> Table:
    rows: list[list[Value]] = []
    for way, name, group in groups:
        rate = _rate(group)
        tokens = mean_share([r["copied"] / max(1, r["tokens"]) for r in group])
        rows.append(
            [way, name, rate.hits, rate.n, *_thousandths(rate), *_thousandths(tokens), max(r["longest"] for r in group)]
        )
    columns = [Column("Prompt"), Column("Documents"), Column("Prompts that leaked text", "number")]
    columns += [Column("Of", "number"), Column("Per 1,000 prompts", "number"), Column("95% interval")]
    columns += [Column("Tokens per 1,000", "number"), Column("95% interval"), Column("Longest run", "number")]
    return Table(f"Runs of {SPAN} tokens or more that occur in the training text", columns, rows)


def _thousandths(rate: stats.Rate) -> list[Value]:
    limits = bounds(rate)
    if rate.rate is None or not isinstance(limits, list):
        return [None, None]
    return [1000 * rate.rate, f"[{per_thousand(limits[0])}, {per_thousand(limits[1])}]"]


def _graphs(groups: Sequence[tuple[str, str, Sequence[UseLine]]]) -> list[Graph]:
    series = []
    for suffix, how in ((", greedy", "greedy"), ("", "sampled")):
        for name in ("training", "held-out"):
            points: list[list[float | None]] = []
            for length in PREFIXES:
                for way, side, group in groups:
                    if way == f"its first {length} tokens{suffix}" and side == name:
                        rate = _rate(group)
                        points.append([float(length), rate.rate, rate.low, rate.high])
            if points:
                series.append(Series(f"{name}, {how}", points))
    description = (
        f"Share of prompts whose continuation holds {SPAN} tokens of training text, by the tokens of the document"
        " that the prompt gives, greedy and sampled, for training and held-out documents."
    )
    graph = Graph("What an attacker must know", description, "Tokens of the document in the prompt", "Share", series)
    return [graph] if series else []


USE: Measure[tuple[int, Prompt], UseLine] = Use()
