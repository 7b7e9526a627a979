"""What an adapter's folder says of itself: kinds that are known, keys that are known, nothing that runs or runs away.

Names of layers are taken from the names of the adapter's tensors: patterns of a configuration that nobody vetted are
never searched with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.weights import Declared, one_name, read_json

ADAPTER = "adapter_config.json"
STEM = "adapter_model"
ROOT = "base_model.model."
"""Before the name of every tensor of an adapter."""
MERGE = "merge the adapter into its model, where you trust it, and audit that"
_RANKED = frozenset({"r", "rank_pattern", "alpha_pattern"})
_LYCORIS = _RANKED | {"alpha", "use_effective_conv2d"}
_MUTATING = re.compile(r"pissa\w*|olora|corda|loftq|lora_ga", re.IGNORECASE)
"""Ways to begin that change the base weights as well: the adapter alone does not say how."""
_PLAIN = re.compile(r"[\w.\-^$\\|()]{1,200}")
"""A pattern without repetitions, which is searched for in linear time."""
_ECHO = re.compile(r"\.(modules_to_save|original_module)\.")
_SAID_ELSEWHERE = frozenset(
    {
        *("peft_type", "task_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
        *("target_modules", "exclude_modules", "feedforward_modules", "layers_to_transform", "layers_pattern"),
        *("lora_dropout", "rank_dropout", "module_dropout", "rank_dropout_scale"),
        *("init_lora_weights", "init_ia3_weights", "init_weights", "loftq_config", "eva_config", "corda_config"),
        *("lora_ga_config", "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying"),
    }
)
"""Keys about training, about where to begin, or about what the tensors say themselves."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of adapter that can be merged."""

    name: str
    own: re.Pattern[str]
    """Matches the tensors that belong to a layer; the first group is its name."""
    used: frozenset[str]
    """Keys that say how they change the weights of it."""


def _kind(name: str, tensors: str, used: Iterable[str]) -> Kind:
    own = re.compile(rf"{re.escape(ROOT)}(.+?)\.(?:{tensors})(?:\.weight)?")
    return Kind(name, own, frozenset(used) | {"modules_to_save"})


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind(
            "LORA",
            r"lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|lora_B\.bias",
            {*_RANKED, "lora_alpha", "use_rslora", "use_dora", "fan_in_fan_out", "bias", "lora_bias"},
        ),
        _kind("IA3", r"ia3_l", {"fan_in_fan_out"}),
        _kind("LOHA", r"hada_\w+", _LYCORIS),
        _kind("LOKR", r"lokr_\w+", {*_LYCORIS, "decompose_both", "decompose_factor"}),
    )
}


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """A configuration of which every key is known to be harmless."""

    kind: Kind
    used: dict[str, Any]
    """What says how weights are changed."""
    layers: tuple[str, ...]
    """Names of the layers that are changed."""
    saved: tuple[str, ...]
    """Tensors of the file that the base model has too: embeddings, heads, biases."""
    base: str
    """What it names as its base model; may be empty."""
    ignored: tuple[str, ...]

    def in_base(self, name: str) -> str:
        """Return what a saved tensor is called in the base model; the bias of a changed layer lies a step deeper."""
        return name.removeprefix(ROOT).replace(".base_layer.", ".")

    def describe(self) -> str:
        """Say what kind of adapter it is: ``LORA, r=8, use_dora=True``."""
        told = [f"{key}={value}" for key, value in sorted(self.used.items()) if value and not isinstance(value, dict)]
        return one_line(", ".join([self.kind.name, *told]), 160)


def without_echoes(names: Collection[str]) -> list[str]:
    """Return the tensors of a file but for second names, under which `peft` writes resized embeddings once more."""
    return [name for name in names if not ((plain := _ECHO.sub(".", name)) != name and plain in names)]


def named_base(folder: Path) -> str:
    """Return what an adapter names as its base model; ModelError where it names none."""
    named = read_json(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(named, str) or not named.strip():
        raise ModelError(f"{folder / ADAPTER}: names no base model", "give --base MODEL")
    return named


def named_revision(folder: Path) -> str:
    """Return which revision of its base model an adapter names; empty where it names none, or names it with the id.

    Raises:
        ModelError: It is no name.
    """
    content = read_json(folder / ADAPTER)
    revision = content.get("revision")
    if revision is None or "@" in str(content.get("base_model_name_or_path")):
        return ""
    if not isinstance(revision, str) or not revision:
        raise ModelError(f"{folder / ADAPTER}: revision is {one_line(repr(revision), 40)}", "give --base MODEL")
    return revision


def read_settings(folder: Path, declared: Mapping[str, Declared]) -> AdapterSettings:
    """Read the configuration of an adapter beside what its weight file declares.

    Raises:
        ModelError: The kind is not known or cannot be merged, a key is set that is not known, or a value is of the
            wrong type or larger than any tensor.
    """
    file = folder / ADAPTER
    raw = read_json(file)
    kind = KINDS.get(str(raw.get("peft_type")))
    if kind is None:
        raise ModelError(
            f"{file}: peft_type {one_line(repr(raw.get('peft_type')), 60)} is not known or cannot be merged",
            f"known are {', '.join(KINDS)}",
        )
    own = {name: found[1] for name in declared if (found := kind.own.fullmatch(name))}
    if not own:
        raise ModelError(f"{folder}: its weight file holds no tensor of a {kind.name} adapter", MERGE)
    used = {key: value for key, value in raw.items() if key in kind.used and value not in (None, {}, [])}
    _check_keys(file, raw, kind)
    _check_values(file, used, max(side for tensor in declared.values() for side in (*tensor.shape, 1)))
    _check_targets(file, raw.get("target_modules"), set(own.values()))
    foreign = [name for name in declared if not name.startswith(ROOT)]
    if foreign:
        raise ModelError(f"{folder}: tensor {one_name(foreign[0])} is of no adapter", MERGE)
    saved = tuple(sorted(declared.keys() - own.keys()))
    base = raw.get("base_model_name_or_path")
    return AdapterSettings(
        kind, used, tuple(sorted(set(own.values()))), saved, base if isinstance(base, str) else "",
        (f"{ADAPTER}: auto_mapping",) if _names_code(raw.get("auto_mapping")) else (),
    )  # fmt: skip


def _check_keys(file: Path, raw: Mapping[str, Any], kind: Kind) -> None:
    """Refuse keys that would change more than is known here."""
    for key in sorted(raw):
        if raw[key] and key not in kind.used and key not in _SAID_ELSEWHERE and key != "auto_mapping":
            raise ModelError(f"{file}: {one_line(key, 60)} is set, which is not known here", MERGE)
    start = raw.get("init_lora_weights")
    if isinstance(start, str) and _MUTATING.fullmatch(start):
        raise ModelError(f"{file}: init_lora_weights {one_line(start, 40)} changes the base model's weights too", MERGE)


def _check_values(file: Path, used: Mapping[str, Any], largest: int) -> None:
    """Refuse values of the wrong type, and ranks that no tensor of the file has."""

    def wrong(key: str, value: object) -> ModelError:
        return ModelError(f"{file}: {key} is {one_line(repr(value), 60)}, which its weights cannot fill", MERGE)

    for key, value in used.items():
        if key.startswith(("use_", "decompose_both", "fan_", "lora_bias")) and not isinstance(value, bool):
            raise wrong(key, value)
        if key == "r" and not _is_rank(value, largest):
            raise wrong(key, value)
        if key in ("lora_alpha", "alpha", "decompose_factor") and not _is_number(value):
            raise wrong(key, value)
        if key == "bias" and value not in ("none", "all", "lora_only"):
            raise wrong(key, value)
        if key == "modules_to_save" and not (isinstance(value, list) and all(map(_is_name, value))):
            raise wrong(key, value)
        if key.endswith("_pattern"):
            _check_pattern(file, key, value, largest)


def _check_pattern(file: Path, key: str, value: Any, largest: int) -> None:
    if not isinstance(value, dict):
        raise ModelError(f"{file}: {key} is no object", MERGE)
    for pattern, number in value.items():
        fits = _is_rank(number, largest) if key == "rank_pattern" else _is_number(number)
        if not fits or not _PLAIN.fullmatch(pattern):
            raise ModelError(f"{file}: {key} holds {one_line(repr({pattern: number}), 80)}", MERGE)


def _check_targets(file: Path, targets: Any, layers: set[str]) -> None:
    """Refuse a list of layers of which one has no tensor; a pattern is not searched with."""
    for target in targets if isinstance(targets, list) else ():
        if not any(layer == target or layer.endswith(f".{target}") for layer in layers):
            raise ModelError(
                f"{file}: no tensors for {one_line(repr(target), 80)} of target_modules", "download it again"
            )


def _names_code(mapping: object) -> bool:
    """Return whether ``auto_mapping`` names another library than the one whose class `peft` notes there."""
    library = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
    return bool(mapping) and not (isinstance(library, str) and library.startswith("transformers.models."))


def _is_rank(value: object, largest: int) -> bool:
    return type(value) is int and 0 < value <= largest


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(float(value)) < 1e9  # type: ignore[arg-type]


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.]{1,200}", value) is not None
