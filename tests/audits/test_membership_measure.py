"""The membership detectors on n-grams and networks whose reading is known."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import pstdev
from typing import Any

import pytest
from scipy.stats import entropy

from memaudit.audits.comparison.detection import Detection
from memaudit.audits.comparison.nulls import KIND_NULL, NULL_NAME, OF_TEXT, SUSPECTS_NULL
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.detectors.blind_baseline import BLIND_BASELINE
from memaudit.audits.detectors.membership import MEMBERSHIP, SCORES, primary
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.likelihood import MIN_REFERENCES
from memaudit.models.base import LanguageModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.records import Decoding, Document
from memaudit.runs.files import strict_json
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

DRAWN = random.Random(0)
WORDS = ["".join(DRAWN.choices("abcdefghijklmnop", k=DRAWN.randint(2, 7))) for _ in range(300)]


def made_up(count: int, seed: int, words: int = 12) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=words)) for _ in range(count)]


def documents(texts: Sequence[str], name: str) -> list[Document]:
    return [Document(f"{name}:{i + 1}", text, f"{name}:{i + 1}") for i, text in enumerate(texts)]


BACKGROUND = made_up(60, 1)
TOKENIZER = train_tokenizer("bpe", BACKGROUND, 400)
MEMBERS, HELDOUT = documents(made_up(40, 2), "set.txt"), documents(made_up(40, 3), "other.txt")


def trained(texts: Sequence[str]) -> NgramModel:
    return NgramModel.train([encoding.ids for encoding in TOKENIZER.encode_batch(texts)], TOKENIZER, order=3)


SEEN = trained([*BACKGROUND, *(document.text for document in MEMBERS)])
UNSEEN = trained(BACKGROUND)


def asked(
    model: LanguageModel,
    members: Sequence[Document] = MEMBERS,
    heldout: Sequence[Document] = HELDOUT,
    **options: Any,
) -> tuple[Subject, dict[str, Any]]:
    reference_models = ReferenceModels(model, members, heldout, MembershipOptions(**options))
    plan = {"membership": reference_models.describe(), "model": {"family": model.family, "objective": model.objective}}
    return Subject(
        model,
        [],
        [],
        reference_models.members,
        reference_models.heldout,
        None,
        WindowOptions(),
        Decoding(),
        reference_models,
    ), plan


def with_blind(subject: Subject, plan: dict[str, Any]) -> dict[str, Any]:
    return plan | {"blind": BLIND_BASELINE.measure(subject, BLIND_BASELINE.items(subject))[0]["blind"]}


def measured(subject: Subject, block: int = MEMBERSHIP.block) -> list[dict[str, Any]]:
    items = MEMBERSHIP.items(subject)
    blocks = [items[at : at + block] for at in range(0, len(items), block)]
    return [record for part in blocks for record in MEMBERSHIP.measure(subject, part)]


def detected(subject: Subject, plan: Mapping[str, Any]) -> dict[str, Detection]:
    found = MEMBERSHIP.detections(measured(subject), with_blind(subject, plan))
    assert [detection.name for detection in found] == MEMBERSHIP.declared(plan)
    return {detection.name: detection for detection in found}


def test_what_an_ngram_has_read_once_is_found_by_every_score(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(made_up(300, 30)), encoding="utf-8")
    options = {"references": ("train",) * 4, "reference_corpus": (str(corpus),), "split": "line"}
    for name, detection in detected(*asked(SEEN, **options)).items():
        assert detection.effect.estimate is not None
        assert detection.effect.estimate > 0.99, name
        assert detection.p_value is not None
        assert detection.p_value < 1e-3
        assert detection.admissible, detection.controls
        assert detection.members == 40
        assert detection.heldout == 40


def test_a_share_of_foreign_text_is_no_membership() -> None:
    """A model that read more of the suspects' kind of text finds foreign held-out text unlikely, and saw neither."""
    drawn = random.Random(77)
    other = ["".join(drawn.choices("nopqrstuvwxyz", k=drawn.randint(2, 7))) for _ in range(300)]
    foreign = [" ".join(drawn.choices(other, k=12)) for _ in range(60)]
    kind = made_up(400, 78)
    members, heldout = kind[:100], kind[100:170] + foreign[:30]
    drawn.shuffle(heldout)
    tokenizer = train_tokenizer("bpe", [*kind[200:], *foreign[30:]], 400)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(kind[200:])]
    model = NgramModel.train(ids, tokenizer, order=3)
    subject, plan = asked(model, members=documents(members, "set.txt"), heldout=documents(heldout, "other.txt"))
    found = MEMBERSHIP.detections(measured(subject), plan | {"blind": None})
    assert all(d.p_value is not None and d.p_value < 0.01 for d in found[:1])
    for detection in found:
        assert not detection.admissible, detection
        control = detection.controls[1]
        assert control.passed is False
        assert SUSPECTS_NULL in control.detail


def test_what_no_model_has_read_is_not_found() -> None:
    for name, detection in detected(*asked(UNSEEN, references=("train",) * 4)).items():
        area = detection.effect
        assert area.low is not None
        assert area.high is not None
        assert area.low < 0.5 < area.high, name


def test_records_hold_every_score_by_the_model_and_by_what_never_saw_the_document(tmp_path: Path) -> None:
    for number in range(2):
        trained(made_up(30, 20 + number)).save(tmp_path / str(number))
    specs = tuple(str(tmp_path / str(number)) for number in range(2))
    subject, plan = asked(SEEN, references=specs)
    records = measured(subject)
    assert [r["document"] for r in records] == [d.id for d in [*MEMBERS, *HELDOUT]]
    for record in records:
        assert set(record) == {"member", "document", "source", "domain", "tokens", "scores", "null"}
        assert list(record["scores"]) == MEMBERSHIP.declared(plan)
        assert list(record["null"]) == [NULL_NAME, SUSPECTS_NULL, KIND_NULL, *specs]
        ours, null = record["scores"], record["null"]
        losses = [null[spec]["loss"] for spec in specs]
        for scores, others in ((ours, losses), (null[NULL_NAME], losses), (null[specs[0]], losses[1:])):
            assert scores["calibration"] == pytest.approx(scores["loss"] - sum(others) / len(others))
            assert scores["reference"] == pytest.approx(sum(others) / len(others) / scores["loss"])
    strict_json(records)


def test_a_single_reference_has_no_other_beside_it_and_is_a_null_model_of_plain_scores() -> None:
    subject, plan = asked(UNSEEN, references=("train",))
    records = measured(subject)
    assert not {"reference", "calibration"} & set(records[0]["null"]["trained here 1"])
    controls = {d.name: {c.name: c.detail for c in d.controls} for d in MEMBERSHIP.detections(records, plan)}
    assert "trained here 1" in controls["loss"]["null model (C2)"]
    assert "trained here 1" not in controls["calibration"]["null model (C2)"]


def test_many_references_give_every_document_a_deviation_of_its_own(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(made_up(40, 31)), encoding="utf-8")
    references = {"references": ("train",) * MIN_REFERENCES, "reference_corpus": (str(corpus),), "split": "line"}
    subject, plan = asked(SEEN, members=MEMBERS[:3], heldout=HELDOUT[:3], **references)
    records = measured(subject)
    for record in records:
        assert list(record["scores"]) == MEMBERSHIP.declared(plan)
        losses = [scores["loss"] for name, scores in record["null"].items() if name not in (NULL_NAME, *OF_TEXT)]
        assert record["scores"]["lira"] == pytest.approx(record["scores"]["calibration"] / pstdev(losses))
    lira = MEMBERSHIP.detections(records, plan)[-1]
    assert (lira.name, lira.effect.estimate) == ("lira", 1.0)


@pytest.mark.parametrize(("references", "names"), [(0, 4), (1, 6), (31, 6), (32, 7)])
def test_declared_scores_follow_from_the_plan(references: int, names: int) -> None:
    plan = {"membership": {"references": [{}] * references}, "model": {"family": "gpt"}}
    assert MEMBERSHIP.declared(plan) == list(SCORES)[:names]
    assert primary(plan) in MEMBERSHIP.declared(plan)


def test_the_primary_score_is_named_by_the_family_and_the_references() -> None:
    def named(family: str, references: Sequence[Any] = ()) -> str:
        return primary({"membership": {"references": references}, "model": {"family": family}})

    assert [named(family) for family in ("ngram", "rnn", "gpt", "bert", "llama")] == ["loss", *["min-k"] * 4]
    assert named("ngram", [{}]) == named("gpt", [{}]) == "reference"


def test_sides_that_differ_without_any_model_are_confounded() -> None:
    shifted = documents([text.upper() + " 2024" for text in made_up(40, 5)], "late.txt")
    found = detected(*asked(UNSEEN, heldout=shifted))
    for detection in found.values():
        assert not detection.admissible
        assert detection.controls[0].passed is False


def test_records_do_not_depend_on_the_blocks_that_are_measured_together() -> None:
    subject, plan = asked(new_rnn(TOKENIZER, width=16), members=MEMBERS[:6], heldout=HELDOUT[:6])
    whole, alone = measured(subject), measured(subject, block=1)
    assert len(whole) == len(alone) == 12
    for one, other in zip(whole, alone, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert one["null"][NULL_NAME] == other["null"][NULL_NAME]
    assert [d.name for d in MEMBERSHIP.detections(whole, plan)] == MEMBERSHIP.declared(plan)


@pytest.mark.parametrize("masks", [None, 10])
def test_short_and_empty_documents_are_counted(masks: int | None) -> None:
    texts = ["", "a", "ab", "abc d e f"]
    few = documents(texts, "few.txt")
    model = new_bert(TOKENIZER, width=16, heads=2, layers=1)
    subject, plan = asked(model, members=few, heldout=HELDOUT[:5], masks=masks)
    records = measured(subject)
    strict_json(records)
    assert [record["tokens"] for record in records[:2]] == [0, 1]
    for detection in MEMBERSHIP.detections(records, plan):
        assert (detection.members, detection.undefined) == (3, 1)
    section = MEMBERSHIP.section(records, plan)
    assert any("left out" in note for note in section.notes)
    assert ("approximation" in section.method) == (masks is not None)


def test_only_the_tokens_asked_for_are_scored() -> None:
    long = documents([f"{d.text} and {tail}" for d, tail in zip(MEMBERS, made_up(40, 8), strict=True)], "long.txt")
    whole = measured(asked(SEEN, tokens=10)[0])
    cut = measured(asked(SEEN, members=long, tokens=10)[0])
    assert [r["scores"] for r in whole[:40]] == [r["scores"] for r in cut[:40]]
    text = [BLIND_BASELINE.measure(asked(SEEN, members=side, tokens=10)[0], ["text"]) for side in (MEMBERS, long)]
    assert text[0] == text[1]


def test_both_sides_are_needed_and_so_is_a_word_about_membership() -> None:
    subject, _ = asked(UNSEEN, heldout=[])
    with pytest.raises(InputError, match="no held-out documents"):
        MEMBERSHIP.items(subject)
    with pytest.raises(InputError, match="--membership"):
        MEMBERSHIP.items(dataclasses.replace(subject, reference_models=None))


def test_the_section_is_pure_and_says_what_the_detections_say() -> None:
    subject, plan = asked(SEEN)
    records = measured(subject)
    plan = with_blind(subject, plan)
    section = MEMBERSHIP.section(records, plan)
    assert section == MEMBERSHIP.section(records, plan)
    strict_json(dataclasses.asdict(section))
    matrix, effects = section.tables
    assert [row[0] for row in matrix.rows] == ["Loss (primary)", "Zlib", "Min-K%", "Min-K%++"]
    assert [column.label for column in matrix.columns[2:5]] == [
        "text alone (C1)",
        "null model (C2)",
        "held-out against held-out (C3)",
    ]
    assert {row[-1] for row in matrix.rows} == {"yes"}
    assert effects.rows[0][1] == pytest.approx(1.0, abs=0.01)
    [graph] = section.graphs
    assert [line.name for line in graph.series] == ["the model", KIND_NULL, SUSPECTS_NULL, NULL_NAME, "guessing"]
    assert any("too few for false positive rates of 1.0% and 0.1%" in note for note in section.notes)


def test_rates_at_low_false_alarms_are_told_from_a_thousand_held_out_documents_on() -> None:
    records = [
        {
            "member": member,
            "document": str(i),
            "tokens": 5,
            "scores": dict.fromkeys(SCORES, i + 0.5 * member),
            "null": {},
        }
        for member in (True, False)
        for i in range(1000)
    ]
    _, plan = asked(SEEN)
    [_, _, rates] = MEMBERSHIP.section(records, plan).tables
    assert [row[0] for row in rates.rows] == ["1.0%"]


def test_text_alone_is_shown_with_its_words_and_its_limits() -> None:
    shifted = documents([f"In 2024 {text.upper()}" for text in made_up(40, 5)], "late.txt")
    subject, plan = asked(UNSEEN, heldout=shifted)
    [record] = BLIND_BASELINE.measure(subject, BLIND_BASELINE.items(subject))
    strict_json(record)
    for name, side in (("members", MEMBERS), ("heldout", shifted)):
        counts = Counter(i for e in TOKENIZER.encode_batch([d.text for d in side]) for i in e.ids.tolist())
        assert record["unigram"][name] == pytest.approx(entropy(list(counts.values())))
    section = BLIND_BASELINE.section([record], plan)
    strict_json(dataclasses.asdict(section))
    assert "the texts distinguish the sides" in section.summary
    assert {row[0] for row in section.tables[0].rows} >= {"words", "digits and dates", "characters"}
    assert any("'2024'" in note for note in section.notes)
    assert BLIND_BASELINE.declared(plan) == BLIND_BASELINE.detections([record], plan) == []
    with pytest.raises(InputError, match="--membership"):
        BLIND_BASELINE.items(dataclasses.replace(subject, reference_models=None))


@pytest.mark.parametrize(("randomised", "passed"), [(False, False), (True, None)])
def test_few_texts_cannot_be_checked_and_silence_a_detector_unless_a_coin_drew_them(
    randomised: bool, passed: bool | None
) -> None:
    found = detected(*asked(SEEN, members=MEMBERS[:9], heldout=HELDOUT[:9], randomised=randomised))
    for detection in found.values():
        assert detection.controls[0].passed is passed
        assert randomised or not detection.admissible
