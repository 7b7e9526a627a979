"""A first look in bf16 changes nothing that a screen finds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.models import bfloat
from memaudit.models.bfloat import FirstLook, can_look, fast_bf16
from memaudit.models.products import inference
from memaudit.models.screening import matched_lengths
from memaudit.models.transformer import CausalTransformer
from memaudit.records import TokenIds, Window
from tests.models.test_screening import family, gpt, planted

SOME = ["GPT2Config", "GPTNeoXConfig", "LlamaConfig", "MistralConfig", "OPTConfig", "MixtralConfig"]


@pytest.fixture
def some_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any processor computes in bf16; whether fast does not matter to the answer."""
    monkeypatch.setattr(bfloat, "fast_bf16", lambda _: "tested")
    monkeypatch.setattr(bfloat, "WORTH", 0.0)
    monkeypatch.setattr(FirstLook, "pays", True)


def texts(model: CausalTransformer, windows: list[Window]) -> tuple[list[TokenIds], list[TokenIds]]:
    return model.prefixes(windows), [window.suffix for window in windows]


@pytest.mark.usefixtures("some_bf16")
@pytest.mark.parametrize("name", SOME)
def test_a_first_look_in_bf16_changes_no_length(name: str) -> None:
    model = family(name)
    windows, places = planted(model, count=60)
    before = copy.deepcopy(model.module.state_dict())
    assert model.screen(windows).tolist() == places
    look = model._look
    assert look is not None
    whole = sum(place == len(window.suffix) for place, window in zip(places, windows, strict=True))
    assert whole <= look.rechecked < look.looked == len(windows)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert next(model.module.parameters()).dtype == torch.float32


@pytest.mark.parametrize("name", SOME)
def test_a_copy_is_the_module_in_bf16(name: str) -> None:
    module = family(name).module
    copied, expected = bfloat._rounded(module), copy.deepcopy(module).to(torch.bfloat16)
    for attribute in ("named_parameters", "named_buffers"):
        found, wanted = (dict(getattr(one, attribute)()) for one in (copied, expected))
        assert found.keys() == wanted.keys()  # what is tied stays tied
        assert all(torch.equal(found[key], wanted[key]) and found[key].dtype == wanted[key].dtype for key in wanted)
    assert next(module.parameters()).dtype == torch.float32


@pytest.mark.usefixtures("some_bf16")
@settings(max_examples=20, deadline=None)
@given(st.floats(0, 3), st.integers(1, 60))
def test_no_margin_above_the_differences_changes_anything(more: float, count: int) -> None:
    model = MODEL
    windows, places = planted(model, count=count)
    look = look_of(model, windows)
    look._rough.judge.keywords["margin"] = look.margin + more  # type: ignore[attr-defined]
    assert look.matched(*texts(model, windows)).tolist() == places


MODEL = gpt()


@inference()
def look_of(model: CausalTransformer, windows: list[Window]) -> FirstLook:
    reader = model.reader()
    assert reader is not None
    return FirstLook(model.module, reader, *texts(model, windows))


@pytest.mark.usefixtures("some_bf16")
def test_margin_is_three_times_the_largest_difference_seen() -> None:
    model = gpt()
    windows, _ = planted(model, count=20)
    rough = copy.deepcopy(model.module).to(torch.bfloat16)
    largest = 0.0
    for window in windows[:8]:
        text = torch.tensor([[0, *window.prefix, *window.suffix[:-1]]])
        with torch.no_grad():
            both = [module(input_ids=text).logits[0, len(window.prefix) :].float() for module in (model.module, rough)]
        largest = max(largest, float((both[0] - both[1]).abs().max()))
    assert look_of(model, windows).margin == pytest.approx(3 * largest, rel=0.2)


@pytest.mark.usefixtures("some_bf16")
def test_what_is_unsure_or_whole_is_read_again_and_nothing_else() -> None:
    model = gpt()
    windows, places = planted(model, count=60)
    look = look_of(model, windows)
    look._rough.judge.keywords["margin"] = 1e9  # type: ignore[attr-defined]
    assert look.matched(*texts(model, windows)).tolist() == places
    assert (look.looked, look.rechecked) == (60, 60)
    look._rough.judge.keywords["margin"] = 0.0  # type: ignore[attr-defined]
    whole = sum(int(n) == len(w.suffix) for n, w in zip(look.matched(*texts(model, windows)), windows, strict=True))
    assert look.rechecked - 60 <= whole + 3


def test_a_look_that_does_not_pay_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat, "fast_bf16", lambda _: "tested")
    model = gpt()
    windows, places = planted(model, count=60)
    look = look_of(model, windows)
    for speed, looked, rechecked, pays in ((1.2, 0, 0, False), (2, 0, 0, True), (2, 64, 31, True), (2, 64, 33, False)):
        look.speed, look.looked, look.rechecked = float(speed), looked, rechecked
        assert look.pays is pays
    model._look, model._tried_look = look, True
    assert model.screen(windows).tolist() == places
    assert model._look is None


def test_few_windows_get_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfloat, "fast_bf16", lambda _: "tested")
    model = gpt()
    windows, _ = planted(model, count=60)
    model.screen(windows[: bfloat.ENOUGH - 1])
    assert not model._tried_look
    model.screen(windows[: bfloat.ENOUGH])
    assert model._tried_look


def test_a_copy_is_made_where_it_may_be_quicker_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    module = gpt().module
    monkeypatch.setattr(bfloat, "fast_bf16", lambda _: None)
    assert not can_look(module)
    monkeypatch.setattr(bfloat, "fast_bf16", lambda _: "tested")
    assert can_look(module)
    size = 2 * sum(parameter.numel() for parameter in module.parameters())
    monkeypatch.setattr(bfloat, "free_bytes", lambda _: 4 * size - 1)
    assert not can_look(module)
    monkeypatch.setattr(bfloat, "free_bytes", lambda _: 4 * size)
    assert can_look(module)
    assert not can_look(module.to(torch.bfloat16))


def test_the_processor_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for amx, avx, name in ((True, True, "AMX"), (False, True, "AVX-512 BF16"), (False, False, None)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        assert fast_bf16(cpu) == (name if torch.backends.mkldnn.is_available() else None)
    assert fast_bf16(torch.device("meta")) is None


@pytest.mark.usefixtures("some_bf16")
def test_an_empty_suffix_is_matched_by_nothing() -> None:
    windows, _ = planted(MODEL, count=20)
    look = look_of(MODEL, windows)
    empty = [Window(windows[2].prefix, np.empty(0, np.int32)), windows[2]]
    exact = MODEL.reader()
    assert exact is not None
    assert look.matched(*texts(MODEL, empty)).tolist() == matched_lengths(exact, *texts(MODEL, empty)).tolist()
