"""The table of families: what it says holds, and a family that another package declares is like one of ours."""

from __future__ import annotations

import json
import random
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memaudit import plugins
from memaudit.audits.comparison.references import family_for, train_reference
from memaudit.audits.small_models import check_sizes, suite_defaults, train_small
from memaudit.cli.app import app
from memaudit.errors import InputError, ModelError
from memaudit.families import (
    BERT,
    BUILTIN,
    GPT,
    NGRAM,
    counts,
    declared_families,
    family_named,
    find_family,
    label_of,
    reference_family,
    suite_families,
)
from memaudit.models.loading.load import load_model
from memaudit.report.wording import family as shown_as
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.train import SmallTraining
from tests.toy_family import PARROT, Parrot

TEXT = "sphinx of black quartz, judge my vow; pack my box with five dozen jugs of something"
CHARS = train_tokenizer("char", [TEXT])
IDS = [encoding.ids for encoding in CHARS.encode_batch([TEXT])]


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parrot is declared by an installed package, and so is one whose package does not import."""
    group = "memaudit.family"
    points = [EntryPoint("parrot", "tests.toy_family:PARROT", group), EntryPoint("broken", "no_such_module:X", group)]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == "memaudit.family" else [])


@pytest.mark.parametrize("name", BUILTIN)
def test_what_the_table_says_of_a_family_is_there(name: str, tmp_path: Path) -> None:
    family = family_named(name)
    assert family.trainable
    assert callable(family.part("load"))
    if family.counted:
        model = family.part("train")(IDS, CHARS, **{family.size: 3})
    else:
        longest = {"context_length": 32} if family.takes_context else {}
        model = family.part("new")(CHARS, seed=1, **{family.size: 16, **longest})
    assert (model.family, model.objective) == (name, family.objective)
    model.save(tmp_path / "model")
    loaded = load_model(str(tmp_path / "model"))
    assert (type(loaded), loaded.family, loaded.lacks) == (type(model), name, [])
    assert shown_as(name) == family.label != name
    if family.on_cpu:
        with pytest.raises(ModelError, match="computes on the CPU in float32"):
            load_model(str(tmp_path / "model"), dtype="bfloat16")


def test_references_are_of_the_models_own_family_or_of_its_objective() -> None:
    assert [reference_family(name, family.objective) for name, family in BUILTIN.items()] == list(BUILTIN.values())
    assert reference_family("llama", "next-token") is GPT
    assert reference_family("anything at all", "masked") is BERT
    assert reference_family(NGRAM.name, "masked") is BERT


def test_names_that_nobody_declared_are_names_and_nothing_else() -> None:
    assert (find_family("llama"), find_family(["ngram"]), find_family(None)) == (None, None, None)
    assert (label_of("llama"), counts("llama"), counts(NGRAM.name)) == ("llama", False, True)
    with pytest.raises(InputError, match=r"unknown family 'gtp' \(Did you mean 'gpt'\?\)"):
        family_named("gtp")
    with pytest.raises(InputError, match="no suite is made of bert models"):
        check_sizes(BERT.name, [8])
    assert suite_families() == ["ngram", "rnn", "gpt"]
    with pytest.raises(InputError, match="the family bert does not say how to train"):
        BERT.part("train")


@pytest.mark.usefixtures("declared")
def test_a_declared_family_loads_trains_and_is_a_reference(tmp_path: Path) -> None:
    assert declared_families() == [PARROT]
    assert (label_of("parrot"), shown_as("parrot"), counts("parrot")) == ("Parrot", "Parrot", True)
    assert label_of("broken") == "broken"
    small, loss = train_small("parrot", SmallTraining(CHARS, IDS, 6, seed=0, epochs=1.0), tmp_path / "small")
    assert (type(small), small.reach, loss, suite_defaults("laws", "parrot")) == (Parrot, 6, None, {})
    loaded = load_model(str(tmp_path / "small"))
    assert (type(loaded), loaded.family, loaded.reach) == (Parrot, "parrot", 6)
    assert family_for(loaded) is PARROT
    reference = train_reference(loaded, [TEXT], None, seed=0)
    assert (type(reference), reference.reach) == (Parrot, 3)


@pytest.mark.usefixtures("declared")
def test_a_declared_family_has_a_command_and_is_audited_like_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = random.Random(5)
    for name in ("train", "new"):
        rows = ["".join(drawn.choices("abcdefghij ", k=60)) for _ in range(30)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    run = CliRunner().invoke
    assert "parrot" in run(app, ["train", "--help"]).stdout
    assert "broken" not in run(app, ["train", "--help"]).stdout
    assert "--epochs" not in run(app, ["train", "parrot", "--help"]).stdout
    done = run(app, ["train", "parrot", "--corpus", "train.jsonl", "--unit", "char", "--size", "5", "--out", "model"])
    assert (done.exit_code, done.stdout) == (0, "model: 1,800 parameters\n")
    sides = ["--train", "train.jsonl", "--heldout", "new.jsonl", "--prefix", "8", "--suffix", "8", "--limit", "20"]
    done = run(app, ["audit", "model", *sides, "--out", "run"])
    assert getattr(done.exception, "exit_code", None) == 1, done.output
    assert "Parrot, next-token objective" in Path("run/report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("declared")
def test_an_entry_point_that_is_no_family_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no_such_module"):
        family_named("broken")
    wrong = [EntryPoint("other", "tests.toy_family:PARROT", "memaudit.family")]
    monkeypatch.setattr(plugins, "entry_points", lambda **_: wrong)
    with pytest.raises(InputError, match=r"the entry point .other. of memaudit"):
        family_named("other")
    (tmp_path / "memaudit.json").write_text('{"format": 1, "family": "parrot"}', encoding="utf-8")
    with pytest.raises(ModelError, match="unknown family 'parrot'"):
        load_model(str(tmp_path))
