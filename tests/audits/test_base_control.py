"""What fine-tuning added: the base model of an adapter is given the same windows, and the sentence says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

import memaudit
from memaudit.audits.extraction.base_control import base_clause, base_section, compare_with_base
from memaudit.runs.measured_lines import BaseLine
from tests.faults.memorised import OPTIONS, adapted, save_adapted, save_plain, victim, write_corpora

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    write_corpora(folder)
    save_adapted(folder / "adapter", folder / "base")
    return folder


def audited(model: Any, place: Path, out: Path, **settings: Any) -> Any:
    texts = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    return memaudit.audit(model, *texts, out=out, options=OPTIONS, **settings)


def test_what_fine_tuning_added_is_in_the_sentence_and_in_a_section(place: Path, tmp_path: Path) -> None:
    result = audited(str(place / "adapter"), place, tmp_path / "run", formats=("html", "md"))
    assert result.verdict == "found"
    clause = "; its base model reproduces 0 of 16, so fine-tuning added 100.0 points [70.9, 100.0]"
    assert result.report["headline"].endswith(clause)
    assert result.report["base"]["train"]["only_tuned"] == 16
    assert result.report["base"]["heldout"]["tuned"]["hits"] == 0
    assert [section["title"] for section in result.report["sections"]] == ["What fine-tuning added"]
    for name in ("report.html", "report.md"):
        assert "fine-tuning added 100.0 points" in (tmp_path / "run" / name).read_text()
    assert "What fine-tuning added" in (tmp_path / "run" / "report.html").read_text()
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["base"]["block"] == 64
    assert {file["path"] for file in plan["model"]["files"]} > {"adapter_config.json", "base/model.safetensors"}


def test_it_can_be_left_out_and_is_another_run_then(place: Path, tmp_path: Path) -> None:
    result = audited(str(place / "adapter"), place, tmp_path / "run", base_control=False)
    assert "base" not in result.report
    assert "its base model" not in result.report["headline"]
    assert "base_control=False" in json.loads((tmp_path / "run" / "plan.json").read_text())["command"]
    with pytest.raises(memaudit.MemauditError, match="another plan"):
        audited(str(place / "adapter"), place, tmp_path / "run")


def test_an_adapter_in_memory_brings_its_base_model(place: Path, tmp_path: Path) -> None:
    model, words = adapted(), AutoTokenizer.from_pretrained(place / "base")
    for out in ("a", "b"):
        result = audited(model, place, tmp_path / out, tokenizer=words)
        assert "so fine-tuning added 100.0 points" in result.report["headline"]
    assert "base" not in audited(model, place, tmp_path / "c", tokenizer=words, base_control=False).report


@pytest.mark.filterwarnings("ignore")
def test_a_base_model_that_recites_already_is_said_plainly(place: Path, tmp_path: Path) -> None:
    save_plain(victim(), tmp_path / "base")
    model = peft.get_peft_model(victim().module, peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    model.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "adapter")
    model.unload()
    result = audited(str(tmp_path / "adapter"), place, tmp_path / "run")
    assert result.verdict == "found"
    assert "; its base model already reproduces 16 of 16 (difference 0.0 points [" in result.report["headline"]
    assert "The base model already reproduces the training text" in result.report["sections"][0]["summary"]


def test_an_interrupted_run_asks_the_base_model_for_the_rest(place: Path, tmp_path: Path) -> None:
    whole = audited(str(place / "adapter"), place, tmp_path / "whole")
    lines = (tmp_path / "whole" / "items.log").read_bytes().splitlines(keepends=True)
    for kept in (0, 5, 32, 40, len(lines)):
        out = tmp_path / f"cut-{kept}"
        out.mkdir()
        (out / "plan.json").write_bytes((tmp_path / "whole" / "plan.json").read_bytes())
        (out / "items.log").write_bytes(b"".join(lines[:kept]))
        assert audited(str(place / "adapter"), place, out).report == whole.report
        assert sorted((out / "items.log").read_bytes().splitlines()) == sorted(line.rstrip(b"\n") for line in lines)


def paired(tuned: list[bool], base: list[bool], place: Path, tmp_path: Path) -> tuple[Any, list[BaseLine]]:
    records = audited(str(place / "base"), place, tmp_path / "run").records[:16]
    for record, hit in zip(records, tuned, strict=True):
        object.__setattr__(record, "extractable", hit)
    lines: list[Any] = [{"tokens": 24, "matched": 24 if hit else 3} for hit in base]
    return records, lines


def test_the_sentence_follows_from_the_difference(place: Path, tmp_path: Path) -> None:
    def told(tuned: int, base: int, shift: int = 0) -> str:
        flags = [[i < tuned for i in range(16)], [shift <= i < base + shift for i in range(16)]]
        found = compare_with_base(*paired(*flags, place, tmp_path), seed=0)
        assert base_section(found, "Asked so.")["method"].endswith("Asked so.")
        return base_clause(found)

    assert told(0, 0) == "; its base model reproduces 0 of 16 too"
    assert "so fine-tuning added" in told(12, 0)
    assert "and the difference, 6.2 points [" in told(1, 0)
    assert "may be chance" in told(1, 0)
    assert "its base model already reproduces 12 of 16 (difference" in told(12, 12)
    assert "its base model already reproduces 10 of 16" in told(6, 10, shift=6)


def test_rates_differ_by_what_only_one_of_them_reproduces(place: Path, tmp_path: Path) -> None:
    tuned, base = [i < 9 for i in range(16)], [2 <= i < 5 or i == 15 for i in range(16)]
    side = compare_with_base(*paired(tuned, base, place, tmp_path), seed=0)["train"]
    assert (side["only_tuned"], side["only_base"]) == (6, 1)
    assert side["difference"] is not None
    assert np.isclose(side["difference"]["estimate"], 5 / 16)
    assert side["p_value"] == 8 / 2**7, "McNemar's exact test: 6 or more of 7"
