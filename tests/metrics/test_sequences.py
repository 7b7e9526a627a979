import numpy as np
import pytest

from memaudit.metrics.sequences import as_codes
from tests.strategies import SAMPLES


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_codes_of_text_are_its_code_points(text):
    assert as_codes(text).tolist() == [ord(character) for character in text]


def test_lone_surrogates_are_code_points_too():
    assert as_codes("a\ud800").tolist() == [97, 0xD800]


@pytest.mark.parametrize("ids", [[5, 0, 3], np.array([5, 0, 3], np.int32), np.array([5, 9, 0, 9, 3, 9])[::2]])
def test_codes_of_ids_are_the_ids(ids):
    codes = as_codes(ids)
    assert codes.tolist() == [5, 0, 3]
    assert codes.dtype == np.int64
    assert codes.flags.c_contiguous
