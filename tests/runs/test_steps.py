from __future__ import annotations

import pytest

from memaudit.runs.steps import step_of_name


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("run/checkpoint-500", 500),
        ("run/checkpoint-0500/", 500),
        ("EleutherAI/pythia-70m@step1000", 1000),
        ("allenai/OLMo-2-1B@stage1-step140000-tokens294B", 140000),
        ("models/ckpt_7", 7),
        ("models/global_step12", 12),
        ("models/Step-3", 3),
        ("megatron/iter_0001000", 1000),
        ("litgpt/iter-027000-ckpt", 27000),
        ("models/reiter3", None),
        ("step-9/model", None),
        ("models/gpt-2", None),
        ("models/footstep3", None),
        ("models/step10k", None),
        ("models/step1.5", None),
        ("checkpoint-", None),
        ("checkpoint-" + "9" * 20, None),
        ("", None),
    ],
)
def test_the_step_that_a_name_says(name: str, step: int | None) -> None:
    assert step_of_name(name) == step
