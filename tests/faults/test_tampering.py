"""Model folders that lie: none comes out clean, none runs code, opens a socket, or takes long to be refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.faults.gguf_tampering import TEMPLATE, gguf_cases
from tests.faults.isolation import isolated
from tests.faults.memorised import honest, save_plain, verdict_of, victim, write_corpora
from tests.faults.quantised_tampering import quantised_cases
from tests.faults.tampering import Case, audited, cases
from tests.gguf_files import write_gguf
from tests.quantising import KEPT, fp8

ALIKE = ("generation_config.json: ", "config.json: ", "pickle: ", "safetensors: ", "kernel: ", "quantisation: ")
"""Kinds of which every fourth case stands for the rest here; ``benchmarks/faults_tamper.py`` tries all."""


def some_cases() -> list[Case]:
    kept = []
    for kind in ALIKE:
        kept += [case for case in cases() if case.name.startswith(kind)][::4]
    others = [case for case in cases() if not case.name.startswith(ALIKE)]
    return kept + others


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("victim")
    write_corpora(folder)
    save_plain(victim(), folder / "victim")
    # Once in this process, so that what is compiled or imported on first use is there before any child is watched.
    report = verdict_of(folder / "victim", folder, folder / "run")
    assert (report["verdict"], report["hits"], report["failed"], report["ignored"]) == ("found", 16, [], [])
    return folder


def test_an_honest_model_is_clean_where_the_victim_is_found(place: Path) -> None:
    save_plain(honest(), place / "honest")
    report = verdict_of(place / "honest", place, place / "run-honest")
    assert (report["verdict"], report["hits"], report["failed"]) == ("clean", 0, [])


@pytest.mark.parametrize("case", some_cases(), ids=lambda case: case.name)
def test_no_altered_copy_comes_out_clean(case: Case, place: Path, tmp_path: Path) -> None:
    assert audited(case, place / "victim", place, tmp_path) == []


@pytest.fixture(scope="module")
def quantised(place: Path) -> Path:
    """The victim in 4 bits of bitsandbytes and in fp8, which still recite it all."""
    pytest.importorskip("bitsandbytes")
    KEPT["nf4"](place / "victim", place / "nf4")
    fp8(place / "victim", place / "fp8", place / "fp8-plain")
    for kind in ("nf4", "fp8"):  # in this process first, as above
        report = verdict_of(place / kind, place, place / f"run-{kind}")
        assert (report["verdict"], report["hits"], report["failed"]) == ("found", 16, [])
    return place


@pytest.mark.parametrize(("kind", "case"), quantised_cases(), ids=lambda case: getattr(case, "name", case))
def test_no_altered_copy_of_quantised_weights_comes_out_clean(
    kind: str, case: Case, quantised: Path, tmp_path: Path
) -> None:
    assert audited(case, quantised / kind, quantised, tmp_path) == []


@pytest.fixture(scope="module")
def packed(place: Path) -> Path:
    """A folder that holds the victim as a GGUF file."""
    pytest.importorskip("gguf")
    (place / "gguf").mkdir()
    write_gguf(place / "victim", place / "gguf" / "model.gguf", tokenizer__chat_template=TEMPLATE)
    report = verdict_of(place / "gguf", place, place / "run-gguf")
    assert (report["verdict"], report["hits"], report["failed"], report["ignored"]) == ("found", 16, [], [])
    return place


@pytest.mark.parametrize("case", gguf_cases(), ids=lambda case: case.name)
def test_no_altered_gguf_file_comes_out_clean(case: Case, packed: Path, tmp_path: Path) -> None:
    assert audited(case, packed / "gguf", packed, tmp_path) == []


def test_what_is_watched_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch itself: sockets, memory, time and crashes are noticed."""
    import socket

    monkeypatch.delenv("MEMAUDIT_TEST_REACHED")
    assert "socket.getaddrinfo" in isolated(lambda: socket.getaddrinfo("localhost", 1) and None).reached
    assert isolated(lambda: len(b"x" * (200 << 20))).mebibytes > 150
    assert isolated(lambda: time.sleep(30), seconds=0.5).message == "still at work"
    outcome = isolated(lambda: json.loads("{"))
    assert (outcome.exit_code, outcome.message.split(":")[0]) == (70, "JSONDecodeError")
