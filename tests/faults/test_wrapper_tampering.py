"""Folders of models that see, altered: read as before where only a tower is touched, else refused soon and by name."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from memaudit.models.loading.load import load_model
from memaudit.records import Window
from tests.faults.isolation import isolated
from tests.models.loading.test_wrappers import saved

SECONDS, MEBIBYTES, LONGEST = 10, 1024, 300
Change = Callable[[Path], None]


def config(**changes: Any) -> Change:
    """Change keys of the configuration; two underscores lead into a section."""

    def change(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        for path, value in changes.items():
            *outer, last = path.split("__")
            inner = content
            for key in outer:
                inner = inner[key]
            inner[last] = value
        (folder / "config.json").write_text(json.dumps(content))

    return change


def nested(folder: Path) -> None:
    whole = (folder / "config.json").read_text().rstrip().removesuffix("}")
    (folder / "config.json").write_text(whole + ', "more": ' + "[" * 100_000 + "]" * 100_000 + "}")


def infinite(folder: Path) -> None:
    nested(folder)
    content = (folder / "config.json").read_text()
    (folder / "config.json").write_text(content.replace("{", '{"bound": Infinity,', 1))


def tower_of(values: int) -> Change:
    """Let the file declare a tensor of a tower with so many values, which takes no room on the disk."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header, end = json.loads(data[8 : 8 + length]), len(data) - 8 - length
        more = {"dtype": "F32", "shape": [values], "data_offsets": [end, end + 4 * values]}
        text = json.dumps(header | {"model.vision_tower.more": more}).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
        os.truncate(file, 8 + len(text) + end + 4 * values)

    return change


def tensors(change: Callable[[dict[str, Any]], Any]) -> Change:
    def changed(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", {"format": "pt"})

    return changed


def of_towers(held: dict[str, Any]) -> list[str]:
    return [name for name in held if "vision_tower" in name]


CASES: dict[str, tuple[str, Change]] = {
    "tower of NaN": ("read", tensors(lambda held: [held[name].fill_(float("nan")) for name in of_towers(held)])),
    "no tower": ("read", tensors(lambda held: [held.pop(name) for name in of_towers(held)])),
    "a tensor more in the tower": ("read", tensors(lambda held: held.update({"vision_tower.x": held["lm_head.weight"]})
                                                   if "lm_head.weight" in held else None)),
    "tower of 2^40 values": ("refused", tower_of(2**40)),
    "tower of 20 GiB": ("refused", tower_of(5 * 2**30)),
    "a tower of a million layers": ("refused", config(vision_config__num_hidden_layers=10**6)),
    "a tower of a million million features": ("refused", config(vision_config__hidden_size=10**12)),
    "a text model of a million layers": ("refused", config(text_config__num_hidden_layers=10**6)),
    "a vocabulary of 10^12": ("refused", config(text_config__vocab_size=10**12)),
    "the text model is a tower": ("refused", config(text_config={"model_type": "vit"})),
    "the text model has an encoder": ("refused", config(text_config={"model_type": "t5"})),
    "the text model is unknown": ("refused", config(text_config={"model_type": "own", "auto_map": {"": "a.B"}})),
    "the text model is another family": ("refused", config(text_config__model_type="gpt_neox")),
    "the text model is itself": ("refused", config(text_config={"model_type": "llava"})),
    "the tower is unknown": ("refused", config(vision_config={"model_type": "own"})),
    "no text model": ("refused", config(text_config=None, vision_config=7)),
    "nested": ("refused", nested),
    "nested, with an infinity": ("refused", infinite),
    "no weights of the text model": ("refused", tensors(
        lambda held: [held.pop(name) for name in list(held) if name not in of_towers(held)])),
    "kernels": ("read", config(text_config___attn_implementation="a/b", vision_config__attn_implementation="c/d")),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = saved("llava", tmp_path_factory.mktemp("whole"))
    asked(folder)  # what is imported on first use is there before any child is watched
    return folder


def asked(folder: Path) -> list[float]:
    window = Window(np.arange(3, 9, dtype=np.int32), np.arange(40, 50, dtype=np.int32))
    return [float(value) for value in load_model(str(folder)).score([window]).log_prob]


@pytest.mark.parametrize("name", CASES)
def test_an_altered_copy_is_read_right_or_refused(name: str, whole: Path, tmp_path: Path) -> None:
    expected, change = CASES[name]
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    change(folder)
    outcome = isolated(lambda: asked(folder), 3 * SECONDS)
    assert outcome.exit_code == {"read": 0, "refused": 2}[expected], outcome.message
    if expected == "read":
        assert outcome.value == asked(whole)
    else:
        message = outcome.message.replace(str(folder), "")
        assert "\n" not in message
        assert len(message) <= LONGEST
    assert outcome.reached == ()
    assert outcome.seconds <= SECONDS
    assert outcome.mebibytes <= MEBIBYTES
