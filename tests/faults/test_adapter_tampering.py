"""Adapters that lie: none comes out clean, none runs code, opens a socket, or takes long to be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.adapter_tampering import adapter_cases
from tests.faults.memorised import save_adapted, verdict_of, write_corpora
from tests.faults.tampering import Case, audited

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    write_corpora(folder)
    save_adapted(folder / "adapter", folder / "base")
    # Once in this process, so that what is imported on first use is there before any child is watched.
    report = verdict_of(folder / "adapter", folder, folder / "run")
    assert (report["verdict"], report["hits"], report["failed"], report["ignored"]) == ("found", 16, [], [])
    return folder


def test_its_base_model_is_clean(place: Path) -> None:
    report = verdict_of(place / "base", place, place / "run-base")
    assert (report["verdict"], report["hits"], report["failed"]) == ("clean", 0, [])


@pytest.mark.parametrize("case", adapter_cases(), ids=lambda case: case.name)
def test_no_altered_copy_comes_out_clean(case: Case, place: Path, tmp_path: Path) -> None:
    assert audited(case, place / "adapter", place, tmp_path) == []
