"""Models that nobody here made, against what their makers published about them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from memaudit.models.loading.load import load_model
from memaudit.records import Window
from tests.adapters.charrnn import CharRnn


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> Path:
    return shared_data / "weights"


def test_stories260k_writes_the_published_text(weights: Path) -> None:
    model = load_model(str(weights / "stories260k" / "hf"))
    expected = (weights / "stories260k" / "expected_greedy.txt").read_text().strip()
    [ids] = model.continuations([np.empty(0, np.int32)], 256)
    assert (model.family, model.objective, model.parameters) == ("llama", "next-token", 260_032)
    assert model.tokenizer.decode(ids).strip().startswith(expected)


@pytest.mark.parametrize(("factory", "low", "high"), [("hacker_news", 96, 100), ("base", 0, 0)])
def test_textgenrnn_recites_its_own_titles(
    weights: Path, monkeypatch: pytest.MonkeyPatch, factory: str, low: int, high: int
) -> None:
    monkeypatch.setenv("MEMAUDIT_WEIGHTS", str(weights / "textgenrnn"))
    model = load_model(f"python:tests.adapters.textgenrnn:{factory}")
    with (weights / "textgenrnn" / "hacker_news_2000.txt").open(newline="", encoding="utf-8") as stream:
        titles = [row[0] for row in csv.reader(stream) if row][1:]
    titles = [title for title in titles if len(title) >= 45][:100]
    ids = [encoding.ids for encoding in model.tokenizer.encode_batch(titles)]
    assert len(ids) == 100
    continuations = model.continuations([row[:20] for row in ids], 25)
    recited = [np.array_equal(row[20:45], own) for row, own in zip(ids, continuations, strict=True)]
    assert low <= sum(recited) <= high
    scores = model.score([Window(row[:20], row[20:45]) for row in ids[:10]])
    assert [not s.rank.any() for s in scores] == recited[:10]


def test_charrnn_has_its_published_perplexity(weights: Path) -> None:
    model = CharRnn(weights / "tf-charrnn-tinyshakespeare")
    text = (weights.parent / "corpora" / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    start, length = int(0.9 * len(text)), int(0.05 * len(text))
    ids = model.tokenizer.encode_batch([text[start : start + length]])[0].ids
    rows = ids[: len(ids) // 20 * 20].reshape(20, -1)
    log_probs = model.log_probs(rows[:, :-1])
    loss = -log_probs.gather(2, torch.from_numpy(rows[:, 1:, None].astype(np.int64))).mean().item()
    assert math.exp(loss) == pytest.approx(4.335, abs=0.01)
    window = Window(rows[0, :50], rows[0, 50:60])
    assert model.score([window]).log_prob == pytest.approx(
        log_probs[0, 49:59].gather(1, torch.from_numpy(window.suffix.astype(np.int64))[:, None])[:, 0].numpy(),
        abs=1e-4,
    )
