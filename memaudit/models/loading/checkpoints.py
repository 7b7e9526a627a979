"""Checkpoints that a trainer saved: ``run/checkpoint-500`` beside others, with the state of the training in it.

What the training needs to go on (`STATE`) is no part of the model and is never read, but for the step in
``trainer_state.json``. A tokenizer is often saved once, in the folder above.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from memaudit.errors import ModelError

CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")
TRAINER_STATE = "trainer_state.json"
STATE = re.compile(r"(optimizer|scheduler|scaler|training_args|rng_state(_\d+)?|lr_scheduler)\.(pt|pth|bin)")
"""Files of a training that are never read."""
LARGEST_STATE = 8 << 20
"""Bytes of ``trainer_state.json``, which holds a log, in which the step is looked for."""
_MODELS = ("config.json", "adapter_config.json", "memaudit.json")
_WORDS = frozenset(
    {
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
        *("merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
        *("chat_template.jinja", "chat_template.json"),
    }
)
"""Files of a tokenizer."""
_WHOLE = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""Those of which one shows that there is a tokenizer."""


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in _WHOLE)


def tokenizer_folder(folder: Path) -> Path:
    """Return where the tokenizer of a model is: its own folder, or for a checkpoint without one the folder above."""
    whole = folder.resolve()  # a link may be called otherwise: latest
    borrows = CHECKPOINT.fullmatch(whole.name) and not has_tokenizer(folder) and has_tokenizer(whole.parent)
    return whole.parent if borrows else folder


def borrowed_files(folder: Path) -> list[Path]:
    """Return the files of a tokenizer that a checkpoint takes from the folder above; none of other folders."""
    above = tokenizer_folder(folder)
    return [] if above == folder else [file for file in sorted(above.iterdir()) if file.name in _WORDS]


def refuse_run(folder: Path) -> None:
    """Refuse a folder that holds checkpoints and no model of its own.

    Raises:
        ModelError: It is one; which there are, and how to audit them.
    """
    if any((folder / name).is_file() for name in _MODELS):
        return
    steps = sorted(int(found[1]) for path in folder.iterdir() if (found := CHECKPOINT.fullmatch(path.name)))
    if not steps:
        return
    few = [f"checkpoint-{step}" for step in (steps if len(steps) <= 6 else [*steps[:3], *steps[-2:]])]
    names = ", ".join([*few[:3], "...", *few[3:]] if len(steps) > 6 else few)
    there = f"{len(steps)} checkpoints" if len(steps) > 1 else "a checkpoint"
    raise ModelError(
        f"{folder}: holds no model of its own but {there}: {names}",
        f"name one of them, {folder}/{few[-1]}, or audit all with {folder}/checkpoint-*",
    )


def logged_step(folder: Path) -> int | None:
    """Return the step that a trainer noted beside its checkpoint; None where there is none."""
    file = folder / TRAINER_STATE
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_STATE:
            return None
        step = orjson.loads(file.read_bytes()).get("global_step")
    except (OSError, ValueError, AttributeError):
        return None
    return step if type(step) is int and 0 <= step < 10**15 else None
