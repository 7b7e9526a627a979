from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from memaudit.errors import InputError, ModelError
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models import screening
from memaudit.models.screening import AGREES, DIFFERS, UNSURE, is_choice, is_clear
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
SIZE = BYTES.vocab_size
SMALL: dict[str, Any] = {"width": 32, "layers": 2, "heads": 2, "context_length": 48}
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "vocab_size": SIZE, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
GROUPED = SHAPE | {"num_key_value_heads": 1}
SPLIT: dict[str, dict[str, Any]] = {
    "GPT2Config": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": SIZE},
    "LlamaConfig": GROUPED,
    "GPTNeoXConfig": SHAPE,
    "GPTNeoConfig": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": SIZE, "window_size": 4,
                     "attention_types": [[["global", "local"], 1]]},
    "OPTConfig": {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                  "word_embed_proj_dim": 16, "vocab_size": SIZE},
    "MistralConfig": GROUPED | {"sliding_window": 5},
    "Qwen2Config": GROUPED,
    "GemmaConfig": GROUPED | {"head_dim": 16},
    "Gemma2Config": GROUPED | {"head_dim": 16, "sliding_window": 5},
    "Gemma3TextConfig": GROUPED | {"head_dim": 16, "sliding_window": 5},
    "PhiConfig": SHAPE,
    "MixtralConfig": GROUPED | {"num_local_experts": 2},
    "BloomConfig": {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": SIZE},
    "MptConfig": {"d_model": 32, "n_layers": 2, "n_heads": 2, "vocab_size": SIZE, "max_seq_len": 64},
    "FalconConfig": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": SIZE},
}  # fmt: skip
WHOLE: dict[str, dict[str, Any]] = {
    "MambaConfig": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": SIZE},
    "RwkvConfig": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": SIZE},
}


def family(name: str) -> CausalTransformer:
    """A tiny model of a family, with random weights that make distributions far from uniform."""
    module = AutoModelForCausalLM.from_config(getattr(transformers, name)(**(SPLIT | WHOLE)[name]))
    return CausalTransformer(spread(module), BYTES)


def spread(module: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3, generator=generator)
    return module


def gpt() -> CausalTransformer:
    model = new_gpt(BYTES, **SMALL)
    spread(model.module)
    return model


def planted(model: CausalTransformer, count: int = 24, longest: int = 14) -> tuple[list[Window], list[int]]:
    """Windows of all lengths that agree with greedy decoding up to a place drawn by lot, and that place.

    Prefixes are of 0 to 9 tokens, most of length 6, and some stand before several suffixes.
    """
    rng = np.random.default_rng(0)
    windows, places = [], []
    prefixes = [rng.integers(3, 259, length, dtype=np.int32) for length in [0, 1, 6, 6, 6, 6, 6, 6, 9, 9]]
    own = {length: model.continuations([p for p in prefixes if len(p) == length], longest) for length in (0, 1, 6, 9)}
    for number in range(count):
        prefix = prefixes[number % len(prefixes)]
        row = sum(p is not prefix and len(p) == len(prefix) for p in prefixes[: number % len(prefixes)])
        suffix = own[len(prefix)][row][: rng.integers(1, longest + 1)].copy()
        place = int(rng.integers(0, len(suffix) + 1))
        if place < len(suffix):
            suffix[place] = 3 + (suffix[place] + rng.integers(1, 200)) % 256
            suffix[place + 1 :] = rng.integers(3, 259, len(suffix) - place - 1)
        windows.append(Window(prefix, suffix))
        places.append(int(np.argmin(np.append(suffix == own[len(prefix)][row][: len(suffix)], False))))
    return windows, places


def by_score(model: CausalTransformer, windows: list[Window]) -> list[int]:
    return [matched_tokens(scores.rank) for scores in model.score(windows)]


@pytest.mark.parametrize("name", [*SPLIT, *WHOLE])
def test_every_family_screens_as_it_scores(name: str) -> None:
    model = family(name)
    windows, places = planted(model)
    assert model.screen(windows).tolist() == by_score(model, windows) == places
    assert {"none", "some", "all"} == {
        "none" if not n else "all" if n == len(w.suffix) else "some" for n, w in zip(places, windows, strict=True)
    }
    assert (model.reader() is not None) == (name in SPLIT)


@pytest.mark.parametrize(("tokens", "space"), [(1, 1), (7, 20_000), (40, 60_000), (1000, 1 << 30)])
def test_batches_and_bounds_change_nothing(monkeypatch: pytest.MonkeyPatch, tokens: int, space: int) -> None:
    model = gpt()
    windows, places = planted(model, count=60)
    monkeypatch.setitem(screening.READ_TOKENS, "cpu", tokens)
    monkeypatch.setitem(screening.CACHE_BYTES, "cpu", space)
    assert model.screen(windows).tolist() == places
    shuffled = np.random.default_rng(1).permutation(len(windows))
    assert model.screen([windows[i] for i in shuffled]).tolist() == [places[i] for i in shuffled]


def test_caches_alive_together_stay_within_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gpt()
    [own] = model.continuations([np.array([70], np.int32)], 10)
    windows = [Window(np.array([70], np.int32), own)] * 50
    alive: list[int] = []
    merged = screening.merged

    def counted(caches: Any) -> Any:
        result = merged(caches)
        alive.append(result.layers[0].keys.shape[0])
        return result

    monkeypatch.setattr(screening, "merged", counted)
    row = 2 * 2 * 32 * 4 * (2 + 10)  # layers, keys and values, width, bytes, tokens
    monkeypatch.setitem(screening.CACHE_BYTES, "cpu", 7 * row)
    assert model.screen(windows).tolist() == [10] * 50
    assert 7 <= max(alive) < 14


class Counted:
    """Stands for a body or head and counts the positions that it is asked for."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.positions, self.forward = inner, 0, getattr(inner, "forward", None)

    def __call__(self, *states: Any, **inputs: Any) -> Any:
        self.positions += len(states[0]) if states else inputs["input_ids"].numel()
        return self.inner(*states, **inputs)


def test_only_what_decides_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gpt()
    model.reader()  # tries the cache once
    prompts = [np.array([70 + i, 80, 81], np.int32) for i in range(5)]
    own = model.continuations(prompts, 12)
    different = [Window(p, np.where(g == 9, 10, 9).astype(np.int32)) for p, g in zip(prompts, own, strict=True)]
    same = [Window(p, g) for p, g in zip(prompts, own, strict=True)]
    for windows, read, asked in (
        (different, 5 * 4, 5),  # the prefix and its start token; one position each
        (different * 3, 5 * 4, 15),  # a prefix shared by three windows
        (same, 5 * (4 + 11), 5 * 12),  # everything but the last token, once
    ):
        body, head = Counted(model._body), Counted(model._head)
        monkeypatch.setattr(model, "_body", body)
        monkeypatch.setattr(model, "_head", head)
        model.screen(windows)
        monkeypatch.undo()
        assert (body.positions, head.positions) == (read, asked)


def test_equal_maxima_go_to_the_smaller_id() -> None:
    model = new_gpt(BYTES, **SMALL)
    with torch.no_grad():
        model.module.transformer.wte.weight[20] = model.module.transformer.wte.weight[10] = 0.0
        model.module.transformer.wte.weight[10, 0] = model.module.transformer.wte.weight[20, 0] = 9.0
        model.module.transformer.ln_f.bias[0] = 9.0
    prompt = np.array([5, 6], np.int32)
    windows = [Window(prompt, np.array(s, np.int32)) for s in ([10, 10], [20, 10], [10, 20], [10, 5])]
    assert model.screen(windows).tolist() == by_score(model, windows) == [2, 0, 1, 1]


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 1000), st.sampled_from([torch.float32, torch.bfloat16]))
def test_choice_is_the_first_maximum(rows: int, size: int, seed: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(seed)
    values, true = rng.integers(0, 4, (rows, size)), rng.integers(0, size, rows)
    logits = torch.tensor(values, dtype=dtype)
    chosen = [row.tolist().index(max(row)) == t for row, t in zip(values, true, strict=True)]
    assert is_choice(logits, torch.tensor(true)).tolist() == chosen
    for margin in (0.0, 0.5, 1.0, 2.5):
        leads = [row[t] - max(np.delete(row, t), default=-np.inf) for row, t in zip(values, true, strict=True)]
        judged = [AGREES if lead > margin else DIFFERS if lead < -margin else UNSURE for lead in leads]
        assert is_clear(logits, torch.tensor(true), margin).tolist() == judged


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    logits = torch.zeros(2, 5)
    logits[1, 3] = bad
    for judge in (is_choice, lambda *given: is_clear(*given, 1.0)):
        with pytest.raises(ModelError, match="1 non-finite logits"):
            judge(logits, torch.tensor([0, 0]))
    model = gpt()
    with torch.no_grad():
        model.module.transformer.ln_f.bias[0] = bad
    with pytest.raises(ModelError, match="non-finite logits"):
        model.screen([Window(np.array([4], np.int32), np.array([5], np.int32))])


def test_what_cannot_be_screened_is_said() -> None:
    model = gpt()
    long = np.full(30, 5, np.int32)
    assert model.screen([]).shape == (0,)
    assert model.screen([Window(long, long[:0])]).tolist() == [0]
    model.screen([Window(long, long[:18])])
    with pytest.raises(InputError, match="needs 49 positions"):
        model.screen([Window(long, long[:19])])
    with pytest.raises(InputError, match="token id 259"):
        model.screen([Window(long, np.array([259], np.int32))])
    model.tokenizer = train_tokenizer("byte", [])
    model.tokenizer.bos_id = None
    with pytest.raises(InputError, match="nothing precedes the suffix"):
        model.screen([Window(long[:0], long[:2])])


@pytest.mark.parametrize("name", ["is_plain", "merged"])
def test_a_cache_that_cannot_be_gathered_is_scored(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = gpt()
    windows, places = planted(model)
    if name == "is_plain":
        monkeypatch.setattr("memaudit.models.caches.is_plain", lambda _: False)
    else:  # one that loses the order of its rows
        monkeypatch.setattr("memaudit.models.caches.merged", lambda caches: screening.merged(caches[::-1]))
    assert model.reader() is None
    assert model.screen(windows).tolist() == places
