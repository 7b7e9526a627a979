"""Settings and fixtures shared by all tests: offline, few threads, real data where it lies beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
# Small models gain nothing by a second thread and lose much to waiting for it on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Texts are withheld where a continuous integration runs; most tests look at what a person sees.
os.environ.pop("CI", None)

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real corpora and weights that is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder of real corpora and weights does not lie beside this checkout")
    return SHARED_DATA
