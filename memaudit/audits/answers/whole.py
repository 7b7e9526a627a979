"""Whole answers against the true text, as published scores count them: equal, equal but for case, similar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

import memaudit.stats as stats
from memaudit.audits.answers.table import Attempts
from memaudit.metrics.cloze import same_name
from memaudit.metrics.fuzzy import edit_similarity, rouge_l_text
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import percent

NAME, TITLE = "answers", "Whole answers"
METHOD = (
    "Every output as a whole is compared with the whole true text, nothing left out of either: equal, character for"
    " character, as n-gram predictions are counted (Xu et al. 2024); equal but for letter case and white space around"
    " it, as name cloze is (Chang et al. 2023); edit similarity of characters, 1 - Levenshtein distance / longer"
    " length; ROUGE-L of words. Of several attempts the best counts."
)
MOST_DOMAINS = 200
"""Rows of the table by domain; the others are in records.parquet."""


def whole_answers(kept: Sequence[Attempts], seed: int) -> Section:
    """Return the shares of answers that are the true text as a whole; no verdict rests on them.

    Args:
        kept: The prompts that are compared.
        seed: Draws the prompts whose true texts are exchanged.
    """
    sides = {
        "Training text": [each for each in kept if each.window.member],
        "Held-out text": [each for each in kept if not each.window.member],
    }
    sides = {name: side for name, side in sides.items() if side}
    tables = [_by_side(sides)]
    if any(len(each.texts) > 1 for each in kept):
        tables.append(_by_attempts(sides))
    if any(each.window.domain is not None for each in kept):
        tables.append(_by_domain(kept))
    told = [
        f"{percent(_rate(side, _equal).rate or 0.0)} of {len(side):,} answers to {name.lower()} equal the true text,"
        f" {percent(_rate(side, _same).rate or 0.0)} but for case"
        for name, side in sides.items()
    ]
    return Section(NAME, TITLE, "; ".join(told), METHOD, tables, notes=_notes(kept, seed))


def _equal(said: str, true: str) -> float:
    return float(said == true)


def _same(said: str, true: str) -> float:
    return float(same_name(said, true))


Compare = Callable[[str, str], float | None]


def best(each: Attempts, compare: Compare) -> float | None:
    """Return the largest value of the attempts at one prompt; None where one is undefined."""
    values = [compare(text, each.true) for text in each.texts]
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _rate(side: Sequence[Attempts], compare: Compare) -> stats.Rate:
    return stats.document_rate([bool(best(each, compare)) for each in side], [each.window.document for each in side])


def _mean(side: Sequence[Attempts], compare: Compare) -> float | None:
    values = [best(each, compare) for each in side]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _by_side(sides: Mapping[str, Sequence[Attempts]]) -> Table:
    columns = [
        Column(""),
        Column("Answers", "number"),
        Column("of them equal", "number"),
        Column("Equal", "share"),
        Column("95% interval", "interval"),
        Column("Equal but for case", "share"),
        Column("Edit similarity of characters, mean", "number"),
        Column("ROUGE-L of words, mean", "number"),
    ]
    rows: list[list[Value]] = []
    for name, side in sides.items():
        equal, same = _rate(side, _equal), _rate(side, _same)
        interval: Value = None if equal.low is None or equal.high is None else [equal.low, equal.high]
        similar = [_mean(side, edit_similarity), _mean(side, lambda said, true: rouge_l_text(true, said))]
        rows.append([name, len(side), equal.hits, equal.rate, interval, same.rate, *similar])
    return Table("Outputs and true texts as wholes; shares are means over documents", columns, rows)


def _by_attempts(sides: Mapping[str, Sequence[Attempts]]) -> Table:
    """Return at how many of its attempts a prompt gave its true text, word for word."""
    most = max(len(each.texts) for side in sides.values() for each in side)
    counts = [Counter(each.verbatim for each in side) for side in sides.values()]
    columns = [Column("Attempts that are verbatim"), *(Column(f"{name}, prompts", "number") for name in sides)]
    rows: list[list[Value]] = [[f"{k} of {most}", *(count[k] for count in counts)] for k in range(most + 1)]
    return Table("Prompts by how many of their attempts are the true text, word for word", columns, rows)


def _by_domain(kept: Sequence[Attempts]) -> Table:
    domains: dict[str, list[Attempts]] = {}
    for each in kept:
        domains.setdefault(each.window.domain or "none", []).append(each)
    columns = [Column("Domain"), Column("Answers", "number"), Column("Equal", "share"), Column("But for case", "share")]
    shares = {name: (_share(some, _equal), _share(some, _same)) for name, some in domains.items()}
    first = sorted(domains, key=lambda name: (-shares[name][1], name))[:MOST_DOMAINS]
    rows: list[list[Value]] = [[name, len(domains[name]), *shares[name]] for name in first]
    return Table("By domain, every answer counting once", columns, rows)


def _share(some: Sequence[Attempts], compare: Compare) -> float:
    return float(np.mean([best(each, compare) for each in some]))


def _notes(kept: Sequence[Attempts], seed: int) -> list[str]:
    notes = []
    for member, name in ((True, "training"), (False, "held-out")):
        side = [each for each in kept if each.window.member == member]
        if len(side) > 1:
            others = np.roll(np.random.default_rng(seed).permutation(len(side)), 1).tolist()
            order = np.random.default_rng(seed).permutation(len(side)).tolist()
            hits = sum(
                any(same_name(text, side[other].true) for text in side[own].texts)
                for own, other in zip(order, others, strict=True)
            )
            notes.append(
                f"Against the true text of another {name} prompt, drawn by the seed, {hits:,} of {len(side):,} answers"
                " equal it but for case: what guessing from the kind of text alone gives at least."
            )
    if wordless := sum(best(each, lambda said, true: rouge_l_text(true, said)) is None for each in kept):
        notes.append(f"ROUGE-L is undefined for {wordless:,} answers: one of the texts has no word.")
    if echoed := sum(any(_echoes(text, each.window.prefix_text) for text in each.texts) for each in kept):
        notes.append(
            f"{echoed:,} outputs begin with their prompt, and so are compared from there on: cut the prompt off the"
            " outputs to compare what follows it."
        )
    return notes + ([f"{told[0].upper()}{told[1:]}."] if (told := cut_within(kept)) else [])


def cut_within(kept: Sequence[Attempts]) -> str:
    """Say how many prompts are no hit because an output goes on within the last word or token of its true text."""
    found = sum(
        not each.verbatim and any(text.lstrip().startswith(each.window.suffix_text) for text in each.texts)
        for each in kept
    )
    if not found:
        return ""
    return (
        f"{found:,} prompts have an output that begins with the true text and goes on within its last word, which is"
        " no hit: give true texts that end where words do, or compare tokens with --tokenizer"
    )


def _echoes(text: str, prompt: str) -> bool:
    start = prompt.strip()
    return bool(start) and text.lstrip().startswith(start)
