"""Windows of whole works: what is read cheaply is what every window says by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memaudit
from memaudit.audits.work import passing
from memaudit.audits.work import reading as reading_module
from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.reading import LIMITS, Reading, WindowReader
from memaudit.audits.work.texts import WholeWork
from memaudit.models.base import LanguageModel
from memaudit.models.external import ExternalModel
from memaudit.records import GREEDY, Decoding, Document, TokenScores, Window
from memaudit.runs.directory import RunDirectory
from memaudit.text.corpus.objects import Texts
from memaudit.training.train import CorpusOptions

DRAWN = random.Random(5)
WORDS = ["".join(DRAWN.choices("abcdefghijklm", k=DRAWN.randint(2, 6))) for _ in range(120)]
KNOWN = " ".join(DRAWN.choices(WORDS, k=400))
NEW = " ".join(DRAWN.choices(WORDS, k=400))
MIXED = f"{NEW[400:900]} {KNOWN[300:600]} {NEW[900:1300]}"
"""What is known stands in the middle."""


class Through(LanguageModel):
    """Another model, whose calls are counted, and which can be made blind."""

    def __init__(self, model: LanguageModel, *, sight: int | None = None) -> None:
        self.model, self.sight = model, sight
        self.family, self.objective, self.tokenizer = "through", model.objective, model.tokenizer
        self.reach, self.context_length = None, model.context_length
        self.read = 0
        """Tokens."""
        self.asked = 0
        """Suffix tokens."""

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score; behind more tokens than it sees at once it knows nothing."""
        scores = self.model.score(windows, decoding)
        for window, first, stop in zip(windows, scores.offsets[:-1], scores.offsets[1:], strict=True):
            self.read += len(window.prefix) + len(window.suffix)
            self.asked += len(window.suffix)
            if self.sight is not None:
                blind = np.arange(len(window.prefix), len(window.prefix) + stop - first) >= self.sight
                scores.log_prob[first:stop][blind] = -9.0
                scores.rank[first:stop][blind] = 5
        return scores

    def continuations(self, prompts: Any, length: int, decoding: Decoding = GREEDY) -> list[Any]:
        """Continue as the model does."""
        return self.model.continuations(prompts, length, decoding)


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    source = CorpusOptions(Texts([KNOWN]), unit="char")
    return memaudit.train_ngram(source, tmp_path_factory.mktemp("ngram") / "model", order=9)


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    source = CorpusOptions(Texts([KNOWN[:500]]), unit="word")
    out = tmp_path_factory.mktemp("gpt") / "model"
    shape = {"width": 64, "layers": 1, "heads": 2}
    return memaudit.train_neural(
        "gpt", source, out, architecture=shape, context=32, epochs=120, learning_rate=0.01
    ).model


def whole_work(model: LanguageModel, text: str, number: int = 0, **options: Any) -> WholeWork:
    chosen = WorkOptions(**{"prefix": 12, "suffix": 8, "stride": 1, **options})
    [encoding] = model.tokenizer.encode_batch([text])
    document = Document("d", text, "d.txt")
    return WholeWork(number, "d", document, False, encoding, chosen, model.tokenizer.unknown_id)


def read(model: LanguageModel, work: WholeWork, folder: Path, *, exact: bool = False, **decoding: Any) -> Reading:
    with RunDirectory.open(folder, {"kind": "work", "text": work.sha256}) as run:
        [reading] = WindowReader(model, run, Decoding(**{"temperature": 1.0, **decoding})).read([work], exact=exact)
    return reading


def one_by_one(model: LanguageModel, work: WholeWork, decoding: Decoding) -> tuple[list[int], list[bool]]:
    """Levels and greedy verdicts from every window by itself, written as the definition has it."""
    levels, greedy = [], []
    for start in range(0, len(work.ids) - work.options.window + 1, work.options.stride):
        middle, stop = start + work.options.prefix, start + work.options.window
        window = Window(work.ids[start:middle], work.ids[middle:stop])
        scores = model.score([window], decoding)
        levels.append(int(sum(scores.log_prob.sum() >= LIMITS)))
        greedy.append(bool((scores.rank == 0).all()))
    return levels, greedy


def same(reading: Reading, expected: tuple[list[int], list[bool]]) -> bool:
    return (reading.levels.tolist(), reading.greedy.tolist()) == expected


@pytest.mark.parametrize("stride", [1, 3])
def test_an_ngram_model_is_exact_in_one_pass(ngram: LanguageModel, tmp_path: Path, stride: int) -> None:
    work = whole_work(ngram, MIXED, stride=stride)
    reading = read(ngram, work, tmp_path / "run")
    assert same(reading, one_by_one(ngram, work, Decoding(1.0)))
    assert len(set(reading.levels.tolist())) > 3
    assert reading.greedy.any()
    assert reading.read.all()
    assert not reading.checked


def test_an_ngram_model_reads_every_token_once(
    ngram: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_module, "BLOCK", 40)
    whole = read(ngram, whole_work(ngram, MIXED), tmp_path / "whole")
    for stretch, most in ((10_000, 1.0), (300, 1.5)):
        monkeypatch.setattr(reading_module, "STRETCH", stretch)
        model = Through(ngram)
        model.reach = ngram.reach
        work = whole_work(model, MIXED)
        reading = read(model, work, tmp_path / str(stretch))
        assert model.asked <= most * len(work.ids)
        assert np.array_equal(reading.log_p, whole.log_p)
        assert np.array_equal(reading.greedy, whole.greedy)


def test_a_pass_finds_what_every_window_says(ngram: LanguageModel, tmp_path: Path) -> None:
    model = Through(ngram)
    work = whole_work(model, MIXED, suffix=20)
    reading = read(model, work, tmp_path / "run")
    assert same(reading, one_by_one(ngram, work, Decoding(1.0)))
    assert reading.passed
    assert 0 < reading.checked < reading.read.sum() < work.windows
    assert not reading.hits
    assert model.read < work.windows * work.options.window / 2


def test_a_blind_pass_is_found_out(ngram: LanguageModel, tmp_path: Path) -> None:
    model = Through(ngram, sight=20)  # a window is all it sees
    work = whole_work(model, MIXED)
    reading = read(model, work, tmp_path / "run")
    assert reading.passed
    assert reading.hits
    assert reading.read.all()
    assert same(reading, one_by_one(ngram, work, Decoding(1.0)))


def test_samples_of_the_most_probable_tokens(ngram: LanguageModel, tmp_path: Path) -> None:
    model = Through(ngram)
    work = whole_work(model, MIXED)
    plain = read(model, work, tmp_path / "plain")
    cut = read(model, work, tmp_path / "cut", top_k=1)
    expected = one_by_one(ngram, work, Decoding(1.0, top_k=1))
    assert same(cut, expected)
    assert set(cut.levels.tolist()) == {0, len(LIMITS)}  # certain, or never
    assert (cut.levels >= plain.levels)[cut.greedy].all()


def test_unknown_tokens_are_never_given_back(ngram: LanguageModel, tmp_path: Path) -> None:
    text = f"{KNOWN[:300]}#{KNOWN[301:600]}"
    for model in (ngram, Through(ngram)):
        work = whole_work(model, text)
        reading = read(model, work, tmp_path / model.family)
        holds = [start + 8 > 288 and start <= 288 for start in range(work.windows)]
        assert not reading.levels[holds].any()
        assert not reading.greedy[holds].any()
        assert reading.levels[np.logical_not(holds)].any()


def test_a_gpt_is_read_as_every_window_says(gpt: LanguageModel, tmp_path: Path) -> None:
    work = whole_work(gpt, f"{' '.join(sorted(set(KNOWN[:500].split())))} {KNOWN[:490]}")
    expected = one_by_one(gpt, work, Decoding(1.0))
    assert len(set(expected[0])) > 3
    assert any(expected[1])
    assert not all(expected[0])
    for exact in (True, False):
        assert same(read(gpt, work, tmp_path / str(exact), exact=exact), expected)


def test_suffixes_are_left_at_their_beginning(ngram: LanguageModel, tmp_path: Path) -> None:
    model = Through(ngram)
    work = whole_work(model, MIXED, suffix=20)
    reading = read(model, work, tmp_path / "run", exact=True)
    assert same(reading, one_by_one(ngram, work, Decoding(1.0)))
    assert reading.read.all()
    assert not reading.passed
    assert model.asked < 0.9 * work.windows * work.options.suffix


def test_with_and_without_a_start_token(gpt: LanguageModel, tmp_path: Path) -> None:
    text, options = KNOWN[:500], {"prefix": 12, "suffix": 8, "stride": 4}
    both = memaudit.work(gpt, Texts([text]), out=tmp_path / "both", start_token="both", **options).report
    none = memaudit.work(gpt, Texts([text]), out=tmp_path / "none", start_token="none", **options).report
    trained = memaudit.work(gpt, Texts([text]), out=tmp_path / "as-trained", **options).report
    assert both["works"] == trained["works"]
    assert [work["levels"] for work in both["without_start"]] == [work["levels"] for work in none["works"]]
    assert both["works"][0]["levels"] != none["works"][0]["levels"]
    assert "without_start" not in trained
    again = memaudit.work(gpt, Texts([text]), out=tmp_path / "both", start_token="both", **options)
    assert again.report == both


@pytest.mark.parametrize("sight", [None, 20])
def test_a_run_that_was_stopped_goes_on(
    ngram: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sight: int | None
) -> None:
    monkeypatch.setattr(passing, "LONGEST", 40)
    model = Through(ngram, sight=sight)
    work = whole_work(model, MIXED)
    whole = read(model, work, tmp_path / "whole")
    lines = (tmp_path / "whole" / "items.log").read_bytes().splitlines(keepends=True)
    assert len(lines) > 8
    for kept in (1, len(lines) // 2, len(lines) - 1):
        folder = tmp_path / str(kept)
        read(model, work, folder)
        (folder / "items.log").write_bytes(b"".join(lines[:kept]))
        asked = model.asked
        again = read(model, work, folder)
        assert (folder / "items.log").read_bytes() == b"".join(lines)
        assert np.array_equal(again.log_p, whole.log_p)
        assert model.asked > asked
    asked = model.asked
    read(model, work, tmp_path / "whole")
    assert model.asked == asked


def test_short_works(ngram: LanguageModel, tmp_path: Path) -> None:
    for length in (1, 19, 20, 21):
        work = whole_work(ngram, KNOWN[:length])
        reading = read(ngram, work, tmp_path / str(length))
        assert len(reading.levels) == work.windows == max(0, length - 19)
        assert work.coverable == (0 if length < 20 else length - 12)


def test_a_stranger_without_a_limit_is_passed_over(ngram: LanguageModel) -> None:
    assert passing.pass_pays(Through(ngram), whole_work(ngram, MIXED))
    assert not passing.pass_pays(Through(ngram), whole_work(ngram, MIXED[:80]))
    assert isinstance(ngram, LanguageModel)
    assert not isinstance(ngram, ExternalModel)
