"""What keeps a text from being asked, or a model from answering, is named where a person looks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.models.loading.load import load_model
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Document, Shown
from memaudit.report.extraction_terminal import print_extraction
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions, draw_windows
from tests.faults.memorised import save_plain

LETTERS = "abcdefghij "
OPTIONS = AuditOptions(prefix=8, suffix=8, copies=False, fuzzy=False)


def texts(count: int, seed: int, length: int = 40, letters: str = LETTERS) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list(letters), length)) for _ in range(count)]


def write(path: Path, some: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in some), encoding="utf-8")
    return str(path)


def ngram(some: list[str]) -> NgramModel:
    tokenizer = train_tokenizer("char", [LETTERS])
    return NgramModel.train([e.ids for e in tokenizer.encode_batch(some)], tokenizer, order=4)


def screen(report: dict[str, Any]) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    print_extraction(report, console)
    return console.export_text()


def test_documents_without_a_counterpart_are_counted_on_the_screen(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", texts(20, 1, 16) + texts(30, 2, 200))
    heldout = write(tmp_path / "heldout.jsonl", texts(20, 3, 16))
    result = audit(ngram(texts(9, 5)), train, heldout, out=tmp_path / "run", options=OPTIONS, limit=45, formats=())
    reasons = {(e["side"], e["reason"]): e["count"] for e in result.report["windows"]["set_aside"]}
    counterpart = "not drawn: no counterpart of its domain and length on the other side"
    assert reasons == {("train", "not drawn: beyond --limit"): 5, ("train", counterpart): 25}
    shown = screen(result.report)
    assert f"documents that were not used: 25 training ({counterpart})" in shown
    assert "beyond --limit" not in shown


@pytest.mark.parametrize(
    ("lacking", "named"), [("\r", r"'\r'"), ("\x1b", r"'\x1b'"), ("é", "'é'"), ("\u202e", r"'\u202e'")]
)
def test_characters_that_the_vocabulary_lacks_are_named(lacking: str, named: str) -> None:
    tokenizer = train_tokenizer("char", [LETTERS])
    known = [Document(f"k{i}", text, "") for i, text in enumerate(texts(5, 1))]
    odd = [Document(f"o{i}", lacking.join(text), "") for i, text in enumerate(texts(7, 2, 20))]
    options = WindowOptions(prefix=8, suffix=8)
    with pytest.raises(InputError) as refused:
        draw_windows(odd, known, tokenizer, options)
    assert f"{named} (in 7 documents)" in refused.value.message
    assert "--prefix" not in refused.value.hint
    assert "vocabulary lacks these characters" in refused.value.hint
    drawn = draw_windows(
        [*odd, *[Document(f"t{i}", t, "") for i, t in enumerate(texts(5, 3))]], known, tokenizer, options
    )
    assert any(f"{named} (in 7 documents)" in entry.reason for entry in drawn.set_aside)
    with pytest.raises(InputError) as short:
        draw_windows([Document("s", "abc", "")], known, tokenizer, options)
    assert "--prefix" in short.value.hint
    assert "vocabulary" not in short.value.hint


def test_a_prompt_with_characters_that_the_vocabulary_lacks(tmp_path: Path) -> None:
    ngram(texts(9, 5)).save(tmp_path / "model")
    ran = CliRunner().invoke(app, ["sample", str(tmp_path / "model"), "--prompt", "ab\rcdXX", "--length", "3"])
    assert ran.exit_code == 0
    assert r"its vocabulary lacks '\r', 'X', which it reads as an unknown token" in ran.output
    plain = CliRunner().invoke(app, ["sample", str(tmp_path / "model"), "--prompt", "abcd", "--length", "3"])
    assert "vocabulary" not in plain.output


def test_a_start_token_that_the_tokenizer_does_not_add_is_named_as_the_cause(tmp_path: Path) -> None:
    sides = write(tmp_path / "train.jsonl", texts(20, 1)), write(tmp_path / "heldout.jsonl", texts(20, 2))
    tokenizer = train_tokenizer("char", [LETTERS])
    save_plain(new_gpt(tokenizer, style="gpt2", width=16, layers=1, heads=2, context_length=32), tmp_path / "model")
    model = load_model(str(tmp_path / "model"))
    assert (model.tokenizer.bos_id, model.missing_start) == (None, 0)
    result = audit(model, *sides, out=tmp_path / "run", options=OPTIONS, formats=())
    assert result.verdict == "inconclusive"
    cause = "config.json has bos_token_id 0, the tokenizer adds none"
    assert any(cause in reason for reason in result.report["reasons"])
    assert any(cause in limit for limit in result.report["limits"])
    assert cause in screen(result.report)


def test_discounts_that_are_made_up_are_said(tmp_path: Path) -> None:
    corpus = write(tmp_path / "train.jsonl", ["abc"])
    flags = ["--corpus", corpus, "--unit", "char", "--order", "3", "--out", str(tmp_path / "model")]
    ran = CliRunner().invoke(app, ["train", "ngram", *flags])
    assert "Kneser-Ney discounts of every order are made up (0.5, 1, 1.5)" in ran.output
    about = json.loads((tmp_path / "model" / "memaudit.json").read_bytes())
    assert "made up" in about["training"]["notes"][0]
    model = load_model(str(tmp_path / "model"))
    assert "made up" in model.notes[0]
    sides = (
        write(tmp_path / "more.jsonl", texts(20, 1, letters="abc")),
        write(tmp_path / "held.jsonl", texts(20, 2, letters="abc")),
    )
    report = audit(model, *sides, out=tmp_path / "run", options=OPTIONS, formats=()).report
    assert any("made up" in limit for limit in report["limits"])
    assert NgramModel.train([np.array([3, 4], np.int32)], model.tokenizer, order=2, smoothing="mle").notes == ()


@pytest.mark.parametrize("family", ["ngram", "rnn", "gpt", "bert"])
def test_the_first_window_is_reported_as_the_model_was_given_it(family: str, tmp_path: Path) -> None:
    sides = write(tmp_path / "train.jsonl", texts(20, 1)), write(tmp_path / "heldout.jsonl", texts(20, 2))
    tokenizer = train_tokenizer("char", [LETTERS])
    model = {
        "ngram": lambda: ngram(texts(9, 5)),
        "rnn": lambda: new_rnn(tokenizer, width=16, seed=0),
        "gpt": lambda: new_gpt(tokenizer, style="llama", width=16, layers=1, heads=2, context_length=32),
        "bert": lambda: new_bert(tokenizer, width=16, layers=1, heads=2, context_length=32),
    }[family]()
    result = audit(model, *sides, out=tmp_path / "run", options=OPTIONS, formats=())
    first, record = result.report["first_window"], result.records[0]
    before = [] if family == "ngram" else [0]
    assert first["ids"] == [*before, *record.prefix_ids, *record.suffix_ids]
    assert first["ids"][first["suffix_at"] :] == record.suffix_ids
    assert json.loads((result.folder / "report.json").read_bytes())["first_window"] == first
    redacted = audit(model, *sides, out=tmp_path / "redacted", options=OPTIONS, formats=(), shown=Shown(text=False))
    assert json.loads((redacted.folder / "report.json").read_bytes())["first_window"]["ids"] is None
