"""Settings of a model folder: what describes the model is used, what would steer code or decoding is listed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.weights import read_json
from memaudit.text.tokenize import Tokenizer, special_ids

NOT_CONFIGURATION = re.compile(r"auto_map|custom_pipelines|_?attn_implementation\w*|_?experts_implementation\w*")
"""Keys that would fetch code or kernels instead of describing the model."""
LABELS = {"num_labels", "id2label", "label2id", "problem_type", "task_specific_params"}
"""Keys about a classifier, which no language model here has."""
HARMLESS = {"transformers_version", "_from_model_config", "use_cache", "return_dict", "output_scores"}
INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}
NAMES_OF_TOKENS = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
"""Which id is called what; only a list of them, or a forced one, is a rule for decoding."""


def read_settings(file: Path) -> dict[str, Any]:
    """Read a configuration as `transformers` does, where an infinity may stand: tagged, or bare as in no other JSON.

    Raises:
        ModelError: No such file, or not a JSON object.
    """
    if file.is_file() and b"Infinity" in (content := file.read_bytes()):
        try:
            read = _numbers(json.loads(content, parse_constant=_infinity))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{file}: not valid JSON: {one_line(str(error), 150)}") from None
        if isinstance(read, dict):
            return read
    return read_json(file)


def _infinity(name: str) -> float:
    if name not in INFINITIES:
        raise ValueError(f"{name} is no number")
    return INFINITIES[name]


def _numbers(read: Any) -> Any:
    if isinstance(read, dict):
        tagged = read.get("__float__") if len(read) == 1 else None
        if isinstance(tagged, str) and tagged in INFINITIES:
            return INFINITIES[tagged]
        return {key: _numbers(value) for key, value in read.items()}
    return [_numbers(value) for value in read] if isinstance(read, list) else read


def refuse_code(file: Path, raw: dict[str, Any]) -> None:
    """Refuse a model that only code of its own could read."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        reason = "needs code of its own" if "auto_map" in raw else "is not known to transformers"
        raise ModelError(f"{file}: model_type {one_line(repr(kind), 60)} {reason}", "load it through python:")


def configuration(file: Path, raw: dict[str, Any], ignored: list[str]) -> Any:
    """Build the configuration from the keys that describe the model; list the others in ``ignored``."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    ignored += [f"{file.name}: {key}" for key in sorted(raw) if NOT_CONFIGURATION.fullmatch(key)]
    try:
        with quiet_transformers():
            config: Any = CONFIG_MAPPING[raw["model_type"]].from_dict(_describing(raw))
    except Exception as error:  # validation errors of several libraries
        raise ModelError(f"{file}: not a configuration: {one_line(str(error), 150)}") from None
    return config


def _describing(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {k: _describing(v) for k, v in raw.items() if not NOT_CONFIGURATION.fullmatch(k) and k not in LABELS}
    return [_describing(value) for value in raw] if isinstance(raw, list) else raw


def generation_of(folder: Path) -> dict[str, Any]:
    """Return the settings of ``generate`` in a folder, if any."""
    file = folder / "generation_config.json"
    return read_settings(file) if file.is_file() else {}


def decoding_settings(config: Mapping[str, Any], generation: Mapping[str, Any]) -> list[str]:
    """List what a configuration, and that of ``generate``, would change about decoding."""
    import transformers

    defaults: Any = transformers.GenerationConfig
    names = set(defaults().to_dict()) - HARMLESS
    found = [("config.json", key, value) for key, value in config.items()]
    found += [("generation_config.json", key, value) for key, value in generation.items()]
    names |= set(generation) - HARMLESS
    settings = [
        (where, key, value)
        for where, key, value in found
        if key in names and value is not None and not (key in NAMES_OF_TOKENS and isinstance(value, int))
    ]
    return [one_line(f"{where}: {key}={value}", 120) for where, key, value in settings if value is not False]


def named_ends(settings: Iterable[Mapping[str, Any]], tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the end tokens that a model's settings name: special tokens alone, an ordinary word ends no text.

    They define which tokens end a text; decoding is unaffected.
    """
    named = [each.get("eos_token_id") for each in settings]
    ids = {each for some in named for each in (some if isinstance(some, list) else [some]) if type(each) is int}
    return tuple(sorted(ids & special_ids(tokenizer)))
