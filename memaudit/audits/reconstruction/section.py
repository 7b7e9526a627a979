"""How a reconstruction is shown in tables, and what it does not show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memaudit.audits.reconstruction.matching import LEASTS, NEAR, SHORTEST, SOLID
from memaudit.records import Decoding
from memaudit.report.wording import counted
from memaudit.runs.reconstruction import ReconstructionOptions
from memaudit.runs.reconstruction_report import GivenPiece, ReconstructedWork
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import percent

ROWS = 300
"""Passages that a table lists, the longest; and pieces that were given, the first."""
METHOD = (
    "The model is given the first {seed_tokens} tokens of the work and writes on from its own words, {decoding}; its"
    " window slides along when it is full and then holds the last half. Writing stops when it ends the text,"
    " comes to the end of the work, has written {limit} tokens, or {patience} without twenty new words of the"
    " work in a row. {again} Output and work are matched by words, in order, none taken twice: the longest run that"
    " both share, then what stands before it and behind it (Ratcliff & Metzener 1988), runs of {shortest} words or"
    " more; runs with at most 2 words between them are one passage if it has {solid} words, and those with at most"
    " {near} between them are one. Near-verbatim recall is the share of the words of the work in runs of passages of at"
    " least {least} words (two phases and passages after Ahmed et al. 2026, arXiv 2601.02671; the numbers of words"
    " between runs are ours). What was given is never counted as had back, wherever it stands again, and stays among"
    " all words."
)
LIMITS = (
    "A model that does not write a work in this way may know it all the same: another beginning, another"
    " decoding or another prompt may give it. Nothing here shows that a model does not know a work.",
    "Passages count only in the order of the work; what the model wrote out of order, or twice, is not counted.",
    "The attempt that agrees best with the work is kept: that choice is made anew for every piece that is given.",
    "A passage that the work repeats counts as often as it was written, and no more often than it stands in the work.",
)
STOPS = {
    "end of the text": "it ended the text",
    "end of the work": "it came to the end of the work",
    "no new words": "it wrote no new words of the work",
    "token limit": "it had written as many tokens as were allowed",
    None: "nothing was asked for",
}


def sections_of(works: Sequence[ReconstructedWork], options: ReconstructionOptions) -> list[Section]:
    """Return the sections: all works compared, then one of every work."""
    return [_compared(works, options), *(_one(work) for work in works)]


def _compared(works: Sequence[ReconstructedWork], options: ReconstructionOptions) -> Section:
    columns = [
        Column("Work"),
        Column("Words", "number"),
        *(Column(f"Had back in passages of {least} words", "share") for least in LEASTS),
        Column("Longest passage, words", "number"),
        Column("Tokens given", "number"),
        Column("Tokens generated", "number"),
    ]
    rows: list[list[Value]] = [
        [
            _titled(work),
            work["words"],
            *(recall["share"] for recall in work["recall"]),
            max(recall["longest"] for recall in work["recall"]),
            work["help_tokens"],
            work["generated"],
        ]
        for work in works
    ]
    controls = any(work["control"] for work in works)
    notes = [] if controls else ["No control work was given (--heldout FILE): nothing stands beside the recall."]
    return Section(
        name="recall",
        title="Near-verbatim recall",
        summary=" ".join(f"{_titled(work)}: {_recall(work)}" for work in works),
        method=_method(options),
        tables=[Table("What was had back of every work", columns, rows)],
        notes=notes,
    )


def _method(options: ReconstructionOptions) -> str:
    start = {"as-trained": "its start token before every window, if it has one", "none": "no start token"}
    decoding = Decoding(options["temperature"], options["top_k"], options["top_p"])
    greedy = "greedily" if decoding.greedy else f"sampled at {decoding.in_words}"
    if options["attempts"] > 1:
        greedy += f", the best of {options['attempts']} attempts behind given tokens being gone on with"
    again = "No tokens are given again."
    if options["reseeds"]:
        times = counted(options["reseeds"], "time")
        again = f"Then the next {options['seed_tokens']} tokens of the work are given, up to {times}."
    limit = f"{options['max_tokens']:,}" if options["max_tokens"] else "as many"
    if not options["max_tokens"]:
        limit += " as the work has" + (" and so many more for every new beginning" if options["reseeds"] else "")
    return METHOD.format(
        seed_tokens=options["seed_tokens"],
        decoding=f"{greedy}, with {start[options['start_token']]}",
        limit=limit,
        patience=options["patience"],
        again=again,
        shortest=SHORTEST,
        solid=SOLID,
        near=NEAR,
        least=LEASTS[0],
    )


def _titled(work: ReconstructedWork) -> str:
    return work["name"] + (" (control)" if work["control"] else "")


def _recall(work: ReconstructedWork) -> str:
    recall = work["recall"][0]
    return (
        f"{percent(recall['share'])} of {work['words']:,} words were had back in passages of at least"
        f" {recall['least']}."
    )


def _one(work: ReconstructedWork) -> Section:
    tables = [_recalls(work), *_passages(work), _pieces(work["given"])]
    diverged = work["diverged"]
    where = "It wrote all of it without a difference."
    if diverged is not None:
        alike = counted(work["given"][0]["alike"], "word")
        where = f"It first differs from the work after {alike}, in line {diverged['line']:,}."
    ended = STOPS[work["given"][-1]["stop"]]
    share = percent(work["help_share"])
    return Section(
        name=f"work {work['sha256'][:12]}",
        title=_titled(work),
        summary=f"{_recall(work)} {where} Writing stopped because {ended}.",
        method=f"{work['source']} · sha256 {work['sha256'][:12]} · {work['tokens']:,} tokens, {work['words']:,} words, "
        f"{work['lines']:,} lines. Help: {work['help_tokens']:,} tokens ({share} of the work) were given"
        f" in {counted(len(work['given']), 'piece')}. Cost: {work['generated']:,} tokens generated,"
        f" {work['written']:,} of them gone on with.",
        tables=tables,
    )


def _recalls(work: ReconstructedWork) -> Table:
    columns = [
        Column("Passages of at least"),
        Column("Passages", "number"),
        Column("Words of the work", "number"),
        Column("Share", "share"),
        Column("Tokens", "number"),
        Column("Share of tokens", "share"),
    ]
    rows: list[list[Value]] = [
        [f"{r['least']} words", r["passages"], r["words"], r["share"], r["tokens"], r["token_share"]]
        for r in work["recall"]
    ]
    return Table("How much was had back", columns, rows)


def _passages(work: ReconstructedWork) -> Iterator[Table]:
    """Yield the passages, if there are any: the longest in the order of the work."""
    if not work["passages"]:
        return
    longest = sorted(range(len(work["passages"])), key=lambda i: (-work["passages"][i]["words"], i))[:ROWS]
    columns = [
        Column("Line of the work", "number"),
        Column("From word", "number"),
        Column("To word", "number"),
        Column("Words that are the same", "number"),
        Column("Longest run", "number"),
        Column("From word of the output", "number"),
    ]
    rows: list[list[Value]] = []
    for place in sorted(longest):
        passage = work["passages"][place]
        first, last = passage["work"]["word"] + 1, passage["work"]["word"] + passage["work"]["words"]
        line, output = passage["work"]["line"], passage["output"]["word"] + 1
        rows.append([line, first, last, passage["words"], passage["longest_run"], output])
    caption = f"Passages of at least {LEASTS[-1]} words"
    if (left := len(work["passages"]) - len(longest)) > 0:
        caption += f", the longest {ROWS}; {left:,} more in report.json"
    yield Table(caption, columns, rows)


def _pieces(given: Sequence[GivenPiece]) -> Table:
    columns = [
        Column("Given at line", "number"),
        Column("From token", "number"),
        Column("Tokens", "number"),
        Column("First piece: words of the work", "text"),
        Column("Words written before a difference", "number"),
        Column("Tokens written", "number"),
        Column("Then", "text"),
    ]
    rows: list[list[Value]] = []
    for piece in given[:ROWS]:
        probe, then = piece["probe"], STOPS[piece["stop"]]
        agreed = "" if probe is None else f"{probe['agreeing'][probe['chosen']]} of {probe['words'][probe['chosen']]}"
        rows.append(
            [
                piece["place"]["line"],
                piece["token"] + 1,
                piece["tokens"],
                agreed,
                piece["alike"],
                piece["written"],
                then,
            ]
        )
    left = len(given) - len(rows)
    more = f", the first {ROWS}; {left:,} more in report.json" if left > 0 else ""
    return Table(f"What was given, and what became of it{more}", columns, rows)
