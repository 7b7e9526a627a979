from __future__ import annotations

from dataclasses import replace

import pytest

from memaudit.errors import InputError
from memaudit.families import BUILTIN
from memaudit.training.options import TrainingOptions


@pytest.mark.parametrize("family", ["rnn", "gpt", "bert"])
def test_every_family_has_measured_defaults_that_a_user_can_change(family: str) -> None:
    options = TrainingOptions.for_family(family, epochs=2.5)
    assert options.epochs == 2.5
    assert options.optimizer == BUILTIN[family].training["optimizer"]
    assert options.mask_rate == 0.15


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("epochs", float("nan")), ("epochs", float("inf")), ("batch_size", 0),
        ("learning_rate", -1e-3), ("clip", 0), ("warmup", 1.0), ("warmup", -0.1), ("weight_decay", -1),
        ("mask_rate", 0), ("mask_rate", 1.01), ("threads", 0), ("optimizer", "sgd"), ("mask_rule", "none"),
        ("checkpoint_seconds", -1), ("context_length", 1), ("batch_size", 2.5),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        TrainingOptions(**{name: value})


def test_identity_leaves_out_only_what_does_not_change_the_training() -> None:
    options = TrainingOptions()
    same = replace(options, checkpoint_seconds=1.0, threads=3)
    assert same.identity() == options.identity()
    changes = {
        "epochs": 2, "batch_size": 3, "context_length": 9, "learning_rate": 1e-4, "optimizer": "adamw",
        "weight_decay": 0.1, "warmup": 0.2, "clip": 2.0, "mask_rate": 0.3, "mask_rule": "mask", "seed": 5,
    }  # fmt: skip
    for name, value in changes.items():
        other = replace(TrainingOptions(optimizer="muon"), **{name: value})
        assert other.identity() != TrainingOptions(optimizer="muon").identity(), name
