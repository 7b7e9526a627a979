"""From text, or from an index of it, to the folder of an n-gram model."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.models.infinity import InfinityModel
from memaudit.models.loading.load import load_model
from memaudit.models.ngram import NgramModel, Order
from memaudit.records import Window
from memaudit.text.index.corpus_index import build_index
from memaudit.text.tokenize import TrainedTokenizer
from memaudit.training.train import CorpusOptions, train_ngram

NAMES = ("assignment", "import", "class", "assert", "if")


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": topics[name]}) + "\n" for name in NAMES), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(("order", "kind"), [("infinity", InfinityModel), (4, NgramModel)])
def test_a_model_from_an_index_is_the_model_from_the_text(
    order: Order, kind: type[NgramModel], corpus: str, tmp_path: Path
) -> None:
    from_text = train_ngram(CorpusOptions([corpus]), tmp_path / "text", order=order)
    tokenizer = TrainedTokenizer.load(tmp_path / "text")
    index = build_index([corpus], tmp_path / "index", unit="token", tokenizer=tokenizer, shard_symbols=4_000)
    assert len(index.shards) > 1
    train_ngram(tmp_path / "index", tmp_path / "model", order=order)
    loaded = load_model(str(tmp_path / "model"))
    assert type(loaded) is type(from_text) is kind
    assert loaded.tokenizer.sha256 == tokenizer.sha256
    ids = tokenizer.encode_batch([topics["while"]])[0].ids
    for ours, theirs in zip(
        loaded.score([Window(ids[:9], ids[9:])]), from_text.score([Window(ids[:9], ids[9:])]), strict=True
    ):
        np.testing.assert_array_equal(ours.log_prob, theirs.log_prob)
        np.testing.assert_array_equal(ours.rank, theirs.rank)


def test_the_smoothing_follows_the_order(corpus: str, tmp_path: Path) -> None:
    source = CorpusOptions([corpus])
    assert train_ngram(source, tmp_path / "a").smoothing == "kneser-ney"
    assert train_ngram(source, tmp_path / "b", order=3, smoothing="mle").smoothing == "mle"
    assert train_ngram(source, tmp_path / "c", order="infinity", smoothing="mle").smoothing == "mle"
    with pytest.raises(InputError, match="infinity has no Kneser-Ney"):
        train_ngram(source, tmp_path / "d", order="infinity", smoothing="kneser-ney")


def test_an_index_of_words_is_refused(corpus: str, tmp_path: Path) -> None:
    build_index([corpus], tmp_path / "index")
    with pytest.raises(InputError, match="an index of words"):
        train_ngram(tmp_path / "index", tmp_path / "model")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--corpus", "CORPUS", "--order", "infinity"], "tokens, n-grams of every order"),
        (["--corpus", "CORPUS", "--order", "7"], "n-grams up to order 7"),
        (["--corpus", "CORPUS", "--order", "seven"], "a whole number, or infinity"),
        (["--corpus", "CORPUS", "--order", "-1"], "the smallest order is 1"),
        ([], "either --corpus or --index"),
        (["--corpus", "CORPUS", "--index", "INDEX"], "either --corpus or --index"),
        (["--index", "INDEX", "--unit", "char"], "belong to --corpus"),
    ],
)
def test_the_command_line_counts_in_one_text(flags: list[str], said: str, corpus: str, tmp_path: Path) -> None:
    places = {"CORPUS": corpus, "INDEX": str(tmp_path / "index")}
    arguments = ["train", "ngram", *(places.get(flag, flag) for flag in flags), "--out", str(tmp_path / "model")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert said in result.output + str(result.exception)
