"""What a folder or a family is that cannot be audited: a refusal names what somebody has, not what is absent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line

FOREIGN = {
    "flax_model.msgpack": "Flax", "tf_model.h5": "TensorFlow", "*.onnx": "ONNX", "onnx/*.onnx": "ONNX",
    "*.tflite": "TensorFlow Lite", "rust_model.ot": "Rust", "openvino_model.xml": "OpenVINO", "*.mlpackage": "Core ML",
}  # fmt: skip
"""Files of weights that only other libraries read."""
DATA = ("*.arrow", "*.parquet", "dataset_info.json", "dataset_dict.json")
TASKS = {
    "RETRIEVAL|ZERO_SHOT_IMAGE": "it compares texts with images",
    "MASK_GENERATION|SEGMENTATION|DETECTION|DEPTH|KEYPOINT|POINTMAP|POSE|NORMAL_ESTIMATION|BACKBONE|FOR_IMAGE|"
    "MASKED_IMAGE|CAUSAL_IMAGE|VIDEO|TEXT_RECOGNITION|TABLE_RECOGNITION": "it works on images",
    "SPEECH|CTC|RNNT|TDT|AUDIO": "it hears",
    "TO_SPECTROGRAM|TO_WAVEFORM": "it speaks",
    "TIME_SERIES": "it predicts series of numbers",
    "CLASSIFICATION|QUESTION_ANSWERING|MULTIPLE_CHOICE|DECISION": "it answers with labels",
    "FOR_TEXT_ENCODING|MODEL_MAPPING": "it has no head that predicts tokens",
}
"""Parts of the names of mappings of `transformers`, and what the families in these do; the first that fits is told."""


def why_no_text(config: Any) -> str:
    """Return what a family is instead of a language model, to be put behind its name."""
    from transformers.models.auto import modeling_auto

    kind = config.model_type
    homes = [name for name in dir(modeling_auto) if name.endswith("MAPPING_NAMES")]
    homes = [name for name in homes if kind in getattr(modeling_auto, name)]
    for parts, task in TASKS.items():
        if any(part in home for part in parts.split("|") for home in homes):
            return f"is no language model for text: {task}"
    return "is no language model for text"


def headless(module: Any, missing: Iterable[str]) -> str:
    """Return what is said of weights that lack nothing but the head: an encoder, a classifier; else nothing."""
    names, body = list(missing), f"{module.base_model_prefix}."
    if not names or any(name.startswith(body) for name in names):
        return ""
    listed = getattr(module.config, "architectures", None) or ["it"]
    return f"{one_line(' '.join(map(str, listed)), 60)} has no head that predicts tokens: "


def check_is_model(folder: Path) -> None:
    """Refuse a folder that holds something else, by what it holds.

    Raises:
        ModelError: It is a pipeline of diffusers, or has no ``config.json``.
    """
    if (folder / "model_index.json").is_file():
        raise ModelError(f"{folder}: a pipeline of diffusers, which makes images, no language model")
    if (folder / "config.json").exists():
        return
    if (folder / "modules.json").is_file():
        raise ModelError(f"{folder}: an encoder of sentence-transformers, which predicts no tokens")
    if found := next((file.name for pattern in DATA for file in sorted(folder.glob(pattern))), ""):
        raise ModelError(f"{folder}: a data set ({found}), no model", "give it to --train or --heldout")
    if any(folder.glob("tokenizer*")):
        raise ModelError(f"{folder / 'config.json'}: no such file", "a tokenizer alone is no model")


def other_weights(folder: Path) -> str:
    """Return whose weights a folder holds where it has none that are read here; empty where it holds none at all."""
    return next((library for pattern, library in FOREIGN.items() if any(folder.glob(pattern))), "")
