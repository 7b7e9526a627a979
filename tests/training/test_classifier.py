"""Fine-tuning a classifier: it learns, repeats itself, and leaves the model and the world as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from memaudit.errors import InputError
from memaudit.models.masked import MaskedTransformer, new_bert
from memaudit.records import TokenIds
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.classifier import (
    _batches,
    learning_rate_for,
    train_classifier,
)
from memaudit.training.classifier_options import ClassifierOptions, Pooling

WORDS = [f"w{i}" for i in range(40)]
OPTIONS = ClassifierOptions(epochs=12, learning_rate=3e-3)


def bert(style: str = "bert", seed: int = 0) -> MaskedTransformer:
    return new_bert(train_tokenizer("word", [" ".join(WORDS)]), style=style, width=16, heads=2, seed=seed)  # type: ignore[arg-type]


def texts(model: MaskedTransformer, count: int, seed: int) -> tuple[list[TokenIds], list[int]]:
    """Texts whose label says whether one word stands somewhere in them."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).tolist()
    drawn = [random.choice(WORDS[2:], int(random.integers(2, 9))).tolist() for _ in range(count)]
    for words, label in zip(drawn, labels, strict=True):
        words[int(random.integers(len(words)))] = WORDS[label]
    return [e.ids for e in model.tokenizer.encode_batch([" ".join(words) for words in drawn])], labels


@pytest.mark.parametrize("style", ["bert", "modernbert"])
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_it_learns_what_labels_depend_on(style: str, pooling: Pooling) -> None:
    model = bert(style)
    options = ClassifierOptions(epochs=25, learning_rate=3e-3, pooling=pooling)
    found = train_classifier(model, *texts(model, 200, 1), 2, options, seed=0)
    asked, labels = texts(model, 100, 2)
    assert (found.predict(asked) == labels).mean() > 0.9
    assert found.loss < 0.2


def test_labels_by_lot_are_not_learned_by_others() -> None:
    model = bert()
    ids, _ = texts(model, 200, 1)
    found = train_classifier(model, ids, np.random.default_rng(0).integers(0, 2, 200).tolist(), 2, OPTIONS, seed=0)
    asked, labels = texts(model, 400, 2)
    assert abs((found.predict(asked) == labels).mean() - 0.5) < 0.1


def test_the_same_seed_gives_the_same_classifier_and_nothing_else_changes() -> None:
    model = bert()
    before = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    data = texts(model, 60, 1)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    options = ClassifierOptions(epochs=2)
    first, second, other = (train_classifier(model, *data, 2, options, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weight, before[name]) for name, weight in model.module.state_dict().items())
    same, different = (dict(found.module.state_dict()) for found in (second, other))
    for name, weight in first.module.state_dict().items():
        assert torch.equal(weight, same[name])
    assert any(not torch.equal(w, different[name]) for name, w in first.module.state_dict().items())
    assert first.loss == second.loss != other.loss


@pytest.mark.parametrize("style", ["bert", "modernbert"])
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_batch_mates_do_not_matter(style: str, pooling: Pooling) -> None:
    model = bert(style)
    data = texts(model, 40, 1)
    found = train_classifier(model, *data, 2, ClassifierOptions(epochs=1, pooling=pooling), seed=0)
    with torch.no_grad():
        together = found.logits(data[0])
        alone = torch.cat([found.logits([ids]) for ids in data[0]])
    assert float((together - alone).abs().max()) <= 1e-5
    assert found.predict(data[0]).tolist() == alone.argmax(-1).tolist()


def test_every_text_is_in_one_batch_and_near_ones_stand_together() -> None:
    lengths = np.arange(1000) % 37
    batches = _batches(lengths, 16, np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert max(map(len, batches)) == 16
    assert np.mean([np.ptp(lengths[rows]) for rows in batches]) < 10


def test_the_learning_rate_is_that_of_the_width() -> None:
    assert learning_rate_for(bert(), ClassifierOptions()) == pytest.approx(5e-5 * 768 / 16)
    assert learning_rate_for(bert(), ClassifierOptions(learning_rate=1e-3)) == 1e-3


def test_bad_input() -> None:
    with pytest.raises(InputError, match="--epochs must be above 0"):
        ClassifierOptions(epochs=0)
    with pytest.raises(InputError, match="--learning-rate must be above 0"):
        ClassifierOptions(learning_rate=float("nan"))
    with pytest.raises(InputError, match="--batch-size"):
        ClassifierOptions(batch_size=0)
    with pytest.raises(InputError, match="--pooling must be mean or first"):
        ClassifierOptions(pooling="last")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no labelled texts"):
        train_classifier(bert(), [], [], 2, OPTIONS, seed=0)
