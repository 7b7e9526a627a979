"""Models that see or hear beside reading: their text model, without their towers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.load import load_model
from memaudit.models.loading.wrappers import thinker_of, with_text_settings
from memaudit.records import TokenScores, Window
from tests.models.zoo import BYTES, new_module

WINDOW = Window(np.arange(3, 9, dtype=np.int32), np.arange(40, 50, dtype=np.int32))
Tensors = dict[str, torch.Tensor]


def saved(family: str, folder: Path) -> Path:
    with quiet_transformers():
        new_module(family).save_pretrained(folder)
    BYTES.save(folder)
    return folder


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture
def folder(llava: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llava, tmp_path / "copy"))


def changed(folder: Path, change: Callable[[Tensors], Tensors | None]) -> Path:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file(change(tensors) or tensors, file, {"format": "pt"})
    return folder


def scores(folder: Path) -> TokenScores:
    return load_model(str(folder)).score([WINDOW])


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_settings_of_a_text_model_stand_beside_those_of_the_whole() -> None:
    raw = {"a": 1, "thinker_config": {"b": 2, "text_config": {"a": 3, "c": 4}}}
    settings = with_text_settings(raw)
    assert (settings["a"], settings["b"], settings["c"]) == (1, 2, 4)
    assert with_text_settings({"a": 1, "text_config": 5}) == {"a": 1, "text_config": 5}
    assert thinker_of(BYTES) is BYTES


def test_towers_are_listed_and_neither_held_nor_read(llava: Path, folder: Path) -> None:
    model = load_model(str(llava))
    towers = [line for line in model.ignored if line.endswith("not read")]
    assert towers == ["weights: model.multi_modal_projector (4 tensors), not read",
                      "weights: model.vision_tower (39 tensors), not read"]  # fmt: skip
    kept = [name for name, _ in model.module.named_parameters()]
    assert kept
    assert all(name.startswith(("model.language_model.", "lm_head.")) for name in kept)

    def damage(tensors: Tensors) -> None:
        for name in tensors:
            if name.startswith(("vision_tower", "model.vision_tower")):
                tensors[name].fill_(float("nan"))

    assert np.array_equal(scores(changed(folder, damage)).log_prob, model.score([WINDOW]).log_prob)


@pytest.mark.parametrize("layout", ["language_model.model.", "model.language_model."])
def test_names_of_every_layout(llava: Path, folder: Path, layout: str) -> None:
    def rename(tensors: Tensors) -> Tensors:
        head = "language_model.lm_head." if layout == "language_model.model." else "lm_head."
        outer = "" if layout == "language_model.model." else "model."
        new = {}
        for name, tensor in tensors.items():
            if "lm_head" in name:
                new[f"{head}weight"] = tensor
            elif text := re.fullmatch(r"(?:model\.)?language_model\.(?:model\.)?(.*)", name):
                new[layout + text[1]] = tensor
            else:
                new[outer + name.removeprefix("model.")] = tensor
        return new

    expected = scores(llava)
    model = load_model(str(changed(folder, rename)))
    assert np.array_equal(model.score([WINDOW]).log_prob, expected.log_prob)
    assert sum("not read" in line for line in model.ignored) == 2


def test_a_missing_or_additional_tensor_of_the_text_model_is_named(folder: Path, llava: Path, tmp_path: Path) -> None:
    def without(tensors: Tensors) -> None:
        tensors.pop(next(name for name in tensors if "layers.1.mlp.up_proj" in name and "language_model" in name))

    assert "1 tensors missing, first: model.language_model.layers.1.mlp.up_proj.weight" in refused(
        changed(folder, without)
    )
    other = Path(shutil.copytree(llava, tmp_path / "other"))
    more = changed(other, lambda tensors: tensors.update({"language_model.model.extra.weight": torch.ones(2)}))
    assert "1 tensors unexpected, first: " in (message := refused(more))
    assert "language_model.extra.weight" in message


def test_without_a_text_model_nothing_is_read(folder: Path) -> None:
    towers = changed(folder, lambda t: {name: value for name, value in t.items() if "language_model" not in name})
    assert "which the weights cannot fill" in refused(towers)


def test_damage_to_the_text_model_is_named(folder: Path) -> None:
    def damage(tensors: Tensors) -> None:
        name = next(name for name in tensors if "layers.0.mlp.up_proj" in name and "language_model" in name)
        tensors[name].view(-1)[0] = float("nan")

    message = refused(changed(folder, damage))
    assert "layers.0.mlp.up_proj.weight has 1 non-finite value" in message


def test_end_tokens_and_decoding_rules_of_the_text_model_are_seen(folder: Path) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config"] |= {"repetition_penalty": 5.0, "eos_token_id": BYTES.eos_id}
    config.pop("eos_token_id", None)
    file.write_text(json.dumps(config))
    model = load_model(str(folder))
    assert "config.json: repetition_penalty=5.0" in model.ignored
    assert model.named_ends == (BYTES.eos_id,)


def test_a_prompt_that_is_read_in_both_directions_is_refused(tmp_path: Path) -> None:
    assert "predicts a token from the tokens after it" in refused(saved("paligemma", tmp_path))


def test_what_asks_for_an_image_is_refused(tmp_path: Path) -> None:
    assert "does not read text alone" in refused(saved("idefics", tmp_path))


@pytest.mark.skipif("qwen2_5_omni_thinker" not in CONFIG_MAPPING, reason="not known to this release of transformers")
def test_an_omni_model_is_read_by_its_thinker(tmp_path: Path) -> None:
    with quiet_transformers():
        thinker: Any = new_module("qwen2_5_omni_thinker")
        thinker.save_pretrained(tmp_path / "thinker")
        BYTES.save(tmp_path / "thinker")
        BYTES.save(tmp_path / "whole")
    config = json.loads((tmp_path / "thinker" / "config.json").read_text())
    whole = {"model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"], "thinker_config": config}
    (tmp_path / "whole" / "config.json").write_text(json.dumps(whole))
    tensors = load_file(tmp_path / "thinker" / "model.safetensors")
    held = {f"thinker.{name}": tensor for name, tensor in tensors.items()} | {"talker.head.weight": torch.ones(3)}
    save_file(held, tmp_path / "whole" / "model.safetensors", {"format": "pt"})
    model = load_model(str(tmp_path / "whole"))
    assert np.array_equal(model.score([WINDOW]).log_prob, scores(tmp_path / "thinker").log_prob)
    assert "weights: talker (1 tensors), not read" in model.ignored
