"""Every family that people use, tiny and random, is read as transformers reads it: scores, ranks, decoded tokens.

`benchmarks/zoo.py` tries all families that transformers knows.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.models.zoo import read_back

ROOT = Path(__file__).resolve().parents[2]

CAUSAL = [
    "apertus", "arcee", "bert-generation", "biogpt", "bitnet", "bloom", "codegen", "cohere", "cohere2", "ctrl",
    "deepseek_v3", "ernie4_5", "exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2",
    "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "helium", "hunyuan_v1_dense", "lfm2", "llama",
    "mistral", "mixtral", "mpt", "nemotron", "olmo", "olmo2", "olmo3", "openai-gpt", "opt", "phi", "phi3", "phimoe",
    "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next", "roberta", "seed_oss", "smollm3", "stablelm",
    "starcoder2", "xglm",
]  # fmt: skip
STATES = ["bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "mamba", "mamba2", "nemotron_h",
          "recurrent_gemma", "rwkv"]  # fmt: skip
"""Families that carry a state from token to token, or keep one beside keys and values."""
WRAPPERS = [
    "aya_vision", "gemma3", "gemma4", "glm4v", "idefics3", "internvl", "llama4", "llava", "llava_next",
    "llava_onevision", "mistral3", "qwen2_5_omni_thinker", "qwen2_5_vl", "qwen2_audio", "qwen2_vl", "qwen3_5",
    "qwen3_vl", "qwen3_vl_moe", "smolvlm", "voxtral",
]  # fmt: skip
MASKED = ["albert", "bert", "camembert", "convbert", "deberta-v2", "distilbert", "electra", "fnet", "modernbert",
          "mpnet", "roberta", "xlm-roberta"]  # fmt: skip


def known(families: list[str]) -> list[str]:
    """Leave out those that came into transformers after the release that is installed."""
    return [family for family in families if family in CONFIG_MAPPING]


def test_enough_families_are_tried() -> None:
    assert len(known(CAUSAL)) >= 50
    assert len(known(WRAPPERS)) >= 18
    assert len(known(STATES)) == len(STATES)
    assert len(known(MASKED)) == len(MASKED)


@pytest.mark.parametrize("family", known(CAUSAL + STATES))
def test_a_causal_family_is_read_as_transformers_reads_it(family: str, tmp_path: Path) -> None:
    found = read_back(family, tmp_path)
    assert found.exact, found
    assert found.unread == ()


@pytest.mark.parametrize("family", known(WRAPPERS))
def test_the_text_model_of_a_family_that_sees_or_hears(family: str, tmp_path: Path) -> None:
    found = read_back(family, tmp_path)
    assert found.exact, found
    assert found.unread


@pytest.mark.parametrize("family", MASKED)
def test_a_masked_family_is_read_as_transformers_reads_it(family: str, tmp_path: Path) -> None:
    found = read_back(family, tmp_path, masked=True)
    assert found.exact, found


def test_the_table_of_the_page_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    zoo = importlib.import_module("zoo")
    stored = json.loads((ROOT / "benchmarks" / "results" / "zoo.json").read_text("utf-8"))
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    assert zoo.table(stored["releases"]) in page
    for rows in stored["releases"].values():
        exact = {row["family"] for row in rows if row.get("exact")}
        assert exact.issuperset({*MASKED, "llama", "qwen2", "llava", "gpt2", "mamba"})
        assert not [row["family"] for row in rows if row["outcome"] == "fault"]
