"""The documented way to a masked diffusion model, through ``python:``, with a network that knows one text."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memaudit.models.loading.load import load_model
from memaudit.records import Window

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
TEXT = "the quick brown fox jumps over the lazy dog"
NETWORK = f"""
from types import SimpleNamespace
import memaudit

TOKENIZER = memaudit.train_tokenizer("byte", [])
IDS = TOKENIZER.encode_batch([{TEXT!r}])[0].ids.tolist()


class Network:
    def parameters(self):
        return [torch.ones(3)]

    def __call__(self, input_ids):
        [row] = input_ids.tolist()
        assert row[-1] == 126336 % 300
        logits = torch.zeros(1, len(row), 300)
        logits[0, -1, row[-1]] = 99.0
        if row[:-1] == IDS[: len(row) - 1] and len(row) <= len(IDS):
            logits[0, -1, IDS[len(row) - 1]] = 9.0
        return SimpleNamespace(logits=logits)


def load_my_network():
    return Network()


def load_my_tokenizer():
    return TOKENIZER
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    [example] = re.findall(r"```python\n(# my_diffusion\.py\n.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    example = example.replace("126336", str(126336 % 300))
    Path("my_diffusion.py").write_text(example + NETWORK, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("my_diffusion", None)


@pytest.mark.usefixtures("folder")
def test_the_example_scores_and_continues_what_its_network_knows() -> None:
    model = load_model("python:my_diffusion:factory")
    ids = model.tokenizer.encode_batch([TEXT])[0].ids
    known, other = Window(ids[:20], ids[20:]), Window(ids[1:20], ids[20:])
    scores = model.score([known, other])
    assert list(scores.rank[: len(known.suffix)]) == [0] * len(known.suffix)
    assert float(scores.log_prob[: len(known.suffix)].min()) > -0.1
    assert float(scores.log_prob[len(known.suffix) :].max()) < -5
    assert np.array_equal(model.continuations([known.prefix], len(known.suffix))[0], known.suffix)
    np.testing.assert_allclose(np.exp(model.next_log_probs([ids[:9]])).sum(), 1)
