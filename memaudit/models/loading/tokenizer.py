"""Tokenizers of model folders, and whether one fits the weights beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, TrainedTokenizer


def load_tokenizer(folder: Path, config: Any = None) -> tuple[Tokenizer, int | None]:
    """Return the folder's tokenizer and the id that it puts after a text, if any.

    Args:
        folder: Of the model.
        config: Of the model as we read it; without it, transformers would read the folder's for itself.
    """
    if (folder / "memaudit.json").is_file():
        return TrainedTokenizer.load(folder), None
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), config=config, trust_remote_code=False, local_files_only=True
            )
            closing = closing_id(tokenizer)
    except Exception as error:  # tokenizers and its many readers raise bare Exception
        reason = one_line(" ".join(str(error).split()), 120)
        hint = "" if (folder / "tokenizer.json").is_file() else "is tokenizer.json missing?"
        raise ModelError(f"{folder}: no usable tokenizer: {reason}", hint) from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"{folder}: no usable tokenizer: it has no vocabulary", "is tokenizer.json missing?")
    return HuggingFaceTokenizer(tokenizer), closing


def closing_id(tokenizer: Any) -> int | None:
    """Return the id that a tokenizer of ``transformers`` puts after a text, if any."""
    ends: list[int] = tokenizer.encode("a")[-1:]
    return ends[0] if ends and ends[0] in tokenizer.all_special_ids else None


def check_fit(name: str, module: Any, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer with more tokens than a module has embeddings."""
    rows = module.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:
        raise ModelError(
            f"{name}: its tokenizer has {tokenizer.vocab_size} tokens, its embedding only {rows}",
            "tokenizer and weights are of different models",
        )
