"""Which library multiplies by a weight is measured once a machine, and changes no value beyond rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memaudit.models import product_choice, products
from memaudit.models.loading.load import load_model
from memaudit.models.product_choice import choose_products
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer

CHARS = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz .,"])
WAYS = ["oneDNN", "MKL", "oneDNN, laid out", "MKL, laid out"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(product_choice, "LARGE", 1)
    monkeypatch.setattr(products, "_ON_MKL", set())


def quickest(monkeypatch: pytest.MonkeyPatch, best: str) -> list[str]:
    """Make one way the quickest by far; return the list of the ways that will be timed."""
    timed: list[str] = []

    def chosen(ways: product_choice.Ways) -> str:
        timed.append("measured")
        return best if best in ways else best.partition(",")[0]

    monkeypatch.setattr(product_choice, "_quickest", chosen)
    return timed


def gpt(style: str = "gpt2") -> CausalTransformer:
    return new_gpt(CHARS, style=style, width=32, layers=1, heads=2, context_length=32, seed=3)  # type: ignore[arg-type]


def windows() -> list[Window]:
    rows = np.random.default_rng(0).integers(3, CHARS.vocab_size, (6, 20), dtype=np.int32)
    return [Window(row[:10], row[10:]) for row in rows]


@pytest.mark.parametrize("style", ["gpt2", "llama"])
@pytest.mark.parametrize("best", WAYS)
def test_every_way_gives_the_same_scores_and_files(
    style: str, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, laid_out = gpt(style), gpt(style)
    expected = plain.score(windows())
    timed = quickest(monkeypatch, best)
    choose_products(laid_out.module)
    assert timed
    found = laid_out.score(windows())
    np.testing.assert_allclose(found.log_prob, expected.log_prob, atol=1e-4)
    assert (found.rank == expected.rank).all()
    assert bool(products._ON_MKL) == best.startswith("MKL")
    if style == "gpt2":
        weight = laid_out.module.transformer.h[0].mlp.c_fc.weight
        assert weight.t().is_contiguous() == best.endswith("laid out")
    for name, model in (("a", plain), ("b", laid_out)):
        model.save(tmp_path / name)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second


def test_products_go_where_they_were_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, ...]] = []
    plain = products.onednn_product

    def counted(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        sent.append(tuple(weight.shape))
        return plain(rows, weight, bias)

    monkeypatch.setattr(products, "onednn_product", counted)
    model = gpt()
    model.score(windows())
    assert {(96, 32), (32, 32), (128, 32), (32, 128), (CHARS.vocab_size, 32)} <= set(sent)
    products.use_mkl("conv1d", (32, 128), on=True)
    sent.clear()
    model.score(windows())
    assert (128, 32) not in sent
    assert (96, 32) in sent
    products.use_mkl("conv1d", (32, 128), on=False)
    model.score(windows())
    assert (128, 32) in sent


def test_a_machine_measures_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    timed = quickest(monkeypatch, "MKL")
    choose_products(gpt().module)
    shapes = len(timed)
    assert shapes == 5
    choose_products(gpt().module)
    assert len(timed) == shapes
    [found] = json.loads((tmp_path / "cache" / "memaudit" / "products.json").read_bytes()).values()
    assert found["conv1d 32x96"] == found[f"linear {CHARS.vocab_size}x32"] == "MKL"
    monkeypatch.setattr(product_choice, "_machine", lambda: "another")
    choose_products(gpt().module)
    assert len(timed) == 2 * shapes
    assert len(json.loads((tmp_path / "cache" / "memaudit" / "products.json").read_bytes())) == 2


def test_what_another_process_found_first_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    quickest(monkeypatch, "MKL")
    choose_products(gpt().module)
    assert set(product_choice._kept({"conv1d 32x96": "oneDNN"}).values()) == {"MKL"}


@given(st.one_of(st.binary(max_size=20), st.sampled_from([b"[]", b'{"a": 1}', b'{"a": {"b": "fast"}}', b"null"])))
def test_a_file_that_is_none_of_ours_is_not_followed(content: bytes) -> None:
    file = product_choice._file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    assert product_choice._read() == {}


def test_without_a_folder_it_works_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    quickest(monkeypatch, "MKL, laid out")
    choose_products(gpt().module)
    assert products._ON_MKL


def test_only_what_is_clearly_quicker_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, 0.9, 1.0, 0.8])
    monkeypatch.setattr(product_choice, "_seconds", lambda _: next(seconds))
    ways = dict.fromkeys(WAYS[:2], torch.Tensor)
    assert product_choice._quickest(ways) == "oneDNN"
    assert product_choice._quickest(ways) == "MKL"


def test_small_weights_and_other_types_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = quickest(monkeypatch, "MKL")
    choose_products(gpt().module.to(torch.bfloat16))
    monkeypatch.setattr(product_choice, "LARGE", 1 << 19)
    choose_products(gpt().module)
    assert timed == []


def test_a_loaded_model_is_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpt().save(tmp_path / "model")
    quickest(monkeypatch, "oneDNN, laid out")
    loaded = load_model(str(tmp_path / "model"))
    assert loaded.module.transformer.h[0].attn.c_attn.weight.t().is_contiguous()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_the_ways_are_the_same_product(kind: products.Kind) -> None:
    weight = torch.randn(24, 40, generator=torch.Generator().manual_seed(0))
    first, *others = product_choice._ways(kind, weight).values()
    for other in others:
        torch.testing.assert_close(first(), other(), atol=1e-4, rtol=1e-4)
    assert len(others) == (1 if kind == "linear" else 3)
