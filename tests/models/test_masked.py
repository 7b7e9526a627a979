"""Masked models: rows read the quick way are rows read whole, and fills are those of a plain loop."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM

from memaudit.errors import InputError, ModelError
from memaudit.models import masked as masked_module
from memaudit.models import torch_scores
from memaudit.models.masked import FILL_ORDERS, FillOrder, MaskedTransformer, new_bert
from memaudit.models.masked_rows import SharedRows, WholeRows, masked_rows
from memaudit.records import GREEDY, Decoding, TokenIds, TokenScores, Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
SHAPE: dict[str, Any] = {
    "vocab_size": BYTES.vocab_size, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
    "max_position_embeddings": 64, "pad_token_id": 1,
}  # fmt: skip


def made(kind: str = "Bert", layers: int = 3, dtype: torch.dtype = torch.float32, **changed: Any) -> MaskedTransformer:
    """A model with weights that make attention and distributions far from uniform."""
    config = getattr(transformers, f"{kind}Config")(num_hidden_layers=layers, **SHAPE | changed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = AutoModelForMaskedLM.from_config(config, attn_implementation="eager" if kind == "MPNet" else "sdpa")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return MaskedTransformer(module.to(dtype), BYTES)


def rows_of(model: MaskedTransformer) -> tuple[Any, Any]:
    return model._rows, WholeRows(model._body, BYTES.mask_id)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta", "Camembert"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 30), st.integers(1, 3))
def test_shared_rows_are_whole_rows_in_float64(
    kind: str, layers: int, seed: int, rows: int, length: int, texts: int
) -> None:
    quick, whole = rows_of(model := made(kind, layers, torch.float64))
    assert isinstance(quick, SharedRows)
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, BYTES.vocab_size, (texts, length), generator=random)
    which = torch.randint(texts, (rows,), generator=random)
    position = torch.randint(length, (rows,), generator=random)
    before = ids.clone()
    with torch.no_grad():
        torch.testing.assert_close(quick(ids, which, position), whole(ids, which, position), atol=1e-10, rtol=1e-10)
    assert torch.equal(ids, before)
    assert model.module.training is False


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_padding_in_a_text_is_read_whole_where_it_moves_positions(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, whole = rows_of(made(kind, dtype=torch.float64))
    ids = torch.tensor([[5, 6, 1, 8, 1, 9]])
    which, position = torch.zeros(6, dtype=torch.long), torch.arange(6)
    asked: list[Any] = []
    monkeypatch.setattr(quick, "whole", lambda *rows: asked.append(rows) or whole(*rows))
    quick.whole.mask_id = BYTES.mask_id  # type: ignore[attr-defined]
    with torch.no_grad():
        torch.testing.assert_close(quick(ids, which, position), whole(ids, which, position))
        quick(ids[:, [0, 1, 3]], which[:3], position[:3])
    assert len(asked) == (kind == "Roberta")


def scored_plainly(model: MaskedTransformer, windows: list[Window]) -> np.ndarray:
    """One mask at a time through the module itself, in float64."""
    module, values = model.module.double(), []
    for window in windows:
        text = torch.tensor([0, *window.prefix, *window.suffix])
        for place in range(len(text) - len(window.suffix), len(text)):
            row = text.clone()
            row[place] = BYTES.mask_id
            with torch.no_grad():
                logits = module(input_ids=row[None]).logits[0, place]
            values.append(torch.log_softmax(logits, 0)[text[place]].item())
    return np.array(values)


def windows(*lengths: tuple[int, int]) -> list[Window]:
    random = np.random.default_rng(4)
    return [
        Window(random.integers(3, 256, a, dtype=np.int32), random.integers(3, 256, b, dtype=np.int32))
        for a, b in lengths
    ]


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
def test_scores_are_those_of_one_mask_at_a_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked_module, "MAX_ROWS", 5)
    model = made(kind)
    asked = windows((5, 7), (0, 9), (20, 3), (5, 7), (8, 4), (2, 0), (0, 1))
    scores = model.score(asked)
    assert scores.offsets.tolist() == np.cumsum([0] + [len(w.suffix) for w in asked]).tolist()
    np.testing.assert_allclose(scores.log_prob, scored_plainly(model, asked), atol=2e-5)


def test_rows_read_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = made(max_position_embeddings=700), []
    rows = model._rows
    monkeypatch.setattr(model, "_rows", lambda *asked: (seen.append((len(asked[1]), asked[0].shape)), rows(*asked))[1])
    model.score(windows((10, 100), (10, 100), (600, 9)))
    assert sum(count for count, _ in seen) == 209
    assert max(count for count, _ in seen) <= 64
    assert max(count * shape[1] for count, shape in seen) <= 4096
    assert [count for count, _ in seen[-2:]] == [6, 3]


@pytest.mark.parametrize("kind", ["ModernBert", "Electra", "MPNet"])
def test_other_architectures_are_read_whole(kind: str) -> None:
    more = {"pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 0} if kind == "ModernBert" else {}
    model = made(kind, **more)
    assert isinstance(model._rows, WholeRows)
    asked = windows((5, 4), (3, 2))
    scores = model.score(asked)
    np.testing.assert_allclose(scores.log_prob, scored_plainly(model, asked), atol=1e-4)


def test_a_module_that_computes_otherwise_is_read_whole() -> None:
    causal = made(is_decoder=True)
    assert isinstance(causal._rows, WholeRows)
    model = made()
    model.module.bert.encoder.layer[1].attention.self.register_forward_hook(lambda *a: (a[2][0] * 0.5, None))
    assert isinstance(masked_rows(model._body, model.module.config, BYTES.mask_id), WholeRows)
    model = made()
    del model.module.bert.encoder.layer[1].attention.self.key
    assert isinstance(masked_rows(model._body, model.module.config, BYTES.mask_id), WholeRows)


def filled_plainly(model: MaskedTransformer, text: TokenIds, masks: list[int], order: FillOrder) -> list[int]:
    """Brute force: one text, one pass of the whole module after the other."""
    ids = torch.tensor([0, *text])
    left = sorted({place + 1 for place in masks})
    ids[left] = BYTES.mask_id
    while left:
        with torch.no_grad():
            probs = torch.softmax(model.module(input_ids=ids[None]).logits[0].double(), dim=1)
        if order == "one-shot":
            for place in left:
                ids[place] = int(probs[place].argmax())
            break
        place = left[0] if order == "left-to-right" else max(left, key=lambda p: float(probs[p].max()))
        ids[place] = int(probs[place].argmax())
        left.remove(place)
    return ids[1:].tolist()


@pytest.mark.parametrize("kind", ["Bert", "Roberta"])
@pytest.mark.parametrize("order", FILL_ORDERS)
def test_fills_are_those_of_a_plain_loop(kind: str, order: FillOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked_module, "MAX_ROWS", 3)
    monkeypatch.setattr(torch_scores, "HEAD_ROWS", 4)
    model, random = made(kind), np.random.default_rng(5)
    texts = [random.integers(3, 256, n, dtype=np.int32) for n in (12, 12, 7, 12, 12, 20, 1, 12)]
    masks = [random.permutation(len(t))[: random.integers(0, len(t) + 1)] for t in texts]
    before = [text.copy() for text in texts]
    ours = model.fill(texts, masks, order)
    assert [row.dtype for row in ours] == [np.dtype(np.int32)] * len(texts)
    for text, places, row in zip(texts, masks, ours, strict=True):
        assert row.tolist() == filled_plainly(model, text, places.tolist(), order)
    np.testing.assert_array_equal(np.concatenate(texts), np.concatenate(before))


def test_orders_differ_where_the_model_reads_what_it_filled() -> None:
    model, random = made(), np.random.default_rng(6)
    texts = [random.integers(3, 256, 16, dtype=np.int32) for _ in range(4)]
    masks = [np.arange(4, 16)] * 4
    assert len({np.concatenate(model.fill(texts, masks, order)).tobytes() for order in FILL_ORDERS}) == 3


def test_filling_a_masked_end_from_left_to_right_continues_the_text() -> None:
    closing = MaskedTransformer(made().module, BYTES, closing_id=7)
    prompts = [w.prefix for w in windows((5, 0), (9, 0), (5, 0))]
    texts = [np.append(prompt, np.zeros(6, np.int32)) for prompt in prompts]
    filled = closing.fill(texts, [np.arange(len(p), len(p) + 6) for p in prompts], "left-to-right")
    for prompt, continued, text in zip(prompts, closing.continuations(prompts, 6), filled, strict=True):
        assert text.tolist() == [*prompt, *continued]


def test_what_cannot_be_filled_is_said() -> None:
    model = made()
    text = np.full(5, 9, np.int32)
    assert model.fill([], [], "confident") == []
    with pytest.raises(InputError, match="position 5 of a text of 5"):
        model.fill([text], [np.array([2, 5])], "confident")
    with pytest.raises(InputError, match="no order of filling is called sideways"):
        model.fill([text], [np.array([1])], "sideways")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs 66 positions"):
        model.fill([np.full(65, 9, np.int32)], [np.array([1])], "one-shot")
    with torch.no_grad():
        model.module.cls.predictions.decoder.bias[0] = float("nan")
    with pytest.raises(ModelError, match="non-finite"):
        model.fill([text], [np.array([1])], "one-shot")


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(0.7, top_k=5)], ids=str)
def test_scores_do_not_depend_on_how_many_logits_there_are_at_a_time(
    decoding: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, hidden = torch.nn.Linear(8, 40), torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    targets, alive = torch.arange(50) % 40, []

    def scored(rows: int) -> TokenScores:
        monkeypatch.setattr(torch_scores, "HEAD_ROWS", rows)
        scores = TokenScores.of_lengths([50])
        torch_scores.score_hidden(hidden, counted, targets, decoding, scores, slice(0, 50))
        return scores

    def counted(states: torch.Tensor) -> torch.Tensor:
        assert not any(old() is not None for old in alive)  # the logits of the piece before are gone
        logits: torch.Tensor = head(states)
        alive.append(weakref.ref(logits))
        return logits

    few, all_at_once = scored(7), scored(50)
    np.testing.assert_allclose(few.log_prob, all_at_once.log_prob, atol=1e-5)
    np.testing.assert_array_equal(few.rank, all_at_once.rank)


def test_new_bert_reads_shared_rows() -> None:
    assert isinstance(new_bert(BYTES, width=32, layers=2, heads=2)._rows, SharedRows)
    assert isinstance(new_bert(BYTES, style="modernbert", width=64, layers=2, heads=4)._rows, WholeRows)
