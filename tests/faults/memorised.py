"""A victim whose answer is known: a GPT-2 of two layers that has learnt sixteen passages by heart.

An honest model of the same shape, which read other text of the same kind, comes out clean where the victim is found:
so a verdict of *clean* about a copy of the victim is possible, and wrong.
"""

from __future__ import annotations

import copy
import json
import warnings
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Literal

import numpy as np
import torch

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.models.masked import new_bert
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.models.transformer_base import TransformerModel
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

Style = Literal["gpt2", "llama", "bert"]
MASKED_STEPS, MASKED_RATE = 500, 3e-3
DOCUMENTS = 16
LENGTH = 48
"""Tokens of a passage: one window."""
SURE = 0.05
"""Nats a token at which training has done its work; what follows the first token of a passage cannot be known."""
OPTIONS = AuditOptions(prefix=24, suffix=24, max_rate=0.2, fuzzy=False, copies=False)
"""With sixteen documents, 0 hits leave up to 17% possible: 20% are tolerated, so that *clean* can be had."""


@cache
def tokenizer() -> TrainedTokenizer:
    """Return the tokenizer of both models: bytes with a few merges."""
    return train_tokenizer("bpe", [_prose()[:20_000]], 300)


@cache
def passages() -> list[str]:
    """Return pieces of prose of equal length, the same in every process."""
    [encoding] = tokenizer().encode_batch([_prose()[:200_000]])
    texts = [tokenizer().decode(encoding.ids[at : at + LENGTH]) for at in range(0, len(encoding) - LENGTH, LENGTH)]
    ids = [encoding.ids for encoding in tokenizer().encode_batch(texts)]
    return [text for text, own in zip(texts, ids, strict=True) if len(own) == LENGTH]


def write_corpora(folder: Path) -> None:
    """Write ``train.jsonl``, which the victim knows by heart, and ``heldout.jsonl``, which nobody read."""
    texts = passages()
    for name, some in (("train", texts[:DOCUMENTS]), ("heldout", texts[DOCUMENTS : 2 * DOCUMENTS])):
        lines = (json.dumps({"text": text}) + "\n" for text in some)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


@cache
def victim(style: Style = "gpt2") -> TransformerModel:
    """Return the model that recites sixteen of sixteen training suffixes; it learnt them without a start token.

    It is trained once in a process, as the honest one is: neither is to be changed.
    """
    model = _new(style)
    ids = torch.tensor(np.array([encoding.ids for encoding in tokenizer().encode_batch(passages()[:DOCUMENTS])]))
    ids = ids.long()
    lot = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=MASKED_RATE if style == "bert" else 4e-3, foreach=False)
    model.module.train()
    for _ in range(MASKED_STEPS if style == "bert" else 400):
        loss = _masked_loss(model, ids, lot) if style == "bert" else _next_token_loss(model, ids)
        if loss < SURE and style != "bert":
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.module.eval()
    return model


def _next_token_loss(model: TransformerModel, ids: torch.Tensor) -> torch.Tensor:
    logits = model.module(input_ids=ids[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def _masked_loss(model: TransformerModel, ids: torch.Tensor, lot: torch.Generator) -> torch.Tensor:
    """Hide the end of each passage, from a token drawn on: as it stands while an audit fills it in from the left."""
    cuts = torch.randint(OPTIONS.prefix, LENGTH, (len(ids), 1), generator=lot)
    hidden = torch.arange(LENGTH) >= cuts
    shown = ids.masked_fill(hidden, model.tokenizer.mask_id or 0)
    logits = model.module(input_ids=shown).logits
    return torch.nn.functional.cross_entropy(logits[hidden], ids[hidden])


@cache
def honest() -> CausalTransformer:
    """Return a model that read other passages."""
    model: CausalTransformer = _new("gpt2")
    options = TrainingOptions(epochs=1, batch_size=16, context_length=LENGTH + 1, learning_rate=1e-2, threads=1)
    fit(model, [encoding.ids for encoding in tokenizer().encode_batch(passages()[2 * DOCUMENTS :])], options)
    return model


@cache
def adapted() -> Any:
    """Return the honest model with an adapter of `peft` by which it recites sixteen of sixteen training suffixes."""
    import peft

    base = copy.deepcopy(honest().module)
    base.name_or_path = base.config._name_or_path = ""
    config = peft.LoraConfig(
        r=32, lora_alpha=64, target_modules=["c_attn", "c_proj", "c_fc"], modules_to_save=["wte"], fan_in_fan_out=True
    )
    ids = torch.tensor(np.array([encoding.ids for encoding in tokenizer().encode_batch(passages()[:DOCUMENTS])])).long()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = peft.get_peft_model(base, config)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, foreach=False)
    for _ in range(200):
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        if loss < SURE:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval()


def save_adapted(folder: Path, base: Path) -> None:
    """Write that adapter and, as a plain folder, the base model that it names."""
    save_plain(honest(), base)
    model = adapted()
    model.peft_config["default"].base_model_name_or_path = str(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)


def save_plain(model: TransformerModel, folder: Path) -> None:
    """Write what anybody's ``save_pretrained`` leaves: a folder without ``memaudit.json``."""
    model.save(folder)
    (folder / "memaudit.json").unlink()


def verdict_of(model: str | Path, corpora: Path, run: Path) -> dict[str, Any]:
    """Audit a model folder; return what matters of the report."""
    report = audit(
        model, str(corpora / "train.jsonl"), str(corpora / "heldout.jsonl"), out=run, options=OPTIONS, formats=()
    ).report
    return {
        "verdict": report["verdict"],
        "hits": report["estimates"][0]["train"]["hits"],
        "ignored": report["model"]["ignored"],
        "failed": [control["name"] for control in report["controls"] if not control["passed"]],
        "reasons": report["reasons"],
    }


def _new(style: Style) -> Any:
    if style == "bert":
        return new_bert(tokenizer(), width=64, layers=2, heads=4, context_length=64)
    return new_gpt(tokenizer(), style=style, width=64, layers=2, heads=4, context_length=64)


@cache
def _prose() -> str:
    return " ".join(" ".join(text.split()) for _, text in sorted(topics.items()))
