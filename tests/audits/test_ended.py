"""A model that ends the text has not gone on with it: counted, shown, and no ground for *clean*."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.cli.app import app
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.decoding import before_end
from memaudit.models.loading.load import load_model
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.sampling import continue_text
from memaudit.models.transformer import new_gpt
from memaudit.records import FloatArray, TokenIds
from memaudit.report.extraction_terminal import print_extraction
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from tests.faults.memorised import save_plain

OPTIONS = AuditOptions(prefix=8, suffix=8, max_rate=0.2, copies=False)
WORDS = "abcdefghij "


def texts(count: int, seed: int, length: int = 40) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list(WORDS), length)) for _ in range(count)]


def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("char", [WORDS])


class Scripted(NextTokenModel):
    """Writes `script` behind any prefix, from its end on again, but recites the texts that it knows."""

    family = "scripted"
    parameters = 1

    def __init__(self, script: Sequence[int], known: Sequence[str] = (), ends_known: bool = False) -> None:
        self.tokenizer = tokenizer()
        self.script, self.ends_known = script, ends_known
        self.known = [e.ids.tolist() for e in self.tokenizer.encode_batch(list(known))]

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.full((len(prefixes), self.tokenizer.vocab_size), 0.001)
        for row, prefix in zip(rows, prefixes, strict=True):
            row[self._next(prefix.tolist())] = 1
        return np.log(rows / rows.sum(axis=1, keepdims=True))

    def _next(self, prefix: list[int]) -> int:
        for text in self.known:
            for at in range(len(text) - len(prefix)):
                if text[at : at + len(prefix)] == prefix:
                    return text[at + len(prefix)]
        return self.script[(len(prefix) - OPTIONS.prefix) % len(self.script)]


@pytest.fixture
def sides(tmp_path: Path) -> tuple[str, str]:
    for name, seed in (("train", 1), ("heldout", 2)):
        lines = (json.dumps({"text": text}) + "\n" for text in texts(20, seed))
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return str(tmp_path / "train.jsonl"), str(tmp_path / "heldout.jsonl")


END, LETTER = 0, 3
OTHER = [LETTER] * 8


@pytest.mark.parametrize("fuzzy", [True, False], ids=["fuzzy", "verbatim alone"])
@pytest.mark.parametrize("script", [[END], [LETTER, END], [LETTER] * 7 + [END]], ids=["at once", "second", "last"])
def test_most_windows_ended_is_not_clean(
    script: list[int], fuzzy: bool, sides: tuple[str, str], tmp_path: Path
) -> None:
    result = audit(Scripted(script), *sides, out=tmp_path / "run", options=OPTIONS, fuzzy=fuzzy)
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    assert any("ends the text within 8 tokens in" in reason for reason in result.report["reasons"])
    ended = result.report["ended"]
    assert ended["train"]["hits"] == ended["train"]["n"] > 0
    assert "continues the text" in [c["name"] for c in result.report["controls"] if not c["passed"]]


def test_what_goes_on_has_not_ended(sides: tuple[str, str], tmp_path: Path) -> None:
    result = audit(Scripted(OTHER), *sides, out=tmp_path / "run", options=OPTIONS)
    assert {record.ended for record in result.records} == {False}
    assert result.report["ended"]["train"]["hits"] == 0
    assert [c["passed"] for c in result.report["controls"] if c["name"] == "continues the text"] == [True]


def test_a_hit_is_a_hit_however_many_windows_end(sides: tuple[str, str], tmp_path: Path) -> None:
    known = texts(20, 1)[:8]
    result = audit(Scripted([END], known), *sides, out=tmp_path / "run", options=OPTIONS, max_rate=0.1)
    assert (result.verdict, result.exit_code) == ("found", 1)
    assert result.report["ended"]["train"]["hits"] > result.report["ended"]["train"]["n"] / 2


def test_what_stands_behind_an_end_token_is_no_continuation(sides: tuple[str, str], tmp_path: Path) -> None:
    """Two tokens, the end, and then the true text itself would make a copy of what was never said."""
    result = audit(Scripted([LETTER, LETTER, END, LETTER]), *sides, out=tmp_path / "run", options=OPTIONS)
    for record in result.records:
        assert record.ended
        assert record.continuation_ids == [LETTER, LETTER]
        assert "<eos>" not in (record.continuation_text or "")
        assert record.edit_similarity is not None
    at_once = audit(Scripted([END]), *sides, out=tmp_path / "at once", options=OPTIONS)
    values = {(record.continuation_text, record.edit_similarity, record.bleu) for record in at_once.records}
    assert values == {("", 0.0, 0.0)}
    assert [e["metric"] for e in at_once.report["estimates"]] == [e["metric"] for e in result.report["estimates"]]


def test_it_is_shown_everywhere(sides: tuple[str, str], tmp_path: Path) -> None:
    import pandas as pd

    result = audit(
        Scripted([LETTER, END]), *sides, out=tmp_path / "run", options=OPTIONS, formats=("html", "md", "junit")
    )
    files = {path.name: path.read_text(encoding="utf-8") for path in result.files}
    count = result.report["ended"]["train"]["n"]
    for text in files.values():
        assert f"in {count} of {count} training windows" in text
    assert f"ended the text in {count:,} training and" in files["report.html"]
    assert "Here the model ended the text." in files["report.html"]
    assert f"ended the text in {count:,} training and" in files["report.md"]
    console = Console(width=200, record=True, file=io.StringIO())
    print_extraction(result.report, console)
    assert f"ended by the model before the end of the window: {count} of {count} training" in console.export_text()
    assert pd.read_parquet(result.folder / "records.parquet")["ended"].all()
    assert json.loads((result.folder / "report.json").read_bytes())["ended"]["train"]["hits"] == count


def test_an_end_token_in_the_true_text_is_a_token_like_any_other(tmp_path: Path) -> None:
    """Rows of several documents, as training has them: the model gives them, end token and all, or ends nothing."""
    random = np.random.default_rng(0)
    rows = random.integers(3, 13, (30, 16)).astype(np.int32)
    rows[:, 12] = END
    tokens = tokenizer()
    model = NgramModel.train(list(rows), tokens, order=8, smoothing="mle")
    np.save(tmp_path / "prefixes.npy", rows[:, :8])
    np.save(tmp_path / "suffixes.npy", rows[:, 8:])
    pair = tmp_path / "prefixes.npy", tmp_path / "suffixes.npy"
    result = audit(model, windows=pair, out=tmp_path / "run", options=OPTIONS)
    hits = result.report["estimates"][0]["train"]["hits"]
    assert hits == sum(record.extractable for record in result.records) > 0
    assert not any(record.ended for record in result.records if record.extractable)


def ngram() -> LanguageModel:
    tokens = tokenizer()
    return NgramModel.train([np.array([i], np.int32) for i in range(3, 14)] * 5, tokens, order=1)


def ending(model: Any) -> LanguageModel:
    """Let a network give the end token wherever it is asked."""
    with torch.no_grad():
        for name, tensor in model.module.named_parameters():
            if name.endswith(("norm.weight", "ln_f.weight")):
                tensor.zero_()
            if name.endswith("ln_f.bias"):
                tensor.copy_(model.module.get_input_embeddings().weight[END] * 1000)
            if name.endswith(("head.bias", "out.bias", "output.bias")):
                tensor[END] = 1000
    return model


def saved_gpt(folder: Path) -> LanguageModel:
    save_plain(ending(new_gpt(tokenizer(), style="gpt2", width=16, layers=1, heads=2, context_length=32)), folder)
    return load_model(str(folder))


FAMILIES: dict[str, Callable[[Path], LanguageModel]] = {
    "ngram": lambda _: ngram(),
    "rnn": lambda _: ending(new_rnn(tokenizer(), width=16, seed=0)),
    "gpt": lambda _: ending(new_gpt(tokenizer(), style="gpt2", width=16, layers=1, heads=2, context_length=32)),
    "a folder of anybody's": saved_gpt,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_alike(family: str, sides: tuple[str, str], tmp_path: Path) -> None:
    model = FAMILIES[family](tmp_path / "model")
    assert model.continuations([np.array([3, 4, 5], np.int32)], 1)[0].tolist() == [END]
    result = audit(model, *sides, out=tmp_path / "run", options=OPTIONS, formats=())
    assert result.verdict == "inconclusive"
    assert all(record.ended and record.continuation_text == "" for record in result.records)


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"eos_token_id": [0, 1, 5]}, {0, 1}),
        ({"eos_token_id": 5}, {0}),
        ({"eos_token_id": None}, {0}),
    ],
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_settings_name_end_tokens_and_no_word_becomes_one(
    file: str, settings: dict[str, Any], ends: set[int], tmp_path: Path
) -> None:
    saved_gpt(tmp_path / "model")
    path = tmp_path / "model" / file
    known = json.loads(path.read_bytes()) if path.exists() else {}
    path.write_text(json.dumps(known | settings), encoding="utf-8")
    assert load_model(str(tmp_path / "model")).end_ids == ends


@given(
    st.lists(st.integers(0, 5), max_size=12).flatmap(
        lambda said: st.tuples(st.just(said), st.lists(st.integers(0, 5), min_size=len(said), max_size=len(said)))
    ),
    st.sets(st.integers(0, 5)),
)
def test_a_text_ends_at_the_first_end_token_that_the_truth_has_not(
    pair: tuple[list[int], list[int]], ends: set[int]
) -> None:
    said, truth = (np.array(ids, np.int32) for ids in pair)
    written = before_end(said, ends, truth)
    assert written.tolist() == said[: len(written)].tolist()
    assert all(token not in ends or token == true for token, true in zip(written, truth, strict=False))
    if len(written) < len(said):
        assert said[len(written)] in ends
        assert said[len(written)] != truth[len(written)]
    else:
        assert len(before_end(truth, ends, truth)) == len(truth)


def test_a_prompt_is_continued_until_the_model_ends_the_text() -> None:
    model = Scripted([LETTER, LETTER, END, LETTER])
    letter = model.tokenizer.decode(np.array([LETTER], np.int32))
    prompt = texts(1, 5, OPTIONS.prefix)[0]
    assert continue_text(model, prompt, 8) == (2 * letter, 2, False)
    assert continue_text(Scripted(OTHER), prompt, 8) == (8 * letter, None, False)


def test_sample_says_that_a_text_was_ended(tmp_path: Path) -> None:
    NgramModel.train([e.ids for e in tokenizer().encode_batch(["abcde"] * 9)], tokenizer(), order=3).save(
        tmp_path / "m"
    )
    ran = CliRunner().invoke(
        app, ["sample", str(tmp_path / "m"), "--prompt", "ab", "--length", "9", "--temperature", "0"]
    )
    assert ran.exit_code == 0
    assert ran.stdout.strip() == "abcde"
    assert "ended the text after 3 tokens" in ran.stderr
