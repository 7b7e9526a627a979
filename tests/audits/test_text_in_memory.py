"""Every question that takes names of files takes what a program holds: the same rows give the same answer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest

import memaudit
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.exploitation.labelled import read_halves
from memaudit.errors import InputError, MemauditError
from memaudit.text.corpus.objects import Texts, listed
from memaudit.text.planting.planting import PlantOptions
from memaudit.training.train import CorpusOptions
from tests.audits.test_extraction import OPTIONS, oracle, unique_text

Rows = list[dict[str, Any]]
FORMS: dict[str, Callable[[Rows], Any]] = {
    "list": lambda rows: rows,
    "DataFrame": pd.DataFrame,
    "Table": pa.Table.from_pylist,
    "Dataset": datasets.Dataset.from_list,
    "IterableDataset": lambda rows: datasets.Dataset.from_list(rows).to_iterable_dataset(num_shards=2),
}


def rows_of(side: str, seed: int, count: int = 60) -> Rows:
    return [{"id": f"{side}-{i}", "text": text, "domain": "hex"} for i, text in enumerate(unique_text(count, seed))]


TRAIN, HELDOUT = rows_of("train", 1), rows_of("heldout", 2)


def write(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def without_places(records: Any) -> list[dict[str, Any]]:
    named = {"source": None, "copies_in": None, "elsewhere_in": None}
    return [dataclasses.asdict(record) | named for record in records]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("files")
    files = write(folder / "train.jsonl", TRAIN), write(folder / "heldout.jsonl", HELDOUT)
    return memaudit.audit(oracle(unique_text(60, 1)), *files, out=folder / "run", options=OPTIONS)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_same_rows_give_the_same_verdict_and_records(form: str, written: Any, tmp_path: Path) -> None:
    given = FORMS[form](TRAIN), FORMS[form](HELDOUT)
    result = memaudit.audit(oracle(unique_text(60, 1)), *given, out=tmp_path / "run", options=OPTIONS)
    assert (result.verdict, result.report["estimates"]) == (written.verdict, written.report["estimates"])
    assert without_places(result.records) == without_places(written.records)
    assert {record.source.partition("[")[0] for record in result.records} == {"train", "heldout"}
    plan = json.loads((result.folder / "plan.json").read_bytes())
    assert plan["train"]["specs"] == [f"train ({form})"]
    assert plan["command"] == "memaudit.audit(model, train, heldout, prefix=10, suffix=10)"
    again = memaudit.audit(oracle(unique_text(60, 1)), *given, out=tmp_path / "run", options=OPTIONS)
    assert again.report == result.report, "the same call resumes"


def test_other_rows_are_another_run(tmp_path: Path) -> None:
    model = oracle(unique_text(60, 1))
    memaudit.audit(model, Texts(unique_text(60, 1)), Texts(unique_text(60, 2)), out=tmp_path, options=OPTIONS)
    with pytest.raises(MemauditError, match="plan"):
        memaudit.audit(model, Texts(unique_text(60, 1)), Texts(unique_text(60, 3)), out=tmp_path, options=OPTIONS)


def test_rows_that_change_between_passes_end_the_audit(tmp_path: Path) -> None:
    class Growing:
        def __init__(self) -> None:
            self.rows = list(TRAIN)

        def __iter__(self) -> Any:
            self.rows.append({"id": str(len(self.rows)), "text": "more"})
            return iter(list(self.rows))

    with pytest.raises(InputError, match="train: changed since it was last read"):
        memaudit.audit(oracle(unique_text(60, 1)), Growing(), HELDOUT, out=tmp_path / "run", options=OPTIONS)


# --- what searches, counts and trains --------------------------------------------------------------------------------

ITEMS = [
    {
        "question": f"What is the {word} colour of the old house by the long river in the valley of {word}?",
        "answer": word,
    }
    for word in ("first", "second", "third", "fourth")
]
DOCUMENTS = [{"id": "leak", "text": f"Somebody asked: {ITEMS[1]['question']} second"}, {"id": "other", "text": "Rain."}]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_contamination_searches_objects_for_objects(form: str, tmp_path: Path) -> None:
    files = write(tmp_path / "items.jsonl", ITEMS), write(tmp_path / "corpus.jsonl", DOCUMENTS)
    from_files = memaudit.contamination(*files, out=tmp_path / "files")
    given = FORMS[form](ITEMS), FORMS[form](DOCUMENTS)
    found = memaudit.contamination(*given, out=tmp_path / "objects")
    assert (found.verdict, found.report["reasons"]) == (from_files.verdict, from_files.report["reasons"])
    assert [item.verdict for item in found.items] == ["clean", "contaminated", "clean", "clean"]
    plan = json.loads((tmp_path / "objects" / "plan.json").read_bytes())
    assert plan["command"] == "memaudit.contamination(benchmark, corpus)"
    assert list(plan["corpus"]["objects"]) == ["corpus"]
    assert found.report["findings"][0]["source"] == "benchmark[1]"
    assert memaudit.contamination(*given, out=tmp_path / "objects").report == found.report
    other = FORMS[form]([*DOCUMENTS, {"id": "more", "text": "Snow."}])
    with pytest.raises(MemauditError):
        memaudit.contamination(given[0], other, out=tmp_path / "objects")


def test_a_benchmark_is_not_searched_for_itself_and_not_split_into_files(tmp_path: Path) -> None:
    frame = pd.DataFrame(ITEMS)
    with pytest.raises(InputError, match="benchmark: is the benchmark itself"):
        memaudit.contamination(frame, frame, out=tmp_path / "run")
    with pytest.raises(InputError, match="only files of records can be split"):
        memaudit.contamination(frame, DOCUMENTS, out=tmp_path / "run", clean_split=tmp_path / "split")


def test_an_index_is_of_the_rows_it_was_built_of(tmp_path: Path) -> None:
    index = memaudit.build_index(pd.DataFrame(DOCUMENTS), tmp_path / "index")
    assert index.manifest["corpus"]["specs"] == ["corpus (DataFrame)"]
    assert memaudit.build_index(pd.DataFrame(DOCUMENTS), tmp_path / "index").sha256 == index.sha256
    with pytest.raises(InputError, match="was built of another corpus"):
        memaudit.build_index(pd.DataFrame(DOCUMENTS[:1]), tmp_path / "index")
    found = memaudit.contamination(ITEMS, index=tmp_path / "index", out=tmp_path / "run")
    assert [item.verdict for item in found.items] == ["clean", "contaminated", "clean", "clean"]


def test_models_are_trained_on_objects(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", TRAIN)
    made = [
        memaudit.train_ngram(CorpusOptions(corpus, "char"), tmp_path / name, order=3)
        for name, corpus in (("objects", pd.DataFrame(TRAIN)), ("file", [str(tmp_path / "train.jsonl")]))
    ]
    assert made[0].tokenizer.sha256 == made[1].tokenizer.sha256
    assert made[0].sha256 == made[1].sha256


def test_members_are_asked_from_objects(tmp_path: Path) -> None:
    sides = [{"question": row["text"]} for row in TRAIN], pd.DataFrame([{"question": row["text"]} for row in HELDOUT])
    model = oracle(unique_text(60, 1), order=6)
    run = memaudit.membership(sides[0], model, heldout=sides[1], out=tmp_path / "run", detectors=("membership",))
    assert run.report["benchmark"]["specs"] == ["benchmark (list)"]
    assert run.report["heldout"]["items"] == 60


def test_suites_of_trainings_read_objects(tmp_path: Path) -> None:
    documents = Texts(list(topics.values())[:24])
    seen = memaudit.counterfactual(documents, tmp_path / "cf", family="ngram", models=4)
    assert seen.report["corpus"]["specs"] == ["corpus (Texts)"]
    assert seen.report["provenance"]["command"] == "memaudit.counterfactual(corpus, family='ngram', models=4)"
    few = {"sizes": (2,), "seeds": 1, "family": "ngram", "background": 20, "per_dose": 2, "doses": (1, 2)}
    grid = memaudit.laws(tmp_path / "laws", [{"text": text} for text in documents], **few)
    assert grid.report["corpus"]["specs"] == ["corpus (list)"]


def test_references_are_trained_on_objects(tmp_path: Path) -> None:
    model, text = oracle(unique_text(60, 1), order=6), Texts(unique_text(30, 7))
    asked = {"references": ("train",), "reference_corpus": text, "detectors": ("membership",)}
    sides = (pd.DataFrame([{"question": row["text"]} for row in side]) for side in (TRAIN, HELDOUT))
    run = memaudit.membership(next(sides), model, heldout=next(sides), out=tmp_path / "run", **asked)
    plan = json.loads((run.folder / "plan.json").read_bytes())["membership"]
    assert plan["reference_corpus"] == ["reference_corpus (Texts)"]
    assert plan["references"][0]["documents"] == 30
    chosen = MembershipOptions(references=("train",), reference_corpus=pd.DataFrame({"text": list(text)}))
    found = memaudit.audit(model, TRAIN, HELDOUT, out=tmp_path / "audit", prefix=10, suffix=10, membership=chosen)
    assert found.report["options"]["membership"]["reference_corpus"] == ["reference_corpus (DataFrame)"]


def test_results_labels_and_passages_come_from_objects(tmp_path: Path) -> None:
    results = pd.DataFrame(
        [
            {"id": str(i), "date": f"20{10 + i // 10}-01-01", "ours": i % 3 < 2 - (i > 60), "theirs": i % 4 > 0}
            for i in range(120)
        ]
    )
    run = memaudit.gap(results, model="ours", controls=["theirs"], cutoff="2016-01-01", out=tmp_path / "gap")
    assert run.report["results"]["specs"] == ["results (DataFrame)"]
    labelled = {
        name: listed(pd.DataFrame({"text": [f"{name} {i}" for i in range(4)], "label": [0, 1, 0, 1]}), name)
        for name in ("train", "seen", "unseen")
    }
    halves = read_halves(**labelled, text_field="text", label_field="label")
    assert (halves.labels, halves.seen[0].source) == (["0", "1"], "seen[0]")
    background = [{"id": name, "text": text} for name, text in topics.items()]
    planted = memaudit.plant(background, tmp_path / "kit", options=PlantOptions(per_dose=5, words=30))
    assert planted.manifest["inputs"]["background"]["specs"] == ["background (list)"]
