from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from memaudit.errors import InputError, ModelError
from memaudit.models.body_head import context_length, split_head
from memaudit.models.products import OneDnnProducts
from memaudit.models.transformer import CausalTransformer, MaskedTransformer, new_bert, new_gpt
from memaudit.records import GREEDY, Decoding, TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
SMALL = {"width": 32, "layers": 2, "heads": 2, "context_length": 48}
SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "vocab_size": BYTES.vocab_size, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
GROUPED = SHAPE | {"num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "Gemma2Config": GROUPED | {"head_dim": 16, "sliding_window": 8},
    "CohereConfig": GROUPED,
    "MixtralConfig": GROUPED | {"num_local_experts": 2},
    "GPTNeoXConfig": SHAPE,
    "OPTConfig": {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                  "word_embed_proj_dim": 32, "vocab_size": BYTES.vocab_size},
    "BloomConfig": {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": BYTES.vocab_size},
    "MambaConfig": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": BYTES.vocab_size},
    "RwkvConfig": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": BYTES.vocab_size},
}  # fmt: skip


def ids(*tokens: int) -> TokenIds:
    return np.array(tokens, np.int32)


def windows(seed: int = 0, lengths: tuple[tuple[int, int], ...] = ((5, 4), (0, 3), (9, 2), (5, 4))) -> list[Window]:
    rng = np.random.default_rng(seed)
    return [
        Window(rng.integers(3, 259, a, dtype=np.int32), rng.integers(3, 259, b, dtype=np.int32)) for a, b in lengths
    ]


def spread(module: Any) -> Any:
    """Give random weights that make distributions far from uniform."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3, generator=generator)
    return module


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_causal_scores_equal_plain_log_softmax(style: Any) -> None:
    model = new_gpt(BYTES, style=style, **SMALL)
    spread(model.module)
    for window, scores in zip(windows(), model.score(windows()), strict=True):
        text = torch.tensor([[0, *window.prefix, *window.suffix]])
        with torch.no_grad():
            logits = model.module(input_ids=text).logits[0, -len(window.suffix) - 1 : -1].double()
        log_probs = torch.log_softmax(logits, dim=1)
        true = torch.from_numpy(window.suffix.astype(np.int64))[:, None]
        np.testing.assert_allclose(scores.log_prob, log_probs.gather(1, true)[:, 0], atol=1e-5)
        np.testing.assert_array_equal(scores.rank, (logits > logits.gather(1, true)).sum(1))
        probs = log_probs.exp()
        mean = (probs * log_probs).sum(1)
        np.testing.assert_allclose(scores.mean, mean, atol=1e-5)
        np.testing.assert_allclose(scores.std, ((probs * log_probs**2).sum(1) - mean**2).sqrt(), atol=1e-4)


@pytest.mark.parametrize("style", ["bert", "modernbert"])
def test_masked_scores_hide_exactly_one_token(style: Any) -> None:
    model = new_bert(BYTES, style=style, **SMALL)
    spread(model.module)
    for window, scores in zip(windows(), model.score(windows()), strict=True):
        text = [0, *window.prefix, *window.suffix]
        for place, token in enumerate(window.suffix):
            hidden = list(text)
            hidden[len(text) - len(window.suffix) + place] = BYTES.mask_id
            with torch.no_grad():
                logits = model.module(input_ids=torch.tensor([hidden])).logits[0].double()
            log_probs = torch.log_softmax(logits[len(text) - len(window.suffix) + place], dim=0)
            assert scores.log_prob[place] == pytest.approx(log_probs[token].item(), abs=1e-5)


def test_masked_continuation_fills_from_left_to_right() -> None:
    model = new_bert(BYTES, **SMALL)
    spread(model.module)
    text, masks = [0, 80, 81, 82], 4
    [ours] = model.continuations([ids(80, 81, 82)], masks)
    for left in range(masks, 0, -1):
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([text + [BYTES.mask_id] * left])).logits[0]
        text.append(int(logits[len(text)].argmax()))
    assert ours.tolist() == text[4:]


def test_closing_token_stands_after_the_masks() -> None:
    module = spread(new_bert(BYTES, **SMALL).module)
    [window] = windows(lengths=((4, 1),))
    closed = MaskedTransformer(module, BYTES, closing_id=7).score([window])
    longer = Window(window.prefix, np.append(window.suffix, np.int32(7)))
    assert closed.log_prob[0] == pytest.approx(MaskedTransformer(module, BYTES).score([longer]).log_prob[0], abs=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_causal_family_scores_alone_as_in_a_batch_and_as_it_decodes(name: str) -> None:
    config = getattr(transformers, name)(**FAMILIES[name])
    model = CausalTransformer(spread(AutoModelForCausalLM.from_config(config)), BYTES)
    batch = windows()
    together = model.score(batch)
    alone = np.concatenate([model.score([w]).log_prob for w in batch])
    np.testing.assert_allclose(together.log_prob, alone, atol=1e-4)
    prompts = [w.prefix for w in batch]
    greedy = model.continuations(prompts, 6)
    own = [Window(p, g) for p, g in zip(prompts, greedy, strict=True)]
    assert not model.score(own).rank.any()
    text = torch.tensor([[0, *prompts[0]]])
    with torch.no_grad():
        for _ in range(6):
            logits = model.module(input_ids=text).logits[:, -1]
            text = torch.cat([text, logits.argmax(1, keepdim=True)], dim=1)
    assert greedy[0].tolist() == text[0, -6:].tolist()


@pytest.mark.parametrize("name", ["Gemma2Config", "CohereConfig", "OPTConfig", "MixtralConfig"])
def test_halves_of_families_with_extra_layers_are_the_whole(name: str) -> None:
    module = spread(AutoModelForCausalLM.from_config(getattr(transformers, name)(**FAMILIES[name]))).eval()
    body, head, is_split = split_head(module)
    text = torch.randint(0, 259, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        halves = head(body(input_ids=text).last_hidden_state[:, -2:].flatten(0, 1))
        whole = module(input_ids=text).logits[:, -2:].flatten(0, 1)
    assert is_split
    torch.testing.assert_close(halves, whole, atol=1e-4, rtol=1e-4)


def test_a_family_that_does_not_come_apart_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_gpt(BYTES, **SMALL)
    spread(model.module)
    monkeypatch.setattr("memaudit.models.body_head._halves_fit", lambda *_: False)
    whole = CausalTransformer(model.module, BYTES)
    np.testing.assert_allclose(whole.score(windows()).log_prob, model.score(windows()).log_prob, atol=1e-5)
    prompts = [w.prefix for w in windows()]
    np.testing.assert_array_equal(whole.continuations(prompts, 5), model.continuations(prompts, 5))


def test_greedy_text_equals_generate() -> None:
    model = new_gpt(BYTES, **SMALL)
    spread(model.module)
    prompts = [w.prefix for w in windows(lengths=((6, 1), (6, 1), (3, 1)))]
    ours = model.continuations(prompts, 12)
    for prompt, row in zip(prompts, ours, strict=True):
        text = torch.tensor([[0, *prompt]])
        settings = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
        out = model.module.generate(text, attention_mask=torch.ones_like(text), eos_token_id=None, **settings)
        assert row.tolist() == out[0, -12:].tolist()


@pytest.mark.parametrize("make", [new_gpt, new_bert])
def test_saved_folder_is_a_plain_transformers_folder(make: Any, tmp_path: Path) -> None:
    model = make(BYTES, **SMALL)
    model.save(tmp_path)
    auto = AutoModelForCausalLM if make is new_gpt else AutoModelForMaskedLM
    module = auto.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = tokenizer("a plain sentence", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(module(input_ids=text).logits, model.module(input_ids=text).logits)
    assert tokenizer.decode(text[0]) == "a plain sentence"


def test_context_is_a_limit_that_is_named() -> None:
    model, masked = new_gpt(BYTES, **SMALL), new_bert(BYTES, **SMALL)
    assert model.context_length == masked.context_length == 48
    model.score(windows(lengths=((24, 24),)))
    model.continuations([ids(*range(3, 27))], 24)
    masked.score(windows(lengths=((24, 23),)))
    for too_long in (
        lambda: model.score(windows(lengths=((25, 24),))),
        lambda: model.continuations([ids(*range(3, 28))], 24),
        lambda: masked.score(windows(lengths=((24, 24),))),
        lambda: masked.continuations([ids(*range(3, 27))], 24),
    ):
        with pytest.raises(InputError, match="needs 49 positions, but the model reads at most 48"):
            too_long()


def test_what_cannot_be_scored_is_said() -> None:
    model = new_gpt(BYTES, **SMALL)
    with pytest.raises(InputError, match="token id 259, but the model knows 259"):
        model.score([Window(ids(3), ids(259))])
    model.tokenizer = train_tokenizer("byte", [])
    model.tokenizer.bos_id = None
    with pytest.raises(InputError, match="nothing precedes the suffix"):
        model.score([Window(ids(), ids(4, 5))])
    with pytest.raises(InputError, match="empty prompt"):
        model.continuations([ids()], 3)
    with torch.no_grad():
        model.module.transformer.ln_f.bias[0] = float("nan")
    with pytest.raises(ModelError, match="non-finite logits"):
        model.score(windows(lengths=((4, 2),)))


def test_no_windows_and_empty_suffixes() -> None:
    for model in (new_gpt(BYTES, **SMALL), new_bert(BYTES, **SMALL)):
        assert len(model.score([])) == 0
        assert model.continuations([], 5) == []
        assert [row.size for row in model.continuations([ids(5)], 0)] == [0]
        mixed = [Window(ids(5), ids()), Window(ids(5, 6), ids(7))]
        assert model.score(mixed).offsets.tolist() == [0, 0, 1]


@pytest.mark.parametrize("decoding", [Decoding(1.0, top_k=3), Decoding(0.5)], ids=str)
def test_probability_under_a_decoding_is_that_of_its_samples(decoding: Decoding) -> None:
    model = new_gpt(BYTES, **SMALL)
    spread(model.module)
    prompt = ids(70, 71)
    draws = model.continuations([prompt] * 400, 1, decoding)
    tokens, counts = np.unique(np.concatenate(draws), return_counts=True)
    token = int(tokens[counts.argmax()])
    share = counts.max() / 400
    probability = np.exp(model.score([Window(prompt, ids(token))], decoding).log_prob[0])
    assert share == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / 400) + 1e-3)


def test_seed_fixes_weights_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (new_gpt(BYTES, seed=s, **SMALL) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    weight = [model.module.transformer.wte.weight for model in (first, second, other)]
    assert torch.equal(weight[0], weight[1])
    assert not torch.equal(weight[0], weight[2])


def test_width_must_be_shared_by_the_heads() -> None:
    with pytest.raises(InputError, match="width of 30"):
        new_gpt(BYTES, width=30, heads=4)


def test_context_length_of_configurations() -> None:
    assert context_length(transformers.GPT2Config(n_positions=77)) == 77
    assert context_length(transformers.BloomConfig()) is None
    assert context_length(transformers.RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512


def test_products_on_onednn_are_the_same_products() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(*shape, generator=generator) for shape in ((2, 20, 16), (24, 16), (24,)))
    with torch.no_grad(), OneDnnProducts():
        linear = torch.nn.functional.linear(x, w, b)
        bare = torch.nn.functional.linear(x, w)
        conv = torch.addmm(b, x[0], w.t())
        scaled = torch.addmm(b, x[0], w.t(), alpha=2)
        double = torch.nn.functional.linear(x.double(), w.double())
    exact = x.double() @ w.double().t()
    torch.testing.assert_close(linear.double(), exact + b, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bare.double(), exact, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(conv.double(), exact[0] + b, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scaled.double(), 2 * exact[0] + b, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(double, exact)


def test_scores_do_not_depend_on_greedy_or_own_distribution() -> None:
    model = new_gpt(BYTES, **SMALL)
    greedy, own = model.score(windows(), GREEDY), model.score(windows(), Decoding(1.0))
    np.testing.assert_array_equal(greedy.log_prob, own.log_prob)
