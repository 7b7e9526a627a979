"""Text longer than a model can read at once: written by a sliding context, and exactly as before where it fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memaudit.audits.measures import unprompted, use
from memaudit.errors import InputError
from memaudit.models.ngram import NgramModel
from memaudit.models.rolling import Sliding
from memaudit.models.sampling import continue_long, continue_text, fits
from memaudit.models.start import with_start_token
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import GREEDY, Decoding, TokenIds
from memaudit.text.tokenize import train_tokenizer
from tests.cli.calls import run

BYTES = train_tokenizer("byte", [])
CONTEXT = 24


@pytest.fixture(scope="module")
def gpt() -> CausalTransformer:
    return new_gpt(BYTES, width=16, heads=2, layers=1, context_length=CONTEXT, seed=5)


def ids(*lengths: int) -> list[TokenIds]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 259, length, dtype=np.int32) for length in lengths]


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(1.0, seed=3)])
def test_what_fits_is_continued_as_ever(gpt: CausalTransformer, decoding: Decoding) -> None:
    prompts = ids(4, 9, 4)
    assert fits(gpt, CONTEXT - 1) and not fits(gpt, CONTEXT)
    ours, plain = continue_long(gpt, prompts, 14, decoding), gpt.continuations(prompts, 14, decoding)
    assert all(np.array_equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_a_token_is_chosen_from_the_window_alone(gpt: CausalTransformer) -> None:
    for prompt, written in zip(ids(5, 30, 5), continue_long(gpt, ids(5, 30, 5), 45), strict=True):
        text = prompt
        for token in written:
            start = Sliding(CONTEXT - 1).start(len(text))
            assert gpt.next_log_probs([text[start:]])[0].argmax() == token
            text = np.append(text, token)
        assert len(written) == 45


def test_models_without_a_limit_never_slide() -> None:
    model = NgramModel.train([np.arange(3, 200, dtype=np.int32)], BYTES, order=3)
    assert fits(model, 10**9)
    [written] = continue_long(model, [np.array([3], np.int32)], 150)
    assert np.array_equal(written, np.arange(4, 154))


def test_a_text_says_whether_the_context_slid(gpt: CausalTransformer) -> None:
    assert not continue_text(gpt, "abc", CONTEXT - 4).slid
    bare = with_start_token(gpt, "none")
    assert not continue_text(bare, "abc", CONTEXT - 3).slid
    long = continue_text(gpt, "abc", 3 * CONTEXT)
    assert long.slid or long.ended is not None


def test_sample_goes_beyond_the_positions_and_says_so(gpt: CausalTransformer, tmp_path: Path) -> None:
    gpt.save(tmp_path / "m")
    asked = ("--prompt", "abc", "--length", "60", "--temperature", "0", "--start-token", "both")
    done = run("sample", "m", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"m: reads {CONTEXT} tokens at once, so the end was written without the beginning" in done.stderr
    assert "m without a start token" in done.stdout
    with pytest.raises(InputError, match="an empty prompt cannot be continued"):
        continue_text(with_start_token(gpt, "none"), "", 3)


def test_no_sample_is_cut_to_the_positions() -> None:
    assert (unprompted.LENGTH, use.LENGTH) == (64, 100)
