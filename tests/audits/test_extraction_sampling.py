"""What is measured of all windows is what the whole measurement says; of the others stands a random sample."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from memaudit.audits.extraction import sampling
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.extraction.sampling import blocks_of, sample_of, settled_by, writes
from memaudit.audits.extraction.windows import measure
from memaudit.metrics import METRICS
from memaudit.models.base import LanguageModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.records import ORDINARY, Window, WindowRecord
from memaudit.report.exhibits import galleries
from memaudit.report.extraction_page import render
from memaudit.report.wording import mean_similarity
from memaudit.runs.directory import read_finished
from memaudit.text.tokenize import train_tokenizer

CHARS = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz .,"])
SIZE = CHARS.vocab_size
FAMILIES = {
    "gpt": lambda: new_gpt(CHARS, width=32, layers=2, heads=2, context_length=64),
    "lstm": lambda: new_rnn(CHARS, width=32),
    "bert": lambda: new_bert(CHARS, width=32, layers=1, heads=2, context_length=64),
}
SUFFIX = 20


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    made = FAMILIES[request.param]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.module.parameters():  # type: ignore[attr-defined]
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3, generator=generator)
    return made


@pytest.fixture(scope="module")
def drawn(model: LanguageModel) -> list[Window]:
    """Windows of which the model writes all, nearly all, some, or nothing; every metric has hits and misses."""
    random = np.random.default_rng(0)
    prefixes = [random.integers(3, SIZE, 8, dtype=np.int32) for _ in range(48)]
    made = []
    for place, own in enumerate(model.continuations(prefixes, SUFFIX)):
        suffix, changed = own.copy(), random.permutation(SUFFIX)[: (0, 1, 3, 5, 8, SUFFIX)[place % 6]]
        suffix[changed] = (suffix[changed] + 1 + random.integers(0, SIZE - 1, len(changed))) % SIZE
        made.append(Window(prefixes[place], suffix, f"d{place}", f"d:{place}"))
    return made


def hits(record: WindowRecord) -> dict[str, bool]:
    return {m.name: bool(m.hit(record.value(m.name))) for m in METRICS.values() if m.threshold is not None}


def test_a_window_is_a_hit_of_the_same_metrics_however_it_is_measured(
    model: LanguageModel, drawn: list[Window]
) -> None:
    whole, soon = measure(model, drawn), measure(model, drawn, whole=False)
    assert [hits(record) for record in soon] == [hits(record) for record in whole]
    assert [r.matched for r in soon] == [r.matched for r in whole]
    assert len({tuple(hits(record).values()) for record in whole}) >= 3
    given_up = [(a, b) for a, b in zip(whole, soon, strict=True) if b.given_up]
    assert 8 <= len(given_up) < len(drawn)
    for all_of_it, begun in given_up:
        assert begun.continuation_ids is not None
        assert begun.continuation_ids == (all_of_it.continuation_ids or [])[: len(begun.continuation_ids)]
        assert len(begun.continuation_ids) < SUFFIX
        assert begun.log_prob is begun.edit_similarity is begun.extraction_strength is begun.ended is None
    for all_of_it, finished in zip(whole, soon, strict=True):
        if not finished.given_up:
            assert finished.edit_similarity == all_of_it.edit_similarity
            assert finished.ended == all_of_it.ended


def test_without_fuzzy_metrics_only_what_is_verbatim_is_continued(model: LanguageModel, drawn: list[Window]) -> None:
    if model.objective == "masked":
        pytest.skip("what a masked model reproduces is known by what it writes")
    whole, soon = measure(model, drawn, fuzzy=False), measure(model, drawn, fuzzy=False, whole=False)
    assert [(r.extractable, r.matched) for r in soon] == [(r.extractable, r.matched) for r in whole]
    assert [r.continuation_ids is not None for r in soon] == [r.extractable for r in soon]
    assert not any(r.given_up for r in soon)


def test_few_tokens_of_a_hopeless_window_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: tokens that the body of a transformer reads for windows that differ at once."""
    gpt, random = FAMILIES["gpt"](), np.random.default_rng(0)
    rows = random.integers(3, SIZE, (48, 8 + 50), dtype=np.int32)
    windows = [Window(row[:8], row[8:]) for row in rows]
    read: list[int] = []
    forward = gpt._body.forward

    def counted(*given: Any, **named: Any) -> Any:
        read.append(named["input_ids"].numel())
        return forward(*given, **named)

    gpt.greedy_continuations(windows[:1])
    monkeypatch.setattr(gpt._body, "forward", functools.wraps(forward)(counted))
    measure(gpt, windows, whole=False)
    soon = sum(read)
    read.clear()
    measure(gpt, windows)
    prompt = len(windows) * 9
    assert soon <= prompt + len(windows) * 16
    assert sum(read) >= 2 * prompt + len(windows) * 2 * 45


def members(count: int, heldout: int) -> list[Window]:
    ids = np.arange(2, dtype=np.int32)
    return [Window(ids, ids, f"d{i}", member=i < count) for i in range(count + heldout)]


def test_the_sample_is_drawn_by_the_seed_from_both_sides() -> None:
    windows = members(500, 300)
    sample = sample_of(windows, AuditOptions(), writes=True)
    assert sum(i < 500 for i in sample) == sum(i >= 500 for i in sample) == sampling.SAMPLE
    assert (
        sample
        == sample_of(windows, AuditOptions(), writes=True)
        != sample_of(windows, AuditOptions(seed=1), writes=True)
    )
    assert sample_of(members(10, 9), AuditOptions(), writes=True) == frozenset(range(19))
    assert sample_of(windows, AuditOptions(exhaustive=True), writes=True) == frozenset(range(800))
    drawn = [i for seed in range(400) for i in sample_of(windows, AuditOptions(seed=seed), writes=True) if i < 500]
    counts = np.bincount(drawn, minlength=500)  # binomial: 51 expected, standard deviation 6.7
    assert 20 < counts.min() < counts.max() < 85


def test_every_window_is_in_one_block_that_is_measured_in_one_way() -> None:
    sample = sample_of(members(500, 300), AuditOptions(), writes=True)
    blocks = blocks_of(800, sample)
    assert sorted(i for block in blocks for i in block) == list(range(800))
    assert [set(block) <= sample for block in blocks] == [True, True] + [False] * (len(blocks) - 2)
    assert all(sample.isdisjoint(block) for block in blocks[2:])


def test_a_metric_without_a_ceiling_asks_for_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    windows, rouge = members(500, 300), METRICS["rouge_l"]
    own = {**dict(METRICS.items()), "rouge_l": replace(rouge, ceiling=None)}
    monkeypatch.setattr(sampling, "METRICS", own)
    assert sample_of(windows, AuditOptions(), writes=True) == frozenset(range(800))
    assert len(sample_of(windows, AuditOptions(fuzzy=False), writes=False)) == 2 * sampling.SAMPLE
    # A masked model shows its hits by what it writes, fuzzy metrics or not.
    assert not writes(ORDINARY["next-token"], fuzzy=False)
    assert writes(ORDINARY["masked"], fuzzy=False)
    assert writes(ORDINARY["next-token"], fuzzy=True)


def test_a_text_that_the_model_ended_is_settled() -> None:
    settled = settled_by({7})
    suffix = np.arange(100, 120, dtype=np.int32)
    assert settled(suffix, np.array([100, 7], np.int32))
    assert not settled(suffix, np.array([100, 8], np.int32))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """The same audit of 200 windows a side with a sample and of all of them."""
    folder = tmp_path_factory.mktemp("sampled")
    gpt, random = FAMILIES["gpt"](), np.random.default_rng(0)
    for name in ("train", "heldout"):
        prefixes = random.integers(3, SIZE, (200, 8), dtype=np.int32)
        suffixes = random.integers(3, SIZE, (200, SUFFIX), dtype=np.int32)
        if name == "train":
            suffixes[::20] = gpt.continuations(list(prefixes[::20]), SUFFIX)
        np.save(folder / f"{name}-p.npy", prefixes)
        np.save(folder / f"{name}-s.npy", suffixes)
    sides = {
        "windows": (folder / "train-p.npy", folder / "train-s.npy"),
        "heldout_windows": (folder / "heldout-p.npy", folder / "heldout-s.npy"),
    }
    sampled, every = (
        audit(gpt, **sides, out=folder / str(all_of_them), exhaustive=all_of_them, allow_overlap=True)
        for all_of_them in (False, True)
    )
    return sampled, every, folder


def test_an_audit_has_the_same_evidence_by_a_sample(run: tuple[Any, Any, Path]) -> None:
    sampled, every, _ = run
    for name in ("estimates", "verdict", "findings", "domains", "power", "headline"):
        assert sampled.report[name] == every.report[name], name
    assert sampled.report["estimates"][0]["train"]["hits"] >= 10
    assert sampled.report["sample"] == {"train": 64, "heldout": 64}
    assert every.report["sample"] == {"train": 200, "heldout": 200}


def test_means_are_those_of_the_sample_and_say_so(run: tuple[Any, Any, Path]) -> None:
    sampled, every, _ = run
    inside = {r.index for r in sampled.records if r.sampled}
    assert len(inside) == 128
    of_all = {r.index: r for r in every.records}
    for mean in sampled.report["means"]:
        if mean["metric"] == "bits_per_byte":
            continue
        over = [r for r in every.records if r.member and (mean["metric"] == "matched" or r.index in inside)]
        assert mean["train"] == pytest.approx(np.mean([r.value(mean["metric"]) for r in over])), mean
        assert mean.get("sampled", False) == (mean["metric"] != "matched")
    for record in sampled.records:
        if record.sampled:
            assert record.log_prob == pytest.approx(of_all[record.index].log_prob, abs=1e-3)
    assert not any("sampled" in mean for mean in every.report["means"])
    assert sum("random sample of 64" in limit for limit in sampled.report["limits"]) == 1
    assert not any("random sample" in limit for limit in every.report["limits"])


def test_exhibits_are_continued_to_their_end(run: tuple[Any, Any, Path]) -> None:
    sampled, every, folder = run
    stored = read_finished(folder / "False")
    lines = [line for line in stored.measured if line["measure"] == "exhibits"]
    shown = [e for g in galleries(stored.records, 0, measured=stored.measured) for e in g.exhibits]
    begun = {record.index for record in sampled.records if record.given_up}
    assert {line["window"] for line in lines} == {e.record.index for e in shown} & begun
    assert 0 < len(lines) < len(begun) / 2, "others are not"
    for exhibit in shown:
        whole = every.records[exhibit.record.index]
        assert exhibit.record.continuation_text == whole.continuation_text
        assert exhibit.record.ended == whole.ended
    # Records stay as they were measured: nothing that is shown moves a mean.
    assert {record.index for record in stored.records if record.given_up} == begun


def test_the_page_says_what_is_of_the_sample(run: tuple[Any, Any, Path]) -> None:
    page = render([read_finished(run[2] / "False")], "Title")
    assert "those marked * over a random sample of 64 training and 64 held-out windows" in page
    assert "Continued no further" not in page, "what is shown was finished"
    assert "Share of a random sample of windows" in page
    assert "random sample of" not in render([read_finished(run[2] / "True")], "Title")


def test_a_table_of_doses_says_what_its_similarity_is_of(run: tuple[Any, Any, Path]) -> None:
    sampled, every, _ = run
    assert mean_similarity([every.report]) == "mean edit similarity"
    assert mean_similarity([every.report, sampled.report]) == "mean edit similarity of a random sample of the windows"
