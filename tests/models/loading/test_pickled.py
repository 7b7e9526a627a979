"""``pytorch_model.bin`` where it is allowed: the same model as from safetensors, with what says how it was read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError, ModelError
from memaudit.models.loading import pickles
from memaudit.models.loading.archives import archived_tensors
from memaudit.models.loading.load import load_model
from memaudit.models.loading.pickled import allowing_pickles, read_pickles
from memaudit.models.loading.pickles import RefusedError, tensors_of
from memaudit.models.loading.stored import read_tensors, stored_tensors
from memaudit.models.loading.weights import Declared
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from tests.faults.memorised import passages, save_plain, tokenizer

NOTE = "weights read from pytorch_model.bin, a pickle that was not run: each tensor from its place in the file"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    save_plain(new_gpt(tokenizer(), width=32, layers=2, heads=2, context_length=64), folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy whose weights are a pickle, as old releases of transformers saved them."""
    shutil.copytree(original, tmp_path / "model")
    tensors = load_file(original / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"]
    torch.save(tensors, tmp_path / "model" / "pytorch_model.bin")
    (tmp_path / "model" / "model.safetensors").unlink()
    return tmp_path / "model"


def scores(model: Any) -> Any:
    ids = tokenizer().encode_batch(passages()[:1])[0].ids
    return model.score([Window(ids[:24], ids[24:])]).log_prob


def test_the_same_scores_as_from_safetensors(original: Path, folder: Path) -> None:
    expected = load_model(str(original))
    model = load_model(str(folder), allow_pickle=True)
    np.testing.assert_array_equal(scores(model), scores(expected))
    assert model.notes == (NOTE,)
    assert "pytorch_model.bin" in [file["path"] for file in model.files]
    assert model.sha256 != expected.sha256
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    assert str(caught.value) == (
        f"{folder}: pytorch_model.bin is a pickle, which may run code when it is read (--allow-pickle reads its tensors"
        " and no more; or convert it with save_pretrained where you trust it)"
    )


def test_safetensors_beside_it_are_what_is_read(original: Path, folder: Path) -> None:
    shutil.copy(original / "model.safetensors", folder)
    (folder / "pytorch_model.bin").write_bytes(b"no archive")
    model = load_model(str(folder), allow_pickle=True)
    assert model.notes == ()
    assert model.sha256 == load_model(str(original)).sha256
    with allowing_pickles(True):
        assert not read_pickles(folder)


def test_shards_and_the_state_of_a_training_beside_them(folder: Path, original: Path) -> None:
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    names = sorted(tensors)
    parts = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for part, some in parts.items():
        torch.save({name: tensors[name] for name in some}, folder / part)
    (folder / "pytorch_model.bin").unlink()
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {name: part for part, some in parts.items() for name in some}}))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (folder / name).write_bytes(b"never read")
    model = load_model(str(folder), allow_pickle=True)
    np.testing.assert_array_equal(scores(model), scores(load_model(str(original))))
    assert model.notes[0].startswith("weights read from the files of pytorch_model.bin.index.json")
    assert [file["path"] for file in model.files if file["path"].endswith(".bin")] == sorted(parts)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is a pickle"):
        load_model(str(folder))
    for name, says in (
        ("../x.bin", "no weight_map of file names"),
        ("absent.bin", "names absent.bin, which is absent"),
    ):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(ModelError, match=says):
            load_model(str(folder), allow_pickle=True)


def test_what_an_archive_declares_is_what_torch_reads(tmp_path: Path) -> None:
    module = torch.nn.TransformerEncoderLayer(8, 2)
    tensors = dict(module.named_parameters()) | {
        "half": torch.rand(3, 2).to(torch.bfloat16), "turned": torch.rand(2, 3).T, "part": torch.rand(9)[2:5],
        "empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5), "whole": torch.arange(4), "truth": torch.ones(2) > 0,
    }  # fmt: skip
    tensors["tied"] = tensors["half"]
    for saved in (tensors, module.state_dict()):
        torch.save(saved, tmp_path / "x.bin")
        declared, theirs = declared_in(tmp_path / "x.bin"), torch.load(tmp_path / "x.bin", weights_only=True)
        read, wide = read_tensors(declared), stored_tensors(declared, torch.float64)
        assert list(declared) == list(saved) == list(read) == list(theirs)
        for name, tensor in theirs.items():
            torch.testing.assert_close(read[name], tensor.detach(), rtol=0, atol=0)
            assert read[name].is_contiguous()
            assert declared[name].values == tensor.numel()
            assert not declared[name].strides or not tensor.is_contiguous()
            torch.testing.assert_close(wide[name][...].to(tensor.dtype), tensor.detach(), rtol=0, atol=0)
            pieces = [piece for piece in wide[name].pieces() if len(piece)]
            torch.testing.assert_close(torch.cat(pieces or [tensor.reshape(-1)]), tensor.detach().reshape(-1))


def test_types_that_have_no_class_of_storages_are_refused_by_what_they_are(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3).to(torch.float8_e4m3fn)}, tmp_path / "x.bin")
    with pytest.raises(ModelError, match="of a type that is read of safetensors alone"):
        archived_tensors(tmp_path / "x.bin")


def declared_in(file: Path) -> dict[str, Declared]:
    return {n: Declared(file, t.kind, t.shape, t.start, t.strides) for n, t in archived_tensors(file).items()}


def test_the_reader_of_pickles_takes_no_more_steps_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_STEPS", 1000)
    assert tensors_of(b"\x80\x02" + b"}" * 997 + b".") == {}
    with pytest.raises(RefusedError, match="more than 1,000 steps"):
        tensors_of(b"\x80\x02" + b"}" * 1000 + b".")
    with pytest.raises(RefusedError, match="its pickle is damaged"):
        tensors_of(b"\x80\x02h\x07.")


def test_the_command_line_takes_the_flag_and_nobody_else_sets_it(folder: Path) -> None:
    asked = ["sample", str(folder), "--length", "2", "--prompt", "the"]
    assert CliRunner().invoke(app, [*asked, "--allow-pickle"]).exit_code == 0
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, ModelError)
    refused = CliRunner(env={"MEMAUDIT_SAMPLE_ALLOW_PICKLE": "1"}).invoke(app, asked)
    assert isinstance(refused.exception, InputError)
    assert "a pickle is allowed on the command line alone" in str(refused.exception)


def test_tensors_of_the_wrong_type_are_refused(folder: Path) -> None:
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    name = "transformer.h.0.mlp.c_fc.weight"
    for change, says in (
        (tensors[name].to(torch.int8), f"tensor {name} holds I8"),
        (tensors[name][:, :4], f"tensor {name} is of another shape"),
        (tensors[name] * float("nan"), f"tensor {name} has"),
    ):
        torch.save(tensors | {name: change}, folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match=says):
            load_model(str(folder), allow_pickle=True)
