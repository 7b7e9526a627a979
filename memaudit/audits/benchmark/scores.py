"""What a model scores on the items that occur in the corpus, and on those that do not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import memaudit.stats as stats
from memaudit.audits.benchmark.items import Benchmark, benchmark_sources
from memaudit.audits.benchmark.naming import ID_FIELDS, item_names, named_by
from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.runs.contamination_report import ModelScores, PlainRate
from memaudit.runs.parts import Difference
from memaudit.runs.schema import as_record
from memaudit.stats.rounding import p_equals, percent, points, points_between
from memaudit.text.corpus.containers import COMPRESSED
from memaudit.text.corpus.formats import read_rows
from memaudit.text.corpus.rows import RecordError
from memaudit.text.corpus.specs import CorpusFile

CORRECT = "correct"

SPELLINGS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
"""What true and false may be written as in a file of results."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Which items one model answers correctly."""

    file: str
    model: str
    correct: dict[str, bool]
    """Item id -> whether the answer is correct."""
    places: dict[str, str]
    """Item id -> ``file:line``."""


def read_scores(path: str, id_field: str | None = None) -> list[Scores]:
    """Read which items a model, or several, answer correctly.

    Args:
        path: .jsonl, .json, .csv, .tsv or .parquet (all but the last also .gz and .zst) with the id of an item
            (``id`` or whatever else may name items) and ``correct``; without that, every other column is one
            model. Or a JSON object ``{id: true or false}``. True and false may be written as yes and no, 1 and 0.
        id_field: The field that names the items of the benchmark, where the user said so; it is used here too, if
            the file has it.

    Returns:
        One record per model, named by its column, or by the file where the column is ``correct``.

    Raises:
        InputError: The file cannot be read, a value is neither true nor false, an id is missing or stands twice.
    """
    (source,) = benchmark_sources([path])
    if not isinstance(source, CorpusFile) or source.format == "text":
        raise InputError(f"{path}: no file of scores", "scores are read from .jsonl, .json, .csv, .tsv and .parquet")
    models: dict[str, Scores] = {}
    for place, name, values in _rows(source, id_field):
        for model, value in values.items():
            scores = models.setdefault(model, Scores(path, model, {}, {}))
            if name in scores.places:
                raise InputError(f'{place}: a score for "{name}" also appears at {scores.places[name]}', "keep one")
            scores.correct[name] = _true_or_false(value, model, place)
            scores.places[name] = place
    if not models:
        raise InputError(f"no scores in {path}")
    title = _title(source)
    return [Scores(path, title if model == CORRECT else model, s.correct, s.places) for model, s in models.items()]


def compare_scores(
    scores: Sequence[Scores],
    benchmark: Benchmark,
    judged: Collection[str],
    contaminated: Collection[str],
    *,
    seed: int = 0,
) -> list[ModelScores]:
    """Compare what models score on contaminated and on clean items.

    A difference is evidence, not proof: items that occur in a corpus may be easier for other reasons.

    Args:
        scores: What `read_scores` returned.
        benchmark: The benchmark that they are scores of.
        judged: Ids of the items that were judged; the others count for neither side.
        contaminated: Ids of those among them that occur in the corpus.
        seed: Fixes the permutations.

    Returns:
        One row per model: ``clean`` and ``contaminated`` with their 95%
        intervals (about items of this kind, of which the benchmark is taken for a sample), ``difference``
        (contaminated - clean, Newcombe's interval of those), the two-sided ``p_value`` of a permutation of the items,
        ``sentence``, and how many judged items have no score and how many scores belong to no judged item. Where a
        side has no item, its rate is None.

    Raises:
        InputError: A score is for an item that the benchmark does not have (``file:line``), or for one of several of
            the same id. If records of the benchmark were rejected, scores of no item may be theirs and are counted.
    """
    known = {item.id for item in benchmark.items}.union(*benchmark.meant.values())
    in_question, found = frozenset(judged), frozenset(contaminated)
    rows: list[ModelScores] = []
    for given in scores:
        model = _by_item(given, benchmark, known)
        names = [item.id for item in benchmark.items if item.id in in_question and item.id in model.correct]
        clean, dirty = ([name for name in names if (name in found) == wanted] for wanted in (False, True))
        rows.append(
            {
                "file": model.file,
                "model": model.model,
                **_compared(model, clean, dirty, seed),
                "items_without_score": len(in_question) - len(names),
                "scores_not_used": len(model.correct) - len(names),
            }
        )
    return rows


def _by_item(given: Scores, benchmark: Benchmark, known: Collection[str]) -> Scores:
    """Return scores by the names that the items have here, where the file may have the ids as the records say them."""
    model = Scores(given.file, given.model, {}, {})
    for name, value in given.correct.items():
        place = given.places[name]
        meant = (name,) if name in known else benchmark.meant.get(name, ())
        if len(meant) > 1:
            problem = f'{place}: {len(meant):,} items of the benchmark have the id "{name}"'
            raise InputError(problem, f'write the full id: "{meant[0]}", "{meant[1]}" and so on')
        if not meant and not benchmark.rejected:
            hint = did_you_mean(name, known) or f"items are called {benchmark.items[0].id!r} and so on"
            raise InputError(f'{place}: the benchmark has no item "{name}"', hint)
        id = next(iter(meant), name)
        if id in model.places:
            raise InputError(f'{place}: a score for "{id}" also appears at {model.places[id]}', "keep one")
        model.correct[id], model.places[id] = value, place
    return model


class _Compared(TypedDict):
    clean: PlainRate
    contaminated: PlainRate
    difference: Difference | None
    p_value: float | None
    sentence: str


def _compared(model: Scores, clean: Sequence[str], contaminated: Sequence[str], seed: int) -> _Compared:
    values = [[model.correct[name] for name in side] for side in (clean, contaminated)]
    rates = [stats.document_rate(side, names) for side, names in zip(values, (clean, contaminated), strict=True)]
    difference = stats.difference_interval(rates[1], rates[0])
    (p_value,) = stats.permutation_test(values[1], values[0], seed=seed, alternative="two-sided")
    return {
        "clean": _plain(rates[0]),
        "contaminated": _plain(rates[1]),
        "difference": None if difference is None else as_record(difference, Difference),
        "p_value": p_value,
        "sentence": _sentence(model.model, rates[0], rates[1], difference, p_value),
    }


def _plain(rate: stats.Rate) -> PlainRate:
    return {"hits": rate.hits, "n": rate.n, "rate": rate.rate, "low": rate.low, "high": rate.high}


def _sentence(
    model: str, clean: stats.Rate, contaminated: stats.Rate, difference: stats.Difference | None, p: float | None
) -> str:
    """Say the comparison in plain words."""
    if difference is None or p is None:
        rate, where = (contaminated, "occur") if clean.rate is None else (clean, "do not occur")
        if rate.rate is None:
            return f"{model}: no judged item has a score"
        share = percent(rate.rate)
        return (
            f"{model} scores {share} on items that {where} in the corpus ({rate.n:,}); there are no others to compare"
        )
    seen, unseen = (percent(rate.rate or 0.0) for rate in (contaminated, clean))
    interval = points_between(difference.low, difference.high)
    return (
        f"{model} scores {seen} on items that occur in the corpus ({contaminated.n:,}) and {unseen} on those that do "
        f"not ({clean.n:,}): {points(difference.estimate)} points {interval}, {p_equals(p)}"
        + ("" if difference.low > 0 or difference.high < 0 else "; no difference is shown")
    )


def _rows(source: CorpusFile, wanted: str | None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield place, item id and model -> value of every record."""
    if source.format in {"json", "jsonl"} and (pairs := _pairs(source)) is not None:
        yield from pairs
        return
    columns: tuple[str, list[str]] | None = None
    for at, row in read_rows(source.open(), source.format, "line", "", None):
        place = f"{source.name}:{at}"
        if isinstance(row, RecordError):
            raise InputError(f"{place}: {row.message}", row.hint)
        if row is None:
            continue
        columns = columns or _columns(row, place, wanted)
        id_field, models = columns
        names = _names(row, id_field, place) if id_field == wanted else item_names(row)
        missing = [name for name in (id_field, *models) if name not in row]
        if missing or id_field not in names:
            raise InputError(f"{place}: no {missing[0] if missing else id_field}")
        yield place, names[id_field], {model: row[model] for model in models}


def _names(row: Mapping[str, Any], id_field: str, place: str) -> dict[str, str]:
    try:
        return named_by(row, id_field)
    except RecordError as problem:
        raise InputError(f"{place}: {problem.message}", problem.hint) from problem


def _columns(row: Mapping[str, Any], place: str, wanted: str | None) -> tuple[str, list[str]]:
    """Return the column of the ids and those of the models."""
    id_field = next((name for name in (wanted, *ID_FIELDS) if name is not None and name in row), None)
    models = [CORRECT] if CORRECT in row else [name for name in row if name != id_field]
    if id_field is None or not models:
        shown = ", ".join(name[:30] for name in list(row)[:8])
        raise InputError(f"{place}: no columns id and {CORRECT}; columns: {shown}")
    return id_field, models


def _pairs(source: CorpusFile) -> list[tuple[str, str, Mapping[str, Any]]] | None:
    """Return the entries of a JSON object ``{id: value}``, or None if the file is something else."""
    data = b"".join(source.open())
    try:
        text = data.decode()
        found = json.loads(text, object_pairs_hook=tuple)
    except ValueError:
        return None
    if not isinstance(found, tuple) or {key for key, _ in found} & {*ID_FIELDS, CORRECT}:
        return None
    return [(f"{source}:{_line_of(key, text)}", key, {CORRECT: value}) for key, value in found]


def _line_of(key: str, text: str) -> int:
    at = max(text.find(json.dumps(key, ensure_ascii=ascii_only)) for ascii_only in (True, False))
    return text.count("\n", 0, max(at, 0)) + 1


def _true_or_false(value: Any, column: str, place: str) -> bool:
    spelled = json.dumps(value, default=str)
    known = SPELLINGS.get(spelled.strip('"').strip().casefold())
    if known is None:
        hint = "leave out what has no score" if column == CORRECT else f'call the column of the scores "{CORRECT}"'
        raise InputError(f'{place}: "{column}" is {spelled[:40]}, expected true or false', hint)
    return known


def _title(source: CorpusFile) -> str:
    path = Path(source.name)
    return path.with_suffix("").stem if path.suffix.lower() in COMPRESSED else path.stem
