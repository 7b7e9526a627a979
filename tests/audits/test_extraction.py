"""The audit end to end on models whose answers are known: the n-gram oracle, a masked model, a stranger's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

import memaudit
from memaudit.audits.extraction import run as extraction
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.extraction.windows import measure
from memaudit.audits.self_tests import check_batches
from memaudit.errors import InputError, ModelError, RunError
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.ngram import NgramModel
from memaudit.records import GREEDY, Decoding, FloatArray, TokenIds, TokenScores, Window
from memaudit.report.formats import writers
from memaudit.runs.directory import RunDirectory, read_run
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.text.windows.windows import UNKNOWN

OPTIONS = AuditOptions(prefix=10, suffix=10)


def unique_text(count: int, seed: int, words: int = 25) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"{random.integers(10**9):x}" for _ in range(words)) for _ in range(count)]


def write_jsonl(path: Path, texts: Sequence[str], **fields: Any) -> str:
    path.write_text("".join(json.dumps({"text": t, **fields}) + "\n" for t in texts), encoding="utf-8")
    return str(path)


def oracle(texts: Sequence[str], order: int = 30) -> NgramModel:
    tokenizer = train_tokenizer("char", [*texts, "0123456789abcdef "])
    ids = [e.ids for e in tokenizer.encode_batch(list(texts))]
    return NgramModel.train(ids, tokenizer, order=order, smoothing="mle")


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[str, str]:
    return (
        write_jsonl(tmp_path / "train.jsonl", unique_text(60, 1)),
        write_jsonl(tmp_path / "heldout.jsonl", unique_text(60, 2)),
    )


def test_the_oracle_recites_everything_and_nothing_else(corpora: tuple[str, str], tmp_path: Path) -> None:
    result = audit(oracle(unique_text(60, 1)), *corpora, out=tmp_path / "run", options=OPTIONS)
    primary = result.report["estimates"][0]
    assert primary["metric"] == "extractable"
    assert primary["train"]["hits"] == primary["train"]["n"] > 0
    assert primary["heldout"]["hits"] == 0
    assert (result.verdict, result.exit_code) == ("found", 1)
    assert primary["p_value"] < 0.001
    assert len(result.report["findings"]) == primary["train"]["n"]
    for record in result.records:
        assert record.extractable == record.member
        assert record.longest_common is not None
        assert (record.edit_similarity == 1.0) == record.member


def test_all_files_of_a_run_are_there_and_agree(corpora: tuple[str, str], tmp_path: Path) -> None:
    import pandas as pd

    result = audit(oracle(unique_text(60, 1)), *corpora, out=tmp_path / "run", options=OPTIONS)
    files = {path.name for path in result.folder.iterdir()}
    assert {"plan.json", "items.log", "report.json", "report.html", "records.parquet"} <= files
    report = json.loads((result.folder / "report.json").read_bytes(), parse_constant=pytest.fail)
    assert report == json.loads(json.dumps(result.report))
    table = pd.read_parquet(result.folder / "records.parquet")
    assert len(table) == len(result.to_pandas()) == report["windows"]["train"] + report["windows"]["heldout"]
    assert int(table[table.member].extractable.sum()) == report["estimates"][0]["train"]["hits"]
    assert result.files == [result.folder / "report.html"]
    page = result.files[0].read_text(encoding="utf-8")
    assert "iframe" in result._repr_html_()
    assert "found" in page.lower()


def test_formats_are_written_from_the_records_at_hand(
    corpora: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = ["html", "md", "junit", "sarif"]
    monkeypatch.setattr("memaudit.report.formats.base.read_finished", pytest.fail)
    asked = {"options": OPTIONS, "formats": formats, "measures": ("surface",), "out": tmp_path / "run"}
    result = audit(oracle(unique_text(60, 1)), *corpora, **asked)
    monkeypatch.undo()
    written = {path: path.read_bytes() for path in result.files}
    assert len(written) == len(formats)
    for path, write in zip(result.files, writers(formats), strict=True):
        path.unlink()
        assert write(result.folder) == path
        assert path.read_bytes() == written[path]


def test_an_interrupted_run_ends_with_the_same_bytes(
    corpora: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = oracle(unique_text(60, 1))
    whole = audit(model, *corpora, out=tmp_path / "whole", options=OPTIONS)

    calls = 0
    true_append = RunDirectory.append

    def failing_append(self: RunDirectory, records: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        true_append(self, records)

    monkeypatch.setattr(RunDirectory, "append", failing_append)
    with pytest.raises(KeyboardInterrupt):
        audit(model, *corpora, out=tmp_path / "broken", options=OPTIONS)
    assert 0 < len(read_run(tmp_path / "broken").records) < len(whole.records)
    monkeypatch.setattr(RunDirectory, "append", true_append)
    resumed = audit(model, *corpora, out=tmp_path / "broken", options=OPTIONS)
    for name in ("report.json", "report.html", "records.parquet"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_another_plan_in_the_same_folder_is_refused(corpora: tuple[str, str], tmp_path: Path) -> None:
    model = oracle(unique_text(60, 1))
    audit(model, *corpora, out=tmp_path / "run", options=OPTIONS)
    with pytest.raises(RunError, match=r"another plan: .*options.seed differs"):
        audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, seed=5)


def test_a_model_that_never_saw_the_text_is_not_accused(corpora: tuple[str, str], tmp_path: Path) -> None:
    result = audit(oracle(unique_text(60, 3)), *corpora, out=tmp_path / "run", options=OPTIONS)
    assert result.verdict == "inconclusive"
    assert result.report["estimates"][0]["train"]["hits"] == 0


def smooth_model(texts: Sequence[str]) -> NgramModel:
    tokenizer = train_tokenizer("char", list(texts))
    ids = [e.ids for e in tokenizer.encode_batch(list(texts))]
    return NgramModel.train(ids, tokenizer, order=3)


def english(count: int, seed: int) -> list[str]:
    """Sentences of a small grammar: a model learns the grammar without having seen the sentence."""
    random = np.random.default_rng(seed)
    words = [
        "the",
        "a",
        "some",
        "river",
        "house",
        "garden",
        "stone",
        "bird",
        "walks",
        "sees",
        "finds",
        "under",
        "over",
        "near",
        "old",
        "green",
        "small",
    ]
    return [" ".join(random.choice(words, 14)) for _ in range(count)]


def test_clean_needs_documents_enough(tmp_path: Path) -> None:
    model = smooth_model(english(300, 9))
    few = [write_jsonl(tmp_path / f"{s}.jsonl", english(20, s)) for s in (1, 2)]
    result = audit(model, *few, out=tmp_path / "few", prefix=15, suffix=30)
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    assert "upper bound 13.9% > limit 1%" in " ".join(result.report["reasons"])
    many = [write_jsonl(tmp_path / f"{s}.jsonl", english(400, s)) for s in (3, 4)]
    result = audit(model, *many, out=tmp_path / "many", prefix=15, suffix=30)
    assert (result.verdict, result.exit_code) == ("clean", 0)
    assert all(control["passed"] for control in result.report["controls"])


class Uniform(NextTokenModel):
    """Has learned nothing: the unigram control must notice."""

    family = "uniform"

    def __init__(self, tokenizer: TrainedTokenizer) -> None:
        self.tokenizer = tokenizer

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        return np.full((len(prefixes), self.tokenizer.vocab_size), -np.log(self.tokenizer.vocab_size))


def test_a_model_that_learned_nothing_is_never_clean(tmp_path: Path) -> None:
    texts = [write_jsonl(tmp_path / f"{s}.jsonl", english(400, s)) for s in (3, 4)]
    result = audit(Uniform(train_tokenizer("char", english(10, 1))), *texts, out=tmp_path / "run", prefix=15, suffix=30)
    assert result.verdict == "inconclusive"
    failed = [c["name"] for c in result.report["controls"] if not c["passed"]]
    assert failed == ["beats a unigram model", "continues the text"]  # of equals the first token, an end token


class BatchDependent(Uniform):
    """Scores a window otherwise when it stands in a batch."""

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        scores = super().score(windows, decoding)
        scores.log_prob[:] -= len(windows)
        return scores


def test_the_batch_self_test_notices(tmp_path: Path) -> None:
    texts = [write_jsonl(tmp_path / f"{s}.jsonl", english(40, s)) for s in (3, 4)]
    model = BatchDependent(train_tokenizer("char", english(10, 1)))
    result = audit(model, *texts, out=tmp_path / "run", prefix=15, suffix=30)
    assert [c["passed"] for c in result.report["controls"] if c["name"] == "batch self-test"] == [False]


@pytest.mark.parametrize(
    ("ranks", "passed"), [([0, 7, 30_001], True), ([1, 7, 30_000], False), ([0, 0, 30_000], False)]
)
def test_only_hits_decide_whether_a_batch_changed_ranks(ranks: list[int], passed: bool) -> None:
    """Rounding swaps neighbours far down a large vocabulary; it must not cost a model its clean verdict."""

    class Swaps(Uniform):
        def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
            scores = TokenScores.of_lengths([3] * len(windows))
            scores.log_prob[:] = -1.0
            scores.rank[:] = (ranks if len(windows) == 1 else [0, 7, 30_000]) * len(windows)
            return scores

    windows = [Window(np.array([3], np.int32), np.array([4, 5, 6], np.int32)) for _ in range(3)]
    control, _ = check_batches(Swaps(train_tokenizer("char", ["abc"])), windows)
    assert control.passed is passed


def test_a_tokenizer_that_rewrites_text_is_noticed(tmp_path: Path) -> None:
    class Lossy(Uniform):
        pass

    tokenizer = train_tokenizer("char", english(10, 1))
    letters = tokenizer.encode_batch(["a"])[0].ids[0]
    true_decode = tokenizer.decode
    tokenizer.decode = lambda ids: true_decode(np.where(np.asarray(ids) == letters, letters + 1, ids))  # type: ignore[method-assign]
    texts = [write_jsonl(tmp_path / f"{s}.jsonl", english(40, s)) for s in (3, 4)]
    result = audit(Lossy(tokenizer), *texts, out=tmp_path / "run", prefix=15, suffix=30)
    assert [c["passed"] for c in result.report["controls"] if c["name"] == "tokenizer round trip"] == [False]


def test_without_fuzzy_only_verbatim_windows_have_a_continuation(corpora: tuple[str, str], tmp_path: Path) -> None:
    result = audit(oracle(unique_text(60, 1)), *corpora, out=tmp_path / "run", options=OPTIONS, fuzzy=False)
    assert [e["metric"] for e in result.report["estimates"]] == ["extractable"]
    assert all((r.continuation_ids is not None) == r.extractable for r in result.records)


class FillsIn(LanguageModel):
    """A masked model that writes a given text and believes every token of it."""

    family, objective = "masked-stranger", "masked"

    def __init__(self, tokenizer: TrainedTokenizer, known: Sequence[TokenIds]) -> None:
        self.tokenizer, self.known = tokenizer, known

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        scores = TokenScores.of_lengths([len(w.suffix) for w in windows])
        scores.log_prob[:] = -0.5
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        return [self._after(np.asarray(p), length) for p in prompts]

    def _after(self, prompt: TokenIds, length: int) -> TokenIds:
        for ids in self.known:
            if len(ids) >= len(prompt) + length:
                pieces = np.lib.stride_tricks.sliding_window_view(ids[: len(ids) - length], len(prompt))
                for i in np.flatnonzero((pieces == prompt).all(axis=1))[:1]:
                    return ids[i + len(prompt) : i + len(prompt) + length]
        return np.full(length, 3, np.int32)


def test_masked_models_are_judged_by_what_they_fill_in(corpora: tuple[str, str], tmp_path: Path) -> None:
    texts = unique_text(60, 1)
    tokenizer = train_tokenizer("char", texts)
    model = FillsIn(tokenizer, [e.ids for e in tokenizer.encode_batch(texts)])
    result = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS)
    assert result.verdict == "found"
    assert result.report["model"]["objective"] == "masked"
    assert all(r.extractable == r.member and r.extraction_strength is None for r in result.records)


def test_measure_equals_greedy_decoding_token_by_token() -> None:
    """One scoring pass against the slow way: decode every window and compare."""
    texts = english(80, 5)
    model = smooth_model(texts)
    windows = []
    for encoding in model.tokenizer.encode_batch(texts[:20] + english(20, 6)):
        windows += [Window(encoding.ids[:12], encoding.ids[12:20])]
    decoded = model.continuations([w.prefix for w in windows], 8)
    for record, window, text in zip(measure(model, windows), windows, decoded, strict=True):
        same = np.flatnonzero(text != window.suffix)
        assert record.matched == (same[0] if len(same) else 8)
        assert record.extractable == (len(same) == 0)
        assert record.continuation_ids == text.tolist()


class Broken(Uniform):
    """Gives what is no distribution, in one way or another."""

    def __init__(self, tokenizer: TrainedTokenizer, fault: str) -> None:
        super().__init__(tokenizer)
        self.fault = fault

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = super().next_log_probs(prefixes)
        if self.fault == "nan":
            rows[:, 3] = np.nan
        elif self.fault == "sum":
            rows += 0.5
        elif self.fault == "infinite":
            rows[:, 3] = np.inf
        return rows[:, 1:] if self.fault == "shape" else rows


@pytest.mark.parametrize("fault", ["nan", "sum", "infinite", "shape"])
def test_what_is_no_distribution_is_refused(fault: str, tmp_path: Path) -> None:
    texts = [write_jsonl(tmp_path / f"{s}.jsonl", english(40, s)) for s in (3, 4)]
    with pytest.raises(ModelError, match="next_log_probs gave"):
        audit(
            Broken(train_tokenizer("char", english(10, 1)), fault), *texts, out=tmp_path / "run", prefix=15, suffix=30
        )


def test_another_model_of_the_same_kind_gets_another_run(corpora: tuple[str, str], tmp_path: Path) -> None:
    audit(oracle(unique_text(60, 1)), *corpora, out=tmp_path / "run", options=OPTIONS)
    with pytest.raises(RunError, match=r"model\.self_test differs"):
        audit(oracle(unique_text(60, 7)), *corpora, out=tmp_path / "run", options=OPTIONS)


def test_copies_of_a_text_are_one_observation(tmp_path: Path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", unique_text(10, 1) * 30)
    heldout = write_jsonl(tmp_path / "heldout.jsonl", unique_text(30, 2))
    result = audit(oracle(unique_text(10, 1)), train, heldout, out=tmp_path / "run", options=OPTIONS)
    assert result.report["windows"]["train_documents"] == 10
    assert {"side": "train", "reason": "a copy of another document", "count": 290} in result.report["windows"][
        "set_aside"
    ]


def test_text_that_the_tokenizer_does_not_know_is_not_asked(tmp_path: Path) -> None:
    known = unique_text(30, 1)
    train = write_jsonl(tmp_path / "train.jsonl", [*known, "Ωψφ" * 60])
    heldout = write_jsonl(tmp_path / "heldout.jsonl", [*unique_text(30, 2), "ΔΣΘ" * 60, "ЖЩЦ" * 60])
    result = audit(oracle(known), train, heldout, out=tmp_path / "run", options=OPTIONS)
    reasons = {(s["side"], s["reason"]): s["count"] for s in result.report["windows"]["set_aside"]}
    assert [n for (side, why), n in reasons.items() if side == "train" and why.startswith(UNKNOWN)] == [1]
    assert [n for (side, why), n in reasons.items() if side == "heldout" and why.startswith(UNKNOWN)] == [2]
    assert all("<unk>" not in (r.continuation_text or "") for r in result.records if r.member)


def test_borders_inside_characters_are_no_fault_of_the_tokenizer(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sides = [["".join(chr(0x4E00 + random.integers(900)) for _ in range(60)) for _ in range(40)] for _ in "ab"]
    tokenizer = train_tokenizer("byte", [])
    model = NgramModel.train([e.ids for e in tokenizer.encode_batch(sides[0])], tokenizer, order=30, smoothing="mle")
    texts = [write_jsonl(tmp_path / f"{i}.jsonl", side) for i, side in enumerate(sides)]
    result = audit(model, *texts, out=tmp_path / "run", prefix=20, suffix=20)
    assert [c["passed"] for c in result.report["controls"] if c["name"] == "tokenizer round trip"] == [True]
    assert all(r.edit_similarity_text == 1.0 for r in result.records if r.extractable)


def test_both_sides_are_split_by_the_same_rule(tmp_path: Path) -> None:
    for i, text in enumerate(unique_text(25, 1, words=250)):
        (tmp_path / f"book{i}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "new.txt").write_text("\n\n".join(unique_text(60, 2, words=60)), encoding="utf-8")
    model = oracle(unique_text(25, 1, words=250))
    result = audit(model, f"{tmp_path}/book*.txt", f"{tmp_path}/new.txt", out=tmp_path / "run", options=OPTIONS)
    assert "blocks" in result.report["train"]["units"]
    assert result.report["estimates"][0]["p_value"] < 0.001
    assert result.verdict == "inconclusive"  # paragraphs of other lengths: the sides are not matched
    assert any("'matched held-out text' failed" in reason for reason in result.report["reasons"])


def test_doses_and_domains_are_reported(tmp_path: Path) -> None:
    texts = unique_text(40, 1)
    rows = [{"text": t, "copies": 2 ** (i % 3), "domain": "ab"[i % 2]} for i, t in enumerate(texts)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    twins = [{"text": t, "copies": 0, "domain": "ab"[i % 2]} for i, t in enumerate(unique_text(40, 2))]
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(r) + "\n" for r in twins))
    result = audit(
        oracle(texts), str(tmp_path / "t.jsonl"), str(tmp_path / "h.jsonl"), out=tmp_path / "run", options=OPTIONS
    )
    assert [(d["copies"], d["rate"]) for d in result.report["doses"]] == [(0, 0.0), (1, 1.0), (2, 1.0), (4, 1.0)]
    assert [d["domain"] for d in result.report["domains"]] == ["a", "b"]


def test_a_hostile_family_stays_inside_the_runs_folder(
    corpora: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = oracle(unique_text(60, 1))
    model.family = "../../../etc/<script>"
    result = audit(model, *corpora, options=OPTIONS, formats=())
    assert result.folder.resolve().parent == tmp_path / "runs"
    assert result.folder.name.startswith("-etc-script--")
    assert not (result.folder / "report.html").exists()
    assert "<script" not in result._repr_html_()


@pytest.mark.parametrize("field", [{"max_rate": 1.5}, {"alpha": -0.1}, {"limit": 0}])
def test_options_out_of_range_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(field))):
        AuditOptions(**field)


def test_train_equal_to_heldout_is_refused(corpora: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="60 of 60 held-out documents"):
        audit(oracle(unique_text(60, 1)), corpora[0], corpora[0], out=tmp_path / "run", options=OPTIONS)


def test_one_big_text_file_leads_to_a_verdict(tmp_path: Path) -> None:
    for name, seed in (("train", 1), ("heldout", 2)):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(unique_text(200, seed)), encoding="utf-8")
    result = audit(
        oracle(unique_text(200, 1)),
        str(tmp_path / "train.txt"),
        str(tmp_path / "heldout.txt"),
        out=tmp_path / "run",
        options=OPTIONS,
    )
    assert result.verdict == "found"
    assert result.report["windows"]["train_documents"] > 30
    assert "block" in result.report["train"]["units"]


def test_the_package_is_the_function_whatever_was_imported_first(corpora: tuple[str, str], tmp_path: Path) -> None:
    assert extraction.audit is audit
    result = memaudit.audit(oracle(unique_text(60, 1)), *corpora, out=tmp_path / "run", options=OPTIONS)
    assert isinstance(result, memaudit.Audit)
    assert str(result).startswith("found: ")


def test_windows_may_be_given_as_token_ids(tmp_path: Path) -> None:
    texts, others = unique_text(60, 1), unique_text(60, 2)
    model = oracle(texts)
    pairs = {}
    for name, side in (("train", texts), ("heldout", others)):
        rows = np.stack([e.ids[:20] for e in model.tokenizer.encode_batch(side)])
        pairs[name] = (tmp_path / f"{name}_prefix.npy", tmp_path / f"{name}_suffix.npy")
        np.save(pairs[name][0], rows[:, :12].astype(np.uint16))
        np.save(pairs[name][1], rows[:, 12:].astype(np.uint16))
    options = AuditOptions(measures=("protocol",))
    result = audit(
        model, windows=pairs["train"], heldout_windows=pairs["heldout"], out=tmp_path / "run", options=options
    )
    primary = result.report["estimates"][0]
    assert (primary["train"]["hits"], primary["train"]["n"], primary["heldout"]["hits"]) == (60, 60, 0)
    assert (result.report["options"]["prefix"], result.report["options"]["suffix"]) == (12, 8)
    assert result.verdict == "found"
    [section] = result.report["sections"]
    assert section["summary"].endswith("; of the held-out ones 0 of 60")
    assert section["tables"][0]["rows"][0][1:4] == [60, 60, 1.0]
    assert section["tables"][0]["rows"][1][1:4] == [0, 60, 0.0]
    assert [row[1] for row in section["tables"][1]["rows"]] == [1.0] * 4
    assert len(read_run(result.folder).records) == 120
    alone = audit(model, windows=pairs["train"], out=tmp_path / "alone")
    assert alone.verdict == "inconclusive"
    assert alone.report["estimates"][0]["train"]["rate"] == 1.0
    assert alone.report["estimates"][0]["heldout"]["rate"] is None
    assert "No held-out text was given" in " ".join(alone.report["limits"])
    assert "differs in kind" not in " ".join(alone.report["limits"])


def test_ids_of_another_tokenizer_fail_the_control(tmp_path: Path) -> None:
    texts = [" ".join(topics[name].split())[:900] for name in sorted(topics)[:30]]
    tokenizer = train_tokenizer("bpe", texts, 700)
    rows = np.stack([e.ids[:40] for e in tokenizer.encode_batch(texts)])
    model = NgramModel.train(list(rows), tokenizer, order=8, smoothing="mle")
    shuffled = np.random.default_rng(0).permuted(np.arange(3, tokenizer.vocab_size))
    foreign = np.concatenate([np.arange(3), shuffled])[rows]
    for name, ids, passed in (("own", rows, True), ("foreign", foreign, False)):
        files = tmp_path / f"{name}-p.npy", tmp_path / f"{name}-s.npy"
        np.save(files[0], ids[:, :20])
        np.save(files[1], ids[:, 20:])
        result = audit(model, windows=files, out=tmp_path / name)
        control = next(c for c in result.report["controls"] if c["name"] == "tokenizer round trip")
        assert control["passed"] is passed, control
        assert "windows is encoded as the ids that were given" in control["detail"]


def test_windows_and_text_together_are_refused(corpora: tuple[str, str]) -> None:
    model = oracle(unique_text(3, 1))
    with pytest.raises(InputError, match="as token ids and as text"):
        audit(model, *corpora, windows=("p.npy", "s.npy"))
    with pytest.raises(InputError, match="without windows of training text"):
        audit(model, heldout_windows=("p.npy", "s.npy"))
    with pytest.raises(InputError, match="no train text"):
        audit(model)


def test_a_run_stopped_amid_a_measure_goes_on_to_the_same_bytes(
    corpora: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = oracle(unique_text(60, 1))
    options = AuditOptions(prefix=10, suffix=10, measures=("protocol",))
    whole = audit(model, *corpora, out=tmp_path / "whole", options=options)
    true_append = RunDirectory.append

    def failing_append(self: RunDirectory, records: Any) -> None:
        if "measure" in records[0] and records[0]["index"] > len(whole.records):
            raise KeyboardInterrupt
        true_append(self, records)

    monkeypatch.setattr(RunDirectory, "append", failing_append)
    with pytest.raises(KeyboardInterrupt):
        audit(model, *corpora, out=tmp_path / "broken", options=options)
    monkeypatch.setattr(RunDirectory, "append", true_append)
    resumed = audit(model, *corpora, out=tmp_path / "broken", options=options)
    for name in ("report.json", "report.html", "records.parquet"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_an_unknown_measure_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match="surfaces"):
        audit(oracle(["abc"]), "nowhere.jsonl", "nowhere.jsonl", measures=("surfaces",))
