"""Pickled weights that lie, where reading them is allowed: none is loaded, runs code or takes long to be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from memaudit.models.loading.load import load_model
from memaudit.models.transformer import new_gpt
from tests.faults.memorised import save_plain, tokenizer
from tests.faults.pickle_tampering import audited_pickle, pickle_cases, pickled
from tests.faults.tampering import Case

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pickled")
    save_plain(new_gpt(tokenizer(), width=32, layers=2, heads=2, context_length=64), folder)
    pickled(folder)
    load_model(str(folder), allow_pickle=True)  # what is imported on first use is there before any child is watched
    return folder


@pytest.mark.parametrize("case", pickle_cases(), ids=lambda case: case.name)
def test_no_altered_copy_is_loaded(case: Case, victim: Path, tmp_path: Path) -> None:
    assert audited_pickle(case, victim, tmp_path) == []
