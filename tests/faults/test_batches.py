"""What is measured depends on no batch: not on its size, its order, the number of threads, or memory that runs out.

A part of what ``benchmarks/faults_families.py`` tries over all families.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from memaudit.audits.extraction.run import audit
from memaudit.audits.extraction.windows import measure
from memaudit.errors import ModelError, is_out_of_memory
from memaudit.models.loading.load import load_model
from memaudit.models.memory import in_halves
from memaudit.models.transformer import CausalTransformer
from memaudit.records import GREEDY, Decoding, TokenScores, Window
from tests.faults.families import TOLERANCE, disagreement, new_model, some_windows
from tests.faults.memorised import OPTIONS, honest, save_plain, write_corpora

SOME = [
    "GPTNeo",
    "CTRL",
    "XGLM",
    "Falcon",
    "Gemma3Text",
    "RecurrentGemma",
    "Rwkv",
    "XLNet",
    "DebertaV2",
    "ngram",
    "rnn",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SOME)
def test_a_batch_changes_nothing(name: str) -> None:
    found = disagreement(new_model(name), some_windows(8, seed=0), batches=(3, 8))
    assert (found.hits, found.texts) == (0, 0)
    assert found.nats <= TOLERANCE


class Cramped(CausalTransformer):
    """Has memory for so many windows only; the error is one of those that allocators raise."""

    room = 3
    error: BaseException = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        if len(windows) > self.room:
            raise self.error
        return super().score(windows, decoding)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:20])
def test_memory_that_runs_out_halves_the_batch(error: BaseException) -> None:
    roomy = new_model("GPT2")
    assert isinstance(roomy, CausalTransformer)
    cramped = Cramped(roomy.module, roomy.tokenizer)
    cramped.error = error
    windows = some_windows(13, seed=1)
    records, size = in_halves(lambda some: measure(cramped, some), windows)
    assert size == 3
    for found, expected in zip(records, measure(roomy, windows), strict=True):
        assert (found.matched, found.continuation_ids) == (expected.matched, expected.continuation_ids)
        assert found.log_prob == pytest.approx(expected.log_prob, abs=TOLERANCE)
    cramped.room = 0
    with pytest.raises(ModelError, match="memory ran out over a single window"):
        in_halves(lambda some: measure(cramped, some), windows)


def test_other_errors_halve_nothing() -> None:
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_halves(lambda _: (_ for _ in ()).throw(RuntimeError("shapes differ")), [1, 2])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    write_corpora(folder)
    save_plain(honest(), folder / "model")
    return folder


def test_an_audit_goes_on_when_memory_runs_out(place: Path, tmp_path: Path) -> None:
    texts = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    calm = audit(place / "model", *texts, out=tmp_path / "calm", options=OPTIONS, formats=())
    loaded = load_model(str(place / "model"))
    assert isinstance(loaded, CausalTransformer)
    model = Cramped(loaded.module, loaded.tokenizer, family=loaded.family)
    model.room, model.error = 5, ERRORS[1]
    result = audit(model, *texts, out=tmp_path / "cramped", options=OPTIONS, formats=())
    assert result.notice == "memory ran out: from window 0 on, 4 were read at a time"
    assert result.verdict == calm.verdict == "clean"
    assert [r.matched for r in result.records] == [r.matched for r in calm.records]
    assert [r.index for r in result.records] == list(range(len(calm.records)))


def test_less_than_float32_is_never_clean_and_its_flips_are_counted(place: Path, tmp_path: Path) -> None:
    texts = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    model = load_model(str(place / "model"), dtype="bfloat16")
    report = audit(model, *texts, out=tmp_path / "half", options=OPTIONS, formats=()).report
    assert report["verdict"] == "inconclusive"
    [control] = [control for control in report["controls"] if control["name"] == "computes in float32"]
    assert not control["passed"]
    assert control["detail"].startswith("bfloat16: ")
    assert "of 32 windows get other tokens in another batch; use --dtype float32" in control["detail"]
