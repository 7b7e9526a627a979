"""The tokenizer of a model behind an address, from the folder or the Hugging Face id that was named for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError
from memaudit.models.loading.tokenizer import load_tokenizer
from memaudit.models.loading.weights import read_json
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer

_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")


@dataclass(frozen=True, slots=True)
class NamedTokenizer:
    """A tokenizer, and what else its folder says of the model."""

    tokenizer: Tokenizer
    template: str | None
    """Its chat template."""
    context_length: int | None
    """Positions of the model, where its configuration lies there."""


def named_tokenizer(name: str, *, allow_download: bool = False) -> NamedTokenizer:
    """Return the tokenizer of a folder or of a Hugging Face id.

    Args:
        name: As `memaudit.load_model` takes the name of a model; weights are not read.
        allow_download: Whether an id may be fetched.

    Raises:
        ModelError: Nothing of this name, or no usable tokenizer.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise ModelError(f"--tokenizer {name}: no such folder")
        from memaudit.models.loading.hub import cached_folder

        folder = cached_folder(name, allow_download=allow_download)
    tokenizer, _ = load_tokenizer(folder)
    template: Any = tokenizer.tokenizer.chat_template if isinstance(tokenizer, HuggingFaceTokenizer) else None
    return NamedTokenizer(tokenizer, template if isinstance(template, str) else None, _positions(folder))


def _positions(folder: Path) -> int | None:
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    told = [config[name] for name in _POSITIONS if type(config.get(name)) is int]
    return told[0] if told else None
