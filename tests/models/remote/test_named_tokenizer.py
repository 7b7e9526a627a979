"""The tokenizer that is named for a model behind an address: of a folder, with what else lies there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memaudit.errors import InputError, ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.loading.named_tokenizer import named_tokenizer
from memaudit.models.remote.address import Endpoint
from memaudit.text.tokenize import train_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train_tokenizer("bpe", ["the quick brown fox jumps over the lazy dog " * 20], 300).save(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_gives_its_tokenizer_and_its_positions(folder: Path) -> None:
    named = named_tokenizer(str(folder))
    assert named.tokenizer.decode(named.tokenizer.encode_batch(["the fox"])[0].ids) == "the fox"
    assert (named.template, named.context_length) == (None, None)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 128, "n_ctx": True}))
    assert named_tokenizer(str(folder)).context_length == 128


def test_no_weights_are_looked_for(folder: Path) -> None:
    assert not list(folder.glob("*.safetensors"))
    named_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("name", "error"), [("./nowhere", "--tokenizer ./nowhere: no such folder"), ("no/such-id", "no/such-id")]
)
def test_what_is_not_there_is_named(name: str, error: str) -> None:
    with pytest.raises(ModelError, match=error):
        named_tokenizer(name)


def test_an_address_without_one_is_refused_before_it_is_reached() -> None:
    with pytest.raises(InputError, match=r"http://127.0.0.1:1/v1: no tokenizer named .*--tokenizer"):
        load_model("http://127.0.0.1:1/v1/", endpoint=Endpoint())
    with pytest.raises(ModelError, match="computes as its server was started"):
        load_model("http://127.0.0.1:1/v1", device="cuda")
    with pytest.raises(ModelError, match="leave out --base"):
        load_model("http://127.0.0.1:1/v1", base="b")
