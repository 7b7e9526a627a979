"""A flag arrives under its own name: what the library is called with, of every command that has many flags."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.cli.options import LoadingFlags, TextFlags


class Called(Exception):
    """Stops a command where it calls the library."""


def call(monkeypatch: pytest.MonkeyPatch, target: str, command: str) -> tuple[list[Any], dict[str, Any]]:
    """What a function of the library is called with by a command, its options as a dictionary among the rest."""
    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stop(*arguments: Any, **named: Any) -> None:
        found.append((arguments, named))
        raise Called

    module, name = target.rsplit(".", 1)
    monkeypatch.setattr(importlib.import_module(module), name, stop)
    done = CliRunner().invoke(app, command.split())
    assert isinstance(done.exception, Called), (done.output, done.exception)
    arguments, named = found[0]
    told = dict(named)
    for value in [*arguments, *named.values()]:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            told |= {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return list(arguments), told


class Loaded(str):
    """Stands for a model, under its name."""

    lacks = frozenset[str]()


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "audit": (
        "memaudit.audits.extraction.run.audit",
        "audit m --train a --train b --heldout c --out o --prefix 3 --suffix 4 --limit 5 --max-rate 0.25 --no-fuzzy"
        " --no-copies --measure surface,use --membership --reference train --reference-corpus r --temperature 0.5"
        " --top-k 6 --top-p 0.75 --allow-overlap --skip-bad --format md,json --redact --show-personal --text-field t"
        " --text-field u --split line --max-expand 7 --seed 8",
        {
            **{"out": Path("o"), "prefix": 3, "suffix": 4, "limit": 5, "max_rate": 0.25, "fuzzy": False},
            **{"copies": False, "measures": ("surface", "use"), "temperature": 0.5, "top_k": 6, "top_p": 0.75},
            **{"allow_overlap": True, "skip_bad": True, "formats": ("md", "json"), "text": False, "personal": True},
            **{"text_field": ("t", "u"), "split": "line", "max_expand": 7, "seed": 8, "windows": None, "index": None},
        },
    ),
    "audit of windows": (
        "memaudit.audits.extraction.run.audit",
        "audit m --windows a b --heldout-windows c d --index i",
        {
            **{"windows": (Path("a"), Path("b")), "heldout_windows": (Path("c"), Path("d")), "index": Path("i")},
            **{"membership": None, "measures": (), "formats": ("html",), "text_field": "text"},
        },
    ),
    "contamination": (
        "memaudit.audits.contamination.run.contamination",
        "contamination b --corpus c --index i --field f --id-field g --out o --max-rate 0.25 --baseline n"
        " --clean-split d --scores s --shard 2/3 --processes 4 --show-text --show-personal --skip-bad --format md"
        " --text-field t --split file --max-expand 5",
        {
            **{"index": (Path("i"),), "fields": ("f",), "id_field": "g", "out": Path("o"), "max_items": None},
            **{"max_rate": 0.25, "baseline": "n", "clean_split": Path("d"), "scores": ("s",), "shard": (2, 3)},
            **{"processes": 4, "redact": False, "personal": True, "skip_bad": True, "formats": ("md",)},
            **{"text_field": "t", "split": "file", "max_expand": 5},
        },
    ),
    "contamination without a policy": (
        "memaudit.audits.contamination.run.contamination",
        "contamination b --corpus c --redact",
        {"max_items": 0, "max_rate": None, "redact": True, "personal": False, "scores": (), "baseline": None},
    ),
    "contamination of a model": (
        "memaudit.audits.membership.run.membership",
        "contamination b --model m --heldout h --reference r --reference-corpus q --detector order --randomised"
        " --paired --guided g --guided-split dev --tokens 3 --masks 11 --alpha 0.25 --detectable 0.75"
        " --order-permutations 4 --order-tokens 5 --overlap-prefix 0.125 --seed 6 --field f --id-field i --skip-bad"
        " --text-field t --split line --max-expand 7 --format md --out o",
        {
            **{"heldout": ("h",), "references": ("r",), "reference_corpus": ("q",), "detectors": ("order",)},
            **{"randomised": True, "paired": True, "guided": "g", "guided_split": "dev", "tokens": 3, "masks": 11},
            **{"alpha": 0.25, "detectable": 0.75, "order_permutations": 4, "order_tokens": 5, "overlap_prefix": 0.125},
            **{"seed": 6, "fields": ("f",), "id_field": "i", "skip_bad": True, "text_field": "t", "split": "line"},
            **{"max_expand": 7, "formats": ("md",), "out": Path("o")},
        },
    ),
    "laws": (
        "memaudit.audits.laws.run.laws",
        "laws --out o --family ngram --corpus c --sizes 2,3 --doses 4,5 --contexts 6,7 --suffix 8 --seeds 9"
        " --per-dose 10 --background 11 --epochs 1 --format json --seed 12 --threads 13",
        {
            **{"family": "ngram", "sizes": (2, 3), "doses": (4, 5), "contexts": (6, 7), "suffix": 8, "seeds": 9},
            **{"per_dose": 10, "background": 11, "epochs": 1.0, "formats": ("json",), "seed": 12, "threads": 13},
        },
    ),
    "counterfactual": (
        "memaudit.audits.counterfactual.run.counterfactual",
        "counterfactual --corpus c --out o --family ngram --models 6 --share 0.25 --size 3 --epochs 1 --vocab-size 300"
        " --tokens 40 --format json --text-field t --split line --seed 5 --threads 7",
        {
            **{"family": "ngram", "models": 6, "share": 0.25, "size": 3, "epochs": 1.0, "vocab_size": 300},
            **{"tokens": 40, "formats": ("json",), "text_field": "t", "split": "line", "seed": 5, "threads": 7},
        },
    ),
    "exploitation": (
        "memaudit.audits.exploitation.run.exploitation",
        "exploitation m --train a --seen b --unseen c --out o --seeds 3 --template {label}:{text} --tokens 4"
        " --epochs 5 --batch-size 6 --learning-rate 0.5 --pooling first --text-field t --label-field l --alpha 0.25"
        " --limit 0.125 --device d --allow-download --allow-pickle --format md --seed 7 --threads 8",
        {
            **{"train": ("a",), "seen": ("b",), "unseen": ("c",), "seeds": 3, "template": "{label}:{text}"},
            **{"tokens": 4, "epochs": 5.0, "batch_size": 6, "learning_rate": 0.5, "pooling": "first"},
            **{"text_field": "t", "label_field": "l", "alpha": 0.25, "limit": 0.125, "device": "d"},
            **{"allow_download": True, "allow_pickle": True, "formats": ("md",), "seed": 7, "threads": 8},
        },
    ),
    "gap": (
        "memaudit.audits.gap.run.gap",
        "gap r --model m --control c --control d --cutoff 2023-09-30 --out o --date-field e --alpha 0.25"
        " --least-gap 0.125 --permutations 99 --format md --seed 3",
        {
            **{"model": "m", "controls": ("c", "d"), "cutoff": "2023-09-30", "out": Path("o"), "date_field": "e"},
            **{"alpha": 0.25, "least_gap": 0.125, "permutations": 99, "formats": ("md",), "seed": 3},
        },
    ),
    "reconstruct": (
        "memaudit.audits.reconstruction.run.reconstruct",
        "reconstruct m --text a --text b --heldout c --text-field t --out o --seed-tokens 5 --reseeds 6 --patience 7"
        " --max-tokens 8 --attempts 9 --temperature 0.5 --top-k 10 --top-p 0.25 --context 11 --format md --seed 12"
        " --show-personal --base B --start-token none",
        {
            **{"out": Path("o"), "seed_tokens": 5, "reseeds": 6, "patience": 7, "start_token": "none"},
            **{"max_tokens": 8, "attempts": 9, "temperature": 0.5, "top_k": 10, "top_p": 0.25, "context": 11},
            **{"formats": ("md",), "seed": 12, "text_field": "t", "base": "B"},
        },
    ),
    "plant": (
        "memaudit.text.planting.dose_kit.plant_corpus",
        "plant b --out o --passages p --doses 0,1,3 --per-dose 4 --canaries 5 --words 60 --changed 2 --digits 7"
        " --seed 8 --text-field t --split line --max-expand 9",
        {
            **{"passages": ("p",), "doses": (1, 3), "per_dose": 4, "canaries": 5, "words": 60, "changed": 2},
            **{"digits": 7, "seed": 8, "text_field": "t", "split": "line", "max_expand": 9},
        },
    ),
    "index": (
        "memaudit.text.index.corpus_index.build_index",
        "index build c --out o --unit byte --text-field t --split line --max-expand 9 --skip-bad",
        {"unit": "byte", "text_field": "t", "split": "line", "max_expand": 9, "skip_bad": True, "tokenizer": None},
    ),
    "train ngram": (
        "memaudit.training.train.train_ngram",
        "train ngram --corpus c --out o --order 3 --unit char --smoothing mle --vocab-size 40 --text-field t"
        " --split line --max-expand 9",
        {
            **{"corpus": ("c",), "order": 3, "unit": "char", "smoothing": "mle", "vocab_size": 40},
            **{"text_field": "t", "split": "line", "max_expand": 9},
        },
    ),
    "train rnn": (
        "memaudit.training.train.train_neural",
        "train rnn --corpus c --out o --cell gru --unit word --vocab-size 40 --width 3 --layers 4 --context 5"
        " --heldout h --epochs 6 --batch-size 7 --learning-rate 0.5 --optimizer adamw --seed 8 --threads 9",
        {
            **{"corpus": ("c",), "unit": "word", "vocab_size": 40, "split": "file", "context": 5, "heldout": ("h",)},
            **{"architecture": {"cell": "gru", "width": 3, "layers": 4}, "epochs": 6.0, "batch_size": 7},
            **{"learning_rate": 0.5, "optimizer": "adamw", "seed": 8, "threads": 9},
        },
    ),
    "train gpt": (
        "memaudit.training.train.train_neural",
        "train gpt --corpus c --out o --style llama --width 8 --heads 2 --context 5",
        {
            **{"architecture": {"style": "llama", "width": 8, "layers": 4, "heads": 2}, "context": 5, "unit": "bpe"},
            **{"heldout": (), "seed": 0},
        },
    ),
    "train bert": (
        "memaudit.training.train.train_neural",
        "train bert --corpus c --out o --style modernbert --mask-rate 0.25 --mask-rule mask",
        {
            **{"architecture": {"style": "modernbert", "width": 128, "layers": 2, "heads": 4}, "context": 256},
            **{"mask_rate": 0.25, "mask_rule": "mask"},
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_flag_arrives(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, command, wanted = CASES[case]
    monkeypatch.setattr(LoadingFlags, "load", lambda flags, model: Loaded(model))
    _, told = call(monkeypatch, target, command)
    assert {name: told[name] for name in wanted} == wanted


def test_documents_are_compared_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoadingFlags, "load", lambda flags, model: Loaded(model))
    target, command, _ = CASES["audit"]
    (model, train, heldout), told = call(monkeypatch, target, command)
    assert (model, train, heldout) == ("m", ("a", "b"), ("c",))
    compared = told["membership"]
    assert (compared.references, compared.reference_corpus) == (("train",), ("r",))
    assert (compared.text_field, compared.split, compared.seed) == (("t", "u"), "line", 8)


def test_families_keep_the_defaults_that_no_flag_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    _, told = call(monkeypatch, "memaudit.training.train.train_neural", "train rnn --corpus c --out o")
    assert not {"epochs", "batch_size", "learning_rate", "optimizer", "threads"} & set(told)


@pytest.mark.parametrize("command", ["sample m", "audit m --windows a b", "contamination b --model m"])
def test_models_are_loaded_as_the_flags_say(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = " --base b --device d --dtype bfloat16 --allow-download --allow-pickle"
    target = (
        "memaudit.audits.membership.run.membership"
        if "--model" in command
        else "memaudit.models.loading.load.load_model"
    )
    arguments, told = call(monkeypatch, target, command + flags)
    asked = {"base": "b", "device": "d", "dtype": "bfloat16", "allow_download": True, "allow_pickle": True}
    if "--model" in command:
        loaded: dict[str, object] = {}
        model = SimpleNamespace(lacks=[], recital="", endpoint=None)
        load = "memaudit.models.loading.load.load_model"
        monkeypatch.setattr(load, lambda spec, **named: loaded.update(named, spec=spec) or model)
        assert told["load"]("m", base=told["base"]) is model
        assert loaded == asked | {"base_control": False, "spec": "m"}
    else:
        assert arguments == ["m"]
        assert told == asked | {"base_control": command.startswith("audit")}


def test_one_field_is_a_name_and_several_are_a_tuple() -> None:
    assert TextFlags().field == "text"
    assert TextFlags(text_field=("a",)).field == "a"
    assert TextFlags(text_field=("a", "b")).field == ("a", "b")
