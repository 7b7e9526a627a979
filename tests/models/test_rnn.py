from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from memaudit.errors import InputError, ModelError
from memaudit.models.multiplicative import MultiplicativeRnn, MultiplicativeScan
from memaudit.models.rnn import RnnModel, new_rnn
from memaudit.records import Decoding, TokenIds, Window
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer

CELLS = ["lstm", "gru", "mrnn"]
SHAPES = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("char", ["the quick brown fox jumps over the lazy dog"])


def ids(random: np.random.Generator, length: int, size: int) -> TokenIds:
    return random.integers(3, size, length).astype(np.int32)


def windows_of(tokenizer: TrainedTokenizer, shapes: list[tuple[int, int]], seed: int = 0) -> list[Window]:
    random = np.random.default_rng(seed)
    return [
        Window(ids(random, prefix, tokenizer.vocab_size), ids(random, suffix, tokenizer.vocab_size))
        for prefix, suffix in shapes
    ]


@torch.no_grad()
def slow_log_probs(model: RnnModel, window: Window) -> np.ndarray:
    """Log-probabilities of the suffix, one whole text per token, in float64."""
    network = model.module.double()
    text = np.concatenate([[0], window.prefix, window.suffix]).astype(np.int64)
    values = []
    for t in range(len(window.prefix), len(text) - 1):
        hidden, _ = network(torch.from_numpy(text[None, : t + 1]))
        values.append(torch.log_softmax(network.head(hidden[0, -1]), 0)[text[t + 1]].item())
    model.module.float()
    return np.array(values)


def slow_multiplicative(module: MultiplicativeRnn, inputs: np.ndarray) -> np.ndarray:
    """The equations of the paper, one number at a time, in float64."""
    outputs = inputs.astype(np.float64)
    for linear, w_fh, w_hf in zip(module.from_input, module.w_fh, module.w_hf, strict=True):
        weight = linear.weight.detach().double().numpy()
        bias = linear.bias.detach().double().numpy()
        fh, hf = w_fh.detach().double().numpy(), w_hf.detach().double().numpy()
        width = module.width
        rows = []
        for row in outputs:
            h = np.zeros(width)
            states = []
            for x in row:
                f = (weight[:width] @ x + bias[:width]) * (fh @ h)
                h = np.tanh(hf @ f + weight[width:] @ x + bias[width:])
                states.append(h)
            rows.append(states)
        outputs = np.array(rows)
    return outputs


def test_multiplicative_layers_follow_the_paper() -> None:
    torch.manual_seed(0)
    module = MultiplicativeRnn(5, 7, 2)
    inputs = torch.randn(3, 11, 5)
    hidden, last = module(inputs)
    expected = slow_multiplicative(module, inputs.numpy())
    np.testing.assert_allclose(hidden.detach().numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(last[1].detach().numpy(), expected[:, -1], atol=2e-5)


def test_multiplicative_gradient_is_that_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(1)
    shapes = [(5, 3, 4), (5, 3, 4), (4, 4), (4, 4), (3, 4)]
    inputs = [torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(MultiplicativeScan.apply, inputs)


@pytest.mark.parametrize("cell", CELLS)
def test_state_carries_all_that_was_read(tokenizer: TrainedTokenizer, cell: str) -> None:
    module = new_rnn(tokenizer, cell=cell, width=16, layers=2).module
    text = torch.randint(3, 20, (4, 30), generator=torch.Generator().manual_seed(0))
    whole, _ = module(text)
    first, state = module(text[:, :13])
    second, _ = module(text[:, 13:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_scores_equal_a_slow_float64_reference(tokenizer: TrainedTokenizer, cell: str) -> None:
    model = new_rnn(tokenizer, cell=cell, width=16, layers=2, embedding=8, seed=3)
    windows = windows_of(tokenizer, [(4, 6), (0, 3), (9, 1), (4, 6), (2, 0)])
    scores = model.score(windows)
    assert len(scores) == len(windows)
    for window, own in zip(windows, scores, strict=True):
        np.testing.assert_allclose(own.log_prob, slow_log_probs(model, window), atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), min_size=1, max_size=9), st.sampled_from(CELLS))
def test_a_row_never_depends_on_its_batch(shapes: list[tuple[int, int]], cell: str) -> None:
    tokenizer = train_tokenizer("char", ["a sentence of some letters"])
    model = new_rnn(tokenizer, cell=cell, width=12)
    windows = windows_of(tokenizer, shapes)
    together = model.score(windows)
    for window, scores in zip(windows, together, strict=True):
        alone = model.score([window])
        np.testing.assert_allclose(scores.log_prob, alone.log_prob, atol=1e-5)
        np.testing.assert_array_equal(scores.rank, alone.rank)
    prompts = [window.prefix for window in windows]
    for prompt, continuation in zip(prompts, model.continuations(prompts, 5), strict=True):
        np.testing.assert_array_equal(continuation, model.continuations([prompt], 5)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_ranks_are_zero_exactly_on_the_greedy_continuation(tokenizer: TrainedTokenizer, cell: str) -> None:
    model = new_rnn(tokenizer, cell=cell, width=24, seed=5)
    prompts = [window.prefix for window in windows_of(tokenizer, [(3, 1), (0, 1), (7, 1), (3, 1)])]
    own = model.continuations(prompts, 8)
    assert [len(row) for row in own] == [8] * 4
    assert (model.score([Window(p, c) for p, c in zip(prompts, own, strict=True)]).rank == 0).all()
    other = [np.where(np.arange(8) == 5, (row + 1) % tokenizer.vocab_size, row) for row in own]
    changed = model.score([Window(p, c.astype(np.int32)) for p, c in zip(prompts, other, strict=True)])
    assert all(scores.rank[5] > 0 and (scores.rank[:5] == 0).all() for scores in changed)


def test_sampling_depends_on_seed_and_prompt_only(tokenizer: TrainedTokenizer) -> None:
    model = new_rnn(tokenizer, width=8)
    prompts = [window.prefix for window in windows_of(tokenizer, [(3, 1), (5, 1), (3, 1)])]
    decoding = Decoding(temperature=1.0, seed=4)
    rows = model.continuations(prompts, 12, decoding)
    np.testing.assert_array_equal(rows[2], model.continuations([prompts[2]], 12, decoding)[0])
    assert not np.array_equal(rows[0], model.continuations([prompts[0]], 12, Decoding(1.0, seed=5))[0])


@pytest.mark.parametrize("cell", CELLS)
def test_saved_and_loaded_scores_bit_equal(tokenizer: TrainedTokenizer, cell: str, tmp_path: Path) -> None:
    model = new_rnn(tokenizer, cell=cell, width=16, layers=2, embedding=8)
    model.training = {"epochs": 1.0}
    model.save(tmp_path)
    again = RnnModel.load(tmp_path)
    windows = windows_of(tokenizer, [(5, 5), (1, 9)])
    for field in ("log_prob", "rank", "mean", "std"):
        np.testing.assert_array_equal(getattr(again.score(windows), field), getattr(model.score(windows), field))
    assert (again.training, again.parameters, again.config) == (
        model.training,
        model.parameters,
        model.config,
    )
    assert again.tokenizer.sha256 == tokenizer.sha256


def test_initial_weights_follow_from_the_seed(tokenizer: TrainedTokenizer) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, third = (new_rnn(tokenizer, width=8, seed=seed).module.head.weight for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), before)


def _rewrite(folder: Path, change: str) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    if change == "missing":
        del tensors["cells.weight_hh_l0"]
    elif change == "unexpected":
        tensors["extra.weight"] = torch.zeros(2)
    elif change == "non-finite":
        tensors["head.bias"][3] = float("nan")
    elif change == "shape":
        tensors["head.bias"] = tensors["head.bias"][:-1].clone()
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "1 tensors missing, first: cells.weight_hh_l0"),
        ("unexpected", "1 unexpected tensors, first: extra.weight"),
        ("non-finite", "tensor head.bias has 1 non-finite value"),
        ("shape", "tensor head.bias is torch.float32"),
    ],
)
def test_tampered_weights_are_refused_by_name(
    tokenizer: TrainedTokenizer, tmp_path: Path, change: str, message: str
) -> None:
    new_rnn(tokenizer, width=8).save(tmp_path)
    _rewrite(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        RnnModel.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\xff" * 64])
def test_files_that_are_no_weights_are_refused(tokenizer: TrainedTokenizer, tmp_path: Path, content: bytes) -> None:
    new_rnn(tokenizer, width=8).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: not weights"):
        RnnModel.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cell", "rwkv", "unknown cell"),
        ("width", 10**6, "tensor"),
        ("width", 10**12, "whole number"),
        ("layers", 10**6, "tensors for 1000000 layers"),
        ("layers", 0, "whole number from 1"),
        ("vocab_size", 7, "tokenizer has"),
    ],
)
def test_a_false_description_is_refused_without_building_it(
    tokenizer: TrainedTokenizer, tmp_path: Path, name: str, value: object, message: str
) -> None:
    new_rnn(tokenizer, width=8).save(tmp_path)
    file = tmp_path / "memaudit.json"
    about = orjson.loads(file.read_bytes())
    about["config"][name] = value
    file.write_bytes(orjson.dumps(about))
    with pytest.raises(ModelError, match=message):
        RnnModel.load(tmp_path)


def test_bad_options_are_refused(tokenizer: TrainedTokenizer) -> None:
    with pytest.raises(InputError, match="unknown cell 'rnn'"):
        new_rnn(tokenizer, cell="rnn")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="width must be a whole number from 1"):
        new_rnn(tokenizer, width=0)
