from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memaudit.errors import InputError, MemauditError, ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])

STRANGER = """
import numpy as np
from memaudit.models.base import NextTokenModel
from memaudit.text.tokenize import character_tokenizer

class Uniform(NextTokenModel):
    tokenizer = character_tokenizer({"a": 0, "b": 1})
    def next_log_probs(self, prefixes):
        return np.full((len(prefixes), 3), -np.log(3))

class Duck:
    objective = "next-token"
    tokenizer = Uniform.tokenizer
    def score(self, windows, decoding=None): ...
    def continuations(self, prompts, length, decoding=None): ...

class Odd(Uniform):
    objective = "diffusion"

def no_tokenizer():
    model = Duck()
    model.tokenizer = "characters"
    return model

def broken():
    raise OSError("weights not found\\nanywhere")

number = 7
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of its own name in the working directory."""
    name = f"stranger_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(STRANGER)
    monkeypatch.chdir(tmp_path)
    return f"python:{name}"


def test_python_factory(stranger: str) -> None:
    model = load_model(f"{stranger}:Uniform")
    assert (model.family, model.objective, model.context_length, model.ignored) == (
        "Uniform",
        "next-token",
        None,
        (),
    )
    scores = model.score([Window(np.zeros(1, np.int32), np.array([0, 1], np.int32))])
    np.testing.assert_allclose(scores.log_prob, -np.log(3))
    assert scores.rank.tolist() == [0, 1]
    assert len(model.sha256) == 64
    assert model.sha256 == load_model(f"{stranger}:Uniform").sha256


def test_python_factory_may_return_any_object_with_the_interface(stranger: str) -> None:
    model = load_model(f"{stranger}:Duck")
    assert (model.family, model.parameters, model.device) == ("Duck", 0, "cpu")
    assert model.sha256 != load_model(f"{stranger}:Uniform").sha256


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("number", "not callable"),
        ("dict", "has no 'dict'"),
        ("object", "has no 'object'"),
        ("np.array", "failed: TypeError"),
        ("np.dtype.name.upper", "no 'np.dtype.name.upper'|has no"),
        ("broken", "the factory failed: OSError: weights not found"),
        ("no_tokenizer", "Duck lacks tokenizer.vocab_size, tokenizer.bos_id"),
        ("Odd", "objective is 'diffusion'"),
        ("np.random.default_rng", "Generator lacks tokenizer, continuations"),
    ],
)
def test_python_factory_that_is_none(stranger: str, factory: str, message: str) -> None:
    with pytest.raises(MemauditError, match=message) as caught:
        load_model(f"{stranger}:{factory}")
    assert "\n" not in str(caught.value)


def test_python_module_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="no_such_module_here"):
        load_model("python:no_such_module_here:factory")


def test_own_folders(tmp_path: Path) -> None:
    documents = [BYTES.encode_batch(["abc abc abd"])[0].ids]
    window = Window(documents[0][:4], documents[0][4:])
    models = {"ngram": NgramModel.train(documents, BYTES, order=3), "rnn": new_rnn(BYTES, width=8, layers=1)}
    for family, model in models.items():
        model.save(tmp_path / family)
        loaded = load_model(str(tmp_path / family))
        assert loaded.family == family
        assert len(loaded.sha256) == 64
        np.testing.assert_array_equal(loaded.score([window]).log_prob, model.score([window]).log_prob)


def test_folders_of_other_versions_are_refused(tmp_path: Path) -> None:
    about = tmp_path / "memaudit.json"
    for content, message in [
        ('{"format": 2, "family": "ngram"}', "another version"),
        ('{"format": 1, "family": "oracle"}', "unknown family 'oracle'"),
        ("{", "not valid JSON"),
    ]:
        about.write_text(content)
        with pytest.raises(ModelError, match=message):
            load_model(str(tmp_path))


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_text("")
    for spec, message in [
        (str(tmp_path / "absent"), "no such folder"),
        (str(file), "a file; a model is a folder"),
        (str(tmp_path), "config.json: no such file"),
        ("nobody/nothing", "no model of this name in the Hugging Face cache .*local model folder"),
        ("a b/c/d", "neither a folder nor a Hugging Face id"),
        ("models", "no such folder, and no model of this name"),
        ("models/absent.gguf", "absent.gguf: no such file"),
        (str(tmp_path / "absent.gguf"), "absent.gguf: no such file"),
        ("run/checkpoint-*", "nothing matches the pattern"),
    ]:
        with pytest.raises(ModelError, match=message):
            load_model(spec)


def test_what_counts_is_loaded_and_asked_without_torch(tmp_path: Path) -> None:
    NgramModel.train([BYTES.encode_batch(["abc abd"])[0].ids], BYTES, order=3).save(tmp_path)
    code = (
        "import sys; from memaudit.models.loading.load import load_model\n"
        "model = load_model(sys.argv[1]); model.continuations([[1, 2]], 3); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
